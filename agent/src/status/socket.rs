//! Both ends of the status socket.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::Status;

/// No status could be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is nobody, or one may not ask.
    #[error("{}: {source}: is faultline-agent running, and do you run this as root or as its user?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The agent does not answer.
    #[error("{}: no answer within {} s: the agent is stuck or its machine is; see its log", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    /// Something else answers.
    #[error("{}: {source}: is this the socket of an agent of this version?", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
}

/// The status of the agent that listens at the path.
pub async fn ask(path: &Path) -> Result<Status, AskError> {
    let asking = async {
        let stream = UnixStream::connect(path).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answered = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| AskError::Silent(path.to_owned()))?;
    let answer = answered.map_err(|source| AskError::Connect { path: path.to_owned(), source })?;
    serde_json::from_slice(&answer).map_err(|source| AskError::Answer { path: path.to_owned(), source })
}

/// Answers at the path for ever; where the socket cannot be made, warns and waits.
pub(crate) async fn serve(path: PathBuf, snapshot: impl Fn() -> Status) {
    let listening = match Listening::at(path.clone()) {
        Ok(listening) => listening,
        Err(error) => {
            tracing::warn!(socket = %path.display(), %error, "no status: change [status] socket to a path that can be made");
            return std::future::pending().await;
        }
    };
    loop {
        let stream = listening.accept().await;
        // Whoever does not read loses the connection; the next is served.
        tokio::time::timeout(DEADLINE, tell(stream, &snapshot())).await.ok();
    }
}

async fn tell(mut stream: UnixStream, status: &Status) -> io::Result<()> {
    let answer = serde_json::to_vec(status)?;
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

/// A listening socket for its owner and root alone; its file goes with it.
pub(crate) struct Listening {
    path: PathBuf,
    listener: UnixListener,
}

impl Listening {
    pub(crate) fn at(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        remove_dead(&path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        // Nobody can connect before it listens.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self { path, listener })
    }

    /// The next who connects.
    pub(crate) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                // Out of files: they come back when probes end.
                Err(_) => tokio::time::sleep(DEADLINE).await,
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

/// Removes a socket that nobody listens at; anything else at the path stays.
fn remove_dead(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent listens there")),
    }
}

/// How long one connection may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Connections that wait; the kernel refuses more.
const BACKLOG: i32 = 4;
/// Every place of the backlog may be held by one who does not read.
const PATIENCE: Duration = Duration::from_secs(6);
/// Twenty refusals of 500 characters of up to four bytes, twice over.
const MAX_ANSWER: u64 = 128 * 1024;
