//! Decided: which results a change may have hung on, by the coordinator's own log.
//!
//! A change is made by a tick, of the records that no tick before it has seen. The result that decided it is one of them, so the
//! oldest of them bounds from above how long the change took.

use std::{collections::BTreeMap, path::Path};

use faultline_coordinator::{
    log::{ChangeLog as _, Cursor, RecordLog as _, sqlite::SqliteLog},
    record::RecordKind,
};

/// Rows read at once.
const ROWS: usize = 4096;

/// When the oldest batch that each change's tick was the first to see was received, microseconds since the Unix epoch, by the
/// change's sequence. Changes that no batch made are not in it: time made them, or somebody said something.
///
/// # Errors
///
/// When the log of the data directory cannot be read.
pub(super) async fn oldest_batches(data: &Path) -> anyhow::Result<BTreeMap<u64, i64>> {
    let log = SqliteLog::open(data)?;
    let mut oldest_of: BTreeMap<Cursor, i64> = BTreeMap::new();
    let (mut read, mut oldest) = (Cursor::START, None);
    loop {
        let records = log.next(read, ROWS).await?;
        let Some((last, _)) = records.last() else { break };
        read = *last;
        for (cursor, record) in &records {
            match record.kind {
                RecordKind::Batch => oldest = oldest.or(Some(record.received_at.micros())),
                RecordKind::Tick => oldest_of.extend(oldest.take().map(|oldest| (*cursor, oldest))),
                _ => {}
            }
        }
    }
    let (mut sequence, mut decided) = (0, BTreeMap::new());
    loop {
        let entries = log.published_after(sequence, ROWS).await?;
        let Some(last) = entries.last() else { return Ok(decided) };
        sequence = last.sequence;
        decided.extend(entries.iter().filter_map(|entry| Some((entry.sequence, *oldest_of.get(&entry.tick)?))));
    }
}
