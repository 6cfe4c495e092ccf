//! Runs an emulated world: every server, resolver and relay, each on an address of its own, all on one port.
//!
//! Rules: a fault holds from the moment [`Net::apply`] returns, and is gone when [`Net::heal`] returns. Every wait is
//! of the [`Clock`], so a sped-up net keeps its proportions. Servers know who looks by the source address alone, as
//! GeoDNS and edges do.

mod dns;
mod faults;
mod http;
mod pki;
mod quic;
mod relay;
mod tcp;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use faultline_proto::clock::Clock;
pub(crate) use faults::GATEWAY_TIMEOUT;
pub use faults::{
    AgentSelect, ConnectEffect, DnsEffect, Effect, Fault, FaultBoard, FaultId, HttpEffect, Lot, ShareOf, TargetSelect,
    TlsEffect,
};
#[cfg(test)]
pub(crate) use faults::{Asker, Standing};
pub use relay::{End, Ending, Link, Way};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};
use tracing::{info, warn};

use self::{dns::Zones, pki::Pki};
use crate::{
    scenario::Break,
    world::{Agent, Probe, Target, World, catalog_toml},
};

/// A running emulated internet; dropping it stops it.
pub struct Net {
    shared: Arc<Shared>,
    doors: Mutex<Vec<tcp::Door>>,
    relays: Vec<Relay>,
    coordinator: watch::Sender<Option<SocketAddr>>,
    catalog: String,
    names: Vec<dns::NameServer>,
    tasks: JoinSet<()>,
}

/// An agent's relay: how its link was set, and how it stands once lost paths are counted in.
struct Relay {
    set: std::sync::Mutex<Link>,
    stands: watch::Sender<Link>,
}

/// Why the emulated internet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The world contradicts itself.
    #[error("the world cannot be emulated: {}", flaws.join("; "))]
    Unsound {
        /// What is wrong with it.
        flaws: Vec<String>,
    },
    /// Every port that was tried is taken on some address.
    #[error("no port of {tried} tried is free on all addresses: {source}")]
    NoPort {
        /// How many were tried.
        tried: u16,
        /// What the last one met.
        source: io::Error,
    },
    /// An address does not do what a fault asks of it.
    #[error("address {address} cannot be turned: {source}")]
    Door {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate authority could be made.
    #[error("no certificate authority: {0}")]
    Authority(#[from] rcgen::Error),
    /// The limit on open files stays too low.
    #[error("limit on open files: {0}")]
    Files(#[source] io::Error),
}

/// What all servers of one net share.
struct Shared {
    world: World,
    clock: Clock,
    board: FaultBoard,
    pki: Pki,
    zones: Zones,
    port: u16,
    serial: AtomicU64,
    /// Connections that targets have seen, of each agent.
    visits: Vec<AtomicU64>,
}

/// One connection: who came where, and what it meets.
#[derive(Clone)]
struct Visit {
    shared: Arc<Shared>,
    agent: usize,
    target: usize,
    troubles: faults::Troubles,
}

impl Visit {
    fn new(shared: &Arc<Shared>, agent: usize, target: usize) -> Self {
        shared.visits[agent].fetch_add(1, Ordering::Relaxed);
        let troubles = shared.board.connection(&shared.world.agents[agent], &shared.world.targets[target]);
        Self { shared: Arc::clone(shared), agent, target, troubles }
    }

    fn agent(&self) -> &Agent {
        &self.shared.world.agents[self.agent]
    }

    fn target(&self) -> &Target {
        &self.shared.world.targets[self.target]
    }
}

impl Net {
    /// Starts every server of the world, inside a tokio runtime; `seed` decides who suffers from faults with a share.
    pub fn start(world: &World, clock: Clock, seed: u64) -> Result<Self, NetError> {
        let flaws = world.flaws();
        if !flaws.is_empty() {
            return Err(NetError::Unsound { flaws });
        }
        rlimit::increase_nofile_limit(OPEN_FILES).map_err(NetError::Files)?;
        let sockets = Sockets::bind_all(world)?;
        let shared = Arc::new(Shared {
            board: FaultBoard::new(Arc::new(world.clone()), seed),
            pki: Pki::new(world)?,
            zones: Zones::new(world),
            world: world.clone(),
            clock,
            port: sockets.port,
            serial: AtomicU64::new(seed),
            visits: world.agents.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let (coordinator, _) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let mut relays = Vec::new();
        for (agent, listener) in world.agents.iter().zip(sockets.relays) {
            let (stands, link) = watch::channel(Link::Whole);
            let path = relay::Path {
                agent: agent.address(),
                address: (agent.uplink_address(), shared.port).into(),
                coordinator: coordinator.subscribe(),
                link,
                clock,
            };
            tasks.spawn(relay::keep(listener, path));
            relays.push(Relay { set: std::sync::Mutex::default(), stands });
        }
        for (place, socket) in sockets.quic {
            quic::open(socket, place, &shared, &mut tasks);
        }
        let doors = sockets.doors.into_iter().map(|(place, tcp)| tcp::Door::open(tcp, place, &shared, &mut tasks));
        let doors = doors.collect();
        let names = sockets.names.into_iter().map(|(role, udp, tcp)| dns::serve(role, udp, tcp, &shared)).collect();
        info!(
            port = shared.port,
            agents = world.agents.len(),
            targets = world.targets.len(),
            "emulated internet is up"
        );
        Ok(Self {
            catalog: catalog_toml(world, shared.port),
            shared,
            doors: Mutex::new(doors),
            relays,
            coordinator,
            names,
            tasks,
        })
    }

    /// What is broken at present; [`Net::apply`] and [`Net::heal`] change it.
    pub fn faults(&self) -> &FaultBoard {
        &self.shared.board
    }

    /// The one port on which every server listens.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Tells the relays where the coordinator is; connections wait until they know.
    pub fn set_coordinator(&self, address: SocketAddr) {
        self.coordinator.send_replace(Some(address));
    }

    /// Where that agent finds the coordinator: its own path, which can be cut.
    pub fn agent_uplink(&self, agent: &Agent) -> SocketAddr {
        (agent.uplink_address(), self.shared.port).into()
    }

    /// Connections of that agent that targets have seen: TCP and QUIC, not questions.
    pub fn visits(&self, agent: &Agent) -> u64 {
        self.shared.visits.get(usize::from(agent.number)).map_or(0, |visits| visits.load(Ordering::Relaxed))
    }

    /// Sets how that agent's path to the coordinator stands; a lost path ([`Fault::path`]) is cut whatever was set.
    pub fn set_link(&self, agent: &Agent, link: Link) {
        let Some(relay) = self.relays.get(usize::from(agent.number)) else { return };
        *relay.set.lock().unwrap_or_else(PoisonError::into_inner) = link;
        relay.turn(self.shared.board.path_is_lost(agent));
    }

    /// That agent's recursive resolver.
    pub fn resolver(&self, agent: &Agent) -> SocketAddr {
        (agent.resolver_address(), self.shared.port).into()
    }

    /// The certificate of the lab's authority.
    pub fn ca_pem(&self) -> &str {
        self.shared.pki.ca_pem()
    }

    /// The catalog of all targets.
    pub fn catalog_toml(&self) -> &str {
        &self.catalog
    }

    /// Breaks what the scenario says, and returns once it is broken; times are the caller's business.
    pub async fn apply(&self, broken: &Break) -> Result<FaultId, NetError> {
        self.set(broken.fault.clone()).await
    }

    /// Breaks something, and returns once it is broken.
    pub async fn set(&self, fault: Fault) -> Result<FaultId, NetError> {
        let id = self.shared.board.set(fault);
        self.turn().await?;
        Ok(id)
    }

    /// Mends what that fault broke, and returns once it works; other faults stay.
    pub async fn heal(&self, id: FaultId) -> Result<(), NetError> {
        self.shared.board.clear(id);
        self.turn().await
    }

    /// Stops every server and waits until all are gone.
    pub async fn shutdown(mut self) {
        for name in &mut self.names {
            if let Err(error) = name.shutdown_gracefully().await {
                warn!(%error, "name server did not end well");
            }
        }
        self.tasks.shutdown().await;
    }

    async fn turn(&self) -> Result<(), NetError> {
        let mut doors = self.doors.lock().await;
        for door in doors.iter_mut() {
            door.turn(&self.shared).await?;
        }
        for (agent, relay) in self.shared.world.agents.iter().zip(&self.relays) {
            relay.turn(self.shared.board.path_is_lost(agent));
        }
        Ok(())
    }
}

impl Relay {
    fn turn(&self, is_lost: bool) {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let link = if is_lost { Link::Cut } else { *set };
        self.stands.send_if_modified(|stands| std::mem::replace(stands, link) != link);
    }
}

/// About 1,300 listeners, and connections beside them.
const OPEN_FILES: u64 = 65_536;

/// Which target an address stands for, and towards whom; no agent is an address that all share.
#[derive(Clone, Copy, Debug)]
struct Place {
    target: usize,
    agent: Option<usize>,
}

/// Every socket of a world, bound to one port.
struct Sockets {
    port: u16,
    doors: Vec<(Place, tokio::net::TcpListener)>,
    quic: Vec<(Place, std::net::UdpSocket)>,
    names: Vec<(dns::Role, tokio::net::UdpSocket, tokio::net::TcpListener)>,
    relays: Vec<tokio::net::TcpListener>,
}

impl Sockets {
    /// Binds below the ephemeral ports, so that no client of the machine takes an address while its door is closed.
    fn bind_all(world: &World) -> Result<Self, NetError> {
        let first = u16::try_from(std::process::id() * 31 % u32::from(PORTS)).unwrap_or(0);
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for attempt in 0..PORT_ATTEMPTS {
            let port = LOWEST_PORT + (first + attempt * 97) % PORTS;
            match Self::bind(world, port) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => last = error,
            }
        }
        Err(NetError::NoPort { tried: PORT_ATTEMPTS, source: last })
    }

    fn bind(world: &World, port: u16) -> io::Result<Self> {
        let mut sockets = Self { port, doors: Vec::new(), quic: Vec::new(), names: Vec::new(), relays: Vec::new() };
        let operators = world.operators.iter().enumerate().map(|(n, o)| (dns::Role::Authority(n), o.address));
        let resolvers = world.agents.iter().enumerate().map(|(n, a)| (dns::Role::Resolver(n), a.resolver_address()));
        for (role, address) in operators.chain(resolvers) {
            let udp = tokio::net::UdpSocket::from_std(udp(address, port)?)?;
            sockets.names.push((role, udp, tcp::listen((address, port).into())?));
        }
        for agent in &world.agents {
            sockets.relays.push(tcp::listen((agent.uplink_address(), port).into())?);
        }
        for (target, facts) in world.targets.iter().enumerate() {
            if matches!(facts.probe, Probe::Dns { .. }) {
                continue;
            }
            let seen_by = if facts.names.is_empty() { &world.agents[..1] } else { &world.agents[..] };
            for (n, agent) in seen_by.iter().enumerate() {
                let place = Place { target, agent: (!facts.names.is_empty()).then_some(n) };
                let address = facts.address_for(agent);
                sockets.doors.push((place, tcp::listen((address, port).into())?));
                if facts.probe == Probe::Http3 {
                    sockets.quic.push((place, udp(address, port)?));
                }
            }
        }
        Ok(sockets)
    }
}

const LOWEST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
const PORT_ATTEMPTS: u16 = 64;

fn udp(address: Ipv4Addr, port: u16) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((address, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
