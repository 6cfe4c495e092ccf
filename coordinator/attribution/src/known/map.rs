//! The map: elements by number, and which of them each agent, each slot and each pair of classes of them brings. A cache
//! of what [`crate::exercise`] says, worked out anew when the world changes.
//!
//! Elements and groups are numbered in the order of their names, so that nothing depends on who was seen first.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{Entry, Known, NONE, Slot};
use crate::{
    element::Element,
    exercise::{self, Seen},
    vocabulary::Layer,
    world::{TargetId, Vantage},
};

/// What an agent brings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Near {
    /// Index into [`Map::groups`].
    pub(crate) group: u32,
    /// The agent itself comes first: its name does.
    pub(crate) all: Vec<u32>,
    /// Elements that only its failures speak of.
    pub(crate) access: Vec<u32>,
    resolver: Option<u32>,
    class: u32,
    pub(crate) is_there: bool,
}

/// What a slot brings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Far {
    /// By layer; `None` where the probe has no such layer.
    pub(crate) layers: [Option<Vec<u32>>; 4],
    /// Elements that an error of the endpoint's own implicates.
    pub(crate) own: Vec<u32>,
    resolver: Option<u32>,
    asks_own_resolver: bool,
    class: u32,
}

/// What lies between: at the dns layer, and at those above it.
#[derive(Clone, Debug, Default)]
struct Between {
    dns: Vec<u32>,
    above: Vec<u32>,
}

/// Who brings an element at a layer.
#[derive(Clone, Debug)]
pub(crate) struct Holders {
    pub(super) agents: Vec<bool>,
    pub(super) slots: Vec<bool>,
    /// Neither an agent nor a slot does alone.
    pub(super) is_between: bool,
}

/// Elements by number, and sets.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) is_stale: bool,
    /// In order of name.
    pub(crate) elements: Vec<Element>,
    /// Logarithm of each element's prior.
    pub(crate) ln_priors: Vec<f64>,
    /// In order of name.
    pub(crate) groups: Vec<String>,
    pub(crate) near: Vec<Near>,
    pub(crate) far: Vec<Far>,
    /// By class of agents, then class of slots.
    between: Vec<Between>,
    far_classes: usize,
    /// Cells that exercise each element, at any layer.
    pub(crate) cells_of: Vec<u32>,
    /// Groups that exercise each element, at any layer: a bit for each.
    groups_of: Vec<Vec<u64>>,
    scratch: Vec<u32>,
    /// Whether each element is on the path of a CDN: an error that the origin wrote passed through it.
    pub(crate) is_edge: Vec<bool>,
}

impl Default for Map {
    fn default() -> Self {
        Self {
            is_stale: true,
            elements: Vec::new(),
            ln_priors: Vec::new(),
            groups: Vec::new(),
            near: Vec::new(),
            far: Vec::new(),
            between: Vec::new(),
            far_classes: 0,
            cells_of: Vec::new(),
            groups_of: Vec::new(),
            scratch: Vec::new(),
            is_edge: Vec::new(),
        }
    }
}

/// Numbers for elements in order of appearance; put in order of name at the end.
#[derive(Default)]
struct Interner {
    all: Vec<Element>,
    numbers: FxHashMap<(String, crate::ElementKind), u32>,
}

impl Interner {
    fn number(&mut self, element: Element) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry((element.name.clone(), element.kind)).or_insert(next);
        if number == next {
            self.all.push(element);
        }
        number
    }

    fn numbers(&mut self, set: impl IntoIterator<Item = Element>) -> Vec<u32> {
        set.into_iter().map(|element| self.number(element)).collect()
    }
}

type VantageClass = (Option<String>, Option<u32>, Option<String>, Option<String>, Vec<String>);

fn vantage_class(vantage: &Vantage) -> VantageClass {
    let Vantage { geography, asn, isp, country, carriers, .. } = vantage.clone();
    (geography, asn, isp, country, carriers)
}

/// Number of a key, in order of appearance.
fn class<K: Ord>(classes: &mut BTreeMap<K, u32>, key: K) -> u32 {
    let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
    *classes.entry(key).or_insert(next)
}

impl Map {
    pub(super) fn new(known: &Known) -> Self {
        let mut interner = Interner::default();
        let mut groups: Vec<String> =
            known.agents.iter().filter_map(|agent| Some(agent.vantage.as_ref()?.group.clone())).collect();
        groups.sort_unstable();
        groups.dedup();
        let (mut near_classes, mut far_classes) = (BTreeMap::new(), BTreeMap::new());
        let mut near_examples: Vec<&Vantage> = Vec::new();
        let mut far_examples: Vec<Seen<'_>> = Vec::new();
        let near: Vec<Near> = known
            .agents
            .iter()
            .map(|agent| {
                let Some(vantage) = &agent.vantage else { return Near::default() };
                let class = class(&mut near_classes, vantage_class(vantage));
                if class as usize == near_examples.len() {
                    near_examples.push(vantage);
                }
                Near {
                    group: groups.binary_search(&vantage.group).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(0),
                    all: interner.numbers(exercise::near(&agent.id, vantage)),
                    access: interner.numbers(exercise::access(vantage)),
                    resolver: exercise::resolver(vantage, &crate::Way::System).map(|element| interner.number(element)),
                    class,
                    is_there: true,
                }
            })
            .collect();
        let far: Vec<Far> = known
            .slots
            .iter()
            .map(|slot| {
                let Some(number) = slot.target else {
                    let layers = [None, Some(Vec::new()), None, None];
                    return Far { layers, class: NONE, ..Far::default() };
                };
                let (id, target, learned) = (known.target_id(number), known.target(number), known.learned(number));
                let Some(target) = target else { return Far { class: NONE, ..Far::default() } };
                let seen = Seen::new(target, learned);
                let key =
                    (seen.cdn.clone(), seen.operator.clone(), seen.cloud.to_owned(), seen.region.map(str::to_owned));
                let class = class(&mut far_classes, key);
                if class as usize == far_examples.len() {
                    far_examples.push(seen.clone());
                }
                Self::far(&mut interner, (id, &seen), slot, class)
            })
            .collect();
        let mut between = Vec::with_capacity(near_examples.len() * far_examples.len());
        for vantage in &near_examples {
            for seen in &far_examples {
                let dns = interner.numbers(exercise::between(vantage, seen, Layer::Dns));
                let above = interner.numbers(exercise::between(vantage, seen, Layer::Connect));
                between.push(Between { dns, above });
            }
        }
        let far_classes = far_examples.len();
        let mut map = Self { is_stale: false, groups, near, far, between, far_classes, ..Self::default() };
        map.order(&interner.all);
        map.cells_of = vec![0; map.elements.len()];
        map.groups_of = vec![vec![0; map.groups.len().div_ceil(64)]; map.elements.len()];
        for entry in &known.cells {
            map.count_cell(entry, &known.slots[entry.slot as usize]);
        }
        map
    }

    fn far(interner: &mut Interner, (id, seen): (&TargetId, &Seen<'_>), slot: &Slot, class: u32) -> Far {
        let mut far = Far {
            own: interner.numbers(exercise::own_fault((id, seen.target))),
            asks_own_resolver: slot.way == crate::Way::System,
            class,
            ..Far::default()
        };
        if !far.asks_own_resolver {
            far.resolver = exercise::resolver(&Vantage::default(), &slot.way).map(|element| interner.number(element));
        }
        for layer in seen.target.layers() {
            let set = exercise::far((id, seen), layer, &slot.way);
            far.layers[layer as usize] = Some(interner.numbers(set));
        }
        far
    }

    /// Renumbers everything in the order of the elements' names.
    fn order(&mut self, elements: &[Element]) {
        let mut order: Vec<usize> = (0..elements.len()).collect();
        order.sort_unstable_by(|a, b| elements[*a].cmp(&elements[*b]));
        let mut place = vec![0_u32; elements.len()];
        for (new, old) in (0..).zip(&order) {
            place[*old] = new;
        }
        let renumber = |set: &mut Vec<u32>| {
            for number in set.iter_mut() {
                *number = place[*number as usize];
            }
            set.sort_unstable();
        };
        for near in &mut self.near {
            renumber(&mut near.all);
            renumber(&mut near.access);
            near.resolver = near.resolver.map(|number| place[number as usize]);
        }
        for far in &mut self.far {
            far.layers.iter_mut().flatten().for_each(renumber);
            renumber(&mut far.own);
            far.resolver = far.resolver.map(|number| place[number as usize]);
        }
        for between in &mut self.between {
            renumber(&mut between.dns);
            renumber(&mut between.above);
        }
        self.elements = order.into_iter().map(|old| elements[old].clone()).collect();
        self.ln_priors = self.elements.iter().map(|element| element.prior().ln()).collect();
        self.is_edge = self
            .elements
            .iter()
            .map(|element| matches!(element.kind, crate::ElementKind::Cdn | crate::ElementKind::CdnSite))
            .collect();
    }

    /// Calls `each` with every element that a cell exercises at a layer.
    pub(crate) fn each(&self, entry: &Entry, layer: Layer, mut each: impl FnMut(u32)) {
        let (near, far) = (&self.near[entry.agent as usize], &self.far[entry.slot as usize]);
        let Some(set) = &far.layers[layer as usize] else { return };
        near.all.iter().chain(set).for_each(|number| each(*number));
        for number in self.others(entry, layer) {
            each(number);
        }
    }

    /// The elements of a cell at a layer that neither its agent nor its slot has alone.
    pub(crate) fn others(&self, entry: &Entry, layer: Layer) -> impl Iterator<Item = u32> {
        let (near, far) = (&self.near[entry.agent as usize], &self.far[entry.slot as usize]);
        let resolver = Self::resolver(near, far).filter(|_| layer == Layer::Dns);
        let between = self.pair(near, far).map_or(&[][..], |pair| self.between(pair, layer));
        resolver.into_iter().chain(between.iter().copied())
    }

    /// The resolver between the two, where it is a known one.
    pub(crate) fn resolver(near: &Near, far: &Far) -> Option<u32> {
        if far.asks_own_resolver { near.resolver } else { far.resolver }
    }

    /// The number of the pair of classes of the two; none for an agent that is gone, or a slot without a target.
    pub(crate) fn pair(&self, near: &Near, far: &Far) -> Option<usize> {
        (near.is_there && far.class != NONE).then(|| near.class as usize * self.far_classes + far.class as usize)
    }

    /// How many pairs of classes there are.
    pub(crate) fn pair_count(&self) -> usize {
        self.between.len()
    }

    /// What lies between the two classes of a pair at a layer.
    pub(crate) fn between(&self, pair: usize, layer: Layer) -> &[u32] {
        let between = &self.between[pair];
        if layer == Layer::Dns { &between.dns } else { &between.above }
    }

    /// Which agents and slots bring the element at the layer by themselves.
    pub(crate) fn holders(&self, element: u32, layer: Layer) -> Holders {
        let agents: Vec<bool> = self.near.iter().map(|near| near.all.binary_search(&element).is_ok()).collect();
        let in_slot =
            |far: &Far| far.layers[layer as usize].as_ref().is_some_and(|set| set.binary_search(&element).is_ok());
        let slots: Vec<bool> = self.far.iter().map(in_slot).collect();
        let is_between = !agents.contains(&true) && !slots.contains(&true);
        Holders { agents, slots, is_between }
    }

    /// Whether a cell exercises the element at the layer.
    pub(crate) fn holds(&self, holders: &Holders, entry: &Entry, layer: Layer, element: u32) -> bool {
        let (agent, slot) = (entry.agent as usize, entry.slot as usize);
        if self.far[slot].layers[layer as usize].is_none() || !self.near[agent].is_there {
            return false;
        }
        holders.agents[agent]
            || holders.slots[slot]
            || (holders.is_between && self.others(entry, layer).any(|number| number == element))
    }

    /// How many groups exercise any of these elements, at any layer.
    pub(crate) fn groups_at(&self, elements: impl Iterator<Item = u32>) -> usize {
        let mut any = vec![0_u64; self.groups.len().div_ceil(64)];
        for element in elements {
            any.iter_mut().zip(&self.groups_of[element as usize]).for_each(|(any, bits)| *any |= bits);
        }
        any.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Counts a cell for each element that it exercises at any layer; nobody's but targets' cells count.
    pub(super) fn count_cell(&mut self, entry: &Entry, slot: &Slot) {
        if slot.target.is_none() {
            return;
        }
        let mut elements = std::mem::take(&mut self.scratch);
        for layer in Layer::ALL {
            self.each(entry, *layer, |number| elements.push(number));
        }
        elements.sort_unstable();
        elements.dedup();
        let group = self.near[entry.agent as usize].group as usize;
        for number in elements.drain(..) {
            self.cells_of[number as usize] += 1;
            if let Some(bits) = self.groups_of[number as usize].get_mut(group / 64) {
                *bits |= 1 << (group % 64);
            }
        }
        self.scratch = elements;
    }
}
