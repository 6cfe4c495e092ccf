//! Results that were made and will never come: why, how many, and when they were made.

use faultline_proto::{
    agent::v1::{Loss, LossReason},
    convert,
};
use serde::{Deserialize, Serialize};

/// Why results were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was no room for them.
    SpoolFull,
    /// The process died before they were in the spool.
    ProcessDied,
    /// The spool gave back something else than it was given.
    SpoolDamaged,
}

/// Results that were made and will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Lost {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub results: u64,
    /// None of them was made before this, in microseconds since the Unix epoch.
    pub since: i64,
    /// None of them was made after this.
    pub until: i64,
}

impl From<Lost> for Loss {
    fn from(lost: Lost) -> Self {
        let reason = match lost.reason {
            Reason::SpoolFull => LossReason::SpoolFull,
            Reason::ProcessDied => LossReason::ProcessDied,
            Reason::SpoolDamaged => LossReason::SpoolDamaged,
        };
        Self {
            reason: reason.into(),
            results: lost.results,
            since: Some(convert::timestamp(lost.since)),
            until: Some(convert::timestamp(lost.until)),
        }
    }
}

/// Results lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Losses {
    /// There was no room for them.
    pub spool_full: u64,
    /// The process died before they were in the spool.
    pub process_died: u64,
    /// The spool gave back something else than it was given.
    pub spool_damaged: u64,
}

impl Losses {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.spool_full + self.process_died + self.spool_damaged
    }

    pub(super) fn of(&mut self, reason: Reason) -> &mut u64 {
        match reason {
            Reason::SpoolFull => &mut self.spool_full,
            Reason::ProcessDied => &mut self.process_died,
            Reason::SpoolDamaged => &mut self.spool_damaged,
        }
    }
}

/// Adds the loss to those of its reason.
pub(super) fn merge(losses: &mut Vec<Lost>, lost: Lost) {
    if lost.results == 0 {
        return;
    }
    match losses.iter_mut().find(|known| known.reason == lost.reason) {
        Some(known) => {
            known.results += lost.results;
            known.since = known.since.min(lost.since);
            known.until = known.until.max(lost.until);
        }
        None => losses.push(lost),
    }
}
