//! The driver of schedule, prober, batcher and spool: the only place where probes are started.
//!
//! Rules: every run is a task of one `JoinSet`, at most `max_concurrency` at a time, and a run that finds no place is
//! skipped and counted; what the coordinator asks for goes beside that and makes way for it; a run more than five seconds late is not started but reported as `overloaded`; what has
//! finished together is sealed together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use faultline_proto::{
    agent::v1::LookRefusal,
    clock::Clock,
    convert,
    types::v1::{Assignment, Reason},
};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinError, JoinSet},
};
use tracing::Instrument;

use crate::{
    batch::{BatchLimits, Batcher},
    blackbox::own::Doing,
    machine::Recognised,
    probe::{Observed, Prober},
    renewal::Signals,
    schedule::{LookLimits, Origin, PaceLimits, Refused, RunId, Schedule},
    selfcheck::SelfCheck,
    spool::{Spool, Stamp},
    status::Board,
};

/// What probing and the uplink share.
pub(crate) struct Shared {
    pub(crate) spool: Spool,
    pulse: Mutex<Pulse>,
    board: Mutex<Board>,
    pub(crate) check: SelfCheck,
    /// Between the uplink and who keeps the identity good.
    pub(crate) identity: Signals,
    machine: OnceLock<Recognised>,
}

/// How the scheduler is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse {
    /// Worst lateness since the last heartbeat.
    pub(crate) worst_lag: Duration,
    pub(crate) in_flight: usize,
    pub(crate) skipped_runs: u64,
    /// Looks that were asked for and not made.
    pub(crate) refused_looks: Refused,
}

/// What the coordinator wants; the newest replaces the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) version: u64,
    pub(crate) assignments: Arc<Vec<Assignment>>,
    pub(crate) limits: BatchLimits,
}

/// A request to run these slots now.
#[derive(Clone, Debug)]
pub(crate) struct LookAgain {
    pub(crate) slots: Vec<u32>,
    /// Nothing is started after this; in this agent's time.
    pub(crate) deadline: i64,
}

/// Requests that wait for the driver; what is beyond is refused as crowded.
pub(crate) const REQUESTS: usize = 4;

impl Shared {
    pub(crate) fn new(spool: Spool, check: SelfCheck) -> Self {
        let board = Mutex::new(Board::new());
        let identity = Signals::default();
        Self { spool, pulse: Mutex::default(), board, check, identity, machine: OnceLock::new() }
    }

    /// Notes which machine this is; the first word stands.
    pub(crate) fn is_on(&self, machine: Recognised) {
        self.board().recognised(machine.is_other);
        self.machine.get_or_init(|| machine);
    }

    /// Which machine this is.
    pub(crate) fn machine(&self) -> Recognised {
        self.machine.get().copied().unwrap_or_default()
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands finished results of a slot to the batcher: from here on they are made.
    pub(crate) fn hand_over(&self, now: i64, slot: u32, observed: Vec<Observed>, batcher: &mut Batcher) {
        self.spool.made(observed.len() as u64);
        for observed in observed {
            batcher.add(now, slot, observed);
        }
    }

    /// Puts what the batcher holds into the spool.
    pub(crate) fn seal(&self, now: i64, batcher: &mut Batcher, skipped_runs: u64) {
        let Some(sealed) = batcher.seal() else { return };
        let clock_error = self.check.clock_error();
        self.spool.push(sealed, Stamp { now, skipped_runs, clock_error });
    }

    /// What an operator may ask for.
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the agent is doing, for whoever scrapes it.
    pub(crate) fn doing(&self) -> Doing {
        let (pulse, spool) = (self.last_pulse(), self.spool.view());
        let board = self.board();
        Doing {
            runs: board.runs().clone(),
            skipped_runs: pulse.skipped_runs,
            scheduler_lag: pulse.worst_lag,
            probes_in_flight: pulse.in_flight,
            spool,
            is_spool_durable: self.spool.is_durable(),
            is_session_up: board.is_up(),
        }
    }

    /// The pulse as it stands.
    pub(crate) fn last_pulse(&self) -> Pulse {
        self.pulse().clone()
    }

    /// The pulse; its worst lag starts anew.
    pub(crate) fn take_pulse(&self) -> Pulse {
        let mut pulse = self.pulse();
        let taken = pulse.clone();
        pulse.worst_lag = Duration::ZERO;
        taken
    }

    /// Counts looks that are refused.
    pub(crate) fn refuse_looks(&self, reason: LookRefusal, looks: usize) {
        tracing::debug!(looks, reason = convert::word(reason), "looks refused");
        self.pulse().refused_looks.add(reason, looks);
    }
}

pub(crate) struct Probing {
    pub(crate) prober: Prober,
    pub(crate) clock: Clock,
    pub(crate) max_concurrency: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) requests: mpsc::Receiver<LookAgain>,
    pub(crate) limits: LookLimits,
    pub(crate) pace: PaceLimits,
    /// Moves looks apart from those of other agents.
    pub(crate) seed: u64,
    pub(crate) stopped: watch::Receiver<bool>,
}

/// Runs in flight.
#[derive(Default)]
struct Runs {
    tasks: JoinSet<(RunId, Origin, Vec<Observed>)>,
    /// Those that may have to make way.
    looks: HashMap<RunId, AbortHandle>,
}

impl Probing {
    /// Probes until stopped; leaves every finished result sealed in the spool.
    pub(crate) async fn run(mut self) {
        let mut schedule = Schedule::new(self.limits, self.pace, self.seed);
        let mut batcher = Batcher::after(self.shared.spool.view().last_facts);
        let mut runs = Runs::default();
        let mut in_force = Arc::new(Vec::new());
        let mut stopped = self.stopped.clone();
        loop {
            let now = self.clock.now_micros();
            self.start(now, &mut schedule, &mut batcher, &mut runs);
            if batcher.due().is_some_and(|due| due <= now) {
                self.shared.seal(now, &mut batcher, schedule.skipped_runs());
            }
            self.report(&mut schedule);
            let next = [schedule.next_due(), batcher.due()].into_iter().flatten().min();
            let pause = next.map_or(LONGEST_SLEEP, |next| span(next - now).min(LONGEST_SLEEP));
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = self.orders.changed() => {
                    let orders = self.orders.borrow_and_update().clone();
                    batcher.set_limits(orders.limits);
                    if !Arc::ptr_eq(&orders.assignments, &in_force) {
                        in_force = orders.assignments;
                        schedule.replace(self.clock.now_micros(), in_force.iter().cloned());
                    }
                }
                Some(ended) = runs.tasks.join_next() => {
                    let now = self.clock.now_micros();
                    self.collect(now, ended, &mut schedule, &mut batcher, &mut runs);
                    while let Some(ended) = runs.tasks.try_join_next() {
                        self.collect(now, ended, &mut schedule, &mut batcher, &mut runs);
                    }
                }
                Some(LookAgain { slots, deadline }) = self.requests.recv() => {
                    schedule.ask(self.clock.now_micros(), &slots, deadline);
                }
                () = self.clock.sleep(pause) => {}
            }
        }
        self.shared.seal(self.clock.now_micros(), &mut batcher, schedule.skipped_runs());
        self.report(&mut schedule);
    }

    fn start(&self, now: i64, schedule: &mut Schedule, batcher: &mut Batcher, runs: &mut Runs) {
        for run in schedule.due(now, self.max_concurrency) {
            let (id, origin) = (run.id, run.origin);
            if let Some(look) = run.displaces.and_then(|look| runs.looks.remove(&look)) {
                look.abort();
            }
            if run.lag > OVERLOAD_LAG {
                schedule.finished(id);
                let overloaded = Observed::unmeasured(now, Reason::Overloaded);
                self.shared.board().ran(&overloaded);
                self.hand_over(now, id, origin, vec![overloaded], batcher);
                continue;
            }
            if run.lag > LATE_LAG {
                tracing::debug!(slot = id.slot, lag_ms = run.lag.as_millis(), "late run");
            }
            let prober = self.prober.clone();
            let shared = Arc::clone(&self.shared);
            let run = async move {
                let began = shared.check.stamp();
                let mut observed = prober.run(&run.assignment).await;
                for observed in &mut observed {
                    shared.check.judge(began, &run.assignment, observed);
                    shared.board().ran_as(&run.assignment, observed);
                }
                (id, origin, observed)
            };
            let task = runs.tasks.spawn(run.in_current_span());
            if origin == Origin::Look {
                runs.looks.insert(id, task);
            }
        }
    }

    /// Books a finished run; a panic of a probe is the agent's panic. A look that made way leaves nothing.
    fn collect(
        &self,
        now: i64,
        ended: Result<(RunId, Origin, Vec<Observed>), JoinError>,
        schedule: &mut Schedule,
        batcher: &mut Batcher,
        runs: &mut Runs,
    ) {
        match ended {
            Ok((run, origin, observed)) => {
                runs.looks.remove(&run);
                schedule.probed_further(now, run, observed.len().saturating_sub(1));
                schedule.finished(run);
                self.hand_over(now, run, origin, observed, batcher);
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Hands over what a run left, and says why it was made.
    fn hand_over(&self, now: i64, run: RunId, origin: Origin, mut observed: Vec<Observed>, batcher: &mut Batcher) {
        for observed in &mut observed {
            observed.result.on_demand = origin == Origin::Look;
        }
        self.shared.hand_over(now, run.slot, observed, batcher);
    }

    fn report(&self, schedule: &mut Schedule) {
        let refused = schedule.take_refused();
        for (reason, looks) in refused.iter() {
            tracing::debug!(looks, reason = convert::word(reason), "looks refused");
        }
        let mut pulse = self.shared.pulse();
        pulse.worst_lag = pulse.worst_lag.max(schedule.take_worst_lag());
        pulse.in_flight = schedule.running();
        pulse.skipped_runs = schedule.skipped_runs();
        pulse.refused_looks.merge(&refused);
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
    use crate::config::Starvation;
    use crate::probe::testing::{Authority, prober};

    const SECOND: i64 = 1_000_000;

    #[tokio::test]
    async fn a_run_that_is_far_too_late_is_overloaded_and_not_started() {
        let (_orders, orders) = watch::channel(Orders::default());
        let (_stop, stopped) = watch::channel(false);
        let (_ask, requests) = mpsc::channel(1);
        let probing = Probing {
            prober: prober(&Authority::new()),
            clock: Clock::system(),
            max_concurrency: 64,
            shared: Arc::new(Shared::new(
                Spool::memory([0; 16], 1 << 20),
                SelfCheck::new(Clock::system(), Starvation::Disowns),
            )),
            orders,
            requests,
            limits: LookLimits::default(),
            pace: PaceLimits::default(),
            seed: 0,
            stopped,
        };
        let (mut schedule, mut batcher, mut runs) =
            (Schedule::new(probing.limits, probing.pace, probing.seed), Batcher::new(), Runs::default());
        schedule.replace(0, [assignment(1, 0), assignment(2, 5)]);
        probing.start(6 * SECOND, &mut schedule, &mut batcher, &mut runs);
        assert_eq!((runs.tasks.len(), schedule.running()), (1, 1));
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
