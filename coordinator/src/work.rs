//! Planned work: what operators say will be worked on, and when, so that whoever looks at an incident sees that somebody was
//! at it.
//!
//! Rules: as a claim, it is never an input: it goes into the feed and onto the board, never into the log of records
//! (`no_claim_changes_a_verdict`). It is announced and called off, never changed: a new one takes its
//! place. Whether it has begun or ended follows from the time, and no change says so. [`Plan`] is what the board holds; pure.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::{Change, Timestamp};
use serde::{Deserialize, Serialize};

use crate::feed::filter;

/// For how long work that has ended stays on the board, and how long ago one may have ended that is announced. The log of
/// changes keeps it for ever.
pub const HISTORY: Duration = Duration::from_hours(90 * 24);

/// Works that have not ended, at most.
pub const UNFINISHED: usize = 100;

/// Works on the board, at most; those that ended first go first.
const KEPT: usize = 1000;

/// Elements that one may name.
pub const ELEMENTS: usize = 20;

/// The longest that one may last.
pub const LONGEST: Duration = Duration::from_hours(31 * 24);

/// How far ahead one may begin.
pub const AHEAD: Duration = Duration::from_hours(366 * 24);

/// Work that ended is told of in pictures of the present for this long.
const RECENT: Duration = Duration::from_hours(24);

/// Work that an operator announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedWork {
    /// Which: `work-20261127T064100Z-1`.
    pub id: String,
    /// When it was announced.
    pub announced_at: Timestamp,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// What will be done, as plain text.
    pub text: String,
    /// Where to read more; empty, http or https.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// What it touches, as in `aws/us-east-1`; empty where that is not said.
    #[serde(default)]
    pub elements: Vec<String>,
    /// When it was called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// Why it was called off.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cancel_reason: String,
}

/// How far work is. The words are Statuspage's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has not begun.
    Scheduled,
    /// It goes on.
    InProgress,
    /// It has ended.
    Completed,
    /// It was called off.
    Cancelled,
}

impl Stage {
    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl PlannedWork {
    /// How far it is.
    pub fn stage(&self, now: Timestamp) -> Stage {
        if self.cancelled_at.is_some() {
            Stage::Cancelled
        } else if now < self.starts_at {
            Stage::Scheduled
        } else if now < self.ends_at {
            Stage::InProgress
        } else {
            Stage::Completed
        }
    }

    /// When it was over: it ended, or was called off.
    pub fn over_at(&self) -> Timestamp {
        self.cancelled_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    /// Whether it was at work at any moment of that time.
    pub fn lasted_in(&self, from: Timestamp, to: Timestamp) -> bool {
        self.starts_at < self.over_at() && self.starts_at <= to && self.over_at() > from
    }

    /// Whether it may have to do with an incident: it went on meanwhile, and the incident touches an element that it names, or
    /// it names none.
    pub fn is_beside(&self, change: &Change, now: Timestamp) -> bool {
        let touches = |element: &String| filter::touches(element, change);
        self.lasted_in(change.onset_at, change.resolved_at.unwrap_or(now))
            && (self.elements.is_empty() || self.elements.iter().any(touches))
    }

    /// Whether a picture of the present tells of it: it has not ended, or did so in the last day.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.over_at()) <= RECENT
    }
}

/// What the board holds of planned work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(BTreeMap<String, PlannedWork>);

impl Plan {
    /// Takes what was published in, in order.
    pub fn apply(&mut self, work: &PlannedWork, published_at: Timestamp) {
        self.0.insert(work.id.clone(), work.clone());
        let since = published_at.before(HISTORY);
        self.0.retain(|_, held| held.over_at() >= since || held.id == work.id);
        while self.0.len() > KEPT {
            let first = self.0.values().min_by_key(|held| held.over_at()).map(|held| held.id.clone());
            first.map(|id| self.0.remove(&id));
        }
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<&PlannedWork> {
        self.0.get(id)
    }

    /// All of them, by when they begin.
    pub fn all(&self) -> Vec<&PlannedWork> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by_key(|work| (work.starts_at, &work.id));
        all
    }

    /// Those that a picture of the present tells of, by when they begin.
    pub fn recent(&self, now: Timestamp) -> impl Iterator<Item = &PlannedWork> {
        self.all().into_iter().filter(move |work| work.is_recent(now))
    }

    /// Those that went on at any moment of that time, by when they begin.
    pub fn during(&self, from: Timestamp, to: Timestamp) -> Vec<&PlannedWork> {
        let mut all = self.all();
        all.retain(|work| work.lasted_in(from, to));
        all
    }

    /// Those that went on while an incident lasted and may touch what it touches, by when they begin.
    pub fn beside(&self, change: &Change, now: Timestamp) -> Vec<&PlannedWork> {
        let mut all = self.all();
        all.retain(|work| work.is_beside(change, now));
        all
    }

    /// How many have not ended.
    pub fn unfinished(&self, now: Timestamp) -> usize {
        self.0.values().filter(|work| matches!(work.stage(now), Stage::Scheduled | Stage::InProgress)).count()
    }

    /// The id of one that is announced at this moment.
    pub fn next_id(&self, now: Timestamp) -> String {
        let stem = format!("work-{}-", now.basic());
        // One more than there can be.
        (1..=KEPT + 1).map(|n| format!("{stem}{n}")).find(|id| !self.0.contains_key(id)).unwrap_or(stem)
    }
}

#[cfg(test)]
mod tests;
