//! The whole surface of the core: inputs are applied, time is advanced, outputs come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    assessment::{Assessment, Scene},
    change::{CellChange, Change, IncidentId, Visibility},
    evidence,
    explanation::Explanation,
    identifiability::{self, Report},
    incident::Incidents,
    inference::{self, Doubt, Hypothesis},
    known::Known,
    look_again::Looks,
    matrix::{self, Key},
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
const ONSETS: usize = 2;

/// Windows that are searched in full: those in which some element stands out most.
const SEARCHED: usize = 2;

/// Onsets closer together than this are searched from once.
const SAME_ONSET: Duration = Duration::from_secs(2);

/// How often it is worked out afresh who can see and what the matrix shows, and how often a search begins for the sake of
/// an endpoint or a vantage alone.
const CALM: Duration = Duration::from_secs(5);

/// How often a fault that nothing is new of is searched. Source: how often numbers that moved are published.
const DUE: Duration = Duration::from_secs(30);

/// For so long an incident that is fresh, or not yet named, and not about one party's own is searched at every tick: it
/// gets its first numbers and its narrowest name.
const YOUNG: Duration = Duration::from_secs(10);

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
    /// Who saw what, and which groups are live, as of the last time that was worked out.
    sights: Vec<Sight>,
    groups: Groups,
    saw_at: Timestamp,
    searched_at: Timestamp,
    heard_at: Timestamp,
    ticked_at: Timestamp,
    /// Onsets that the last search believed in: windows that begin there hold nothing from before the fault.
    onsets: Vec<Timestamp>,
    looks: Looks,
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
        self.state.known.tick(now, &self.settings);
        self.state.ticked_at = now;
        let mut outputs = Vec::new();
        let sees_anew = now.since(self.state.saw_at) >= CALM;
        if sees_anew {
            self.state.known.prepare();
            outputs.extend(self.see(now));
        }
        if self.is_worth_a_search(now) {
            let assessments = self.infer(now);
            self.state.searched_at = now;
            outputs.extend(self.state.looks.propose(&assessments, now));
            self.state.incidents.assess(assessments, &self.settings, now, &mut outputs);
        } else if !self.state.incidents.any_open() {
            self.state.incidents.nothing();
        }
        self.state.incidents.settle(&self.state.known, &self.settings, now, &mut outputs);
        self.clear_away(&outputs, now);
        if outputs.iter().any(|output| matches!(output, Output::Change(_))) || self.state.searched_at == now {
            let frozen = self.state.incidents.freezes();
            self.state.known.freeze(frozen.into_iter());
        }
        if sees_anew {
            outputs.extend(self.paint(now));
        }
        outputs
    }

    /// Why an incident says what it says; `None` for an unknown one.
    pub fn explain(&self, incident: &IncidentId) -> Option<Explanation> {
        let tracked = self.state.incidents.all.iter().find(|tracked| tracked.change.incident == *incident)?;
        Some(tracked.explanation.clone())
    }

    /// The newest revision of every incident, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Change> {
        self.state.incidents.all.iter().map(crate::incident::Tracked::published)
    }

    /// Results that named an unknown agent or target, and results that came too late to count.
    pub fn ignored(&self) -> (u64, u64) {
        (self.state.unknown, self.state.late)
    }

    /// Whether nothing can come of more silence: everything that was heard has left the windows, and no session is
    /// watched. Ticks until the next input may then be left out.
    pub fn is_idle(&self) -> bool {
        let watched = self.state.sessions.values().any(|(state, _)| *state != SessionState::Goodbye);
        let span = self.settings.horizon.max(self.settings.fresh) + self.settings.settle + CALM * 2;
        !watched && self.state.ticked_at.since(self.state.heard_at) > span
    }

    /// Which elements this fleet and catalog cannot tell apart, and what would.
    pub fn identifiability(&self) -> Report {
        let (world, learned) = self.state.known.world();
        identifiability::report(&world, &learned)
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
        let mut state: Fold = postcard::from_bytes(rest)?;
        state.known.index();
        Ok(Self { state, settings })
    }

    fn observe(&mut self, observation: &Observation) {
        let Fold { known, distrusted, heard_at, late, unknown, ticked_at, .. } = &mut self.state;
        *heard_at = observation.received_at.max(*heard_at);
        if !distrusted.is_empty() && distrusted.get(&observation.agent).is_some_and(|since| observation.at >= *since) {
            return;
        }
        let took = observation.took.unwrap_or_default();
        // A clock that is wrong says nothing of when; arrival does.
        let at = if observation.is_clock_suspect { observation.received_at.before(took) } else { observation.at };
        let failed = match observation.outcome {
            Outcome::Passed => None,
            Outcome::Failed { layer, cause } => Some((layer, cause)),
            Outcome::Unmeasured { reason } => {
                // Says nothing of the target.
                return known.note_blocked(&observation.agent, at, reason);
            }
        };
        let Some(place) = known.place(&observation.agent, &observation.target, &observation.way) else {
            *unknown += 1;
            return;
        };
        if observation.is_late || observation.received_at.since(at.after(took)) > self.settings.late {
            *late += 1;
            // It may complete the record of what is open; it opens nothing.
            let in_windows = at >= ticked_at.before(self.settings.horizon);
            if !in_windows || !known.cell(place).is_frozen {
                return;
            }
        }
        // A client error is the endpoint's own word: robot blocks and quotas are no outage of what carries it.
        let own_fault = matches!(failed, Some((_, Cause::HttpStatus)))
            && observation.status.is_some_and(|status| (400..500).contains(&status));
        let slow = failed.is_none() && observation.took.is_some_and(|took| known.is_slow(place, took));
        let sample = Sample { at, failed, own_fault, slow, maker: observation.maker };
        known.push(place, sample, &self.settings);
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
                known.observe_uplink(agent, Sample::new(*looked_at, failed), &self.settings);
            }
        }
    }

    fn see(&mut self, now: Timestamp) -> Option<Output> {
        let state = &mut self.state;
        state.saw_at = now;
        state.sights = state.known.sights(now.before(self.settings.fresh));
        state.groups = state.known.groups(&state.sights);
        let visibility = state.groups.visibility(now, &state.sights, &self.settings);
        let changed = state.visibility.as_ref().is_none_or(|before| !before.is_same_sight(&visibility));
        state.visibility = Some(visibility.clone());
        changed.then_some(Output::Visibility(visibility))
    }

    /// Whether anything new is to be found out.
    fn is_worth_a_search(&mut self, now: Timestamp) -> bool {
        if self.state.known.troubled.is_empty() {
            return false;
        }
        let incidents = &self.state.incidents;
        let is_due = now.since(self.state.searched_at) >= DUE;
        if incidents.any_open() && (is_due || incidents.any_young(now, YOUNG)) {
            return true;
        }
        let is_local_due = now.since(self.state.searched_at) >= CALM;
        self.state.known.prepare();
        let live = u32::try_from(self.state.groups.live().count()).unwrap_or(u32::MAX);
        let quorum = u32::try_from(self.settings.quorum_groups).unwrap_or(u32::MAX);
        self.state.known.is_suspicious(now, &self.settings, quorum.min(live.max(1)), is_local_due)
    }

    /// Explains what fails in the window that shows most; empty when nothing does.
    fn infer(&mut self, now: Timestamp) -> Vec<Assessment> {
        let onsets = std::mem::take(&mut self.state.onsets);
        if now.since(self.state.saw_at) > Duration::ZERO {
            self.state.sights = self.state.known.sights(now.before(self.settings.fresh));
            self.state.groups = self.state.known.groups(&self.state.sights);
        }
        self.state.known.prepare();
        let Fold { known, groups, sights, sessions, .. } = &self.state;
        let liars = groups.live().count().saturating_sub(1) / 5;
        let domains = domains(known, groups);
        let doubt = Doubt { liars, domains: &domains };
        // When most agents fall silent at once, it is the coordinator that is cut off.
        let silent = sessions.values().filter(|(state, _)| *state == SessionState::Silent).count();
        let with_uplinks = silent * 2 < sessions.len();
        let mut from: Vec<Timestamp> =
            self.settings.windows.iter().map(|window| now.before(*window)).chain(onsets.iter().copied()).collect();
        from.sort_unstable_by(|a, b| b.cmp(a));
        from.dedup();
        let candidates = known.candidates(now, &self.settings);
        let windows = evidence::gather(known, &from, &candidates, with_uplinks, &self.settings);
        let mut ranked: Vec<(f64, usize)> =
            windows.iter().enumerate().map(|(place, window)| (inference::promise(window), place)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chosen: BTreeSet<usize> = ranked.into_iter().take(SEARCHED).map(|(_, place)| place).collect();
        chosen.extend((0..windows.len()).filter(|place| onsets.contains(&windows[*place].from)));
        let mut best: Option<(usize, Hypothesis)> = None;
        for place in chosen {
            let hypothesis = inference::explain(&windows[place], &self.settings, doubt);
            if best.as_ref().is_none_or(|(_, held)| hypothesis.score > held.score) {
                best = Some((place, hypothesis));
            }
        }
        let Some((place, hypothesis)) = best else { return Vec::new() };
        let scene = Scene {
            known,
            evidence: &windows[place],
            hypothesis: &hypothesis,
            groups,
            sights,
            settings: &self.settings,
            liars,
            now,
        };
        let assessments = scene.assess();
        let horizon = now.before(self.settings.horizon);
        let mut onsets: Vec<Timestamp> =
            assessments.iter().map(|assessment| assessment.onset.at).filter(|at| *at > horizon).collect();
        onsets.dedup_by(|a, b| a.since(*b).max(b.since(*a)) < SAME_ONSET);
        onsets.truncate(ONSETS);
        self.state.onsets = onsets;
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
    fn paint(&mut self, now: Timestamp) -> Vec<Output> {
        let Fold { known, sights, .. } = &self.state;
        let shown = matrix::paint(known, sights, &self.settings, now.before(self.settings.fresh));
        let mut outputs = Vec::new();
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

/// The network of each group, as a number: groups of one network fail and lie together.
fn domains(known: &Known, groups: &Groups) -> Vec<u32> {
    let mut numbers: BTreeMap<&String, u32> = BTreeMap::new();
    let none = String::new();
    let networks: Vec<&String> = known
        .map()
        .groups
        .iter()
        .map(|name| groups.0.get(name).and_then(|group| group.networks.first()).unwrap_or(&none))
        .collect();
    for network in &networks {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        numbers.entry(network).or_insert(next);
    }
    networks.iter().map(|network| numbers[network]).collect()
}

#[cfg(test)]
mod tests;
