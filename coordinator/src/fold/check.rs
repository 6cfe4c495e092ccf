//! Check: proves the newest snapshot, by folding the log up to its tick once more and comparing every byte.
//!
//! It reads alone, also while a coordinator runs on the log, and publishes nothing. A log from which old records are gone
//! cannot be folded from its beginning: there the older snapshot is the base, and the proof is as good as that one.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use faultline_attribution::{Settings, Timestamp};

use super::{
    Fold, FoldError, Folded,
    snapshot::{Snapshot, Unusable},
    snapshots::Snapshots,
};
use crate::{
    board::Board,
    feed::Published,
    log::{Admission, Appended, ChangeLog, Cursor, Entry, LogError, RecordLog, sqlite::SqliteReader},
    record::Record,
};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What was folded to prove it.
    pub base: Base,
    /// The parts of it that are other than what the log comes to; none is the proof.
    pub differs: Vec<&'static str>,
}

/// From where the log was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// From its first record.
    Whole,
    /// From an older snapshot's tick.
    Since(Cursor),
}

/// Why nothing can be proved.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// There is no snapshot.
    #[error("no snapshot in {0}: a coordinator writes one a minute")]
    None(String),
    /// The newest snapshot is not used at a restart either.
    #[error("snapshot {file}: {why}")]
    Unusable {
        /// Its file.
        file: String,
        /// Why.
        why: Unusable,
    },
    /// Records are gone, and there is no older snapshot to begin from.
    #[error("{missing} records before the snapshot are gone from the log, and no older snapshot reaches back to them")]
    Gone {
        /// How many.
        missing: i64,
    },
}

/// Proves the newest snapshot of a data directory.
pub async fn check(data: &Path, settings: Settings) -> Result<Checked, CheckError> {
    let snapshots = Snapshots::of(data);
    let mut found = snapshots.newest_first().into_iter();
    let newest = found.next().ok_or_else(|| CheckError::None(snapshots.folder().display().to_string()))?;
    let unusable = |why| CheckError::Unusable { file: newest.path.display().to_string(), why };
    let snapshot = newest.read().map_err(unusable)?;
    let reader = SqliteReader::open(data)?;
    let feed_id = reader.feed_id()?;
    let log = Arc::new(UpTo { reader: Mutex::new(reader), last: snapshot.cursor, read: AtomicI64::new(0) });
    snapshot.check(&*log, &feed_id, u64::MAX).await?.map_err(unusable)?;

    let whole = fold(&log, Folded::empty(settings.clone())).await?;
    let missing = snapshot.cursor.0 - log.read.load(Ordering::Relaxed);
    if missing == 0 {
        return Ok(Checked { differs: differences(&snapshot, whole), snapshot, base: Base::Whole });
    }
    for older in found.filter_map(|older| older.read().ok()) {
        if snapshot_fits(&older, &log, &feed_id).await?
            && let Ok(state) = older.state(settings.clone())
        {
            let since = fold(&log, state).await?;
            let base = Base::Since(older.cursor);
            return Ok(Checked { differs: differences(&snapshot, since), snapshot, base });
        }
    }
    Err(CheckError::Gone { missing })
}

async fn snapshot_fits(older: &Snapshot, log: &UpTo, feed_id: &str) -> Result<bool, LogError> {
    Ok(older.check(log, feed_id, u64::MAX).await?.is_ok())
}

/// The state at the last tick.
async fn fold(log: &Arc<UpTo>, state: Folded) -> Result<Option<Snapshot>, FoldError> {
    log.read.store(0, Ordering::Relaxed);
    let (records, nowhere) = (Arc::clone(log) as Arc<dyn RecordLog>, Arc::new(Nowhere));
    let board = Board::new(nowhere.feed_id());
    let (fold, _) = Fold::go_on(records, nowhere, state, (board, Cursor::START), Timestamp::default()).await?;
    Ok(fold.snapshot())
}

fn differences(snapshot: &Snapshot, folded: Option<Snapshot>) -> Vec<&'static str> {
    let Some(folded) = folded else { return vec!["tick"] };
    let parts = [
        ("tick", (folded.cursor, folded.at) == (snapshot.cursor, snapshot.at)),
        ("engine", folded.engine == snapshot.engine),
        ("damage", folded.damage == snapshot.damage),
        ("observer", folded.observer == snapshot.observer),
    ];
    parts.into_iter().filter(|(_, is_equal)| !is_equal).map(|(part, _)| part).collect()
}

/// A log that ends at a record, and takes none.
struct UpTo {
    reader: Mutex<SqliteReader>,
    last: Cursor,
    /// Records read.
    read: AtomicI64,
}

#[async_trait]
impl RecordLog for UpTo {
    async fn append(&self, _admission: Admission, _record: Record) -> Result<Appended, LogError> {
        Ok(Appended::Fenced)
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        let mut records = self.reader.lock().unwrap_or_else(PoisonError::into_inner).next(after, limit)?;
        records.retain(|(cursor, _)| *cursor <= self.last);
        self.read.fetch_add(i64::try_from(records.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(records)
    }

    async fn admitted(&self, _agent: &str, _incarnation: &[u8], _lane: u8) -> Result<u64, LogError> {
        Ok(0)
    }
}

/// A feed that nobody reads.
struct Nowhere;

#[async_trait]
impl ChangeLog for Nowhere {
    fn feed_id(&self) -> String {
        String::new()
    }

    async fn publish(&self, _: Cursor, _: Timestamp, _: Vec<Published>) -> Result<Vec<Entry>, LogError> {
        Ok(Vec::new())
    }

    async fn published_after(&self, _sequence: u64, _limit: usize) -> Result<Vec<Entry>, LogError> {
        Ok(Vec::new())
    }
}
