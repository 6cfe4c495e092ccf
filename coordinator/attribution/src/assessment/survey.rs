//! The survey: what a search says as a whole, whichever incident it is told with. Every member of the explanation, and
//! what they leave over.
//!
//! Cost: failures are walked once for each member that they implicate, and cells only where more of them pass than a
//! member lets through: never for a fault that spares nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assessment, Scene, TOLD_NATS, rounded};
use crate::{
    element::ElementKind,
    evidence::Fail,
    explanation::{self, Residual, Residuals},
    inference::{Member, Severities},
    known::{Entry, Place},
    visibility::count,
    vocabulary::Layer,
    window::Cell,
};

/// Residuals of each sort that are kept. Source: a screenful of both; no verdict depends on it.
const KEPT: usize = 5;

/// A pass that a member does not expect is told from this surprise on: ln 20, the usual one in twenty.
const UNEXPECTED_NATS: f64 = 3.0;

/// Failures that members make less likely than this many times the usual are not explained by them. Source: the same as
/// for one member, [`crate::inference::explains`].
const EXPLAINED: f64 = 2.0;

/// What a search says as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// Groups assumed to lie.
    pub(crate) assumed_liars: u32,
    pub(crate) members: Vec<explanation::Member>,
    pub(crate) residuals: Residuals,
}

/// A cell at a layer, against what the members expect of it.
#[derive(Clone, Copy, Debug)]
struct Surprise {
    place: Place,
    layer: Layer,
    failed: u32,
    runs: u32,
    expected: f64,
    nats: f64,
}

impl Scene<'_> {
    /// Surveys the search that these assessments come from.
    pub(crate) fn survey(&self, assessments: &[Assessment]) -> Survey {
        let shared = self.hypothesis.members.iter().filter(|member| self.is_shared(member));
        let mut members: Vec<explanation::Member> = shared.map(|member| self.described(member)).collect();
        let is_member = |assessment: &&Assessment| {
            let elements = self.evidence.elements();
            self.hypothesis.members.iter().any(|member| elements[member.element] == assessment.element)
        };
        // What several members are told as, like a common path, is none of them.
        let joint = assessments.iter().filter(|assessment| !is_member(assessment));
        members.extend(joint.map(|assessment| self.described_jointly(assessment)));
        members.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.element.cmp(&b.element)));
        let (failed, unexplained, failures) = self.failures();
        let from = self.evidence.from;
        let passes = self.residuals(self.unexpected_passes());
        let residuals = Residuals { from, failed, unexplained, failures: self.residuals(failures), passes };
        Survey { assumed_liars: count(self.liars), members, residuals }
    }

    /// Whether a member is more than one agent's own trouble.
    pub(super) fn is_shared(&self, member: &Member) -> bool {
        let kind = self.evidence.elements()[member.element].kind;
        let seen_by = || member.support.iter().filter(|nats| **nats > 0.5).count();
        kind != ElementKind::Agent && (!kind.is_vantage_side() || seen_by() > 1)
    }

    fn described(&self, member: &Member) -> explanation::Member {
        let element = &self.evidence.elements()[member.element];
        let (mut groups, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for fail in self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail)) {
            groups.insert(fail.group);
            targets.extend(self.known.target_of(fail.place));
        }
        let shown = Layer::ALL.iter().map(|layer| (*layer, member.severities[*layer as usize]));
        explanation::Member {
            element: element.name.clone(),
            element_kind: element.kind,
            severities: shown
                .filter(|(_, severity)| *severity > 0.0)
                .map(|(at, severity)| (at, rounded(severity)))
                .collect(),
            failing_groups: count(groups.len()),
            total_groups: count(self.looking(member)),
            targets: count(targets.len()),
            gain: rounded(member.gain),
            is_consequence: member.is_consequence,
        }
    }

    fn described_jointly(&self, assessment: &Assessment) -> explanation::Member {
        let targets: BTreeSet<u32> =
            assessment.footprint.iter().filter_map(|(place, _)| self.known.target_of(*place)).collect();
        explanation::Member {
            element: assessment.element.name.clone(),
            element_kind: assessment.element.kind,
            severities: BTreeMap::from([(assessment.layer, rounded(assessment.severity))]),
            failing_groups: count(assessment.failing_groups.len()),
            total_groups: assessment.total_groups,
            targets: count(targets.len()),
            gain: rounded(assessment.gain),
            is_consequence: assessment.is_consequence,
        }
    }

    /// Failing runs in the window, those that no member explains, and the cells that these are in.
    fn failures(&self) -> (u32, u32, Vec<Surprise>) {
        // Per failure: the share of runs that all members together let through.
        let mut healthy = vec![1.0; self.evidence.fails.len()];
        for member in &self.hypothesis.members {
            for number in self.evidence.numbers_of(member.element) {
                let layer = self.evidence.fails[*number as usize].layer;
                healthy[*number as usize] *= 1.0 - member.severities[layer as usize];
            }
        }
        let (mut all, mut unexplained, mut surprises) = (0, 0, Vec::new());
        for (fail, healthy) in self.evidence.fails.iter().zip(healthy) {
            let Fail { place, layer, .. } = *fail;
            let (failed, runs) = fail.counts();
            all += failed;
            let expected = fail.chance(healthy);
            if expected >= EXPLAINED * fail.chance(1.0) {
                continue;
            }
            unexplained += failed;
            let nats = surprise(fail.failed, fail.runs, expected);
            surprises.push(Surprise { place, layer, failed, runs, expected, nats });
        }
        (all, unexplained, surprises)
    }

    /// Cells that pass where members say that they should fail.
    fn unexpected_passes(&self) -> Vec<Surprise> {
        let map = self.known.map();
        let number = |member: &Member| {
            let name = &self.evidence.elements()[member.element];
            map.elements.binary_search(name).ok().and_then(|number| u32::try_from(number).ok())
        };
        let members: BTreeMap<u32, &Member> =
            self.hypothesis.members.iter().filter_map(|member| Some((number(member)?, member))).collect();
        let severities = members.iter().map(|(number, member)| (*number, &member.severities)).collect();
        let mut found: BTreeMap<(Place, Layer), Option<Surprise>> = BTreeMap::new();
        for (number, member) in members {
            if member.gain < TOLD_NATS.get() || !self.is_shared(member) {
                continue;
            }
            for layer in Layer::ALL.iter().filter(|layer| member.severities[**layer as usize] > 0.0) {
                let nats = -(-member.severities[*layer as usize]).ln_1p();
                let passes = self.evidence.passes(member.element, *layer);
                // No cell of a group surprises more than all of the group's passes.
                let is_worth_it: Vec<bool> =
                    passes.iter().map(|passes| f64::from(*passes) * nats >= UNEXPECTED_NATS).collect();
                if !is_worth_it.contains(&true) {
                    continue;
                }
                self.known.each_holder(number, *layer, |place, entry| {
                    let group = map.near[entry.agent as usize].group as usize;
                    let from = Cell::mark(entry.cell.counts_from(self.evidence.from));
                    if is_worth_it[group] && f64::from(entry.cell.counts(&[from])[0]) * nats >= UNEXPECTED_NATS {
                        found
                            .entry((place, *layer))
                            .or_insert_with(|| self.unexpected(place, entry, *layer, &severities));
                    }
                });
            }
        }
        found.into_values().flatten().collect()
    }

    /// The cell, if more of its runs pass at the layer than the members let through.
    fn unexpected(
        &self,
        place: Place,
        entry: &Entry,
        layer: Layer,
        severities: &BTreeMap<u32, &Severities>,
    ) -> Option<Surprise> {
        let map = self.known.map();
        let target = self.known.target_of(place)?;
        let (mut failed, mut runs) = (0, 0);
        let window = entry.cell.since(entry.cell.counts_from(self.evidence.from));
        for sample in window.filter(|sample| !sample.own_fault) {
            if let Some(is_bad) = sample.is_bad_at(layer) {
                runs += 1;
                failed += u32::from(is_bad);
            }
        }
        let mut healthy = 1.0 - self.known.base_rate(entry, layer);
        map.each(entry, layer, |number| {
            healthy *= severities.get(&number).map_or(1.0, |of| 1.0 - of[layer as usize]);
        });
        let expected = (1.0 - healthy).clamp(1e-9, 1.0 - 1e-9);
        let nats = surprise(f64::from(failed), f64::from(runs), expected);
        let is_unexpected = f64::from(failed) < expected * f64::from(runs) && nats >= UNEXPECTED_NATS;
        (is_unexpected && self.known.is_proven(target, self.settings)).then_some(Surprise {
            place,
            layer,
            failed,
            runs,
            expected,
            nats,
        })
    }

    /// The most surprising, in words.
    fn residuals(&self, mut surprises: Vec<Surprise>) -> Vec<Residual> {
        surprises.sort_by(|a, b| b.nats.total_cmp(&a.nats));
        // Equal ones are told in the order of their names, whoever was seen first.
        let least = surprises.get(KEPT - 1).map_or(f64::NEG_INFINITY, |surprise| rounded(surprise.nats));
        let top = surprises.iter().take_while(|surprise| rounded(surprise.nats) >= least);
        let mut residuals: Vec<Residual> = top.map(|surprise| self.residual(surprise)).collect();
        residuals.sort_by(|a, b| {
            let names = (&a.target, &a.group, a.layer).cmp(&(&b.target, &b.group, b.layer));
            b.nats.total_cmp(&a.nats).then(names)
        });
        residuals.truncate(KEPT);
        residuals
    }

    fn residual(&self, surprise: &Surprise) -> Residual {
        let near = &self.known.map().near[self.known.entry(surprise.place).agent as usize];
        Residual {
            group: self.group(near.group),
            target: self.known.target_name(surprise.place).to_owned(),
            layer: surprise.layer,
            failed: surprise.failed,
            runs: surprise.runs,
            expected: rounded(surprise.expected),
            nats: rounded(surprise.nats),
        }
    }
}

/// Nats by which the share that fails explains the runs better than the expected share.
fn surprise(failed: f64, runs: f64, expected: f64) -> f64 {
    let part = |count: f64, share: f64| if count > 0.0 { count * (count / runs / share).ln() } else { 0.0 };
    part(failed, expected) + part(runs - failed, 1.0 - expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_no_surprise() {
        assert!(surprise(5.0, 10.0, 0.5).abs() < 1e-12);
        assert!((surprise(0.0, 8.0, 0.5) - 8.0 * 2.0_f64.ln()).abs() < 1e-12, "eight passes where half should fail");
        assert!((surprise(3.0, 3.0, 0.002) + 3.0 * 0.002_f64.ln()).abs() < 1e-12, "three failures out of the blue");
        assert!(surprise(0.0, 0.0, 0.5).abs() < 1e-12, "silence surprises nobody");
    }
}
