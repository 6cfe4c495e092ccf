//! The life of incidents: suspected, attributed, recovering, resolved, retracted, with hysteresis at every step.
//!
//! Rules: nobody is accused before two ticks in a row say the same; a culprit changes within its verdict as a new
//! revision, across verdicts as a public retraction and a new incident; a fault that comes back soon is the same
//! incident; an incident that another one explains is folded into it; what a person took back stays so while its evidence
//! lasts.

mod agreement;
mod folding;
mod remarks;
mod tracked;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::agreement::Agreement;
pub(crate) use self::tracked::{RECOVERED, RECOVERED_OF_ALL, Tracked};
use crate::{
    assessment::Assessment,
    assumption::Assumption,
    change::{Change, IncidentId},
    element::{Element, ElementKind},
    engine::{Output, Remark},
    known::{Known, Place},
    settings::Settings,
    time::Timestamp,
    vocabulary::{Layer, State, Verdict},
};

/// Seconds that one party's own trouble waits before it is told: in one run two dependants of a service were told 3 and 4 s
/// before it. Calibrated: `faultline-lab calibrate local-wait-s`.
pub(crate) static LOCAL_WAIT_S: Assumption = Assumption::new("local-wait-s", 6.0);

/// The same for a carrier's way to one place: other carriers' ways there may show a little later, and it is the place's
/// edge then. And for a path: at first a network that is cut off seems to get through to some. Source: half of the usual
/// interval.
const WAY_WAIT: Duration = Duration::from_secs(15);

/// Incidents are kept for this long after their end, so that they can still be explained. Source: a day,
/// within which people ask.
const KEPT: Duration = Duration::from_hours(24);

/// Probability that a new verdict needs to replace a published one. Source: design notes 4.6.
const REPLACE_PROBABILITY: f64 = 0.95;

/// All incidents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Incidents {
    pub(crate) all: Vec<Tracked>,
    /// Elements seen in the last ticks that no incident is about yet.
    pending: BTreeMap<String, Pending>,
    /// Instant and number of the last id made.
    last_id: (Timestamp, u32),
    /// What people said since the last tick.
    remarks: Vec<Remark>,
}

/// What is about to be said of an element.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Pending {
    /// Searches in a row that found it, and that would have accused it.
    seen: Agreement,
    agreed: Agreement,
    /// When it was first found.
    since: Timestamp,
    /// It is worth the public's attention already, but for the agreement.
    is_telling: bool,
}

impl Incidents {
    /// Regions of clouds that were accused of something, as long as incidents are kept.
    pub(crate) fn shaken(&self) -> BTreeSet<String> {
        let is_accused = |tracked: &&Tracked| {
            tracked.change.state != State::Retracted && matches!(tracked.change.verdict, Verdict::Aws | Verdict::Azure)
        };
        let accused = self.all.iter().filter(is_accused).filter_map(|tracked| tracked.element.as_ref());
        accused.flat_map(Element::regions).collect()
    }

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
            if self.is_taken_back(&assessment) || self.is_part_of_what_is_told(&assessment) {
                continue;
            }
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
                None => self.all[place].shadow(&matched.values().collect::<Vec<_>>(), now),
            };
            changes.extend(change);
        }
        self.fold(&matched, now, &mut changes);
        self.fold_parts(now, &mut changes);
        self.fold_consequences(&matched, now, &mut changes);
        let fresh = self.absorb(fresh);
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
        self.all.retain(|tracked| {
            tracked.is_withdrawn || tracked.change.resolved_at.is_none_or(|at| now.since(at) <= KEPT)
        });
    }

    /// Whether any incident goes on.
    pub(crate) fn any_open(&self) -> bool {
        self.all.iter().any(|tracked| tracked.change.state.is_open())
    }

    /// Whether something would be said if the next search agreed.
    pub(crate) fn any_pending(&self) -> bool {
        self.pending.values().any(|pending| pending.is_telling)
    }

    /// Whether an incident that goes on, and is not about one party's own, was opened or attributed within this span.
    pub(crate) fn any_young(&self, now: Timestamp, span: Duration) -> bool {
        let open = self.all.iter().filter(|tracked| tracked.change.state.is_open() && !tracked.is_local);
        open.map(|tracked| &tracked.change)
            .any(|change| now.since(change.attributed_at.unwrap_or(change.opened_at)) < span)
    }

    /// The cells that incidents touch which are open or withdrawn, with the earliest onset of those that do.
    pub(crate) fn freezes(&self) -> BTreeMap<Place, Timestamp> {
        let mut frozen = BTreeMap::new();
        for tracked in self.all.iter().filter(|tracked| tracked.change.state.is_open() || tracked.is_withdrawn) {
            let onset = tracked.earliest_onset();
            for place in tracked.places() {
                let held = frozen.entry(place).or_insert(onset);
                *held = onset.min(*held);
            }
        }
        frozen
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

    /// Whether it is one party's own or some vantages' trouble, and part of what a wider incident accuses somebody of: no other
    /// culprit, and nothing new.
    fn is_part_of_what_is_told(&self, assessment: &Assessment) -> bool {
        let kind = assessment.element.kind;
        (kind.is_local() || kind.is_vantage_side())
            && self.all.iter().filter(|wider| wider.may_be_depended_on && wider.is_accused()).any(|wider| {
                covers(&wider.footprint, &assessment.footprint) && !covers(&assessment.footprint, &wider.footprint)
            })
    }

    /// Brings an incident up to date with its assessment.
    fn follow(&mut self, place: usize, assessment: &Assessment, settings: &Settings, now: Timestamp) -> Option<Change> {
        let tracked = &mut self.all[place];
        tracked.shadowed = Agreement::default();
        if !tracked.change.state.is_open() && assessment.obstacle.is_some() {
            return None; // an echo of what is over
        }
        let is_accused = tracked.change.verdict != Verdict::Undetermined;
        let verdict = assessment.element.verdict();
        let same_element = tracked.element.as_ref().is_none_or(|element| *element == assessment.element);
        if is_accused && !same_element {
            let agreed = tracked.rival(&assessment.element.name, now).is_reached()
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
            may_accuse
                && tracked.rival(&assessment.element.name, now).is_reached()
                && now.since(tracked.change.opened_at) >= wait(assessment)
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

    /// Opens incidents for what has been assessed for long enough.
    fn open(&mut self, fresh: Vec<Assessment>, settings: &Settings, now: Timestamp, changes: &mut Vec<Change>) {
        let mut pending = BTreeMap::new();
        for assessment in fresh {
            let name = assessment.element.name.clone();
            let before = self.pending.get(&name).copied().unwrap_or(Pending { since: now, ..Pending::default() });
            let is_suspect = assessment.gain >= settings.suspect_nats && assessment.is_public();
            let agreed = if assessment.obstacle.is_none() { before.agreed.and(now) } else { Agreement::default() };
            let (seen, since) = (before.seen.and(now), before.since);
            let has_waited = now.since(since) >= wait(&assessment);
            let accuse = agreed.is_reached() && has_waited;
            let suspect = is_suspect && seen.is_reached() && has_waited;
            if !(accuse || suspect) {
                pending.insert(name, Pending { seen, agreed, since, is_telling: is_suspect || agreed.is_begun() });
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

/// Whether customers' endpoints may depend on it.
pub(crate) fn is_dependency(element: &Element) -> bool {
    !element.kind.is_local() && !element.kind.is_vantage_side()
}

/// Whether two onsets are close enough for one to follow from the other. Source: design notes 4.3: two intervals of 30 s.
pub(crate) fn together(one: Timestamp, other: Timestamp) -> bool {
    one.since(other).max(other.since(one)) <= Duration::from_mins(1)
}

/// Whether what began at `effect` may follow from what began at `cause`: an estimated onset may lie some seconds off.
fn follows(cause: Timestamp, effect: Timestamp) -> bool {
    together(cause, effect) && cause.since(effect) <= Duration::from_secs(15)
}

/// For how long an element must stand before it is accused: what fails through a dependency, or on the way to a cloud,
/// shows before the dependency or the other ways do.
fn wait(assessment: &Assessment) -> Duration {
    match assessment.element.kind {
        ElementKind::Interconnect | ElementKind::Path => WAY_WAIT,
        kind if kind.is_local() || kind.is_vantage_side() || assessment.is_part => {
            Duration::from_secs_f64(LOCAL_WAIT_S.get())
        }
        _ => Duration::ZERO,
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
