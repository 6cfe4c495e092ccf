//! A common dependency: endpoints that begin to fail fully at once and share something that others use and pass.
//!
//! A row of machines, one chain of a CDN, some of a service's balancers: part of an element fails for everybody, the rest
//! for nobody. No failing share of the element fits that, and endpoint by endpoint it would be as many accidents in the same
//! seconds. Weighed against each other: each endpoint by itself; a shared element of which a share of the endpoints fails,
//! any share being as likely; and something that nobody declared, which may take any of all endpoints. What is told is
//! what the share of endpoints alone makes likely: none counts that the groups assumed to lie could have made up.

mod stories;

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use self::stories::{LEAST_SHAKEN, NEGLIGIBLE, Story};
pub(crate) use self::stories::{RELAPSE, REPAIR_S, UNNAMED};
use super::{Assessment, ROWS, Scene, TOLD_NATS, alibi::Charge, count, obstacle::on_one_cloud, rounded};
use crate::{
    change::Probabilities,
    element::{Element, ElementKind},
    incident::{is_dependency, together},
    inference::{self, Member},
    onset::Onset,
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, Verdict},
};

/// Owners whose endpoints must fail for it to be more than their own affair. Source: the quorum of a verdict.
const LEAST: usize = 3;

/// Onsets this close to the middle one, each give or take its half-width, count as one. Source: as for a common path.
const TOGETHER: Duration = Duration::from_secs(4);

/// Share of its runs that an endpoint fails which fails fully, and passes which is well. Source: most of them; and all but the
/// highest usual rate of an agent, a twentieth.
const FULLY: (f64, f64) = (0.5, 0.95);

impl Scene<'_> {
    /// Tells endpoints that fail at once as what they share, where that is likelier than as many accidents.
    pub(super) fn tell_common_dependency(&self, assessed: &mut Vec<Assessment>) {
        let cluster = self.cluster(assessed);
        let footprints = cluster.iter().flat_map(|place| &assessed[*place].footprint);
        let targets: BTreeSet<u32> = footprints.filter_map(|(place, _)| self.known.target_of(*place)).collect();
        let owners: BTreeSet<&str> = targets.iter().map(|target| self.owner(*target)).collect();
        let onset = cluster.iter().map(|place| assessed[*place].onset).min_by_key(|onset| onset.at);
        if let Some(onset) = onset.filter(|_| owners.len() >= LEAST_SHAKEN) {
            let stories = self.stories(&self.units(assessed, &cluster, onset));
            self.tell(&stories, (&cluster, onset), assessed);
        }
    }

    /// Assessments of endpoints, and of a CDN's ways to them, that fail fully, whoever is not believed, and began to at about
    /// the same time.
    fn cluster(&self, assessed: &[Assessment]) -> Vec<usize> {
        let is_one = |assessment: &Assessment| {
            let is_own = match assessment.element.kind {
                ElementKind::Endpoint | ElementKind::Owner => true,
                ElementKind::Interconnect => assessment.failing_groups.len() * 2 > assessment.total_groups as usize,
                _ => false,
            };
            is_own && self.was_well(assessment) && self.fails_fully(assessment)
        };
        let found: Vec<usize> = (0..assessed.len()).filter(|place| is_one(&assessed[*place])).collect();
        let mut onsets: Vec<Timestamp> = found.iter().map(|place| assessed[*place].onset.at).collect();
        onsets.sort_unstable();
        // The onset with most others about it; the latest of equals, for the others are long told.
        let near = |onset: Onset, middle: Timestamp| {
            onset.at.since(middle).max(middle.since(onset.at)) <= TOGETHER + onset.uncertainty.min(TOGETHER)
        };
        let about = |middle: Timestamp| found.iter().filter(|place| near(assessed[**place].onset, middle)).count();
        let Some(middle) = onsets.iter().copied().max_by_key(|middle| (about(*middle), *middle)) else {
            return Vec::new();
        };
        found.into_iter().filter(|place| near(assessed[*place].onset, middle)).collect()
    }

    /// Whether it was seen to work before: when what always failed began to, nobody knows.
    fn was_well(&self, assessment: &Assessment) -> bool {
        let (mut runs, mut passed) = (0, 0);
        for (place, layer) in &assessment.footprint {
            let before = self.known.cell(*place).samples().filter(|sample| sample.at < assessment.onset.at);
            for failed in before.filter_map(|sample| sample.failed_at(*layer)) {
                (runs, passed) = (runs + 1, passed + u32::from(!failed));
            }
        }
        runs >= count(LEAST) && f64::from(passed) >= FULLY.1 * f64::from(runs)
    }

    /// Whether it fails for whoever looks, by more than the word of those who may lie.
    fn fails_fully(&self, assessment: &Assessment) -> bool {
        let Some(member) = self.member(&assessment.element) else { return false };
        let witnesses = self.witnesses(&member.support, self.liars);
        assessment.severity >= FULLY.0
            && member.disagreement.is_none()
            && inference::without_loudest(&member.support, self.liars) >= self.settings.robust_nats
            && self.groups.shortfall(witnesses.into_iter(), None, self.settings).is_none()
    }

    fn member(&self, element: &Element) -> Option<&Member> {
        let elements = self.evidence.elements();
        self.hypothesis.members.iter().find(|member| elements[member.element] == *element)
    }

    /// Groups that support it without the loudest.
    pub(super) fn witnesses(&self, support: &[f64], liars: usize) -> Vec<&String> {
        let groups = self.evidence.frame.groups.iter().zip(support.iter().copied());
        let mut supporters: Vec<(&String, f64)> = groups.filter(|(_, nats)| *nats > 0.5).collect();
        supporters.sort_by(|a, b| b.1.total_cmp(&a.1));
        supporters.into_iter().skip(liars).map(|(group, _)| group).collect()
    }

    fn owner(&self, target: u32) -> &str {
        let owner = self.known.target(target).filter(|target| !target.is_provider_owned());
        owner.and_then(|target| target.owner.as_deref()).unwrap_or_else(|| self.known.target_id(target).as_str())
    }

    fn tell(&self, stories: &[Story], (cluster, onset): (&[usize], Onset), assessed: &mut Vec<Assessment>) {
        let map = self.known.map();
        let verdict = |story: &Story| story.0.map_or(Verdict::Neither, |at| map.elements[at as usize].verdict());
        let total: f64 = stories.iter().map(|(_, nats)| (nats - stories[0].1).exp()).sum();
        let of = |wanted: Verdict| {
            let told = stories.iter().filter(|story| verdict(story) == wanted);
            told.fold(0.0, |sum, (_, nats)| sum + (nats - stories[0].1).exp()) / total
        };
        let probabilities = Probabilities {
            aws: rounded(of(Verdict::Aws)),
            azure: rounded(of(Verdict::Azure)),
            neither: rounded(of(Verdict::Neither)),
            none: 0.0,
        };
        let Some((Some(number), best)) = stories.first().copied() else {
            return self.doubt(&probabilities, cluster, assessed);
        };
        let element = map.elements[number as usize].clone();
        let rival = stories.iter().find(|story| verdict(story) != element.verdict());
        let margin = rival.map_or(NEGLIGIBLE, |(_, nats)| best - nats);
        // What is already told holds its endpoints as consequences.
        if assessed.iter().any(|told| told.element == element && told.obstacle.is_none()) {
            return;
        }
        // Where something else has failed, labels may be wrong or untold: they may all depend on that.
        let is_other = |other: &Assessment| {
            is_dependency(&other.element)
                && other.element.verdict() != element.verdict()
                && together(other.onset.at, onset.at)
        };
        if assessed.iter().any(is_other) {
            return;
        }
        let holders: Vec<usize> = cluster
            .iter()
            .copied()
            .filter(|place| {
                let mut footprint = assessed[*place].footprint.iter();
                footprint.any(|(place, layer)| {
                    self.shared(self.known.entry(*place).slot, *layer).any(|shared| shared == number)
                })
            })
            .collect();
        let parts: Vec<&Assessment> = holders.iter().map(|place| &assessed[*place]).collect();
        let Some(told) = self.of_parts(&parts, (element, onset), probabilities, margin) else { return };
        if told.obstacle.is_some() {
            // What both clouds use and one of them fails with is as likely to be that cloud: the best story turns to it.
            let turned = Probabilities { neither: rounded(1.0 - 1.0 / total), ..probabilities };
            let probabilities = match self.fails_on_one_cloud_alone(&told.element, told.layer) {
                Some("aws") => Probabilities { aws: rounded(1.0 / total), ..turned },
                Some(_) => Probabilities { azure: rounded(1.0 / total), ..turned },
                None => probabilities,
            };
            return self.doubt(&probabilities, cluster, assessed);
        }
        let mut place = 0;
        assessed.retain(|other| {
            place += 1;
            !holders.contains(&(place - 1)) && other.element != told.element
        });
        assessed.push(told);
    }

    /// The shared element, with what its endpoints show.
    fn of_parts(
        &self,
        parts: &[&Assessment],
        (element, onset): (Element, Onset),
        probabilities: Probabilities,
        margin: f64,
    ) -> Option<Assessment> {
        let first = parts.iter().max_by(|a, b| a.gain.total_cmp(&b.gain))?;
        let mut support = vec![0.0; self.evidence.frame.groups.len()];
        for member in parts.iter().filter_map(|part| self.member(&part.element)) {
            for (sum, nats) in support.iter_mut().zip(&member.support) {
                *sum += nats;
            }
        }
        let footprint: BTreeSet<_> = parts.iter().flat_map(|part| part.footprint.iter().copied()).collect();
        let failing_groups: BTreeSet<String> =
            parts.iter().flat_map(|part| part.failing_groups.iter().cloned()).collect();
        let mut evidence: Vec<_> = parts.iter().filter_map(|part| part.evidence.first().cloned()).collect();
        evidence.sort_by(|a, b| {
            b.weight.total_cmp(&a.weight).then_with(|| (&a.target, &a.group).cmp(&(&b.target, &b.group)))
        });
        evidence.truncate(ROWS);
        let confidence = probabilities.of(element.verdict());
        let obstacle = self.obstacle_of_parts((&element, first.layer), &footprint, &support, confidence, margin);
        let charge = Charge { layer: first.layer, severity: first.severity, since: onset.at };
        let alibis = if obstacle.is_none() { self.alibis(&element, charge, &failing_groups) } else { Vec::new() };
        Some(Assessment {
            gain: support.iter().sum::<f64>(),
            severity: first.severity,
            confidence,
            suspects: Vec::new(),
            is_consequence: false,
            is_part: true,
            total_groups: parts.iter().map(|part| part.total_groups).max()?,
            control_failing_groups: self.control_failing(&failing_groups),
            layer: first.layer,
            cause: first.cause,
            onset,
            evidence,
            alibis: alibis.into_iter().filter(|alibi| !element.name.starts_with(&alibi.party)).collect(),
            caveats: vec![format!("{} of its endpoints fail fully, others that share it pass", parts.len())],
            robust_margin: margin.min(inference::without_loudest(&support, self.liars)),
            domain_margin: inference::without_domain(&support, self.domains),
            survey: Rc::default(),
            decisive: Vec::new(),
            probabilities,
            obstacle,
            footprint,
            failing_groups,
            element,
        })
    }

    fn obstacle_of_parts(
        &self,
        (element, layer): (&Element, Layer),
        footprint: &BTreeSet<(crate::known::Place, Layer)>,
        support: &[f64],
        confidence: f64,
        margin: f64,
    ) -> Option<String> {
        let Settings { open_probability, robust_nats, open_nats, .. } = *self.settings;
        let accused = matches!(element.verdict(), Verdict::Aws | Verdict::Azure).then(|| element.verdict().as_str());
        if confidence < open_probability || margin < robust_nats {
            return Some(format!("{} or something else that they depend on: {confidence:.2}", element.title()));
        }
        if support.iter().sum::<f64>() < open_nats {
            return Some("insufficient data".into());
        }
        if accused.is_some() && self.fails_elsewhere_too(footprint) {
            return Some("customers' endpoints fail elsewhere too".into());
        }
        if let Some(cloud) = self.fails_on_one_cloud_alone(element, layer) {
            return Some(on_one_cloud(cloud));
        }
        let witnesses = self.witnesses(support, self.liars);
        let shortfall = self.groups.shortfall(witnesses.into_iter(), accused, self.settings)?;
        Some(format!("insufficient witnesses without the {} loudest: {shortfall}", self.liars))
    }

    /// Holds back what would be told endpoint by endpoint while a cloud may well be behind it.
    fn doubt(&self, probabilities: &Probabilities, cluster: &[usize], assessed: &mut [Assessment]) {
        if probabilities.neither >= self.settings.open_probability {
            return;
        }
        for place in cluster {
            let own = &mut assessed[*place];
            let reason = format!(
                "{} endpoints begin to fail at once: aws {:.2}, azure {:.2}, neither {:.2}",
                cluster.len(),
                probabilities.aws,
                probabilities.azure,
                probabilities.neither
            );
            own.obstacle.get_or_insert(reason);
            own.probabilities = *probabilities;
            own.gain = own.gain.max(TOLD_NATS.get());
        }
    }
}
