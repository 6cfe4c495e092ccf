//! The whole surface of the core: inputs are applied, time is advanced, outputs come back.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    assessment::{Assessment, Scene},
    change::{CellChange, Change, IncidentId, Visibility},
    evidence::Evidence,
    explanation::Explanation,
    incident::Incidents,
    inference::{self, Hypothesis},
    known::Known,
    matrix::{self, Key, Matrix},
    settings::Settings,
    time::Timestamp,
    visibility::{Groups, Sight},
    vocabulary::{Cause, Layer, Outcome, State},
    window::Sample,
    world::{AgentId, TargetId, World, WorldChange},
};

/// One run as the core is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Who looked.
    pub agent: AgentId,
    /// At what.
    pub target: TargetId,
    /// Start of the run.
    pub at: Timestamp,
    /// When the coordinator got it.
    pub received_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whom the name was asked of.
    pub way: Way,
    /// Who wrote the answer, where that shows.
    pub maker: Option<Maker>,
    /// Time that the run took.
    pub took: Option<Duration>,
    /// Arrived long after its end, or with the backlog of an agent that was cut off: corrects, but opens nothing.
    pub is_late: bool,
    /// The agent's clock was wrong: the run happened when its result arrived, as far as anybody knows.
    pub is_clock_suspect: bool,
    /// Asked for by [`LookAgain`] instead of the schedule.
    pub is_on_demand: bool,
}

impl Observation {
    /// A run of the schedule through the agent's own resolver, of which only the outcome is known.
    pub fn new(agent: AgentId, target: TargetId, at: Timestamp, outcome: Outcome) -> Self {
        Self {
            agent,
            target,
            at,
            received_at: at,
            outcome,
            status: None,
            way: Way::default(),
            maker: None,
            took: None,
            is_late: false,
            is_clock_suspect: false,
            is_on_demand: false,
        }
    }
}

/// Whom the name was asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// The agent's own resolver.
    #[default]
    System,
    /// This resolver, by address or name.
    Resolver(String),
    /// One of the zone's own name servers: no resolver stands between.
    Authority(String),
}

/// Who wrote an HTTP answer behind a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Maker {
    /// The CDN's edge.
    Edge,
    /// The origin: the edge passed its answer on.
    Origin,
}

/// A look that would tell the remaining explanations apart: this agent, at this target, now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LookAgain {
    /// Who should look.
    pub agent: AgentId,
    /// At what.
    pub target: TargetId,
}

/// What became of an agent's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// It is connected and speaks.
    Up,
    /// It has not been heard of for longer than it should, and did not say goodbye.
    Silent,
    /// It said goodbye.
    Goodbye,
}

/// A change of an agent's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionChange {
    /// Whose.
    pub agent: AgentId,
    /// Since when: for silence, when the agent was last heard of.
    pub at: Timestamp,
    /// What.
    pub state: SessionState,
}

/// What the core is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A run.
    Observation(Observation),
    /// Targets, agents or what was learned of them changed.
    World(WorldChange),
    /// A session came, fell silent or ended.
    Session(SessionChange),
    /// Nothing that this agent reported since then counts.
    Distrust {
        /// Who.
        agent: AgentId,
        /// Since when.
        since: Timestamp,
    },
}

/// What the core says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A revision of an incident.
    Change(Box<Change>),
    /// A cell of the matrix shows something else.
    Cell(CellChange),
    /// We see better or worse than before.
    Visibility(Visibility),
    /// A look would tell the remaining explanations apart.
    LookAgain(LookAgain),
}

/// A snapshot that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Made by another version of the engine: rebuild from the log.
    #[error("the snapshot is of engine version {found}, this is version {}", crate::ENGINE_VERSION)]
    Version {
        /// The version found.
        found: u32,
    },
    /// Not a snapshot, or a damaged one.
    #[error("the snapshot cannot be read")]
    Unreadable(#[from] postcard::Error),
}

/// How often a session's state counts as a look at the agent's own uplink.
const UPLINK_LOOK: Duration = Duration::from_secs(15);

/// Onsets that are searched from, at most.
const ONSETS: usize = 3;

/// The core: a fold over inputs.
#[derive(Clone, Debug)]
pub struct Engine {
    state: Fold,
    settings: Settings,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Fold {
    known: Known,
    incidents: Incidents,
    sessions: BTreeMap<AgentId, (SessionState, Timestamp)>,
    distrusted: BTreeMap<AgentId, Timestamp>,
    visibility: Option<Visibility>,
    cells: BTreeMap<Key, CellChange>,
    /// Onsets that the last tick believed in: windows that begin there hold nothing from before the fault.
    onsets: Vec<Timestamp>,
    /// Results that named an unknown agent or target.
    unknown: u64,
    late: u64,
}

impl Engine {
    /// An engine that knows this world and has seen nothing.
    pub fn new(world: World, settings: Settings) -> Self {
        Self { state: Fold { known: Known::new(world), ..Fold::default() }, settings }
    }

    /// Takes an input in. Nothing is concluded before [`Engine::advance`].
    pub fn apply(&mut self, input: &Input) {
        match input {
            Input::Observation(observation) => self.observe(observation),
            Input::World(change) => self.state.known.change(change),
            Input::Session(change) => {
                self.state.sessions.insert(change.agent.clone(), (change.state, change.at));
            }
            Input::Distrust { agent, since } => {
                self.state.distrusted.insert(agent.clone(), *since);
            }
        }
    }

    /// Concludes from all inputs so far, as of `now`. Call it at regular ticks, in silence too.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Output> {
        self.look_at_uplinks(now);
        let frozen = self.state.incidents.freezes();
        self.state.known.expire(now, &self.settings, |place| frozen.contains(&place));
        let sights = self.state.known.sights(now.before(self.settings.fresh));
        let groups = self.state.known.groups(&sights);
        let mut outputs = Vec::new();
        outputs.extend(self.see(&groups, &sights, now));
        let assessments = self.infer(&groups, &sights, now);
        let Fold { incidents, known, .. } = &mut self.state;
        for change in incidents.advance(assessments, known, &self.settings, now) {
            outputs.push(Output::Change(Box::new(change)));
        }
        self.clear_away(&outputs, now);
        outputs.extend(self.paint(&sights, now));
        outputs
    }

    /// Why an incident says what it says; `None` for an unknown one.
    pub fn explain(&self, incident: &IncidentId) -> Option<Explanation> {
        let tracked = self.state.incidents.all.iter().find(|tracked| tracked.change.incident == *incident)?;
        Some(tracked.explanation.clone())
    }

    /// The newest revision of every incident, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Change> {
        self.state.incidents.all.iter().map(|tracked| &tracked.change)
    }

    /// Results that named an unknown agent or target, and results that came too late to count.
    pub fn ignored(&self) -> (u64, u64) {
        (self.state.unknown, self.state.late)
    }

    /// The whole state, for a faster start than from the first record of the log.
    pub fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&(crate::ENGINE_VERSION, &self.state)).unwrap_or_default()
    }

    /// The engine of a snapshot.
    pub fn restore(snapshot: &[u8], settings: Settings) -> Result<Self, SnapshotError> {
        let (found, rest): (u32, &[u8]) = postcard::take_from_bytes(snapshot)?;
        if found != crate::ENGINE_VERSION {
            return Err(SnapshotError::Version { found });
        }
        Ok(Self { state: postcard::from_bytes(rest)?, settings })
    }

    fn observe(&mut self, observation: &Observation) {
        if self.state.distrusted.get(&observation.agent).is_some_and(|since| observation.at >= *since) {
            return;
        }
        if observation.is_late || observation.received_at.since(observation.at) > self.settings.late {
            self.state.late += 1;
            return;
        }
        let failed = match observation.outcome {
            Outcome::Passed => None,
            Outcome::Failed { layer, cause } => Some((layer, cause)),
            Outcome::Unmeasured { reason } => {
                // Says nothing of the target.
                return self.state.known.note_blocked(&observation.agent, observation.at, reason);
            }
        };
        // A client error is the endpoint's own word: robot blocks and quotas are no outage of what carries it.
        let own_fault = matches!(failed, Some((_, Cause::HttpStatus)))
            && observation.status.is_some_and(|status| (400..500).contains(&status));
        let sample = Sample { at: observation.at, failed, own_fault };
        if !self.state.known.observe(&observation.agent, &observation.target, sample, &self.settings) {
            self.state.unknown += 1;
        }
    }

    /// Lets each session stand for a look at the agent's own way out.
    fn look_at_uplinks(&mut self, now: Timestamp) {
        let Fold { sessions, known, .. } = &mut self.state;
        for (agent, (state, looked_at)) in sessions {
            let failed = match state {
                SessionState::Up => None,
                SessionState::Silent => Some((Layer::Connect, Cause::ConnectTimeout)),
                SessionState::Goodbye => continue,
            };
            // Silence counts from when it began, not from when it was noticed.
            while now.since(*looked_at) >= UPLINK_LOOK {
                *looked_at = looked_at.after(UPLINK_LOOK);
                known.observe_uplink(agent, Sample { at: *looked_at, failed, own_fault: false });
            }
        }
    }

    fn see(&mut self, groups: &Groups, sights: &BTreeMap<u32, Sight>, now: Timestamp) -> Option<Output> {
        let visibility = groups.visibility(now, sights, &self.settings);
        let changed = self.state.visibility.as_ref().is_none_or(|before| !before.is_same_sight(&visibility));
        self.state.visibility = Some(visibility.clone());
        changed.then_some(Output::Visibility(visibility))
    }

    /// Explains what fails in the window that shows most; empty when nothing does.
    fn infer(&mut self, groups: &Groups, sights: &BTreeMap<u32, Sight>, now: Timestamp) -> Vec<Assessment> {
        let onsets = std::mem::take(&mut self.state.onsets);
        if !self.state.known.any_failure(now.before(self.settings.horizon)) {
            return Vec::new();
        }
        self.state.known.prepare();
        let live = groups.live().count();
        let liars = live.saturating_sub(1) / 5;
        // When most agents fall silent at once, it is the coordinator that is cut off.
        let silent = self.state.sessions.values().filter(|(state, _)| *state == SessionState::Silent).count();
        let with_uplinks = silent * 2 < self.state.sessions.len();
        let mut best: Option<(Evidence, Hypothesis)> = None;
        let windows = self.settings.windows.iter().map(|window| now.before(*window)).chain(onsets);
        for from in windows {
            let Some(evidence) = self.state.known.evidence(from, with_uplinks, &self.settings) else {
                continue;
            };
            let hypothesis = inference::explain(&evidence, &self.settings, liars);
            if best.as_ref().is_none_or(|(_, held)| hypothesis.score > held.score) {
                best = Some((evidence, hypothesis));
            }
        }
        let Some((evidence, hypothesis)) = best else { return Vec::new() };
        let scene = Scene {
            known: &self.state.known,
            evidence: &evidence,
            hypothesis: &hypothesis,
            groups,
            sights,
            settings: &self.settings,
            liars,
        };
        let assessments = scene.assess();
        let horizon = now.before(self.settings.horizon);
        let onsets = assessments.iter().map(|assessment| assessment.onset.at).filter(|at| *at > horizon);
        self.state.onsets = onsets.take(ONSETS).collect();
        assessments
    }

    /// Forgets the samples that resolved incidents explain, so that they explain nothing twice.
    fn clear_away(&mut self, outputs: &[Output], now: Timestamp) {
        for output in outputs {
            let Output::Change(change) = output else { continue };
            if change.state != State::Resolved || !change.superseded_by.is_empty() {
                continue;
            }
            let Fold { incidents, known, .. } = &mut self.state;
            if let Some(tracked) = incidents.all.iter_mut().find(|tracked| tracked.change.incident == change.incident) {
                known.forget_samples(tracked.places(), now);
                tracked.footprint.clear();
            }
        }
    }

    /// Cells of the matrix that show something else than before.
    fn paint(&mut self, sights: &BTreeMap<u32, Sight>, now: Timestamp) -> Vec<Output> {
        let from = now.before(self.settings.fresh);
        let mut matrix = Matrix::default();
        for ((agent, target), cell) in self.state.known.cells() {
            let Some(number) = target else { continue };
            let blind = sights.get(&agent).is_some_and(|sight| sight.controls_fail());
            let (Some(vantage), Some(target)) = (self.state.known.vantage(agent), self.state.known.target(number))
            else {
                continue;
            };
            if let Some(row) = matrix::row(target, self.state.known.learned(number)).filter(|_| !blind) {
                let layers: Vec<Layer> = target.layers().collect();
                matrix.add(&row, &vantage.group, number, cell, &layers, from);
            }
        }
        let mut outputs = Vec::new();
        let shown = matrix.shown(&self.settings);
        for (key, shown) in shown {
            let before = self.state.cells.get(&key);
            if before.is_some_and(|before| before.state == shown.state) {
                continue;
            }
            let (provider, region, layer) = key.clone();
            let cell = CellChange {
                provider,
                region,
                layer,
                state: shown.state,
                failing_groups: shown.failing_groups,
                total_groups: shown.total_groups,
                changed_at: now,
            };
            self.state.cells.insert(key, cell.clone());
            outputs.push(Output::Cell(cell));
        }
        outputs
    }
}

#[cfg(test)]
mod tests;
