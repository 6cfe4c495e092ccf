//! Evidence: what the windows hold, laid out for the search.
//!
//! A pass speaks for every element that it exercises alike, so passes are summed: one number for each candidate, layer
//! and group ([`Evidence::passes`]). Failures are kept one by one with the set that they implicate ([`Fail`]). Candidates
//! are elements that at least one failure implicates. All windows are gathered in one walk over the cells.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    element::Element,
    engine::Maker,
    known::{Known, Place, UPLINK},
    settings::Settings,
    time::Timestamp,
    vocabulary::{Cause, Layer},
    window::{Cell, Sample},
};

/// No row, no candidate.
const NONE: u32 = u32::MAX;

/// How much of a failure a slow pass is: weak evidence of trouble, and no evidence of health. Start value.
const SLOW_WEIGHT: f64 = 0.25;

/// Failures of one cell at one layer that implicate the same elements.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) place: Place,
    pub(crate) layer: Layer,
    pub(crate) group: u32,
    pub(crate) failed: f64,
    /// Runs of the cell at the layer.
    pub(crate) runs: f64,
    /// Chance of a failure without any fault.
    pub(crate) rate: f64,
    /// Candidates implicated, ascending.
    pub(crate) set: Vec<u32>,
    pub(crate) causes: BTreeMap<Cause, u32>,
}

impl Fail {
    /// Chance of a failure if the elements that it implicates let through a share `healthy` of runs.
    pub(crate) fn chance(&self, healthy: f64) -> f64 {
        (1.0 - (1.0 - self.rate) * healthy).clamp(1e-9, 1.0 - 1e-9)
    }
}

/// The candidates, shared by all windows.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// In order of name: ties are settled the same way every time.
    pub(crate) elements: Vec<Element>,
    /// For each candidate and layer, the row of its passes; none where it fails nowhere.
    rows: Vec<[u32; 4]>,
    /// Names of vantage groups, in order.
    pub(crate) groups: Vec<String>,
}

/// What one window holds.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) frame: Rc<Frame>,
    pub(crate) from: Timestamp,
    pub(crate) fails: Vec<Fail>,
    /// For each candidate and layer, the failures that implicate it.
    pub(crate) by_element: Vec<[Vec<u32>; 4]>,
    /// Rows of passes, a number for each group.
    passes: Vec<f64>,
    /// The sum of each row.
    passed: Vec<f64>,
    /// Per group: log likelihood of all counts relative to no fault, if it reports anything whatever.
    pub(crate) liar: Vec<f64>,
}

impl Evidence {
    /// Passes of each group that speak for the candidate at the layer; empty where it fails nowhere.
    pub(crate) fn passes(&self, element: usize, layer: Layer) -> &[f64] {
        let groups = self.frame.groups.len();
        match self.frame.rows[element][layer as usize] {
            NONE => &[],
            row => &self.passes[row as usize * groups..(row as usize + 1) * groups],
        }
    }

    /// Passes of all groups that speak for the candidate at the layer.
    pub(crate) fn passed(&self, element: usize, layer: Layer) -> f64 {
        match self.frame.rows[element][layer as usize] {
            NONE => 0.0,
            row => self.passed[row as usize],
        }
    }

    /// The failures that implicate the candidate.
    pub(crate) fn fails_of(&self, element: usize) -> impl Iterator<Item = &Fail> {
        self.by_element[element].iter().flatten().map(|number| &self.fails[*number as usize])
    }

    /// The layers at which something fails that implicates the candidate.
    pub(crate) fn failing_layers(&self, element: usize) -> impl Iterator<Item = Layer> {
        Layer::ALL.iter().copied().filter(move |layer| !self.by_element[element][*layer as usize].is_empty())
    }

    pub(crate) fn elements(&self) -> &[Element] {
        &self.frame.elements
    }

    fn add(&mut self, fail: Fail) {
        if fail.set.is_empty() || fail.failed == 0.0 {
            return;
        }
        let number = u32::try_from(self.fails.len()).unwrap_or(NONE);
        for element in &fail.set {
            self.by_element[*element as usize][fail.layer as usize].push(number);
        }
        self.fails.push(fail);
    }
}

/// What a cell brings to one layer of one window.
#[derive(Clone, Debug, Default)]
struct Tally {
    failed: f64,
    /// Failures whose answer the origin wrote: what stands in front of it passed them on.
    origin: f64,
    /// Failures that are the endpoint's own word.
    own: f64,
    passed: f64,
    causes: BTreeMap<Cause, u32>,
}

impl Tally {
    fn add(&mut self, sample: &Sample, layer: Layer, is_last: bool) {
        match sample.failed_at(layer) {
            Some(true) if sample.own_fault => self.own += 1.0,
            Some(true) if sample.maker == Some(Maker::Origin) => self.origin += 1.0,
            Some(true) => self.failed += 1.0,
            Some(false) if sample.slow && is_last => self.failed += SLOW_WEIGHT,
            Some(false) => self.passed += 1.0,
            None => {}
        }
        if let Some((failed, cause)) = sample.failed
            && failed == layer
        {
            *self.causes.entry(cause).or_default() += 1;
        }
    }

    fn failures(&self) -> f64 {
        self.failed + self.origin + self.own
    }
}

/// Gathers the evidence of all samples since each of `from`, which are in descending order, for these candidates. Uplinks count only when
/// `with_uplinks`. Empty when nothing fails in any window.
pub(crate) fn gather(
    known: &Known,
    from: &[Timestamp],
    candidates: &[bool],
    with_uplinks: bool,
    settings: &Settings,
) -> Vec<Evidence> {
    let Some(earliest) = from.last().copied() else { return Vec::new() };
    let map = known.map();
    let counts_for =
        |slot: u32| known.slots[slot as usize].target.map_or(with_uplinks, |t| known.is_proven(t, settings));
    let counted: Vec<bool> = (0..).take(known.slots.len()).map(counts_for).collect();
    let mut troubled: Vec<Place> = known.troubled.clone();
    troubled.sort_unstable();
    troubled.retain(|place| {
        let entry = known.entry(*place);
        counted[entry.slot as usize] && map.near[entry.agent as usize].is_there
    });
    let Some((frame, local)) = frame(known, &troubled, candidates, earliest) else { return Vec::new() };
    let groups = frame.groups.len();
    let rows = frame.rows.iter().flatten().filter(|row| **row != NONE).count();
    let frame = Rc::new(frame);
    let mut windows: Vec<Evidence> = from
        .iter()
        .map(|from| Evidence {
            frame: frame.clone(),
            from: *from,
            fails: Vec::new(),
            by_element: vec![Default::default(); frame.elements.len()],
            passes: vec![0.0; rows * groups],
            passed: vec![0.0; rows],
            liar: vec![0.0; groups],
        })
        .collect();
    let mut pour = Pour::new(known, &frame, &local, from);
    let mut next = troubled.iter().copied().peekable();
    for (place, entry) in (0..).zip(&known.cells) {
        let is_troubled = next.next_if_eq(&place).is_some();
        let near = &map.near[entry.agent as usize];
        if !counted[entry.slot as usize] || !near.is_there {
            continue;
        }
        if is_troubled {
            pour.troubled(place, &mut windows);
        } else if entry.slot != UPLINK || with_uplinks {
            pour.healthy(place);
        }
    }
    pour.finish(&mut windows);
    windows
}

/// The candidates, and the number of each element among them.
fn frame(known: &Known, troubled: &[Place], candidates: &[bool], earliest: Timestamp) -> Option<(Frame, Vec<u32>)> {
    let map = known.map();
    let mut fails_at = vec![[false; 4]; map.elements.len()];
    let mut any = false;
    for place in troubled {
        let entry = known.entry(*place);
        let far = &map.far[entry.slot as usize];
        let mut layers = [false; 4];
        let mut own = false;
        for sample in entry.cell.since(earliest) {
            if let Some((layer, _)) = sample.failed {
                own |= sample.own_fault;
                layers[layer as usize] |= !sample.own_fault;
                if sample.own_fault {
                    for number in map.near[entry.agent as usize].all.first().into_iter().chain(&far.own) {
                        fails_at[*number as usize][layer as usize] = true;
                    }
                }
            } else if sample.slow {
                let last = known.layers(&known.slots[entry.slot as usize]).pop();
                layers[last.unwrap_or(Layer::Connect) as usize] = true;
            }
        }
        any |= own;
        for layer in Layer::ALL.iter().filter(|layer| layers[**layer as usize]) {
            any = true;
            map.each(entry, *layer, |number| fails_at[number as usize][*layer as usize] = true);
            for number in &map.near[entry.agent as usize].access {
                fails_at[*number as usize][*layer as usize] = true;
            }
        }
    }
    if !any {
        return None;
    }
    let mut frame = Frame { groups: map.groups.clone(), ..Frame::default() };
    let mut local = vec![NONE; map.elements.len()];
    let mut rows = 0;
    let found = fails_at.iter().enumerate().filter(|(number, layers)| candidates[*number] && layers.contains(&true));
    for (number, layers) in found {
        local[number] = u32::try_from(frame.elements.len()).unwrap_or(NONE);
        frame.elements.push(map.elements[number].clone());
        frame.rows.push(layers.map(|fails| {
            if fails {
                rows += 1;
                rows - 1
            } else {
                NONE
            }
        }));
    }
    Some((frame, local))
}

/// Pours cells into windows.
struct Pour<'a> {
    known: &'a Known,
    frame: &'a Frame,
    /// Candidate by number of element.
    local: &'a [u32],
    from: &'a [Timestamp],
    marks: Vec<u64>,
    /// Rows of what each agent brings, and each slot at each layer.
    near_rows: Vec<[Vec<u32>; 4]>,
    far_rows: Vec<[Vec<u32>; 4]>,
    layers: Vec<Vec<Layer>>,
    /// Row, then group, then window: a cell adds to all windows at once.
    passes: Vec<f64>,
    liar: Vec<f64>,
    counts: Vec<u32>,
    /// Log probability of so many passes from somebody who reports anything whatever.
    any: Vec<f64>,
}

impl<'a> Pour<'a> {
    fn new(known: &'a Known, frame: &'a Frame, local: &'a [u32], from: &'a [Timestamp]) -> Self {
        let map = known.map();
        let rows_of = |set: &[u32], layer: Layer| -> Vec<u32> {
            set.iter().filter_map(|number| row(frame, local, *number, layer)).collect()
        };
        let by_layer = |sets: &dyn Fn(Layer) -> Vec<u32>| -> [Vec<u32>; 4] {
            std::array::from_fn(|layer| sets(Layer::ALL[layer]))
        };
        let near_rows = map.near.iter().map(|near| by_layer(&|layer| rows_of(&near.all, layer))).collect();
        let far_rows = map.far.iter();
        let far_rows = far_rows
            .map(|far| {
                by_layer(&|layer| {
                    far.layers[layer as usize].as_deref().map_or_else(Vec::new, |set| rows_of(set, layer))
                })
            })
            .collect();
        let rows = frame.rows.iter().flatten().filter(|row| **row != NONE).count();
        let groups = frame.groups.len();
        Self {
            known,
            frame,
            local,
            from,
            marks: from.iter().map(|from| Cell::mark(*from)).collect(),
            near_rows,
            far_rows,
            layers: known.slots.iter().map(|slot| known.layers(slot)).collect(),
            passes: vec![0.0; rows * groups * from.len()],
            liar: vec![0.0; groups * from.len()],
            counts: vec![0; from.len()],
            any: (0..=255).map(|passed| ln_any(0.0, f64::from(passed))).collect(),
        }
    }

    fn any(&self, passed: u32) -> f64 {
        self.any.get(passed as usize).copied().unwrap_or_else(|| ln_any(0.0, f64::from(passed)))
    }

    /// A cell in which nothing fails: as many passes at each layer as it has samples.
    fn healthy(&mut self, place: Place) {
        let known = self.known;
        let entry = known.entry(place);
        entry.cell.counts(&self.marks, &mut self.counts);
        if self.counts.last() == Some(&0) {
            return;
        }
        let windows = self.from.len();
        let group = known.map().near[entry.agent as usize].group as usize;
        let layers = &self.layers[entry.slot as usize];
        let mut surprise = 0.0;
        for layer in layers {
            surprise -= (-entry.cell.base_rate(*layer)).ln_1p();
        }
        #[expect(clippy::cast_precision_loss, reason = "four layers")]
        let depth = layers.len() as f64;
        for window in 0..windows {
            let count = self.counts[window];
            self.liar[group * windows + window] += depth * self.any(count) + f64::from(count) * surprise;
        }
        for at in 0..self.layers[entry.slot as usize].len() {
            let layer = self.layers[entry.slot as usize][at];
            let others =
                known.map().others(entry, layer).filter_map(|number| row(self.frame, self.local, number, layer));
            let near = self.near_rows[entry.agent as usize][layer as usize].iter().copied();
            let far = self.far_rows[entry.slot as usize][layer as usize].iter().copied();
            for row in near.chain(far).chain(others) {
                let start = (row as usize * self.frame.groups.len() + group) * windows;
                for (sum, count) in self.passes[start..start + windows].iter_mut().zip(&self.counts) {
                    *sum += f64::from(*count);
                }
            }
        }
    }

    /// A cell in which something fails: its failures one by one, its passes as above.
    fn troubled(&mut self, place: Place, evidence: &mut [Evidence]) {
        let known = self.known;
        let map = known.map();
        let entry = known.entry(place);
        let (near, far) = (&map.near[entry.agent as usize], &map.far[entry.slot as usize]);
        let windows = self.from.len();
        let layers = self.layers[entry.slot as usize].clone();
        for layer in &layers {
            let rate = entry.cell.base_rate(*layer);
            let mut full = near.access.clone();
            map.each(entry, *layer, |number| full.push(number));
            let mut tally = Tally::default();
            let mut samples = entry.cell.samples().rev().peekable();
            for (window, evidence) in evidence.iter_mut().enumerate() {
                while let Some(sample) = samples.next_if(|sample| sample.at >= self.from[window]) {
                    tally.add(&sample, *layer, layers.last() == Some(layer));
                }
                let runs = tally.failures() + tally.passed;
                if runs == 0.0 {
                    continue;
                }
                self.liar[near.group as usize * windows + window] += ln_any(tally.failures(), tally.passed)
                    - tally.failures() * rate.ln()
                    - tally.passed * (-rate).ln_1p();
                self.add_passes(entry, *layer, window, near.group, &tally, &full, far);
                let fail = |failed: f64, set: Vec<u32>, causes: &BTreeMap<Cause, u32>| Fail {
                    place,
                    layer: *layer,
                    group: near.group,
                    failed,
                    runs,
                    rate,
                    set,
                    causes: causes.clone(),
                };
                let behind: Vec<u32> = full.iter().copied().filter(|number| !map.is_edge[*number as usize]).collect();
                let own: Vec<u32> = near.all.first().into_iter().chain(&far.own).copied().collect();
                let none = BTreeMap::new();
                let causes = |failed: f64| if failed >= 1.0 { &tally.causes } else { &none };
                evidence.add(fail(tally.failed, self.candidates(&full, *layer), causes(tally.failed)));
                evidence.add(fail(tally.origin, self.candidates(&behind, *layer), causes(tally.origin)));
                evidence.add(fail(tally.own, self.candidates(&own, *layer), causes(tally.own)));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of a loop over layers and windows")]
    fn add_passes(
        &mut self,
        entry: &crate::known::Entry,
        layer: Layer,
        window: usize,
        group: u32,
        tally: &Tally,
        full: &[u32],
        far: &crate::known::map::Far,
    ) {
        let map = self.known.map();
        let near = &map.near[entry.agent as usize];
        for number in full.iter().skip(near.access.len()) {
            let mut passed = tally.passed;
            // What the endpoint itself says it refuses, everything below it has delivered.
            if !far.own.contains(number) && near.all.first() != Some(number) {
                passed += tally.own;
            }
            if map.is_edge[*number as usize] {
                passed += tally.origin;
            }
            if let Some(row) = row(self.frame, self.local, *number, layer) {
                let place = (row as usize * self.frame.groups.len() + group as usize) * self.from.len() + window;
                self.passes[place] += passed;
            }
        }
    }

    /// Candidates among the elements that have failures at the layer, ascending.
    fn candidates(&self, set: &[u32], layer: Layer) -> Vec<u32> {
        let found = set.iter().filter(|number| row(self.frame, self.local, **number, layer).is_some());
        let mut found: Vec<u32> = found.map(|number| self.local[*number as usize]).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn finish(self, evidence: &mut [Evidence]) {
        let windows = self.from.len();
        let groups = self.frame.groups.len();
        for (window, evidence) in evidence.iter_mut().enumerate() {
            for (place, sum) in evidence.passes.iter_mut().enumerate() {
                *sum = self.passes[place * windows + window];
                evidence.passed[place / groups] += *sum;
            }
            for (group, sum) in evidence.liar.iter_mut().enumerate() {
                *sum += self.liar[group * windows + window];
            }
        }
    }
}

fn row(frame: &Frame, local: &[u32], number: u32, layer: Layer) -> Option<u32> {
    let candidate = local[number as usize];
    (candidate != NONE).then(|| frame.rows[candidate as usize][layer as usize]).filter(|row| *row != NONE)
}

/// Log probability of a sequence with so many failures and passes from somebody who may report anything whatever:
/// beta-binomial with both parameters 1/2 (Jeffreys), without the binomial coefficient. A liar who could fit each count
/// for nothing would outdo every honest account of a partial fault, the more so the more there is to see.
pub(crate) fn ln_any(failed: f64, passed: f64) -> f64 {
    let mut sum = 0.0;
    let mut seen = 0.0;
    for count in [failed, passed] {
        let mut done = 0.0;
        while done < count {
            sum += ((done + 0.5) / (seen + 1.0)).ln();
            done += 1.0;
            seen += 1.0;
        }
    }
    sum
}

#[cfg(test)]
pub(crate) mod testing {
    //! Evidence made by hand.
    use super::*;

    /// Each row: group, failed, passed, candidates; all at the layer `connect`.
    pub(crate) fn evidence(elements: Vec<Element>, groups: usize, rows: &[(usize, f64, f64, &[usize])]) -> Evidence {
        let count = elements.len();
        let frame = Frame {
            elements,
            rows: (0..).take(count).map(|row| [NONE, row, NONE, NONE]).collect(),
            groups: (0..groups).map(|group| format!("g{group}")).collect(),
        };
        let mut evidence = Evidence {
            frame: Rc::new(frame),
            from: Timestamp::default(),
            fails: Vec::new(),
            by_element: vec![Default::default(); count],
            passes: vec![0.0; count * groups],
            passed: vec![0.0; count],
            liar: vec![0.0; groups],
        };
        let rate: f64 = 0.002;
        for (place, (group, failed, passed, set)) in (0..).zip(rows) {
            evidence.liar[*group] += ln_any(*failed, *passed) - failed * rate.ln() - passed * (-rate).ln_1p();
            for element in *set {
                evidence.passes[element * groups + group] += passed;
                evidence.passed[*element] += passed;
            }
            evidence.add(Fail {
                place,
                layer: Layer::Connect,
                group: u32::try_from(*group).expect("small"),
                failed: *failed,
                runs: failed + passed,
                rate,
                set: set.iter().map(|element| u32::try_from(*element).expect("small")).collect(),
                causes: BTreeMap::from([(Cause::ConnectTimeout, 1)]),
            });
        }
        evidence
    }
}
