//! Counts in the log's file: parts by hour, target or element, and the stretch of the log that they were counted from; and
//! the histories of incidents.
//!
//! Rule: a stretch is counted once: its parts and how far the counts reach (`meta.counted`) are one transaction.

use std::collections::BTreeMap;

use faultline_attribution::Change;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Cursor, read::entry};
use crate::{
    counts::{By, Part, Tally},
    feed::Published,
    history::History,
};

/// How far the counts reach.
pub(super) fn counted(connection: &Connection) -> rusqlite::Result<Cursor> {
    let through: Option<i64> = connection
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'counted'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Cursor(through.unwrap_or_default()))
}

/// The first schema that has these counts.
pub(super) fn since(by: By) -> i64 {
    match by {
        By::Target => 3,
        By::Element => 4,
    }
}

/// The table, and the column of what is counted.
fn table(by: By) -> (&'static str, &'static str) {
    match by {
        By::Target => ("tally", "target"),
        By::Element => ("element_tally", "element"),
    }
}

/// Adds counts, unless they were added before.
pub(super) fn add(transaction: &Transaction<'_>, tally: &Tally) -> rusqlite::Result<()> {
    for by in [By::Target, By::Element] {
        let forget = format!("DELETE FROM {} WHERE hour < ?1", table(by).0);
        transaction.prepare_cached(&forget)?.execute([tally.forgotten_before])?;
    }
    if tally.through <= counted(transaction)? {
        return Ok(());
    }
    let targets = tally.targets.iter().map(|((hour, target), part)| (By::Target, *hour, target.as_str(), part));
    let elements = tally.elements.iter().map(|((hour, element), part)| (By::Element, *hour, element.as_str(), part));
    for (by, hour, name, part) in targets.chain(elements).filter(|(_, hour, ..)| *hour >= tally.forgotten_before) {
        let payload = part.to_bytes();
        transaction
            .prepare_cached(&format!("INSERT INTO {} VALUES (?1, ?2, ?3, ?4, ?5)", table(by).0))?
            .execute(params![hour, name, tally.through.0, crc32c::crc32c(&payload), payload])?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('counted', CAST(?1 AS TEXT))")?
        .execute([tally.through.0])?;
    Ok(())
}

/// Hands out the counts of the hours from `from` until before `to`, in order of hour and name. A part that is damaged is
/// left out; returns how many were.
pub(super) fn each<E: From<rusqlite::Error>>(
    connection: &Connection,
    by: By,
    (from, to): (i64, i64),
    mut give: impl FnMut(i64, &str, &Part) -> Result<(), E>,
) -> Result<u64, E> {
    let (table, name) = table(by);
    let mut statement = connection.prepare(&format!(
        "SELECT hour, {name}, crc32c, payload FROM {table} WHERE hour >= ?1 AND hour < ?2 ORDER BY hour, {name}"
    ))?;
    let mut rows = statement.query([from, to])?;
    let mut damaged = 0;
    let mut open: Option<(_, Part)> = None;
    while let Some(row) = rows.next()? {
        let place: (i64, String) = (row.get(0)?, row.get(1)?);
        let (crc, payload): (u32, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let Some(part) = part(crc, &payload) else {
            damaged += 1;
            continue;
        };
        match &mut open {
            Some((same, sum)) if *same == place => sum.add(&part),
            _ => {
                if let Some(((hour, name), sum)) = open.replace((place, part)) {
                    give(hour, &name, &sum)?;
                }
            }
        }
    }
    if let Some(((hour, name), sum)) = open {
        give(hour, &name, &sum)?;
    }
    Ok(damaged)
}

/// The counts of one target or element, by hour, from `from` until before `to`; damaged parts are left out. Costs a look-up an
/// hour.
pub(super) fn of(
    connection: &Connection,
    by: By,
    wanted: &str,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<(i64, Part)>> {
    let (table, name) = table(by);
    let mut statement =
        connection.prepare(&format!("SELECT crc32c, payload FROM {table} WHERE hour = ?1 AND {name} = ?2"))?;
    let mut hours = Vec::new();
    for hour in from..to {
        let mut sum = Part::default();
        let mut rows = statement.query(params![hour, wanted])?;
        while let Some(row) = rows.next()? {
            if let Some(part) = part(row.get(0)?, &row.get::<_, Vec<u8>>(1)?) {
                sum.add(&part);
            }
        }
        if sum != Part::default() {
            hours.push((hour, sum));
        }
    }
    Ok(hours)
}

/// A part as it was stored; `None` for a damaged one.
fn part(crc: u32, payload: &[u8]) -> Option<Part> {
    Part::from_bytes(payload).filter(|_| crc32c::crc32c(payload) == crc)
}

/// Keeps the history of an incident.
pub(super) fn keep(transaction: &Transaction<'_>, history: &History) -> rusqlite::Result<()> {
    let payload =
        serde_json::to_vec(history).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3)")?
        .execute(params![history.incident.as_str(), crc32c::crc32c(&payload), payload])
        .map(|_| ())
}

/// Histories that are kept, in order of incidents; damaged ones are left out.
pub(super) fn histories(connection: &Connection) -> rusqlite::Result<Vec<History>> {
    let mut statement = connection.prepare("SELECT crc32c, payload FROM history ORDER BY incident")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut histories = Vec::new();
    for row in rows {
        let (crc, payload) = row?;
        let history = serde_json::from_slice(&payload).ok().filter(|_| crc32c::crc32c(&payload) == crc);
        histories.extend(history);
    }
    Ok(histories)
}

/// The history of an incident; `None` where there is none that can be read.
pub(super) fn history(connection: &Connection, incident: &str) -> rusqlite::Result<Option<History>> {
    let kept: Option<(u32, Vec<u8>)> = connection
        .prepare_cached("SELECT crc32c, payload FROM history WHERE incident = ?1")?
        .query_row([incident], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(kept
        .and_then(|(crc, payload)| serde_json::from_slice(&payload).ok().filter(|_| crc32c::crc32c(&payload) == crc)))
}

/// Empty histories of incidents that have ended and have none yet.
pub(super) fn without_history(connection: &Connection) -> rusqlite::Result<Vec<History>> {
    let mut statement =
        connection.prepare("SELECT sequence, tick, published_at, crc32c, payload FROM change ORDER BY sequence")?;
    let mut rows = statement.query([])?;
    let mut incidents: BTreeMap<_, Vec<Change>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Some(Published::Incident(change)) = entry(row).map(|entry| entry.published) {
            incidents.entry(change.incident.clone()).or_default().push(*change);
        }
    }
    let mut known = connection.prepare("SELECT 1 FROM history WHERE incident = ?1")?;
    let mut missing = Vec::new();
    for (incident, revisions) in incidents {
        if !known.exists([incident.as_str()])? {
            missing.extend(History::of(&revisions));
        }
    }
    Ok(missing)
}
