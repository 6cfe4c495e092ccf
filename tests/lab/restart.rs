//! What a restart costs: a log of any size, and the real program that starts on it, from a snapshot and without one.
//!
//! Rules: the log is filled through the store's own append, and the program is `faultline serve` in a process of its own,
//! killed once it answers. From a snapshot means from one of a minute before the end, as after a crash.

mod fill;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use faultline_attribution::{Settings, Timestamp};
use faultline_coordinator::{
    feed::Published,
    fold::{Fold, Snapshots},
    log::{ChangeLog, Cursor, RecordLog, sqlite::SqliteLog},
};

pub use self::fill::{Filled, Fleet};

/// What one start took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// From the start of the process to the first answer of its feed's port, seconds.
    pub serving_s: f64,
    /// Most memory that it held until then, MiB.
    pub peak_mib: f64,
}

/// What a snapshot costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taking {
    /// To put the state into bytes, during which no tick can come, milliseconds.
    pub bytes_ms: f64,
    /// To write and sync them, on another thread, milliseconds.
    pub write_ms: f64,
    /// How many.
    pub bytes: usize,
}

/// A coordinator as a process.
struct Served {
    child: Child,
    start: Start,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts `faultline serve` on a filled data directory and waits until it answers.
fn serve(program: &Path, data: &Path) -> anyhow::Result<Served> {
    let began = Instant::now();
    let child = Command::new(program)
        .args(["serve", "--no-ranges-refresh", "--no-claims", "--metrics-listen", "none"])
        .args(["--agents-listen", "127.0.0.1:0", "--feed-listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(data)
        .arg("--catalog")
        .arg(data.join("catalog.toml"))
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut served = Served { child, start: Start::default() };
    let out = served.child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(out).lines();
    let page = lines.find_map(|line| Some(line.ok()?.strip_prefix("page")?.trim().to_owned()));
    let page = page.context("the coordinator ended before it served")?;
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the coordinator answered {answer:?}");
    let memory = crate::load::usage::memory(served.child.id())?;
    #[expect(clippy::cast_precision_loss, reason = "memory of this century fits")]
    let peak_mib = memory.peak as f64 / 1024.0;
    served.start = Start { serving_s: began.elapsed().as_secs_f64(), peak_mib };
    Ok(served)
}

/// A filled data directory and the snapshots that restarts go on from.
pub struct Restarts {
    program: PathBuf,
    data: PathBuf,
}

impl Restarts {
    /// Restarts of this program on this data directory.
    pub fn new(program: PathBuf, data: PathBuf) -> Self {
        Self { program, data }
    }

    /// A start that folds the whole log.
    pub fn rebuild(&self) -> anyhow::Result<Start> {
        self.clear_snapshots()?;
        Ok(serve(&self.program, &self.data)?.start)
    }

    /// A start from the snapshot set aside.
    pub fn resume(&self) -> anyhow::Result<Start> {
        self.clear_snapshots()?;
        copy(&self.aside(), &self.data.join("snapshots"))?;
        Ok(serve(&self.program, &self.data)?.start)
    }

    /// Takes a snapshot of the log as it is and sets it aside, and says what that takes.
    pub async fn take(&self) -> anyhow::Result<Taking> {
        self.clear_snapshots()?;
        let log = Arc::new(SqliteLog::open(&self.data)?);
        let (records, changes): (Arc<dyn RecordLog>, Arc<dyn ChangeLog>) = (Arc::clone(&log) as _, log);
        let snapshots = Snapshots::of(&self.data);
        let (fold, _) = Fold::resume(records, changes, Settings::default(), &snapshots, Timestamp::default()).await?;
        let began = Instant::now();
        let snapshot = fold.snapshot().context("the log holds no tick")?;
        let bytes_ms = began.elapsed().as_secs_f64() * 1e3;
        let began = Instant::now();
        let bytes = snapshots.write(&snapshot)?;
        let write_ms = began.elapsed().as_secs_f64() * 1e3;
        copy(snapshots.folder(), &self.aside())?;
        Ok(Taking { bytes_ms, write_ms, bytes })
    }

    fn aside(&self) -> PathBuf {
        self.data.join("snapshots.aside")
    }

    fn clear_snapshots(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(self.data.join("snapshots")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        fs::copy(&path, to.join(path.file_name().context("a file without a name")?))?;
    }
    Ok(())
}

/// Publishes so many more changes: revisions of a resolved incident of the log, under other names.
pub async fn publish_more(data: &Path, changes: usize) -> anyhow::Result<()> {
    let log = SqliteLog::open(data)?;
    let (mut resolved, mut tick, mut sequence) = (None, Cursor::START, 0);
    loop {
        let entries = log.published_after(sequence, 4096).await?;
        let Some(last) = entries.last() else { break };
        (sequence, tick) = (last.sequence, last.tick);
        for entry in entries {
            if let Published::Incident(change) = entry.published
                && change.resolved_at.is_some()
            {
                resolved = Some(change);
            }
        }
    }
    let Some(resolved) = resolved else { bail!("the log holds no incident that is over: fill it with more results") };
    let all: Vec<usize> = (0..changes).collect();
    for group in all.chunks(1000) {
        // Ten revisions each, as incidents have.
        let more = group.iter().map(|number| {
            let mut change = resolved.clone();
            change.incident = format!("{}-{}", resolved.incident, number / 10).into();
            Published::Incident(change)
        });
        log.publish(tick, resolved.at, more.collect()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
