//! Columns: for each element and layer the cells that exercise it, as sorted numbers.
//!
//! A cell is `target * agents + agent`, so that cells of one target stand together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{BuildHasherDefault, Hash as _, Hasher as _},
};

use crate::{
    element::Element,
    engine::Way,
    exercise::{self, Seen},
    vocabulary::Layer,
    world::{AgentId, Learned, Target, TargetId, Vantage, World},
};

/// Number of an element.
pub(super) type Number = u32;

/// Element numbers; looked up, never iterated, and hashed with fixed keys, so that nothing depends on chance.
type Numbers = HashMap<Element, Number, BuildHasherDefault<DefaultHasher>>;

/// Cells of one element, by layer.
type Cells = [Vec<u32>; 4];

/// How an agent asks for a target; `None` when it does not look at it.
pub(super) type Looks<'a> = &'a dyn Fn(&AgentId, &TargetId) -> Option<Way>;

/// All columns of a fleet and a catalog.
pub(super) struct Columns<'a> {
    pub(super) agents: Vec<(&'a AgentId, &'a Vantage)>,
    pub(super) targets: Vec<(&'a TargetId, &'a Target)>,
    /// How each target is asked for.
    pub(super) ways: Vec<Way>,
    /// Number of each agent's vantage group.
    pub(super) groups: Vec<u32>,
    pub(super) group_count: usize,
    learned: &'a BTreeMap<TargetId, Learned>,
    elements: Vec<Element>,
    numbers: Numbers,
    cells: Vec<Cells>,
}

/// What all cells of an agent share.
struct Near {
    all: Vec<Number>,
    resolver: Option<Number>,
    /// What lies between it and each class of targets, by layer.
    between: BTreeMap<usize, [Vec<Number>; 4]>,
}

/// What a target shows to whoever looks at it in one way, by layer.
type Far = [Vec<Number>; 4];

impl<'a> Columns<'a> {
    pub(super) fn new(world: &'a World, learned: &'a BTreeMap<TargetId, Learned>, looks: Looks<'_>) -> Self {
        let names: BTreeSet<&str> = world.vantages.values().map(|vantage| vantage.group.as_str()).collect();
        let groups: BTreeMap<&str, u32> = names.into_iter().zip(0..).collect();
        let mut columns = Self {
            agents: world.vantages.iter().collect(),
            targets: world.targets.iter().collect(),
            ways: vec![Way::System; world.targets.len()],
            groups: world.vantages.values().map(|vantage| groups[vantage.group.as_str()]).collect(),
            group_count: groups.len(),
            learned,
            elements: Vec::new(),
            numbers: Numbers::default(),
            cells: Vec::new(),
        };
        columns.fill(looks);
        columns.fill_access(looks);
        columns
    }

    fn fill(&mut self, looks: Looks<'_>) {
        let agents = self.agents.clone();
        let mut near: Vec<Near> = Vec::new();
        for (id, vantage) in &agents {
            let all = exercise::near(id, vantage).into_iter().map(|element| self.number(element)).collect();
            let resolver = exercise::resolver(vantage, &Way::System).map(|element| self.number(element));
            near.push(Near { all, resolver, between: BTreeMap::new() });
        }
        let mut classes = BTreeMap::new();
        for (target, (id, seen)) in self.targets.clone().into_iter().enumerate() {
            let seen = Seen::new(seen, self.learned.get(id));
            let next = classes.len();
            let key = (seen.cdn.clone(), seen.operator.clone(), seen.cloud.to_owned(), seen.region.map(str::to_owned));
            let class = *classes.entry(key).or_insert(next);
            let mut far: BTreeMap<Way, (Option<Number>, Far)> = BTreeMap::new();
            for (agent, (name, vantage)) in agents.iter().enumerate() {
                let Some(way) = looks(name, id) else { continue };
                self.ways[target] = way.clone();
                let (asked, far) = far.entry(way.clone()).or_insert_with(|| self.far((id, &seen), &way));
                let resolver = if way == Way::System { near[agent].resolver } else { *asked };
                let between = near[agent].between.entry(class).or_insert_with(|| self.between(vantage, &seen)).clone();
                let cell = self.cell(agent, target);
                for layer in seen.target.layers() {
                    let at = layer as usize;
                    let resolver = resolver.filter(|_| layer == Layer::Dns);
                    for number in near[agent].all.iter().chain(&far[at]).chain(&between[at]).chain(&resolver) {
                        let column = &mut self.cells[*number as usize][at];
                        // An element may be both far and between.
                        if column.last() != Some(&cell) {
                            column.push(cell);
                        }
                    }
                }
            }
        }
    }

    fn far(&mut self, (id, seen): (&TargetId, &Seen<'_>), way: &Way) -> (Option<Number>, Far) {
        let mut far = Far::default();
        for layer in seen.target.layers() {
            let set = exercise::far((id, seen), layer, way);
            far[layer as usize] = set.into_iter().map(|element| self.number(element)).collect();
        }
        let resolver = exercise::resolver(&Vantage::default(), way).map(|element| self.number(element));
        (resolver, far)
    }

    fn between(&mut self, vantage: &Vantage, seen: &Seen<'_>) -> [Vec<Number>; 4] {
        let mut between = <[Vec<Number>; 4]>::default();
        for layer in Layer::ALL {
            let set = exercise::between(vantage, seen, *layer);
            between[*layer as usize] = set.into_iter().map(|element| self.number(element)).collect();
        }
        between
    }

    /// Clouds and regions that only their own agents' rows speak of.
    fn fill_access(&mut self, looks: Looks<'_>) {
        let rows: Vec<(usize, Element)> = self
            .agents
            .iter()
            .enumerate()
            .flat_map(|(agent, (_, vantage))| {
                exercise::access(vantage).into_iter().map(move |element| (agent, element))
            })
            .filter(|(_, element)| !self.is_observed(element))
            .collect();
        for target in 0..self.targets.len() {
            for (agent, element) in &rows {
                if looks(self.agents[*agent].0, self.targets[target].0).is_some() {
                    let (number, cell) = (self.number(element.clone()) as usize, self.cell(*agent, target));
                    for layer in self.targets[target].1.layers() {
                        self.cells[number][layer as usize].push(cell);
                    }
                }
            }
        }
    }

    fn cell(&self, agent: usize, target: usize) -> u32 {
        u32::try_from(target * self.agents.len() + agent).unwrap_or(u32::MAX)
    }

    fn number(&mut self, element: Element) -> Number {
        if let Some(number) = self.numbers.get(&element) {
            return *number;
        }
        let number = u32::try_from(self.elements.len()).unwrap_or(u32::MAX);
        self.elements.push(element.clone());
        self.numbers.insert(element, number);
        self.cells.push(Cells::default());
        number
    }

    /// Every element that something observes.
    pub(super) fn observed(&self) -> impl Iterator<Item = Number> {
        (0..).zip(&self.cells).filter(|(_, cells)| cells.iter().any(|column| !column.is_empty())).map(|(n, _)| n)
    }

    pub(super) fn is_observed(&self, element: &Element) -> bool {
        self.numbers.get(element).is_some_and(|n| self.cells[*n as usize].iter().any(|column| !column.is_empty()))
    }

    pub(super) fn element(&self, number: Number) -> &Element {
        &self.elements[number as usize]
    }

    pub(super) fn at(&self, number: Number, layer: Layer) -> &[u32] {
        &self.cells[number as usize][layer as usize]
    }

    pub(super) fn column_of(&self, element: &Element, layer: Layer) -> &[u32] {
        self.numbers.get(element).map_or(&[], |number| self.at(*number, layer))
    }

    pub(super) fn learned(&self, target: &TargetId) -> Option<&'a Learned> {
        self.learned.get(target)
    }

    pub(super) fn agent_of(&self, cell: u32) -> usize {
        cell as usize % self.agents.len().max(1)
    }

    pub(super) fn target_of(&self, cell: u32) -> usize {
        cell as usize / self.agents.len().max(1)
    }

    pub(super) fn group_of(&self, cell: u32) -> u32 {
        self.groups[self.agent_of(cell)]
    }

    /// Agents that see the element, at any layer.
    pub(super) fn witnesses(&self, number: Number) -> BTreeSet<usize> {
        self.cells[number as usize].iter().flatten().map(|cell| self.agent_of(*cell)).collect()
    }

    /// Targets that show the element, at any layer; counted up to 2.
    pub(super) fn first_targets(&self, number: Number) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for cell in self.cells[number as usize].iter().flatten() {
            found.insert(self.target_of(*cell));
            if found.len() > 1 {
                break;
            }
        }
        found
    }

    /// Sets of elements with equal columns at this layer, empty columns left out.
    pub(super) fn classes_at(&self, layer: Layer) -> Vec<Vec<Number>> {
        let mut buckets: BTreeMap<(usize, u64), Vec<Vec<Number>>> = BTreeMap::new();
        for number in self.observed() {
            let column = self.at(number, layer);
            if column.is_empty() {
                continue;
            }
            let bucket = buckets.entry((column.len(), digest(column))).or_default();
            match bucket.iter_mut().find(|class| self.at(class[0], layer) == column) {
                Some(class) => class.push(number),
                None => bucket.push(vec![number]),
            }
        }
        buckets.into_values().flatten().collect()
    }

    /// How many elements could be told apart if every layer showed.
    pub(super) fn classes(&self) -> usize {
        let signature = |number: Number| [0, 1, 2, 3].map(|layer| &self.cells[number as usize][layer]);
        let signatures: BTreeSet<_> =
            self.observed().map(|number| signature(number).map(|column| (column.len(), digest(column)))).collect();
        signatures.len()
    }
}

/// All elements that the layer of one run exercises.
pub(super) fn exercised(
    (agent, vantage): (&AgentId, &Vantage),
    (id, target): (&TargetId, &Target),
    learned: Option<&Learned>,
    (layer, way): (Layer, &Way),
) -> BTreeSet<Element> {
    let seen = Seen::new(target, learned);
    let mut set = exercise::near(agent, vantage);
    set.extend(exercise::far((id, &seen), layer, way));
    set.extend(exercise::between(vantage, &seen, layer));
    set.extend(exercise::resolver(vantage, way).filter(|_| layer == Layer::Dns));
    set
}

fn digest(column: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    column.hash(&mut hasher);
    hasher.finish()
}
