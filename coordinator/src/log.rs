//! The log: the coordinator's durable record of every input of the fold, and the only truth.
//!
//! [`RecordLog`] is the whole surface of a store. Rule: `append` returns once the record would survive a power cut, and an
//! error says that it is not stored. Admission is exact: a batch that was sent twice is stored once, whatever it holds the
//! second time, a gap is known, and a session that a newer one has replaced is fenced off. The second record, of what was
//! published, is [`ChangeLog`]: append-only, never recomputed. A store that is full is no fault of its callers: they wait
//! until there is room again ([`patient`]). What every store must keep is in `conformance`.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod patient;
pub mod sqlite;

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{feed::Published, record::Record};

/// A place in the log. Opaque to callers but for its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor(pub(crate) i64);

impl Cursor {
    /// Before the first record.
    pub const START: Self = Self(0);

    /// The place of the record that a store counts as its `number`th, from 1.
    pub const fn nth(number: i64) -> Self {
        Self(number)
    }

    /// The place right before it.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0 - 1)
    }

    /// The epoch of the session whose record is here.
    pub const fn epoch(self) -> u64 {
        self.0.cast_unsigned()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Under what right a record comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The coordinator's own.
    Own,
    /// Opens a session of the record's agent: every older one is fenced. The session's epoch is the record's place.
    Session,
    /// A batch, numbered in its lane; lower numbers than `first_number` that are not here were dropped by the agent, or moved
    /// to its other lane.
    Batch {
        /// Lowest number that is still to come.
        first_number: u64,
    },
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Durable, here.
    At(Cursor),
    /// A batch of this number is here already, or was said never to come.
    Duplicate {
        /// The last number that is durable in the lane.
        durable: u64,
    },
    /// Earlier batches are missing and were not said to be dropped.
    Gap {
        /// The number that must come first.
        expected: u64,
    },
    /// A newer session of the agent exists.
    Fenced,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store said no.
    #[error("log {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// No room: the disk or the log's own limit is full. Nothing of what was asked is stored, and the same may be asked again.
    #[error("log {}: no room: {why}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the store said.
        why: String,
    },
    /// A file of a newer build.
    #[error("log {}: schema {found} is newer than {known}, the newest that this build reads: upgrade it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
    /// A file of an older build, that only a coordinator may bring up to date.
    #[error(
        "log {}: schema {found} does not hold this, schema {needed} does: start a coordinator on it once, that brings it up to date",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: i64,
        /// The first that holds it.
        needed: i64,
    },
    /// The writer is gone.
    #[error("log {}: closed", .0.display())]
    Closed(PathBuf),
    /// Another process has it open.
    #[error("log {}: another coordinator has this data directory open", .0.display())]
    Locked(PathBuf),
}

impl LogError {
    /// Whether it passes by itself once there is room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Incarnations of an agent's spool that a store must know the numbers of: those that handed in something last. An older
/// one is forgotten, so that an agent that is always new does not fill the store.
///
/// Rule: who comes back with a forgotten one counts anew. It takes the agent's own certificate, which may report anything
/// anyway, and that many spools after the one that comes back; its results are late, so they correct what is known and open
/// nothing. A spool on disk keeps its incarnation, and one in memory never comes back.
pub const INCARNATIONS: usize = 64;

/// A store of records.
#[async_trait]
pub trait RecordLog: Send + Sync {
    /// Stores a record. Returns once it would survive a power cut.
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError>;

    /// Records after the cursor, in order, `limit` at most. One that cannot be read is [`RecordKind::Damaged`].
    ///
    /// [`RecordKind::Damaged`]: crate::record::RecordKind::Damaged
    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError>;

    /// Drops records up to the cursor, but for what later ones refer to: those read as before. Does as much as a short
    /// transaction holds and returns how far the log is trimmed by now; the cursor or less. A store may keep everything.
    async fn trim(&self, through: Cursor) -> Result<Cursor, LogError> {
        Ok(through)
    }

    /// The last number admitted in a lane of an agent's spool; zero for none.
    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError>;
}

/// One published change with its place in the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Place in the feed, from 1.
    pub sequence: u64,
    /// The tick that made it; [`Cursor::START`] where none did.
    pub tick: Cursor,
    /// When it was published.
    pub published_at: Timestamp,
    /// What.
    pub published: Published,
}

/// The record of what was published: it owns the feed's sequence.
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// Identity of this feed.
    fn feed_id(&self) -> String;

    /// Stores what one tick published, or what no tick made ([`Cursor::START`]), all or nothing.
    async fn publish(&self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Result<Vec<Entry>, LogError>;

    /// Changes after the sequence, in order, `limit` at most; damaged ones are left out.
    async fn published_after(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError>;
}
