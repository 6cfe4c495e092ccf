//! Agents that are not heard of, because of a silence or because their whole path is lost, and what becomes of what they see
//! meanwhile.

use std::time::Duration;

use super::draw::{Draw, For, micros};
use crate::{scenario::Scenario, world::World};

/// When the coordinator gives a session up. Source: the coordinator's ingest.
pub(super) const SILENT_AFTER: i64 = 37_500_000;

/// One time in which an agent is not heard of; instants are microseconds of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) from: i64,
    /// `None` is for good.
    pub(super) until: Option<i64>,
    /// When it is connected again.
    pub(super) back: i64,
    /// Whether it goes on looking.
    pub(super) looks: bool,
    /// Whether nothing that it sends arrives anywhere.
    pub(super) is_path: bool,
}

impl Absence {
    fn covers(&self, at: i64) -> bool {
        at >= self.from && self.until.is_none_or(|until| at < until)
    }
}

/// All absences, by agent.
#[derive(Clone, Debug)]
pub(super) struct Absences(Vec<Vec<Absence>>);

impl Absences {
    pub(super) fn new(world: &World, scenario: &Scenario, seed: u64) -> Self {
        let of = |agent: &crate::world::Agent| {
            let silences = scenario.silences.iter().filter(|silence| silence.agents.matches(agent));
            let silences = silences.map(|silence| (silence.at, silence.until, silence.has_backlog, false));
            let paths = scenario.breaks.iter().filter(|broken| broken.fault.path && broken.fault.agents.matches(agent));
            let paths = paths.flat_map(|broken| broken.spells(scenario.run)).map(|(at, until)| (at, until, true, true));
            let absence = |(number, (at, until, looks, is_path)): (u64, (Duration, Option<Duration>, bool, bool))| {
                let mut draw = Draw::of(seed, For::Return, u64::from(agent.number), number);
                let until = until.map(span);
                let back = until.map_or(i64::MAX, |until| until + micros(draw.between(RECONNECT)));
                Absence { from: span(at), until, back, looks, is_path }
            };
            (0..).zip(silences.chain(paths)).map(absence).collect()
        };
        Self(world.agents.iter().map(of).collect())
    }

    pub(super) fn of(&self, agent: usize) -> &[Absence] {
        &self.0[agent]
    }

    /// The absence in which what this agent delivers at that time has to wait: until there is a session again.
    pub(super) fn holding(&self, agent: usize, at: i64) -> Option<&Absence> {
        self.0[agent].iter().find(|absence| (absence.from..absence.back).contains(&at))
    }

    /// The absence that this agent is in at that time of the scenario.
    pub(super) fn at(&self, agent: usize, at: i64) -> Option<&Absence> {
        self.0[agent].iter().find(|absence| absence.covers(at))
    }
}

/// From the end of a silence to a session. Source: chosen within the agent's back-off.
const RECONNECT: (f64, f64) = (0.5, 5.0);

/// How long an agent takes to deliver its backlog, seconds. Source: chosen.
pub(super) const BACKLOG: (f64, f64) = (0.0, 10.0);

/// A span as microseconds.
pub(super) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
