//! What a spool knows of its batches beside the batches themselves: which numbers they have, what is confirmed, what was
//! lost. Pure; a store keeps it in the same transaction as the batches that it tells of.
//!
//! Rules: a batch's id is its number in the live lane, dense from 1, and never changes. Batches that wait too long are
//! moved to the backfill lane as ranges of ids, so that moving a day of them writes one line: id `first_id + n` has the
//! backfill number `first_number + n`. An id is confirmed when its number is, in the lane that it is in. Every result that
//! was ever given to the spool is accounted for once, as stored or as lost: `made = accounted + what waits in memory`.
//! A loss is told by one batch, and comes back if that batch is lost itself. What is given up while it may be at the
//! coordinator already is in doubt, and neither told nor counted until the next word of the coordinator says which.

use std::ops::RangeInclusive;

use faultline_proto::agent::v1::Lane;
use serde::{Deserialize, Serialize};

use super::lost::{Losses, Lost, merge};

/// What a spool knows beside its batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ledger {
    /// What the numbers are counted in.
    pub incarnation: [u8; 16],
    /// How many times the store was written to: tells whether a write that failed was one after all.
    pub commits: u64,
    /// Numbers of the live lane, which are the ids.
    pub live: Numbers,
    /// Numbers of the backfill lane.
    pub backfill: Numbers,
    /// Ids that were moved to backfill, in order of their numbers there.
    pub moved: Vec<Moved>,
    /// The highest number of facts that was ever referred to.
    pub last_facts: u32,
    /// Results stored or lost, since the incarnation began.
    pub accounted: u64,
    /// When the last batch was sealed, or the spool made, in microseconds since the Unix epoch.
    pub last_sealed_at: i64,
    /// Losses that no batch tells yet, each reason at most once.
    pub untold: Vec<Lost>,
    /// Results lost since the incarnation began.
    pub lost: Losses,
    /// Batches that are held no more and may be at the coordinator.
    #[serde(default)]
    pub doubts: Vec<Doubt>,
}

/// A batch that was given up, and may be at the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Doubt {
    /// Whether it was in the backfill lane; else it was in the live one.
    pub is_backfill: bool,
    /// Its number there.
    pub number: u64,
    /// Its results, if they did not arrive.
    pub lost: Lost,
    /// What it told, and nobody else tells if it did not arrive.
    pub told: Vec<Lost>,
}

/// Numbers of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Numbers {
    /// The next to be made.
    pub next: u64,
    /// The last that the coordinator confirmed; zero for none.
    pub acked: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { next: 1, acked: 0 }
    }
}

/// Ids that are in the backfill lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Moved {
    /// The first.
    pub first_id: u64,
    /// Its number in the backfill lane.
    pub first_number: u64,
    /// How many they are, whether or not all of them are still held.
    pub count: u64,
}

impl Moved {
    /// The ids.
    pub fn ids(&self) -> RangeInclusive<u64> {
        self.first_id..=self.first_id + self.count - 1
    }

    fn last_number(&self) -> u64 {
        self.first_number + self.count - 1
    }
}

impl Ledger {
    /// An empty spool's.
    pub fn new(incarnation: [u8; 16], now: i64) -> Self {
        Self { incarnation, last_sealed_at: now, ..Self::default() }
    }

    /// The numbers of a lane.
    pub fn numbers(&self, lane: Lane) -> Numbers {
        if lane == Lane::Backfill { self.backfill } else { self.live }
    }

    fn numbers_mut(&mut self, lane: Lane) -> &mut Numbers {
        if lane == Lane::Backfill { &mut self.backfill } else { &mut self.live }
    }

    /// Takes up that everything up to the number is confirmed; less than what was made, and never less than before.
    pub fn ack(&mut self, lane: Lane, number: u64) {
        let numbers = self.numbers_mut(lane);
        numbers.acked = numbers.acked.max(number.min(numbers.next - 1));
    }

    /// Takes up how far the coordinator says it is: also less than before, when it was restored.
    pub fn resume(&mut self, lane: Lane, number: u64) {
        let numbers = self.numbers_mut(lane);
        numbers.acked = number.min(numbers.next - 1);
    }

    /// Moves what is not confirmed up to the id to the backfill lane. Says whether there was anything.
    pub fn move_up_to(&mut self, last_id: u64) -> bool {
        let mut id = self.skip_moved(self.live.acked + 1);
        let last_id = last_id.min(self.live.next - 1);
        let before = self.backfill.next;
        while id <= last_id {
            let next_moved = self.moved.iter().map(|moved| moved.first_id).filter(|first| *first > id).min();
            let end = next_moved.map_or(last_id, |first| last_id.min(first - 1));
            self.append_moved(id, end - id + 1);
            id = self.skip_moved(end + 1);
        }
        self.backfill.next > before
    }

    /// Takes up that the coordinator has numbers that were never given out here: this is an older copy of a spool that went
    /// on. What has an id below `first_new` was in the copy, so that the coordinator has it; what came since gets numbers
    /// that it does not know. Says whether that was so.
    pub fn outgrow(&mut self, live: u64, backfill: u64, first_new: u64) -> bool {
        let is_copy = live >= self.live.next || backfill >= self.backfill.next;
        if is_copy {
            self.backfill.next = self.backfill.next.max(backfill.saturating_add(1));
            self.live.acked = self.live.acked.max(first_new.min(self.live.next) - 1);
            self.move_up_to(self.live.next - 1);
            self.live.next = self.live.next.max(live.saturating_add(1));
        }
        is_copy
    }

    fn append_moved(&mut self, first_id: u64, count: u64) {
        let first_number = self.backfill.next;
        self.backfill.next += count;
        match self.moved.last_mut() {
            Some(last) if last.first_id + last.count == first_id && last.first_number + last.count == first_number => {
                last.count += count;
            }
            _ => self.moved.push(Moved { first_id, first_number, count }),
        }
    }

    /// The first id from here on that is in the live lane.
    pub fn skip_moved(&self, mut id: u64) -> u64 {
        while let Some(moved) = self.moved.iter().find(|moved| moved.ids().contains(&id)) {
            id = moved.first_id + moved.count;
        }
        id
    }

    /// Where the batch of an id is.
    pub fn place(&self, id: u64) -> (Lane, u64) {
        match self.moved.iter().find(|moved| moved.ids().contains(&id)) {
            Some(moved) => (Lane::Backfill, moved.first_number + (id - moved.first_id)),
            None => (Lane::Live, id),
        }
    }

    /// Whether the coordinator has the batch of the id.
    pub fn is_confirmed(&self, id: u64) -> bool {
        let (lane, number) = self.place(id);
        number <= self.numbers(lane).acked
    }

    /// Ids of a lane from the number on, in order of their numbers.
    pub fn ids_from(&self, lane: Lane, number: u64) -> Vec<RangeInclusive<u64>> {
        if lane == Lane::Backfill {
            let waiting = self.moved.iter().filter(|moved| moved.last_number() >= number);
            return waiting
                .map(|moved| moved.first_id + number.saturating_sub(moved.first_number)..=*moved.ids().end())
                .collect();
        }
        let mut ranges = Vec::new();
        let mut id = self.skip_moved(number);
        while id < self.live.next {
            let next_moved = self.moved.iter().map(|moved| moved.first_id).filter(|first| *first > id).min();
            let end = next_moved.unwrap_or(self.live.next) - 1;
            ranges.push(id..=end);
            id = self.skip_moved(end + 1);
        }
        ranges
    }

    /// Confirmed ids, in order.
    pub fn confirmed(&self) -> Vec<RangeInclusive<u64>> {
        let live = self.ids_from(Lane::Live, 1).into_iter();
        let mut confirmed: Vec<_> = live
            .map(|ids| *ids.start()..=(*ids.end()).min(self.live.acked))
            .chain(self.moved.iter().map(|moved| {
                let count = (self.backfill.acked + 1).saturating_sub(moved.first_number).min(moved.count);
                moved.first_id..=(moved.first_id + count).saturating_sub(1)
            }))
            .filter(|ids| !ids.is_empty())
            .collect();
        confirmed.sort_by_key(|ids| *ids.start());
        confirmed
    }

    /// Forgets where ids were moved of which nothing is held below this one.
    pub fn forget_below(&mut self, lowest_held: u64) {
        self.moved.retain(|moved| *moved.ids().end() >= lowest_held);
    }

    /// Books results that were stored and are lost.
    pub fn lose(&mut self, lost: Lost) {
        *self.lost.of(lost.reason) += lost.results;
        self.tell(lost);
    }

    /// Books results that never were in the spool.
    pub fn lose_unstored(&mut self, lost: Lost) {
        self.accounted += lost.results;
        self.lose(lost);
    }

    /// Notes that the batch is held no more, and may be at the coordinator.
    pub fn doubt(&mut self, lane: Lane, number: u64, lost: Lost, told: Vec<Lost>) {
        self.doubts.push(Doubt { is_backfill: lane == Lane::Backfill, number, lost, told });
    }

    /// Takes up that batches of the lane up to the number arrived, as far as they are in doubt.
    pub fn arrived(&mut self, lane: Lane, number: u64) {
        self.doubts.retain(|doubt| doubt.is_backfill != (lane == Lane::Backfill) || doubt.number > number);
    }

    /// Takes up that of the lane nothing in doubt arrived but what is up to the number. Says whether anything was in doubt.
    pub fn settle(&mut self, lane: Lane, number: u64) -> bool {
        let before = self.doubts.len();
        self.arrived(lane, number);
        let of_lane = |doubt: &mut Doubt| doubt.is_backfill == (lane == Lane::Backfill);
        let lost: Vec<_> = self.doubts.extract_if(.., of_lane).collect();
        let is_settled = before > self.doubts.len();
        for Doubt { lost, told, .. } in lost {
            for earlier in told {
                self.tell(earlier);
            }
            self.lose(lost);
        }
        is_settled
    }

    /// Has the loss told by the next batch; it is counted already.
    pub fn tell(&mut self, lost: Lost) {
        merge(&mut self.untold, lost);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Reason, *};

    #[test]
    fn what_waits_moves_to_numbers_of_its_own() {
        let mut ledger = made(10);
        ledger.ack(Lane::Live, 2);
        assert!(ledger.move_up_to(6));
        assert!(!ledger.move_up_to(6), "once");
        let places: Vec<_> = (1..=8).map(|id| ledger.place(id)).collect();
        let live = |number| (Lane::Live, number);
        let backfill = |number| (Lane::Backfill, number);
        assert_eq!(places, [live(1), live(2), backfill(1), backfill(2), backfill(3), backfill(4), live(7), live(8)]);
        assert_eq!(ledger.ids_from(Lane::Live, 3), [7..=10]);
        assert_eq!(ledger.ids_from(Lane::Backfill, 3), [5..=6]);
        assert!(ledger.move_up_to(8));
        assert_eq!(ledger.moved.len(), 1, "neighbours are one range");
        assert_eq!(ledger.place(8), backfill(6));
    }

    #[test]
    fn a_lane_confirms_its_own() {
        let mut ledger = made(10);
        ledger.move_up_to(4);
        ledger.ack(Lane::Live, 6);
        ledger.ack(Lane::Backfill, 2);
        let confirmed: Vec<_> = (1..=10).filter(|id| ledger.is_confirmed(*id)).collect();
        assert_eq!(confirmed, [1, 2, 5, 6]);
        assert_eq!(ledger.confirmed(), [1..=2, 5..=6]);
        ledger.ack(Lane::Live, 99);
        assert_eq!(ledger.live.acked, 10, "no more than was made");
        ledger.ack(Lane::Live, 3);
        assert_eq!(ledger.live.acked, 10, "an ack takes nothing back");
    }

    #[test]
    fn a_restored_coordinator_gets_again_what_it_lost() {
        let mut ledger = made(10);
        ledger.move_up_to(4);
        ledger.ack(Lane::Live, 9);
        ledger.ack(Lane::Backfill, 4);
        ledger.resume(Lane::Live, 1);
        ledger.resume(Lane::Backfill, 3);
        assert_eq!(ledger.confirmed(), [1..=3]);
        ledger.move_up_to(9);
        assert_eq!(
            (ledger.place(5), ledger.place(9), ledger.place(10)),
            ((Lane::Backfill, 5), (Lane::Backfill, 9), (Lane::Live, 10))
        );
        let mut ledger = made(10);
        ledger.ack(Lane::Live, 4);
        ledger.move_up_to(6);
        ledger.resume(Lane::Live, 2);
        ledger.move_up_to(8);
        let numbers: Vec<_> = (3..=8).map(|id| ledger.place(id).1).collect();
        assert_eq!(numbers, [3, 4, 1, 2, 5, 6], "around what was moved before");
        assert_eq!(ledger.ids_from(Lane::Backfill, 2), [6..=6, 3..=4, 7..=8]);
    }

    #[test]
    fn a_copy_of_a_spool_uses_no_number_twice() {
        let mut ledger = made(10);
        ledger.move_up_to(2);
        assert!(!ledger.outgrow(10, 2, 8), "all of it was given out here");
        assert!(ledger.outgrow(30, 5, 8));
        ledger.resume(Lane::Live, 30);
        ledger.resume(Lane::Backfill, 5);
        let unconfirmed: Vec<_> = (1..=10).filter(|id| !ledger.is_confirmed(*id)).map(|id| ledger.place(id)).collect();
        assert_eq!(unconfirmed, [(Lane::Backfill, 6), (Lane::Backfill, 7), (Lane::Backfill, 8)]);
        assert_eq!(ledger.live, Numbers { next: 31, acked: 30 });
    }

    #[test]
    fn what_is_in_doubt_is_lost_only_if_it_did_not_arrive() {
        let mut ledger = made(10);
        let lost = |results| Lost { reason: Reason::SpoolFull, results, since: 1, until: 2 };
        ledger.doubt(Lane::Live, 3, lost(1), vec![lost(100)]);
        ledger.doubt(Lane::Live, 4, lost(10), vec![lost(1000)]);
        ledger.doubt(Lane::Backfill, 1, lost(5), Vec::new());
        ledger.arrived(Lane::Backfill, 1);
        assert_eq!((ledger.doubts.len(), ledger.lost.spool_full), (2, 0));
        assert!(!ledger.settle(Lane::Backfill, 0), "it is settled");
        assert!(ledger.settle(Lane::Live, 3));
        assert!(!ledger.settle(Lane::Live, 3), "once");
        assert_eq!(ledger.lost.spool_full, 10);
        assert_eq!(ledger.untold, [lost(1010)], "what it told was counted before");
    }

    #[test]
    fn losses_of_a_reason_are_one() {
        let mut ledger = made(1);
        let lost = |results, since| Lost { reason: Reason::SpoolFull, results, since, until: since + 5 };
        ledger.lose_unstored(lost(3, 10));
        ledger.lose(lost(4, 20));
        ledger.lose(lost(0, 0));
        assert_eq!(ledger.untold, [Lost { reason: Reason::SpoolFull, results: 7, since: 10, until: 25 }]);
        assert_eq!((ledger.accounted, ledger.lost.spool_full), (3, 7));
    }

    fn made(batches: u64) -> Ledger {
        let mut ledger = Ledger::new([7; 16], 0);
        ledger.live.next = batches + 1;
        ledger
    }
}
