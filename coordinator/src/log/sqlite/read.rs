//! What reads a log: records, changes, and the last number admitted of a lane. A checksum that does not fit is an error.

use std::path::Path;

use faultline_attribution::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Cursor, Entry, LogError};
use crate::record::{Record, RecordKind};

/// Records after the cursor, in order.
pub(super) fn records(
    connection: &Connection,
    path: &Path,
    after: Cursor,
    limit: usize,
) -> Result<Vec<(Cursor, Record)>, LogError> {
    let store = |source| LogError::Store { path: path.to_owned(), source };
    let mut statement = connection
        .prepare_cached(
            "SELECT cursor, format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload \
             FROM record WHERE cursor > ?1 ORDER BY cursor LIMIT ?2",
        )
        .map_err(store)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.0, limit]).map_err(store)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let cursor: i64 = row.get(0).map_err(store)?;
        let (kind, crc): (u8, u32) = (row.get(2).map_err(store)?, row.get(9).map_err(store)?);
        let payload: Vec<u8> = row.get(10).map_err(store)?;
        let kind = RecordKind::of(kind).filter(|_| crc32c::crc32c(&payload) == crc);
        let kind = kind.ok_or_else(|| LogError::Damaged { path: path.to_owned(), cursor })?;
        let record = Record {
            kind,
            received_at: Timestamp::from_micros(row.get(3).map_err(store)?),
            agent: row.get(4).map_err(store)?,
            incarnation: row.get(5).map_err(store)?,
            epoch: row.get::<_, i64>(6).map_err(store)?.cast_unsigned(),
            lane: row.get(7).map_err(store)?,
            number: row.get::<_, i64>(8).map_err(store)?.cast_unsigned(),
            payload: payload.into(),
        };
        records.push((Cursor(cursor), record));
    }
    Ok(records)
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
            "SELECT sequence, tick, published_at, crc32c, payload FROM change WHERE sequence > ?1 \
             ORDER BY sequence LIMIT ?2",
        )
        .map_err(store)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![sequence.cast_signed(), limit]).map_err(store)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let sequence: i64 = row.get(0).map_err(store)?;
        let (crc, payload): (u32, Vec<u8>) = (row.get(3).map_err(store)?, row.get(4).map_err(store)?);
        let damaged = || LogError::Damaged { path: path.to_owned(), cursor: sequence };
        if crc32c::crc32c(&payload) != crc {
            return Err(damaged());
        }
        entries.push(Entry {
            sequence: sequence.cast_unsigned(),
            tick: Cursor(row.get(1).map_err(store)?),
            published_at: Timestamp::from_micros(row.get(2).map_err(store)?),
            published: serde_json::from_slice(&payload).map_err(|_| damaged())?,
        });
    }
    Ok(entries)
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
