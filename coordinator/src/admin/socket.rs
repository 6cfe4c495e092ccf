//! Both ends of the admin socket.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::de::Error as _;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, Call, Desk, SOCKET};

/// Bytes of a call, at most.
const MAX_CALL: u64 = 64 << 10;
/// Bytes of an answer, at most.
const MAX_ANSWER: u64 = 4 << 20;
/// Calls at once; more wait in the backlog.
const CALLS: usize = 16;
/// Connections that wait; the kernel lets more wait with their callers.
const BACKLOG: i32 = 16;
/// A call is here, and an answer taken, within this.
const READ: Duration = Duration::from_secs(5);
/// For so long nothing is accepted when there are no files left.
const PAUSE: Duration = Duration::from_millis(100);
/// A caller waits this long: longer than an act may take, and the ones before it.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of a socket's path. Source: unix(7): 108 with the NUL that ends it.
const MAX_PATH: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its path does not fit into an address.
    #[error(
        "admin socket {}: the path has {} bytes, and that of a socket may have {MAX_PATH}: choose a shorter --data-dir",
        .0.display(), .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// Something answers there.
    #[error("admin socket {}: another process listens there: is it a coordinator of this data directory?", .0.display())]
    Occupied(PathBuf),
    /// Something else is there.
    #[error("admin socket {}: something that is no socket is there: move it away", .0.display())]
    Foreign(PathBuf),
    /// The system says no.
    #[error("admin socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why no answer could be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error(
        "no coordinator runs on the data directory {}: start `faultline serve --data-dir {}`, or name its own with --data-dir",
        .0.display(), .0.display()
    )]
    Nobody(PathBuf),
    /// It may not be asked.
    #[error("{}: {source}: run this as root or as the coordinator's user", path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path does not fit into an address.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The connection broke.
    #[error("{}: {source}: whether it was done, `faultline audit tail` says", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It does not answer.
    #[error("{}: no answer within {} s: whether it was done, `faultline audit tail` says", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    /// It answers something else.
    #[error("{}: {source}: is the coordinator of this version?", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
}

/// Calls the coordinator of a data directory.
///
/// # Errors
///
/// Where none answers; what it refuses is an answer.
pub async fn ask(data: &Path, call: &Call) -> Result<Answer, AskError> {
    let path = data.join(SOCKET);
    if path.as_os_str().len() > MAX_PATH {
        return Err(SocketError::TooLong(path).into());
    }
    let stream = UnixStream::connect(&path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody(data.to_owned()),
        _ => AskError::Forbidden { path: path.clone(), source },
    })?;
    let asked = time::timeout(PATIENCE, converse(stream, call)).await;
    let answer = asked.map_err(|_| AskError::Silent(path.clone()))?;
    let answer = answer.map_err(|source| AskError::Broken { path: path.clone(), source })?;
    serde_json::from_slice(&answer).map_err(|source| AskError::Answer { path, source })
}

async fn converse(mut stream: UnixStream, call: &Call) -> io::Result<Vec<u8>> {
    stream.write_all(&serde_json::to_vec(call)?).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A listening socket; its file goes with it.
pub(crate) struct Listening {
    path: PathBuf,
    listener: UnixListener,
}

impl Listening {
    /// Listens in a data directory, of which the caller has the lock.
    pub(crate) fn of(data: &Path) -> Result<Self, SocketError> {
        let path = data.join(SOCKET);
        if path.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(path));
        }
        remove_dead(&path)?;
        let listener = bind(&path).map_err(|source| SocketError::Io { path: path.clone(), source })?;
        Ok(Self { path, listener })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Removes a socket that nobody listens at; anything else at the path stays.
fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let fail = |source| SocketError::Io { path: path.to_owned(), source };
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::Foreign(path.to_owned()));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fail)?;
    socket.set_nonblocking(true).map_err(fail)?;
    match socket.connect(&SockAddr::unix(path).map_err(fail)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(fail),
        _ => Err(SocketError::Occupied(path.to_owned())),
    }
}

/// Answers until it is stopped.
pub(crate) async fn serve(listening: Listening, desk: Arc<Desk>, stopped: CancellationToken) {
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            Some(ended) = calls.join_next(), if !calls.is_empty() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            accepted = listening.listener.accept(), if calls.len() < CALLS => match accepted {
                Ok((stream, _)) => {
                    calls.spawn(attend(stream, Arc::clone(&desk)));
                }
                // Out of files: they come back when others end.
                Err(_) => time::sleep(PAUSE).await,
            }
        }
    }
}

/// One call. Whoever does not speak or read in time loses the connection.
async fn attend(mut stream: UnixStream, desk: Arc<Desk>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let mut asked = Vec::new();
    let mut saying = (&mut stream).take(MAX_CALL + 1);
    if !matches!(time::timeout(READ, saying.read_to_end(&mut asked)).await, Ok(Ok(_))) {
        return;
    }
    let call = if asked.len() as u64 > MAX_CALL {
        Err(serde_json::Error::custom(format_args!("a call has at most {MAX_CALL} bytes")))
    } else {
        serde_json::from_slice(&asked)
    };
    let answer = serde_json::to_vec(&desk.answer(peer.uid(), call).await).unwrap_or_default();
    let tell = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    // Whether it was told is the caller's concern: what was done is in the audit record.
    time::timeout(READ, tell).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_never() {
        let data = tempfile::tempdir().expect("dir");
        let path = data.path().join(SOCKET);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("one that dies and leaves its file"));
        let living = Listening::of(data.path()).expect("replaced");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(Listening::of(data.path()), Err(SocketError::Occupied(_))));
        assert!(UnixStream::connect(&path).await.is_ok(), "it still listens");
        drop(living);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_and_a_long_path_is_named() {
        let data = tempfile::tempdir().expect("dir");
        fs::write(data.path().join(SOCKET), "mine").expect("written");
        assert!(matches!(Listening::of(data.path()), Err(SocketError::Foreign(_))));
        assert_eq!(fs::read_to_string(data.path().join(SOCKET)).expect("there"), "mine");
        let long = data.path().join("d".repeat(MAX_PATH));
        let error = Listening::of(&long).err().expect("too long").to_string();
        assert!(error.contains("may have 107") && error.contains("--data-dir"), "{error}");
    }
}
