//! The commands' end of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use super::{End, Reply, Request};
use crate::{enroll::Step, status::Status};

/// The daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No daemon runs there.
    #[error("{}: no agent runs", .0.display())]
    Nobody(PathBuf),
    /// It cannot be reached.
    #[error("{}: {source}: are you root, or the agent's user?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It does not answer.
    #[error("{}: the agent does not answer: see its log", .0.display())]
    Silent(PathBuf),
    /// It closed before the end, or says what is not understood.
    #[error("{}: the agent ended, or is of another version: see its log", .0.display())]
    Cut(PathBuf),
}

/// Whether a daemon listens there.
///
/// # Errors
///
/// When that cannot be told.
pub async fn is_served(path: &Path) -> Result<bool, OrderError> {
    match connect(path).await {
        Ok(_) => Ok(true),
        Err(OrderError::Nobody(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the daemon do something, and tells its steps; `patience` is how long the next may take.
///
/// # Errors
///
/// When no end is heard of.
pub async fn order(
    path: &Path,
    request: &Request,
    patience: Duration,
    mut tell: impl FnMut(&Step),
) -> Result<End, OrderError> {
    let mut lines = send(path, request).await?;
    loop {
        match reply(path, &mut lines, patience).await? {
            Reply::Step(step) => tell(&step),
            Reply::End(end) => return Ok(end),
            Reply::Status(_) => return Err(OrderError::Cut(path.to_owned())),
        }
    }
}

/// How the agent is.
///
/// # Errors
///
/// When it does not say.
pub async fn status(path: &Path) -> Result<Status, OrderError> {
    let mut lines = send(path, &Request::Status).await?;
    match reply(path, &mut lines, PATIENCE).await? {
        Reply::Status(status) => Ok(*status),
        Reply::Step(_) | Reply::End(_) => Err(OrderError::Cut(path.to_owned())),
    }
}

async fn connect(path: &Path) -> Result<UnixStream, OrderError> {
    UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => OrderError::Nobody(path.to_owned()),
        _ => OrderError::Connect { path: path.to_owned(), source },
    })
}

type Lines = BufReader<tokio::io::Take<UnixStream>>;

async fn send(path: &Path, request: &Request) -> Result<Lines, OrderError> {
    let cut = || OrderError::Cut(path.to_owned());
    let mut stream = connect(path).await?;
    let mut line = serde_json::to_vec(request).map_err(|_| cut())?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(|_| cut())?;
    Ok(BufReader::new(stream.take(MAX_ANSWER)))
}

async fn reply(path: &Path, lines: &mut Lines, patience: Duration) -> Result<Reply, OrderError> {
    let mut line = Vec::new();
    let read = tokio::time::timeout(patience, lines.read_until(b'\n', &mut line)).await;
    let read = read.map_err(|_| OrderError::Silent(path.to_owned()))?;
    let reply = read.ok().and_then(|_| serde_json::from_slice(&line).ok());
    reply.ok_or_else(|| OrderError::Cut(path.to_owned()))
}

const PATIENCE: Duration = Duration::from_secs(6);
/// Twenty refusals of 500 characters of up to four bytes, twice over; steps are less.
const MAX_ANSWER: u64 = 128 * 1024;
