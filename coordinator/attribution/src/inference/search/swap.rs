//! Second thoughts: members that others replace, that are told one by one, or that stand in the way of a better set.

use std::collections::BTreeMap;

use super::{Gain, Search};
use crate::{
    element::ElementKind,
    inference::{MAX_FAR, MIN_GAIN, Severities},
};

/// A member that was taken out, with what was known while it was in.
pub(in crate::inference) struct Taken {
    pub(in crate::inference) severities: Severities,
    place: usize,
    gains: Vec<Option<Gain>>,
    in_place_of: BTreeMap<usize, Vec<(usize, f64)>>,
}

impl Search<'_> {
    /// Replaces or drops members while that explains better. Ends: each swap raises the score, and rounds are bounded.
    pub(in crate::inference) fn swap(&mut self) {
        for _ in 0..3 {
            let before: Vec<usize> = self.members.iter().map(|(element, _)| *element).collect();
            let mut is_same = true;
            for element in before.into_iter().rev() {
                is_same &= self.swap_one(element);
            }
            if is_same {
                break;
            }
        }
        self.retry();
    }

    /// Bars members that others depend on, one after the other, and grows the rest anew: two culprits may explain better
    /// what one that they share has been taken for. Keeps what explains more, unless it takes so many in its place that
    /// nothing is understood: each with a share of its own, they always fit a little better.
    fn retry(&mut self) {
        let shared: Vec<usize> =
            self.members.iter().map(|(element, _)| *element).filter(|element| self.is_shared(*element)).collect();
        for element in shared {
            let held = self.clone();
            let score = self.score();
            if self.take(element).is_none() {
                continue;
            }
            self.barred = Some(element);
            self.grow();
            self.barred = None;
            let is_held = |(element, _): &&(usize, Severities)| held.is_member(*element);
            let instead = self.members.len() - self.members.iter().filter(is_held).count();
            if self.score() <= score + 0.5 || instead > MAX_FAR {
                *self = held;
            }
        }
    }

    /// Whether the member stays.
    fn swap_one(&mut self, element: usize) -> bool {
        let together = self.score();
        let Some(taken) = self.take(element) else { return true };
        let held = self.value(element);
        if self.is_near(element) && self.kind(element) != ElementKind::Agent && self.split(element, together) {
            return false;
        }
        if !self.is_near(element) {
            let values = self.related_values(element);
            let others = values.iter().filter(|(other, _)| *other != element);
            // The first in order of name where two are equal.
            let best = others.fold(None, |best: Option<(usize, f64)>, (other, value)| {
                if best.is_none_or(|(_, held)| *value > held) { Some((*other, *value)) } else { best }
            });
            if let Some((better, _)) = best.filter(|(_, value)| *value > (held + 0.5).max(MIN_GAIN.get())) {
                let its_severities = self.gain(better).1;
                self.add(better, its_severities);
                return false;
            }
            if held > 0.0 {
                self.put_back(element, taken);
                self.in_place_of.insert(element, values);
                return true;
            }
        }
        if held > 0.0 {
            self.put_back(element, taken);
        }
        held > 0.0
    }

    /// Tells the trouble of an element on the agents' side, which was just taken out, as that of its agents one by one, where
    /// that explains at least as well: on a bad day some of them are in trouble at the same time.
    fn split(&mut self, element: usize, together: f64) -> bool {
        let mut agents: Vec<(usize, f64)> = self.related_values(element);
        agents.retain(|(agent, _)| self.kind(*agent) == ElementKind::Agent);
        agents.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut added = Vec::new();
        for (agent, _) in agents {
            if self.value(agent) > 0.0 {
                let severities = self.gain(agent).1;
                self.add(agent, severities);
                added.push(agent);
            }
        }
        if self.score() >= together {
            return true;
        }
        for agent in added {
            if let Some(place) = self.members.iter().position(|(member, _)| *member == agent) {
                self.remove(place);
            }
        }
        false
    }

    /// Candidates that could stand in the place of an element that was just taken out, with what they would gain.
    pub(in crate::inference) fn related_values(&mut self, element: usize) -> Vec<(usize, f64)> {
        self.related(element).into_iter().map(|other| (other, self.value(other))).collect()
    }

    /// The same for a member, where the last round of swaps found it.
    pub(in crate::inference) fn found_in_place_of(&self, element: usize) -> Option<Vec<(usize, f64)>> {
        self.in_place_of.get(&element).cloned()
    }

    /// Takes a member out for a moment: [`Search::put_back`] makes everything as it was.
    pub(in crate::inference) fn take(&mut self, element: usize) -> Option<Taken> {
        let place = self.members.iter().position(|(member, _)| *member == element)?;
        let (gains, in_place_of) = (self.gains.clone(), std::mem::take(&mut self.in_place_of));
        let (_, severities) = self.remove(place);
        Some(Taken { severities, place, gains, in_place_of })
    }

    /// Puts back what was taken.
    pub(in crate::inference) fn put_back(&mut self, element: usize, taken: Taken) {
        self.add(element, taken.severities);
        let member = self.members.pop();
        self.members.splice(taken.place..taken.place, member);
        (self.gains, self.in_place_of) = (taken.gains, taken.in_place_of);
    }
}
