//! Order: runs by the second in which they count, whatever the order of their lines.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use faultline_attribution::{Outcome, Timestamp, Way};

use super::{DISORDER, drive::SECOND};
use crate::observe::{learn::Reading, run::Run};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Place of the agent.
    pub(super) agent: u32,
    /// Place of the target.
    pub(super) target: u32,
    /// Address that was tried.
    pub(super) address: Option<IpAddr>,
    /// From 1.
    pub(super) attempt: u32,
    /// The run.
    pub(super) run: Run,
    /// What it saw of the target.
    pub(super) sighting: Option<Sighted>,
}

/// What a passed run saw, read once for all runs that saw the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighted {
    /// Digest of what was read.
    pub(super) digest: u64,
    /// Everything but the address.
    pub(super) reading: Arc<Reading>,
    /// Address that answered.
    pub(super) address: Option<IpAddr>,
}

/// What makes two lines the same run.
pub(super) type Key = (u32, u32, Timestamp, Way, Option<IpAddr>, u32);

impl Replayed {
    /// What makes it this run.
    pub(super) fn key(&self) -> Key {
        (self.agent, self.target, self.run.at, self.run.way.clone(), self.address, self.attempt)
    }

    /// Its place inside a second. Equal runs that contradict each other have an order too, so that the order of their
    /// lines decides nothing.
    pub(super) fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let place = |this: &Self| (this.agent, this.target, this.run.at);
        let rest = |this: &Self| {
            let run = &this.run;
            let outcome = match run.outcome {
                Outcome::Passed => (0, None, None),
                Outcome::Failed { layer, cause } => (1, Some((layer, cause)), None),
                Outcome::Unmeasured { reason } => (2, None, Some(reason)),
            };
            (
                run.received_at,
                outcome,
                run.status,
                (run.took, run.slowest),
                this.sighting.as_ref().map(|sighted| sighted.digest),
            )
        };
        place(self)
            .cmp(&place(other))
            .then_with(|| self.run.way.cmp(&other.run.way))
            .then_with(|| (self.address, self.attempt).cmp(&(other.address, other.attempt)))
            .then_with(|| rest(self).cmp(&rest(other)))
    }
}

/// A line too far out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disorder {
    pub(super) newest: Timestamp,
    pub(super) newest_line: u64,
}

/// Runs that wait for their second to be complete. Bound: what was received within [`DISORDER`].
#[derive(Debug, Default)]
pub(super) struct Order {
    seconds: BTreeMap<i64, Vec<Replayed>>,
    newest: Option<(Timestamp, u64)>,
}

impl Order {
    /// Takes a run in.
    pub(super) fn push(&mut self, line: u64, replayed: Replayed) -> Result<(), Disorder> {
        let received_at = replayed.run.received_at;
        match self.newest {
            Some((newest, newest_line)) if newest.since(received_at) > DISORDER => {
                return Err(Disorder { newest, newest_line });
            }
            Some((newest, _)) if newest >= received_at => {}
            _ => self.newest = Some((received_at, line)),
        }
        self.seconds.entry(counts_at(received_at)).or_default().push(replayed);
        Ok(())
    }

    /// When the last line so far was received.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest.map(|(newest, _)| newest)
    }

    /// The next second to which no line can come any more, with its runs in order.
    pub(super) fn complete(&mut self) -> Option<(i64, Vec<Replayed>)> {
        let open = self.newest?.0.before(DISORDER).micros();
        let (second, _) = self.seconds.first_key_value()?;
        if second.saturating_mul(SECOND) < open { self.remaining() } else { None }
    }

    /// The next second, once no line is left.
    pub(super) fn remaining(&mut self) -> Option<(i64, Vec<Replayed>)> {
        let (second, mut runs) = self.seconds.pop_first()?;
        runs.sort_by(Replayed::cmp);
        Some((second, runs))
    }
}

/// The whole second at which a result counts: the first tick that comes with or after it.
fn counts_at(received_at: Timestamp) -> i64 {
    received_at.micros().div_euclid(SECOND) + i64::from(received_at.micros().rem_euclid(SECOND) != 0)
}
