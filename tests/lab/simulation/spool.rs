//! The disk below an agent's spool: it keeps what was committed, and nothing else, across a crash.
//!
//! It is full or fails when it is told to, may take a write and deny it, and rots. The count of results made beside it is
//! exact after a crash of the process, and behind after a power cut. What was made in truth is counted apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use faultline_agent::spool::{Change, Counter, Head, Ledger, Room, Row, Store, StoreError};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// Rough size of what is held of a batch beside its content.
const OF_ROW: usize = 200;

/// What survives a crash of an agent.
pub struct SpoolDisk {
    kept: Mutex<Kept>,
}

/// What the disk does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// It takes it.
    Well,
    /// It takes no more than it has given already.
    Full,
    /// It refuses every write.
    Failing,
}

struct Kept {
    max_bytes: u64,
    ledger: Option<Ledger>,
    rows: BTreeMap<u64, Row>,
    rotten: BTreeSet<u64>,
    used: u64,
    /// What the system gave so far.
    file: u64,
    condition: Condition,
    /// The next write is refused, though it may have happened.
    denies: Option<bool>,
    dies_in: Option<u32>,
    is_dead: bool,
    /// Whether anything that was confirmed is gone.
    has_freed: bool,
    draw: Xoshiro256PlusPlus,
    count: Option<([u8; 16], u64)>,
    /// The count that a power cut would leave.
    synced: u64,
    made: BTreeMap<[u8; 16], Made>,
}

/// What was made in truth, by incarnation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made {
    /// Results.
    pub results: u64,
    /// Those among them that power cuts took out of the count.
    pub uncounted: u64,
    /// What this process saved last.
    last: u64,
}

impl SpoolDisk {
    /// An empty disk that takes so many bytes.
    pub fn new(max_bytes: u64, seed: u64) -> Self {
        let kept = Kept {
            max_bytes,
            ledger: None,
            rows: BTreeMap::new(),
            rotten: BTreeSet::new(),
            used: 0,
            file: 0,
            condition: Condition::Well,
            denies: None,
            dies_in: None,
            is_dead: false,
            has_freed: false,
            draw: Xoshiro256PlusPlus::seed_from_u64(seed),
            count: None,
            synced: 0,
            made: BTreeMap::new(),
        };
        Self { kept: Mutex::new(kept) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process opens it.
    pub fn open(self: &Arc<Self>) -> (Box<dyn Store>, Box<dyn Counter>) {
        let mut kept = self.kept();
        kept.synced = kept.count.map_or(0, |(_, made)| made);
        (Box::new(ModelStore(Arc::clone(self))), Box::new(ModelCounter(Arc::clone(self), false)))
    }

    /// Gives no more room, or gives it again.
    pub fn set_full(&self, is_full: bool) {
        self.kept().condition = if is_full { Condition::Full } else { Condition::Well };
    }

    /// Takes no write at all, or takes them again.
    pub fn set_failing(&self, is_failing: bool) {
        self.kept().condition = if is_failing { Condition::Failing } else { Condition::Well };
    }

    /// Refuses the next write, whether or not it happens.
    pub fn deny(&self, happens: bool) {
        self.kept().denies = Some(happens);
    }

    /// The process dies in the middle of the commit that comes after so many.
    pub fn die_in(&self, commits: u32) {
        self.kept().dies_in = Some(commits);
    }

    /// It does not die after all, and no write is refused.
    pub fn spare(&self) {
        let mut kept = self.kept();
        (kept.dies_in, kept.denies) = (None, None);
    }

    /// Whether the process died by itself: nothing may leave it any more.
    pub fn is_dead(&self) -> bool {
        self.kept().is_dead
    }

    /// Damages one batch.
    pub fn rot(&self) {
        let mut kept = self.kept();
        let batches = kept.rows.len().max(1);
        let place = kept.draw.random_range(0..batches);
        let id = kept.rows.keys().nth(place).copied();
        kept.rotten.extend(id);
    }

    /// What a crash leaves; a power cut takes some of the count with it.
    pub fn crash(&self, is_power_cut: bool) {
        let mut kept = self.kept();
        (kept.is_dead, kept.dies_in, kept.denies) = (false, None, None);
        let Some((incarnation, made)) = kept.count.filter(|_| is_power_cut) else { return };
        let accounted = kept.ledger.as_ref().map_or(0, |ledger| ledger.accounted);
        let synced = kept.synced.min(made);
        let left = kept.draw.random_range(synced..=made);
        kept.count = Some((incarnation, left));
        let gone = made.saturating_sub(left.max(accounted));
        kept.made.entry(incarnation).or_default().uncounted += gone;
    }

    /// What was made in truth.
    pub fn made(&self) -> BTreeMap<[u8; 16], Made> {
        self.kept().made.clone()
    }

    /// The incarnation, and the last numbers that the spool holds for confirmed: live and backfill.
    pub fn acked(&self) -> Option<([u8; 16], (u64, u64))> {
        let kept = self.kept();
        let ledger = kept.ledger.as_ref()?;
        Some((ledger.incarnation, (ledger.live.acked, ledger.backfill.acked)))
    }

    /// Whether anything that was confirmed made room for something else.
    pub fn has_freed(&self) -> bool {
        self.kept().has_freed
    }
}

impl Kept {
    /// Batches of these ids, in order; none, where the range is empty.
    fn within<'a>(&'a self, ids: &RangeInclusive<u64>) -> impl Iterator<Item = (&'a u64, &'a Row)> + use<'a> {
        let ids = (!ids.is_empty()).then(|| ids.clone());
        ids.into_iter().flat_map(move |ids| self.rows.range(ids))
    }

    /// Whether the write happens, and what is answered.
    fn fate(&mut self) -> (bool, Result<(), StoreError>) {
        let refused = |why: &str| Err(StoreError::Disk(why.to_owned()));
        if self.is_dead {
            return (false, refused("the process is dead"));
        }
        if let Some(left) = &mut self.dies_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.is_dead = true;
                return (self.draw.random(), refused("the process dies"));
            }
        }
        if self.condition == Condition::Failing {
            return (false, refused("input/output error"));
        }
        match self.denies.take() {
            Some(happens) => (happens, refused("input/output error")),
            None => (true, Ok(())),
        }
    }

    fn apply(&mut self, change: &Change<'_>) {
        for ids in change.remove {
            let gone: Vec<u64> = self.within(ids).map(|(id, _)| *id).collect();
            for id in gone {
                self.has_freed |= self.ledger.as_ref().is_some_and(|ledger| ledger.is_confirmed(id));
                let row = self.rows.remove(&id);
                self.used -= row.as_ref().map_or(0, size);
                self.rotten.remove(&id);
            }
        }
        for row in change.add {
            self.used += size(row);
            self.rows.insert(row.id, row.clone());
        }
        self.file = self.file.max(self.used);
        self.ledger = Some(change.ledger.clone());
    }
}

struct ModelStore(Arc<SpoolDisk>);

impl Store for ModelStore {
    fn ledger(&mut self) -> Result<Option<Ledger>, StoreError> {
        let kept = self.0.kept();
        if kept.is_dead { Err(StoreError::Disk("the process is dead".to_owned())) } else { Ok(kept.ledger.clone()) }
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        let mut kept = self.0.kept();
        let freed: u64 = change.remove.iter().flat_map(|ids| kept.within(ids)).map(|(_, row)| size(row)).sum();
        let used = kept.used - freed + change.add.iter().map(size).sum::<u64>();
        if !change.add.is_empty() && used > kept.max_bytes {
            return Err(StoreError::Quota);
        }
        if kept.condition == Condition::Full && used > kept.file {
            return Err(StoreError::Disk("no space left on device".to_owned()));
        }
        let (happens, answer) = kept.fate();
        if happens {
            kept.apply(change);
        }
        answer
    }

    fn read(&mut self, ids: RangeInclusive<u64>) -> Result<Option<Row>, StoreError> {
        let kept = self.0.kept();
        let Some((id, row)) = kept.within(&ids).next() else { return Ok(None) };
        if kept.rotten.contains(id) { Err(StoreError::Row(Box::new(head(row)))) } else { Ok(Some(row.clone())) }
    }

    fn heads(&mut self, ids: RangeInclusive<u64>, most: usize) -> Result<Vec<Head>, StoreError> {
        Ok(self.0.kept().within(&ids).take(most).map(|(_, row)| head(row)).collect())
    }

    fn newest_before(&mut self, above: u64, sealed_before: i64) -> Result<Option<u64>, StoreError> {
        let kept = self.0.kept();
        let mut newer = kept.rows.range(above + 1..).rev();
        Ok(newer.find(|(_, row)| row.sealed_at < sealed_before).map(|(id, _)| *id))
    }

    fn room(&mut self) -> Result<Room, StoreError> {
        let kept = self.0.kept();
        let growth = kept.max_bytes.saturating_sub(kept.file);
        Ok(Room { inside: kept.file - kept.used, growth, used: kept.used, all: kept.max_bytes })
    }

    fn cost(&self, row: &Row) -> u64 {
        size(row)
    }

    fn keeps_confirmed(&self) -> bool {
        true
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn renew(&mut self, _now: i64) -> Result<(), StoreError> {
        let mut kept = self.0.kept();
        (kept.ledger, kept.used) = (None, 0);
        kept.rows.clear();
        kept.rotten.clear();
        Ok(())
    }
}

fn size(row: &Row) -> u64 {
    (row.payload.len() + row.facts.iter().map(|facts| facts.encoded.len()).sum::<usize>() + OF_ROW) as u64
}

fn head(row: &Row) -> Head {
    Head {
        id: row.id,
        since: row.since,
        sealed_at: row.sealed_at,
        results: row.results,
        losses: row.losses.clone(),
        bytes: size(row),
    }
}

/// The count; whether this process has saved one yet.
struct ModelCounter(Arc<SpoolDisk>, bool);

impl Counter for ModelCounter {
    fn load(&mut self, incarnation: &[u8; 16]) -> Option<u64> {
        self.0.kept().count.filter(|(known, _)| known == incarnation).map(|(_, made)| made)
    }

    fn save(&mut self, incarnation: &[u8; 16], made: u64) {
        let mut kept = self.0.kept();
        if kept.is_dead {
            return;
        }
        kept.count = Some((*incarnation, made));
        let truth = kept.made.entry(*incarnation).or_default();
        if self.1 {
            truth.results += made.saturating_sub(truth.last);
        }
        truth.last = made;
        self.1 = true;
    }
}
