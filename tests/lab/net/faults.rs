//! What is broken: faults by selector, layer and effect, and the board that servers ask.
//!
//! Rules: a fault that speaks of a region or service acts where that region answers, so behind a CDN the edge stays up
//! and answers 504 for its dead origin; a fault of a CDN breaks the CDN's own name, not its customers' zones; a fault
//! of a DNS operator breaks every question to that operator's servers. Shares are drawn from a hash of the seed, so
//! the same seed and the same order of probes suffer the same. A share of runs at the connect layer (unless `reset`)
//! is a share of (agent, target) addresses in packets, since an address is open or shut; elsewhere it is of connections
//! and questions. Observations draw each run.

mod lot;
mod select;
mod words;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use lot::{Lot, ShareOf};
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
    /// Of what that is a part.
    pub share_of: ShareOf,
    /// The agents' whole path is lost: targets, resolver and coordinator alike.
    pub path: bool,
}

impl Fault {
    /// Whether it is the trouble of resolvers, which spares those who ask an operator themselves.
    pub(crate) fn is_of_resolvers(&self) -> bool {
        matches!(self.effect, Effect::Dns(_)) && !self.agents.resolver.is_empty()
    }
}

/// Who asks an operator's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The agent itself.
    Agent,
    /// A resolver on its behalf.
    Resolver,
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
    /// A good answer, this much later. Observations only.
    Slow(Duration),
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
    /// A router on the way says that there is no way. Observations only.
    Unreachable,
    /// Packets get lost: silence for the share, this much more time for the others. Observations only.
    Loss(Duration),
    /// Answers well, this much later. Observations only.
    Slow(Duration),
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
    /// A good handshake, this much later.
    Slow(Duration),
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

impl Effect {
    /// Whether a socket of the emulated internet can show it.
    pub fn is_shown_by_packets(self) -> bool {
        !matches!(
            self,
            Self::Dns(DnsEffect::Slow(_))
                | Self::Connect(ConnectEffect::Unreachable | ConnectEffect::Loss(_) | ConnectEffect::Slow(_))
        )
    }
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

/// A fault in force, and who suffers where it is partial.
#[derive(Clone, Debug)]
struct Active {
    id: FaultId,
    fault: Fault,
    lot: Lot,
}

/// All active faults; servers ask it at each question and connection.
#[derive(Debug)]
pub struct FaultBoard {
    world: Arc<World>,
    seed: u64,
    active: RwLock<Vec<Active>>,
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
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        active.iter().map(|active| (active.id, active.fault.clone())).collect()
    }

    pub(crate) fn set(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let lot = Lot::new(&fault, &self.world, self.seed, id.0);
        self.active.write().unwrap_or_else(PoisonError::into_inner).push(Active { id, fault, lot });
        id
    }

    pub(crate) fn clear(&self, id: FaultId) {
        self.active.write().unwrap_or_else(PoisonError::into_inner).retain(|active| active.id != id);
    }

    /// Whether everything that agent sends is lost.
    pub(crate) fn path_is_lost(&self, agent: &Agent) -> bool {
        self.first(|active| (active.fault.path && active.fault.agents.matches(agent)).then_some(())).is_some()
    }

    /// What happens to a question of that agent to the servers of `operator`; `link` is what it asks about, if known.
    pub(crate) fn dns(
        &self,
        (agent, asker): (&Agent, Asker),
        operator: &str,
        link: Option<(&Target, &Alias)>,
    ) -> Option<DnsEffect> {
        let draw = self.draw(agent, link.map(|(target, _)| target));
        self.first(|active| {
            let fault = &active.fault;
            let Effect::Dns(effect) = fault.effect else { return None };
            let is_spared = asker == Asker::Agent && fault.is_of_resolvers();
            let is_hit = !is_spared && fault.agents.matches(agent) && fault.targets.breaks_name(operator, link);
            (is_hit && active.lot.is_drawn(agent.number, link.map(|(target, _)| target.number), draw)).then_some(effect)
        })
    }

    /// How the target's address stands towards that agent.
    pub(crate) fn standing(&self, agent: &Agent, target: &Target) -> Standing {
        let standing = self.first(|active| {
            let fault = &active.fault;
            let standing = match fault.effect {
                _ if fault.path => Standing::Silent,
                Effect::Connect(ConnectEffect::Timeout) => Standing::Silent,
                Effect::Connect(ConnectEffect::Refused) => Standing::Refusing,
                _ => return None,
            };
            let is_hit = fault.agents.matches(agent) && (fault.path || fault.targets.breaks_edge(target));
            (is_hit && active.lot.is_drawn(agent.number, Some(target.number), u64::MAX)).then_some(standing)
        });
        standing.unwrap_or(Standing::Open)
    }

    /// What a connection of that agent to the target will meet.
    pub(crate) fn connection(&self, agent: &Agent, target: &Target) -> Troubles {
        let draw = self.draw(agent, Some(target));
        let mut troubles = Troubles::default();
        for Active { fault, lot, .. } in self.active.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if fault.path || !fault.agents.matches(agent) || !lot.is_drawn(agent.number, Some(target.number), draw) {
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

    fn first<T>(&self, hit: impl Fn(&Active) -> Option<T>) -> Option<T> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).iter().find_map(hit)
    }

    /// How many draws that pair has had.
    fn draw(&self, agent: &Agent, target: Option<&Target>) -> u64 {
        let place = target.map_or(0, |target| usize::from(target.number));
        let pair = usize::from(agent.number) * self.world.targets.len() + place;
        self.draws.get(pair).map_or(0, |draws| draws.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a CDN answers for an origin that it cannot reach.
pub(crate) const GATEWAY_TIMEOUT: u16 = 504;

#[cfg(test)]
mod tests;
