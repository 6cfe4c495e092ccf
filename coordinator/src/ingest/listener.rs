//! The accept loop of the agent port: TLS with a deadline, a bound on handshakes under way, and the agent's name taken
//! from its certificate before anything it says is read.
//!
//! Rules: connections are bounded, all together and by where they come from, from before their handshake until they end, and one
//! that is too many is closed at once; a connection on which no session begins in time is closed, so that idle ones are no
//! way to hold places.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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

/// Connections at once. Source: twice the 5,000 agents that a coordinator must bear, since each may reconnect before its last
/// connection is known to be dead.
const CONNECTIONS: usize = 10_000;

/// Connections at once from one IPv4 address, or from one /64 of IPv6: half of the handshakes, so that nobody alone can keep
/// the others from theirs. Agents behind one address are one witness, and no site needs as many.
const CONNECTIONS_OF_ONE: usize = HANDSHAKES / 2;

/// A session must begin within this. Source: fault table of the design notes.
const FIRST_SESSION: Duration = Duration::from_secs(10);

/// A connection whose peer has proved to be an agent.
pub struct AgentStream {
    stream: TlsStream<TcpStream>,
    peer: AgentPeer,
    /// Until a session has begun.
    deadline: Option<Pin<Box<time::Sleep>>>,
    _place: Place,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct AgentPeer {
    /// From the certificate.
    pub agent: AgentId,
    /// From the connection.
    pub address: SocketAddr,
    has_begun: Arc<AtomicBool>,
}

impl AgentPeer {
    /// Notes that a session has begun on the connection.
    pub fn begins(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }
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
        let taken = Taken::default();
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
            let Some(of_address) = taken.take(address.ip()) else {
                tracing::debug!(peer = %address, "too many connections");
                continue;
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            handshakes.spawn(async move {
                let _place = place;
                match time::timeout(HANDSHAKE, handshake(acceptor, stream, address, of_address)).await {
                    Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::info!(peer = %address, %error, "agent handshake refused"),
                    Err(_) => tracing::info!(peer = %address, "agent handshake timed out"),
                }
            });
        }
    });
    receiver
}

/// How many connections there are, by where they come from.
#[derive(Clone, Debug, Default)]
struct Taken(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// The place of one connection; free again when dropped.
#[derive(Debug)]
struct Place {
    of: Taken,
    network: IpAddr,
}

impl Taken {
    /// A place for a connection from the address, if there is one.
    fn take(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.counts();
        let here = counts.of.get(&network).copied().unwrap_or_default();
        if counts.all >= CONNECTIONS || here >= CONNECTIONS_OF_ONE {
            return None;
        }
        counts.all += 1;
        counts.of.insert(network, here + 1);
        Some(Place { of: self.clone(), network })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        counts.all -= 1;
        if let Entry::Occupied(mut here) = counts.of.entry(self.network) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// What counts as one place of origin.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
) -> io::Result<AgentStream> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let agent = certificate
        .and_then(pki::agent_of)
        .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no agent"))?;
    let peer = AgentPeer { agent: agent.into(), address, has_begun: Arc::default() };
    Ok(AgentStream { stream, peer, deadline: Some(Box::pin(time::sleep(FIRST_SESSION))), _place: place })
}

impl Connected for AgentStream {
    type ConnectInfo = AgentPeer;

    fn connect_info(&self) -> AgentPeer {
        self.peer.clone()
    }
}

impl AsyncRead for AgentStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peer.has_begun.load(Ordering::Relaxed) {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no session has begun")));
        }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_place_of_origin_takes_no_more_than_its_share() {
        let taken = Taken::default();
        let mut held: Vec<_> = (0..CONNECTIONS_OF_ONE)
            .map(|host| {
                let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::try_from(host).expect("small"));
                taken.take(address.into()).expect("a place")
            })
            .collect();
        let (same, other) = (["2001:db8::ffff"], ["2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.2"]);
        let is_free = |address: &str| taken.take(address.parse().expect("an address")).is_some();
        assert!(!same.into_iter().any(is_free) && other.into_iter().all(is_free));
        held.pop();
        assert!(same.into_iter().all(is_free), "one has ended");
        drop(held);
        assert!(taken.counts().of.is_empty(), "nothing is kept of those that are gone");
    }

    #[test]
    fn all_together_are_bounded() {
        let taken = Taken::default();
        let place = |host: usize| taken.take(Ipv4Addr::from_bits(u32::try_from(host).expect("small")).into());
        let held: Vec<_> = (0..CONNECTIONS).map(|host| place(host).expect("a place")).collect();
        assert!(place(CONNECTIONS).is_none());
        drop(held);
        assert!(place(CONNECTIONS).is_some());
    }
}
