//! What is known at the moment: the world, the windows of all cells, and which elements each cell exercises.
//!
//! A cell is one agent looking at one slot: a target by one way of asking for its name, or (slot 0) the agent's own
//! session. Names are numbers in here: a passing result costs two look-ups and eight bytes.

mod lately;
pub(crate) mod map;
mod register;
mod screen;
mod witness;

use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use self::lately::Lately;
pub(crate) use self::{
    map::Map,
    screen::{SUSPICIOUS_NATS, Suspicions},
};
use crate::{
    element::Element,
    engine::Way,
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, Reason},
    window::{Cell, Past, Sample, UsualRates},
    world::{AgentId, Learned, Target, TargetId, Vantage, World, WorldChange},
};

/// Where an observation was made: the number of a cell.
pub(crate) type Place = u32;

/// No cell.
const NONE: u32 = u32::MAX;

/// The slot of agents' own sessions.
pub(crate) const UPLINK: u32 = 0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    /// `None` when it is gone.
    pub(crate) vantage: Option<Vantage>,
    /// When and why it last could not look.
    blocked: Option<(Timestamp, Reason)>,
    past: Past,
    lately: Lately,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KnownTarget {
    id: TargetId,
    /// `None` when it is gone.
    target: Option<Target>,
    learned: Option<Learned>,
    /// Agents whose look passed, until enough groups have.
    proof: Vec<u32>,
    /// The slot asked through the agents' own resolvers.
    slot: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Number of the target; `None` for uplinks.
    pub(crate) target: Option<u32>,
    pub(crate) way: Way,
    /// Cell by agent.
    cells: Vec<u32>,
}

/// A cell and where it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) agent: u32,
    pub(crate) slot: u32,
    pub(crate) cell: Cell,
}

/// Everything known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) agents: Vec<Agent>,
    targets: Vec<KnownTarget>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) cells: Vec<Entry>,
    /// Cells in which something failed or was slow lately; some of them may have forgotten it.
    pub(crate) troubled: Vec<Place>,
    /// When what agents did lately was last halved.
    faded_at: Timestamp,
    /// Runs that came in since the last tick, and the running mean of them a second.
    arrived: u32,
    arriving: f64,
    /// The last tick.
    ticked_at: Timestamp,
    #[serde(skip)]
    index: Index,
    #[serde(skip)]
    map: Map,
}

#[derive(Clone, Debug, Default)]
struct Index {
    agents: FxHashMap<AgentId, u32>,
    targets: FxHashMap<TargetId, u32>,
    ways: FxHashMap<(u32, Way), u32>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            targets: Vec::new(),
            slots: vec![Slot { target: None, way: Way::System, cells: Vec::new() }],
            cells: Vec::new(),
            troubled: Vec::new(),
            faded_at: Timestamp::default(),
            arrived: 0,
            arriving: 0.0,
            ticked_at: Timestamp::default(),
            index: Index::default(),
            map: Map::default(),
        }
    }
}

impl Known {
    pub(crate) fn new(world: World) -> Self {
        let mut known = Self::default();
        for (id, vantage) in world.vantages {
            known.change(&WorldChange::Vantage(id, Box::new(vantage)));
        }
        for (id, target) in world.targets {
            known.change(&WorldChange::Target(id, Box::new(target)));
        }
        known
    }

    /// The cell of an agent looking at a target; `None` when either is unknown.
    pub(crate) fn place(&mut self, agent: &AgentId, target: &TargetId, way: &Way) -> Option<Place> {
        let agent = *self.index.agents.get(agent)?;
        let target = *self.index.targets.get(target)?;
        self.agents[agent as usize].vantage.as_ref()?;
        let known = &self.targets[target as usize];
        known.target.as_ref()?;
        let slot = match way {
            Way::System => known.slot,
            other => {
                let found = self.index.ways.get(&(target, other.clone())).copied();
                found.unwrap_or_else(|| self.enter_slot(target, other.clone()))
            }
        };
        Some(self.enter_cell(agent, slot))
    }

    /// Adds a sample to a cell. What is older than the horizon moves into the base rate.
    pub(crate) fn push(&mut self, place: Place, sample: Sample, settings: &Settings) {
        let entry = &mut self.cells[place as usize];
        let was_troubled = entry.cell.is_troubled;
        let past = &mut self.agents[entry.agent as usize].past;
        let until = sample.at.max(self.ticked_at).before(settings.horizon);
        entry.cell.expire(until, settings.base_half_life, |sample| past.learn(sample));
        entry.cell.push(sample);
        if entry.cell.is_troubled && !was_troubled {
            self.troubled.push(place);
        }
        self.arrived += 1;
        if entry.slot != UPLINK {
            self.agents[entry.agent as usize].lately.hear(sample.failed.is_none());
        }
        if sample.failed.is_none()
            && let Some(target) = self.slots[entry.slot as usize].target
        {
            let known = &mut self.targets[target as usize];
            let is_open = known.target.as_ref().is_some_and(|target| !target.verified);
            // A few agents of the same group do no harm: groups are counted when it is asked.
            if is_open && known.proof.len() < settings.proof_groups * 4 && !known.proof.contains(&entry.agent) {
                known.proof.push(entry.agent);
            }
        }
    }

    /// Whether a pass that took so long is slow for its cell.
    pub(crate) fn is_slow(&mut self, place: Place, took: Duration) -> bool {
        self.cells[place as usize].cell.is_slow(took)
    }

    /// The layer, if a probe of this place walks it; else the last that it walks.
    pub(crate) fn walked(&self, place: Place, layer: Option<Layer>) -> Option<Layer> {
        let layers = self.layers(&self.slots[self.cells[place as usize].slot as usize]);
        layer.filter(|layer| layers.contains(layer)).or(layers.last().copied())
    }

    /// Notes that an agent could not look: no evidence of anything, but worth saying.
    pub(crate) fn note_blocked(&mut self, agent: &AgentId, at: Timestamp, reason: Reason) {
        if let Some(number) = self.index.agents.get(agent) {
            self.agents[*number as usize].blocked = Some((at, reason));
        }
    }

    /// Adds a sample of an agent's own session with the coordinator.
    pub(crate) fn observe_uplink(&mut self, agent: &AgentId, sample: Sample, settings: &Settings) {
        if let Some(number) = self.index.agents.get(agent).copied() {
            let place = self.enter_cell(number, UPLINK);
            self.push(place, sample, settings);
            self.arrived -= 1;
        }
    }

    /// Lets time pass: troubled cells that have forgotten their trouble are let go.
    pub(crate) fn tick(&mut self, now: Timestamp, settings: &Settings) {
        let until = now.before(settings.horizon);
        let (cells, agents) = (&mut self.cells, &mut self.agents);
        self.troubled.retain(|place| {
            let entry = &mut cells[*place as usize];
            let past = &mut agents[entry.agent as usize].past;
            entry.cell.expire(until, settings.base_half_life, |sample| past.learn(sample));
            entry.cell.is_troubled
        });
        let seconds = now.since(self.ticked_at).as_secs_f64();
        if seconds > 0.0 {
            let weight = (seconds / RATE_SPAN_S).min(1.0);
            self.arriving += (f64::from(self.arrived) / seconds - self.arriving) * weight;
        }
        (self.arrived, self.ticked_at) = (0, now);
        if now.since(self.faded_at) >= lately::HALF_LIFE {
            self.faded_at = now;
            self.agents.iter_mut().for_each(|agent| agent.lately.fade());
        }
    }

    /// Which cells open incidents touch, and since when: base rates stand still there.
    pub(crate) fn freeze(&mut self, frozen: impl Iterator<Item = (Place, Timestamp)>) {
        for entry in &mut self.cells {
            entry.cell.is_frozen = false;
        }
        for (place, onset) in frozen {
            let cell = &mut self.cells[place as usize].cell;
            (cell.is_frozen, cell.frozen_from) = (true, onset);
        }
    }

    /// Lays the samples of these places aside: an incident that is over has explained them.
    pub(crate) fn lay_aside(&mut self, places: impl Iterator<Item = Place>, until: Timestamp) {
        for place in places {
            self.cells[place as usize].cell.lay_aside(until);
        }
    }

    pub(crate) fn cell(&self, place: Place) -> &Cell {
        &self.cells[place as usize].cell
    }

    /// Chance of a failure of the cell at the layer without any fault.
    pub(crate) fn base_rate(&self, entry: &Entry, layer: Layer) -> f64 {
        entry.cell.base_rate(layer, &self.usual(entry.agent))
    }

    /// Chance of a failure that is usual for an agent.
    pub(crate) fn usual(&self, agent: u32) -> UsualRates {
        self.agents[agent as usize].past.usual()
    }

    pub(crate) fn entry(&self, place: Place) -> &Entry {
        &self.cells[place as usize]
    }

    /// Elements that only an agent's failures speak of, while it is dark.
    pub(crate) fn access(&self, agent: u32) -> &[u32] {
        if self.agents[agent as usize].lately.is_dark() { &self.map().near[agent as usize].access } else { &[] }
    }

    /// Whether nobody looks there any more: its target has left the catalog, or its agent the fleet.
    pub(crate) fn is_gone(&self, place: Place) -> bool {
        let target = self.target_of(place);
        self.vantage(self.entry(place).agent).is_none() || target.is_some_and(|target| self.target(target).is_none())
    }

    /// Cells at targets with their places; uplinks are left out.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (&Entry, u32)> {
        self.cells.iter().filter_map(|entry| Some((entry, self.slots[entry.slot as usize].target?)))
    }

    /// How many groups exercise any of these elements, at any layer.
    pub(crate) fn groups_at<'a>(&self, elements: impl Iterator<Item = &'a Element>) -> usize {
        let number = |element: &Element| self.map.elements.binary_search(element).ok();
        self.map.groups_at(elements.filter_map(number).filter_map(|at| u32::try_from(at).ok()))
    }

    /// Calls `each` with every cell that exercises the element at the layer, without walking over those that do not.
    pub(crate) fn each_holder(&self, element: u32, layer: Layer, mut each: impl FnMut(Place, &Entry)) {
        let holders = self.map.holders(element, layer);
        for (slot, known) in self.slots.iter().enumerate() {
            if !holders.slots[slot] && !holders.is_between && !holders.agents.contains(&true) {
                continue;
            }
            for place in known.cells.iter().filter(|place| **place != NONE) {
                let entry = &self.cells[*place as usize];
                if self.map.holds(&holders, entry, layer, element) {
                    each(*place, entry);
                }
            }
        }
    }

    pub(crate) fn vantage(&self, agent: u32) -> Option<&Vantage> {
        self.agents[agent as usize].vantage.as_ref()
    }

    /// The vantage of an agent by its name.
    pub(crate) fn vantage_of(&self, agent: &AgentId) -> Option<&Vantage> {
        self.vantage(*self.index.agents.get(agent)?)
    }

    pub(crate) fn target(&self, target: u32) -> Option<&Target> {
        self.targets[target as usize].target.as_ref()
    }

    pub(crate) fn target_id(&self, target: u32) -> &TargetId {
        &self.targets[target as usize].id
    }

    /// The target of a cell, by its name; the agents' own sessions are `uplink`.
    pub(crate) fn target_name(&self, place: Place) -> &str {
        let slot = &self.slots[self.cells[place as usize].slot as usize];
        slot.target.map_or("uplink", |target| self.targets[target as usize].id.as_str())
    }

    /// The number of the target of a cell.
    pub(crate) fn target_of(&self, place: Place) -> Option<u32> {
        self.slots[self.cells[place as usize].slot as usize].target
    }

    pub(crate) fn learned(&self, target: u32) -> Option<&Learned> {
        self.targets[target as usize].learned.as_ref()
    }

    /// How many targets there are or were.
    pub(crate) fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// Targets and agents as they are known, and what was learned of them.
    pub(crate) fn world(&self) -> (World, std::collections::BTreeMap<TargetId, Learned>) {
        let targets = self.targets.iter().filter_map(|known| Some((known.id.clone(), known.target.clone()?)));
        let vantages = self.agents.iter().filter_map(|agent| Some((agent.id.clone(), agent.vantage.clone()?)));
        let learned = self.targets.iter().filter_map(|known| Some((known.id.clone(), known.learned.clone()?)));
        (World { targets: targets.collect(), vantages: vantages.collect() }, learned.collect())
    }

    /// Elements and sets as of the world now.
    pub(crate) fn prepare(&mut self) -> &Map {
        if self.map.is_stale {
            self.map = Map::new(self);
        }
        &self.map
    }

    /// Elements and sets as last prepared.
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// The layers that a slot's probe walks.
    pub(crate) fn layers(&self, slot: &Slot) -> Vec<Layer> {
        match slot.target {
            None => vec![Layer::Connect],
            Some(target) => self.target(target).map(|target| target.layers().collect()).unwrap_or_default(),
        }
    }
}

/// Seconds over which the rate of arrival is averaged.
const RATE_SPAN_S: f64 = 60.0;
