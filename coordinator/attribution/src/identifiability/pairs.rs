//! Pairs with equal columns, and pairs whose columns differ by little.
//!
//! One target is little only for columns of several: where both stand at one and the same target, it is the groups that
//! tell them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Alike, Pair, Weak, columns::Columns, columns::Number};
use crate::{
    element::Element,
    vocabulary::{Layer, Verdict},
};

/// Pairs of different verdicts with equal columns, and sets of one verdict with equal columns.
pub(super) fn equal(columns: &Columns<'_>) -> (Vec<Pair>, Vec<Alike>) {
    let mut pairs: BTreeMap<(Element, Element), Vec<Layer>> = BTreeMap::new();
    let mut alike: BTreeMap<Vec<Element>, Vec<Layer>> = BTreeMap::new();
    for layer in Layer::ALL {
        for class in columns.classes_at(*layer).into_iter().filter(|class| class.len() > 1) {
            let mut by_verdict: BTreeMap<Verdict, Vec<Element>> = BTreeMap::new();
            for number in class {
                let element = columns.element(number).clone();
                by_verdict.entry(element.verdict()).or_default().push(element);
            }
            let sets: Vec<Vec<Element>> = by_verdict.into_values().collect();
            for (position, set) in sets.iter().enumerate() {
                for element in set {
                    for other in sets[position + 1..].iter().flatten() {
                        pairs.entry(ordered(element, other)).or_default().push(*layer);
                    }
                }
            }
            for mut set in sets.into_iter().filter(|set| set.len() > 1) {
                set.sort();
                alike.entry(set).or_default().push(*layer);
            }
        }
    }
    let pairs = pairs.into_iter().map(|((one, other), layers)| Pair { one, other, layers, separated_by: Vec::new() });
    (pairs.collect(), alike.into_iter().map(|(elements, layers)| Alike { elements, layers }).collect())
}

/// Pairs of different verdicts that share cells and differ at one target only, or in fewer than `quorum` groups.
pub(super) fn weak(columns: &Columns<'_>, serious: &[Pair], quorum: usize) -> Vec<Weak> {
    let serious: BTreeSet<(&Element, &Element)> = serious.iter().map(|pair| (&pair.one, &pair.other)).collect();
    let mut found: BTreeMap<(Element, Element), (Vec<Layer>, usize, usize)> = BTreeMap::new();
    for layer in Layer::ALL {
        let outlines: Vec<Outline> = columns.observed().filter_map(|n| Outline::of(columns, n, *layer)).collect();
        // One of the two is a cloud's; two clouds' are looked at once.
        let of_clouds = outlines.iter().filter(|outline| outline.verdict != Verdict::Neither);
        for one in of_clouds {
            for other in &outlines {
                let is_turned = other.verdict != Verdict::Neither && other.number < one.number;
                if one.verdict == other.verdict || is_turned || !one.may_be_close(other, quorum) {
                    continue;
                }
                let Some((targets, groups)) = difference(columns, one.number, other.number, *layer, quorum) else {
                    continue;
                };
                let pair = ordered(columns.element(one.number), columns.element(other.number));
                if serious.contains(&(&pair.0, &pair.1)) {
                    continue;
                }
                let (layers, fewest_targets, fewest_groups) = found.entry(pair).or_insert((Vec::new(), 2, quorum));
                layers.push(*layer);
                *fewest_targets = targets.min(*fewest_targets);
                *fewest_groups = groups.min(*fewest_groups);
            }
        }
    }
    let weak =
        found.into_iter().map(|((one, other), (layers, targets, groups))| Weak { one, other, layers, targets, groups });
    weak.collect()
}

fn ordered(one: &Element, other: &Element) -> (Element, Element) {
    if one < other { (one.clone(), other.clone()) } else { (other.clone(), one.clone()) }
}

/// The targets and groups of a column, as bits: enough to see that most pairs are far apart.
struct Outline {
    number: Number,
    verdict: Verdict,
    targets: Vec<u64>,
    target_count: usize,
    groups: Vec<u64>,
    group_count: usize,
}

impl Outline {
    fn of(columns: &Columns<'_>, number: Number, layer: Layer) -> Option<Self> {
        let column = columns.at(number, layer);
        if column.is_empty() {
            return None;
        }
        let mut targets = vec![0; columns.targets.len().div_ceil(64)];
        let mut groups = vec![0; columns.group_count.div_ceil(64)];
        for cell in column {
            set(&mut targets, columns.target_of(*cell));
            set(&mut groups, columns.group_of(*cell) as usize);
        }
        let count = |bits: &[u64]| bits.iter().map(|word| word.count_ones() as usize).sum();
        let (target_count, group_count) = (count(&targets), count(&groups));
        Some(Self { number, verdict: columns.element(number).verdict(), targets, target_count, groups, group_count })
    }

    /// Whether the columns may share a cell and differ by little. Where the outlines differ, the columns do.
    fn may_be_close(&self, other: &Self, quorum: usize) -> bool {
        let share = |a: &[u64], b: &[u64]| a.iter().zip(b).any(|(a, b)| a & b != 0);
        let differ = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones() as usize).sum::<usize>();
        let by_targets = self.target_count.abs_diff(other.target_count) < 2;
        let by_groups = self.group_count.abs_diff(other.group_count) < quorum;
        if !by_targets && !by_groups {
            return false;
        }
        share(&self.targets, &other.targets)
            && share(&self.groups, &other.groups)
            && (by_targets
                && self.target_count.max(other.target_count) > 1
                && differ(&self.targets, &other.targets) < 2
                || by_groups && differ(&self.groups, &other.groups) < quorum)
    }
}

fn set(bits: &mut [u64], bit: usize) {
    bits[bit / 64] |= 1 << (bit % 64);
}

/// At how many targets and in how many groups two columns differ, up to 2 and `quorum`; `None` when that is enough to
/// tell them apart, or when they share nothing or are equal.
fn difference(
    columns: &Columns<'_>,
    one: Number,
    other: Number,
    layer: Layer,
    quorum: usize,
) -> Option<(usize, usize)> {
    let (one, other) = (columns.at(one, layer), columns.at(other, layer));
    let at = |column: &[u32]| column.iter().map(|cell| columns.target_of(*cell)).collect::<BTreeSet<_>>();
    let (mut i, mut j, mut shared) = (0, 0, false);
    let (mut targets, mut groups) = (BTreeSet::new(), BTreeSet::new());
    while i < one.len() || j < other.len() {
        let cell = match (one.get(i), other.get(j)) {
            (Some(a), Some(b)) if a == b => {
                (i, j, shared) = (i + 1, j + 1, true);
                continue;
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                i += 1;
                *a
            }
            (_, Some(b)) => {
                j += 1;
                *b
            }
            (_, None) => break,
        };
        targets.insert(columns.target_of(cell));
        groups.insert(columns.group_of(cell));
        if targets.len() >= 2 && groups.len() >= quorum {
            return None;
        }
    }
    let is_one_target = targets.len() == 1 && at(one).union(&at(other)).count() > 1;
    let is_weak = shared && !targets.is_empty() && (is_one_target || groups.len() < quorum);
    is_weak.then(|| (if is_one_target { 1 } else { 2 }, groups.len().min(quorum)))
}
