//! Assessment: one member of the explanation, with everything that an incident says of it: who fails, since when, how
//! sure, who is cleared, and what stands in the way of naming it.

mod alibi;
mod common_dependency;
mod common_edge;
mod common_path;
mod contrast;
mod customers;
mod decisive;
mod obstacle;
mod selective;
mod survey;
mod troubles;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use self::alibi::Charge;
pub(crate) use self::{
    common_dependency::{RELAPSE, REPAIR_S, UNNAMED},
    contrast::ALIKE,
    customers::WELL_FAILING,
    survey::Survey,
};
use crate::{
    assumption::Assumption,
    change::{Alibi, EvidenceRow, Probabilities, Suspect},
    element::{Element, brand},
    engine::LookAgain,
    evidence::{Evidence, Fail},
    inference::{self, Hypothesis, Member, Severities},
    known::{Entry, Known, Place},
    onset::{Onset, Ratios},
    settings::Settings,
    spells::Spells,
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
    /// Part of the element has failed, and it is known by what its endpoints have in common alone.
    pub(crate) is_part: bool,
    /// Failing cells and layers that it explains.
    pub(crate) footprint: BTreeSet<(Place, Layer)>,
    pub(crate) failing_groups: BTreeSet<String>,
    pub(crate) total_groups: u32,
    pub(crate) control_failing_groups: u32,
    pub(crate) layer: Layer,
    /// `None` where runs are only slow.
    pub(crate) cause: Option<Cause>,
    pub(crate) onset: Onset,
    pub(crate) evidence: Vec<EvidenceRow>,
    pub(crate) alibis: Vec<Alibi>,
    pub(crate) caveats: Vec<String>,
    pub(crate) robust_margin: f64,
    pub(crate) domain_margin: f64,
    /// What the search says as a whole.
    pub(crate) survey: Rc<Survey>,
    /// Looks that would tell it from its best rival of another verdict, while nobody is accused.
    pub(crate) decisive: Vec<LookAgain>,
}

/// A member that gains less is noise, and nothing is said of it. Calibrated: `faultline-lab calibrate
/// told-nats`.
pub(crate) static TOLD_NATS: Assumption = Assumption::new("told-nats", 5.0);

/// Rows of evidence kept in an incident. Source: a screenful; no verdict depends on it.
const ROWS: usize = 12;

/// Chance that a fault is there which only a minority of those who look can see. Calibrated: `faultline-lab
/// calibrate minority-trust`.
pub(crate) static MINORITY_TRUST: Assumption = Assumption::new("minority-trust", 0.05);

/// Chance that somebody is at fault whose own endpoints pass, or who fails no more than what is on neither cloud. Source: the odds of a
/// verdict, 100 to 1 (design notes 4.4), at which either is said.
const REFUTED: f64 = 0.01;

/// A cloud is not accused on the word of one group in so many, when the others see nothing; and so many networks that
/// lose it together are no accident of theirs. Source: the quorum of a verdict.
const MINORITY: usize = 3;

/// What an assessment looks at.
pub(crate) struct Scene<'a> {
    pub(crate) known: &'a Known,
    pub(crate) evidence: &'a Evidence,
    pub(crate) hypothesis: &'a Hypothesis,
    pub(crate) groups: &'a Groups,
    pub(crate) sights: &'a [Sight],
    pub(crate) settings: &'a Settings,
    /// The cloud that probes of each target test, nobody else's CDN being in front of it.
    pub(crate) clouds: Vec<Option<&'static str>>,
    pub(crate) spells: &'a Spells,
    /// Regions of clouds that were accused of something within a day.
    pub(crate) shaken: BTreeSet<String>,
    /// Parties that were in fault a moment ago: windows differ in whom they show.
    pub(crate) lately: BTreeSet<Verdict>,
    /// Groups assumed to lie.
    pub(crate) liars: usize,
    /// Network of each group.
    pub(crate) domains: &'a [u32],
    pub(crate) now: Timestamp,
    /// Runs at each target in the window, and those that passed; worked out when it is first asked.
    pub(crate) seen: OnceCell<Vec<(u32, u32)>>,
    /// Vantage groups in trouble that only they themselves explain; worked out when it is first asked.
    pub(crate) troubles: OnceCell<BTreeMap<u32, troubles::Trouble<'a>>>,
}

/// The cloud that probes of each target test.
pub(crate) fn clouds(known: &Known) -> Vec<Option<&'static str>> {
    let cloud = |target: u32| {
        let (provider, _) = crate::matrix::row(known.target(target)?, known.learned(target))?;
        ["aws", "azure"].into_iter().find(|cloud| *cloud == provider)
    };
    (0..).take(known.target_count()).map(cloud).collect()
}

impl Scene<'_> {
    /// Assesses each member that is more than one agent's own trouble.
    pub(crate) fn assess(&self) -> Vec<Assessment> {
        let members = self.hypothesis.members.iter();
        let is_shared = |member: &&Member| self.is_shared(member);
        let is_told = |member: &&Member| member.gain >= TOLD_NATS.get() || member.is_consequence;
        let mut assessed: Vec<Assessment> =
            members.filter(is_shared).filter(is_told).filter_map(|member| self.assess_member(member)).collect();
        for cloud in ["aws", "azure"] {
            self.tell_common_edge(cloud, &mut assessed);
        }
        self.tell_common_dependency(&mut assessed);
        if let Some(path) = self.common_path() {
            // What the groups' own networks seem to lose, the path between them loses.
            assessed.retain(|assessment| {
                !assessment.element.kind.is_vantage_side() || assessment.footprint.is_disjoint(&path.footprint)
            });
            assessed.push(path);
        }
        assessed
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
        let probabilities =
            obstacle.as_deref().map_or(probabilities, |why| self.doubted(member, &element, &probabilities, why));
        Some(Assessment {
            gain: member.gain,
            severity: member.severity(),
            confidence: probabilities.of(element.verdict()),
            suspects: self.suspects(member),
            is_consequence: member.is_consequence,
            is_part: false,
            total_groups: count(looking),
            control_failing_groups: self.control_failing(&failing_groups),
            layer,
            cause,
            onset,
            evidence: self.rows(&member.severities, &failing),
            alibis: if obstacle.is_none() {
                let charge = Charge { layer, severity: member.severities[layer as usize], since: onset.at };
                self.alibis(&element, charge, &failing_groups)
            } else {
                Vec::new()
            },
            caveats: self.caveats(member),
            robust_margin: member.robust_margin,
            domain_margin: member.domain_margin,
            survey: Rc::default(),
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

    /// The probabilities where something stands in the way of an accusation: what would be left without its loudest
    /// witnesses says how far they are to be believed, and what only a minority sees is hardly there.
    fn doubted(&self, member: &Member, element: &Element, probabilities: &Probabilities, why: &str) -> Probabilities {
        let is_minority = member.disagreement.is_some_and(|(see, look)| see * MINORITY <= look);
        let margin = if element.kind.is_vantage_side() {
            member.gain - self.settings.open_vantage_nats
        } else {
            member.robust_margin.min(member.domain_margin).min(member.gain - self.settings.suspect_nats)
        };
        let trust = if is_minority { MINORITY_TRUST.get() } else { 1.0 / (1.0 + (-margin).exp()) };
        probabilities.trusted(if obstacle::is_refuted(why) { REFUTED.min(trust) } else { trust })
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
            let (rate, severity) = (self.known.base_rate(entry, layer), member.severities[layer as usize].max(0.01));
            ratios.add(&entry.cell, layer, rate, severity);
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

    /// Failing groups most of whose controls fail too: they may be broken themselves.
    fn control_failing(&self, failing: &BTreeSet<String>) -> u32 {
        let broken: BTreeSet<&String> = (0..)
            .zip(self.sights)
            .filter(|(_, sight)| sight.controls_fail())
            .filter_map(|(agent, _)| self.known.vantage(agent).map(|vantage| &vantage.group))
            .collect();
        count(failing.iter().filter(|group| broken.contains(group)).count())
    }

    fn rows(&self, severities: &Severities, failing: &[&Fail]) -> Vec<EvidenceRow> {
        let row = |fail: &&Fail| {
            let severity = severities[fail.layer as usize];
            let surprise = fail.chance(1.0 - severity).ln() - fail.chance(1.0).ln();
            let weight = fail.failed * surprise + (fail.runs - fail.failed) * (-severity).ln_1p();
            let (failed, runs) = fail.counts();
            EvidenceRow {
                group: self.group(fail.group),
                target: self.known.target_name(fail.place).to_owned(),
                layer: fail.layer,
                cause: fail.cause,
                failed,
                runs,
                weight: rounded(weight),
            }
        };
        let mut rows: Vec<EvidenceRow> = failing.iter().map(row).collect();
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

/// The most common layer and cause; no cause where runs are only slow. `None` of nothing.
fn commonest(failing: &[&Fail]) -> Option<(Layer, Option<Cause>)> {
    let mut tally: BTreeMap<(Layer, Option<Cause>), f64> = BTreeMap::new();
    for fail in failing {
        *tally.entry((fail.layer, fail.cause)).or_default() += fail.failed;
    }
    tally.into_iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map(|(what, _)| what)
}

impl Probabilities {
    /// These, so far as they are to be trusted: what is not is nothing.
    fn trusted(&self, trust: f64) -> Self {
        let part = |probability: f64| rounded(probability * trust);
        let (aws, azure, neither) = (part(self.aws), part(self.azure), part(self.neither));
        Self { aws, azure, neither, none: rounded(1.0 - aws - azure - neither) }
    }
}

/// Four decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

impl Assessment {
    /// One sentence: who fails, how, for whom, and who is cleared.
    pub(crate) fn headline(&self) -> String {
        let seen = format!("{} of {} vantage groups", self.failing_groups.len(), self.total_groups);
        let title = self.element.title();
        let sentence = match self.element.verdict() {
            Verdict::Neither => format!("Not the clouds: {title} is failing: {} from {seen}.", self.phrase()),
            _ => format!("{title} is failing: {} from {seen}.", self.phrase()),
        };
        let cleared: Vec<String> = self.alibis.iter().map(|alibi| brand(&alibi.party)).collect();
        match cleared.as_slice() {
            [] => sentence,
            [one] => format!("{sentence} {one} is not affected."),
            [first, second, ..] => format!("{sentence} {first} and {second} are not affected."),
        }
    }

    /// Whether a suspicion of it is for everybody: likelier than not, something has failed, and an endpoint that a few agents
    /// cannot use is its owner's business.
    pub(crate) fn is_public(&self) -> bool {
        let is_for_all = !self.element.kind.is_local() || self.failing_groups.len() * 2 >= self.total_groups as usize;
        is_for_all && self.probabilities.none < 0.5
    }

    fn phrase(&self) -> &'static str {
        self.cause.map_or_else(|| self.layer.slow_phrase(), Cause::phrase)
    }

    /// One sentence while nobody is accused.
    pub(crate) fn suspicion(&self) -> String {
        let seen = format!("{} of {} vantage groups", self.failing_groups.len(), self.total_groups);
        format!("Something is failing, the evidence cannot yet say who: {} from {seen}.", self.phrase())
    }

    /// The onset's half-width in seconds, one decimal.
    pub(crate) fn uncertainty_s(&self) -> f64 {
        (self.onset.uncertainty.max(Duration::from_millis(500)).as_secs_f64() * 10.0).round() / 10.0
    }
}
