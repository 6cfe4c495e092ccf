//! A common path: several networks that begin to fail together, towards several owners, while others reach the same.
//!
//! Paths are rarely known, so nothing in the catalog names what those networks share. What shows is the coincidence: each
//! vantage group's trouble is explained by that group alone, but all of it began at once. Then a carrier between them is
//! likelier than as many accidents. Rule: it needs no name of a carrier, and it accuses no cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{Assessment, Scene, alibi::Charge, commonest, count, rounded};
use crate::{
    change::Probabilities,
    element::{Element, ElementKind},
    evidence::Fail,
    inference::{self, Member},
    known::Place,
    onset::Ratios,
    time::Timestamp,
    vocabulary::Layer,
};

/// Vantage groups, networks and owners that a coincidence needs. Source: the quorum of a verdict.
const LEAST: usize = 3;

/// Onsets this close to the middle one count as one. Source: an agent that looks at 240 targets every 30 s looks eight
/// times a second; with a tenth of them its onsets are still known to some seconds.
pub(super) const TOGETHER: std::time::Duration = std::time::Duration::from_secs(4);

/// Share of what fails on one cloud from which it may as well be that cloud's edge. Source: a carrier between networks
/// takes part of what everybody looks at, as often on one cloud as on another.
pub(super) const OF_ONE_CLOUD: f64 = 0.9;

/// A coincidence is told that chance would bring once in so long, or more seldom. Source: a twelfth of the false alarms that a
/// verdict is allowed (design notes 4.6), as there is a path between any two places.
const SELDOM: std::time::Duration = std::time::Duration::from_hours(365 * 24);

/// Nats of trouble from which a group counts. Source: 400 to 1; four times the 100 to 1 of a verdict (design notes 4.4).
const TROUBLE_NATS: f64 = 6.0;

/// A group that gets through to next to nobody in such a stretch of time is cut off, which is trouble of its own network.
/// Source: the shortest window.
const STRETCH: std::time::Duration = std::time::Duration::from_secs(8);

/// Runs in the stretch from which that is known, and the share of them that pass. Source: where as many fail
/// as pass, nine of ten or more fail in one stretch of a hundred.
const CUT_OFF: (u32, f64) = (10, 0.1);

impl Scene<'_> {
    /// The path that several groups' separate troubles have in common, if they began together.
    pub(super) fn common_path(&self) -> Option<Assessment> {
        let troubled = self.troubled_groups();
        let onsets: BTreeMap<u32, Timestamp> =
            troubled.iter().filter_map(|(group, fails)| Some((*group, self.onset_of(fails)?))).collect();
        let mut sorted: Vec<Timestamp> = onsets.values().copied().collect();
        sorted.sort_unstable();
        let middle = *sorted.get(sorted.len() / 2)?;
        let near = |at: Timestamp| at.since(middle).max(middle.since(at)) <= TOGETHER;
        let together: BTreeSet<u32> = onsets.iter().filter(|(_, at)| near(**at)).map(|(group, _)| *group).collect();
        let fails: Vec<&Fail> = together.iter().filter_map(|group| troubled.get(group)).flatten().copied().collect();
        let names: BTreeSet<String> = together.iter().map(|group| self.group(*group)).collect();
        let networks: BTreeSet<&String> =
            names.iter().filter_map(|name| self.groups.0.get(name)).flat_map(|group| &group.networks).collect();
        let live = self.groups.live().count();
        let coincidence = self.spells.coincidence(&names, TOGETHER * 2, self.now);
        let odds = coincidence + ElementKind::Path.prior().ln();
        if coincidence < (SELDOM.as_secs_f64() / (TOGETHER * 2).as_secs_f64()).ln()
            || names.len() < LEAST
            || networks.len() < LEAST
            || names.len() * 5 > live * 4
            || self.is_of_one_country(&together)
            || !self.spans_owners(&fails)
        {
            return None;
        }
        let (layer, cause) = commonest(&fails)?;
        let severity = share(&fails);
        let mut ratios = Ratios::new(self.now.before(self.settings.horizon), self.now);
        self.add(&mut ratios, &fails);
        let onset = ratios.onset()?;
        let singles: Vec<&Member> = self.single().collect();
        let gain: f64 = singles.iter().map(|member| member.gain.max(0.0)).sum();
        let support = self.support(&singles);
        let priors = gain - support.iter().sum::<f64>();
        let confidence = 1.0 / (1.0 + (-odds).exp());
        let other = rounded((1.0 - confidence) / 3.0);
        let element = Element::new(ElementKind::Path, "path/unknown");
        let obstacle = (gain < self.settings.open_nats)
            .then(|| format!("insufficient data: {gain:.0} of {:.0} nats", self.settings.open_nats));
        let alibis = if obstacle.is_none() {
            self.alibis(&element, Charge { layer, severity, since: onset.at }, &names)
        } else {
            Vec::new()
        };
        Some(Assessment {
            element,
            gain,
            severity,
            probabilities: Probabilities { aws: other, azure: other, neither: rounded(confidence), none: other },
            confidence: rounded(confidence),
            suspects: Vec::new(),
            obstacle,
            is_consequence: false,
            is_part: false,
            footprint: fails.iter().map(|fail| (fail.place, fail.layer)).collect(),
            total_groups: count(live),
            control_failing_groups: self.control_failing(&names),
            layer,
            cause,
            onset,
            evidence: self.rows(&[severity; 4], &fails),
            alibis,
            caveats: vec!["no carrier is known on these paths: vantages that name theirs would name it".into()],
            robust_margin: inference::without_loudest(&support, self.liars) + priors,
            domain_margin: inference::without_domain(&support, self.domains) + priors,
            survey: Rc::default(),
            decisive: Vec::new(),
            failing_groups: names,
        })
    }

    /// Members that are a group's, a network's or a country's own trouble.
    fn single(&self) -> impl Iterator<Item = &Member> {
        self.hypothesis.members.iter().filter(|member| {
            let kind = self.evidence.elements()[member.element].kind;
            let is_own = matches!(
                kind,
                ElementKind::Agent | ElementKind::Isp | ElementKind::Interconnect | ElementKind::Country
            );
            is_own && member.gain >= TROUBLE_NATS
        })
    }

    /// Vantage groups that are in trouble of their own.
    pub(crate) fn groups_in_trouble(&self) -> Vec<String> {
        let groups: BTreeSet<u32> =
            self.single().flat_map(|member| self.evidence.fails_of(member.element)).map(|fail| fail.group).collect();
        groups.into_iter().map(|group| self.group(group)).collect()
    }

    /// Whether one country's trouble explains all of these groups but one.
    fn is_of_one_country(&self, together: &BTreeSet<u32>) -> bool {
        let countries = self.single().filter(|member| {
            let element = &self.evidence.elements()[member.element];
            element.kind == ElementKind::Country
        });
        countries.into_iter().any(|member| {
            let inside: BTreeSet<u32> = self.evidence.fails_of(member.element).map(|fail| fail.group).collect();
            together.difference(&inside).count() <= 1
        })
    }

    /// Failures to connect, by group, that only the group's own trouble explains; not of groups that are cut off.
    fn troubled_groups(&self) -> BTreeMap<u32, Vec<&Fail>> {
        let mut troubled: BTreeMap<u32, BTreeMap<(Place, Layer), &Fail>> = BTreeMap::new();
        for member in self.single() {
            let fails = self
                .evidence
                .fails_of(member.element)
                .filter(|fail| matches!(fail.layer, Layer::Connect | Layer::Tls) && self.explains(member, fail));
            for fail in fails {
                troubled.entry(fail.group).or_default().insert((fail.place, fail.layer), fail);
            }
        }
        // Whoever gets through to nobody for a while is cut off, however well it resolves names.
        let horizon = self.now.before(self.settings.horizon);
        let mut stretches: BTreeMap<(u32, u128), (u32, u32)> = BTreeMap::new();
        for (entry, _) in self.known.looks() {
            let group = self.known.map().near[entry.agent as usize].group;
            if troubled.contains_key(&group) {
                for sample in entry.cell.since(horizon) {
                    let Some(failed) = sample.failed_at(Layer::Connect) else { continue };
                    let stretch = self.now.since(sample.at).as_micros() / STRETCH.as_micros();
                    let sum = stretches.entry((group, stretch)).or_default();
                    *sum = (sum.0 + 1, sum.1 + u32::from(!failed));
                }
            }
        }
        let is_cut_off =
            |(runs, passed): &(u32, u32)| *runs >= CUT_OFF.0 && f64::from(*passed) < CUT_OFF.1 * f64::from(*runs);
        let cut_off: BTreeSet<u32> =
            stretches.iter().filter(|(_, sum)| is_cut_off(sum)).map(|((group, _), _)| *group).collect();
        troubled.retain(|group, fails| fails.len() >= 2 && !cut_off.contains(group));
        troubled.into_iter().map(|(group, fails)| (group, fails.into_values().collect())).collect()
    }

    pub(super) fn onset_of(&self, fails: &[&Fail]) -> Option<Timestamp> {
        let mut ratios = Ratios::new(self.now.before(self.settings.horizon), self.now);
        self.add(&mut ratios, fails);
        ratios.onset().map(|onset| onset.at)
    }

    fn add(&self, ratios: &mut Ratios, fails: &[&Fail]) {
        for fail in fails {
            ratios.add(self.known.cell(fail.place), (fail.layer, None), fail.rate, 0.9);
        }
    }

    /// Whether what fails belongs to several owners, on more than one cloud or on none.
    fn spans_owners(&self, fails: &[&Fail]) -> bool {
        let targets = || fails.iter().filter_map(|fail| self.known.target(self.known.target_of(fail.place)?));
        let owners: BTreeSet<&str> = targets().map(|target| target.owner.as_deref().unwrap_or("")).collect();
        let mut on: BTreeMap<&str, u32> = BTreeMap::new();
        targets().for_each(|target| *on.entry(target.hosted_on.as_str()).or_default() += 1);
        let (all, most) = (on.values().sum::<u32>(), on.values().max().copied().unwrap_or_default());
        owners.len() >= LEAST && f64::from(most) < OF_ONE_CLOUD * f64::from(all)
    }
}

/// Share of the runs of these cells that fails; a path spares something, as the engine takes it of every fault.
fn share(fails: &[&Fail]) -> f64 {
    let (failed, runs) = fails.iter().fold((0.0, 0.0), |sum, fail| (sum.0 + fail.failed, sum.1 + fail.runs));
    f64::min(failed / f64::max(runs, 1.0), 0.995)
}
