//! Who is at the other end of a connection to the agent port: TLS, and the agent's name taken from its certificate before
//! anything it says is read. A machine that would become an agent asks for another server name, has no certificate and no name.
//!
//! Rules: of those without a certificate there are few at a time, so that agents find room; who has not said hello waits for
//! nobody and nobody waits for it; the work of the handshakes that have goes on for some at a time, of each address and of all,
//! and waiting for that turn is not held against the agent.

use std::{io, net::SocketAddr, sync::Arc};

use faultline_attribution::AgentId;
use http::Extensions;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    pki::{
        self,
        port::{AgentPort, Side},
        rotation::signer_of,
    },
    rpc::{
        self,
        places::{Place, Places, Share, origin},
        turns::Turns,
    },
};

/// Connections of machines without a certificate, at once. Source: one takes less than a second, and an address may try ten
/// times a minute.
const NEWCOMERS: Share = Share { all: 64, of_one: 4 };

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct AgentPeer {
    /// From the certificate.
    pub agent: AgentId,
    /// From the connection.
    pub address: SocketAddr,
    /// Who signed its certificate, as [`signer_of`] says.
    pub signer: String,
}

/// A machine without a certificate, which may join and nothing else.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// From the connection.
    pub address: SocketAddr,
    _place: Arc<Place>,
}

/// Shakes hands with agents, and with machines that would be.
#[derive(Clone)]
pub struct Greeter {
    tls: Arc<AgentPort>,
    turns: Turns,
    newcomers: Places,
}

impl Greeter {
    /// A greeter with these sides of TLS.
    pub fn new(tls: Arc<AgentPort>) -> Self {
        Self { tls, turns: Turns::new(rpc::HANDSHAKES), newcomers: Places::new(NEWCOMERS) }
    }

    /// Shakes hands; each request of the connection knows its [`AgentPeer`] or [`Newcomer`]. Fails when the peer has no
    /// certificate of this coordinator's authority and asks for more than to join, or takes too long.
    pub async fn greet(self, stream: TcpStream, address: SocketAddr) -> io::Result<(TlsStream<TcpStream>, Extensions)> {
        let hello = rpc::in_time(LazyConfigAcceptor::new(Acceptor::default(), stream)).await?;
        let side = Side::of(hello.client_hello().server_name());
        let mut known = Extensions::new();
        if side == Side::Enrolment {
            let place = self.newcomers.take_of(origin(address.ip()), NEWCOMERS.of_one);
            let place = place.ok_or_else(|| io::Error::other("too many without a certificate at once"))?;
            known.insert(Newcomer { address, _place: Arc::new(place) });
        }
        let turn = self.turns.take(address.ip()).await;
        let stream = rpc::in_time(hello.into_stream(self.tls.on(side))).await?;
        drop(turn);
        if side == Side::Sessions {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let signer = signer_of(chain);
            let agent = chain
                .first()
                .and_then(pki::agent_of)
                .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no agent"))?;
            known.insert(AgentPeer { agent: agent.into(), address, signer });
        }
        Ok((stream, known))
    }
}
