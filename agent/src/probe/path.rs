//! How far the way to an address still goes: the routers that answered, and what a failing target's results say of it.
//!
//! Rules: a walk follows a failure and never delays it, so its last hop comes with the target's next failed result; an
//! address is walked to at most every `AGAIN_AFTER`, one address at a time, `APART` from the one before; an address
//! that answers again has no last hop. Private hops are this network's own business and useless to anybody else: only a
//! public one goes on the wire.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_proto::{
    convert, question,
    types::v1::{Assignment, Cause, Outcome, ProbeResult, assignment::Spec},
};
use lru::LruCache;
use tokio::{sync::Notify, time::Instant};
use url::Url;

pub use self::walk::walk;
use super::dns::split_server;
use crate::policy::{Policy, Ports};

mod walk;

/// One that answered on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its distance: the least hop limit at which it answered, from 1.
    pub ttl: u8,
    /// Its address, or that of the one of its interfaces that it answers from.
    pub address: IpAddr,
    /// From the datagram to the answer.
    pub round_trip: Duration,
}

/// Those that answered on the way, the nearest first, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    hops: Vec<Hop>,
}

impl Path {
    /// Those that answered, the nearest first.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The farthest that answered.
    pub fn last(&self) -> Option<&Hop> {
        self.hops.last()
    }

    /// The farthest that answered from a public address.
    pub fn last_public(&self) -> Option<&Hop> {
        self.hops.iter().rfind(|hop| is_public(hop.address))
    }

    /// Whether the address itself answered.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.hops.iter().any(|hop| hop.address == address)
    }

    /// Adds an answer. Who answers at several distances, as a router that has no way on does, is at the least of them.
    fn add(&mut self, hop: Hop) {
        match self.hops.iter_mut().find(|known| known.address == hop.address) {
            Some(known) if known.ttl <= hop.ttl => return,
            Some(known) => *known = hop,
            None => self.hops.push(hop),
        }
        self.hops.sort_by_key(|hop| hop.ttl);
    }
}

fn is_public(address: IpAddr) -> bool {
    let strict = Policy { ports: Ports::Any, ..Policy::default() };
    strict.allows(SocketAddr::new(address, 1)).is_ok()
}

/// Where the run did not come through, if it is the way there that a walk can tell more about.
pub fn towards(assignment: &Assignment, result: &ProbeResult) -> Option<SocketAddr> {
    let is_lost = matches!(
        result.cause(),
        Cause::ConnectTimeout
            | Cause::ConnectUnreachable
            | Cause::QuicHandshakeTimeout
            | Cause::DnsTimeout
            | Cause::DnsUnreachable
    );
    if is_lost { place(assignment, result) } else { None }
}

/// The address and port that the run was about; `None` where that was some resolver.
fn place(assignment: &Assignment, result: &ProbeResult) -> Option<SocketAddr> {
    let tried = convert::address(&result.address).ok().flatten();
    let is_name = matches!(result.cause(), Cause::DnsTimeout | Cause::DnsUnreachable);
    let (address, port) = match assignment.spec.as_ref()? {
        Spec::Tcp(spec) if !is_name => (tried?, u16::try_from(spec.port).ok()?),
        Spec::Tls(spec) if !is_name => (tried?, u16::try_from(spec.port).ok()?),
        Spec::Https(spec) | Spec::Http3(spec) if !is_name => {
            (tried?, Url::parse(&spec.url).ok()?.port_or_known_default()?)
        }
        Spec::Dns(spec) => {
            let (server, port) = split_server(&spec.server)?;
            let port = port.unwrap_or(question::port(spec.transport()));
            (tried.or_else(|| server.parse().ok())?, port)
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// What is known of the ways to failing addresses, and which to walk next. Threads share it.
#[derive(Debug)]
pub(crate) struct Hints {
    ways: Mutex<Ways>,
    wanted: Notify,
}

impl Hints {
    pub(crate) fn new() -> Self {
        Self { ways: Mutex::new(Ways::new()), wanted: Notify::new() }
    }

    /// Notes how a run ended, and tells a failed one the last hop that is known.
    pub(crate) fn note(&self, assignment: &Assignment, result: &mut ProbeResult) {
        let now = Instant::now();
        let mut ways = self.ways();
        match (result.outcome(), towards(assignment, result)) {
            (Outcome::Failed, Some(target)) => {
                result.last_hop = ways.failed(now, target).map(convert::octets).unwrap_or_default();
                if ways.pending.is_some() {
                    self.wanted.notify_one();
                }
            }
            (Outcome::Passed | Outcome::Failed, None) => {
                if let Some(place) = place(assignment, result) {
                    ways.answered(place.ip());
                }
            }
            _ => {}
        }
    }

    /// Walks where failures ask for it, for ever, or until the kernel says that it does not let this process.
    pub(crate) async fn walk_on(&self, source: Option<IpAddr>) {
        loop {
            self.wanted.notified().await;
            let Some(target) = self.ways().pending.take() else { continue };
            let walked = walk(target, source).await;
            let is_possible = walked.as_ref().map_or_else(|error| !walk::is_forbidden(error), |_| true);
            if let (Err(error), false) = (&walked, is_possible) {
                tracing::info!(%error, "no path hints: the kernel reports no ICMP errors to this process");
                self.ways().is_off = true;
                return;
            }
            let hop = walked.ok().and_then(|path| path.last_public().map(|hop| hop.address));
            self.ways().walked(Instant::now(), target.ip(), hop);
        }
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pure part of [`Hints`].
#[derive(Debug)]
struct Ways {
    known: LruCache<IpAddr, Way>,
    /// The next to walk to.
    pending: Option<SocketAddr>,
    /// When the last walk was asked for, while it goes on and after.
    last_walk: Option<Instant>,
    is_walking: bool,
    is_off: bool,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    walked: Instant,
    is_failing: bool,
    last_hop: Option<IpAddr>,
}

impl Ways {
    fn new() -> Self {
        Self { known: LruCache::new(MAX_KNOWN), pending: None, last_walk: None, is_walking: false, is_off: false }
    }

    /// The last hop towards it, as far as it is known; asks for a walk where one is due.
    fn failed(&mut self, now: Instant, target: SocketAddr) -> Option<IpAddr> {
        let way = self.known.get_mut(&target.ip());
        let is_known = way.as_ref().is_some_and(|way| now < way.walked + AGAIN_AFTER);
        let last_hop = way.and_then(|way| {
            way.is_failing = true;
            way.last_hop
        });
        let is_time = self.last_walk.is_none_or(|last| now >= last + APART);
        if !is_known && is_time && !self.is_walking && !self.is_off && !target.ip().is_loopback() {
            (self.pending, self.last_walk, self.is_walking) = (Some(target), Some(now), true);
            self.known.put(target.ip(), Way { walked: now, is_failing: true, last_hop });
        }
        last_hop
    }

    fn answered(&mut self, target: IpAddr) {
        if let Some(way) = self.known.peek_mut(&target) {
            (way.is_failing, way.last_hop) = (false, None);
        }
    }

    /// Takes what a walk found; an address that has answered meanwhile keeps none.
    fn walked(&mut self, now: Instant, target: IpAddr, last_hop: Option<IpAddr>) {
        self.is_walking = false;
        if let Some(way) = self.known.peek_mut(&target) {
            way.walked = now;
            way.last_hop = last_hop.filter(|_| way.is_failing);
        }
    }
}

/// Least time between two walks to an address. Start value: routes settle within minutes, and a way that is lost for
/// longer is asked again.
const AGAIN_AFTER: Duration = Duration::from_mins(5);
/// Least time between two walks. Start value: at most six datagrams a second, whatever fails.
const APART: Duration = Duration::from_secs(10);
/// Addresses that are remembered: as many as there may be assignments by default.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(1000).expect("above zero");

#[cfg(test)]
mod tests;
