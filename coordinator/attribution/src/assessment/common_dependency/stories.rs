//! Stories: what may have made endpoints fail at once, and how likely each is.

use std::collections::{BTreeMap, BTreeSet};

use super::{FULLY, LEAST, TOGETHER};
use crate::{
    assessment::{Assessment, Scene, common_edge::ln_choose, count},
    assumption::Assumption,
    element::ElementKind,
    incident::is_dependency,
    onset::Onset,
    vocabulary::Layer,
};

/// The same where their region was in fault within a day, which makes one coincidence enough.
pub(super) const LEAST_SHAKEN: usize = 2;

/// Chance that one more element of a region that was in fault is, within a day. Source: of the 7 incidents of a single region
/// in `tests/scenarios`, one came back in another service (2025-10-20), of a dozen or so that probes tell apart.
pub(crate) static RELAPSE: Assumption = Assumption::new("relapse", 0.01);

/// Seconds for which an endpoint that fails stays down: with its prior they say how often endpoints begin to fail. Calibrated:
/// `faultline-lab calibrate repair-s`.
pub(crate) static REPAIR_S: Assumption = Assumption::new("repair-s", 3600.0);

/// Chance that something is in fault which endpoints depend on and no catalog names: that of an endpoint. Calibrated:
/// `faultline-lab calibrate unnamed`.
pub(crate) static UNNAMED: Assumption = Assumption::new("unnamed", 1e-3);

/// Chance that an endpoint elsewhere depends on it too, unseen. Source: design notes 4.3 (hidden dependency).
const ELSEWHERE: f64 = 0.02;

/// Nats of doubt beyond which an explanation is not remembered. Source: two in a billion, below any probability that is told.
pub(super) const NEGLIGIBLE: f64 = 20.0;

/// An endpoint that fails, or one that passes: whose it is, and what it shares with others.
pub(super) struct Unit {
    owner: String,
    shared: BTreeSet<u32>,
    is_failing: bool,
}

/// What may have failed, with its log probability up to a constant; `None` for what nobody declared, or for nothing.
pub(super) type Story = (Option<u32>, f64);

impl Scene<'_> {
    /// Whoever's endpoints are plainly in the cluster or plainly well since the onset, one for each owner and set of shared
    /// elements: those of the layer at which it fails, or of every layer that passes.
    pub(super) fn units(&self, assessed: &[Assessment], cluster: &[usize], onset: Onset) -> Vec<Unit> {
        let mut failing: BTreeMap<u32, BTreeSet<Layer>> = BTreeMap::new();
        for (place, layer) in cluster.iter().flat_map(|place| &assessed[*place].footprint) {
            if let Some(target) = self.known.target_of(*place) {
                failing.entry(target).or_default().insert(*layer);
            }
        }
        let mut runs = vec![(0_u32, 0_u32); self.known.target_count()];
        let mut shared: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); runs.len()];
        for (entry, target) in self.known.looks() {
            let (runs, shared) = (&mut runs[target as usize], &mut shared[target as usize]);
            for sample in entry.cell.since(onset.at) {
                *runs = (runs.0 + 1, runs.1 + u32::from(sample.failed.is_none()));
            }
            if shared.is_empty() {
                let layers = failing.get(&target);
                let walked = Layer::ALL.iter().filter(|layer| layers.is_none_or(|layers| layers.contains(layer)));
                shared.extend(walked.flat_map(|layer| self.shared(entry.slot, *layer)));
            }
        }
        let mut units: BTreeMap<(String, BTreeSet<u32>, bool), Unit> = BTreeMap::new();
        for (target, ((runs, passed), shared)) in (0..).zip(runs.into_iter().zip(shared)) {
            let is_failing = failing.contains_key(&target);
            let is_well = runs >= count(LEAST) && f64::from(passed) >= FULLY.1 * f64::from(runs);
            if (is_failing || is_well) && !shared.is_empty() {
                let owner = self.owner(target).to_owned();
                let key = (owner.clone(), shared.clone(), is_failing);
                units.insert(key, Unit { owner, shared, is_failing });
            }
        }
        units.into_values().collect()
    }

    /// What probes of the slot exercise at the layer that others depend on too.
    pub(super) fn shared(&self, slot: u32, layer: Layer) -> impl Iterator<Item = u32> {
        let map = self.known.map();
        let elements = map.far[slot as usize].layers[layer as usize].iter().flatten();
        elements.copied().filter(|number| is_dependency(&map.elements[*number as usize]))
    }

    /// All that may have made these fail, likeliest first.
    pub(super) fn stories(&self, units: &[Unit]) -> Vec<Story> {
        let owners = |is_failing: bool, of: Option<u32>| {
            let found = units.iter().filter(|unit| unit.is_failing == is_failing);
            let found = found.filter(|unit| of.is_none_or(|element| unit.shared.contains(&element)));
            found.map(|unit| unit.owner.as_str()).collect::<BTreeSet<&str>>().len()
        };
        let (failing, well) = (owners(true, None), owners(false, None));
        let accident = ElementKind::Endpoint.prior().ln();
        let coincidence = ((TOGETHER * 2).as_secs_f64() / REPAIR_S.get()).ln();
        let several = f64::from(count(failing));
        let mut stories: Vec<Story> = vec![
            (None, several * accident + (several - 1.0) * coincidence),
            (None, UNNAMED.get().ln() + ln_any_share(failing, failing + well)),
        ];
        let map = self.known.map();
        let candidates: BTreeSet<u32> =
            units.iter().filter(|unit| unit.is_failing).flat_map(|unit| unit.shared.iter().copied()).collect();
        for element in candidates {
            let (its_failing, its_well) = (owners(true, Some(element)), owners(false, Some(element)));
            let own = &map.elements[element as usize];
            let is_shaken = own.regions().iter().any(|region| self.shaken.contains(region));
            let (least, prior) = if is_shaken { (LEAST_SHAKEN, RELAPSE.get()) } else { (LEAST, own.prior()) };
            if its_failing >= least {
                let elsewhere = f64::from(count(failing - its_failing));
                let share = ln_any_share(its_failing, its_failing + its_well);
                stories.push((Some(element), prior.ln() + share + elsewhere * ELSEWHERE.ln()));
            }
        }
        stories.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let best = stories.first().map_or(0.0, |(_, nats)| *nats);
        stories.retain(|(_, nats)| best - nats < NEGLIGIBLE);
        stories
    }
}

/// Log probability that just these of `all` fail when any share of them is as likely to: the beta-binomial with both
/// parameters 1, for one set of that size.
fn ln_any_share(failing: usize, all: usize) -> f64 {
    -f64::from(count(all + 1)).ln() - ln_choose(all, failing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_share_is_as_likely() {
        // Of two endpoints: none, either one, or both fail, with a third for each number.
        assert!((ln_any_share(2, 2) + 3.0_f64.ln()).abs() < 1e-12);
        assert!((ln_any_share(1, 2) + 6.0_f64.ln()).abs() < 1e-12);
    }
}
