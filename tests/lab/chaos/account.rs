//! The accounting: whether nothing was lost that was not told, and nothing counted twice. Pure.
//!
//! Rules, for each agent: one spool from the first process to the last; `made = logged + lost`, exactly, and nothing waits; every
//! batch that was ever stored is in the log once, in the lane where the spool has it, and nothing else is; what the spool still
//! holds is in the log with the same results; no result is there twice; nothing passed in the log that no target has seen, and
//! what targets have seen was made, but for runs that died with their process.

use std::collections::{BTreeMap, HashSet};

use faultline_agent::spool::Ledger;
use faultline_proto::agent::v1::{Lane, LossReason};
use prost::Message as _;

use super::books::{Books, Logged, Place, lane};

/// What the books of an agent come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) made: u64,
    pub(super) logged: u64,
    pub(super) lost: BTreeMap<LossReason, u64>,
    /// Batches in each lane.
    pub(super) live: u64,
    pub(super) backfill: u64,
    /// What does not add up.
    pub(super) faults: Vec<String>,
}

/// Runs that may be under way when a process dies: one of each target, and one that was asked for.
const UNDER_WAY: u64 = 2;

impl Account {
    /// Draws it up; each run is of one of so many targets.
    pub(super) fn of(books: &Books, targets: u64) -> Self {
        let mut account = Self { made: books.spool.made, ..Self::default() };
        for logged in &books.logged {
            account.logged += count(logged.results.len());
            for (reason, results) in &logged.losses {
                *account.lost.entry(*reason).or_default() += results;
            }
            match Lane::try_from(logged.place.1) {
                Ok(Lane::Backfill) => account.backfill += 1,
                _ => account.live += 1,
            }
        }
        account.judge_sums(books);
        account.judge_batches(books);
        account.judge_results(books);
        account.judge_truth(books, targets);
        let named = |fault: &String| format!("{}: {fault}", books.agent);
        account.faults = account.faults.iter().map(named).collect();
        account
    }

    fn judge_sums(&mut self, books: &Books) {
        let lost: u64 = self.lost.values().sum();
        let (made, logged) = (self.made, self.logged);
        if made != logged + lost {
            self.faults.push(format!("made {made} results, but logged {logged} and lost {lost}"));
        }
        let ledger = &books.spool.ledger;
        if ledger.accounted != made {
            self.faults
                .push(format!("{} of {made} results were never stored or told", made - ledger.accounted.min(made)));
        }
        if !ledger.untold.is_empty() {
            self.faults.push(format!("losses were not told: {:?}", ledger.untold));
        }
        let told = ledger.lost.all();
        if told != lost {
            self.faults.push(format!("the spool counts {told} losses, the log {lost}"));
        }
    }

    fn judge_batches(&mut self, books: &Books) {
        let ledger = &books.spool.ledger;
        let mut logged: BTreeMap<Place, &Logged> = BTreeMap::new();
        for batch in &books.logged {
            if logged.insert(batch.place.clone(), batch).is_some() {
                self.faults.push(format!("{} is in the log twice", told(&batch.place)));
            }
        }
        let incarnation = ledger.incarnation.to_vec();
        let dropped = ledger.lost.spool_full + ledger.lost.spool_damaged > 0;
        for id in 1..ledger.live.next {
            let (in_lane, number) = ledger.place(id);
            let place = (incarnation.clone(), i32::from(in_lane), number);
            match (logged.remove(&place), books.spool.held.get(&id)) {
                (None, None) if dropped => {}
                (None, _) => self.faults.push(format!("{} is missing from the log", told(&place))),
                (Some(logged), Some(crc)) if logged.crc != *crc => {
                    self.faults.push(format!("{} has other results in the log", told(&place)));
                }
                (Some(_), _) => {}
            }
        }
        self.faults
            .extend(logged.keys().map(|place| format!("{} is in the log, but the spool never had it", told(place))));
        let waits = waits(ledger);
        if waits > 0 {
            self.faults.push(format!("{waits} batches still wait"));
        }
    }

    fn judge_results(&mut self, books: &Books) {
        let mut seen = HashSet::new();
        let twice = books.logged.iter().flat_map(|batch| &batch.results).filter(|result| {
            // A run's results differ in attempt or address; its start is known to the microsecond.
            let started = result.started_at.as_ref().map(|at| (at.seconds, at.nanos));
            !seen.insert((result.slot, started, result.attempt, result.address.clone(), result.encode_to_vec()))
        });
        let twice = twice.count();
        if twice > 0 {
            self.faults.push(format!("{twice} results are in the log twice"));
        }
    }

    fn judge_truth(&mut self, books: &Books, targets: u64) {
        let passed: u64 = books.logged.iter().map(|batch| count(batch.seen(&books.connecting))).sum();
        if passed > books.visits {
            self.faults.push(format!("{passed} connections passed, but targets saw {}", books.visits));
        }
        let died = (books.deaths + 1) * targets * UNDER_WAY;
        if books.visits > self.made + died {
            let visits = books.visits;
            self.faults.push(format!("targets saw {visits} connections, but only {} results were made", self.made));
        }
    }
}

/// Batches that the coordinator has not confirmed.
pub(super) fn waits(ledger: &Ledger) -> usize {
    let is_live = |number: &u64| ledger.place(*number) == (Lane::Live, *number);
    let live = (ledger.live.acked + 1..ledger.live.next).filter(is_live).count();
    live + (ledger.backfill.acked + 1..ledger.backfill.next).count()
}

fn told((incarnation, in_lane, number): &Place) -> String {
    let first = incarnation.iter().take(4).fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
    format!("batch {number} of lane {} ({first:08x})", lane(*in_lane))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
