//! Evidence: what one window holds, laid out for the search. Counts per cell and layer, with the elements that each
//! exercises, restricted to the candidates: elements that at least one failure implicates.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    element::Element,
    time::Timestamp,
    vocabulary::{Cause, Layer},
    window::Cell,
};

/// Where an observation was made: an agent, and a target or (for `None`) the agent's own uplink.
pub(crate) type Place = (u32, Option<u32>);

/// Counts of one cell at one layer.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) place: Place,
    pub(crate) layer: Layer,
    /// Index into [`Evidence::groups`].
    pub(crate) group: usize,
    pub(crate) failed: f64,
    pub(crate) passed: f64,
    /// Chance of a failure without any fault.
    pub(crate) rate: f64,
    /// Indices into [`Evidence::elements`], ascending.
    pub(crate) set: Vec<usize>,
    pub(crate) causes: BTreeMap<Cause, u32>,
}

impl Count {
    /// Log likelihood if the elements that it exercises let through a share `healthy` of runs.
    pub(crate) fn log_likelihood(&self, healthy: f64) -> f64 {
        let fails = (1.0 - (1.0 - self.rate) * healthy).clamp(1e-9, 1.0 - 1e-9);
        self.failed * fails.ln() + self.passed * (1.0 - fails).ln()
    }
}

/// What one window holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) counts: Vec<Count>,
    /// Names of vantage groups, in order.
    pub(crate) groups: Vec<String>,
    /// Candidates, in order of name: ties are settled the same way every time.
    pub(crate) elements: Vec<Element>,
    /// For each candidate and layer, the counts that exercise it.
    pub(crate) by_element: Vec<[Vec<u32>; 4]>,
}

/// A cell as the evidence is gathered from it.
pub(crate) struct Look<'a> {
    pub(crate) place: Place,
    pub(crate) group: &'a str,
    pub(crate) cell: &'a Cell,
    /// Elements exercised, by layer; `None` where the probe has no such layer.
    pub(crate) sets: &'a [Option<Vec<u32>>; 4],
    /// Elements that an error of the endpoint's own implicates.
    pub(crate) own: &'a [u32],
    /// Elements that failures implicate and passes do not clear.
    pub(crate) access: &'a [u32],
}

#[derive(Default)]
struct Tally {
    failed: u32,
    own: u32,
    passed: u32,
    causes: BTreeMap<Cause, u32>,
}

/// Gathers the evidence of all samples that started at or after `from`. `elements` names the numbers in the sets.
pub(crate) fn gather<'a>(
    looks: impl Iterator<Item = Look<'a>>,
    elements: &[Element],
    from: Timestamp,
) -> Option<Evidence> {
    let mut rows: Vec<(Look<'a>, Layer, Tally)> = Vec::new();
    let mut candidates: BTreeSet<&Element> = BTreeSet::new();
    for look in looks {
        for (layer, tally) in tallies(look.cell, look.sets, from) {
            if tally.failed > 0
                && let Some(set) = &look.sets[layer as usize]
            {
                candidates.extend(set.iter().chain(look.access).map(|number| &elements[*number as usize]));
            }
            if tally.own > 0 {
                candidates.extend(look.own.iter().map(|number| &elements[*number as usize]));
            }
            rows.push((Look { ..look }, layer, tally));
        }
    }
    if candidates.is_empty() {
        return None;
    }
    let place_of: BTreeMap<&Element, usize> = candidates.iter().enumerate().map(|(i, element)| (*element, i)).collect();
    let local = |set: &[u32]| -> Vec<usize> {
        let mut local: Vec<usize> =
            set.iter().filter_map(|number| place_of.get(&elements[*number as usize]).copied()).collect();
        local.sort_unstable();
        local
    };
    let groups: BTreeSet<&str> = rows.iter().map(|(look, ..)| look.group).collect();
    let group_of: BTreeMap<&str, usize> = groups.iter().enumerate().map(|(i, group)| (*group, i)).collect();
    let mut evidence = Evidence {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        elements: candidates.iter().map(|element| (*element).clone()).collect(),
        by_element: vec![Default::default(); candidates.len()],
        counts: Vec::new(),
    };
    for (look, layer, tally) in rows {
        let group = group_of[look.group];
        let count = |set: Vec<usize>, failed: u32, passed: u32, causes: BTreeMap<Cause, u32>| Count {
            place: look.place,
            layer,
            group,
            failed: f64::from(failed),
            passed: f64::from(passed),
            rate: look.cell.base_rate(layer),
            set,
            causes,
        };
        let set = look.sets[layer as usize].as_deref().map(local).unwrap_or_default();
        if tally.own > 0 {
            // The endpoint's own error: everything below it worked, and only its own elements are implicated.
            evidence.add(count(local(look.own), tally.own, 0, tally.causes.clone()));
            evidence.add(count(set, 0, tally.passed + tally.own, BTreeMap::new()));
        } else if tally.failed > 0 && !look.access.is_empty() {
            let mut with_access = [set.clone(), local(look.access)].concat();
            with_access.sort_unstable();
            with_access.dedup();
            evidence.add(count(with_access, tally.failed, 0, tally.causes));
            evidence.add(count(set, 0, tally.passed, BTreeMap::new()));
        } else {
            evidence.add(count(set, tally.failed, tally.passed, tally.causes));
        }
    }
    Some(evidence)
}

impl Evidence {
    pub(crate) fn add(&mut self, count: Count) {
        if count.set.is_empty() || count.failed + count.passed == 0.0 {
            return;
        }
        let number = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
        for element in &count.set {
            self.by_element[*element][count.layer as usize].push(number);
        }
        self.counts.push(count);
    }

    /// The counts that exercise the candidate.
    pub(crate) fn of(&self, element: usize) -> impl Iterator<Item = &Count> {
        self.by_element[element].iter().flatten().map(|number| &self.counts[*number as usize])
    }

    /// The layers at which something fails that exercises the candidate.
    pub(crate) fn failing_layers(&self, element: usize) -> impl Iterator<Item = Layer> {
        let fails = move |layer: &Layer| {
            let numbers = &self.by_element[element][*layer as usize];
            numbers.iter().any(|number| self.counts[*number as usize].failed > 0.0)
        };
        Layer::ALL.iter().copied().filter(fails)
    }
}

fn tallies(cell: &Cell, sets: &[Option<Vec<u32>>; 4], from: Timestamp) -> Vec<(Layer, Tally)> {
    let mut tallies: [Tally; 4] = Default::default();
    for sample in cell.samples().rev().take_while(|sample| sample.at >= from) {
        for layer in Layer::ALL {
            let tally = &mut tallies[*layer as usize];
            match (sample.failed_at(*layer), sample.own_fault) {
                (Some(true), true) => tally.own += 1,
                (Some(true), false) => tally.failed += 1,
                (Some(false), _) => tally.passed += 1,
                (None, _) => {}
            }
            if let Some((failed, cause)) = sample.failed
                && failed == *layer
            {
                *tally.causes.entry(cause).or_default() += 1;
            }
        }
    }
    Layer::ALL
        .iter()
        .copied()
        .zip(tallies)
        .filter(|(layer, tally)| sets[*layer as usize].is_some() && tally.failed + tally.own + tally.passed > 0)
        .collect()
}
