//! Which incidents are one: what another explains is folded into it, and what fails through a dependency opens none.

use std::collections::{BTreeMap, BTreeSet};

use super::{Incidents, covers, follows, is_dependency};
use crate::{assessment::Assessment, change::Change, known::Place, time::Timestamp};

impl Incidents {
    /// Folds incidents that another one has explained for some ticks into it.
    pub(super) fn fold(&mut self, matched: &BTreeMap<usize, Assessment>, now: Timestamp, changes: &mut Vec<Change>) {
        for place in 0..self.all.len() {
            let tracked = &self.all[place];
            if matched.contains_key(&place) || !tracked.shadowed.is_reached() || !tracked.change.state.is_open() {
                continue;
            }
            let parent = matched
                .iter()
                .filter(|(_, assessment)| covers(&assessment.footprint, &tracked.footprint))
                .map(|(parent, _)| &self.all[*parent])
                .find(|parent| parent.change.state.is_open() && tracked.may_fold_into(parent));
            if let Some(parent) = parent.map(|parent| parent.change.incident.to_string()) {
                changes.push(self.all[place].supersede(parent, now));
            }
        }
    }

    /// Folds what was told as one party's own into a wider incident that holds it.
    pub(super) fn fold_parts(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        for place in 0..self.all.len() {
            let tracked = &self.all[place];
            if !tracked.is_local || !tracked.change.state.is_open() {
                continue;
            }
            let mut wider = self.all.iter().filter(|wider| wider.may_be_depended_on && wider.is_accused());
            let parent = wider.find(|wider| {
                covers(&wider.footprint, &tracked.footprint) && !covers(&tracked.footprint, &wider.footprint)
            });
            if let Some(parent) = parent.map(|parent| parent.change.incident.to_string()) {
                changes.push(self.all[place].supersede(parent, now));
            }
        }
    }

    /// Folds endpoints that were told on their own into the incident that they turn out to fail with.
    pub(super) fn fold_consequences(
        &mut self,
        matched: &BTreeMap<usize, Assessment>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        for (place, assessment) in matched.iter().filter(|(_, assessment)| assessment.is_consequence) {
            let tracked = &self.all[*place];
            if !tracked.is_local || !tracked.change.state.is_open() {
                continue;
            }
            let mut parents = self.all.iter().filter(|parent| parent.may_be_depended_on && parent.is_accused());
            // Of what failed before the windows began, the incident remembers since when.
            let onset = tracked.change.onset_at.min(assessment.onset.at);
            let parent = parents.find(|parent| follows(parent.change.onset_at, onset));
            if let Some(parent) = parent.map(|parent| parent.change.incident.clone()) {
                let tracked = &mut self.all[*place];
                changes.push(tracked.supersede(parent.to_string(), now));
                let places: BTreeSet<Place> = tracked.places().collect();
                let parent = self.all.iter_mut().find(|tracked| tracked.change.incident == parent);
                if let Some(parent) = parent {
                    parent.consequences.extend(&places);
                }
            }
        }
    }

    /// Keeps what fails through a hidden dependency with the incident that it comes from, so that it opens nothing of its
    /// own, now or when that is over. Returns the rest.
    pub(super) fn absorb(&mut self, fresh: Vec<Assessment>) -> Vec<Assessment> {
        let causes = fresh.iter().filter(|cause| !cause.is_consequence && is_dependency(&cause.element));
        let onsets: Vec<Timestamp> = causes.map(|cause| cause.onset.at).collect();
        let mut rest = Vec::new();
        for assessment in fresh {
            let is_with = |onset: &Timestamp| follows(*onset, assessment.onset.at);
            if !assessment.is_consequence {
                rest.push(assessment);
                continue;
            }
            let mut parents = self.all.iter_mut().filter(|tracked| {
                (tracked.change.state.is_open() || tracked.is_withdrawn)
                    && tracked.may_be_depended_on
                    && is_with(&tracked.change.onset_at)
            });
            if let Some(parent) = parents.next() {
                parent.consequences.extend(assessment.footprint.iter().map(|(place, _)| *place));
            } else if !onsets.iter().any(is_with) {
                rest.push(assessment);
            }
        }
        rest
    }
}
