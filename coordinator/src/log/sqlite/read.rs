//! What reads a log: records, changes, and the last number admitted of a lane.
//!
//! Rules: what is damaged never stops a reader. A record whose checksum does not fit, or whose kind is unknown, comes as
//! [`RecordKind::Damaged`] at its place; a stretch that the store itself cannot read comes as one such record at its end. A
//! damaged change is left out, and an ERROR in the process's log names it.

use std::path::Path;

use faultline_attribution::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::{Cursor, Entry, LogError};
use crate::record::{Record, RecordKind};

/// The columns of a record that [`whole`] reads.
pub(super) const COLUMNS: &str =
    "cursor, format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload";

/// Records after the cursor, in order.
pub(super) fn records(
    connection: &Connection,
    path: &Path,
    after: Cursor,
    limit: usize,
) -> Result<Vec<(Cursor, Record)>, LogError> {
    let store = |source| LogError::Store { path: path.to_owned(), source };
    let (mut records, mut read) = (Vec::new(), after);
    while records.len() < limit {
        match scan(connection, read, limit, &mut records) {
            Ok(()) => break,
            Err(error) if is_corrupt(&error) => {
                let from = records.last().map_or(read, |(cursor, _)| *cursor);
                let end = unreadable(connection, from).map_err(store)?.ok_or_else(|| store(error))?;
                let why = format!("the store cannot read records {} to {}", from.0 + 1, end.0);
                records.push((end, Record::damaged(why)));
                read = end;
            }
            Err(error) => return Err(store(error)),
        }
    }
    Ok(records)
}

/// Adds records after the cursor until there are `limit`. It seeks what comes after the cursor, not the cursor, which may
/// lie on a page that cannot be read.
fn scan(
    connection: &Connection,
    after: Cursor,
    limit: usize,
    records: &mut Vec<(Cursor, Record)>,
) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM record WHERE cursor >= ?1 ORDER BY cursor");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([after.0 + 1])?;
    while records.len() < limit
        && let Some(row) = rows.next()?
    {
        let cursor = Cursor(row.get(0)?);
        records.push((cursor, record(row)));
    }
    Ok(())
}

/// The record of a row, or what is left of it.
pub(super) fn record(row: &Row<'_>) -> Record {
    whole(row).unwrap_or_else(|why| Record::damaged(why.to_owned()))
}

fn whole(row: &Row<'_>) -> Result<Record, &'static str> {
    let columns = || -> rusqlite::Result<_> {
        let (format, kind, crc): (u8, u8, u32) = (row.get(1)?, row.get(2)?, row.get(9)?);
        let record = Record {
            kind: RecordKind::of(kind).unwrap_or(RecordKind::Damaged),
            received_at: Timestamp::from_micros(row.get(3)?),
            agent: row.get(4)?,
            incarnation: row.get(5)?,
            epoch: row.get::<_, i64>(6)?.cast_unsigned(),
            lane: row.get(7)?,
            number: row.get::<_, i64>(8)?.cast_unsigned(),
            payload: row.get::<_, Vec<u8>>(10)?.into(),
        };
        Ok((format, crc, record))
    };
    let (format, crc, record) = columns().map_err(|_| "a column holds something else")?;
    if record.kind == RecordKind::Damaged {
        return Err("unknown kind");
    }
    match record.checksum(format) {
        None => Err("unknown format"),
        Some(sum) if sum != crc => Err("checksum"),
        Some(_) => Ok(record),
    }
}

/// The end of a stretch after the cursor that the store cannot read; `None` if it can.
fn unreadable(connection: &Connection, after: Cursor) -> rusqlite::Result<Option<Cursor>> {
    let last = last_cursor(connection)?;
    let mut end = None;
    for cursor in after.0 + 1..=last.0 {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE cursor >= ?1 ORDER BY cursor LIMIT 1");
        let found = connection.prepare_cached(&sql)?.query_row([cursor], |row| Ok(record(row))).optional();
        match found {
            Ok(_) => break,
            Err(error) if is_corrupt(&error) => end = Some(Cursor(cursor)),
            Err(error) => return Err(error),
        }
    }
    Ok(end)
}

/// The newest cursor that was ever given.
pub(super) fn last_cursor(connection: &Connection) -> rusqlite::Result<Cursor> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'record'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Cursor(last.unwrap_or_default()))
}

/// Whether the store found its own pages damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt))
}

/// Changes after the sequence, in order.
pub(super) fn changes(
    connection: &Connection,
    path: &Path,
    sequence: u64,
    limit: usize,
) -> Result<Vec<Entry>, LogError> {
    let store = |source| LogError::Store { path: path.to_owned(), source };
    let mut statement = connection
        .prepare_cached(
            "SELECT sequence, tick, published_at, crc32c, payload FROM change WHERE sequence > ?1 ORDER BY sequence",
        )
        .map_err(store)?;
    let mut rows = statement.query([sequence.cast_signed()]).map_err(store)?;
    let mut entries = Vec::new();
    while entries.len() < limit
        && let Some(row) = rows.next().map_err(store)?
    {
        if let Some(entry) = entry(row) {
            entries.push(entry);
        } else {
            let sequence: i64 = row.get(0).map_err(store)?;
            tracing::error!(log = %path.display(), sequence, "published change is damaged and left out");
        }
    }
    Ok(entries)
}

/// The change of a row; `None` where it is damaged.
pub(super) fn entry(row: &Row<'_>) -> Option<Entry> {
    let (crc, payload): (u32, Vec<u8>) = (row.get(3).ok()?, row.get(4).ok()?);
    (crc32c::crc32c(&payload) == crc).then_some(())?;
    Some(Entry {
        sequence: row.get::<_, i64>(0).ok()?.cast_unsigned(),
        tick: Cursor(row.get(1).ok()?),
        published_at: Timestamp::from_micros(row.get(2).ok()?),
        published: serde_json::from_slice(&payload).ok()?,
    })
}

/// The last number admitted in a lane; zero for none.
pub(super) fn last_admitted(
    connection: &Connection,
    agent: &str,
    incarnation: &[u8],
    lane: u8,
) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT number FROM admitted WHERE agent = ?1 AND incarnation = ?2 AND lane = ?3")?
        .query_row(params![agent, incarnation, lane], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or_default().cast_unsigned())
}
