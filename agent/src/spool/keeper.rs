//! Decides what a store does: numbers, room, what is given up and how that is told. No threads and no clock.
//!
//! Rules: a change is made to a copy of the ledger and taken over once it is durable; a write that failed is looked for
//! after the store was opened again, since it may have been one; an unconfirmed batch that was sent before it was
//! given up is lost only once the coordinator has said that it does not have it.

mod room;

use std::ops::RangeInclusive;

use bytes::Bytes;
use faultline_proto::agent::v1::Lane;

use self::room::Growth;
use super::{
    Change, Facts, Fetched, Head, Ledger, Lost, Reason, Row, Store, StoreError, View, lost::merge, view::LaneView,
};

/// The store and its ledger.
pub(super) struct Keeper {
    store: Box<dyn Store>,
    ledger: Ledger,
    /// Confirmations that are not written yet; they are written with what comes next.
    is_behind: bool,
    trouble: Option<String>,
    /// The store gave back something that is none.
    is_broken: bool,
    /// The first id that this process gives.
    first_new: u64,
    /// Up to where each lane was fetched since the coordinator last said what it has.
    sent: [u64; 2],
}

/// A batch that waits to be stored.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) since: i64,
    pub(super) sealed_at: i64,
    pub(super) results: u64,
    pub(super) facts: Vec<Facts>,
    pub(super) payload: Bytes,
}

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        OF_BATCH + self.payload.len() + self.facts.iter().map(|facts| facts.encoded.len()).sum::<usize>()
    }
}

impl Keeper {
    /// Takes over the store; results that were `made` and are not accounted for died with the process.
    pub(super) fn new(
        mut store: Box<dyn Store>,
        new_incarnation: [u8; 16],
        now: i64,
        made: impl FnOnce(&[u8; 16]) -> Option<u64>,
    ) -> Result<Self, StoreError> {
        let known = store.ledger()?;
        let is_new = known.is_none();
        let mut ledger = known.unwrap_or_else(|| Ledger::new(new_incarnation, now));
        let died = made(&ledger.incarnation).unwrap_or(0).saturating_sub(ledger.accounted);
        let (since, until) = (ledger.last_sealed_at.min(now), ledger.last_sealed_at.max(now));
        ledger.lose_unstored(Lost { reason: Reason::ProcessDied, results: died, since, until });
        let first_new = ledger.live.next;
        // Of what an earlier process sent nothing is known.
        let sent = [ledger.live.next - 1, ledger.backfill.next - 1];
        let mut keeper = Self { store, ledger, is_behind: false, trouble: None, is_broken: false, first_new, sent };
        if is_new || died > 0 {
            keeper.write(&keeper.ledger.clone(), &[])?;
        }
        if died > 0 {
            tracing::warn!(results = died, "results died with the last process");
        }
        Ok(keeper)
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether the store is damaged beyond use; then [`Self::renew`] is all that helps.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Begins anew with an empty store. What the old one held is lost, and can no longer be told by number.
    pub(super) fn renew(&mut self, incarnation: [u8; 16], now: i64) -> Result<(), StoreError> {
        self.store.renew(now)?;
        (self.trouble, self.is_broken) = (None, false);
        (self.ledger, self.first_new, self.sent) = (Ledger::new(incarnation, now), 1, [0, 0]);
        self.write(&self.ledger.clone(), &[])
    }

    /// Stores batches, and what was lost on the way here. Nothing of it happened when it fails.
    pub(super) fn push(&mut self, waiting: &[Waiting], lost: Option<Lost>) -> Result<(), StoreError> {
        let mut ledger = self.ledger.clone();
        if let Some(lost) = lost {
            ledger.lose_unstored(lost);
        }
        let rows: Vec<Row> = waiting
            .iter()
            .map(|batch| {
                let id = ledger.live.next;
                ledger.live.next += 1;
                ledger.accounted += batch.results;
                ledger.last_sealed_at = batch.sealed_at;
                let highest = batch.facts.iter().map(|facts| facts.number).max().unwrap_or(0);
                ledger.last_facts = ledger.last_facts.max(highest);
                let Waiting { since, sealed_at, results, facts, payload } = batch.clone();
                Row { id, since, sealed_at, results, losses: Vec::new(), facts, payload }
            })
            .collect();
        match self.write(&ledger, &rows) {
            Err(StoreError::Quota) => self.give_up(waiting, lost),
            written => written,
        }
    }

    /// Batches that are larger than the whole store are lost for want of room.
    fn give_up(&mut self, waiting: &[Waiting], lost: Option<Lost>) -> Result<(), StoreError> {
        if waiting.len() > 1 {
            // The loss goes with the first, so that it is booked once.
            let (first, rest) = waiting.split_at(1);
            self.push(first, lost)?;
            return self.push(rest, None);
        }
        let mut ledger = self.ledger.clone();
        let batches = waiting.iter().map(|batch| Lost {
            reason: Reason::SpoolFull,
            results: batch.results,
            since: batch.since,
            until: batch.sealed_at,
        });
        batches.chain(lost).for_each(|lost| ledger.lose_unstored(lost));
        self.write(&ledger, &[])
    }

    /// Takes up a confirmation. It is written with what comes next: until then the coordinator knows it.
    pub(super) fn ack(&mut self, lane: Lane, number: u64) {
        self.ledger.ack(lane, number);
        // All of a session is sent in order, so that what was sent in it arrived with what is confirmed.
        self.ledger.arrived(lane, number);
        self.is_behind = true;
        self.free_confirmed();
    }

    /// Takes up how far the coordinator is, which may be less than it said before.
    pub(super) fn resume(&mut self, live: u64, backfill: u64) -> Result<(), StoreError> {
        let mut ledger = self.ledger.clone();
        let is_settled = ledger.settle(Lane::Live, live) | ledger.settle(Lane::Backfill, backfill);
        let is_copy = ledger.outgrow(live, backfill, self.first_new);
        if is_copy {
            tracing::warn!("the spool is an older copy of itself: the coordinator has more of it");
        }
        // Before anything is sent: after that the coordinator's numbers say nothing of what was in doubt.
        if is_settled || is_copy {
            self.write(&ledger, &[])?;
        }
        self.ledger.resume(Lane::Live, live);
        self.ledger.resume(Lane::Backfill, backfill);
        self.sent = [self.ledger.live.acked, self.ledger.backfill.acked];
        self.is_behind = true;
        self.free_confirmed();
        Ok(())
    }

    fn free_confirmed(&mut self) {
        if !self.store.keeps_confirmed() {
            let (confirmed, ledger) = (self.ledger.confirmed(), self.ledger.clone());
            // Such a store is memory, which does not fail.
            self.commit(ledger, &confirmed, &[]).ok();
        }
    }

    /// Moves unconfirmed batches that were sealed before then to the backfill lane.
    pub(super) fn move_old(&mut self, sealed_before: i64) -> Result<(), StoreError> {
        let above = self.ledger.live.acked;
        let newest = self.store.newest_before(above, sealed_before)?;
        let mut ledger = self.ledger.clone();
        // Nothing of the lane is on its way: what is in doubt there was fetched and not sent.
        let is_settled = ledger.settle(Lane::Live, above);
        let is_moved = newest.is_some_and(|last_id| ledger.move_up_to(last_id));
        if !is_moved && !is_settled {
            return Ok(());
        }
        faultline_proto::failpoint::reach("spool.move.before");
        self.write(&ledger, &[])?;
        faultline_proto::failpoint::reach("spool.move.after");
        Ok(())
    }

    /// The first batch of the lane from the number on that is held. What turns out to be damaged is given up.
    pub(super) fn fetch(&mut self, lane: Lane, number: u64) -> Result<Option<Fetched>, StoreError> {
        for ids in self.ledger.ids_from(lane, number) {
            loop {
                match self.store.read(ids.clone()) {
                    Ok(Some(row)) => {
                        let number = self.ledger.place(row.id).1;
                        let sent = &mut self.sent[usize::from(lane == Lane::Backfill)];
                        *sent = number.max(*sent);
                        return Ok(Some(Fetched { lane, number, row }));
                    }
                    Ok(None) => break,
                    Err(StoreError::Row(head)) => self.forget_damaged(&head)?,
                    Err(error) => {
                        self.is_broken |= matches!(error, StoreError::Broken(_));
                        self.store.reopen()?;
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    fn forget_damaged(&mut self, head: &Head) -> Result<(), StoreError> {
        tracing::warn!(batch = head.id, results = head.results, "a batch in the spool is damaged and lost");
        let mut ledger = self.ledger.clone();
        if !ledger.is_confirmed(head.id) {
            // What it says of itself may be what is damaged.
            let head = Head { results: head.results.min(MOST_RESULTS), ..head.clone() };
            give_back(&mut ledger, &head, Reason::SpoolDamaged);
        }
        self.commit(ledger, &[head.id..=head.id], &[])
    }

    /// Writes what is only known in memory.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.is_behind { self.write(&self.ledger.clone(), &[]) } else { Ok(()) }
    }

    /// The spool as it stands, without what waits in memory.
    pub(super) fn view(&mut self) -> View {
        let oldest = |keeper: &mut Self, lane| {
            let numbers = keeper.ledger.numbers(lane);
            let ids = keeper.ledger.ids_from(lane, numbers.acked + 1);
            let head = ids.into_iter().find_map(|ids| keeper.store.heads(ids, 1).ok()?.pop());
            let first = head.as_ref().map_or(numbers.next, |head| keeper.ledger.place(head.id).1);
            (LaneView { first, next: numbers.next }, head.map(|head| head.sealed_at))
        };
        let (live, oldest_live) = oldest(self, Lane::Live);
        let (backfill, oldest_backfill) = oldest(self, Lane::Backfill);
        View {
            incarnation: self.ledger.incarnation,
            live,
            backfill,
            bytes: self.store.room().map_or(0, |room| room.used),
            oldest_sealed_at: oldest_live.into_iter().chain(oldest_backfill).min(),
            lost: self.ledger.lost,
            last_facts: self.ledger.last_facts,
            trouble: self.trouble.clone(),
            ..View::default()
        }
    }

    /// Makes room and writes; on a full disk once more without growing.
    fn write(&mut self, ledger: &Ledger, add: &[Row]) -> Result<(), StoreError> {
        match self.write_within(ledger, add, Growth::Allowed) {
            Err(StoreError::Disk(error)) => {
                if self.trouble.is_none() {
                    tracing::warn!(
                        error,
                        "the spool's disk takes no more: what is confirmed makes room, the rest waits"
                    );
                }
                self.trouble = Some(error);
                self.write_within(ledger, add, Growth::Forbidden)
            }
            written => {
                if written.is_ok() && self.trouble.take().is_some() {
                    tracing::info!("the spool's disk takes more again");
                }
                written
            }
        }
    }

    fn write_within(&mut self, ledger: &Ledger, add: &[Row], growth: Growth) -> Result<(), StoreError> {
        let mut needed: u64 = add.iter().map(|row| self.store.cost(row)).sum();
        loop {
            let mut ledger = ledger.clone();
            let remove = self.make_room(&mut ledger, needed, growth)?;
            let mut add = add.to_vec();
            if let Some(first) = add.first_mut() {
                first.losses = std::mem::take(&mut ledger.untold);
            }
            match self.commit(ledger, &remove, &add) {
                // The estimate was too low.
                Err(StoreError::Quota) if self.can_make_room(needed)? => needed *= 2,
                written => return written,
            }
        }
    }

    /// The one place where a store is written to.
    fn commit(&mut self, mut ledger: Ledger, remove: &[RangeInclusive<u64>], add: &[Row]) -> Result<(), StoreError> {
        ledger.commits = self.ledger.commits + 1;
        faultline_proto::failpoint::reach("spool.commit.before");
        let written = self.store.commit(&Change { ledger: &ledger, remove, add });
        faultline_proto::failpoint::reach("spool.commit.after");
        let written = match written {
            Err(error @ StoreError::Disk(_)) => {
                // Perhaps it was written and only the answer was lost.
                self.store.reopen()?;
                let stored = self.store.ledger()?;
                if stored.is_some_and(|stored| stored.commits == ledger.commits) { Ok(()) } else { Err(error) }
            }
            written => written,
        };
        self.is_broken |= matches!(written, Err(StoreError::Broken(_)));
        written?;
        (self.ledger, self.is_behind) = (ledger, false);
        Ok(())
    }
}

/// Books a stored batch as lost, and has what it told told again.
fn give_back(ledger: &mut Ledger, head: &Head, reason: Reason) {
    let mut untold = std::mem::take(&mut ledger.untold);
    head.losses.iter().for_each(|lost| merge(&mut untold, *lost));
    ledger.untold = untold;
    ledger.lose(lost(head, reason));
}

/// The loss of a stored batch.
fn lost(head: &Head, reason: Reason) -> Lost {
    Lost { reason, results: head.results, since: head.since, until: head.sealed_at }
}

/// Rough size of what waits beside its content.
const OF_BATCH: usize = 128;
/// More than any coordinator takes in a batch.
const MOST_RESULTS: u64 = 100_000;
