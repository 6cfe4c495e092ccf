//! Who is at the other end of a connection to the agent port: TLS, and the agent's name taken from its certificate before
//! anything it says is read.

use std::{io, net::SocketAddr};

use faultline_attribution::AgentId;
use http::Extensions;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::pki;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct AgentPeer {
    /// From the certificate.
    pub agent: AgentId,
    /// From the connection.
    pub address: SocketAddr,
}

/// Shakes hands; each request of the connection knows its [`AgentPeer`].
///
/// # Errors
///
/// When the peer has no certificate of this coordinator's authority.
pub async fn greet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, Extensions)> {
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let agent = certificate
        .and_then(pki::agent_of)
        .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no agent"))?;
    let mut known = Extensions::new();
    known.insert(AgentPeer { agent: agent.into(), address });
    Ok((stream, known))
}
