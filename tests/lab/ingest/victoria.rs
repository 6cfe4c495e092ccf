//! `VictoriaMetrics`, single node: the same results over HTTP in Influx's line protocol, as many in a request as in a batch.
//!
//! Line protocol is how `VictoriaMetrics` itself is benchmarked (timescale/tsbs, target `victoriametrics`). A result is a line:
//! whole, eight values (`FIELDS`); or its outcome alone.
//!
//! Rules: the program runs as its package has it, but for the port and the folder; all series are known before anything is
//! measured, since making them costs more than filling them; what it counts itself must be what was sent. Its answer is no
//! promise: it flushes later, and syncs when it likes.

use std::{
    cell::Cell,
    ffi::OsString,
    fmt::Write as _,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use faultline_proto::{
    clock::Clock,
    types::v1::{Outcome, ProbeResult, Timings},
};
use futures::future::try_join_all;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, process::Command, task::JoinSet, time};

use super::{Load, agent, append::Counted, batches::Batches, target};
use crate::load::part::{self, Kept};

/// The package's program.
pub const PROGRAM: &str = "victoria-metrics";

/// What is stored of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Everything that is a number.
    Whole,
    /// Whether it passed.
    Outcome,
}

/// Values of a whole result.
const FIELDS: u64 = 8;

/// A running `VictoriaMetrics`.
#[derive(Debug)]
pub struct Victoria {
    /// Its process.
    pub pid: u32,
    at: SocketAddr,
    program: Kept,
    storage: PathBuf,
}

/// The program on the path, if there is one.
pub fn installed() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file())
}

/// As it says itself; Debian's says nothing.
pub async fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{}: name another with --victoria-metrics", program.display()))?;
    ensure!(output.status.success(), "{} --version: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if text.is_empty() { "of a version that it does not tell".into() } else { text })
}

impl Victoria {
    /// Starts it on an empty folder.
    pub async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (storage, log) = (folder.join("victoria"), folder.join("victoria.log"));
        // Free now; should somebody take it before the program does, that ends with a complaint.
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let arguments = [
            OsString::from(format!("-storageDataPath={}", storage.display())),
            format!("-httpListenAddr={at}").into(),
            "-loggerLevel=WARN".into(),
        ];
        let program = Kept::start(program, &arguments, File::create(&log)?).await?;
        let began = time::Instant::now();
        while TcpStream::connect(at).await.is_err() {
            if began.elapsed() > START {
                bail!("VictoriaMetrics does not listen: {}", part::last_words(&log));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { pid: program.pid, at, program, storage })
    }

    /// Ends it and removes what it stored.
    pub async fn end(self) -> anyhow::Result<()> {
        self.program.end().await?;
        Ok(std::fs::remove_dir_all(&self.storage)?)
    }

    /// Samples that it took, as it counts them.
    pub async fn taken(&self) -> anyhow::Result<u64> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(self.at).await?)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let request =
            Request::get("/metrics").header(header::HOST, self.at.to_string()).body(Full::<Bytes>::default())?;
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("vm_rows_inserted_total{type=\"influx\"} "));
        line.and_then(|count| count.trim().parse().ok()).context("VictoriaMetrics does not tell what it took")
    }
}

const START: Duration = Duration::from_secs(10);

/// Requests at a time. More than there are cores, so that it never waits for the next.
const CONNECTIONS: usize = 4;

/// Bodies of requests, encoded once; agent and instant are put in when one is sent.
#[derive(Debug)]
pub struct Lines {
    bodies: Vec<Lined>,
    results: u64,
    stored: Stored,
}

#[derive(Debug)]
struct Lined {
    bytes: Vec<u8>,
    /// Where each line's agent and instant are.
    places: Vec<(usize, usize)>,
}

impl Lines {
    /// The lines of a load.
    pub fn new(load: Load, stored: Stored) -> Self {
        let bodies = Batches::new(load).results().map(|results| Lined::new(results, stored)).collect();
        Self { bodies, results: load.batch.into(), stored }
    }

    /// Samples in so many results.
    pub fn samples(&self, results: u64) -> u64 {
        results * if self.stored == Stored::Whole { FIELDS } else { 1 }
    }

    fn body(&self, agent: usize, count: usize, at_ms: i64) -> Bytes {
        let lined = &self.bodies[(agent + count) % self.bodies.len()];
        let (mut bytes, name, at) = (lined.bytes.clone(), super::agent(agent), format!("{at_ms:013}"));
        for (of_agent, of_instant) in &lined.places {
            bytes[*of_agent..][..name.len()].copy_from_slice(name.as_bytes());
            bytes[*of_instant..][..at.len()].copy_from_slice(at.as_bytes());
        }
        bytes.into()
    }

    /// Sends batches of so many agents in turn, until `lasts` is over and every agent had `least`.
    pub async fn send(
        &self,
        victoria: &Victoria,
        agents: usize,
        least: usize,
        lasts: Duration,
    ) -> anyhow::Result<Counted> {
        let (began, sent, clock) = (time::Instant::now(), Cell::new(0_usize), Clock::system());
        let connection = async || {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(TcpStream::connect(victoria.at).await?)).await?;
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            while began.elapsed() < lasts || sent.get() < agents * least {
                let number = sent.replace(sent.get() + 1);
                let body = self.body(number % agents, number / agents, clock.now_micros() / 1000);
                post(&mut sender, victoria.at, body).await?;
            }
            anyhow::Ok(())
        };
        try_join_all((0..CONNECTIONS).map(|_| connection())).await?;
        Ok(Counted { results: sent.get() as u64 * self.results, took: began.elapsed() })
    }
}

async fn post(sender: &mut SendRequest<Full<Bytes>>, at: SocketAddr, body: Bytes) -> anyhow::Result<()> {
    let request = Request::post("/write?precision=ms").header(header::HOST, at.to_string()).body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "VictoriaMetrics refuses: {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

impl Lined {
    fn new(results: &[ProbeResult], stored: Stored) -> Self {
        let (mut text, mut places, name) = (String::new(), Vec::new(), agent(0));
        for result in results {
            text.push_str("probe,agent=");
            let of_agent = text.len();
            let passed = u8::from(result.outcome() == Outcome::Passed);
            write!(text, "{name},target={} ok={passed}", target(result.slot)).ok();
            if stored == Stored::Whole {
                let Timings { dns_us, connect_us, tls_us, first_byte_us, body_us, total_us } =
                    result.timings.unwrap_or_default();
                write!(text, ",status={},dns_us={dns_us},connect_us={connect_us},tls_us={tls_us}", result.status).ok();
                write!(text, ",first_byte_us={first_byte_us},body_us={body_us},total_us={total_us}").ok();
            }
            text.push(' ');
            places.push((of_agent, text.len()));
            text.push_str("0000000000000\n");
        }
        Self { bytes: text.into_bytes(), places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_agent_target_values_and_instant() {
        let load = Load { targets: 3, batch: 4 };
        let body = Lines::new(load, Stored::Whole).body(12, 0, 1_790_000_000_123);
        let text = String::from_utf8(body.to_vec()).expect("text");
        assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            let (head, rest) = line.split_once(' ').expect("a head");
            assert!(head.starts_with("probe,agent=agent-00012,target=bench/target-000"), "{line}");
            assert_eq!(rest.split_once(' ').map(|(fields, _)| fields.split(',').count()), Some(8), "{line}");
            assert!(line.ends_with(" 1790000000123"), "{line}");
        }
    }
}
