//! One run: what an agent sees of a target, layer by layer.
//!
//! Rules: layers are walked in order, and the first that fails hides the others; a failure is known when its limit is
//! over; what takes longer than its limit is a failure too.

use std::time::Duration;

use faultline_attribution::{Cause, Layer, Maker, Outcome, ProbeKind, Reason};

use super::{
    broken::{Blow, Broken, CONNECT_TIMEOUT, DNS_TIMEOUT, Meeting, RUN_TIMEOUT, Run, timeout},
    draw::{Draw, seconds},
    fleet::{Fleet, Looked},
    noise::Noise,
};

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) maker: Option<Maker>,
    pub(super) took: Duration,
    /// The layer that took most of that, where it passed.
    pub(super) slowest: Option<Layer>,
}

/// What a run may meet.
#[derive(Clone, Debug)]
pub(super) struct Sky {
    pub(super) fleet: Fleet,
    pub(super) noise: Noise,
    pub(super) broken: Broken,
    /// Whether a break is in force.
    pub(super) is_broken: bool,
    /// Share of runs whose round trips grow, and by how much at most.
    pub(super) tail: (f64, f64),
    /// By agent: how the hour of its day scales its base rates.
    pub(super) day: Vec<f64>,
}

impl Sky {
    /// Sets the hour of the day, and what noise there is.
    pub(super) fn go_to(&mut self, now: i64, swing: f64) {
        self.noise.go_to(now);
        if now.rem_euclid(60_000_000) < 1_000_000 || self.day.is_empty() {
            let utc = seconds(now.rem_euclid(86_400_000_000)) / 3600.0;
            let factor = |hours: f64| {
                // Busiest at eight in the evening. Source: the usual shape of access networks' load.
                1.0 + swing * ((utc + hours - 20.0) / 24.0 * std::f64::consts::TAU).cos()
            };
            self.day = self.fleet.agents.iter().map(|agent| factor(agent.hours)).collect();
        }
    }

    /// What that run sees; `is_cut` when nothing that the agent sends arrives.
    pub(super) fn look(&self, run: Run, is_cut: bool, draw: &mut Draw) -> Seen {
        let (pair, looked) = (self.fleet.pair(run.agent, run.target), &self.fleet.targets[run.target]);
        let (loss, overload) = (self.noise.loss[run.agent], self.noise.overload[run.agent]);
        let stretch = (JITTER * draw.bell()).exp();
        // Profiles without a tail draw nothing for it.
        let is_tail = self.tail.0 > 0.0 && draw.happens(self.tail.0);
        let stretch = if is_tail { stretch * draw.scale((1.0, self.tail.1)) } else { stretch };
        let stumbles = draw.unit() < pair.rate * self.day[run.agent];
        let is_lost = loss > 0.0 && draw.happens(loss);
        if overload > 0.0 && draw.happens(overload) {
            let outcome = Outcome::Unmeasured { reason: Reason::Overloaded };
            return Seen { outcome, status: None, maker: None, took: Duration::from_millis(1), slowest: None };
        }
        let is_usual = !stumbles && !is_lost && !is_tail && !self.is_broken && !is_cut && !pair.is_refused;
        if is_usual && self.noise.status[run.target].is_none() && !self.noise.is_dead(run.target) {
            let took = looked.layers.iter().map(|layer| usual(*layer, pair.trip)).sum::<f64>() * stretch;
            let took = Duration::from_secs_f64(took);
            // Which layer took longest matters where something did.
            return Seen { outcome: Outcome::Passed, status: None, maker: None, took, slowest: None };
        }
        let stumble = (stumbles || is_lost).then(|| stumble(looked, is_lost, draw));
        self.walk(run, is_cut, stretch, stumble)
    }

    fn walk(&self, run: Run, is_cut: bool, stretch: f64, stumble: Option<Blow>) -> Seen {
        let (pair, looked) = (self.fleet.pair(run.agent, run.target), &self.fleet.targets[run.target]);
        let is_quic = looked.kind == ProbeKind::Http3;
        let (mut took, mut longest) = (Duration::ZERO, Duration::ZERO);
        let mut slowest = None;
        for layer in looked.layers.iter().copied() {
            let mut meeting = Meeting::default();
            if is_cut {
                let after = if layer == Layer::Dns { DNS_TIMEOUT } else { CONNECT_TIMEOUT };
                meeting.blow = Some(Blow::new(layer, timeout(layer, is_quic), after));
            } else if self.is_broken {
                meeting = self.broken.meet(run, layer);
            }
            let own = || self.own_trouble(run, layer);
            let blow = meeting.blow.or_else(own).or_else(|| stumble.filter(|blow| blow.layer == layer));
            let time = Duration::from_secs_f64(usual(layer, pair.trip) * stretch) + meeting.delay;
            let limit = match layer {
                Layer::Dns => DNS_TIMEOUT,
                Layer::Connect => CONNECT_TIMEOUT,
                Layer::Tls | Layer::Http => RUN_TIMEOUT,
            };
            let limit = limit.min(RUN_TIMEOUT.saturating_sub(took));
            let blow = blow.or_else(|| (time > limit).then(|| Blow::new(layer, timeout(layer, is_quic), limit)));
            if let Some(blow) = blow {
                let outcome = Outcome::Failed { layer, cause: blow.cause };
                let maker = blow.maker.filter(|_| looked.has_cdn);
                let took = (took + time.min(limit).max(blow.after)).min(RUN_TIMEOUT);
                return Seen { outcome, status: blow.status, maker, took, slowest: None };
            }
            took += time;
            if time > longest {
                longest = time;
                // One handshake is both; whoever waits for it cannot tell.
                slowest = Some(if is_quic && layer == Layer::Tls { Layer::Connect } else { layer });
            }
        }
        Seen { outcome: Outcome::Passed, status: None, maker: None, took, slowest }
    }

    /// What is wrong with the target itself, or with how it takes that agent.
    fn own_trouble(&self, run: Run, layer: Layer) -> Option<Blow> {
        let is_quic = self.fleet.targets[run.target].kind == ProbeKind::Http3;
        match layer {
            Layer::Connect if self.noise.is_dead(run.target) => {
                Some(Blow::new(layer, timeout(layer, is_quic), CONNECT_TIMEOUT))
            }
            Layer::Http if self.fleet.pair(run.agent, run.target).is_refused => {
                Some(Blow::status(403, Some(Maker::Edge)))
            }
            Layer::Http => self.noise.status[run.target].map(|status| Blow::status(status, Some(Maker::Origin))),
            _ => None,
        }
    }
}

/// Spread of the time that runs take, in the logarithm.
const JITTER: f64 = 0.2;

/// Time that a layer usually takes, seconds, at that round trip. Source: chosen: a name is mostly cached nearby, a
/// handshake is a round trip, a small answer one more and some work.
fn usual(layer: Layer, trip: f64) -> f64 {
    match layer {
        Layer::Dns => 0.006,
        Layer::Connect => trip,
        Layer::Tls => trip + 0.003,
        Layer::Http => trip + 0.02,
    }
}

/// A failure without a cause worth a name, at one of the layers. Lost packets are timeouts; the rest is a mixture.
/// Source: chosen, by what the recorded checks behind this project show most.
fn stumble(looked: &Looked, is_lost: bool, draw: &mut Draw) -> Blow {
    let layer = draw.one_of(&looked.layers);
    let is_quic = looked.kind == ProbeKind::Http3;
    let after = match layer {
        Layer::Dns => DNS_TIMEOUT,
        Layer::Connect => CONNECT_TIMEOUT,
        Layer::Tls | Layer::Http => RUN_TIMEOUT,
    };
    if is_lost || draw.happens(0.6) {
        return Blow::new(layer, timeout(layer, is_quic), after);
    }
    let quick = Duration::from_millis(5);
    match layer {
        Layer::Dns => Blow::new(layer, Cause::DnsServfail, quick),
        Layer::Connect if is_quic => Blow::new(layer, Cause::QuicProtocolError, quick),
        Layer::Connect => Blow::new(layer, Cause::ConnectReset, quick),
        Layer::Tls => Blow::new(layer, Cause::TlsReset, quick),
        Layer::Http if draw.happens(0.5) => Blow::new(layer, Cause::HttpReset, quick),
        Layer::Http => Blow::status(503, Some(Maker::Origin)),
    }
}
