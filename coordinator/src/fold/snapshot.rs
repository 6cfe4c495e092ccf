//! Snapshot: the state of the fold as of a tick, so that a restart reads only the records after it.
//!
//! Format 1. A file `snapshots/<cursor>.fold` in the data directory is `FLTFOLD`, the format (1 byte), CRC-32C of the rest
//! (4 bytes, little-endian), and the rest: a header in postcard `{feed_id, cursor, at, sequence, damage, engine_bytes}`, the engine
//! ([`Engine::snapshot`], which carries its version), and the observer ([`Observer::snapshot`]). Rules:
//! * A snapshot is of a tick whose changes are published, and knows nothing of any record after that tick: so nothing that
//!   was published is ever worked out again, and nothing is missed, in whatever order a crash falls between the tick, its
//!   changes and the snapshot.
//! * It is used only where it belongs: format, engine and feed are this build's and this log's, the log holds its tick, and
//!   the record of changes reaches as far. Whatever else is there is named, and the next older one is tried; without any,
//!   the whole log is folded.
//! * Equality: a fold that went on from a snapshot is, to the byte, the fold of the whole log
//!   (`a_restart_from_a_snapshot_equals_a_full_rebuild`).

use std::sync::Arc;

use faultline_attribution::{Engine, Settings, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Damage, Fold, FoldError, Folded, snapshots::Snapshots};
use crate::{
    board::Board,
    log::{ChangeLog, Cursor, LogError, RecordLog},
    observe::{Observer, kept::RestoreError},
    record::RecordKind,
};

/// Format that this build writes and reads: to be raised whenever the observer keeps something else, or reads a record
/// otherwise than before (`the_format_stands_for_what_is_kept`). The engine has a version of its own.
pub const FORMAT: u8 = 2;

const MAGIC: &[u8; 7] = b"FLTFOLD";

/// The state of the fold as of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The feed that its changes are published in.
    pub feed_id: String,
    /// The tick.
    pub cursor: Cursor,
    /// The tick's instant.
    pub at: Timestamp,
    /// The newest change that was published until then.
    pub sequence: u64,
    /// Records that were skipped until then.
    pub damage: Damage,
    /// The engine.
    pub engine: Vec<u8>,
    /// The observer.
    pub observer: Vec<u8>,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read from disk.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It does not begin as snapshots do.
    #[error("it is no snapshot of a fold")]
    Foreign,
    /// Of another build.
    #[error("format {0}, this build reads {FORMAT}")]
    Format(u8),
    /// Its checksum does not fit.
    #[error("it is damaged (checksum)")]
    Damaged,
    /// Of another log.
    #[error("it is of feed {found}, this log's is {ours}")]
    Feed {
        /// The feed that it is of.
        found: String,
        /// The feed of the log.
        ours: String,
    },
    /// The log is not the one that it was taken of, or no longer reaches back to it.
    #[error("the log holds no such tick at record {0}")]
    Tick(Cursor),
    /// The record of changes ends before it.
    #[error("it has seen change {seen}, and the newest is {newest}")]
    Changes {
        /// The newest that it has seen.
        seen: u64,
        /// The newest that there is.
        newest: u64,
    },
    /// Its engine is none of this build.
    #[error(transparent)]
    Engine(#[from] faultline_attribution::SnapshotError),
    /// Its observer is none of this build.
    #[error(transparent)]
    Observer(#[from] RestoreError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    feed_id: String,
    cursor: Cursor,
    at: Timestamp,
    sequence: u64,
    damage: Damage,
    engine_bytes: usize,
}

impl Snapshot {
    /// The content of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { feed_id, cursor, at, sequence, damage, engine, observer } = self;
        let (feed_id, damage, engine_bytes) = (feed_id.clone(), damage.clone(), engine.len());
        let header = Header { feed_id, cursor: *cursor, at: *at, sequence: *sequence, damage, engine_bytes };
        let header = postcard::to_stdvec(&header).unwrap_or_default();
        let crc = [header.as_slice(), engine, observer].into_iter().fold(0, crc32c::crc32c_append);
        [MAGIC.as_slice(), &[FORMAT], &crc.to_le_bytes(), &header, engine, observer].concat()
    }

    /// The snapshot in the content of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unusable> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Unusable::Foreign)?;
        let (format, rest) = rest.split_first().ok_or(Unusable::Damaged)?;
        if *format != FORMAT {
            return Err(Unusable::Format(*format));
        }
        let (crc, content) = rest.split_first_chunk().ok_or(Unusable::Damaged)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(Unusable::Damaged);
        }
        let (header, states): (Header, &[u8]) = postcard::take_from_bytes(content).map_err(|_| Unusable::Damaged)?;
        let Header { feed_id, cursor, at, sequence, damage, engine_bytes } = header;
        let (engine, observer) = states.split_at_checked(engine_bytes).ok_or(Unusable::Damaged)?;
        let (engine, observer) = (engine.to_vec(), observer.to_vec());
        Ok(Self { feed_id, cursor, at, sequence, damage, engine, observer })
    }

    /// Whether this log and its feed are those that the snapshot was taken of; `newest` is the feed's newest change.
    pub(super) async fn check(
        &self,
        log: &dyn RecordLog,
        feed_id: &str,
        newest: u64,
    ) -> Result<Result<(), Unusable>, LogError> {
        if self.feed_id != feed_id {
            return Ok(Err(Unusable::Feed { found: self.feed_id.clone(), ours: feed_id.to_owned() }));
        }
        let found = log.next(Cursor(self.cursor.0 - 1), 1).await?;
        let is_there = found.first().is_some_and(|(cursor, record)| {
            *cursor == self.cursor && record.kind == RecordKind::Tick && record.received_at == self.at
        });
        if !is_there {
            return Ok(Err(Unusable::Tick(self.cursor)));
        }
        if self.sequence > newest {
            return Ok(Err(Unusable::Changes { seen: self.sequence, newest }));
        }
        Ok(Ok(()))
    }

    /// The state, to go on from.
    pub(super) fn state(&self, settings: Settings) -> Result<Folded, Unusable> {
        let engine = Engine::restore(&self.engine, settings)?;
        let observer = Observer::restore(&self.observer)?;
        Ok(Folded { engine, observer, damage: self.damage.clone(), tick: Some((self.cursor, self.at)) })
    }
}

impl Fold {
    /// Goes on from the newest snapshot that fits, or folds the whole log. Returns the board as published. What was
    /// published before stays as it is, whichever way it goes.
    pub async fn resume(
        log: Arc<dyn RecordLog>,
        changes: Arc<dyn ChangeLog>,
        settings: Settings,
        snapshots: &Snapshots,
        now: Timestamp,
    ) -> Result<(Self, Board), FoldError> {
        let (board, published) = Self::published(&*changes).await?;
        let mut state = None;
        for found in snapshots.newest_first() {
            let (cursor, read) = (found.cursor, found.read());
            let tried = match read {
                Err(error) => Err(error),
                Ok(snapshot) => match snapshot.check(&*log, &board.feed_id, board.sequence).await? {
                    Ok(()) => snapshot.state(settings.clone()),
                    Err(error) => Err(error),
                },
            };
            match tried {
                Ok(found) => {
                    snapshots.note(cursor);
                    state = Some(found);
                    break;
                }
                Err(error) => tracing::warn!(file = %found.path.display(), %error, "snapshot not used"),
            }
        }
        let state = state.unwrap_or_else(|| Folded::empty(settings));
        tracing::info!(after = %state.read(), "folding the log");
        Self::go_on(log, changes, state, (board, published), now).await
    }

    /// The state as of the last tick; `None` before the first one, and where a tick was folded and its changes could not be
    /// published.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (cursor, at) = self.folded?;
        let (engine, observer) = (self.engine.snapshot(), self.observer.snapshot());
        let (feed_id, damage) = (self.changes.feed_id(), self.damage.clone());
        Some(Snapshot { feed_id, cursor, at, sequence: self.sequence, damage, engine, observer })
    }
}

#[cfg(test)]
mod tests;
