//! Customers: whether a provider fails, or endpoints that the catalog has there and that fail with something else.
//!
//! Apps fail with what they depend on, wherever they run, and catalogs are wrong about where they run and who answers for
//! their names. Rule: who is accused through customers' endpoints alone must fail at its own as well, where those are
//! looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::{MINORITY, Scene, TOLD_NATS, alibi::ALIBI};
use crate::{
    assumption::Assumption,
    element::{Element, ElementKind},
    known::{Entry, Place},
    vocabulary::{Layer, Verdict},
    window::Sample,
};

/// Share of failing runs up to which endpoints are well, in a noisy fleet too; of a fault that takes a share of the runs, they
/// may see as much of that share. Calibrated: `faultline-lab calibrate well-failing`.
pub(crate) static WELL_FAILING: Assumption = Assumption::new("well-failing", 0.1);

/// Endpoints whose refusals (4xx answers) accuse a provider: a single one may have changed what it asks of its callers. Source: the
/// quorum of a verdict.
const REFUSING: usize = 3;

/// What somebody is accused of: at which layer, whether of being slow, of what share of the runs, and the nats of each group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charged<'a> {
    pub(super) layer: Layer,
    pub(super) is_slow: bool,
    pub(super) severity: f64,
    pub(super) support: &'a [f64],
}

/// Runs of the provider's own endpoints at the layer, and of each customer's: all, and those that failed, or were slow where that
/// is the charge.
#[derive(Debug, Default)]
struct Runs {
    own: (u32, u32),
    /// Chance that a run of the provider's own fails by itself, summed.
    usual: f64,
    customers: BTreeMap<u32, (u32, u32)>,
}

impl Scene<'_> {
    /// Whether a place, a CDN or an operator of name servers is accused through customers' endpoints alone, while the provider's
    /// own in it pass and either another party has failed, or as many customers' endpoints elsewhere.
    pub(super) fn may_be_a_hidden_dependency(
        &self,
        charged: Charged<'_>,
        element: &Element,
        footprint: &BTreeSet<(Place, Layer)>,
    ) -> bool {
        let may_be_mistaken = matches!(
            element.kind,
            ElementKind::Region
                | ElementKind::Zone
                | ElementKind::Network
                | ElementKind::Cdn
                | ElementKind::CdnSite
                | ElementKind::Dns
        );
        if !may_be_mistaken {
            return false;
        }
        let fails_elsewhere = self.fails_elsewhere_too(footprint);
        let mut parties = self.parties_in_fault().into_iter().chain(self.lately.iter().copied());
        if !parties.any(|party| party != element.verdict()) && !fails_elsewhere {
            return false;
        }
        let Some(runs) = self.runs_at(&charged, element) else { return false };
        if runs.own.0 >= ALIBI.1 {
            return !runs.own_fail(charged.severity);
        }
        if footprint.iter().any(|(place, _)| self.is_providers_own(*place)) {
            return false;
        }
        // Nobody speaks for the provider. Where most of its customers are well, something that the others share may be it.
        let well = runs.customers.values().filter(|runs| is_well(**runs)).count();
        fails_elsewhere || well * 2 > runs.customers.len()
    }

    /// Whose fault it would be, of all that is explained by what endpoints share.
    pub(crate) fn parties_in_fault(&self) -> BTreeSet<Verdict> {
        let told = self.hypothesis.members.iter().filter(|member| member.gain >= TOLD_NATS.get());
        told.filter_map(|member| party(&self.evidence.elements()[member.element])).collect()
    }

    fn is_providers_own(&self, place: Place) -> bool {
        let target = self.known.target_of(place).and_then(|target| self.known.target(target));
        target.is_some_and(crate::Target::is_provider_owned)
    }

    /// What those see there who see it fail.
    fn runs_at(&self, charged: &Charged<'_>, element: &Element) -> Option<Runs> {
        let map = self.known.map();
        let number = u32::try_from(map.elements.binary_search(element).ok()?).ok()?;
        let layer = charged.layer;
        let mut runs = Runs::default();
        self.known.each_holder(number, layer, |place, entry: &Entry| {
            if charged.support.get(map.near[entry.agent as usize].group as usize).is_none_or(|nats| *nats <= 0.0) {
                return;
            }
            let outcomes = || entry.cell.since(self.evidence.from).filter(|sample| !sample.own_fault);
            let is_bad =
                |sample: Sample| if charged.is_slow { sample.is_bad_at(layer) } else { sample.failed_at(layer) };
            let outcomes = || outcomes().filter_map(is_bad);
            let sum = if self.is_providers_own(place) {
                runs.usual += self.known.base_rate(entry, layer) * outcomes().map(|_| 1.0).sum::<f64>();
                &mut runs.own
            } else if let Some(target) = self.known.target_of(place) {
                runs.customers.entry(target).or_default()
            } else {
                return;
            };
            outcomes().for_each(|failed| *sum = (sum.0 + 1, sum.1 + u32::from(failed)));
        });
        Some(runs)
    }

    /// Whether customers' endpoints that are no part of the footprint begin to fail as plainly, half as many or more.
    pub(super) fn fails_elsewhere_too(&self, footprint: &BTreeSet<(Place, Layer)>) -> bool {
        let targets: BTreeSet<u32> = footprint.iter().filter_map(|(place, _)| self.known.target_of(*place)).collect();
        let mut elsewhere: BTreeMap<u32, (f64, f64, BTreeSet<u32>)> = BTreeMap::new();
        for fail in &self.evidence.fails {
            let Some(number) = self.known.target_of(fail.place).filter(|number| !targets.contains(number)) else {
                continue;
            };
            let is_customers =
                self.known.target(number).is_some_and(|target| !target.is_provider_owned() && !target.is_control());
            if is_customers && !self.known.cell(fail.place).is_frozen {
                let sums = elsewhere.entry(number).or_default();
                sums.0 += fail.failed;
                sums.1 += fail.runs;
                sums.2.insert(fail.group);
            }
        }
        let plainly =
            elsewhere.values().filter(|(failed, runs, groups)| *failed * 2.0 >= *runs && groups.len() >= MINORITY);
        let plainly = plainly.count();
        plainly >= 2 && plainly * 2 >= targets.len()
    }

    /// Whether an element that many depend on is accused through one customer's endpoint.
    pub(super) fn is_seen_through_one_customer(&self, element: &Element, footprint: &BTreeSet<(Place, Layer)>) -> bool {
        if matches!(element.kind, ElementKind::Endpoint | ElementKind::Owner) {
            return false;
        }
        let targets: BTreeSet<u32> = footprint.iter().filter_map(|(place, _)| self.known.target_of(*place)).collect();
        let stands_for_it = matches!(
            element.kind,
            ElementKind::Service | ElementKind::ServiceEverywhere | ElementKind::Identity | ElementKind::Api
        );
        let provider_owned =
            targets.iter().any(|target| self.known.target(*target).is_some_and(crate::Target::is_provider_owned));
        targets.len() < 2 && !(stands_for_it && provider_owned)
    }

    /// Whether what fails are client errors alone, of fewer endpoints than [`REFUSING`].
    pub(super) fn is_refused_by_few(&self, footprint: &BTreeSet<(Place, Layer)>) -> bool {
        let is_refused =
            |place: Place| self.known.cell(place).troubles_since(self.evidence.from).any(|sample| sample.own_fault);
        let targets = || footprint.iter().filter_map(|(place, _)| self.known.target_of(*place));
        footprint.iter().all(|(place, layer)| *layer == Layer::Http && is_refused(*place))
            && targets().collect::<BTreeSet<u32>>().len() < REFUSING
    }
}

impl Runs {
    /// Whether it is 100 to 1 that the provider's own endpoints fail with its customers' that are not well, and not as usual. Source:
    /// a binomial each, and the odds of a verdict (design notes 4.4). Endpoints are well up to [`WELL_FAILING`] of the fault, and fail
    /// with it from a third of it on, the engine's widest step between severities.
    fn own_fail(&self, severity: f64) -> bool {
        let (runs, failed) = (f64::from(self.own.0), f64::from(self.own.1));
        let ill = self.customers.values().filter(|runs| !is_well(**runs));
        let (all, bad) = ill.fold((0, 0), |sum, runs| (sum.0 + runs.0, sum.1 + runs.1));
        let share = if all == 0 { severity } else { f64::from(bad) / f64::from(all) };
        let usual = f64::max(self.usual / runs, WELL_FAILING.get() * share).clamp(1e-4, 0.5);
        let with = (failed / runs).clamp(share / 3.0, share);
        let faulty = (1.0 - (1.0 - usual) * (1.0 - with)).min(0.995);
        failed * (faulty / usual).ln() + (runs - failed) * ((1.0 - faulty) / (1.0 - usual)).ln() >= 100.0_f64.ln()
    }
}

/// Whose fault it would be; `None` of what fails by itself and of what is the agents' own. A way is as good as where it leads.
fn party(element: &Element) -> Option<Verdict> {
    if element.kind == ElementKind::Interconnect {
        let verdict = Element::named(element.ends()?.1)?.verdict();
        return matches!(verdict, Verdict::Aws | Verdict::Azure).then_some(verdict);
    }
    (!element.kind.is_vantage_side() && !element.kind.is_local()).then(|| element.verdict())
}

/// Whether an endpoint of so many runs and failures is well.
fn is_well((runs, failed): (u32, u32)) -> bool {
    f64::from(failed) <= WELL_FAILING.get() * f64::from(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(own: (u32, u32), customers: &[(u32, u32)]) -> Runs {
        Runs { own, usual: 0.005 * f64::from(own.0), customers: (0..).zip(customers.iter().copied()).collect() }
    }

    #[test]
    fn own_endpoints_are_well_beside_customers_of_whom_some_fail_a_lot() {
        // A third of the customers fail four of ten runs, which is a seventh of all.
        let customers = [[(40, 16); 5], [(40, 0); 5], [(40, 1); 5]].concat();
        assert!(!runs((137, 4), &customers).own_fail(0.14));
        assert!(!runs((12, 2), &customers).own_fail(0.14), "little was seen");
        assert!(runs((137, 27), &customers).own_fail(0.14), "they fail half of that");
    }

    #[test]
    fn own_endpoints_that_fail_as_everybody_are_not_well() {
        let customers = [(40, 4); 10];
        assert!(runs((200, 19), &customers).own_fail(0.1));
        assert!(!runs((200, 1), &customers).own_fail(0.1));
    }
}
