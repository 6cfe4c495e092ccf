//! Drive: whole seconds pass, runs are applied before the second at which they count, changes come out.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use faultline_attribution::{AgentId, Change, Engine, Input, Output, TargetId, Timestamp, WorldChange};

use super::{
    ReplayError, Replayal,
    order::{Key, Replayed},
};
use crate::{observe::learn::Learner, ranges::Ranges, results::UnknownFields};

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;

/// Runs are known again for at least this long after they were received: a second copy that comes later is late.
const MEMORY: i64 = 300;

/// The whole second at or before an instant.
pub(super) fn second_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(SECOND)
}

/// Where changes go; `Break` ends the replay.
type Publish<'p> = &'p mut dyn FnMut(&Change) -> Result<ControlFlow<()>, ReplayError>;

/// An engine, and the time it has reached.
pub(super) struct Driver {
    engine: Engine,
    agents: Vec<AgentId>,
    targets: Vec<TargetId>,
    learner: Learner,
    /// The last tick.
    ticked: Option<i64>,
    seen: Seen,
    results: u64,
    duplicates: u64,
}

impl Driver {
    pub(super) fn new(engine: Engine, ranges: Arc<Ranges>, agents: &[AgentId], targets: &[TargetId]) -> Self {
        Self {
            engine,
            agents: agents.to_vec(),
            targets: targets.to_vec(),
            learner: Learner::new(ranges),
            ticked: None,
            seen: Seen::default(),
            results: 0,
            duplicates: 0,
        }
    }

    /// Lets time pass up to this second, and counts its runs, which are in order.
    pub(super) fn tick(
        &mut self,
        second: i64,
        runs: Vec<Replayed>,
        publish: Publish<'_>,
    ) -> Result<ControlFlow<()>, ReplayError> {
        if self.pass(second - 1, publish)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for replayed in runs {
            if self.seen.is_new(second, replayed.key()) {
                self.results += 1;
                self.apply(replayed);
            } else {
                self.duplicates += 1;
            }
        }
        self.advance(second, publish)
    }

    /// Lets time pass up to the end.
    pub(super) fn end(mut self, end: Option<i64>, publish: Publish<'_>) -> Result<Replayal, ReplayError> {
        match end {
            // Whether somebody wants no more or time is up, this is the end.
            Some(end) => self.pass(end, publish).map(|_| self.finish()),
            None => Ok(self.finish()),
        }
    }

    pub(super) fn finish(self) -> Replayal {
        Replayal {
            engine: self.engine,
            results: self.results,
            duplicates: self.duplicates,
            unknown: UnknownFields::default(),
        }
    }

    /// Lets silence pass.
    fn pass(&mut self, until: i64, publish: Publish<'_>) -> Result<ControlFlow<()>, ReplayError> {
        let Some(ticked) = self.ticked else { return Ok(ControlFlow::Continue(())) };
        for second in ticked + 1..=until {
            // Recordings span years, most of them silence: nothing would come of these ticks.
            if self.engine.is_idle() {
                break;
            }
            if self.advance(second, publish)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn apply(&mut self, replayed: Replayed) {
        let (agent, target) = (&self.agents[replayed.agent as usize], &self.targets[replayed.target as usize]);
        if let Some(sighted) = &replayed.sighting
            && let Some(learned) = self.learner.learn_from(agent, target, &sighted.reading, sighted.address)
        {
            self.engine.apply(&Input::World(WorldChange::Learned(target.clone(), learned)));
        }
        let observation = replayed.run.observation(agent.clone(), target.clone());
        self.engine.apply(&Input::Observation(observation));
    }

    fn advance(&mut self, second: i64, publish: Publish<'_>) -> Result<ControlFlow<()>, ReplayError> {
        self.ticked = Some(second);
        for output in self.engine.advance(Timestamp::from_micros(second.saturating_mul(SECOND))) {
            if let Output::Change(change) = output
                && publish(&change)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Runs that counted in the last minutes. Bound: two generations of [`MEMORY`] seconds each.
#[derive(Default)]
struct Seen {
    since: i64,
    young: HashSet<Key>,
    old: HashSet<Key>,
}

impl Seen {
    fn is_new(&mut self, second: i64, key: Key) -> bool {
        if second - self.since >= MEMORY {
            let far = second - self.since >= 2 * MEMORY;
            self.old = std::mem::take(&mut self.young);
            if far {
                self.old.clear();
            }
            self.since = second;
        }
        !self.old.contains(&key) && self.young.insert(key)
    }
}
