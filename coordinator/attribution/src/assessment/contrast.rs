//! Contrast: whether an element fails more than what has nothing to do with it, for those who look at both.
//!
//! Agents that are out of breath, or a filter in front of them, fail a share of whatever they look at. Told by its layers,
//! that is each cloud's network, each operator's names, each protocol. Rule: who fails no more than the controls fail is
//! not at fault.

use super::{Scene, count};
use crate::{element::Element, vocabulary::Layer};

/// Runs at controls that say something.
const ENOUGH: u32 = 20;

impl Scene<'_> {
    /// Whether what exercises the element fails no more than controls that do not, beyond chance: by less nats than a verdict
    /// takes. Controls that fail for
    /// most of all who look are down themselves, and groups whose own trouble is known explain their failures: neither
    /// says anything.
    pub(super) fn fails_as_much_elsewhere(&self, element: &Element) -> bool {
        let map = self.known.map();
        let Some(number) = map.elements.binary_search(element).ok().and_then(|at| u32::try_from(at).ok()) else {
            return false;
        };
        let mut holds = vec![false; self.known.target_count()];
        for layer in Layer::ALL {
            self.known.each_holder(number, *layer, |place, _| {
                self.known.target_of(place).into_iter().for_each(|target| holds[target as usize] = true);
            });
        }
        let from = self.evidence.from;
        let mut of_target = vec![(0_u32, 0_u32); holds.len()];
        for (entry, target) in self.known.looks() {
            let (runs, passed) = entry.cell.count_since(from);
            let sums = &mut of_target[target as usize];
            *sums = (sums.0 + runs, sums.1 + passed);
        }
        let is_outside = |target: u32| {
            let (runs, passed) = of_target[target as usize];
            !holds[target as usize]
                && passed * 2 > runs
                && self.known.target(target).is_some_and(crate::Target::is_control)
        };
        let outside: Vec<bool> = (0..count(holds.len())).map(is_outside).collect();
        let troubled = self.groups_in_trouble();
        let is_troubled: Vec<bool> = map.groups.iter().map(|group| troubled.contains(group)).collect();
        let (mut elsewhere, mut calm) = ((0, 0), (0, 0));
        for (entry, _) in self.known.looks().filter(|(_, target)| outside[*target as usize]) {
            let (runs, passed) = entry.cell.count_since(from);
            elsewhere = (elsewhere.0 + runs, elsewhere.1 + passed);
            if !is_troubled[map.near[entry.agent as usize].group as usize] {
                calm = (calm.0 + runs, calm.1 + passed);
            }
        }
        // Where all but a few are in trouble, that is what is asked about.
        let elsewhere = if calm.0 >= ENOUGH { calm } else { elsewhere };
        let own = of_target.iter().zip(&holds).filter(|(_, holds)| **holds);
        let own = own.fold((0, 0), |sum, (of, _)| (sum.0 + of.0, sum.1 + of.1));
        elsewhere.0 >= ENOUGH && nats_apart(own, elsewhere) < self.settings.open_nats
    }
}

/// Nats by which the first runs, of which so many pass, fail more often than the second.
fn nats_apart(own: (u32, u32), elsewhere: (u32, u32)) -> f64 {
    let failed = |(runs, passed): (u32, u32)| f64::from(runs - passed);
    // As if half of one more run had failed: what was not seen yet may come (Jeffreys).
    let usual = (failed(elsewhere) + 0.5) / (f64::from(elsewhere.0) + 1.0);
    let share = failed(own) / f64::from(own.0.max(1));
    if share <= usual {
        return 0.0;
    }
    let passes = if own.1 > 0 { f64::from(own.1) * ((1.0 - share) / (1.0 - usual)).ln() } else { 0.0 };
    failed(own) * (share / usual).ln() + passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_as_often_is_not_apart() {
        assert!(nats_apart((100, 80), (300, 240)).abs() < 0.1);
        assert!(nats_apart((100, 90), (300, 240)).abs() < 1e-12, "fails less");
        assert!(nats_apart((40, 0), (300, 240)) > 60.0, "all fail where a fifth does elsewhere");
        assert!(nats_apart((1000, 900), (1000, 990)) > 100.0, "a tenth, and a hundredth elsewhere");
    }
}
