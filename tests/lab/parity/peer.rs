//! `blackbox_exporter` as a process of its own, on a port of its own choice.
//!
//! Rule: it is killed when this is dropped, however the run ends.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, Command},
    task::JoinSet,
    time,
};

use super::{ParityError, ask, case::Version};

pub(super) struct Peer {
    program: String,
    address: SocketAddr,
    _child: Child,
    /// Reads its log to the end, so that it never waits for a reader.
    _log: JoinSet<()>,
}

/// Of the program.
pub(super) async fn version(program: &Path) -> Result<Version, ParityError> {
    let wrong = |what: String| ParityError::Peer { program: program.display().to_string(), what };
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| wrong(error.to_string()))?;
    // Older ones tell it on standard error.
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    let mut words = told.split_whitespace().skip_while(|word| *word != "version");
    let version = words.nth(1).ok_or_else(|| wrong("--version tells none".to_owned()))?;
    version.parse().map_err(wrong)
}

impl Peer {
    /// With the modules of this file.
    pub(super) async fn start(program: &Path, modules: &Path) -> Result<Self, ParityError> {
        let name = program.display().to_string();
        let wrong = |what: String| ParityError::Peer { program: name.clone(), what };
        let mut child = Command::new(program)
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", modules.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| wrong(error.to_string()))?;
        let stderr = child.stderr.take().ok_or_else(|| wrong("it has no log".to_owned()))?;
        let mut log = BufReader::new(stderr).lines();
        let address = match time::timeout(START, listening(&mut log)).await {
            Err(_) => return Err(wrong(format!("it does not listen after {START:?}"))),
            Ok(Err(said)) => return Err(wrong(format!("it ended: {said}"))),
            Ok(Ok(address)) => address,
        };
        let mut reading = JoinSet::new();
        reading.spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Ok(Self { program: name, address, _child: child, _log: reading })
    }

    /// What one look tells.
    pub(super) async fn probe(
        &self,
        module: &str,
        target: &str,
        hostname: Option<&str>,
    ) -> Result<String, ParityError> {
        let told = ask::probe(self.address, module, target, hostname).await;
        told.map_err(|what| ParityError::Peer { program: self.program.clone(), what })
    }
}

/// The address that the log tells; its last line where it ends before.
async fn listening(log: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> Result<SocketAddr, String> {
    let mut last = String::new();
    while let Ok(Some(line)) = log.next_line().await {
        if let Some(address) = line.split_once("msg=\"Listening on\" address=").and_then(|(_, told)| told.parse().ok())
        {
            return Ok(address);
        }
        last = line;
    }
    Err(last)
}

/// Source: start value; it takes 50 ms on an idle machine.
const START: Duration = Duration::from_secs(20);
