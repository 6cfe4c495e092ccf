//! A common path: several networks that begin to fail together, towards several owners or names of one operator, while
//! others reach the same.
//!
//! Paths are rarely known, so nothing in the catalog names what those networks share. What shows is the coincidence: each
//! vantage group's trouble is explained by that group alone, but all of it began at once. Then a carrier between them is
//! likelier than as many accidents. Rule: it needs no name of a carrier, and it accuses no cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    Assessment, Scene, WELL_FAILING, alibi::Charge, commonest, contrast::ByCloud, count, rounded, troubles::Trouble,
};
use crate::{
    change::Probabilities,
    element::{Element, ElementKind},
    evidence::Fail,
    inference::{self, Member},
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

/// A coincidence of selective troubles is told that chance would bring once in so long, or more seldom. Source: one false alarm
/// a month, as for any verdict (design notes 4.6).
const SELDOM: std::time::Duration = std::time::Duration::from_hours(30 * 24);

/// The same of lines that lose a share of everything, which is what they do by themselves. Source: a twelfth of the false alarms
/// that a verdict is allowed.
const VERY_SELDOM: std::time::Duration = std::time::Duration::from_hours(365 * 24);

impl Scene<'_> {
    /// The path that several groups' separate troubles have in common, if they began together.
    pub(super) fn common_path(&self) -> Option<Assessment> {
        // Who loses some destinations alone has no trouble of its own, so that fewer of those are no chance.
        let selective = |is_dns: bool| {
            self.path_of(true, |trouble| trouble.is_selective() && (trouble.layer == Layer::Dns) == is_dns)
        };
        selective(false).or_else(|| selective(true)).or_else(|| self.path_of(false, |it| it.layer != Layer::Dns))
    }

    fn path_of(&self, is_selective: bool, is_one: impl Fn(&Trouble<'_>) -> bool) -> Option<Assessment> {
        // What seems to begin where the records do may have begun whenever.
        let known_since = self.now.before(self.settings.horizon).after(TOGETHER * 2);
        let ours = self.troubles().iter().filter(|(_, trouble)| trouble.onset > known_since && is_one(trouble));
        let troubled: BTreeMap<u32, &Trouble<'_>> = ours.map(|(group, trouble)| (*group, trouble)).collect();
        let mut sorted: Vec<Timestamp> = troubled.values().map(|trouble| trouble.onset).collect();
        sorted.sort_unstable();
        let middle = *sorted.get(sorted.len() / 2)?;
        let near = |at: Timestamp| at.since(middle).max(middle.since(at)) <= TOGETHER;
        let together: BTreeSet<u32> =
            troubled.iter().filter(|(_, it)| near(it.onset)).map(|(group, _)| *group).collect();
        let fails: Vec<&Fail> = together.iter().flat_map(|group| &troubled[group].fails).copied().collect();
        let names: BTreeSet<String> = together.iter().map(|group| self.group(*group)).collect();
        let networks = self.groups.networks(names.iter());
        let live = self.groups.live().count();
        let all = self.groups.networks(self.groups.live().map(|(name, _)| name)).len();
        let coincidence = self.spells.coincidence((&networks, all), is_selective, TOGETHER * 2, self.now);
        let odds = coincidence + ElementKind::Path.prior().ln();
        let seldom = if is_selective { SELDOM } else { VERY_SELDOM };
        if coincidence < (seldom.as_secs_f64() / (TOGETHER * 2).as_secs_f64()).ln()
            || names.len() < LEAST
            || networks.len() < LEAST
            || names.len() * 5 > live * 4
            || self.is_of_one_country(&together)
        {
            return None;
        }
        let (layer, cause) = commonest(&fails)?;
        let is_path = match layer {
            Layer::Dns => self.neighbours_resolve(&together, &fails),
            _ => {
                self.spans_owners(together.iter().map(|group| troubled[group]))
                    && (is_selective || !self.lose_one_cloud(&together, middle))
            }
        };
        if !is_path || cause.is_some_and(|cause| !cause.may_be_of_the_way()) {
            return None;
        }
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

    /// Whether groups next to these resolve the same names, in several parts of the world: a site of an operator of name servers
    /// serves all who are near, so that what takes some of them alone is on their ways.
    fn neighbours_resolve(&self, together: &BTreeSet<u32>, fails: &[&Fail]) -> bool {
        let targets: BTreeSet<u32> = fails.iter().filter_map(|fail| self.known.target_of(fail.place)).collect();
        let mut near: BTreeMap<&str, (bool, (u32, u32))> = BTreeMap::new();
        for (entry, _) in self.known.looks().filter(|(_, target)| targets.contains(target)) {
            let Some(geography) = self.known.vantage(entry.agent).and_then(|vantage| vantage.geography.as_deref())
            else {
                continue;
            };
            let (is_hit, sum) = near.entry(geography).or_default();
            if together.contains(&self.known.map().near[entry.agent as usize].group) {
                *is_hit = true;
                continue;
            }
            for failed in entry.cell.all_since(self.evidence.from).filter_map(|sample| sample.failed_at(Layer::Dns)) {
                *sum = (sum.0 + 1, sum.1 + u32::from(failed));
            }
        }
        let is_well = |(runs, failed): &(u32, u32)| f64::from(*failed) <= WELL_FAILING.get() * f64::from(*runs);
        let hit = || near.values().filter(|(is_hit, _)| *is_hit).map(|(_, sum)| sum);
        let parts = hit().filter(|sum| sum.0 > 0).count();
        parts >= LEAST && hit().all(is_well)
    }

    pub(super) fn onset_of(&self, fails: &[&Fail]) -> Option<Timestamp> {
        let mut ratios = Ratios::new(self.now.before(self.settings.horizon), self.now);
        self.add(&mut ratios, fails);
        ratios.onset().map(|onset| onset.at)
    }

    fn add(&self, ratios: &mut Ratios, fails: &[&Fail]) {
        for fail in fails {
            ratios.add(self.known.cell(fail.place), fail.layer, fail.rate, 0.9);
        }
    }

    /// Whether these groups fail one cloud's endpoints far more than all others, since then: what takes a share of everything does not.
    fn lose_one_cloud(&self, together: &BTreeSet<u32>, since: Timestamp) -> bool {
        let mut runs = ByCloud::default();
        for (entry, target) in self.known.looks() {
            if !together.contains(&self.known.map().near[entry.agent as usize].group) {
                continue;
            }
            let sum = runs.entry(self.clouds[target as usize]).or_default();
            for failed in entry.cell.all_since(since).filter_map(|sample| sample.failed_at(Layer::Connect)) {
                *sum = (sum.0 + 1, sum.1 + u32::from(failed));
            }
        }
        self.one_that_fails_alone(&runs).is_some()
    }

    /// Whether what fails belongs to several owners, on more than one cloud or on none: by the runs that fail, at
    /// lost destinations alone where some are lost and others kept: lines that lose one cloud stumble over the rest as any do.
    fn spans_owners<'a>(&self, troubles: impl Iterator<Item = &'a Trouble<'a>>) -> bool {
        let (mut of, mut on): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) = Default::default();
        let counts = |trouble: &Trouble<'_>, fail: &Fail| !trouble.is_selective() || is_lost(fail);
        let fails = troubles.flat_map(|trouble| trouble.fails.iter().filter(|fail| counts(trouble, fail)));
        for fail in fails {
            let Some(target) = self.known.target_of(fail.place).and_then(|target| self.known.target(target)) else {
                continue;
            };
            *of.entry(target.owner.as_deref().unwrap_or("")).or_default() += fail.failed;
            *on.entry(target.hosted_on.as_str()).or_default() += fail.failed;
        }
        of.len() >= LEAST
            && [of, on].iter().all(|failed| {
                let all: f64 = failed.values().sum();
                failed.values().all(|one| *one < OF_ONE_CLOUD * all)
            })
    }
}

/// Whether the destination fails as lost ones do, half of the runs and more (`selective`), and not for the first time: one run
/// fails anywhere.
fn is_lost(fail: &Fail) -> bool {
    fail.failed >= 2.0 && fail.failed * 2.0 >= fail.runs
}

/// Share of the runs of these cells that fails; a path spares something, as the engine takes it of every fault.
fn share(fails: &[&Fail]) -> f64 {
    let (failed, runs) = fails.iter().fold((0.0, 0.0), |sum, fail| (sum.0 + fail.failed, sum.1 + fail.runs));
    f64::min(failed / f64::max(runs, 1.0), 0.995)
}
