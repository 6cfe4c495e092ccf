//! The TCP side of a target's address: listens, is silent, or is closed, and hands connections to what is behind.
//!
//! Rules: silence is a packet filter on the listening socket, which drops every segment before the handshake: the
//! client's kernel retransmits into nothing, as on a real blackhole, the port stays ours, and connections that are up
//! stay up. An address that all vantages share is silent towards single sources; it is closed only if it is closed
//! towards all of them, and silent towards some otherwise, since a closed port cannot choose.

use std::{
    future, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{debug, warn};

use super::{NetError, Place, Shared, Visit, faults::Standing, http, tls};
use crate::world::{Agent, Probe};

/// One address, and how it stands.
pub(super) struct Door {
    place: Place,
    address: SocketAddr,
    gate: Gate,
    turns: mpsc::Sender<Turn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Drops what comes from these; none means from anybody.
    Silent(Vec<Ipv4Addr>),
    Closed,
}

struct Turn {
    gate: Gate,
    done: oneshot::Sender<io::Result<()>>,
}

impl Door {
    pub(super) fn open(listener: TcpListener, place: Place, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) -> Self {
        let agent = &shared.world.agents[place.agent.unwrap_or_default()];
        let address = (shared.world.targets[place.target].address_for(agent), shared.port).into();
        // One turn at a time: the sender waits for each to be done.
        let (turns, orders) = mpsc::channel(1);
        tasks.spawn(keep(listener, address, place, Arc::clone(shared), orders));
        Self { place, address, gate: Gate::Open, turns }
    }

    /// Brings the address to where the board says it stands.
    pub(super) async fn turn(&mut self, shared: &Shared) -> Result<(), NetError> {
        let gate = Gate::of(self.place, shared);
        if gate == self.gate {
            return Ok(());
        }
        let (done, is_done) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let sent = self.turns.send(Turn { gate: gate.clone(), done }).await.map_err(|_| gone());
        let turned = match sent {
            Ok(()) => is_done.await.unwrap_or_else(|_| Err(gone())),
            Err(error) => Err(error),
        };
        turned.map_err(|source| NetError::Door { address: self.address, source })?;
        self.gate = gate;
        Ok(())
    }
}

impl Gate {
    fn of(place: Place, shared: &Shared) -> Self {
        let target = &shared.world.targets[place.target];
        let standing = |agent: &Agent| shared.board.standing(agent, target);
        if let Some(agent) = place.agent {
            return match standing(&shared.world.agents[agent]) {
                Standing::Open => Self::Open,
                Standing::Silent => Self::Silent(Vec::new()),
                Standing::Refusing => Self::Closed,
            };
        }
        if shared.world.agents.iter().all(|agent| standing(agent) == Standing::Refusing) {
            return Self::Closed;
        }
        let shut_out = shared.world.agents.iter().filter(|agent| standing(agent) != Standing::Open);
        let sources: Vec<_> = shut_out.map(Agent::address).collect();
        if sources.is_empty() { Self::Open } else { Self::Silent(sources) }
    }
}

/// A listening socket on that address alone.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

const BACKLOG: i32 = 128;

async fn keep(
    listener: TcpListener,
    address: SocketAddr,
    place: Place,
    shared: Arc<Shared>,
    mut turns: mpsc::Receiver<Turn>,
) {
    let mut listener = Some(listener);
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            turn = turns.recv() => {
                let Some(Turn { gate, done }) = turn else { return };
                // Who asked for the turn may be gone; the turn is made all the same.
                _ = done.send(take(&gate, &mut listener, address));
            }
            accepted = accept(listener.as_ref()) => match accepted {
                Ok((stream, peer)) => {
                    if let Some(agent) = place.agent.or_else(|| visitor(peer, &shared)) {
                        visits.spawn(receive(stream, Visit::new(&shared, agent, place.target)));
                    }
                }
                Err(error) => {
                    warn!(%address, %error, "accept failed");
                    shared.clock.sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(visited) = visits.join_next() => {
                if let Err(error) = visited && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => future::pending().await,
    }
}

/// The agent that sends from there; nobody else is served at a shared address.
pub(super) fn visitor(peer: SocketAddr, shared: &Shared) -> Option<usize> {
    let SocketAddr::V4(peer) = peer else { return None };
    let number = usize::from(Agent::number_at(*peer.ip())?);
    (number < shared.world.agents.len()).then_some(number)
}

fn take(gate: &Gate, listener: &mut Option<TcpListener>, address: SocketAddr) -> io::Result<()> {
    if *gate == Gate::Closed {
        *listener = None;
        return Ok(());
    }
    if listener.is_none() {
        *listener = Some(listen(address)?);
    }
    let Some(listener) = listener else { return Ok(()) };
    let socket = SockRef::from(&*listener);
    match gate {
        Gate::Silent(sources) => socket.attach_filter(&drop_from(sources)),
        // A socket without a filter says ENOENT.
        Gate::Open | Gate::Closed => match socket.detach_filter() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// A classic BPF program: returns 0 (drop) for those sources, or for all where none is given; else the whole segment.
/// Source: Linux `Documentation/networking/filter.rst`; `SKF_NET_OFF` + 12 is the source address of the IPv4 header.
fn drop_from(sources: &[Ipv4Addr]) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SOURCE_ADDRESS: u32 = 0xfff0_0000 + 12;
    if sources.is_empty() {
        return vec![SockFilter::new(RETURN, 0, 0, 0)];
    }
    let mut program = vec![SockFilter::new(LOAD_WORD, 0, 0, SOURCE_ADDRESS)];
    for source in sources {
        program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 1, source.to_bits()));
        program.push(SockFilter::new(RETURN, 0, 0, 0));
    }
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    program
}

async fn receive(stream: TcpStream, visit: Visit) {
    if visit.troubles.is_reset {
        reset_on_close(&stream);
        return;
    }
    let clock = visit.shared.clock;
    if clock.timeout(LONGEST_VISIT, serve(stream, &visit)).await.is_err() {
        debug!(target = %visit.target().id, agent = %visit.agent().id, "visit cut off at its longest");
    }
}

/// No probe waits as long: what is left then is a client that forgot us.
pub(super) const LONGEST_VISIT: Duration = Duration::from_mins(1);

async fn serve(mut stream: TcpStream, visit: &Visit) {
    if let Err(error) = stream.set_nodelay(true) {
        // Answers in several writes would wait some 40 ms for each acknowledgement.
        debug!(target = %visit.target().id, %error, "connection will be slow");
    }
    match visit.target().probe {
        Probe::Tcp | Probe::Dns { .. } => drain(&mut stream).await,
        Probe::Tls => {
            if let Some(mut stream) = tls::handshake(stream, visit).await {
                drain(&mut stream).await;
            }
        }
        Probe::Https | Probe::Http3 => {
            if let Some(stream) = tls::handshake(stream, visit).await {
                http::serve(stream, visit).await;
            }
        }
    }
}

/// Reads until the client goes.
pub(super) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Makes the close of that connection an RST.
pub(super) fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        warn!(%error, "connection will end with FIN, not RST");
    }
}
