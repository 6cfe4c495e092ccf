//! Pours cells into windows, all windows in one walk over the cells.
//!
//! A cell in which nothing fails brings as many passes to each of its layers as it has samples. They are summed by slot
//! and group, and by agent, before they are handed to the rows of what these exercise: so a cell costs a few additions,
//! however many elements it exercises. A cell in which something fails is told apart by layer and window.

use std::rc::Rc;

use super::{
    Evidence, Fail, Frame,
    frame::{Rows, frame, row},
    ln_any,
    tally::Tally,
};
use crate::{
    known::{Entry, Known, Map, Place},
    settings::Settings,
    time::Timestamp,
    vocabulary::Layer,
    window::{Cell, UsualRates},
};

/// Windows that can be gathered at once. Source: a lane of a 128-bit register each.
pub(crate) const WINDOWS: usize = 4;

/// A number for each window.
type Lanes = [f32; WINDOWS];

/// Gathers the evidence of all samples since each of `from`, at most [`WINDOWS`] of them in descending order, for these
/// candidates. Uplinks count only when `with_uplinks`. Empty when nothing fails in any window.
pub(crate) fn gather(
    known: &Known,
    from: &[Timestamp],
    candidates: &[bool],
    with_uplinks: bool,
    settings: &Settings,
) -> Vec<Evidence> {
    debug_assert!(from.len() <= WINDOWS, "{} windows", from.len());
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
    let refuses_many = known.refuses_many(earliest);
    let Some((frame, local)) = frame(known, &troubled, candidates, earliest, &refuses_many) else { return Vec::new() };
    let frame = Rc::new(frame);
    let mut windows: Vec<Evidence> = from.iter().map(|from| Evidence::new(frame.clone(), *from)).collect();
    let mut pour = Pour::new(known, &frame, &local, from, refuses_many);
    let mut next = troubled.iter().copied().peekable();
    for (place, entry) in (0..).zip(&known.cells) {
        let is_troubled = next.next_if_eq(&place).is_some();
        if !counted[entry.slot as usize] || !map.near[entry.agent as usize].is_there {
            continue;
        }
        if is_troubled {
            pour.troubled(place, &mut windows);
        } else {
            pour.healthy(entry);
        }
    }
    pour.finish(&mut windows);
    windows
}

struct Pour<'a> {
    known: &'a Known,
    frame: &'a Frame,
    /// Candidate by number of element.
    local: &'a [u32],
    from: &'a [Timestamp],
    marks: [u64; WINDOWS],
    groups: usize,
    /// Chance of a failure that is usual for each agent.
    usual: Vec<UsualRates>,
    refuses_many: Vec<bool>,
    /// Sets of layers that probes walk; the one of each slot.
    walks: Vec<Vec<Layer>>,
    walk_of: Vec<usize>,
    /// Rows of the ways between a class of agents and a class of slots.
    between: Rows,
    /// Healthy passes by slot and group, and by agent and walk.
    by_slot: Vec<Lanes>,
    by_agent: Vec<Lanes>,
    /// By row and group.
    passes: Vec<Lanes>,
    liar: Vec<[f64; WINDOWS]>,
    /// Log probability of so many passes from somebody who reports anything whatever.
    any: Vec<f64>,
}

impl<'a> Pour<'a> {
    fn new(
        known: &'a Known,
        frame: &'a Frame,
        local: &'a [u32],
        from: &'a [Timestamp],
        refuses_many: Vec<bool>,
    ) -> Self {
        let map = known.map();
        let groups = frame.groups.len();
        let mut walks: Vec<Vec<Layer>> = Vec::new();
        let walk_of = known.slots.iter().map(|slot| {
            let layers = known.layers(slot);
            walks.iter().position(|walk| *walk == layers).unwrap_or_else(|| {
                walks.push(layers);
                walks.len() - 1
            })
        });
        let walk_of: Vec<usize> = walk_of.collect();
        let mut marks = [u64::MAX; WINDOWS];
        for (mark, from) in marks.iter_mut().zip(from) {
            *mark = Cell::mark(*from);
        }
        // Lanes without a window are those of the longest: what they hold is not read.
        let last = marks[from.len().saturating_sub(1)];
        marks[from.len()..].fill(last);
        Self {
            known,
            frame,
            local,
            from,
            marks,
            groups,
            refuses_many,
            usual: (0..).take(known.agents.len()).map(|agent| known.usual(agent)).collect(),
            between: Rows::new((frame, local), map.pair_count(), |pair, layer| Some(map.between(pair, layer))),
            by_slot: vec![Lanes::default(); known.slots.len() * groups],
            by_agent: vec![Lanes::default(); known.agents.len() * walks.len()],
            walks,
            walk_of,
            passes: vec![Lanes::default(); frame.row_count() * groups],
            liar: vec![[0.0; WINDOWS]; groups],
            any: (0..64).map(|passed| ln_any(0.0, f64::from(passed))).collect(),
        }
    }

    /// A cell in which nothing fails: as many passes at each layer as it has samples.
    fn healthy(&mut self, entry: &Entry) {
        let counts = entry.cell.counts(&self.marks);
        let Some(most) = counts.last().copied().filter(|count| *count > 0) else { return };
        let map = self.known.map();
        let (near, far) = (&map.near[entry.agent as usize], &map.far[entry.slot as usize]);
        let (group, walk) = (near.group as usize, self.walk_of[entry.slot as usize]);
        let layers = &self.walks[walk];
        let surprise = entry.cell.pass_nats(layers, &self.usual[entry.agent as usize]);
        #[expect(clippy::cast_precision_loss, reason = "four layers")]
        let depth = layers.len() as f64;
        let is_known = (most as usize) < self.any.len();
        for (liar, count) in self.liar[group].iter_mut().zip(counts) {
            let any = if is_known { self.any[count as usize] } else { ln_any(0.0, f64::from(count)) };
            *liar += depth * any + f64::from(count) * surprise;
        }
        #[expect(clippy::cast_precision_loss, reason = "a cell keeps far fewer samples than f32 can count")]
        let lanes = counts.map(|count| count as f32);
        add(&mut self.by_slot[entry.slot as usize * self.groups + group], lanes);
        add(&mut self.by_agent[entry.agent as usize * self.walks.len() + walk], lanes);
        let Some(pair) = map.pair(near, far) else { return };
        for layer in layers {
            for row in self.between.of(pair, *layer) {
                add(&mut self.passes[*row as usize * self.groups + group], lanes);
            }
        }
        // The resolver stands between an agent and a slot too, but not for every slot.
        if layers.first() == Some(&Layer::Dns)
            && let Some(resolver) = Map::resolver(near, far)
            && let Some(row) = row(self.frame, self.local, resolver, Layer::Dns)
        {
            add(&mut self.passes[row as usize * self.groups + group], lanes);
        }
    }

    /// A cell in which something fails: its failures one by one, its passes as above.
    fn troubled(&mut self, place: Place, evidence: &mut [Evidence]) {
        let map = self.known.map();
        let entry = self.known.entry(place);
        let near = &map.near[entry.agent as usize];
        let walk = self.walk_of[entry.slot as usize];
        let tallies = self.tally(entry, walk);
        for at in 0..self.walks[walk].len() {
            let layer = self.walks[walk][at];
            let tallies = &tallies[layer as usize];
            if tallies[self.from.len() - 1].runs() == 0.0 {
                continue;
            }
            let rate = entry.cell.base_rate(layer, &self.usual[entry.agent as usize]);
            let (ln_rate, ln_passes) = (rate.ln(), (-rate).ln_1p());
            for (liar, tally) in self.liar[near.group as usize].iter_mut().zip(tallies) {
                let failures = tally.failures();
                *liar += ln_any(failures, tally.passed) - failures * ln_rate - tally.passed * ln_passes;
            }
            self.add_passes(entry, layer, tallies);
            if tallies[self.from.len() - 1].failures() > 0.0 {
                self.add_fails((place, entry), (layer, rate), tallies, evidence);
            }
        }
    }

    /// What the samples of a cell say at each layer and in each window.
    fn tally(&self, entry: &Entry, walk: usize) -> [[Tally; WINDOWS]; 4] {
        let mut tallies: [[Tally; WINDOWS]; 4] = Default::default();
        let layers = &self.walks[walk];
        let is_refused = !self.refuses_many[entry.slot as usize];
        let mut samples = entry.cell.samples().rev().peekable();
        for (window, from) in self.from.iter().enumerate() {
            for tally in &mut tallies {
                tally[window] = window.checked_sub(1).map_or_else(Tally::default, |before| tally[before]);
            }
            let from = entry.cell.counts_from(*from);
            while let Some(sample) = samples.next_if(|sample| sample.at >= from) {
                for layer in layers {
                    tallies[*layer as usize][window].add(&sample, *layer, is_refused);
                }
            }
        }
        tallies
    }

    fn add_fails(
        &self,
        (place, entry): (Place, &Entry),
        (layer, rate): (Layer, f64),
        tallies: &[Tally; WINDOWS],
        evidence: &mut [Evidence],
    ) {
        let map = self.known.map();
        let (near, far) = (&map.near[entry.agent as usize], &map.far[entry.slot as usize]);
        let mut full = self.known.access(entry.agent).to_vec();
        map.each(entry, layer, |number| full.push(number));
        let most = &tallies[self.from.len() - 1];
        let none: Rc<[u32]> = Rc::new([]);
        let set = |is_needed: bool, set: &mut dyn Iterator<Item = u32>| {
            if is_needed { self.candidates(set, layer) } else { none.clone() }
        };
        let all = set(most.failed > 0.0, &mut full.iter().copied());
        let mut behind = full.iter().copied().filter(|number| !map.is_edge[*number as usize]);
        let behind = set(most.origin > 0.0, &mut behind);
        let own = set(most.own > 0.0, &mut near.all.first().into_iter().chain(&far.own).copied());
        for (tally, evidence) in tallies.iter().zip(evidence) {
            let fail = |failed: f64, set: &Rc<[u32]>| Fail {
                place,
                layer,
                group: near.group,
                failed,
                slow: if Rc::ptr_eq(set, &all) { tally.slow } else { 0.0 },
                runs: tally.runs(),
                rate,
                set: set.clone(),
                cause: tally.cause.map(|(cause, _)| cause).filter(|_| failed >= 1.0),
            };
            for (failed, set) in [(tally.failed, &all), (tally.origin, &behind), (tally.own, &own)] {
                if failed > 0.0 && !set.is_empty() {
                    evidence.fails.push(fail(failed, set));
                }
            }
        }
    }

    fn add_passes(&mut self, entry: &Entry, layer: Layer, tallies: &[Tally; WINDOWS]) {
        let map = self.known.map();
        let (near, far) = (&map.near[entry.agent as usize], &map.far[entry.slot as usize]);
        let (frame, local, groups, passes) = (self.frame, self.local, self.groups, &mut self.passes);
        map.each(entry, layer, |number| {
            let Some(row) = row(frame, local, number, layer) else { return };
            // What the endpoint itself says it refuses, everything below it has delivered.
            let is_below = !far.own.contains(&number) && near.all.first() != Some(&number);
            let is_edge = map.is_edge[number as usize];
            let sums = &mut passes[row as usize * groups + near.group as usize];
            for (sum, tally) in sums.iter_mut().zip(tallies) {
                let own = if is_below { tally.own + tally.refused } else { 0.0 };
                let origin = if is_edge { tally.origin } else { 0.0 };
                #[expect(clippy::cast_possible_truncation, reason = "a small whole number")]
                let more = (tally.passed + own + origin) as f32;
                *sum += more;
            }
        });
    }

    /// Candidates among the elements that have failures at the layer, ascending.
    fn candidates(&self, set: &mut dyn Iterator<Item = u32>, layer: Layer) -> Rc<[u32]> {
        let found = set.filter(|number| row(self.frame, self.local, *number, layer).is_some());
        let mut found: Vec<u32> = found.map(|number| self.local[number as usize]).collect();
        found.sort_unstable();
        found.dedup();
        found.into()
    }

    /// Hands what was summed by slot and agent to the rows, and the rows to the windows.
    fn finish(mut self, evidence: &mut [Evidence]) {
        let map = self.known.map();
        let all = (self.frame, self.local);
        let far_rows = Rows::new(all, map.far.len(), |slot, layer| map.far[slot].layers[layer as usize].as_deref());
        let near_rows = Rows::new(all, map.near.len(), |agent, _| Some(&map.near[agent].all));
        for (slot, walk) in self.walk_of.iter().enumerate() {
            let of_slot = &self.by_slot[slot * self.groups..(slot + 1) * self.groups];
            for layer in &self.walks[*walk] {
                for row in far_rows.of(slot, *layer) {
                    let start = *row as usize * self.groups;
                    for (sum, lanes) in self.passes[start..start + self.groups].iter_mut().zip(of_slot) {
                        add(sum, *lanes);
                    }
                }
            }
        }
        for (agent, near) in map.near.iter().enumerate().filter(|(_, near)| near.is_there) {
            for (walk, layers) in self.walks.iter().enumerate() {
                let lanes = self.by_agent[agent * self.walks.len() + walk];
                for layer in layers {
                    for row in near_rows.of(agent, *layer) {
                        add(&mut self.passes[*row as usize * self.groups + near.group as usize], lanes);
                    }
                }
            }
        }
        for (window, evidence) in evidence.iter_mut().enumerate() {
            for (place, sum) in evidence.passes.iter_mut().enumerate() {
                *sum = self.passes[place][window];
                evidence.passed[place / self.groups] += f64::from(*sum);
            }
            for (liar, lanes) in evidence.liar.iter_mut().zip(&self.liar) {
                *liar += lanes[window];
            }
            evidence.index();
        }
    }
}

fn add(sum: &mut Lanes, lanes: Lanes) {
    for (sum, lane) in sum.iter_mut().zip(lanes) {
        *sum += lane;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_whatever_sums_up_as_it_is_told_one_by_one() {
        for (failed, passed) in [(0.0, 3.0), (2.0, 5.0), (0.25, 4.0), (5000.0, 1.0)] {
            let (mut sum, mut seen): (f64, f64) = (0.0, 0.0);
            for count in [failed, passed] {
                let mut done = 0.0;
                while done < count {
                    sum += ((done + 0.5) / (seen + 1.0)).ln();
                    done += 1.0;
                    seen += 1.0;
                }
            }
            let found = ln_any(failed, passed);
            assert!((found - sum).abs() < 1e-6 * sum.abs().max(1.0), "{failed} {passed}: {found}, not {sum}");
        }
    }
}
