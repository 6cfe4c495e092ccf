//! The agent watches itself, so that its own trouble is never told as a target's.
//!
//! Rules: a run during which the agent was starved says nothing of the target. Starved means that a thread of the process
//! waited for a CPU, or that a timer of the runtime that probes fired late, whichever was more; [`judge`] says from which
//! share of a run on that counts, and it alone decides. What cannot be read is unknown, and what is unknown accuses
//! neither. Everything is read without privileges and from the process's own entries in `/proc`, which the shipped unit
//! leaves visible (`ProtectProc=invisible`, `ProcSubset=pid`). Spans are real time, at whatever speed the agent's clock
//! runs.

mod clock;
mod judge;
mod reach;
mod system;
#[cfg(test)]
mod tests;
mod ticks;
mod udp;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_proto::{
    clock::Clock,
    convert,
    types::v1::{Assignment, Reason},
};
use tokio::time::Instant;

pub use self::clock::ClockError;
pub(crate) use self::{
    clock::{Exchange, signed_duration},
    judge::{Readings, is_silence},
    system::{cgroup_file, open_files_limit},
};
use self::{
    judge::{Strain, impairments},
    reach::Reach,
    system::RunQueue,
    ticks::Ticks,
    udp::UdpEvidence,
};
use crate::{
    config::Starvation,
    probe::{Family, Observed, has_route},
};

/// What the agent knows of itself. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct SelfCheck {
    clock: Clock,
    starvation: Starvation,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    run_queue: RunQueue,
    ticks: Ticks,
    udp: UdpEvidence,
    reach: Reach,
    exchange: Option<Exchange>,
    readings: Readings,
    impairments: Vec<Reason>,
}

/// How much the process had waited when a run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    at: Instant,
    waited: Duration,
    late: Duration,
}

impl SelfCheck {
    /// Reads itself once; [`Self::watch`] goes on.
    pub(crate) fn new(clock: Clock, starvation: Starvation) -> Self {
        let state = State {
            run_queue: RunQueue::new(),
            ticks: Ticks::new(Instant::now()),
            udp: UdpEvidence::default(),
            reach: Reach::default(),
            exchange: None,
            readings: Readings::default(),
            impairments: Vec::new(),
        };
        let check = Self { clock, starvation, state: Arc::new(Mutex::new(state)) };
        let now = check.stamp();
        check.read(now, now);
        check
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beginning of a run. Source: measured, 1 us for each thread of the process.
    pub(crate) fn stamp(&self) -> Stamp {
        self.state().stamp(Instant::now())
    }

    /// Makes a result unmeasured where it tells of this agent's trouble and not of the target.
    pub(crate) fn judge(&self, began: Stamp, assignment: &Assignment, observed: &mut Observed) {
        let now = self.clock.now_micros();
        let mut state = self.state();
        let mut strain = state.stamp(Instant::now()).since(began);
        if self.starvation == Starvation::Ignored {
            strain.starved = Duration::ZERO;
        }
        state.udp.note(now, assignment, observed);
        state.reach.note(now, assignment.slot, observed);
        let clock_error = state.exchange.map(|exchange| exchange.error(self.clock));
        if let Some(reason) = judge::reason(observed, strain, clock_error, state.udp.is_blocked()) {
            drop(state);
            let starved_ms = strain.starved.as_millis();
            tracing::debug!(slot = assignment.slot, ?reason, starved_ms, "not measured");
            observed.disown(reason);
        }
    }

    /// Whether a run that began then and ended now in silence says nothing of its target.
    pub(crate) fn was_starved(&self, began: Stamp) -> bool {
        self.starvation != Starvation::Ignored && judge::is_deaf(self.state().stamp(Instant::now()).since(began))
    }

    /// Takes up what the coordinator's clock showed.
    pub(crate) fn heard_time(&self, exchange: Exchange) {
        let mut state = self.state();
        let exchange = exchange.or(state.exchange, self.clock);
        state.exchange = Some(exchange);
        let readings = Readings { clock_error: Some(exchange.error(self.clock)), ..state.readings.clone() };
        state.conclude(readings);
    }

    /// How far the clock is off, as far as that was measured.
    pub(crate) fn clock_error(&self) -> Option<ClockError> {
        self.state().exchange.map(|exchange| exchange.error(self.clock))
    }

    /// What was read last, and what follows.
    pub(crate) fn snapshot(&self) -> (Readings, Vec<Reason>) {
        let state = self.state();
        (state.readings.clone(), state.impairments.clone())
    }

    /// Watches for ever. Must run in the runtime that probes: its own lateness is what it measures.
    pub(crate) async fn watch(self) {
        let mut last = self.stamp();
        loop {
            let due = self.state().ticks.due();
            tokio::time::sleep_until(due).await;
            let now = self.tick();
            if now.at - last.at >= PERIOD {
                self.read(last, now);
                last = now;
            }
        }
    }

    fn tick(&self) -> Stamp {
        let now = Instant::now();
        let mut state = self.state();
        state.ticks.tick(now);
        state.stamp(now)
    }

    /// Reads what changes slowly, and judges it.
    fn read(&self, from: Stamp, to: Stamp) {
        let span = to.at - from.at;
        let mut state = self.state();
        if self.starvation == Starvation::Disowns {
            state.run_queue.refresh();
        }
        let readings = Readings {
            cpu_wait: state.run_queue.is_known().then(|| judge::share(to.waited.saturating_sub(from.waited), span)),
            cpu_pressure: system::cpu_pressure(),
            timer_lag: state.ticks.take_worst(),
            open_files: system::open_files(),
            open_files_limit: open_files_limit(),
            has_ipv4: has_route(Family::V4),
            has_ipv6: has_route(Family::V6),
            is_udp_blocked: state.udp.is_blocked(),
            cut_off_for: state.reach.cut_off_for(self.clock.now_micros()),
            clock_error: state.exchange.map(|exchange| exchange.error(self.clock)),
        };
        state.conclude(readings);
    }
}

impl State {
    fn conclude(&mut self, readings: Readings) {
        let found = impairments(&readings);
        if found != self.impairments {
            let impaired = found.iter().map(|reason| convert::word(*reason)).collect::<Vec<_>>().join(" ");
            tracing::warn!(impaired, "self-check changed");
        }
        self.readings = readings;
        self.impairments = found;
    }

    fn stamp(&mut self, now: Instant) -> Stamp {
        Stamp { at: now, waited: self.run_queue.waited(), late: self.ticks.late(now) }
    }
}

impl Stamp {
    fn since(self, earlier: Self) -> Strain {
        let waited = self.waited.saturating_sub(earlier.waited);
        let late = self.late.saturating_sub(earlier.late);
        Strain { span: self.at - earlier.at, starved: waited.max(late) }
    }
}

/// How often what changes slowly is read. It bounds how old a verdict is; start value.
const PERIOD: Duration = Duration::from_secs(5);
