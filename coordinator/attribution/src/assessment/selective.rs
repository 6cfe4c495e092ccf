//! Selective trouble: a vantage group that loses some destinations for good and keeps the others.
//!
//! A line or a machine that stumbles loses a share of the runs, whatever they look at. What is further out loses
//! destinations: those behind it fail run after run, the others never do. Runs at the same destination tell the two apart.

use std::collections::BTreeMap;

use super::Scene;
use crate::{known::Entry, time::Timestamp, vocabulary::Layer};

/// Shares of runs that a lost destination may fail. Source: a grid of three keeps nine tenths of the nats of the best share in
/// the mean, for a hundred destinations looked at three times of which thirty are lost (tested below).
const LOST: [f64; 3] = [0.5, 0.75, 0.98];

/// Share of runs that a kept destination fails. Source: the base rates that `faultline-lab` plays are up to 0.005 in
/// typical noise, and 0.015 in hostile one.
const KEPT: f64 = 0.01;

/// Failed and passed runs at one destination.
type Runs = (u32, u32);

impl Scene<'_> {
    /// Nats by which each group's trouble is selective rather than the same for every destination, from runs since its onset that
    /// reached the layer. Destinations that most others lose as well say nothing.
    pub(super) fn selective(&self, since: &BTreeMap<u32, (Timestamp, Layer)>) -> BTreeMap<u32, f64> {
        let map = self.known.map();
        let seen = self.seen.get_or_init(|| self.runs_and_passes());
        let mut cells: BTreeMap<u32, Vec<Runs>> = BTreeMap::new();
        let runs = |entry: &Entry, from: Timestamp, layer: Layer| {
            let outcomes = entry.cell.all_since(from).filter_map(|sample| sample.failed_at(layer));
            outcomes.fold((0, 0), |(failed, passed), bad| (failed + u32::from(bad), passed + u32::from(!bad)))
        };
        for (entry, target) in self.known.looks() {
            let group = map.near[entry.agent as usize].group;
            let (all, passed) = seen[target as usize];
            if let Some((from, layer)) = since.get(&group)
                && passed * 2 > all
            {
                cells.entry(group).or_default().push(runs(entry, *from, *layer));
            }
        }
        cells.into_iter().map(|(group, cells)| (group, nats_selective(&cells))).collect()
    }
}

/// Logarithm of the likelihood of two kinds of destinations, lost and kept, over that of one. Source: a mixture of two
/// binomials against one, each of whose shares is the likeliest; one of [`LOST`] is chosen, which costs the logarithm of
/// their number.
fn nats_selective(cells: &[Runs]) -> f64 {
    nats_selective_among(&LOST, cells)
}

fn nats_selective_among(lost: &[f64], cells: &[Runs]) -> f64 {
    let (failed, passed) = cells.iter().fold((0, 0), |sum, runs| (sum.0 + runs.0, sum.1 + runs.1));
    let share = f64::from(failed) / f64::from((failed + passed).max(1));
    if failed == 0 || passed == 0 {
        return 0.0;
    }
    let of = |share: f64, runs: &Runs| f64::from(runs.0) * share.ln() + f64::from(runs.1) * (-share).ln_1p();
    let alike: f64 = cells.iter().map(|runs| of(share, runs)).sum();
    let two = |lost: f64| {
        let many = (share / lost).clamp(0.001, 0.999);
        cells.iter().map(|runs| (many * of(lost, runs).exp() + (1.0 - many) * of(KEPT, runs).exp()).ln()).sum::<f64>()
    };
    let best = lost.iter().map(|lost| two(*lost)).fold(f64::NEG_INFINITY, f64::max);
    best - f64::ln(3.0) - alike
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dice::Dice, visibility::count};

    #[test]
    fn the_same_destinations_failing_twice_is_selective() {
        let cells = [[(2, 0); 20], [(0, 2); 20]].concat();
        assert!(nats_selective(&cells) > 20.0, "{}", nats_selective(&cells));
        // As many runs fail, spread as chance would: a quarter both, half one of two.
        let cells = [[(2, 0); 10], [(1, 1); 10], [(1, 1); 10], [(0, 2); 10]].concat();
        assert!(nats_selective(&cells) < 0.0, "{}", nats_selective(&cells));
    }

    #[test]
    fn a_grid_of_three_loses_little() {
        let fine: Vec<f64> = (20..100).map(|hundredths| f64::from(hundredths) / 100.0).collect();
        for lost in [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999] {
            let (mut coarse, mut best) = (0.0, 0.0);
            for seed in 0..40 {
                let mut dice = Dice::new(seed);
                let cells: Vec<Runs> = (0..100)
                    .map(|number| {
                        let share = if number < 30 { lost } else { 0.005 };
                        let failed = (0..3).filter(|_| dice.happens(share)).count();
                        (count(failed), count(3 - failed))
                    })
                    .collect();
                coarse += nats_selective(&cells);
                best += nats_selective_among(&fine, &cells);
            }
            assert!(coarse >= 0.9 * best, "{lost}: {coarse:.0} of {best:.0} nats");
        }
    }

    #[test]
    fn one_run_each_says_nothing() {
        let cells = [[(1, 0); 20], [(0, 1); 20]].concat();
        assert!(nats_selective(&cells) < 1.0, "{}", nats_selective(&cells));
    }

    #[test]
    fn many_runs_at_once_do_not_overflow() {
        assert!(nats_selective(&[(4_000, 0), (0, 4_000), (1, 3_999)]).is_finite());
    }
}
