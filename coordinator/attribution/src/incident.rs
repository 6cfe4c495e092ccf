//! The life of incidents: suspected, attributed, recovering, resolved, retracted, with hysteresis at every step.
//!
//! Rules: nobody is accused before two ticks in a row say the same; a culprit changes within its verdict as a new
//! revision, across verdicts as a public retraction and a new incident; a fault that comes back soon is the same
//! incident; an incident that another one explains is folded into it.

mod tracked;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub(crate) use self::tracked::Tracked;
use crate::{
    assessment::Assessment,
    change::{Change, IncidentId},
    element::Element,
    engine::Output,
    known::{Known, Place},
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, State, Verdict},
};

/// Ticks in a row that must agree before anything is published or changed.
const AGREEING_TICKS: u32 = 2;

/// Incidents are kept for this long after their end, so that they can still be explained.
const KEPT: Duration = Duration::from_hours(24);

/// Probability that a new verdict needs to replace a published one. Source: design notes 4.6.
const REPLACE_PROBABILITY: f64 = 0.95;

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
    /// Takes in what a search found; empty when nothing fails.
    pub(crate) fn assess(
        &mut self,
        mut assessments: Vec<Assessment>,
        settings: &Settings,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
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
        outputs.extend(changes.into_iter().map(|change| Output::Change(Box::new(change))));
    }

    /// Nothing was worth a search: what was about to be suspected is not.
    pub(crate) fn nothing(&mut self) {
        self.pending.clear();
    }

    /// Moves every incident on towards its end, by what its cells did lately.
    pub(crate) fn settle(&mut self, known: &Known, settings: &Settings, now: Timestamp, outputs: &mut Vec<Output>) {
        let changes = self.all.iter_mut().filter_map(|tracked| tracked.settle(known, settings, now));
        outputs.extend(changes.map(|change| Output::Change(Box::new(change))));
        // What ended long ago lives on in what was published.
        self.all.retain(|tracked| tracked.change.resolved_at.is_none_or(|at| now.since(at) <= KEPT));
    }

    /// Whether any incident goes on.
    pub(crate) fn any_open(&self) -> bool {
        self.all.iter().any(|tracked| tracked.change.state.is_open())
    }

    /// Whether an incident that goes on, and is not about one party's own, was opened or attributed within this span.
    pub(crate) fn any_young(&self, now: Timestamp, span: Duration) -> bool {
        let open = self.all.iter().filter(|tracked| tracked.change.state.is_open() && !tracked.is_local);
        open.map(|tracked| &tracked.change)
            .any(|change| now.since(change.attributed_at.unwrap_or(change.opened_at)) < span)
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
        tracked.publish_if_news(now)
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
