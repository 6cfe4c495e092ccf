//! Who is at the other end of a connection to the agent port: TLS, and the agent's name taken from its certificate before
//! anything it says is read.
//!
//! Rule: who has not said hello waits for nobody and nobody waits for it; the work of the handshakes that have goes on for
//! some at a time, of each address and of all, and waiting for that turn is not held against the agent.

use std::{io, net::SocketAddr, sync::Arc};

use faultline_attribution::AgentId;
use http::Extensions;
use rustls::{ServerConfig, server::Acceptor};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    pki,
    rpc::{self, turns::Turns},
};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct AgentPeer {
    /// From the certificate.
    pub agent: AgentId,
    /// From the connection.
    pub address: SocketAddr,
}

/// Shakes hands with agents.
#[derive(Clone)]
pub struct Greeter {
    tls: Arc<ServerConfig>,
    turns: Turns,
}

impl Greeter {
    /// A greeter with this side of TLS.
    pub fn new(tls: Arc<ServerConfig>) -> Self {
        Self { tls, turns: Turns::new(rpc::HANDSHAKES) }
    }

    /// Shakes hands; each request of the connection knows its [`AgentPeer`]. Fails when the peer has no certificate of
    /// this coordinator's authority, or takes too long.
    pub async fn greet(self, stream: TcpStream, address: SocketAddr) -> io::Result<(TlsStream<TcpStream>, Extensions)> {
        let hello = rpc::in_time(LazyConfigAcceptor::new(Acceptor::default(), stream)).await?;
        let turn = self.turns.take(address.ip()).await;
        let stream = rpc::in_time(hello.into_stream(Arc::clone(&self.tls))).await?;
        drop(turn);
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let agent = certificate
            .and_then(pki::agent_of)
            .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no agent"))?;
        let mut known = Extensions::new();
        known.insert(AgentPeer { agent: agent.into(), address });
        Ok((stream, known))
    }
}
