//! One incident: what its life needs to remember, and the steps that it takes by itself.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{agreement::Agreement, covers};
use crate::{
    ENGINE_VERSION,
    assessment::Assessment,
    assumption::Assumption,
    change::{Change, IncidentId, Probabilities, RecordType},
    element::Element,
    explanation::Explanation,
    known::{Known, Place},
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, State, Verdict},
};

/// Numbers that moved are published this often. Source: the usual interval.
const NUMBERS: Duration = Duration::from_secs(30);

/// An onset that moved by less is the same onset. Source: onsets are told to the second.
const ONSET_MOVED: Duration = Duration::from_secs(1);

/// An onset with a wider half-width than this is worth a revision once it is twice as sharp. Source: a sixth of
/// the usual interval.
const VAGUE_ONSET_S: f64 = 5.0;

/// Share of failures in the recent span, relative to its peak, below which an incident recovers. Calibrated: `faultline-lab
/// calibrate recovered`.
pub(crate) static RECOVERED: Assumption = Assumption::new("recovered", 0.1);

/// The same of all runs, whatever the peak. Calibrated: `faultline-lab calibrate recovered-of-all`.
pub(crate) static RECOVERED_OF_ALL: Assumption = Assumption::new("recovered-of-all", 0.03);

/// An incident and what its life needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tracked {
    pub(crate) change: Change,
    pub(crate) element: Option<Element>,
    pub(crate) explanation: Explanation,
    /// Cells and layers that it explains.
    pub(crate) footprint: BTreeSet<(Place, Layer)>,
    /// The likeliest culprit is one party's own.
    pub(super) is_local: bool,
    /// The likeliest culprit is something that customers' endpoints may depend on.
    pub(super) may_be_depended_on: bool,
    /// Highest share of failures in the footprint.
    pub(super) peak: f64,
    /// Further cells that fail with it, as far as can be told through a dependency that nobody declared.
    pub(super) consequences: BTreeSet<Place>,
    pub(super) quiet_since: Option<Timestamp>,
    /// Element that would replace the published one, and for how many ticks.
    pub(super) rival: Option<(String, Agreement)>,
    /// Ticks for which another incident has explained this one.
    pub(super) shadowed: Agreement,
    /// A person took it back, and its evidence lasts.
    pub(super) is_withdrawn: bool,
    /// The newest revision as it was published.
    pub(super) published: Change,
}

impl Tracked {
    pub(super) fn new(incident: IncidentId, assessment: &Assessment, now: Timestamp) -> Self {
        let change = Change {
            r#type: RecordType::Incident,
            at: now,
            incident,
            revision: 0,
            state: State::Suspected,
            verdict: Verdict::Undetermined,
            kind: None,
            element: String::new(),
            element_kind: None,
            confidence: 0.0,
            probabilities: Probabilities::default(),
            onset_at: assessment.onset.at,
            onset_uncertainty_s: assessment.uncertainty_s(),
            regions: Vec::new(),
            layer: assessment.layer,
            failing_groups: 0,
            total_groups: 0,
            control_failing_groups: 0,
            headline: String::new(),
            suspects: Vec::new(),
            evidence: Vec::new(),
            alibis: Vec::new(),
            undetermined_reason: String::new(),
            superseded_by: String::new(),
            caveats: Vec::new(),
            opened_at: now,
            attributed_at: None,
            resolved_at: None,
            engine: ENGINE_VERSION,
            notes: Vec::new(),
            retraction_reason: String::new(),
        };
        Self {
            footprint: assessment.footprint.clone(),
            is_local: assessment.element.kind.is_local(),
            may_be_depended_on: super::is_dependency(&assessment.element),
            ..Self::of(change)
        }
    }

    /// An incident of which only what was published is known.
    pub(super) fn of(change: Change) -> Self {
        Self {
            published: change.clone(),
            change,
            element: None,
            explanation: Explanation::default(),
            footprint: BTreeSet::new(),
            is_local: false,
            may_be_depended_on: false,
            peak: 0.0,
            consequences: BTreeSet::new(),
            quiet_since: None,
            rival: None,
            shadowed: Agreement::default(),
            is_withdrawn: false,
        }
    }

    /// The newest revision as it was published.
    pub(crate) fn published(&self) -> &Change {
        &self.published
    }

    /// Whether it goes on and somebody is accused.
    pub(super) fn is_accused(&self) -> bool {
        self.change.state.is_open() && self.change.verdict != Verdict::Undetermined
    }

    /// The earliest that the onset is believed to be.
    pub(super) fn earliest_onset(&self) -> Timestamp {
        self.change.onset_at.before(Duration::from_secs_f64(self.change.onset_uncertainty_s.clamp(0.0, 3600.0)))
    }

    /// Every cell that it touches.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.footprint.iter().map(|(place, _)| *place).chain(self.consequences.iter().copied())
    }

    /// What ticks in a row agreed that this element would be named, this tick included.
    pub(super) fn rival(&mut self, element: &str, now: Timestamp) -> Agreement {
        let before = self.rival.take().filter(|(held, _)| held == element);
        let agreement = before.map(|(_, agreement)| agreement).unwrap_or_default().and(now);
        self.rival = Some((element.to_owned(), agreement));
        agreement
    }

    /// Takes over what the assessment says.
    pub(super) fn take(&mut self, assessment: &Assessment, accuse: bool, settings: &Settings, now: Timestamp) {
        let change = &mut self.change;
        if accuse {
            change.verdict = assessment.element.verdict();
            change.kind = assessment.element.neither_kind();
            assessment.element.public_name().clone_into(&mut change.element);
            change.element_kind = Some(assessment.element.kind);
            change.regions = assessment.element.regions();
            change.headline = assessment.headline();
            change.undetermined_reason.clear();
            change.suspects.clear();
            change.confidence = assessment.confidence;
            change.attributed_at.get_or_insert(now);
            if !matches!(change.state, State::Attributed | State::Recovering) {
                change.state = State::Attributed;
                change.resolved_at = None;
                self.quiet_since = None;
            }
            self.element = Some(assessment.element.clone());
        } else {
            change.headline = assessment.suspicion();
            change.undetermined_reason = assessment.obstacle.clone().unwrap_or_else(|| "not yet confirmed".into());
            change.suspects.clone_from(&assessment.suspects);
        }
        self.is_local = assessment.element.kind.is_local();
        self.may_be_depended_on = super::is_dependency(&assessment.element);
        change.probabilities = assessment.probabilities;
        change.layer = assessment.layer;
        change.failing_groups = crate::visibility::count(assessment.failing_groups.len());
        change.total_groups = assessment.total_groups;
        change.control_failing_groups = assessment.control_failing_groups;
        change.evidence.clone_from(&assessment.evidence);
        change.alibis.clone_from(&assessment.alibis);
        change.caveats.clone_from(&assessment.caveats);
        // Later, what came before the onset has left the windows, and the estimate would creep forward.
        if now.since(change.opened_at) * 2 < settings.horizon {
            change.onset_at = assessment.onset.at;
            change.onset_uncertainty_s = assessment.uncertainty_s();
        }
        self.explanation = Explanation {
            gain: assessment.gain,
            severity: assessment.severity,
            assumed_liars: assessment.survey.assumed_liars,
            robust_margin: assessment.robust_margin,
            domain_margin: assessment.domain_margin,
            suspects: assessment.suspects.clone(),
            members: assessment.survey.members.clone(),
            evidence: assessment.evidence.clone(),
            alibis: assessment.alibis.clone(),
            residuals: assessment.survey.residuals.clone(),
            caveats: assessment.caveats.clone(),
        };
    }

    /// Publishes when something changed that a person would act on, or when numbers moved and half a minute has passed.
    pub(super) fn publish_if_news(&mut self, now: Timestamp) -> Option<Change> {
        let (after, before) = (&self.change, &self.published);
        let news = after.state != before.state || after.verdict != before.verdict || after.element != before.element;
        // Of a suspicion, only that it exists is news: its numbers are about to change anyway.
        let is_accused = after.verdict != Verdict::Undetermined;
        let first_numbers = is_accused && after.alibis.len() > before.alibis.len();
        let vague = before.onset_uncertainty_s > VAGUE_ONSET_S;
        let sharper = is_accused && vague && after.onset_uncertainty_s * 2.0 < before.onset_uncertainty_s;
        let moved = after.failing_groups != before.failing_groups
            || after.onset_at.since(before.onset_at).max(before.onset_at.since(after.onset_at)) >= ONSET_MOVED
            || (after.confidence - before.confidence).abs() > 0.02;
        let due = now.since(before.at) >= NUMBERS;
        (news || first_numbers || sharper || (moved && due)).then(|| self.publish(now))
    }

    pub(super) fn publish(&mut self, now: Timestamp) -> Change {
        self.change.at = now;
        self.change.revision += 1;
        self.published = self.change.clone();
        self.change.clone()
    }

    /// Ends it as part of another incident.
    pub(super) fn supersede(&mut self, by: String, now: Timestamp) -> Change {
        self.change.state = State::Resolved;
        self.change.resolved_at = Some(now);
        self.change.superseded_by = by;
        self.publish(now)
    }

    /// Counts the ticks in which others explain this incident's failures.
    pub(super) fn shadow(&mut self, others: &[&Assessment], now: Timestamp) -> Option<Change> {
        let shadowed = others.iter().any(|other| covers(&other.footprint, &self.footprint));
        self.shadowed = if shadowed { self.shadowed.and(now) } else { Agreement::default() };
        self.rival = None;
        None
    }

    pub(super) fn may_fold_into(&self, parent: &Self) -> bool {
        self.change.verdict == Verdict::Undetermined || self.change.verdict == parent.change.verdict
    }

    /// Recovering, resolved, or back: by what its cells did in the recent span.
    pub(super) fn settle(&mut self, known: &Known, settings: &Settings, now: Timestamp) -> Option<Change> {
        if !self.change.state.is_open() {
            return None;
        }
        let (failed, runs) = self.recent(known, now.before(settings.recent));
        if runs == 0 {
            // Silence is no recovery; but what has left the catalog or the fleet will never be heard of again.
            let is_over = !self.footprint.is_empty() && self.footprint.iter().all(|(place, _)| known.is_gone(*place));
            return is_over.then(|| {
                self.change.state = State::Resolved;
                self.change.resolved_at = Some(now);
                self.change.headline =
                    "Nobody looks any more: the targets have left the catalog, or the agents the fleet.".into();
                self.publish(now)
            });
        }
        if !self.is_quiet(failed, runs) {
            self.quiet_since = None;
            if self.change.state == State::Recovering {
                self.change.state = State::Attributed;
                self.change.headline = self.change.headline.replacen(RECOVERING, "", 1);
                return Some(self.publish(now));
            }
            return None;
        }
        let since = *self.quiet_since.get_or_insert(now);
        let settled = now.since(since) >= settings.settle;
        match self.change.state {
            State::Attributed => {
                self.change.state = State::Recovering;
                self.change.headline = format!("{RECOVERING}{}", self.change.headline);
                Some(self.publish(now))
            }
            State::Recovering | State::Suspected if settled => {
                self.change.state = State::Resolved;
                self.change.resolved_at = Some(now);
                self.change.headline = match &self.element {
                    Some(element) => format!("{} has recovered.", sentence_case(&element.title())),
                    None => "What was suspected has gone away; nobody was accused.".into(),
                };
                Some(self.publish(now))
            }
            _ => None,
        }
    }

    /// Whether so few of these runs fail that it is as usual, beside the worst that was seen of it.
    pub(super) fn is_quiet(&mut self, failed: u32, runs: u32) -> bool {
        let share = f64::from(failed) / f64::from(runs.max(1));
        self.peak = self.peak.max(share);
        share <= RECOVERED_OF_ALL.get().max(RECOVERED.get() * self.peak).min(self.peak / 2.0)
    }

    /// Failures and runs in the footprint since `from`.
    pub(super) fn recent(&self, known: &Known, from: Timestamp) -> (u32, u32) {
        let (mut failed, mut runs) = (0, 0);
        for (place, layer) in &self.footprint {
            let entry = known.entry(*place);
            for sample in entry.cell.since(from) {
                if let Some(fails) = sample.is_bad_at(*layer) {
                    failed += u32::from(fails);
                    runs += 1;
                }
            }
        }
        (failed, runs)
    }
}

const RECOVERING: &str = "Recovering: ";

fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
