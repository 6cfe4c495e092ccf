//! The whole surface of the core: inputs are applied, time is advanced, outputs come back.

mod searching;
mod told;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::told::{
    Input, LookAgain, Maker, Observation, Output, Remark, Saying, SessionChange, SessionState, SnapshotError, Way,
};
use crate::{
    change::{CellChange, Change, IncidentId, Visibility},
    explanation::Explanation,
    identifiability::{self, Report},
    incident::Incidents,
    known::Known,
    look_again::Looks,
    matrix::{self, Key},
    settings::Settings,
    spells::Spells,
    time::Timestamp,
    visibility::{Groups, Sight},
    vocabulary::{Cause, Layer, Outcome, State, Verdict},
    window::Sample,
    world::{AgentId, World},
};

/// How often a session's state counts as a look at the agent's own uplink. Source: the heartbeat of a session.
const UPLINK_LOOK: Duration = Duration::from_secs(15);

/// For so long an onset that an open incident explains is still searched from. Source: two intervals.
const FRESH_ONSET: Duration = Duration::from_mins(1);

/// Onsets closer together than this are searched from once. Source: half of the time in which causes count as one
/// (`assessment`).
const SAME_ONSET: Duration = Duration::from_secs(2);

/// How often it is worked out afresh who can see and what the matrix shows, and after how long what a search made nothing
/// of is searched again. Source: `faultline-lab bench engine`: it keeps a quiet tick below a millisecond at 10,000 cells.
const CALM: Duration = Duration::from_secs(5);

/// For so long an incident that is fresh, or not yet named, and not about one party's own is searched at every tick: it
/// gets its first numbers and its narrowest name. Source: the shortest window and two agreeing ticks.
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
    /// What searches have looked at: by element, how suspicious it was, and when.
    searched: BTreeMap<String, (f64, Timestamp)>,
    looks: Looks,
    spells: Spells,
    /// When a search last showed each party in fault.
    parties: BTreeMap<Verdict, Timestamp>,
    /// When we were last cut off from so many agents that silence said nothing of them.
    cut_off_at: Option<Timestamp>,
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
            Input::Remark(remark) => self.state.incidents.remark(remark),
        }
    }

    /// Concludes from all inputs so far, as of `now`. Call it every second, in silence too; further ticks in between hear of a
    /// deciding result sooner, and change nothing else.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Output> {
        self.look_at_uplinks(now);
        self.state.known.tick(now, &self.settings);
        self.state.known.prepare();
        self.state.ticked_at = now;
        let heard = self.state.incidents.hear(now);
        let mut outputs = Vec::new();
        let sees_anew = now.since(self.state.saw_at) >= CALM;
        if sees_anew {
            outputs.extend(self.see(now));
        }
        if let Some(suspicions) = self.is_worth_a_search(now) {
            let assessments = self.infer(now, &suspicions);
            self.state.searched_at = now;
            outputs.extend(self.state.looks.propose(&assessments, now));
            self.state.incidents.assess(assessments, &self.settings, now, &mut outputs);
        } else if !self.state.incidents.any_open() {
            self.state.incidents.nothing();
        }
        self.state.incidents.settle(&self.state.known, &self.settings, now, &mut outputs);
        self.clear_away(&outputs, now);
        let explained = self.state.incidents.end_withdrawals(&self.state.known, &self.settings, now);
        let is_released = !explained.is_empty();
        self.state.known.lay_aside(explained.into_iter(), now);
        if is_released
            || outputs.iter().any(|output| matches!(output, Output::Change(_)))
            || self.state.searched_at == now
        {
            let frozen = self.state.incidents.freezes();
            self.state.known.freeze(frozen.into_iter());
        }
        if sees_anew {
            outputs.extend(self.paint(now));
        }
        // Apart from the others: what people say moves nothing above.
        heard.into_iter().chain(outputs).collect()
    }

    /// Whether the last tick had anything to find out: then the next result may decide something.
    pub fn is_attentive(&self) -> bool {
        self.state.searched_at == self.state.ticked_at
    }

    /// Whether any incident goes on.
    pub fn any_open(&self) -> bool {
        self.state.incidents.any_open()
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
        let (mut state, left): (Fold, &[u8]) = postcard::take_from_bytes(rest)?;
        if !left.is_empty() {
            return Err(SnapshotError::Unreadable(postcard::Error::DeserializeBadEncoding));
        }
        state.known.index();
        Ok(Self { state, settings })
    }

    fn observe(&mut self, observation: &Observation) {
        let Fold { known, distrusted, heard_at, late, unknown, ticked_at, spells, .. } = &mut self.state;
        *heard_at = observation.received_at.max(*heard_at);
        spells.hear(observation.received_at);
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
        let is_slow = failed.is_none() && observation.took.is_some_and(|took| known.is_slow(place, took));
        let slow = is_slow.then(|| known.walked(place, observation.slowest)).flatten();
        let is_on_demand = observation.is_on_demand;
        let sample = Sample { at, failed, own_fault, slow, maker: observation.maker, is_on_demand };
        known.push(place, sample, &self.settings);
    }

    /// Lets each session stand for a look at the agent's own way out.
    fn look_at_uplinks(&mut self, now: Timestamp) {
        let Fold { sessions, known, cut_off_at, .. } = &mut self.state;
        if is_cut_off(known, sessions) {
            *cut_off_at = Some(now);
        }
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

    /// Lays aside the samples that resolved incidents explain, so that they explain nothing twice.
    fn clear_away(&mut self, outputs: &[Output], now: Timestamp) {
        for output in outputs {
            let Output::Change(change) = output else { continue };
            if change.state != State::Resolved || !change.superseded_by.is_empty() {
                continue;
            }
            let Fold { incidents, known, .. } = &mut self.state;
            if let Some(tracked) = incidents.all.iter_mut().find(|tracked| tracked.change.incident == change.incident) {
                known.lay_aside(tracked.places(), now);
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

/// Share of the agents, of more than one country, whose silence means that it is the coordinator that is cut off from them.
/// Source: networks and countries fall silent by themselves, continents do not.
const CUT_OFF: usize = 4;

/// Whether so many agents are silent that it must be us.
fn is_cut_off(known: &Known, sessions: &BTreeMap<AgentId, (SessionState, Timestamp)>) -> bool {
    let silent: Vec<&AgentId> =
        sessions.iter().filter(|(_, (state, _))| *state == SessionState::Silent).map(|(agent, _)| agent).collect();
    let countries: std::collections::BTreeSet<Option<&str>> =
        silent.iter().filter_map(|agent| known.vantage_of(agent)).map(|vantage| vantage.country.as_deref()).collect();
    silent.len() * 2 >= sessions.len().max(1) || (silent.len() * CUT_OFF >= sessions.len() && countries.len() > 1)
}

#[cfg(test)]
mod tests;
