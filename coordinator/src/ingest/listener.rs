//! The accept loop of the agent port: TLS with a deadline, a bound on handshakes under way, and the agent's name taken
//! from its certificate before anything it says is read.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use faultline_attribution::AgentId;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{pki, shutdown};

/// A handshake that takes longer is dropped. Source: fault table of the design notes.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Handshakes under way at once; further connections wait in the kernel's queue.
const HANDSHAKES: usize = 256;

/// Connections that wait for the server to take them; handshakes wait beyond that.
const QUEUE: usize = 64;

/// A connection whose peer has proved to be an agent.
pub struct AgentStream {
    stream: TlsStream<TcpStream>,
    peer: AgentPeer,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPeer {
    /// From the certificate.
    pub agent: AgentId,
    /// From the connection.
    pub address: SocketAddr,
}

/// Accepts until shutdown; connections come out of the receiver.
pub fn accept(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut shutdown: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<io::Result<AgentStream>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let acceptor = TlsAcceptor::from(tls);
    tasks.spawn(async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.try_join_next().is_some() {}
            let place = tokio::select! {
                () = shutdown::begun(&mut shutdown) => return,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = shutdown::begun(&mut shutdown) => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a connection that died in the queue: others may still come.
                    tracing::warn!(%error, "accept failed");
                    time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            handshakes.spawn(async move {
                let _place = place;
                match time::timeout(HANDSHAKE, handshake(acceptor, stream, address)).await {
                    Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::info!(peer = %address, %error, "agent handshake refused"),
                    Err(_) => tracing::info!(peer = %address, "agent handshake timed out"),
                }
            });
        }
    });
    receiver
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> io::Result<AgentStream> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let agent = certificate
        .and_then(pki::agent_of)
        .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no agent"))?;
    Ok(AgentStream { stream, peer: AgentPeer { agent: agent.into(), address } })
}

impl Connected for AgentStream {
    type ConnectInfo = AgentPeer;

    fn connect_info(&self) -> AgentPeer {
        self.peer.clone()
    }
}

impl AsyncRead for AgentStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for AgentStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
