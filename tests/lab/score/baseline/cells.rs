//! The peers' common view of the observations: counts per cell (agent, target, layer) and per pair (agent, target) in a
//! window that slides over what has arrived.
//!
//! Rules, the same for every peer: a 4xx answer is no failure; a run that could not be measured is no evidence; a line
//! that comes twice counts once; what comes more than two minutes after its start is not heard, nor is a distrusted
//! agent; a target that is not verified and was never seen to pass from [`PROOF_GROUPS`] groups accuses nobody. A pass
//! speaks for all layers, a failure for the layers up to its own.
//! An answer that the origin wrote has passed the CDN: its failure is counted in a cell without it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use faultline_attribution::{
    AgentId, Element, ElementKind, Input, Layer, Learned, Maker, Observation, TargetId, Timestamp, Way, World,
    WorldChange,
};

use super::{
    cell::{Cell, Pair, Tally},
    numbers::{Components, index, number},
    path::Path,
    trail::{LATE, Trail, begun, heard},
};
use crate::scenario::Verdict;

/// Groups from which an unverified target must have passed before its failures count.
///
/// Source: the engine's own bound (`Settings::proof_groups`).
const PROOF_GROUPS: usize = 3;

/// Failing runs in the window, and no other, from which an agent has lost everything.
const LOST_RUNS: u32 = 5;

/// Share of runs that fail for no visible reason, before anything is known.
///
/// Source: order of magnitude of recorded checks (0.1 to 0.5 %).
const TYPICAL_RATE: f64 = 0.002;

/// Runs that the typical rate is worth.
const TYPICAL_RUNS: f64 = 2000.0;

/// Half life of the share of failing runs, in expiries: about a day of one fleet.
const MEMORY_RUNS: f64 = 1e6;

/// Excess of failures, in standard deviations, from which the share of failing runs is not learned from.
const QUIET_SIGMA: f64 = 4.0;

/// Who looked at what, whom the name was asked of: by number.
type Look = (u32, u32, u32);

/// Cells of a look by layer; the last is that of an answer which the origin wrote.
type Slots = [Option<u32>; Layer::ALL.len() + 1];

/// The window over everything that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    world: World,
    learned: BTreeMap<TargetId, Learned>,
    distrusted: BTreeMap<AgentId, Timestamp>,
    proof: BTreeMap<TargetId, BTreeSet<String>>,
    components: Components,
    counted: Vec<Cell>,
    pairs: Vec<Pair>,
    agents: HashMap<AgentId, u32>,
    targets: HashMap<TargetId, u32>,
    ways: HashMap<Way, u32>,
    slots: HashMap<Look, Slots>,
    pair_numbers: HashMap<(u32, u32), u32>,
    held: BTreeMap<i64, Vec<(u32, Trail)>>,
    seen: BTreeMap<i64, HashSet<(Look, Timestamp)>>,
    by_agent: Vec<Tally>,
    total: Tally,
    base: (f64, f64),
}

impl Cells {
    /// An empty window over this world.
    pub(crate) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            learned: BTreeMap::new(),
            distrusted: BTreeMap::new(),
            proof: BTreeMap::new(),
            components: Components::default(),
            counted: Vec::new(),
            pairs: Vec::new(),
            agents: HashMap::new(),
            targets: HashMap::new(),
            ways: HashMap::new(),
            slots: HashMap::new(),
            pair_numbers: HashMap::new(),
            held: BTreeMap::new(),
            seen: BTreeMap::new(),
            by_agent: Vec::new(),
            total: Tally::default(),
            base: (TYPICAL_RATE * TYPICAL_RUNS, TYPICAL_RUNS),
        }
    }

    /// Takes in what arrived.
    pub(crate) fn hear(&mut self, input: &Input) {
        match input {
            Input::Observation(observation) => self.count(observation),
            Input::World(change) => self.change(change),
            Input::Distrust { agent, since } => {
                self.distrusted.insert(agent.clone(), *since);
            }
            Input::Session(_) | Input::Remark(_) => {}
        }
    }

    /// Forgets runs that began before `from`, and learns from them how many fail for no reason.
    pub(crate) fn forget_before(&mut self, from: Timestamp) {
        let is_quiet = self.excess() < QUIET_SIGMA;
        let second = from.micros().div_euclid(1_000_000);
        let kept = self.held.split_off(&second);
        for (pair, trail) in std::mem::replace(&mut self.held, kept).into_values().flatten() {
            self.discount(pair, &trail, is_quiet);
        }
        let oldest = from.before(LATE).micros().div_euclid(1_000_000);
        self.seen = self.seen.split_off(&oldest);
    }

    /// How many standard deviations more runs fail than usually do.
    pub(crate) fn excess(&self) -> f64 {
        let rate = (self.base.0 / self.base.1).max(1e-4);
        let runs = f64::from(self.total.runs());
        if runs == 0.0 {
            return 0.0;
        }
        (f64::from(self.total.failures) - runs * rate) / (runs * rate * (1.0 - rate)).sqrt()
    }

    /// Components that the cell's runs in the window went through, by number, in order: with the region that the agent
    /// sits in if the agent lost everything.
    pub(crate) fn components_of<'a>(&self, cell: &'a Cell) -> &'a [u32] {
        let agent = self.by_agent[self.pairs[cell.pair as usize].agent as usize];
        if agent.passes == 0 && agent.failures >= LOST_RUNS { &cell.with_access } else { &cell.components }
    }

    /// Cells with at least one run.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Cell> {
        self.counted.iter().filter(|cell| cell.tally.runs() > 0)
    }

    /// Pairs, by number.
    pub(crate) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Elements by number.
    pub(crate) fn components(&self) -> &Components {
        &self.components
    }

    /// The same, to add to.
    pub(crate) fn components_mut(&mut self) -> &mut Components {
        &mut self.components
    }

    /// The cells that a run goes through; `None` when it says nothing.
    pub(crate) fn trail(&mut self, observation: &Observation) -> Option<Trail> {
        let failed = heard(observation)?;
        let at = begun(observation);
        let (id, agent) = (&observation.target, &observation.agent);
        if self.distrusted.get(agent).is_some_and(|since| at >= *since) {
            return None;
        }
        let target = self.world.targets.get(id)?;
        let (layers, is_verified) = (target.layers(), target.verified);
        let group = &self.world.vantages.get(agent)?.group;
        if !is_verified {
            let groups = self.proof.entry(id.clone()).or_default();
            match failed {
                None if groups.len() < PROOF_GROUPS => drop(groups.insert(group.clone())),
                Some(_) if groups.len() < PROOF_GROUPS => return None,
                _ => {}
            }
        }
        let look = self.look(observation);
        if !self.seen.entry(at.micros().div_euclid(1_000_000)).or_default().insert((look, at)) {
            return None;
        }
        let mut trail = Trail { cells: [0; 4], length: 0, is_failure: failed.is_some() };
        let mut last = None;
        for layer in layers.filter(|layer| failed.is_none_or(|failed| *layer <= failed)) {
            let past_cdn = observation.maker == Some(Maker::Origin) && failed == Some(layer);
            trail.cells[usize::from(trail.length)] = self.cell(look, layer, past_cdn, observation);
            trail.length += 1;
            last = Some(layer);
        }
        // A failure at a layer that the probe does not have is nonsense.
        failed.is_none_or(|failed| last == Some(failed)).then_some(trail)
    }

    /// The cell of that number.
    pub(crate) fn cell_at(&self, number: u32) -> &Cell {
        &self.counted[number as usize]
    }

    fn count(&mut self, observation: &Observation) {
        let Some(trail) = self.trail(observation) else { return };
        let at = begun(observation);
        let pair = self.pair(&observation.agent, &observation.target);
        for (cell, is_failure) in trail.steps() {
            self.counted[cell as usize].tally.count(is_failure);
        }
        let entry = &mut self.pairs[pair as usize];
        entry.tally.count(trail.is_failure);
        if entry.last.is_none_or(|(last, _)| last <= at) {
            entry.last = Some((at, trail.is_failure));
        }
        self.by_agent[entry.agent as usize].count(trail.is_failure);
        self.total.count(trail.is_failure);
        self.held.entry(at.micros().div_euclid(1_000_000)).or_default().push((pair, trail));
    }

    fn discount(&mut self, pair: u32, trail: &Trail, is_quiet: bool) {
        for (cell, is_failure) in trail.steps() {
            self.counted[cell as usize].tally.discount(is_failure);
        }
        let entry = &mut self.pairs[pair as usize];
        entry.tally.discount(trail.is_failure);
        self.by_agent[entry.agent as usize].discount(trail.is_failure);
        self.total.discount(trail.is_failure);
        if is_quiet {
            let keep = 1.0 - 1.0 / MEMORY_RUNS;
            self.base.0 = self.base.0 * keep + f64::from(u8::from(trail.is_failure));
            self.base.1 = self.base.1 * keep + 1.0;
        }
    }

    fn look(&mut self, observation: &Observation) -> Look {
        let agent = number(&mut self.agents, &observation.agent);
        let target = number(&mut self.targets, &observation.target);
        // Nearly all runs ask the agent's own resolver.
        let way = if observation.way == Way::System { 0 } else { 1 + number(&mut self.ways, &observation.way) };
        (agent, target, way)
    }

    /// The cell of that look and layer; made from what is known at this moment.
    fn cell(&mut self, look: Look, layer: Layer, past_cdn: bool, observation: &Observation) -> u32 {
        let place = if past_cdn { Layer::ALL.len() } else { layer as usize };
        if let Some(number) = self.slots.get(&look).and_then(|slots| slots[place]) {
            return number;
        }
        let (agent, id) = (&observation.agent, &observation.target);
        let path = self.path(agent, id, &observation.way);
        let mut elements = path.components(layer);
        if past_cdn {
            elements.retain(|element| !matches!(element.kind, ElementKind::Cdn | ElementKind::CdnSite));
        }
        let access = path.access();
        let components = self.numbers(elements.iter().cloned());
        let with_access = self.numbers(elements.into_iter().chain(access));
        let pair = self.pair(agent, id);
        let number = index(self.counted.len());
        self.counted.push(Cell { pair, layer, tally: Tally::default(), components, with_access });
        self.slots.entry(look).or_default()[place] = Some(number);
        number
    }

    fn path<'a>(&'a self, agent: &'a AgentId, id: &'a TargetId, way: &'a Way) -> Path<'a> {
        Path {
            agent,
            vantage: &self.world.vantages[agent],
            id,
            target: &self.world.targets[id],
            learned: self.learned.get(id),
            way,
        }
    }

    fn numbers(&mut self, elements: impl Iterator<Item = Element>) -> Box<[u32]> {
        let numbers: BTreeSet<u32> = elements.map(|element| self.components.number(element)).collect();
        numbers.into_iter().collect()
    }

    fn pair(&mut self, agent: &AgentId, id: &TargetId) -> u32 {
        let key = (number(&mut self.agents, agent), number(&mut self.targets, id));
        if let Some(pair) = self.pair_numbers.get(&key) {
            return *pair;
        }
        let path = self.path(agent, id, &Way::System);
        let (cloud, region) = path.host();
        let (party, location) = match path.cdn() {
            Some(cdn) => (party(cdn.name.split('/').next().unwrap_or_default()), cdn),
            None => (party(cloud), host(cloud, region)),
        };
        let location = self.components.number(location);
        self.by_agent.resize(self.agents.len(), Tally::default());
        let pair = index(self.pairs.len());
        self.pairs.push(Pair { agent: key.0, party, location, tally: Tally::default(), last: None });
        self.pair_numbers.insert(key, pair);
        pair
    }

    /// Cells of what changed are made anew when they are next seen; counts stay where they were counted.
    fn change(&mut self, change: &WorldChange) {
        match change {
            WorldChange::Target(id, target) => {
                self.world.targets.insert(id.clone(), (**target).clone());
                self.forget_target(id);
            }
            WorldChange::TargetRemoved(id) => {
                self.world.targets.remove(id);
                self.forget_target(id);
            }
            WorldChange::Vantage(id, vantage) => {
                self.world.vantages.insert(id.clone(), (**vantage).clone());
                self.forget_agent(id);
            }
            WorldChange::VantageRemoved(id) => {
                self.world.vantages.remove(id);
                self.forget_agent(id);
            }
            WorldChange::Learned(id, learned) => {
                if self.learned.insert(id.clone(), learned.clone()).as_ref() != Some(learned) {
                    self.forget_target(id);
                }
            }
        }
    }

    fn forget_agent(&mut self, id: &AgentId) {
        let number = number(&mut self.agents, id);
        self.slots.retain(|(agent, ..), _| *agent != number);
    }

    fn forget_target(&mut self, id: &TargetId) {
        let number = number(&mut self.targets, id);
        self.slots.retain(|(_, target, _), _| *target != number);
        self.pair_numbers.retain(|(_, target), _| *target != number);
    }
}

fn party(cloud: &str) -> Verdict {
    match cloud {
        "aws" => Verdict::Aws,
        "azure" => Verdict::Azure,
        _ => Verdict::Neither,
    }
}

fn host(cloud: &str, region: Option<&str>) -> Element {
    match (cloud, region) {
        ("aws" | "azure", Some(region)) => Element::new(ElementKind::Region, format!("{cloud}/{region}")),
        ("aws" | "azure", None) => Element::new(ElementKind::Network, format!("{cloud}/network")),
        _ => Element::new(ElementKind::OtherCloud, format!("cloud/{cloud}")),
    }
}
