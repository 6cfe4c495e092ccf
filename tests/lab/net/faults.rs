//! What is broken: faults by selector, layer and effect, and the board that servers ask.
//!
//! Rules: a fault that speaks of a region or service acts where that region answers, so behind a CDN the edge stays up
//! and answers 504 for its dead origin; a fault of a CDN breaks the CDN's own name, not its customers' zones; a fault
//! of a DNS operator breaks every question to that operator's servers. Shares are drawn from a hash of the seed, so
//! the same seed and the same order of probes suffer the same. For the connect layer (unless `reset`) the share is of
//! (agent, target) addresses, elsewhere of connections and questions.

mod select;
mod words;

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use select::{AgentSelect, TargetSelect};

use crate::world::{Agent, Alias, Target, World};

/// One thing that is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What suffers.
    pub targets: TargetSelect,
    /// From where; empty is everywhere.
    pub agents: AgentSelect,
    /// The layer, and what happens there.
    pub effect: Effect,
    /// Which part suffers, 0 to 1.
    pub share: f64,
    /// The agents' whole path is lost: targets, resolver and coordinator alike.
    pub path: bool,
}

/// What happens, by layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At a question.
    Dns(DnsEffect),
    /// At the connect, of TCP or QUIC.
    Connect(ConnectEffect),
    /// At the TLS handshake.
    Tls(TlsEffect),
    /// At the request.
    Http(HttpEffect),
}

/// What an authoritative server does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsEffect {
    /// The name does not exist.
    Nxdomain,
    /// The server failed.
    Servfail,
    /// The server will not answer.
    Refused,
    /// The name exists and has no addresses.
    EmptyAnswer,
    /// Silence.
    Timeout,
    /// An address where nobody listens.
    WrongAnswer,
}

/// What an address does with a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectEffect {
    /// Nobody listens (TCP), or `CONNECTION_REFUSED` (QUIC).
    Refused,
    /// Silence.
    Timeout,
    /// Accepted, then torn down at once.
    Reset,
}

/// What a server does with a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsEffect {
    /// Never answers the `ClientHello`.
    Timeout,
    /// Tears the connection down on the `ClientHello`.
    Reset,
    /// A certificate of the past.
    CertExpired,
    /// A certificate for another name.
    NameMismatch,
    /// A certificate by an authority nobody trusts.
    UnknownIssuer,
    /// A certificate signed by itself.
    SelfSigned,
}

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpEffect {
    /// Answers with this status.
    Status(u16),
    /// Never answers.
    Timeout,
    /// Tears the connection down.
    Reset,
    /// Answers well, this much later.
    Slow(Duration),
}

/// Names one active fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// What one connection will meet, drawn once when it is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Troubles {
    pub(crate) is_reset: bool,
    pub(crate) tls: Option<TlsEffect>,
    pub(crate) http: Option<HttpEffect>,
}

/// How an address stands towards one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    Silent,
    Refusing,
}

/// All active faults; servers ask it at each question and connection.
#[derive(Debug)]
pub struct FaultBoard {
    world: Arc<World>,
    seed: u64,
    active: RwLock<Vec<(FaultId, Fault)>>,
    next_id: AtomicU64,
    draws: Vec<AtomicU64>,
}

impl FaultBoard {
    pub(crate) fn new(world: Arc<World>, seed: u64) -> Self {
        let pairs = world.agents.len() * world.targets.len();
        Self {
            world,
            seed,
            active: RwLock::default(),
            next_id: AtomicU64::new(1),
            draws: (0..pairs).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The faults in force, oldest first.
    pub fn active(&self) -> Vec<(FaultId, Fault)> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.next_id.fetch_add(1, Ordering::Relaxed));
        self.active.write().unwrap_or_else(PoisonError::into_inner).push((id, fault));
        id
    }

    pub(crate) fn clear(&self, id: FaultId) {
        self.active.write().unwrap_or_else(PoisonError::into_inner).retain(|(active, _)| *active != id);
    }

    /// Whether everything that agent sends is lost.
    pub(crate) fn path_is_lost(&self, agent: &Agent) -> bool {
        self.first(|_, fault| (fault.path && fault.agents.matches(agent)).then_some(())).is_some()
    }

    /// What happens to a question of that agent to the servers of `operator`; `link` is what it asks about, if known.
    pub(crate) fn dns(&self, agent: &Agent, operator: &str, link: Option<(&Target, &Alias)>) -> Option<DnsEffect> {
        let draw = self.draw(agent, link.map(|(target, _)| target));
        self.first(|id, fault| {
            let Effect::Dns(effect) = fault.effect else { return None };
            let is_hit = fault.agents.matches(agent) && fault.targets.breaks_name(operator, link);
            (is_hit && self.is_drawn(id, fault.share, draw)).then_some(effect)
        })
    }

    /// How the target's address stands towards that agent.
    pub(crate) fn standing(&self, agent: &Agent, target: &Target) -> Standing {
        let draw = (agent.number, Some(target.number), u64::MAX);
        let standing = self.first(|id, fault| {
            let standing = match fault.effect {
                _ if fault.path => Standing::Silent,
                Effect::Connect(ConnectEffect::Timeout) => Standing::Silent,
                Effect::Connect(ConnectEffect::Refused) => Standing::Refusing,
                _ => return None,
            };
            let is_hit = fault.agents.matches(agent) && (fault.path || fault.targets.breaks_edge(target));
            (is_hit && self.is_drawn(id, fault.share, draw)).then_some(standing)
        });
        standing.unwrap_or(Standing::Open)
    }

    /// What a connection of that agent to the target will meet.
    pub(crate) fn connection(&self, agent: &Agent, target: &Target) -> Troubles {
        let draw = self.draw(agent, Some(target));
        let mut troubles = Troubles::default();
        for (id, fault) in self.active.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if fault.path || !fault.agents.matches(agent) || !self.is_drawn(*id, fault.share, draw) {
                continue;
            }
            if fault.targets.breaks_origin_alone(target) {
                match fault.effect {
                    // The CDN, not the agent, walks to the origin: only a fault from everywhere is on its way.
                    Effect::Connect(_) | Effect::Tls(_) if fault.agents.is_empty() => {
                        troubles.http.get_or_insert(HttpEffect::Status(GATEWAY_TIMEOUT));
                    }
                    Effect::Http(effect) => _ = troubles.http.get_or_insert(effect),
                    _ => {}
                }
            } else if fault.targets.matches(target) {
                match fault.effect {
                    Effect::Connect(ConnectEffect::Reset) => troubles.is_reset = true,
                    Effect::Tls(effect) => _ = troubles.tls.get_or_insert(effect),
                    Effect::Http(effect) => _ = troubles.http.get_or_insert(effect),
                    Effect::Connect(_) | Effect::Dns(_) => {}
                }
            }
        }
        troubles
    }

    fn first<T>(&self, hit: impl Fn(FaultId, &Fault) -> Option<T>) -> Option<T> {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        active.iter().find_map(|(id, fault)| hit(*id, fault))
    }

    fn draw(&self, agent: &Agent, target: Option<&Target>) -> (u8, Option<u16>, u64) {
        let number = target.map(|target| target.number);
        let pair = usize::from(agent.number) * self.world.targets.len() + number.map_or(0, usize::from);
        let count = self.draws.get(pair).map_or(0, |draws| draws.fetch_add(1, Ordering::Relaxed));
        (agent.number, number, count)
    }

    fn is_drawn(&self, id: FaultId, share: f64, draw: (u8, Option<u16>, u64)) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, id.0, draw).hash(&mut hasher);
        // 32 bits are exact in a double.
        let drawn = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
        f64::from(drawn) / 2f64.powi(32) < share
    }
}

/// What a CDN answers for an origin that it cannot reach.
const GATEWAY_TIMEOUT: u16 = 504;

#[cfg(test)]
mod tests;
