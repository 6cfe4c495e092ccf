//! Room: what goes when a store is full, and how that is booked.
//!
//! Rules: the oldest confirmed batches go first, some at a time; then the oldest unconfirmed, as few as will do, each lost or,
//! where it may have arrived, in doubt; on a disk that is full nothing unconfirmed goes.

use std::ops::RangeInclusive;

use faultline_proto::agent::v1::Lane;

use super::{
    super::{Ledger, Reason, StoreError},
    Keeper, give_back, lost,
};

/// Whether the store may take more of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    Allowed,
    Forbidden,
}

impl Keeper {
    pub(super) fn can_make_room(&mut self, needed: u64) -> Result<bool, StoreError> {
        let room = self.store.room()?;
        Ok(needed > 0 && needed < room.all && !self.store.heads(EVERY_ID, 1)?.is_empty())
    }

    /// What to remove so that there is room; books what of it is lost.
    pub(super) fn make_room(
        &mut self,
        ledger: &mut Ledger,
        needed: u64,
        growth: Growth,
    ) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
        if needed == 0 {
            return Ok(Vec::new());
        }
        let room = self.store.room()?;
        let mut free = room.inside + if growth == Growth::Allowed { room.growth } else { 0 };
        let mut removed = Vec::new();
        if free >= needed {
            return Ok(removed);
        }
        if let Some(lowest) = self.store.heads(EVERY_ID, 1)?.first() {
            ledger.forget_below(lowest.id);
        }
        // Some at a time, so that not each batch has to make its own room.
        let enough = needed + room.all / AT_A_TIME;
        'confirmed: for ids in ledger.confirmed() {
            let mut from = *ids.start();
            while from <= *ids.end() {
                let heads = self.store.heads(from..=*ids.end(), HEADS)?;
                let Some(last) = heads.last() else { break };
                from = last.id + 1;
                for head in heads {
                    if free >= enough {
                        break 'confirmed;
                    }
                    free += head.bytes;
                    add_id(&mut removed, head.id);
                }
            }
        }
        if growth == Growth::Forbidden {
            return if free >= needed { Ok(removed) } else { Err(StoreError::Disk(FULL.to_owned())) };
        }
        let mut from = 1;
        while free < needed {
            let heads = self.store.heads(from..=*EVERY_ID.end(), HEADS)?;
            let Some(last) = heads.last() else { break };
            from = last.id + 1;
            for head in heads {
                if free >= needed {
                    break;
                }
                if ledger.is_confirmed(head.id) {
                    continue;
                }
                free += head.bytes;
                let (lane, number) = ledger.place(head.id);
                if self.may_have_arrived(lane, number) {
                    ledger.doubt(lane, number, lost(&head, Reason::SpoolFull), head.losses.clone());
                } else {
                    give_back(ledger, &head, Reason::SpoolFull);
                }
                add_id(&mut removed, head.id);
            }
        }
        let dropped = ledger.lost.spool_full - self.ledger.lost.spool_full;
        if dropped > 0 {
            tracing::warn!(dropped, "spool full: the oldest results are given up");
        }
        Ok(removed)
    }

    /// Whether the coordinator may have an unconfirmed batch. A spool that an earlier process left is in doubt no further
    /// than a session can be ahead.
    fn may_have_arrived(&self, lane: Lane, number: u64) -> bool {
        let sent = self.sent[usize::from(lane == Lane::Backfill)];
        number <= sent.min(self.ledger.numbers(lane).acked + MOST_AHEAD)
    }
}

fn add_id(removed: &mut Vec<RangeInclusive<u64>>, id: u64) {
    match removed.last_mut() {
        Some(last) if *last.end() + 1 == id => *last = *last.start()..=id,
        _ => removed.push(id..=id),
    }
}

/// As far as SQLite counts.
const EVERY_ID: RangeInclusive<u64> = 1..=i64::MAX.unsigned_abs();
/// More than any session has in flight, and was acknowledged without having been written.
const MOST_AHEAD: u64 = 1024;
/// Batches that are looked at at a time.
const HEADS: usize = 256;
/// Which part of the quota is freed at once where it is confirmed.
const AT_A_TIME: u64 = 64;
const FULL: &str = "the disk is full, and nothing confirmed is left to make room";
