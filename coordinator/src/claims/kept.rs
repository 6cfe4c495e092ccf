//! Kept: what the board holds of claims: the newest of each source and party, and its history of the last 90 days.
//!
//! Rules: a fold over published claims, but for when each source was last checked and how large its crowd is, which are of
//! this moment and published only with the next claim. Everything is bounded: the oldest goes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use faultline_attribution::Timestamp;

use super::{Claim, Crowd};

/// For how long claims stay on the board. The log of changes keeps them for ever.
pub const HISTORY: Duration = Duration::from_hours(90 * 24);

/// Claims kept of one source about one party.
pub const CLAIMS: usize = 500;

/// Sources and parties kept.
pub const SOURCES: usize = 64;

/// What everybody says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<(String, String), Told>);

/// What one source says of one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Oldest first; never empty.
    claims: VecDeque<Claim>,
    /// When the source was last asked, or last pushed; `None` since a start.
    pub checked_at: Option<Timestamp>,
    /// How large the crowd was then.
    pub crowd: Option<Crowd>,
}

impl Claims {
    /// Takes a published claim in, in order.
    pub fn apply(&mut self, claim: &Claim) {
        let key = (claim.source.clone(), claim.about.clone());
        if let Some(told) = self.0.get_mut(&key) {
            told.take(claim.clone());
            return;
        }
        if self.0.len() >= SOURCES {
            let oldest = self.0.iter().min_by_key(|(_, told)| told.newest().observed_at).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
        self.0.insert(key, Told { crowd: claim.crowd, claims: VecDeque::from([claim.clone()]), checked_at: None });
    }

    /// Notes that a source was asked, or pushed, and how large its crowd is.
    pub fn checked(&mut self, source: &str, about: &str, at: Timestamp, crowd: Option<Crowd>) {
        if let Some(told) = self.0.get_mut(&(source.to_owned(), about.to_owned())) {
            told.checked_at = told.checked_at.max(Some(at));
            told.crowd = crowd.or(told.crowd);
        }
    }

    /// What a source says of a party.
    pub fn told(&self, source: &str, about: &str) -> Option<&Told> {
        self.0.get(&(source.to_owned(), about.to_owned()))
    }

    /// Everything, status pages before crowds, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Told> {
        let official = self.0.values().filter(|told| told.newest().is_official());
        official.chain(self.0.values().filter(|told| !told.newest().is_official()))
    }

    /// Whether nobody said anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Told {
    fn take(&mut self, claim: Claim) {
        self.crowd = claim.crowd;
        let since = claim.observed_at.before(HISTORY);
        self.claims.push_back(claim);
        while self.claims.len() > CLAIMS || self.claims.len() > 1 && self.claims[0].observed_at < since {
            self.claims.pop_front();
        }
    }

    /// What it says.
    pub fn newest(&self) -> &Claim {
        // Whoever makes one puts a claim in, and none takes the last one out.
        &self.claims[self.claims.len() - 1]
    }

    /// What it has said, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Claim> {
        self.claims.iter()
    }

    /// How many claims were published after that moment.
    pub fn published_after(&self, moment: Timestamp) -> usize {
        self.claims.iter().rev().take_while(|claim| claim.observed_at > moment).count()
    }
}
