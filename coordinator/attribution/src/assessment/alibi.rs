//! Alibis: what clears a cloud. The same vantages reached it, at the same layer, in the same minutes.
//!
//! How strongly an alibi refutes is a log likelihood ratio: what these looks would be under "the party is as usual" over
//! what they would be under "the party fails as the culprit does". Rule: a vantage group may lie, so that what it adds is
//! bounded, and one group cannot clear a cloud by volume (`a_group_adds_a_bounded_amount`).

use std::collections::BTreeSet;

use super::{Scene, rounded};
use crate::{
    change::Alibi,
    element::Element,
    evidence::SLOW_WEIGHT,
    inference::ln_sum,
    known::{Place, Slot},
    time::Timestamp,
    visibility::count,
    vocabulary::{Layer, Verdict},
};

/// Share of passing runs from which a party is cleared, and the least number of runs. Source: the highest usual rate of an
/// agent, `window::past`, is a twentieth; ten passes without a failure bound the failing share at 26 % (95 %).
pub(super) const ALIBI: (f64, u32) = (0.97, 10);

/// Failing shares that a party is cleared of. Source: the engine tries none above 0.995; below a hundredth a pass says
/// next to nothing.
const SHARES: (f64, f64) = (0.01, 0.995);

/// What the culprit does, and others are cleared of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    /// Layer at which most of it fails.
    pub(super) layer: Layer,
    /// Share of runs that fail there.
    pub(super) severity: f64,
    /// The onset.
    pub(super) since: Timestamp,
}

/// What a vantage group's looks at a party say.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    runs: u32,
    /// Passes; slow ones are no evidence of health.
    passes: f64,
    /// Nats by which its failures speak for the charge.
    against: f64,
}

impl Looks {
    /// Nats by which they speak for "as usual" and against the charge. A group lies with the chance `liar`, and then says
    /// what the other account would have it say: between -ln((1 - liar) / liar) and ln((1 - liar) / liar).
    ///
    /// Source: the liar branch of the search, in which what a group says is bounded alike, at its worst: a liar that fits
    /// the other account exactly. So there is nothing to be gained from more looks than it takes to tell the two apart.
    fn nats(&self, severity: f64, liar: f64) -> f64 {
        let ratio = -self.passes * (-severity).ln_1p() - self.against;
        let (honest, lying) = ((-liar).ln_1p(), liar.ln());
        ln_sum(honest + ratio, lying) - ln_sum(honest, lying + ratio)
    }
}

impl Scene<'_> {
    /// What clears each cloud that no member accuses: the same groups, the same layer, since the onset.
    pub(super) fn alibis(&self, element: &Element, charge: Charge, failing: &BTreeSet<String>) -> Vec<Alibi> {
        let accused: BTreeSet<Verdict> =
            self.hypothesis.members.iter().map(|member| self.evidence.elements()[member.element].verdict()).collect();
        let clouds = [("aws", Verdict::Aws), ("azure", Verdict::Azure)]
            .into_iter()
            .filter(|(_, verdict)| !accused.contains(verdict))
            .map(|(cloud, _)| cloud);
        // A vantage-side fault leaves its own groups unable to clear anybody: the others do.
        let speaks_if_failing = !element.kind.is_vantage_side();
        let names = &self.known.map().groups;
        let may_speak: Vec<bool> = names.iter().map(|name| failing.contains(name) == speaks_if_failing).collect();
        let explained: BTreeSet<Place> = self
            .hypothesis
            .members
            .iter()
            .flat_map(|member| self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail)))
            .map(|fail| fail.place)
            .collect();
        clouds.filter_map(|cloud| self.alibi(cloud, charge, &explained, &may_speak)).collect()
    }

    /// What the cloud's targets say, but for looks whose failures another culprit explains; `None` where that does not
    /// clear it.
    fn alibi(&self, cloud: &str, charge: Charge, explained: &BTreeSet<Place>, may_speak: &[bool]) -> Option<Alibi> {
        let map = self.known.map();
        let Charge { layer, since, .. } = charge;
        let severity = charge.severity.clamp(SHARES.0, SHARES.1);
        let (mut passed, mut looks) = (0, vec![Looks::default(); may_speak.len()]);
        let is_of = |slot: &Slot| {
            slot.target.is_some_and(|t| self.clouds[t as usize] == Some(cloud))
                && self.known.layers(slot).contains(&layer)
        };
        let is_of: Vec<bool> = self.known.slots.iter().map(is_of).collect();
        for (place, entry) in (0..).zip(&self.known.cells) {
            let near = &map.near[entry.agent as usize];
            let may_count = is_of[entry.slot as usize] && near.is_there && may_speak[near.group as usize];
            if !may_count || explained.contains(&place) {
                continue;
            }
            let looks = &mut looks[near.group as usize];
            let mut failures = 0.0;
            for sample in entry.cell.since(since) {
                let Some(failed) = sample.failed_at(layer) else { continue };
                looks.runs += 1;
                if failed && !sample.own_fault {
                    failures += 1.0;
                    continue;
                }
                passed += 1;
                if sample.slow == Some(layer) {
                    failures += SLOW_WEIGHT.get();
                } else {
                    looks.passes += 1.0;
                }
            }
            if failures > 0.0 {
                let rate = self.known.base_rate(entry, layer);
                looks.against += failures * ((rate + severity * (1.0 - rate)).ln() - rate.ln());
            }
        }
        let runs = looks.iter().map(|looks| looks.runs).sum();
        let nats = looks.iter().map(|looks| looks.nats(severity, self.settings.liar)).sum::<f64>();
        let is_clear = runs >= ALIBI.1 && f64::from(passed) >= ALIBI.0 * f64::from(runs) && nats > 0.0;
        let groups = count(looks.iter().filter(|looks| looks.runs > 0).count());
        is_clear.then(|| Alibi { party: cloud.to_owned(), layer, passed, runs, groups, nats: rounded(nats) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIAR: f64 = 1e-3;

    fn looks(passes: f64, failures: f64) -> Looks {
        let rate: f64 = 0.002;
        Looks { runs: 1, passes, against: failures * ((rate + 0.5 * (1.0 - rate)).ln() - rate.ln()) }
    }

    #[test]
    fn passes_refute_by_the_share_that_should_have_failed() {
        let three = looks(3.0, 0.0);
        assert!((three.nats(0.5, LIAR) - 3.0 * 2.0_f64.ln()).abs() < 0.02, "{}", three.nats(0.5, LIAR));
        assert!(three.nats(0.95, LIAR) > three.nats(0.5, LIAR), "a harder fault is refuted sooner");
        assert!(looks(4.0, 0.0).nats(0.5, LIAR) > three.nats(0.5, LIAR));
    }

    #[test]
    fn a_group_adds_a_bounded_amount() {
        let bound = ((1.0 - LIAR) / LIAR).ln();
        for passes in [10.0, 1e3, 1e6] {
            let nats = looks(passes, 0.0).nats(0.995, LIAR);
            assert!(nats <= bound + 1e-9, "{passes} passes: {nats} of {bound}");
        }
        assert!((looks(1e6, 0.0).nats(0.5, LIAR) - bound).abs() < 1e-9);
        assert!((looks(0.0, 1e6).nats(0.5, LIAR) + bound).abs() < 1e-9, "as much against as for");
    }

    #[test]
    fn what_fails_as_the_culprit_does_is_no_alibi() {
        assert!(looks(5.0, 5.0).nats(0.5, LIAR) < 0.0);
        assert!(looks(0.0, 0.0).nats(0.5, LIAR).abs() < 1e-12, "silence says nothing");
    }
}
