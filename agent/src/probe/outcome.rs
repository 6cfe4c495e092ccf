//! How a run ended, how long each layer took and what was seen on the way.
//!
//! Rules: a failed probe is data, never an `Err` of the program; "could not look" is an outcome of its own; every span
//! is in the agent clock's time, so that an emulated internet reports what its scenario says; a phase begins where the one
//! before it ended, so that the phases of a run add up to its total and no time lies between them.

use std::{collections::BTreeMap, future::Future, net::IpAddr, sync::Arc, time::Duration};

use faultline_proto::{
    clock::{Clock, Elapsed},
    convert,
    types::v1::{self as wire, Cause, Layer, Protocol, Reason},
};
use tokio::time::Instant;

use super::{certificate::Certificate, detail::Detail};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every layer of the kind passed.
    Passed,
    /// This layer failed; the earlier ones passed and later ones were not tried.
    Failed {
        /// The layer.
        layer: Layer,
        /// Why.
        cause: Cause,
    },
    /// The agent could not look, which says nothing of the target.
    Unmeasured {
        /// Why.
        reason: Reason,
    },
}

/// Time spent per phase; absent where the phase was not reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Name resolution.
    pub dns: Option<Duration>,
    /// TCP or QUIC handshake.
    pub connect: Option<Duration>,
    /// TLS handshake over TCP.
    pub tls: Option<Duration>,
    /// From the end of the handshake to the head of the answer.
    pub first_byte: Option<Duration>,
    /// From the head to the end of the body.
    pub body: Option<Duration>,
}

/// A phase of a run that has ended, see [`Timings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Dns,
    Connect,
    Tls,
    FirstByte,
    Body,
}

/// What a run saw of how a target is put together; equal facts are sent once and named by a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// CNAME chain in order, without the name that was asked for.
    pub cnames: Vec<String>,
    /// Headers that edges set, cut to their shape.
    pub edge: BTreeMap<String, String>,
    /// Common name or organisation of the certificate's issuer; empty when none was seen.
    pub issuer: String,
    /// Who answered the name; empty for a literal address.
    pub resolver: String,
    /// Certificates that the peer presented, its own first, accepted or not.
    pub chain: Vec<Arc<Certificate>>,
    /// Name that the DNS server gave itself (RFC 5001); empty where it gave none.
    pub nsid: String,
    /// What the OCSP response said that the peer stapled: `good`, `revoked`, `unknown` or `malformed`; empty without one.
    pub ocsp: String,
}

impl Facts {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The facts on the wire, under their number.
    pub fn to_wire(&self, number: u32) -> wire::Facts {
        wire::Facts {
            number,
            cnames: self.cnames.clone(),
            edge: self.edge.clone().into_iter().collect(),
            issuer: self.issuer.clone(),
            resolver: self.resolver.clone(),
            chain: self.chain.iter().map(|certificate| certificate.to_wire()).collect(),
            nsid: self.nsid.clone(),
            ocsp: self.ocsp.clone(),
        }
    }
}

/// One run of one assignment: the result without its slot and fact number, and what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The result; `slot` and `facts` are zero.
    pub result: wire::ProbeResult,
    /// What was seen, when anything was.
    pub facts: Option<Facts>,
}

impl Observed {
    /// A run that started at `at_micros` and could not look.
    pub fn unmeasured(at_micros: i64, reason: Reason) -> Self {
        let result = wire::ProbeResult {
            started_at: Some(convert::timestamp(at_micros)),
            attempt: 1,
            ..wire::ProbeResult::default()
        };
        Self { result: with_outcome(result, Outcome::Unmeasured { reason }), facts: None }
    }

    /// Takes back what was seen: it told of this agent. Which run it was, and when, stays.
    pub(crate) fn disown(&mut self, reason: Reason) {
        let wire::ProbeResult { slot, started_at, attempt, on_demand, .. } = std::mem::take(&mut self.result);
        let result = wire::ProbeResult { slot, started_at, attempt, on_demand, ..wire::ProbeResult::default() };
        *self = Self { result: with_outcome(result, Outcome::Unmeasured { reason }), facts: None };
    }

    /// How the run ended; `None` for a value outside the contract, which no run of this build makes.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.result.outcome() {
            wire::Outcome::Passed => Some(Outcome::Passed),
            wire::Outcome::Failed => Some(Outcome::Failed { layer: self.result.layer(), cause: self.result.cause() }),
            wire::Outcome::Unmeasured => Some(Outcome::Unmeasured { reason: self.result.reason() }),
            wire::Outcome::Unspecified => None,
        }
    }
}

/// Why a run stopped before its last layer passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Failed(Layer, Cause),
    Unmeasured(Reason),
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(layer, cause) => Self::Failed { layer, cause },
            Stop::Unmeasured(reason) => Self::Unmeasured { reason },
        }
    }
}

/// The one deadline of a run, all layers together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) clock: Clock,
    began: Instant,
    limit: Duration,
}

impl Budget {
    pub(crate) fn new(clock: Clock, limit: Duration) -> Self {
        Self { clock, began: Instant::now(), limit }
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.spent())
    }

    pub(crate) fn spent(&self) -> Duration {
        self.clock.since(self.began)
    }

    /// The future's value, unless the run's time is up first.
    pub(crate) async fn within<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        self.clock.timeout(self.remaining(), future).await
    }
}

/// What a run has measured and seen so far; survives the layer that is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) budget: Budget,
    timings: Timings,
    /// Time spent when the last phase ended.
    accounted: Duration,
    has_first_byte: bool,
    pub(crate) address: Option<IpAddr>,
    pub(crate) protocol: Protocol,
    pub(crate) status: Option<u16>,
    pub(crate) rcode: Option<u16>,
    pub(crate) facts: Facts,
    /// What else was seen, where it is asked for.
    pub(crate) detail: Option<Box<Detail>>,
    /// Aliases and resolver of the first of several names.
    of_first_name: Option<(Vec<String>, String)>,
}

impl Progress {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            timings: Timings::default(),
            accounted: Duration::ZERO,
            has_first_byte: false,
            address: None,
            protocol: Protocol::Unspecified,
            status: None,
            rcode: None,
            facts: Facts::default(),
            detail: None,
            of_first_name: None,
        }
    }

    /// Books the time since the last phase ended.
    pub(crate) fn end(&mut self, phase: Phase) {
        let spent = self.budget.spent();
        let span = spent.saturating_sub(self.accounted);
        self.accounted = spent;
        let booked = match phase {
            Phase::Dns => &mut self.timings.dns,
            Phase::Connect => &mut self.timings.connect,
            Phase::Tls => &mut self.timings.tls,
            Phase::FirstByte => &mut self.timings.first_byte,
            Phase::Body => &mut self.timings.body,
        };
        *booked = Some(booked.unwrap_or_default() + span);
        self.has_first_byte |= phase == Phase::FirstByte;
    }

    /// Whether the head of an answer was read.
    pub(crate) fn has_first_byte(&self) -> bool {
        self.has_first_byte
    }

    /// Goes on to another place: time adds up, and what is seen there takes the place of what was seen here, but for the name that
    /// the run is about.
    pub(crate) fn next_hop(&mut self) {
        self.has_first_byte = false;
        if let Some(detail) = &mut self.detail {
            detail.next_hop();
        }
        let Facts { cnames, resolver, .. } = std::mem::take(&mut self.facts);
        self.of_first_name.get_or_insert((cnames, resolver));
    }

    /// The finished run.
    pub(crate) fn finish(self, started_micros: i64, outcome: Outcome) -> Observed {
        let timings = self.timings;
        // What is put away after the last phase is nobody's; a run that reached none took what it took.
        let total = if self.accounted.is_zero() { self.budget.spent() } else { self.accounted };
        let result = wire::ProbeResult {
            started_at: Some(convert::timestamp(started_micros)),
            timings: Some(wire::Timings {
                dns_us: micros(timings.dns),
                connect_us: micros(timings.connect),
                tls_us: micros(timings.tls),
                first_byte_us: micros(timings.first_byte),
                body_us: micros(timings.body),
                total_us: micros(Some(total)),
            }),
            address: self.address.map(convert::octets).unwrap_or_default(),
            protocol: self.protocol.into(),
            status: self.status.map_or(0, u32::from),
            rcode_plus_one: self.rcode.map_or(0, |rcode| u32::from(rcode) + 1),
            attempt: 1,
            ..wire::ProbeResult::default()
        };
        let mut facts = self.facts;
        if let Some((cnames, resolver)) = self.of_first_name {
            facts = Facts { cnames, resolver, ..facts };
        }
        let facts = Some(facts).filter(|facts| !facts.is_empty());
        Observed { result: with_outcome(result, outcome), facts }
    }
}

fn with_outcome(mut result: wire::ProbeResult, outcome: Outcome) -> wire::ProbeResult {
    match outcome {
        Outcome::Passed => result.set_outcome(wire::Outcome::Passed),
        Outcome::Failed { layer, cause } => {
            result.set_outcome(wire::Outcome::Failed);
            result.set_layer(layer);
            result.set_cause(cause);
        }
        Outcome::Unmeasured { reason } => {
            result.set_outcome(wire::Outcome::Unmeasured);
            result.set_reason(reason);
        }
    }
    result
}

/// Microseconds, at least one for a layer that was reached: zero means "not reached" on the wire.
fn micros(span: Option<Duration>) -> u32 {
    span.map_or(0, |span| u32::try_from(span.as_micros()).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_the_clocks_own() {
        let clock = Clock::emulated(100.0);
        let mut progress = Progress::new(Budget::new(clock, Duration::from_secs(5)));
        tokio::time::advance(Duration::from_millis(20)).await;
        progress.end(Phase::Connect);
        let result = progress.finish(0, Outcome::Failed { layer: Layer::Tls, cause: Cause::TlsReset }).result;
        assert_eq!(result.timings.map(|timings| timings.connect_us), Some(2_000_000));
        assert_eq!(
            (result.layer(), result.cause(), result.reason()),
            (Layer::Tls, Cause::TlsReset, Reason::Unspecified)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_phases_is_the_next_phases() {
        let mut progress = Progress::new(Budget::new(Clock::system(), Duration::from_secs(5)));
        for (phase, spent) in [(Phase::Dns, 10), (Phase::Connect, 25), (Phase::FirstByte, 40)] {
            tokio::time::advance(Duration::from_millis(spent)).await;
            progress.end(phase);
        }
        tokio::time::advance(Duration::from_millis(3)).await;
        let timings = progress.finish(0, Outcome::Passed).result.timings.expect("timings");
        assert_eq!((timings.dns_us, timings.connect_us, timings.first_byte_us), (10_000, 25_000, 40_000));
        assert_eq!((timings.total_us, timings.tls_us), (75_000, 0), "closing is nobody's time");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_one_for_all_layers() {
        let budget = Budget::new(Clock::system(), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(budget.remaining(), Duration::from_secs(1));
        let late = budget.within(tokio::time::sleep(Duration::from_secs(2))).await;
        assert_eq!(late, Err(Elapsed));
    }
}
