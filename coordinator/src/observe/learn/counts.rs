//! Counts: how many agents vote for what, kept as votes change; and who wins.
//!
//! Rule: a vote that changes costs what there are different votes, however many agents there are. A fleet that connects at
//! once votes as often as it has agents and targets.

use std::{collections::BTreeMap, sync::Arc};

use super::{Front, Shown, Vote, Word};

/// How many agents vote for what, field by field. Rule: always the sum of [`Seen::votes`] over all agents (test
/// `votes_are_counted_as_they_change`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) fronts: BTreeMap<Front, usize>,
    pub(super) regions: BTreeMap<Shown<Arc<str>>, usize>,
    pub(super) operators: BTreeMap<Shown<Word>, usize>,
    pub(super) issuers: BTreeMap<Arc<str>, usize>,
}

impl Counts {
    /// Counts an agent's votes.
    pub(super) fn add(&mut self, votes: &Vote) {
        add(&mut self.fronts, votes.front.as_ref());
        add(&mut self.regions, votes.region.as_ref());
        add(&mut self.operators, votes.operator.as_ref());
        add(&mut self.issuers, votes.issuer.as_ref());
    }

    /// Takes votes that were counted off again.
    pub(super) fn remove(&mut self, votes: &Vote) {
        remove(&mut self.fronts, votes.front.as_ref());
        remove(&mut self.regions, votes.region.as_ref());
        remove(&mut self.operators, votes.operator.as_ref());
        remove(&mut self.issuers, votes.issuer.as_ref());
    }
}

fn add<T: Ord + Clone>(counts: &mut BTreeMap<T, usize>, vote: Option<&T>) {
    let Some(vote) = vote else { return };
    match counts.get_mut(vote) {
        Some(count) => *count += 1,
        None => drop(counts.insert(vote.clone(), 1)),
    }
}

fn remove<T: Ord>(counts: &mut BTreeMap<T, usize>, vote: Option<&T>) {
    let Some(vote) = vote else { return };
    if let Some(count) = counts.get_mut(vote) {
        *count -= 1;
        if *count == 0 {
            counts.remove(vote);
        }
    }
}

/// How many must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// More than half; half for a change, and to stay.
    Half,
    /// At least nine of ten.
    NineTenths,
}

/// What is learned of one field.
pub(super) fn elect<T: Ord + Clone>(
    counts: &BTreeMap<T, usize>,
    current: Option<&T>,
    changed: Option<&T>,
    share: Share,
) -> Option<T> {
    let all: usize = counts.values().sum();
    let count = |value: &T| counts.get(value).copied().unwrap_or_default();
    let has_half = |value: &&T| count(value) > 0 && count(value) * 2 >= all;
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(value, count)| (value, *count));
    if share == Share::NineTenths {
        return most.filter(|(_, count)| count * 10 >= all * 9).map(|(value, _)| value.clone());
    }
    let majority = most.filter(|(_, count)| count * 2 > all).map(|(value, _)| value);
    changed.filter(has_half).or(majority).or_else(|| current.filter(has_half)).cloned()
}
