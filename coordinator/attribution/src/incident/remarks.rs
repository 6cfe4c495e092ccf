//! What people say of incidents: notes beside them, and that they are taken back.
//!
//! Rules: a note is told and changes nothing else (`a_note_changes_nothing_but_what_is_told`). What was taken back does not
//! open again while its evidence lasts: an assessment of the same element of which at least half of the failures are those
//! that were withdrawn, or of the same cloud by another name that rests on them alone, is laid to it. Failures that join it
//! bit by bit are withdrawn with it; many that come at once are a fault of their own, and told. Once its failures were gone
//! for as long as an incident takes to be resolved, the withdrawal is over.

use super::{Incidents, Tracked, covers};
use crate::{
    assessment::Assessment,
    change::{Change, MAX_NOTES, Note},
    element::Element,
    engine::{Output, Remark, Saying},
    known::{Known, Place},
    settings::Settings,
    time::Timestamp,
    vocabulary::{State, Verdict},
};

/// Incidents whose withdrawal is in force, at most: the oldest ends for a newer one. Source: a person writes a reason for
/// each.
const WITHDRAWN: usize = 256;

impl Incidents {
    /// Takes in what a person said; it is told at the next tick.
    pub(crate) fn remark(&mut self, remark: &Remark) {
        self.remarks.push(remark.clone());
    }

    /// Tells what people said since the last tick.
    pub(crate) fn hear(&mut self, now: Timestamp) -> Vec<Output> {
        let mut changes: Vec<Change> = Vec::new();
        for Remark { of, saying } in std::mem::take(&mut self.remarks) {
            let held = self.all.iter_mut().find(|tracked| tracked.change.incident == of.incident);
            if let Some(tracked) = held {
                changes.extend(tracked.hear(of.revision, saying, now));
            } else {
                // It ended long ago, or the log no longer holds what it came from.
                let newest = changes.iter().rev().find(|change| change.incident == of.incident);
                let mut tracked = Tracked::of(newest.cloned().unwrap_or(of));
                changes.extend(tracked.hear(0, saying, now));
                if tracked.is_withdrawn {
                    self.all.push(tracked);
                }
            }
        }
        let withdrawn = self.all.iter().filter(|tracked| tracked.is_withdrawn).count();
        let oldest = self.all.iter_mut().filter(|tracked| tracked.is_withdrawn);
        oldest.take(withdrawn.saturating_sub(WITHDRAWN)).for_each(|tracked| tracked.is_withdrawn = false);
        changes.into_iter().map(|change| Output::Change(Box::new(change))).collect()
    }

    /// Whether an assessment says again what a person took back, on the same evidence.
    pub(super) fn is_taken_back(&mut self, assessment: &Assessment) -> bool {
        let mut withdrawn = self.all.iter_mut().filter(|tracked| tracked.is_withdrawn);
        let Some(tracked) = withdrawn.find(|tracked| tracked.is_said_again(assessment)) else { return false };
        tracked.footprint.extend(assessment.footprint.iter().copied());
        true
    }

    /// Ends withdrawals whose evidence is gone. Returns the cells whose failures they explain.
    pub(crate) fn end_withdrawals(&mut self, known: &Known, settings: &Settings, now: Timestamp) -> Vec<Place> {
        let mut explained = Vec::new();
        for tracked in self.all.iter_mut().filter(|tracked| tracked.is_withdrawn) {
            if tracked.has_lost_its_evidence(known, settings, now) {
                tracked.is_withdrawn = false;
                explained.extend(tracked.places());
                tracked.footprint.clear();
            }
        }
        explained
    }
}

impl Tracked {
    /// Tells what a person said of it, when at least the revision `seen` was published; `None` where nothing is to be told.
    fn hear(&mut self, seen: u64, saying: Saying, now: Timestamp) -> Option<Change> {
        match saying {
            Saying::Note { .. } if self.change.notes.len() >= MAX_NOTES => return None,
            Saying::Note { text, link } => self.change.notes.push(Note { at: now, text, link }),
            Saying::Retraction { .. } if self.change.state == State::Retracted => return None,
            Saying::Retraction { reason } => {
                self.is_withdrawn = self.change.state.is_open();
                self.quiet_since = None;
                let change = &mut self.change;
                change.headline = format!("A person says that {}: {reason}", wrong(change, self.element.as_ref()));
                change.state = State::Retracted;
                change.resolved_at.get_or_insert(now);
                change.retraction_reason = reason;
            }
        }
        self.change.revision = self.change.revision.max(seen);
        Some(self.publish(now))
    }

    /// Whether an assessment says what this one said, on the same evidence.
    fn is_said_again(&self, assessment: &Assessment) -> bool {
        let element = &assessment.element;
        let is_suspected = |name: &str| self.change.suspects.iter().any(|suspect| suspect.element == name);
        let is_named = match &self.element {
            Some(own) => own == element,
            None => self.change.element == element.public_name() || is_suspected(element.public_name()),
        };
        let shared = self.footprint.intersection(&assessment.footprint).count();
        let is_mostly_it = self.footprint.is_empty() || shared * 2 >= assessment.footprint.len();
        let is_of_its_party = match self.change.verdict {
            Verdict::Undetermined => true,
            Verdict::Neither => false,
            cloud => element.verdict() == cloud,
        };
        (is_named && is_mostly_it) || (is_of_its_party && covers(&self.footprint, &assessment.footprint))
    }

    /// Whether its failures have been gone for long enough.
    fn has_lost_its_evidence(&mut self, known: &Known, settings: &Settings, now: Timestamp) -> bool {
        let (failed, runs) = self.recent(known, now.before(settings.recent));
        if runs == 0 && !self.footprint.is_empty() {
            // Silence says nothing; but what has left the catalog or the fleet will never be heard of again.
            return self.footprint.iter().all(|(place, _)| known.is_gone(*place));
        }
        if !self.is_quiet(failed, runs) {
            self.quiet_since = None;
            return false;
        }
        now.since(*self.quiet_since.get_or_insert(now)) >= settings.settle
    }
}

/// What was wrong about it.
fn wrong(change: &Change, element: Option<&Element>) -> String {
    match element {
        Some(element) => format!("{} was not at fault", element.title()),
        None if change.element.is_empty() => "nothing was wrong".into(),
        None => format!("{} was not at fault", change.element),
    }
}
