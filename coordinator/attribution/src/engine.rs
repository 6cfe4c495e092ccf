//! The whole surface of the core: inputs are applied, time is advanced, outputs come back.

mod told;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::told::{Input, LookAgain, Maker, Observation, Output, SessionChange, SessionState, SnapshotError, Way};
use crate::{
    assessment::{self, Assessment, Scene},
    change::{CellChange, Change, IncidentId, Visibility},
    element::{Element, ElementKind},
    evidence::{self, Evidence},
    explanation::Explanation,
    identifiability::{self, Report},
    incident::Incidents,
    inference::{self, Doubt, Hypothesis, Member},
    known::{Known, Suspicions},
    look_again::Looks,
    matrix::{self, Key},
    settings::Settings,
    spells::Spells,
    time::Timestamp,
    visibility::{Groups, Sight},
    vocabulary::{Cause, Layer, Outcome, State},
    window::Sample,
    world::{AgentId, World},
};

/// How often a session's state counts as a look at the agent's own uplink. Source: the heartbeat of a session.
const UPLINK_LOOK: Duration = Duration::from_secs(15);

/// Onsets that are searched from, at most. Source: two causes at once.
const ONSETS: usize = 2;

/// Windows that are searched beside those that begin at onsets: those in which some element stands out most.
const SEARCHED: usize = evidence::WINDOWS - ONSETS;

/// For so long an onset that an open incident explains is still searched from. Source: two intervals.
const FRESH_ONSET: Duration = Duration::from_mins(1);

/// Onsets closer together than this are searched from once. Source: half of the time in which causes count as one
/// (`assessment`).
const SAME_ONSET: Duration = Duration::from_secs(2);

/// How often it is worked out afresh who can see and what the matrix shows, and after how long what a search made nothing
/// of is searched again. Source: `faultline-lab bench engine`: it keeps a quiet tick below a millisecond at 10,000 cells.
const CALM: Duration = Duration::from_secs(5);

/// The same for endpoints, agents and their ways: no cloud waits for them. Source: half an interval.
const CALM_LOCAL: Duration = Duration::from_secs(15);

/// Nats, and their share, by which a suspicion must have grown to be searched again before that. Source: as close as change
/// points are believed (design notes 4.6); a tenth more where much is known.
const GREW: (f64, f64) = (2.0, 1.1);

/// How often a fault that nothing is new of is searched. Source: how often numbers that moved are published.
const DUE: Duration = Duration::from_secs(30);

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
        }
    }

    /// Concludes from all inputs so far, as of `now`. Call it at regular ticks, in silence too.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Output> {
        self.look_at_uplinks(now);
        self.state.known.tick(now, &self.settings);
        self.state.known.prepare();
        self.state.ticked_at = now;
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
        let slow = failed.is_none() && observation.took.is_some_and(|took| known.is_slow(place, took));
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

    /// What is to be found out; `None` when nothing is.
    fn is_worth_a_search(&mut self, now: Timestamp) -> Option<Suspicions> {
        let Fold { known, incidents, groups, searched, searched_at, .. } = &mut self.state;
        if known.troubled.is_empty() {
            return None;
        }
        let live = u32::try_from(groups.live().count()).unwrap_or(u32::MAX);
        let quorum = u32::try_from(self.settings.quorum_groups).unwrap_or(u32::MAX);
        let suspicions = known.suspicions(now, &self.settings, quorum.min(live.max(1)));
        let elements = &known.map().elements;
        let is_new = |(number, nats): &(u32, f64)| {
            let element = &elements[*number as usize];
            let calm = if element.kind.is_local() { CALM_LOCAL } else { CALM };
            searched
                .get(&element.name)
                .is_none_or(|(before, at)| now.since(*at) >= calm || *nats >= (before + GREW.0).max(before * GREW.1))
        };
        let is_due = now.since(*searched_at) >= DUE;
        let goes_on = incidents.any_open() && (is_due || incidents.any_young(now, YOUNG));
        let is_worth_it = goes_on || incidents.any_pending() || suspicions.elements.iter().any(is_new);
        if is_worth_it {
            searched.retain(|_, (_, at)| now.since(*at) < CALM_LOCAL);
            for (number, nats) in &suspicions.elements {
                searched.insert(elements[*number as usize].name.clone(), (*nats, now));
            }
        }
        is_worth_it.then_some(suspicions)
    }

    /// Explains what fails in the window that shows most; empty when nothing does.
    fn infer(&mut self, now: Timestamp, suspicions: &Suspicions) -> Vec<Assessment> {
        let onsets = std::mem::take(&mut self.state.onsets);
        if now.since(self.state.saw_at) > Duration::ZERO {
            self.state.sights = self.state.known.sights(now.before(self.settings.fresh));
            self.state.groups = self.state.known.groups(&self.state.sights);
        }
        let Fold { known, groups, sights, .. } = &self.state;
        let liars = groups.live().count().saturating_sub(1) / 5;
        let domains = domains(known, groups);
        let exercise = |element: &Element| known.groups_at(element);
        let doubt = Doubt { liars, groups: groups.live().count(), exercise: &exercise, domains: &domains };
        let with_uplinks = self.state.cut_off_at.is_none_or(|at| now.since(at) > self.settings.horizon);
        let candidates = known.candidates(now, &self.settings);
        let mut ranked: Vec<(f64, Timestamp)> = self
            .settings
            .windows
            .iter()
            .map(|window| now.before(*window))
            .enumerate()
            .map(|(place, from)| (suspicions.promise[place], from))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let mut from: Vec<Timestamp> = ranked.into_iter().take(SEARCHED).map(|(_, from)| from).chain(onsets).collect();
        from.sort_unstable_by(|a, b| b.cmp(a));
        from.dedup();
        let windows = evidence::gather(known, &from, &candidates, with_uplinks, &self.settings);
        let mut best: Option<((f64, f64), usize, Hypothesis)> = None;
        for (place, window) in windows.iter().enumerate() {
            let hypothesis = inference::explain(window, &self.settings, doubt);
            let worth = (news(known, window, &hypothesis), hypothesis.score);
            if best.as_ref().is_none_or(|(held, ..)| worth > *held) {
                best = Some((worth, place, hypothesis));
            }
        }
        let Some((_, place, hypothesis)) = best else { return Vec::new() };
        let scene = Scene {
            known,
            evidence: &windows[place],
            hypothesis: &hypothesis,
            groups,
            sights,
            settings: &self.settings,
            clouds: assessment::clouds(known),
            spells: &self.state.spells,
            shaken: self.state.incidents.shaken(),
            liars,
            domains: &domains,
            now,
        };
        let mut assessments = scene.assess();
        if !assessments.is_empty() {
            let survey = Rc::new(scene.survey(&assessments));
            for assessment in &mut assessments {
                assessment.survey = survey.clone();
            }
        }
        let in_trouble = scene.groups_in_trouble();
        let horizon = now.before(self.settings.horizon);
        // A window that begins with what is long known shows nothing new.
        let is_new = |assessment: &&Assessment| {
            assessment.onset.at > horizon
                && assessment.is_public()
                && (now.since(assessment.onset.at) <= FRESH_ONSET
                    || assessment.footprint.iter().filter(|(place, _)| !known.cell(*place).is_frozen).count() * 5
                        >= assessment.footprint.len())
        };
        let mut onsets: Vec<Timestamp> =
            assessments.iter().filter(is_new).map(|assessment| assessment.onset.at).collect();
        onsets.dedup_by(|a, b| a.since(*b).max(b.since(*a)) < SAME_ONSET);
        onsets.truncate(ONSETS);
        self.state.onsets = onsets;
        self.state.spells.note(in_trouble.iter(), now);
        assessments
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

/// Nats of an explanation that no open incident holds yet: what long goes on must not hide in a long window what is new.
fn news(known: &Known, evidence: &Evidence, hypothesis: &Hypothesis) -> f64 {
    let of = |member: &Member| {
        let (mut new, mut all) = (0.0, 0.0);
        for fail in evidence.fails_of(member.element) {
            all += fail.failed;
            new += if known.cell(fail.place).is_frozen { 0.0 } else { fail.failed };
        }
        member.gain.max(0.0) * new / f64::max(all, 1.0)
    };
    let is_shared = |member: &&Member| {
        let kind = evidence.elements()[member.element].kind;
        kind != ElementKind::Agent && (!kind.is_local() || member.severity() >= 0.5)
    };
    hypothesis.members.iter().filter(is_shared).map(of).sum()
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
