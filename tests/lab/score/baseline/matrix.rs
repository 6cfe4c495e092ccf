//! The part of the window that can explain what fails: suspects, and every cell that goes through one.
//!
//! A suspect is a component at one layer, since a component that fails at one layer may well work at the others: a
//! region that answers 503 accepts connections, and passes there would clear what every method here is to find. A
//! component that fails at several layers is a suspect from each of them on, too: a dead region refuses connections,
//! and a CDN before it then has nothing to pass on.

use std::collections::{BTreeMap, HashMap};

use faultline_attribution::{Element, Layer};

use super::{cell::Tally, cells::Cells};

/// A component at a layer or from it on, by its place in [`Matrix::suspects`].
pub(crate) type Suspect = usize;

/// Where a suspect would fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At one layer.
    Layer,
    /// At one layer and those after it.
    Onwards,
}

/// Suspects and the cells that go through them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    suspects: Vec<Element>,
    reaches: Vec<Reach>,
    tallies: Vec<Tally>,
    hops: Vec<u32>,
    members: Ragged,
    rows: Ragged,
}

impl Matrix {
    /// What the window holds.
    pub(crate) fn of(cells: &Cells) -> Self {
        let mut numbers: HashMap<u32, BTreeMap<Layer, (Suspect, Option<Suspect>)>> = HashMap::new();
        let mut matrix = Self::default();
        for cell in cells.active().filter(|cell| cell.tally.failures > 0) {
            for component in cells.components_of(cell) {
                let layers = numbers.entry(*component).or_default();
                let add = || (matrix.add(cells, *component, Reach::Layer), None);
                layers.entry(cell.layer).or_insert_with(add);
            }
        }
        let mut several: Vec<_> = numbers.iter_mut().filter(|(_, layers)| layers.len() > 1).collect();
        several.sort_unstable_by_key(|(component, _)| **component);
        for (component, layers) in several {
            let further = layers.len() - 1;
            for (_, onwards) in layers.values_mut().take(further) {
                *onwards = Some(matrix.add(cells, *component, Reach::Onwards));
            }
        }
        if matrix.suspects.is_empty() {
            return matrix;
        }
        for cell in cells.active() {
            let layers = cells.components_of(cell).iter().filter_map(|component| numbers.get(component));
            let members = layers.flat_map(|layers| {
                let at = layers.get(&cell.layer).map(|(at, _)| *at);
                at.into_iter().chain(layers.range(..=cell.layer).filter_map(|(_, (_, onwards))| *onwards))
            });
            if matrix.members.push(members) > 0 {
                matrix.tallies.push(cell.tally);
                matrix.hops.push(u32::try_from(cells.components_of(cell).len()).unwrap_or(u32::MAX));
            } else {
                matrix.members.pop_empty();
            }
        }
        matrix.rows = matrix.members.transposed(matrix.suspects.len());
        matrix
    }

    fn add(&mut self, cells: &Cells, component: u32, reach: Reach) -> Suspect {
        self.suspects.push(cells.components().element(component).clone());
        self.reaches.push(reach);
        self.suspects.len() - 1
    }

    /// Whether it fails at one layer or from it on.
    pub(crate) fn reach(&self, suspect: Suspect) -> Reach {
        self.reaches[suspect]
    }

    /// How many suspects there are.
    pub(crate) fn len(&self) -> usize {
        self.suspects.len()
    }

    /// The element of a suspect.
    pub(crate) fn element(&self, suspect: Suspect) -> &Element {
        &self.suspects[suspect]
    }

    /// Counts of the cells.
    pub(crate) fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// How many components the cell goes through.
    pub(crate) fn hops(&self, row: usize) -> u32 {
        self.hops[row]
    }

    /// Cells that go through the suspect.
    pub(crate) fn rows(&self, suspect: Suspect) -> &[usize] {
        self.rows.get(suspect)
    }

    /// Suspects that the cell goes through.
    pub(crate) fn members(&self, row: usize) -> &[Suspect] {
        self.members.get(row)
    }

    /// The best suspect by this score; `None` scores are out. Ties: who is in fault more often, then the name.
    ///
    /// Ties are frequent here, and the papers leave them open, so each method gets the engine's own priors for them.
    pub(crate) fn best(&self, score: impl Fn(Suspect) -> Option<f64>) -> Option<(Suspect, f64)> {
        let scored = (0..self.len()).filter_map(|suspect| Some((suspect, score(suspect)?)));
        scored.reduce(|best, next| if self.beats(next, best) { next } else { best })
    }

    fn beats(&self, (left, score): (Suspect, f64), (right, other): (Suspect, f64)) -> bool {
        let (left, right) = (&self.suspects[left], &self.suspects[right]);
        let priors = left.kind.prior().total_cmp(&right.kind.prior());
        let close = 1e-9 * score.abs().max(other.abs());
        score > other + close || (score >= other - close && priors.then_with(|| right.name.cmp(&left.name)).is_gt())
    }

    /// For each suspect, how many of these rows go through it.
    pub(crate) fn covers(&self, is_bad: &[bool]) -> Vec<u32> {
        let mut covers = vec![0; self.len()];
        for row in (0..is_bad.len()).filter(|row| is_bad[*row]) {
            self.members(row).iter().for_each(|suspect| covers[*suspect] += 1);
        }
        covers
    }

    /// Takes the rows of a suspect out of the bad ones.
    pub(crate) fn explain(&self, suspect: Suspect, is_bad: &mut [bool], covers: &mut [u32]) {
        for row in self.rows(suspect) {
            if std::mem::replace(&mut is_bad[*row], false) {
                self.members(*row).iter().for_each(|other| covers[*other] -= 1);
            }
        }
    }

    /// The elements of these suspects, each once.
    pub(crate) fn elements(&self, suspects: &[Suspect]) -> Vec<Element> {
        let mut elements: Vec<Element> = suspects.iter().map(|suspect| self.suspects[*suspect].clone()).collect();
        elements.sort();
        elements.dedup();
        elements
    }
}

/// Lists of different lengths, one after the other.
#[derive(Clone, Debug, Default)]
struct Ragged {
    ends: Vec<usize>,
    items: Vec<usize>,
}

impl Ragged {
    /// Adds a list and returns its length.
    fn push(&mut self, list: impl Iterator<Item = usize>) -> usize {
        let before = self.items.len();
        self.items.extend(list);
        self.ends.push(self.items.len());
        self.items.len() - before
    }

    fn pop_empty(&mut self) {
        self.ends.pop();
    }

    fn get(&self, place: usize) -> &[usize] {
        let from = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[from..self.ends[place]]
    }

    /// For each of `width` items, the lists that hold it.
    fn transposed(&self, width: usize) -> Self {
        let mut ends = vec![0; width];
        for item in &self.items {
            ends[*item] += 1;
        }
        let mut from = 0;
        let mut places = Vec::with_capacity(width);
        for end in &mut ends {
            places.push(from);
            from += *end;
            *end = from;
        }
        let mut items = vec![0; self.items.len()];
        for list in 0..self.ends.len() {
            for item in self.get(list) {
                items[places[*item]] = list;
                places[*item] += 1;
            }
        }
        Self { ends, items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_lists_back() {
        let mut lists = Ragged::default();
        for list in [vec![0, 2], vec![1], vec![], vec![0, 1, 2]] {
            lists.push(list.into_iter());
        }
        let columns = lists.transposed(3);
        assert_eq!(columns.get(0), [0, 3]);
        assert_eq!(columns.get(1), [1, 3]);
        let back = columns.transposed(4);
        assert!((0..4).all(|place| back.get(place) == lists.get(place)));
    }
}
