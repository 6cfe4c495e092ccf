//! Assessment: one member of the explanation, with everything that an incident says of it: who fails, since when, how
//! sure, who is cleared, and what stands in the way of naming it.

mod common_path;
mod decisive;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    change::{Alibi, EvidenceRow, Probabilities, Suspect},
    element::{Element, ElementKind, brand},
    engine::LookAgain,
    evidence::{Evidence, Fail},
    inference::{self, Hypothesis, Member},
    known::{Entry, Known, Place},
    onset::{Onset, Ratios},
    settings::Settings,
    time::Timestamp,
    visibility::{Groups, Sight, count},
    vocabulary::{Cause, Layer, Verdict},
};

/// One member of the explanation, assessed.
#[derive(Clone, Debug)]
pub(crate) struct Assessment {
    pub(crate) element: Element,
    pub(crate) gain: f64,
    pub(crate) severity: f64,
    pub(crate) probabilities: Probabilities,
    pub(crate) confidence: f64,
    pub(crate) suspects: Vec<Suspect>,
    /// Why nobody may be accused of it yet; `None` when somebody may.
    pub(crate) obstacle: Option<String>,
    pub(crate) is_consequence: bool,
    /// Failing cells and layers that it explains.
    pub(crate) footprint: BTreeSet<(Place, Layer)>,
    pub(crate) failing_groups: BTreeSet<String>,
    pub(crate) total_groups: u32,
    pub(crate) control_failing_groups: u32,
    pub(crate) layer: Layer,
    pub(crate) cause: Cause,
    pub(crate) onset: Onset,
    pub(crate) evidence: Vec<EvidenceRow>,
    pub(crate) alibis: Vec<Alibi>,
    pub(crate) caveats: Vec<String>,
    pub(crate) robust_margin: f64,
    /// Looks that would tell it from its best rival of another verdict, while nobody is accused.
    pub(crate) decisive: Vec<LookAgain>,
}

/// A member that gains less is noise, and nothing is said of it.
const TOLD_NATS: f64 = 5.0;

/// Rows of evidence kept in an incident.
const ROWS: usize = 12;

/// Share of passing runs from which a party is cleared, and the least number of runs.
const ALIBI: (f64, u32) = (0.97, 10);

/// A cloud is not accused on the word of one group in so many, when the others see nothing; and so many networks that
/// lose it together are no accident of theirs.
const MINORITY: usize = 3;

/// What an assessment looks at.
pub(crate) struct Scene<'a> {
    pub(crate) known: &'a Known,
    pub(crate) evidence: &'a Evidence,
    pub(crate) hypothesis: &'a Hypothesis,
    pub(crate) groups: &'a Groups,
    pub(crate) sights: &'a [Sight],
    pub(crate) settings: &'a Settings,
    /// Groups assumed to lie.
    pub(crate) liars: usize,
    pub(crate) now: Timestamp,
}

impl Scene<'_> {
    /// Assesses each member that is more than one agent's own trouble.
    pub(crate) fn assess(&self) -> Vec<Assessment> {
        let members = self.hypothesis.members.iter();
        let is_shared = |member: &&Member| {
            let kind = self.evidence.elements()[member.element].kind;
            let seen_by = || member.support.iter().filter(|nats| **nats > 0.5).count();
            kind != ElementKind::Agent && (!kind.is_vantage_side() || seen_by() > 1)
        };
        let is_told = |member: &&Member| member.gain >= TOLD_NATS || member.is_consequence;
        let mut assessed: Vec<Assessment> =
            members.filter(is_shared).filter(is_told).filter_map(|member| self.assess_member(member)).collect();
        self.doubt_ways_to_one_cloud(&mut assessed);
        if let Some(path) = self.common_path() {
            // What the groups' own networks seem to lose, the path between them loses.
            assessed.retain(|assessment| {
                !assessment.element.kind.is_vantage_side() || assessment.footprint.is_disjoint(&path.footprint)
            });
            assessed.push(path);
        }
        assessed
    }

    /// Several carriers that lose their ways to one cloud at once may be its edge or theirs: nobody is accused of that.
    fn doubt_ways_to_one_cloud(&self, assessed: &mut [Assessment]) {
        let elements = self.evidence.elements();
        let members = || self.hypothesis.members.iter().filter(|member| member.gain >= TOLD_NATS);
        for cloud in ["aws/", "azure/"] {
            let ends = members().filter_map(|member| elements[member.element].ends());
            let near: BTreeSet<&str> = ends.filter(|(_, far)| far.starts_with(cloud)).map(|(near, _)| near).collect();
            if near.len() < MINORITY {
                continue;
            }
            let to_cloud = |element: &Element| element.ends().is_some_and(|(_, far)| far.starts_with(cloud));
            for assessment in assessed.iter_mut().filter(|assessment| to_cloud(&assessment.element)) {
                assessment.obstacle.get_or_insert_with(|| {
                    format!("{} networks lose their ways to one cloud at once: its edge or theirs", near.len())
                });
            }
        }
    }

    fn assess_member(&self, member: &Member) -> Option<Assessment> {
        let element = self.evidence.elements()[member.element].clone();
        let failing: Vec<&Fail> =
            self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail)).collect();
        let (layer, cause) = commonest(&failing)?;
        let footprint: BTreeSet<(Place, Layer)> = failing.iter().map(|fail| (fail.place, fail.layer)).collect();
        let failing_groups: BTreeSet<String> = failing.iter().map(|fail| self.group(fail.group)).collect();
        let looking = self.looking(member);
        let [aws, azure, neither, none] = inference::verdicts(self.evidence, member).map(rounded);
        let probabilities = Probabilities { aws, azure, neither, none };
        let onset = self.onset(member, &footprint)?;
        let obstacle = self.obstacle(member, &element, &probabilities, &footprint, &failing_groups);
        Some(Assessment {
            gain: member.gain,
            severity: member.severity(),
            confidence: probabilities.of(element.verdict()),
            suspects: self.suspects(member),
            is_consequence: member.is_consequence,
            total_groups: count(looking),
            control_failing_groups: self.control_failing(&failing_groups),
            layer,
            cause,
            onset,
            evidence: self.rows(member, &failing),
            alibis: if obstacle.is_none() {
                self.alibis(&element, layer, onset.at, &failing_groups)
            } else {
                Vec::new()
            },
            caveats: self.caveats(member),
            robust_margin: member.robust_margin.min(member.domain_margin),
            decisive: if obstacle.is_some() && member.gain >= self.settings.suspect_nats {
                self.decisive(member, layer)
            } else {
                Vec::new()
            },
            probabilities,
            obstacle,
            footprint,
            failing_groups,
            element,
        })
    }

    fn group(&self, group: u32) -> String {
        self.evidence.frame.groups[group as usize].clone()
    }

    /// Groups that looked at the member at a layer where it fails.
    fn looking(&self, member: &Member) -> usize {
        let mut looked = vec![false; self.evidence.frame.groups.len()];
        for layer in self.evidence.failing_layers(member.element) {
            for (looked, passes) in looked.iter_mut().zip(self.evidence.passes(member.element, layer)) {
                *looked |= *passes > 0.0;
            }
        }
        self.evidence.fails_of(member.element).for_each(|fail| looked[fail.group as usize] = true);
        looked.into_iter().filter(|looked| *looked).count()
    }

    fn explains(&self, member: &Member, fail: &Fail) -> bool {
        inference::explains(&self.hypothesis.members, member, fail)
    }

    /// From all cells that exercise the member at a layer where it fails: those that still pass bound the onset too.
    fn onset(&self, member: &Member, footprint: &BTreeSet<(Place, Layer)>) -> Option<Onset> {
        let name = &self.evidence.elements()[member.element];
        let map = self.known.map();
        let element = u32::try_from(map.elements.binary_search(name).ok()?).ok()?;
        let layers: BTreeSet<Layer> = footprint.iter().map(|(_, layer)| *layer).collect();
        let implicated: BTreeSet<(Place, Layer)> =
            self.evidence.fails_of(member.element).map(|fail| (fail.place, fail.layer)).collect();
        let mut ratios = Ratios::new(self.now.before(self.settings.horizon), self.now);
        let mut add = |entry: &Entry, layer: Layer| {
            let (rate, severity) = (entry.cell.base_rate(layer), member.severities[layer as usize].max(0.01));
            for sample in entry.cell.samples() {
                if let Some(failed) = sample.failed_at(layer) {
                    ratios.add(sample.at, failed, rate, severity);
                }
            }
        };
        for layer in &layers {
            let mut others: BTreeSet<Place> =
                implicated.iter().filter(|(_, at)| at == layer).map(|(place, _)| *place).collect();
            self.known.each_holder(element, *layer, |place, entry| {
                others.remove(&place);
                add(entry, *layer);
            });
            for place in others {
                add(self.known.entry(place), *layer);
            }
        }
        ratios.onset()
    }

    fn suspects(&self, member: &Member) -> Vec<Suspect> {
        let likely = member.alternatives.iter().filter(|(_, probability)| *probability >= 0.01);
        likely
            .filter_map(|(element, probability)| {
                let element = self.evidence.elements()[(*element)?].name.clone();
                Some(Suspect { element, probability: rounded(*probability) })
            })
            .take(5)
            .collect()
    }

    /// What stands in the way of an accusation.
    fn obstacle(
        &self,
        member: &Member,
        element: &Element,
        probabilities: &Probabilities,
        footprint: &BTreeSet<(Place, Layer)>,
        failing: &BTreeSet<String>,
    ) -> Option<String> {
        let verdict = element.verdict();
        let accused = matches!(verdict, Verdict::Aws | Verdict::Azure).then(|| verdict.as_str());
        let is_vantage_side = element.kind.is_vantage_side();
        let needed = if is_vantage_side { self.settings.open_vantage_nats } else { self.settings.open_nats };
        if let Some(shortfall) = self.groups.shortfall(self.groups.live().map(|(name, _)| name), accused, self.settings)
        {
            return Some(format!("insufficient vantages: {shortfall}"));
        }
        if member.gain < needed {
            return Some(format!("insufficient data: {:.0} of {needed:.0} nats", member.gain));
        }
        if probabilities.of(verdict) < self.settings.open_probability {
            return Some(format!(
                "competing explanations: aws {:.2}, azure {:.2}, neither {:.2}, nothing {:.2}",
                probabilities.aws, probabilities.azure, probabilities.neither, probabilities.none
            ));
        }
        if is_vantage_side {
            return (failing.len() < 2).then(|| "seen by a single vantage group".into());
        }
        if member.robust_margin < self.settings.robust_nats {
            return Some(format!("not robust: {} lying vantage groups could make it", self.liars));
        }
        if accused.is_some() && member.domain_margin < self.settings.robust_nats {
            return Some("not robust: the vantage groups of a single network make it".into());
        }
        if accused.is_some()
            && let Some((see, look)) = member.disagreement.filter(|(see, look)| see * MINORITY <= *look)
        {
            return Some(format!(
                "vantage groups disagree: {see} of {look} see it fail, and the others, looking at the same, do not"
            ));
        }
        let mut supporters: Vec<(&String, f64)> = self
            .evidence
            .frame
            .groups
            .iter()
            .zip(member.support.iter().copied())
            .filter(|(_, nats)| *nats > 0.5)
            .collect();
        supporters.sort_by(|a, b| b.1.total_cmp(&a.1));
        let witnesses = supporters.iter().skip(self.liars).map(|(group, _)| *group);
        if let Some(shortfall) = self.groups.shortfall(witnesses, accused, self.settings) {
            return Some(format!("insufficient witnesses without the {} loudest: {shortfall}", self.liars));
        }
        if accused.is_some() && self.may_be_a_hidden_dependency(member, element, footprint) {
            return Some(
                "only customers' endpoints fail there, and something else that they may depend on has failed".into(),
            );
        }
        self.is_seen_through_one_customer(element, footprint)
            .then(|| "seen through a single endpoint that is not the provider's own".into())
    }

    /// Whether a place is accused through customers' endpoints alone, while the provider's own in it pass and another party
    /// has failed: apps fail with what they depend on, wherever they run, and catalogs are wrong about where they run.
    fn may_be_a_hidden_dependency(
        &self,
        member: &Member,
        element: &Element,
        footprint: &BTreeSet<(Place, Layer)>,
    ) -> bool {
        let elements = self.evidence.elements();
        let is_place = matches!(element.kind, ElementKind::Region | ElementKind::Zone | ElementKind::Network);
        let is_other_party = |other: &Member| {
            let other_element = &elements[other.element];
            let is_shared = !other_element.kind.is_vantage_side() && !other_element.kind.is_local();
            is_shared && other.gain >= TOLD_NATS && other_element.verdict() != element.verdict()
        };
        if !is_place || !self.hypothesis.members.iter().any(is_other_party) {
            return false;
        }
        let is_own = |place: Place| {
            let target = self.known.target_of(place).and_then(|target| self.known.target(target));
            target.is_some_and(crate::Target::is_provider_owned)
        };
        if footprint.iter().any(|(place, _)| is_own(*place)) {
            return false;
        }
        let Some(number) = self.known.map().elements.binary_search(element).ok().and_then(|at| u32::try_from(at).ok())
        else {
            return false;
        };
        let (mut runs, mut passed) = (0, 0);
        self.known.each_holder(number, member.layer(), |place, entry| {
            if is_own(place) {
                let (more, of_them) = entry.cell.count_since(self.evidence.from);
                (runs, passed) = (runs + more, passed + of_them);
            }
        });
        runs >= ALIBI.1 && f64::from(passed) >= ALIBI.0 * f64::from(runs)
    }

    /// Whether an element that many depend on is accused through one customer's endpoint.
    fn is_seen_through_one_customer(&self, element: &Element, footprint: &BTreeSet<(Place, Layer)>) -> bool {
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

    /// Failing groups most of whose controls fail too: they may be broken themselves.
    fn control_failing(&self, failing: &BTreeSet<String>) -> u32 {
        let broken: BTreeSet<&String> = (0..)
            .zip(self.sights)
            .filter(|(_, sight)| sight.controls_fail())
            .filter_map(|(agent, _)| self.known.vantage(agent).map(|vantage| &vantage.group))
            .collect();
        count(failing.iter().filter(|group| broken.contains(group)).count())
    }

    fn rows(&self, member: &Member, failing: &[&Fail]) -> Vec<EvidenceRow> {
        let row = |fail: &&Fail| {
            let cause = fail.causes.iter().max_by_key(|(_, n)| **n).map(|(cause, _)| *cause)?;
            let severity = member.severities[fail.layer as usize];
            let surprise = fail.chance(1.0 - severity).ln() - fail.chance(1.0).ln();
            let weight = fail.failed * surprise + (fail.runs - fail.failed) * (-severity).ln_1p();
            Some(EvidenceRow {
                group: self.group(fail.group),
                target: self.known.target_name(fail.place).to_owned(),
                layer: fail.layer,
                cause,
                failed: whole(fail.failed),
                runs: whole(fail.runs),
                weight: rounded(weight),
            })
        };
        let mut rows: Vec<EvidenceRow> = failing.iter().filter_map(row).collect();
        rows.sort_by(|a, b| {
            b.weight.total_cmp(&a.weight).then_with(|| (&a.target, &a.group).cmp(&(&b.target, &b.group)))
        });
        // The strongest of each target before the second of any: breadth is evidence too.
        let mut of_target: BTreeMap<String, usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, EvidenceRow)> = Vec::with_capacity(rows.len());
        for row in rows {
            let rank = of_target.entry(row.target.clone()).or_default();
            *rank += 1;
            ranked.push((*rank, row));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().take(ROWS).map(|(_, row)| row).collect()
    }

    /// What clears each cloud that no member accuses, and the rival elements: the same groups, the same layer, since the
    /// onset.
    fn alibis(&self, element: &Element, layer: Layer, onset: Timestamp, failing: &BTreeSet<String>) -> Vec<Alibi> {
        let accused: BTreeSet<Verdict> =
            self.hypothesis.members.iter().map(|member| self.evidence.elements()[member.element].verdict()).collect();
        let clouds = [("aws", Verdict::Aws), ("azure", Verdict::Azure)]
            .into_iter()
            .filter(|(_, verdict)| !accused.contains(verdict))
            .map(|(cloud, _)| cloud);
        // A vantage-side fault leaves its own groups unable to clear anybody: the others do.
        let may_speak = |group: &str| {
            if element.kind.is_vantage_side() { !failing.contains(group) } else { failing.contains(group) }
        };
        let explained: BTreeSet<Place> = self
            .hypothesis
            .members
            .iter()
            .flat_map(|member| self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail)))
            .map(|fail| fail.place)
            .collect();
        clouds.filter_map(|cloud| self.alibi(cloud, layer, onset, &explained, may_speak)).collect()
    }

    /// What the cloud's targets say, but for looks whose failures another culprit explains.
    fn alibi(
        &self,
        cloud: &str,
        layer: Layer,
        since: Timestamp,
        explained: &BTreeSet<Place>,
        may_speak: impl Fn(&str) -> bool,
    ) -> Option<Alibi> {
        let (mut passed, mut runs, mut groups) = (0, 0, BTreeSet::new());
        let is_of: Vec<bool> = (0..).take(self.known.target_count()).map(|t| self.tests(t, cloud, layer)).collect();
        for (place, entry) in (0..).zip(&self.known.cells) {
            if !self.known.target_of(place).is_some_and(|t| is_of[t as usize]) || explained.contains(&place) {
                continue;
            }
            let Some(vantage) = self.known.vantage(entry.agent).filter(|vantage| may_speak(&vantage.group)) else {
                continue;
            };
            for sample in entry.cell.since(since) {
                if let Some(failed) = sample.failed_at(layer) {
                    runs += 1;
                    passed += u32::from(!failed || sample.own_fault);
                    groups.insert(&vantage.group);
                }
            }
        }
        let clear = runs >= ALIBI.1 && f64::from(passed) >= ALIBI.0 * f64::from(runs);
        clear.then(|| Alibi { party: cloud.to_owned(), layer, passed, runs, groups: count(groups.len()) })
    }

    /// Whether a probe of the target tests that cloud at that layer, and nobody else's CDN in front of it.
    fn tests(&self, target: u32, cloud: &str, layer: Layer) -> bool {
        if self.known.target(target).is_none_or(|target| !target.layers().any(|own| own == layer)) {
            return false;
        }
        let row = self.known.target(target).and_then(|known| crate::matrix::row(known, self.known.learned(target)));
        row.is_some_and(|(provider, _)| provider == cloud)
    }

    fn caveats(&self, member: &Member) -> Vec<String> {
        member
            .alternatives
            .iter()
            .filter(|(element, probability)| *element != Some(member.element) && *probability >= 0.02)
            .take(3)
            .map(|(element, probability)| {
                let rival =
                    element.map_or("nothing at all".to_owned(), |element| self.evidence.elements()[element].title());
                format!("it could also be {rival} ({:.0} %)", probability * 100.0)
            })
            .collect()
    }
}

/// The most common layer and cause.
fn commonest(failing: &[&Fail]) -> Option<(Layer, Cause)> {
    let mut tally: BTreeMap<(Layer, Cause), u32> = BTreeMap::new();
    for fail in failing {
        for (cause, n) in &fail.causes {
            *tally.entry((fail.layer, *cause)).or_default() += n;
        }
    }
    tally.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0))).map(|(what, _)| what)
}

/// Four decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small whole numbers")]
fn whole(value: f64) -> u32 {
    value as u32
}

impl Assessment {
    /// One sentence: who fails, how, for whom, and who is cleared.
    pub(crate) fn headline(&self) -> String {
        let seen = format!("{} of {} vantage groups", self.failing_groups.len(), self.total_groups);
        let title = self.element.title();
        let sentence = match self.element.verdict() {
            Verdict::Neither => format!("Not the clouds: {title} is failing: {} from {seen}.", self.cause.phrase()),
            _ => format!("{title} is failing: {} from {seen}.", self.cause.phrase()),
        };
        let cleared: Vec<String> = self.alibis.iter().map(|alibi| brand(&alibi.party)).collect();
        match cleared.as_slice() {
            [] => sentence,
            [one] => format!("{sentence} {one} is not affected."),
            [first, second, ..] => format!("{sentence} {first} and {second} are not affected."),
        }
    }

    /// One sentence while nobody is accused.
    pub(crate) fn suspicion(&self) -> String {
        let seen = format!("{} of {} vantage groups", self.failing_groups.len(), self.total_groups);
        format!("Something is failing, the evidence cannot yet say who: {} from {seen}.", self.cause.phrase())
    }

    /// The onset's half-width in seconds, one decimal.
    pub(crate) fn uncertainty_s(&self) -> f64 {
        (self.onset.uncertainty.max(Duration::from_millis(500)).as_secs_f64() * 10.0).round() / 10.0
    }
}
