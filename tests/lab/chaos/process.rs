//! A program of ours as a process: started, stopped, killed, and what it left behind.
//!
//! Rules: a process that is dropped is killed; what it says goes to a file of its own, to which later lives of it add.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use faultline_proto::failpoint::LAST_WORDS;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time,
};

use super::plan::Failpoint;

/// How to start it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) log: PathBuf,
}

/// It runs.
pub(super) struct Running {
    child: Child,
    pid: u32,
    /// Where what it says in this life begins in its log.
    log: PathBuf,
    said_before: u64,
    says: Lines<BufReader<ChildStdout>>,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// SIGKILL.
    Killed,
    /// At that failpoint.
    At(String),
    /// In no way that anybody had planned.
    Otherwise(String),
}

impl Program {
    pub(super) fn start(&self, failpoint: Option<Failpoint>) -> anyhow::Result<Running> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let said_before = log.metadata()?.len();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        command.env("RUST_LOG", "info").env_remove("FAILPOINTS");
        command.envs(failpoint.map(|failpoint| ("FAILPOINTS", failpoint.words())));
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", self.path.display()))?;
        let pid = child.id().context("it ended at once")?;
        let says = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        Ok(Running { child, pid, log: self.log.clone(), said_before, says })
    }
}

impl Running {
    /// What it says on standard output after this word; `None` when it ended before.
    pub(super) async fn hear(&mut self, word: &str) -> anyhow::Result<Option<String>> {
        while let Some(line) = self.says.next_line().await? {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(Some(rest.trim().to_owned()));
            }
        }
        Ok(None)
    }

    /// Its end, when it comes to one by itself.
    pub(super) async fn ended(&mut self) -> anyhow::Result<Ended> {
        let status = self.child.wait().await?;
        Ok(self.judge(status))
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<Ended> {
        // Whoever died a moment ago is not killed any more, and says so.
        self.child.start_kill().ok();
        self.ended().await
    }

    /// Its handle for signals.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGTERM, and the orderly end that must follow.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        signal(self.pid, "TERM").await?;
        let status = time::timeout(STOP, self.child.wait()).await.context("it does not stop after SIGTERM")??;
        ensure!(status.success(), "after SIGTERM: {}", self.told(status));
        Ok(())
    }

    fn judge(&self, status: ExitStatus) -> Ended {
        match status.signal() {
            Some(KILL) => Ended::Killed,
            Some(ABORT) => match self.last_words() {
                words if words.starts_with(LAST_WORDS) => Ended::At(words[LAST_WORDS.len()..].to_owned()),
                words => Ended::Otherwise(format!("{status}: {words}")),
            },
            _ => Ended::Otherwise(self.told(status)),
        }
    }

    fn told(&self, status: ExitStatus) -> String {
        format!("{status}: {}", self.last_words())
    }

    fn last_words(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said =
            String::from_utf8_lossy(said.get(usize::try_from(self.said_before).unwrap_or(0)..).unwrap_or_default());
        said.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

/// Ten times what an orderly end may take.
const STOP: Duration = Duration::from_secs(50);
const KILL: i32 = 9;
const ABORT: i32 = 6;

/// Sends a signal.
pub(super) async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status().await;
    // Who is gone takes no signal: its end tells more.
    sent.map(drop).context("no `kill` on this machine")
}

/// Lines of a log at that level.
pub(super) fn lines_at(level: &str, log: &Path) -> std::io::Result<Vec<String>> {
    let said = std::io::read_to_string(File::open(log)?)?;
    Ok(said.lines().filter(|line| line.split_whitespace().nth(1) == Some(level)).map(str::to_owned).collect())
}
