//! Assessment: one member of the explanation, with everything that an incident says of it: who fails, since when, how
//! sure, who is cleared, and what stands in the way of naming it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    change::{Alibi, EvidenceRow, Probabilities, Suspect},
    element::{Element, ElementKind, brand},
    evidence::{Count, Evidence, Place},
    inference::{self, Hypothesis, Member},
    known::Known,
    onset::{self, Mark, Onset},
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
}

/// Rows of evidence kept in an incident.
const ROWS: usize = 12;

/// Share of passing runs from which a party is cleared, and the least number of runs.
const ALIBI: (f64, u32) = (0.97, 10);

/// What an assessment looks at.
pub(crate) struct Scene<'a> {
    pub(crate) known: &'a Known,
    pub(crate) evidence: &'a Evidence,
    pub(crate) hypothesis: &'a Hypothesis,
    pub(crate) groups: &'a Groups,
    pub(crate) sights: &'a BTreeMap<u32, Sight>,
    pub(crate) settings: &'a Settings,
    /// Groups assumed to lie.
    pub(crate) liars: usize,
}

impl Scene<'_> {
    /// Assesses each member that is more than one agent's own trouble.
    pub(crate) fn assess(&self) -> Vec<Assessment> {
        let members = self.hypothesis.members.iter();
        members
            .filter(|member| self.evidence.elements[member.element].kind != ElementKind::Agent)
            .filter_map(|member| self.assess_member(member))
            .collect()
    }

    fn assess_member(&self, member: &Member) -> Option<Assessment> {
        let element = self.evidence.elements[member.element].clone();
        let failing: Vec<&Count> =
            self.evidence.of(member.element).filter(|count| self.explains(member, count)).collect();
        let (layer, cause) = commonest(&failing)?;
        let footprint: BTreeSet<(Place, Layer)> = failing.iter().map(|count| (count.place, count.layer)).collect();
        let failing_groups: BTreeSet<String> =
            failing.iter().map(|count| self.evidence.groups[count.group].clone()).collect();
        let looking: BTreeSet<usize> = self.evidence.of(member.element).map(|count| count.group).collect();
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
            total_groups: count(looking.len()),
            control_failing_groups: self.control_failing(&failing_groups),
            layer,
            cause,
            onset,
            evidence: self.rows(member, &failing),
            alibis: self.alibis(&element, layer, onset.at, &failing_groups),
            caveats: self.caveats(member),
            robust_margin: member.robust_margin,
            probabilities,
            obstacle,
            footprint,
            failing_groups,
            element,
        })
    }

    /// Whether the member is what makes this count fail: without it, the failures would be twice as surprising.
    fn explains(&self, member: &Member, count: &Count) -> bool {
        if count.failed == 0.0 {
            return false;
        }
        let others: f64 = self
            .hypothesis
            .members
            .iter()
            .filter(|other| other.element != member.element && count.set.contains(&other.element))
            .map(|other| 1.0 - other.severities[count.layer as usize])
            .product();
        let severity = member.severities[count.layer as usize];
        let fails = |healthy: f64| 1.0 - (1.0 - count.rate) * healthy;
        fails(others * (1.0 - severity)) > 2.0 * fails(others) || (others < 1.0 && severity >= 1.0 - others)
    }

    /// From all cells that exercise the member at a layer where it fails: those that still pass bound the onset too.
    fn onset(&self, member: &Member, footprint: &BTreeSet<(Place, Layer)>) -> Option<Onset> {
        let layers: BTreeSet<Layer> = footprint.iter().map(|(_, layer)| *layer).collect();
        let mut marks = Vec::new();
        for count in self.evidence.of(member.element).filter(|count| layers.contains(&count.layer)) {
            let samples = self.known.cell(count.place)?.samples();
            marks.extend(samples.filter_map(|sample| {
                Some(Mark { at: sample.at, failed: sample.failed_at(count.layer)?, rate: count.rate })
            }));
        }
        onset::estimate(&mut marks, member.severity())
    }

    fn suspects(&self, member: &Member) -> Vec<Suspect> {
        let likely = member.alternatives.iter().filter(|(_, probability)| *probability >= 0.01);
        likely
            .filter_map(|(element, probability)| {
                let element = self.evidence.elements[(*element)?].name.clone();
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
        let mut supporters: Vec<(&String, f64)> =
            self.evidence.groups.iter().zip(member.support.iter().copied()).filter(|(_, nats)| *nats > 0.5).collect();
        supporters.sort_by(|a, b| b.1.total_cmp(&a.1));
        let witnesses = supporters.iter().skip(self.liars).map(|(group, _)| *group);
        if let Some(shortfall) = self.groups.shortfall(witnesses, accused, self.settings) {
            return Some(format!("insufficient witnesses without the {} loudest: {shortfall}", self.liars));
        }
        self.is_seen_through_one_customer(element, footprint)
            .then(|| "seen through a single endpoint that is not the provider's own".into())
    }

    /// Whether an element that many depend on is accused through one customer's endpoint.
    fn is_seen_through_one_customer(&self, element: &Element, footprint: &BTreeSet<(Place, Layer)>) -> bool {
        if matches!(element.kind, ElementKind::Endpoint | ElementKind::Owner) {
            return false;
        }
        let targets: BTreeSet<u32> = footprint.iter().filter_map(|((_, target), _)| *target).collect();
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
        let broken: BTreeSet<&String> = self
            .sights
            .iter()
            .filter(|(_, sight)| sight.controls_fail())
            .filter_map(|(agent, _)| self.known.vantage(*agent).map(|vantage| &vantage.group))
            .collect();
        count(failing.iter().filter(|group| broken.contains(group)).count())
    }

    fn rows(&self, member: &Member, failing: &[&Count]) -> Vec<EvidenceRow> {
        let mut rows: Vec<EvidenceRow> = failing
            .iter()
            .filter_map(|count| {
                let cause = count.causes.iter().max_by_key(|(_, n)| **n).map(|(cause, _)| *cause)?;
                let weight =
                    count.log_likelihood(1.0 - member.severities[count.layer as usize]) - count.log_likelihood(1.0);
                let target = count.place.1.map_or("uplink", |target| self.known.targets.name(target));
                Some(EvidenceRow {
                    group: self.evidence.groups[count.group].clone(),
                    target: target.to_owned(),
                    layer: count.layer,
                    cause,
                    failed: whole(count.failed),
                    runs: whole(count.failed + count.passed),
                    weight: rounded(weight),
                })
            })
            .collect();
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
            self.hypothesis.members.iter().map(|member| self.evidence.elements[member.element].verdict()).collect();
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
            .flat_map(|member| self.evidence.of(member.element).filter(|count| self.explains(member, count)))
            .map(|count| count.place)
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
        let looks = self.known.cells().filter(|(place, _)| !explained.contains(place));
        for ((agent, target), cell) in looks {
            let Some(target) = target.filter(|target| self.is_of(*target, cloud)) else { continue };
            let Some(vantage) = self.known.vantage(agent).filter(|vantage| may_speak(&vantage.group)) else { continue };
            if self.known.target(target).is_none_or(|target| !target.layers().any(|own| own == layer)) {
                continue;
            }
            for sample in cell.samples().rev().take_while(|sample| sample.at >= since) {
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

    /// Whether a probe of the target tests that cloud, and nobody else's CDN in front of it.
    fn is_of(&self, target: u32, cloud: &str) -> bool {
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
                    element.map_or("nothing at all".to_owned(), |element| self.evidence.elements[element].title());
                format!("it could also be {rival} ({:.0} %)", probability * 100.0)
            })
            .collect()
    }
}

/// The most common layer and cause.
fn commonest(failing: &[&Count]) -> Option<(Layer, Cause)> {
    let mut tally: BTreeMap<(Layer, Cause), u32> = BTreeMap::new();
    for count in failing {
        for (cause, n) in &count.causes {
            *tally.entry((count.layer, *cause)).or_default() += n;
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
