//! Rows: a batch and its facts to tables and back. What does not match its checksum is given back as damaged; facts that do not
//! are left out.

use std::{collections::HashSet, ops::RangeInclusive};

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Transaction, params};

use super::{
    super::{Facts, Head, Row, StoreError},
    is_of_another_type, to_sql,
};

/// Where facts go.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Its first id; zero for none.
    pub(super) first: u64,
    /// Facts that are stored in it.
    pub(super) stored: HashSet<u32>,
}

pub(super) fn add(transaction: &Transaction<'_>, row: &Row, segment: &mut Segment) -> rusqlite::Result<()> {
    if segment.first == 0 || row.id >= segment.first + SEGMENT {
        *segment = Segment { first: row.id, stored: HashSet::new() };
    }
    let first = to_sql(segment.first);
    let mut keep = transaction.prepare_cached("INSERT OR REPLACE INTO facts VALUES (?1, ?2, ?3, ?4)")?;
    for facts in &row.facts {
        if segment.stored.insert(facts.number) {
            let crc = crc32c::crc32c(&facts.encoded);
            keep.execute(params![first, facts.number, crc, facts.encoded.as_ref()])?;
        }
    }
    let refers: Vec<u8> = row.facts.iter().flat_map(|facts| facts.number.to_le_bytes()).collect();
    let losses =
        serde_json::to_string(&row.losses).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let crc = checksum(row, &losses, &refers);
    transaction.prepare_cached("INSERT INTO batch VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        to_sql(row.id),
        first,
        row.since,
        row.sealed_at,
        to_sql(row.results),
        losses,
        refers,
        crc,
        row.payload.as_ref()
    ])?;
    Ok(())
}

pub(super) fn remove(transaction: &Transaction<'_>, ids: &RangeInclusive<u64>) -> rusqlite::Result<()> {
    let limits = params![to_sql(*ids.start()), to_sql(*ids.end())];
    let segments: Vec<i64> = transaction
        .prepare_cached("SELECT DISTINCT segment FROM batch WHERE id BETWEEN ?1 AND ?2")?
        .query_map(limits, |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.prepare_cached("DELETE FROM batch WHERE id BETWEEN ?1 AND ?2")?.execute(limits)?;
    for segment in segments {
        let last = segment.saturating_add(to_sql(SEGMENT)) - 1;
        transaction
            .prepare_cached(
                "DELETE FROM facts WHERE segment = ?1 AND NOT EXISTS \
                 (SELECT 1 FROM batch WHERE id BETWEEN ?1 AND ?2 AND segment = ?1)",
            )?
            .execute(params![segment, last])?;
    }
    Ok(())
}

/// The row, or what is damaged.
pub(super) fn read(
    connection: &Connection,
    ids: RangeInclusive<u64>,
) -> rusqlite::Result<Option<Result<Row, StoreError>>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, segment, since, sealed_at, results, losses, refers, crc32c, payload FROM batch \
         WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
    )?;
    let mut rows = statement.query(params![to_sql(*ids.start()), to_sql(*ids.end())])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let id = found.get::<_, i64>(0)?.cast_unsigned();
    let results = found.get::<_, i64>(4).unwrap_or(0).cast_unsigned();
    let damaged = |row: Row| Ok(Some(Err(StoreError::Row(Box::new(Head::of(&row, row.payload.len() as u64))))));
    let (segment, mut row, losses, refers, crc) = match columns(found) {
        Err(error) if is_of_another_type(&error) => return damaged(Row { id, results, ..Row::default() }),
        columns => columns?,
    };
    if checksum(&row, &losses, &refers) != crc {
        return damaged(row);
    }
    let mut kept = connection.prepare_cached("SELECT crc32c, content FROM facts WHERE segment = ?1 AND number = ?2")?;
    for number in refers.chunks_exact(4).filter_map(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?))) {
        row.facts.extend(facts(&mut kept, segment, number)?);
    }
    Ok(Some(Ok(row)))
}

/// Segment, batch, its losses as they are stored, numbers of its facts, checksum.
fn columns(found: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, Row, String, Vec<u8>, u32)> {
    let losses: String = found.get(5)?;
    let row = Row {
        id: found.get::<_, i64>(0)?.cast_unsigned(),
        since: found.get(2)?,
        sealed_at: found.get(3)?,
        results: found.get::<_, i64>(4)?.cast_unsigned(),
        losses: serde_json::from_str(&losses).unwrap_or_default(),
        facts: Vec::new(),
        payload: found.get::<_, Vec<u8>>(8)?.into(),
    };
    Ok((found.get(1)?, row, losses, found.get(6)?, found.get(7)?))
}

/// Facts that are damaged are left out: their results are worth more.
fn facts(kept: &mut CachedStatement<'_>, segment: i64, number: u32) -> rusqlite::Result<Option<Facts>> {
    let found = kept.query_row(params![segment, number], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let encoded = found.optional()?.filter(|(crc, content)| crc32c::crc32c(content) == *crc);
    if encoded.is_none() {
        tracing::warn!(number, "facts in the spool are damaged: results go without them");
    }
    Ok(encoded.map(|(_, content)| Facts { number, encoded: Bytes::from(content) }))
}

fn checksum(row: &Row, losses: &str, refers: &[u8]) -> u32 {
    let numbers = [row.id, row.since.cast_unsigned(), row.sealed_at.cast_unsigned(), row.results];
    let crc = numbers.iter().fold(0, |crc, number| crc32c::crc32c_append(crc, &number.to_le_bytes()));
    [losses.as_bytes(), refers, &row.payload].iter().fold(crc, |crc, bytes| crc32c::crc32c_append(crc, bytes))
}

/// Ids that share facts.
const SEGMENT: u64 = 256;
