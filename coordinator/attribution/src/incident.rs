//! The life of incidents: suspected, attributed, recovering, resolved, retracted, with hysteresis at every step.
//!
//! Rules: nobody is accused before two ticks in a row say the same; a culprit changes within its verdict as a new
//! revision, across verdicts as a public retraction and a new incident; a fault that comes back soon is the same
//! incident; an incident that another one explains is folded into it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ENGINE_VERSION,
    assessment::Assessment,
    change::{Change, IncidentId, Probabilities, RecordType},
    element::Element,
    evidence::Place,
    explanation::Explanation,
    known::Known,
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, State, Verdict},
};

/// Ticks in a row that must agree before anything is published or changed.
const AGREEING_TICKS: u32 = 2;

/// Probability that a new verdict needs to replace a published one. Source: design notes 4.6.
const REPLACE_PROBABILITY: f64 = 0.95;

/// Share of failures in the recent span, relative to its peak, below which an incident recovers.
const RECOVERED: (f64, f64) = (0.05, 0.15);

/// An incident and what its life needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tracked {
    pub(crate) change: Change,
    pub(crate) element: Option<Element>,
    pub(crate) explanation: Explanation,
    /// Cells and layers that it explains.
    pub(crate) footprint: BTreeSet<(Place, Layer)>,
    /// Highest share of failures in the footprint.
    peak: f64,
    /// Further cells that fail with it, as far as can be told through a dependency that nobody declared.
    consequences: BTreeSet<Place>,
    quiet_since: Option<Timestamp>,
    /// Element that would replace the published one, and for how many ticks.
    rival: Option<(String, u32)>,
    /// Ticks for which another incident has explained this one.
    shadowed: u32,
    published_at: Timestamp,
}

/// All incidents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Incidents {
    pub(crate) all: Vec<Tracked>,
    /// Elements seen in the last ticks that no incident is about yet, and for how many ticks.
    pending: BTreeMap<String, (u32, u32)>,
    /// Instant and number of the last id made.
    last_id: (Timestamp, u32),
}

impl Incidents {
    /// Moves every incident on by one tick; `assessments` is empty when nothing fails. Returns the changes to publish.
    pub(crate) fn advance(
        &mut self,
        mut assessments: Vec<Assessment>,
        known: &Known,
        settings: &Settings,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        assessments.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.element.name.cmp(&b.element.name)));
        let mut matched: BTreeMap<usize, Assessment> = BTreeMap::new();
        let mut fresh = Vec::new();
        for assessment in assessments {
            match self.matching(&assessment, &matched, settings, now) {
                Some(place) => {
                    matched.insert(place, assessment);
                }
                None => fresh.push(assessment),
            }
        }
        for place in 0..self.all.len() {
            let change = match matched.get(&place) {
                Some(assessment) => self.follow(place, assessment, settings, now),
                None => self.all[place].shadow(&matched.values().collect::<Vec<_>>()),
            };
            changes.extend(change);
        }
        self.fold(&matched, now, &mut changes);
        self.absorb(&fresh);
        self.open(fresh, settings, now, &mut changes);
        for tracked in &mut self.all {
            changes.extend(tracked.settle(known, settings, now));
        }
        changes
    }

    /// Whether an open incident holds the base rate of this cell.
    pub(crate) fn freezes(&self) -> BTreeSet<Place> {
        let open = self.all.iter().filter(|tracked| tracked.change.state.is_open());
        open.flat_map(Tracked::places).collect()
    }

    /// The incident that an assessment is about: the same element, or mostly the same failures.
    fn matching(
        &self,
        assessment: &Assessment,
        taken: &BTreeMap<usize, Assessment>,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<usize> {
        let alive = |tracked: &Tracked| {
            tracked.change.state.is_open()
                || (tracked.change.state == State::Resolved
                    && tracked.change.superseded_by.is_empty()
                    && tracked.change.resolved_at.is_some_and(|at| now.since(at) <= settings.reopen))
        };
        let candidates =
            || self.all.iter().enumerate().filter(|(place, tracked)| alive(tracked) && !taken.contains_key(place));
        let same = |tracked: &Tracked| tracked.element.as_ref().is_some_and(|element| *element == assessment.element);
        candidates().find(|(_, tracked)| same(tracked)).map(|(place, _)| place).or_else(|| {
            candidates()
                .filter(|(_, tracked)| tracked.change.state.is_open())
                .find(|(_, tracked)| overlap(&tracked.footprint, &assessment.footprint) >= 0.5)
                .map(|(place, _)| place)
        })
    }

    /// Brings an incident up to date with its assessment.
    fn follow(&mut self, place: usize, assessment: &Assessment, settings: &Settings, now: Timestamp) -> Option<Change> {
        let tracked = &mut self.all[place];
        tracked.shadowed = 0;
        if !tracked.change.state.is_open() && assessment.obstacle.is_some() {
            return None; // an echo of what is over
        }
        let is_accused = tracked.change.verdict != Verdict::Undetermined;
        let verdict = assessment.element.verdict();
        let same_element = tracked.element.as_ref().is_none_or(|element| *element == assessment.element);
        if is_accused && !same_element {
            let agreed = tracked.rival_ticks(&assessment.element.name) >= AGREEING_TICKS
                && assessment.obstacle.is_none()
                && assessment.confidence >= REPLACE_PROBABILITY;
            if !agreed {
                return None;
            }
            if verdict != tracked.change.verdict {
                return Some(self.retract(place, assessment, now));
            }
        }
        let tracked = &mut self.all[place];
        tracked.footprint.extend(assessment.footprint.iter().copied());
        let before = tracked.change.clone();
        let may_accuse = assessment.obstacle.is_none();
        let accuse = if is_accused {
            true
        } else {
            may_accuse && tracked.rival_ticks(&assessment.element.name) >= AGREEING_TICKS
        };
        if !may_accuse && is_accused {
            // Weak echoes of a named fault keep its numbers; settling decides when it is over.
            return None;
        }
        tracked.take(assessment, accuse, settings, now);
        tracked.publish_if_news(&before, now)
    }

    /// Takes a wrong verdict back in public; the right one opens as an incident of its own on the next tick.
    fn retract(&mut self, place: usize, assessment: &Assessment, now: Timestamp) -> Change {
        let tracked = &mut self.all[place];
        tracked.change.state = State::Retracted;
        tracked.change.resolved_at = Some(now);
        tracked.change.headline = format!(
            "We were wrong: {} did not fail; it is {}.",
            tracked.element.as_ref().map_or_else(String::new, Element::title),
            assessment.element.title()
        );
        tracked.publish(now)
    }

    /// Folds incidents that another one has explained for some ticks into it.
    fn fold(&mut self, matched: &BTreeMap<usize, Assessment>, now: Timestamp, changes: &mut Vec<Change>) {
        for place in 0..self.all.len() {
            let tracked = &self.all[place];
            if matched.contains_key(&place) || tracked.shadowed < AGREEING_TICKS || !tracked.change.state.is_open() {
                continue;
            }
            let parent = matched
                .iter()
                .filter(|(_, assessment)| covers(&assessment.footprint, &tracked.footprint))
                .map(|(parent, _)| &self.all[*parent])
                .find(|parent| parent.change.state.is_open() && tracked.may_fold_into(parent));
            if let Some(parent) = parent.map(|parent| parent.change.incident.to_string()) {
                let tracked = &mut self.all[place];
                tracked.change.state = State::Resolved;
                tracked.change.resolved_at = Some(now);
                tracked.change.superseded_by = parent;
                changes.push(tracked.publish(now));
            }
        }
    }

    /// Keeps what fails through a hidden dependency with the incidents it may come from, so that it opens nothing of its
    /// own once they are over.
    fn absorb(&mut self, fresh: &[Assessment]) {
        let places: BTreeSet<Place> = fresh
            .iter()
            .filter(|assessment| assessment.is_consequence)
            .flat_map(|assessment| assessment.footprint.iter().map(|(place, _)| *place))
            .collect();
        for tracked in self.all.iter_mut().filter(|tracked| tracked.change.state.is_open()) {
            tracked.consequences.extend(&places);
        }
    }

    /// Opens incidents for what has been assessed for long enough.
    fn open(&mut self, fresh: Vec<Assessment>, settings: &Settings, now: Timestamp, changes: &mut Vec<Change>) {
        let mut pending = BTreeMap::new();
        for assessment in fresh {
            if assessment.is_consequence {
                continue;
            }
            let name = assessment.element.name.clone();
            let (seen, agreed) = self.pending.get(&name).copied().unwrap_or_default();
            let agreed = if assessment.obstacle.is_none() { agreed + 1 } else { 0 };
            let accuse = agreed >= AGREEING_TICKS;
            let suspect = assessment.gain >= settings.suspect_nats && seen + 1 >= AGREEING_TICKS;
            if !accuse && !suspect {
                pending.insert(name, (seen + 1, agreed));
                continue;
            }
            let n = if self.last_id.0.basic() == now.basic() { self.last_id.1 + 1 } else { 1 };
            self.last_id = (now, n);
            let mut tracked = Tracked::new(IncidentId::new(now, n), &assessment, now);
            tracked.rival = Some((name, agreed));
            tracked.take(&assessment, accuse, settings, now);
            changes.push(tracked.publish(now));
            self.all.push(tracked);
        }
        self.pending = pending;
    }
}

impl Tracked {
    fn new(incident: IncidentId, assessment: &Assessment, now: Timestamp) -> Self {
        Self {
            change: Change {
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
            },
            element: None,
            explanation: Explanation::default(),
            footprint: assessment.footprint.clone(),
            peak: 0.0,
            consequences: BTreeSet::new(),
            quiet_since: None,
            rival: None,
            shadowed: 0,
            published_at: now,
        }
    }

    /// Every cell that it touches.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.footprint.iter().map(|(place, _)| *place).chain(self.consequences.iter().copied())
    }

    /// How many ticks in a row this element has been the one that would be named, this tick included.
    fn rival_ticks(&mut self, element: &str) -> u32 {
        let ticks = match &self.rival {
            Some((held, ticks)) if held == element => ticks.saturating_add(1),
            _ => 1,
        };
        self.rival = Some((element.to_owned(), ticks));
        ticks
    }

    /// Takes over what the assessment says.
    fn take(&mut self, assessment: &Assessment, accuse: bool, settings: &Settings, now: Timestamp) {
        let change = &mut self.change;
        if accuse {
            change.verdict = assessment.element.verdict();
            change.kind = assessment.element.neither_kind();
            change.element.clone_from(&assessment.element.name);
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
            robust_margin: assessment.robust_margin,
            suspects: assessment.suspects.clone(),
            evidence: assessment.evidence.clone(),
            alibis: assessment.alibis.clone(),
            caveats: assessment.caveats.clone(),
        };
    }

    /// Publishes when something changed that a person would act on, or when numbers moved and half a minute has passed.
    fn publish_if_news(&mut self, before: &Change, now: Timestamp) -> Option<Change> {
        let after = &self.change;
        let news = after.state != before.state || after.verdict != before.verdict || after.element != before.element;
        let first_numbers = after.alibis.len() > before.alibis.len();
        let sharper = after.onset_uncertainty_s * 2.0 < before.onset_uncertainty_s;
        let moved = after.failing_groups != before.failing_groups
            || after.onset_at != before.onset_at
            || (after.confidence - before.confidence).abs() > 0.02;
        let due = now.since(self.published_at) >= std::time::Duration::from_secs(30);
        if news || first_numbers || sharper || (moved && due) {
            return Some(self.publish(now));
        }
        // What is shown stays what was published, numbers included.
        self.change.at = before.at;
        None
    }

    fn publish(&mut self, now: Timestamp) -> Change {
        self.change.at = now;
        self.change.revision += 1;
        self.published_at = now;
        self.change.clone()
    }

    /// Counts the ticks in which others explain this incident's failures.
    fn shadow(&mut self, others: &[&Assessment]) -> Option<Change> {
        let shadowed = others.iter().any(|other| covers(&other.footprint, &self.footprint));
        self.shadowed = if shadowed { self.shadowed.saturating_add(1) } else { 0 };
        self.rival = None;
        None
    }

    fn may_fold_into(&self, parent: &Self) -> bool {
        self.change.verdict == Verdict::Undetermined || self.change.verdict == parent.change.verdict
    }

    /// Recovering, resolved, or back: by what its cells did in the recent span.
    fn settle(&mut self, known: &Known, settings: &Settings, now: Timestamp) -> Option<Change> {
        if !self.change.state.is_open() {
            return None;
        }
        let (failed, runs) = self.recent(known, now.before(settings.recent));
        if runs == 0 {
            return None; // nobody looks: silence is no recovery
        }
        let share = f64::from(failed) / f64::from(runs);
        self.peak = self.peak.max(share);
        let quiet = share <= RECOVERED.0.max(RECOVERED.1 * self.peak).min(self.peak / 2.0);
        if !quiet {
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

    /// Failures and runs in the footprint since `from`.
    fn recent(&self, known: &Known, from: Timestamp) -> (u32, u32) {
        let (mut failed, mut runs) = (0, 0);
        for (place, layer) in &self.footprint {
            let Some(cell) = known.cell(*place) else { continue };
            for sample in cell.samples().rev().take_while(|sample| sample.at >= from) {
                if let Some(fails) = sample.failed_at(*layer) {
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

/// Share of the smaller set that both hold.
fn overlap(a: &BTreeSet<(Place, Layer)>, b: &BTreeSet<(Place, Layer)>) -> f64 {
    let smaller = a.len().min(b.len());
    if smaller == 0 {
        return 0.0;
    }
    f64::from(crate::visibility::count(a.intersection(b).count())) / f64::from(crate::visibility::count(smaller))
}

/// Whether `a` holds four fifths of `b`.
fn covers(a: &BTreeSet<(Place, Layer)>, b: &BTreeSet<(Place, Layer)>) -> bool {
    !b.is_empty() && a.intersection(b).count() * 5 >= b.len() * 4
}
