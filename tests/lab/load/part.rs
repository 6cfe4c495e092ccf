//! A part of the bench: a process of its own that answers questions, one line of JSON each way.
//!
//! Rules: a part ends when its standard input does, so that none outlives the bench, however that ended; programs that
//! know nothing of this run under a keeper, which does ([`keep`]); a part that is silent for too long is an error.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use faultline_proto::clock::Clock;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time,
};

/// The command, hidden, under which the lab's binary runs a part.
pub const COMMAND: [&str; 2] = ["bench", "part"];

/// Longer than any slice: a part that has not answered by then hangs.
const SILENCE: Duration = Duration::from_secs(90);

/// A running part. Dropping it ends it.
#[derive(Debug)]
pub struct Part {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Its process.
    pub pid: u32,
}

/// A program under a keeper. Dropping it ends both.
#[derive(Debug)]
pub struct Kept {
    keeper: Part,
    /// The program's process.
    pub pid: u32,
    /// Just before the program was started, microseconds since the Unix epoch.
    pub started_micros: i64,
}

#[derive(Serialize, Deserialize)]
struct Started {
    pid: u32,
    started_micros: i64,
}

impl Part {
    /// Starts the lab's own binary as that part; what it complains of goes to `log`.
    pub fn start<S: AsRef<OsStr>>(arguments: &[S], log: impl Into<Stdio>) -> anyhow::Result<Self> {
        Self::spawn(arguments, log, true)
    }

    fn spawn<S: AsRef<OsStr>>(arguments: &[S], log: impl Into<Stdio>, kill_on_drop: bool) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        Self::spawn_of(&program, arguments, log, kill_on_drop)
    }

    /// The same of the lab's binary at this path, for programs that are another.
    pub fn start_of<S: AsRef<OsStr>>(program: &Path, arguments: &[S], log: impl Into<Stdio>) -> anyhow::Result<Self> {
        Self::spawn_of(program, arguments, log, true)
    }

    fn spawn_of<S: AsRef<OsStr>>(
        program: &Path,
        arguments: &[S],
        log: impl Into<Stdio>,
        kill_on_drop: bool,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(COMMAND)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(kill_on_drop)
            .spawn()
            .context("starting a part of the bench")?;
        let (questions, answers) = (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        let pid = child.id().context("it ended at once")?;
        Ok(Self { child, questions, answers: BufReader::new(answers).lines(), pid })
    }

    /// The part's answer.
    pub async fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> anyhow::Result<A> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.questions.write_all(&line).await.context("a part of the bench does not listen")?;
        self.hear().await
    }

    async fn hear<A: DeserializeOwned>(&mut self) -> anyhow::Result<A> {
        let Some(line) =
            time::timeout(SILENCE, self.answers.next_line()).await.context("a part of the bench hangs")??
        else {
            bail!("a part of the bench ended: {}", self.child.wait().await?);
        };
        serde_json::from_str::<Result<A, String>>(&line)?.map_err(|error| anyhow!(error))
    }

    /// Kills it on the spot, and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Ends it and waits until it is gone.
    pub async fn end(mut self) -> anyhow::Result<()> {
        drop(self.questions);
        if time::timeout(GOODBYE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// A part whose input has ended gets so long to see it.
const GOODBYE: Duration = Duration::from_secs(2);

impl Kept {
    /// Starts the program under a keeper; what it complains of goes to `log`.
    pub async fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: &[S],
        log: impl Into<Stdio>,
    ) -> anyhow::Result<Self> {
        let mut all: Vec<&OsStr> = vec![OsStr::new("keep"), OsStr::new("--"), program.as_os_str()];
        all.extend(arguments.iter().map(AsRef::as_ref));
        // A keeper that was killed could end nobody: its input ends when it is dropped.
        let mut keeper = Part::spawn(&all, log, false)?;
        let Started { pid, started_micros } = keeper.hear().await?;
        Ok(Self { keeper, pid, started_micros })
    }

    /// Ends the program and waits until it is gone.
    pub async fn end(self) -> anyhow::Result<()> {
        drop(self.keeper.questions);
        let mut keeper = self.keeper.child;
        keeper.wait().await.context("waiting for a keeper")?;
        Ok(())
    }
}

/// The last line of a program's log: what it complained of.
pub fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// Runs the program until standard input ends, then kills it; ends with it, too.
pub async fn keep(program: &OsStr, arguments: &[OsString]) -> anyhow::Result<()> {
    let started_micros = Clock::system().now_micros();
    let spawned =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return say(&Err::<Value, _>(format!("{}: {error}", program.display()))).await,
    };
    let pid = child.id().context("it ended at once")?;
    say(&Ok::<_, String>(Started { pid, started_micros })).await?;
    tokio::select! {
        () = input_ended() => {
            child.kill().await.context("the program cannot be ended")?;
        }
        ended = child.wait() => bail!("{} ended: {}", program.display(), ended?),
    }
    Ok(())
}

/// Returns once standard input has ended; what it says is dropped.
pub async fn input_ended() {
    let mut sink = [0; 256];
    let mut input = tokio::io::stdin();
    while input.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

/// Answers each question of standard input until that ends.
pub async fn answer<Q: DeserializeOwned>(mut reply: impl AsyncFnMut(Q) -> anyhow::Result<Value>) -> anyhow::Result<()> {
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = questions.next_line().await? {
        let told = match serde_json::from_str(&line) {
            Ok(question) => reply(question).await.map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("not a question: {error}")),
        };
        say(&told).await?;
    }
    Ok(())
}

async fn say(told: &Result<impl Serialize, String>) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut out = tokio::io::stdout();
    out.write_all(&line).await?;
    Ok(out.flush().await?)
}
