//! The log: the coordinator's durable record of every input of the fold, and the only truth.
//!
//! [`RecordLog`] is the whole surface of a store. Rule: `append` returns once the record would survive a power cut.
//! Admission is exact: a batch that was sent twice is stored once, a gap is known, and a session that a newer one has
//! replaced is fenced off. The second record, of what was published, is [`ChangeLog`]: append-only, never recomputed.

pub mod sqlite;

use std::path::PathBuf;

use async_trait::async_trait;
use faultline_attribution::Timestamp;

use crate::{feed::Published, record::Record};

/// A place in the log. Opaque to callers but for its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub(crate) i64);

impl Cursor {
    /// Before the first record.
    pub const START: Self = Self(0);
}

/// Under what right a record comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The coordinator's own.
    Own,
    /// Opens a session of the record's agent: every older one is fenced. The session's epoch is the record's place.
    Session,
    /// A batch, numbered in its lane; lower numbers than `first_number` that are not here were dropped by the agent.
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
    /// It is here already.
    Duplicate,
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
    /// A record whose checksum does not fit.
    #[error("log {}: record {cursor} is damaged (checksum)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its place.
        cursor: i64,
    },
    /// The writer is gone.
    #[error("log {}: closed", .0.display())]
    Closed(PathBuf),
    /// Another process has it open.
    #[error("log {}: another coordinator has this data directory open", .0.display())]
    Locked(PathBuf),
}

/// A store of records.
#[async_trait]
pub trait RecordLog: Send + Sync {
    /// Stores a record. Returns once it would survive a power cut.
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError>;

    /// Records after the cursor, in order, `limit` at most.
    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError>;

    /// The last number admitted in a lane of an agent's spool; zero for none.
    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError>;
}

/// One published change with its place in the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Place in the feed, from 1.
    pub sequence: u64,
    /// The tick that made it.
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

    /// Stores what one tick published, all or nothing.
    async fn publish(&self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Result<Vec<Entry>, LogError>;

    /// Changes after the sequence, in order, `limit` at most.
    async fn published_after(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError>;
}
