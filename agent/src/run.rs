//! The driver of schedule, prober, batcher and spool: the only place where probes are started.
//!
//! Rules: every run is a task of one `JoinSet`, at most `max_concurrency` at a time, and a run that finds no place is
//! skipped and counted; a run more than five seconds late is not started but reported as `overloaded`; what has
//! finished together is sealed together.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_proto::{
    clock::Clock,
    types::v1::{Assignment, Reason},
};
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
};
use tracing::Instrument;

use crate::{
    batch::{BatchLimits, Batcher},
    probe::{Observed, Prober},
    schedule::Schedule,
    spool::Spool,
};

/// What probing and the uplink share.
pub(crate) struct Shared {
    spool: Mutex<Spool>,
    pulse: Mutex<Pulse>,
    /// Rung when the spool has grown.
    pub(crate) filled: Notify,
}

/// How the scheduler is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// Worst lateness since the last heartbeat.
    pub(crate) worst_lag: Duration,
    pub(crate) in_flight: usize,
    pub(crate) skipped_runs: u64,
}

/// What the coordinator wants; the newest replaces the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) version: u64,
    pub(crate) assignments: Arc<Vec<Assignment>>,
    pub(crate) limits: BatchLimits,
}

impl Shared {
    pub(crate) fn new(spool: Spool) -> Self {
        Self { spool: Mutex::new(spool), pulse: Mutex::default(), filled: Notify::new() }
    }

    pub(crate) fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pulse; its worst lag starts anew.
    pub(crate) fn take_pulse(&self) -> Pulse {
        let mut pulse = self.pulse();
        let taken = *pulse;
        pulse.worst_lag = Duration::ZERO;
        taken
    }
}

pub(crate) struct Probing {
    pub(crate) prober: Prober,
    pub(crate) clock: Clock,
    pub(crate) max_concurrency: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) stopped: watch::Receiver<bool>,
}

type Runs = JoinSet<(u32, Observed)>;

impl Probing {
    /// Probes until stopped; leaves every finished result sealed in the spool.
    pub(crate) async fn run(mut self) {
        let mut schedule = Schedule::new();
        let mut batcher = Batcher::new();
        let mut runs = Runs::new();
        let mut in_force = Arc::new(Vec::new());
        loop {
            let now = self.clock.now_micros();
            self.start(now, &mut schedule, &mut batcher, &mut runs);
            if batcher.due().is_some_and(|due| due <= now) {
                self.seal(now, &mut batcher, &schedule);
            }
            self.report(&mut schedule);
            let next = [schedule.next_due(), batcher.due()].into_iter().flatten().min();
            let pause = next.map_or(LONGEST_SLEEP, |next| span(next - now).min(LONGEST_SLEEP));
            tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = self.orders.changed() => {
                    let orders = self.orders.borrow_and_update().clone();
                    batcher.set_limits(orders.limits);
                    if !Arc::ptr_eq(&orders.assignments, &in_force) {
                        in_force = orders.assignments;
                        schedule.replace(self.clock.now_micros(), in_force.iter().cloned());
                    }
                }
                Some(ended) = runs.join_next() => {
                    let now = self.clock.now_micros();
                    collect(now, ended, &mut schedule, &mut batcher);
                    while let Some(ended) = runs.try_join_next() {
                        collect(now, ended, &mut schedule, &mut batcher);
                    }
                }
                () = self.clock.sleep(pause) => {}
            }
        }
        self.seal(self.clock.now_micros(), &mut batcher, &schedule);
        self.report(&mut schedule);
    }

    fn start(&self, now: i64, schedule: &mut Schedule, batcher: &mut Batcher, runs: &mut Runs) {
        for run in schedule.due(now, self.max_concurrency.saturating_sub(runs.len())) {
            let slot = run.assignment.slot;
            if run.lag > OVERLOAD_LAG {
                schedule.finished(slot);
                batcher.add(now, slot, Observed::unmeasured(now, Reason::Overloaded));
                continue;
            }
            if run.lag > LATE_LAG {
                tracing::debug!(slot, lag_ms = run.lag.as_millis(), "late run");
            }
            let prober = self.prober.clone();
            let run = async move { (slot, prober.run(&run.assignment).await) };
            runs.spawn(run.in_current_span());
        }
    }

    fn seal(&self, now: i64, batcher: &mut Batcher, schedule: &Schedule) {
        let Some(sealed) = batcher.seal() else { return };
        let (lost, dropped) = {
            let mut spool = self.shared.spool();
            let before = spool.dropped_results();
            let lost = spool.push(now, sealed, schedule.skipped_runs());
            (lost, spool.dropped_results() - before)
        };
        batcher.forget(&lost);
        if dropped > 0 {
            tracing::warn!(dropped, "spool full");
        }
        self.shared.filled.notify_one();
    }

    fn report(&self, schedule: &mut Schedule) {
        let mut pulse = self.shared.pulse();
        pulse.worst_lag = pulse.worst_lag.max(schedule.take_worst_lag());
        pulse.in_flight = schedule.running();
        pulse.skipped_runs = schedule.skipped_runs();
    }
}

/// Books a finished run; a panic of a probe is the agent's panic.
fn collect(now: i64, ended: Result<(u32, Observed), JoinError>, schedule: &mut Schedule, batcher: &mut Batcher) {
    match ended {
        Ok((slot, observed)) => {
            schedule.finished(slot);
            batcher.add(now, slot, observed);
        }
        Err(error) => {
            if let Ok(panic) = error.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

const LATE_LAG: Duration = Duration::from_secs(2);
const OVERLOAD_LAG: Duration = Duration::from_secs(5);
/// Bounds how long a wall clock that was set forward goes unnoticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use faultline_proto::{
        convert::duration,
        types::v1::{Outcome, TcpSpec, assignment::Spec},
    };

    use super::*;
    use crate::probe::testing::{Authority, prober};

    const SECOND: i64 = 1_000_000;

    #[tokio::test]
    async fn a_run_that_is_far_too_late_is_overloaded_and_not_started() {
        let (_orders, orders) = watch::channel(Orders::default());
        let (_stop, stopped) = watch::channel(false);
        let probing = Probing {
            prober: prober(&Authority::new()),
            clock: Clock::system(),
            max_concurrency: 64,
            shared: Arc::new(Shared::new(Spool::new([0; 16], 1 << 20))),
            orders,
            stopped,
        };
        let (mut schedule, mut batcher, mut runs) = (Schedule::new(), Batcher::new(), Runs::new());
        schedule.replace(0, [assignment(1, 0), assignment(2, 5)]);
        probing.start(6 * SECOND, &mut schedule, &mut batcher, &mut runs);
        assert_eq!((runs.len(), schedule.running()), (1, 1));
        let sealed = batcher.seal().expect("one result");
        assert_eq!(sealed.results.len(), 1);
        let late = &sealed.results[0];
        assert_eq!((late.slot, late.outcome(), late.reason()), (1, Outcome::Unmeasured, Reason::Overloaded));
    }

    fn assignment(slot: u32, phase: u64) -> Assignment {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Assignment {
            slot,
            interval: Some(duration(Duration::from_secs(30))),
            phase: Some(duration(Duration::from_secs(phase))),
            timeout: Some(duration(Duration::from_secs(1))),
            spec: Some(Spec::Tcp(TcpSpec { host: nowhere.ip().to_string(), port: nowhere.port().into() })),
            ..Assignment::default()
        }
    }
}
