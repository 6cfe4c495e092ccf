//! Sealed batches that the coordinator has not yet confirmed, where they outlive the process, the machine and the link.
//!
//! A batch's way: [`Spool::push`] puts it into a line in memory and returns at once; the keeper takes the line, makes room,
//! and gives the batches to a [`Store`] in one durable write; only then has it a number and can be sent. What the
//! coordinator confirms stays until the room is needed.
//!
//! Rules: probing never waits for a disk; no number is given out before its batch is durable; when there is no room the
//! oldest confirmed batches go first, then the oldest unconfirmed, counted and told in the next batch; a disk that cannot
//! be written loses nothing silently: the line holds what it can, what is beyond is counted and told, and the write is
//! tried again every second. Every result is accounted for: made = stored + lost + what waits in memory.
//!
//! A [`Store`] is synchronous and knows no policy: ids, bytes and one transaction. [`SqliteStore`] and [`MemoryStore`] are
//! the two that ship; a simulation brings its own and runs it without a thread ([`Spool::driven`]).

mod handle;
mod keeper;
mod ledger;
mod lost;
mod made;
mod memory;
mod open;
mod sqlite;
#[cfg(test)]
mod tests;
mod view;

use std::ops::RangeInclusive;

use bytes::Bytes;

pub(crate) use self::open::{FILE, folder, is_own};
pub use self::{
    handle::{Spool, Stamp},
    ledger::{Doubt, Ledger, Moved, Numbers},
    lost::{Losses, Lost, Reason},
    made::{Counter, MadeFile, NoCounter},
    memory::MemoryStore,
    open::{OpenError, open, pin},
    sqlite::{SqliteError, SqliteStore},
    view::{Fetched, LaneView, View},
};
pub use crate::selfcheck::ClockError;

/// Facts, encoded: what results refer to by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Their number within the incarnation.
    pub number: u32,
    /// The message `faultline.types.v1.Facts`.
    pub encoded: Bytes,
}

/// A batch as a store holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Dense from 1 in the order of sealing.
    pub id: u64,
    /// When its oldest result was made, in microseconds since the Unix epoch.
    pub since: i64,
    /// When it was sealed.
    pub sealed_at: i64,
    /// How many results it has.
    pub results: u64,
    /// Losses that it tells.
    pub losses: Vec<Lost>,
    /// All facts that its results refer to.
    pub facts: Vec<Facts>,
    /// A `ResultBatch` with what does not depend on where and when it is sent.
    pub payload: Bytes,
}

/// A batch without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// See [`Row`].
    pub id: u64,
    /// See [`Row`].
    pub since: i64,
    /// See [`Row`].
    pub sealed_at: i64,
    /// See [`Row`].
    pub results: u64,
    /// See [`Row`].
    pub losses: Vec<Lost>,
    /// How much room its removal makes, at least.
    pub bytes: u64,
}

impl Head {
    fn of(row: &Row, bytes: u64) -> Self {
        let Row { id, since, sealed_at, results, losses, .. } = row;
        Self { id: *id, since: *since, sealed_at: *sealed_at, results: *results, losses: losses.clone(), bytes }
    }
}

/// What is written at once: all of it or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The ledger from then on.
    pub ledger: &'a Ledger,
    /// Batches to remove; taken away before others are added.
    pub remove: &'a [RangeInclusive<u64>],
    /// Batches to add.
    pub add: &'a [Row],
}

/// How much room there is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free without asking the system for more.
    pub inside: u64,
    /// What may be asked of the system beyond that.
    pub growth: u64,
    /// Taken.
    pub used: u64,
    /// The quota.
    pub all: u64,
}

/// Where batches are kept.
///
/// Rule: what `commit` returned `Ok` for is there after any crash, whole; what it returned an error for is there whole or
/// not at all, and [`Self::ledger`] after [`Self::reopen`] tells which. Both stores pass `spool/tests/conformance.rs`.
pub trait Store: Send {
    /// The ledger as it was last committed; `None` in a new store.
    fn ledger(&mut self) -> Result<Option<Ledger>, StoreError>;
    /// Writes the change, durably.
    fn commit(&mut self, change: &Change<'_>) -> Result<(), StoreError>;
    /// The batch with the lowest of these ids that is held.
    fn read(&mut self, ids: RangeInclusive<u64>) -> Result<Option<Row>, StoreError>;
    /// The lowest of these ids that are held, in order.
    fn heads(&mut self, ids: RangeInclusive<u64>, most: usize) -> Result<Vec<Head>, StoreError>;
    /// The highest id above `above` whose batch was sealed before then.
    fn newest_before(&mut self, above: u64, sealed_before: i64) -> Result<Option<u64>, StoreError>;
    /// How much room there is.
    fn room(&mut self) -> Result<Room, StoreError>;
    /// How much of it the batch would take, at most.
    fn cost(&self, row: &Row) -> u64;
    /// Whether confirmed batches stay until their room is needed.
    fn keeps_confirmed(&self) -> bool;
    /// Starts over from what is durable: after an error nothing else is to be believed.
    fn reopen(&mut self) -> Result<(), StoreError>;
    /// Begins anew, empty: what is there is damaged beyond use, and is put aside as of `now`.
    fn renew(&mut self, now: i64) -> Result<(), StoreError>;
}

/// What a store cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The quota is used up.
    #[error("no room within the quota")]
    Quota,
    /// The system did not take or give it: a full disk, or one that fails.
    #[error("{0}")]
    Disk(String),
    /// A batch is not what was stored.
    #[error("batch {} of the spool is damaged", .0.id)]
    Row(Box<Head>),
    /// The store itself is not what was stored.
    #[error("the spool is damaged: {0}")]
    Broken(String),
}
