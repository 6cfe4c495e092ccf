//! What is known at the moment: the world, the windows of all cells, and which elements each cell exercises.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    element::Element,
    evidence::{self, Evidence, Look, Place},
    exercise,
    settings::Settings,
    time::Timestamp,
    visibility::{Groups, Sight},
    vocabulary::{Layer, Reason},
    window::{Cell, Sample},
    world::{AgentId, Learned, Target, TargetId, Vantage, World, WorldChange},
};

/// Numbers for names, in order of appearance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Roster {
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
}

impl Roster {
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    fn enter(&mut self, name: &str) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// Which elements one cell exercises, as numbers into [`Known::elements`].
#[derive(Clone, Debug, Default)]
struct Sets {
    layers: [Option<Vec<u32>>; 4],
    own: Vec<u32>,
    access: Vec<u32>,
}

/// Elements that a cell exercises: by layer, those that an error of the endpoint's own implicates, and those that only
/// failures speak of.
type Exercised = ([Option<BTreeSet<Element>>; 4], BTreeSet<Element>, BTreeSet<Element>);

/// Elements by number; a cache, rebuilt at need.
#[derive(Clone, Debug, Default)]
struct Elements {
    all: Vec<Element>,
    numbers: BTreeMap<Element, u32>,
}

impl Elements {
    fn numbers(&mut self, set: BTreeSet<Element>) -> Vec<u32> {
        let mut numbers: Vec<u32> = set.into_iter().map(|element| self.number(element)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn number(&mut self, element: Element) -> u32 {
        if let Some(number) = self.numbers.get(&element) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(element.clone());
        self.numbers.insert(element, number);
        number
    }
}

/// Everything known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) world: World,
    pub(crate) agents: Roster,
    pub(crate) targets: Roster,
    learned: BTreeMap<TargetId, Learned>,
    /// By target, then agent.
    cells: BTreeMap<(u32, u32), Cell>,
    uplinks: BTreeMap<u32, Cell>,
    /// When and why an agent last could not look.
    blocked: BTreeMap<u32, (Timestamp, Reason)>,
    /// Groups from which a target has passed, until there are enough of them.
    proof: BTreeMap<TargetId, BTreeSet<String>>,
    #[serde(skip)]
    sets: BTreeMap<Place, Sets>,
    #[serde(skip)]
    elements: Elements,
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

    /// Applies a change of the world. Windows of what did not change go on.
    pub(crate) fn change(&mut self, change: &WorldChange) {
        match change {
            WorldChange::Target(id, target) => {
                let number = self.targets.enter(id.as_str());
                let before = self.world.targets.insert(id.clone(), (**target).clone());
                if before.is_some_and(|before| before != **target) {
                    self.forget(|(_, on)| on == Some(number));
                }
            }
            WorldChange::TargetRemoved(id) => {
                self.world.targets.remove(id);
                self.learned.remove(id);
                self.proof.remove(id);
                if let Some(number) = self.targets.number(id.as_str()) {
                    self.cells.retain(|(target, _), _| *target != number);
                    self.forget(|(_, on)| on == Some(number));
                }
            }
            WorldChange::Vantage(id, vantage) => {
                let number = self.agents.enter(id.as_str());
                let before = self.world.vantages.insert(id.clone(), (**vantage).clone());
                if before.is_some_and(|before| before != **vantage) {
                    self.forget(|(agent, _)| agent == number);
                }
            }
            WorldChange::VantageRemoved(id) => {
                self.world.vantages.remove(id);
                if let Some(number) = self.agents.number(id.as_str()) {
                    self.cells.retain(|(_, agent), _| *agent != number);
                    self.uplinks.remove(&number);
                    self.forget(|(agent, _)| agent == number);
                }
            }
            WorldChange::Learned(id, learned) => {
                if self.learned.insert(id.clone(), learned.clone()).as_ref() != Some(learned)
                    && let Some(number) = self.targets.number(id.as_str())
                {
                    self.forget(|(_, on)| on == Some(number));
                }
            }
        }
    }

    fn forget(&mut self, stale: impl Fn(Place) -> bool) {
        self.sets.retain(|place, _| !stale(*place));
    }

    /// Adds a sample of an agent looking at a target; `false` when either is unknown.
    pub(crate) fn observe(&mut self, agent: &AgentId, target: &TargetId, sample: Sample, settings: &Settings) -> bool {
        let (Some(vantage), Some(known)) = (self.world.vantages.get(agent), self.world.targets.get(target)) else {
            return false;
        };
        let (Some(agent_number), Some(target_number)) =
            (self.agents.number(agent.as_str()), self.targets.number(target.as_str()))
        else {
            return false;
        };
        if !known.verified && sample.failed.is_none() {
            let groups = self.proof.entry(target.clone()).or_default();
            if groups.len() < settings.proof_groups {
                groups.insert(vantage.group.clone());
            }
        }
        self.cells.entry((target_number, agent_number)).or_default().push(sample);
        true
    }

    /// Notes that an agent could not look: no evidence of anything, but worth saying.
    pub(crate) fn note_blocked(&mut self, agent: &AgentId, at: Timestamp, reason: Reason) {
        if let Some(number) = self.agents.number(agent.as_str()) {
            self.blocked.insert(number, (at, reason));
        }
    }

    /// Adds a sample of an agent's own session with the coordinator.
    pub(crate) fn observe_uplink(&mut self, agent: &AgentId, sample: Sample) {
        if let Some(number) = self.agents.number(agent.as_str()) {
            self.uplinks.entry(number).or_default().push(sample);
        }
    }

    /// Moves what is older than the horizon into base rates; cells for which `frozen` holds keep theirs.
    pub(crate) fn expire(&mut self, now: Timestamp, settings: &Settings, frozen: impl Fn(Place) -> bool) {
        let until = now.before(settings.horizon);
        for ((target, agent), cell) in &mut self.cells {
            cell.expire(until, settings.base_half_life, frozen((*agent, Some(*target))));
        }
        for (agent, cell) in &mut self.uplinks {
            cell.expire(until, settings.base_half_life, frozen((*agent, None)));
        }
    }

    /// Forgets the samples of these places: an incident that is over has explained them.
    pub(crate) fn forget_samples(&mut self, places: impl Iterator<Item = Place>, until: Timestamp) {
        for place in places {
            if let Some(cell) = self.cell_mut(place) {
                cell.forget_until(until);
            }
        }
    }

    pub(crate) fn cell(&self, (agent, target): Place) -> Option<&Cell> {
        match target {
            Some(target) => self.cells.get(&(target, agent)),
            None => self.uplinks.get(&agent),
        }
    }

    fn cell_mut(&mut self, (agent, target): Place) -> Option<&mut Cell> {
        match target {
            Some(target) => self.cells.get_mut(&(target, agent)),
            None => self.uplinks.get_mut(&agent),
        }
    }

    /// All cells with their places.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Place, &Cell)> {
        let cells = self.cells.iter().map(|((target, agent), cell)| ((*agent, Some(*target)), cell));
        cells.chain(self.uplinks.iter().map(|(agent, cell)| ((*agent, None), cell)))
    }

    pub(crate) fn vantage(&self, agent: u32) -> Option<&Vantage> {
        self.world.vantages.get(self.agents.name(agent))
    }

    pub(crate) fn target(&self, target: u32) -> Option<&Target> {
        self.world.targets.get(self.targets.name(target))
    }

    pub(crate) fn learned(&self, target: u32) -> Option<&Learned> {
        self.learned.get(self.targets.name(target))
    }

    /// Whether failures of the target count: it is verified, or has passed from enough groups.
    fn is_proven(&self, target: u32, settings: &Settings) -> bool {
        let id = self.targets.name(target);
        self.target(target).is_some_and(|target| target.verified)
            || self.proof.get(id).is_some_and(|groups| groups.len() >= settings.proof_groups)
    }

    /// Works out which elements each cell exercises, where that is not known yet.
    pub(crate) fn prepare(&mut self) {
        let missing: Vec<Place> =
            self.cells().map(|(place, _)| place).filter(|place| !self.sets.contains_key(place)).collect();
        for place in missing {
            let (Some(sets), mut elements) = (self.exercised(place), std::mem::take(&mut self.elements)) else {
                continue;
            };
            let (layers, own, access) = sets;
            let sets = Sets {
                layers: layers.map(|set| set.map(|set| elements.numbers(set))),
                own: elements.numbers(own),
                access: elements.numbers(access),
            };
            self.elements = elements;
            self.sets.insert(place, sets);
        }
    }

    fn exercised(&self, (agent, target): Place) -> Option<Exercised> {
        let id = AgentId::from(self.agents.name(agent));
        let vantage = self.vantage(agent)?;
        let mut layers = [None, None, None, None];
        let Some(number) = target else {
            layers[Layer::Connect as usize] = Some(exercise::vantage_side(&id, vantage));
            return Some((layers, BTreeSet::new(), exercise::access(vantage)));
        };
        let target_id = TargetId::from(self.targets.name(number));
        let target = self.target(number)?;
        for layer in target.layers() {
            let set = exercise::exercised((&id, vantage), (&target_id, target), self.learned.get(&target_id), layer);
            layers[layer as usize] = Some(set);
        }
        Some((layers, exercise::own_fault(&id, (&target_id, target)), exercise::access(vantage)))
    }

    /// The evidence of a window; `None` when nothing fails in it. Uplinks count only when `with_uplinks`.
    pub(crate) fn evidence(&self, from: Timestamp, with_uplinks: bool, settings: &Settings) -> Option<Evidence> {
        let looks = self.cells().filter_map(|(place, cell)| {
            let (agent, target) = place;
            if cell.newest().is_none_or(|newest| newest < from) {
                return None;
            }
            let counts = target.map_or(with_uplinks, |target| self.is_proven(target, settings));
            let sets = self.sets.get(&place).filter(|_| counts)?;
            let group = &self.vantage(agent)?.group;
            Some(Look { place, group, cell, sets: &sets.layers, own: &sets.own, access: &sets.access })
        });
        evidence::gather(looks, &self.elements.all, from)
    }

    /// Whether any sample of any cell failed at or after `from`.
    pub(crate) fn any_failure(&self, from: Timestamp) -> bool {
        self.cells().any(|(_, cell)| {
            cell.samples().rev().take_while(|sample| sample.at >= from).any(|sample| sample.failed.is_some())
        })
    }

    /// What each agent saw since `from`.
    pub(crate) fn sights(&self, from: Timestamp) -> BTreeMap<u32, Sight> {
        let mut sights: BTreeMap<u32, Sight> = BTreeMap::new();
        for ((target, agent), cell) in &self.cells {
            let is_control = self.target(*target).is_some_and(Target::is_control);
            let sight = sights.entry(*agent).or_default();
            for sample in cell.samples().rev().take_while(|sample| sample.at >= from) {
                let passed = u32::from(sample.failed.is_none() || sample.own_fault);
                sight.runs += 1;
                sight.passed += passed;
                if is_control {
                    sight.control_runs += 1;
                    sight.control_passed += passed;
                }
            }
        }
        for (agent, (at, reason)) in &self.blocked {
            if *at >= from {
                sights.entry(*agent).or_default().blocked = Some(*reason);
            }
        }
        sights
    }

    /// Vantage groups as witnesses, from what their agents saw.
    pub(crate) fn groups(&self, sights: &BTreeMap<u32, Sight>) -> Groups {
        let has_controls = self.world.targets.values().any(Target::is_control);
        let agents = self.world.vantages.iter().map(|(id, vantage)| {
            let sight = self.agents.number(id.as_str()).and_then(|number| sights.get(&number));
            (vantage, sight.copied().unwrap_or_default())
        });
        Groups::gather(agents, has_controls)
    }
}
