//! Revisions of one incident among all changes.
//!
//! A change carries no column for its incident: it is found by the bytes of its id, from the day on at which the id says that
//! it was first published. Rule: an id that was never published costs a look at two days of changes, not at all of them.

use std::time::Duration;

use faultline_attribution::{Change, IncidentId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::read::entry;
use crate::feed::Published;

/// How far the first publication may be from what the id says: clocks that were set meanwhile.
const APART: Duration = Duration::from_hours(24);

/// Every revision, oldest first; damaged ones are left out.
pub(super) fn revisions(connection: &Connection, incident: &IncidentId) -> rusqlite::Result<Vec<Change>> {
    let Some(first_published) = first_published(incident) else { return Ok(Vec::new()) };
    let from = before(connection, first_published.before(APART))?;
    let to = before(connection, first_published.after(APART))?;
    let named = format!("\"incident\":\"{incident}\"").into_bytes();
    let known = "SELECT 1 FROM change WHERE sequence > ?1 AND sequence <= ?2 AND instr(payload, ?3) > 0";
    if !connection.prepare_cached(known)?.exists(params![from, to, named])? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT sequence, tick, published_at, crc32c, payload FROM change \
         WHERE sequence > ?1 AND instr(payload, ?2) > 0 ORDER BY sequence",
    )?;
    let mut rows = statement.query(params![from, named])?;
    let mut revisions = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(Published::Incident(change)) = entry(row).map(|entry| entry.published)
            && change.incident == *incident
        {
            revisions.push(*change);
        }
    }
    Ok(revisions)
}

/// Incidents that were published last, the newest first.
pub(super) fn newest_incidents(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<IncidentId>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, tick, published_at, crc32c, payload FROM change \
         WHERE instr(payload, ?1) > 0 ORDER BY sequence DESC",
    )?;
    let mut rows = statement.query([b"{\"incident\":{".as_slice()])?;
    let mut found: Vec<IncidentId> = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        if let Some(Published::Incident(change)) = entry(row).map(|entry| entry.published)
            && !found.contains(&change.incident)
        {
            found.push(change.incident.clone());
        }
    }
    Ok(found)
}

/// When the id says that the incident was first published: `inc-20251029T154113Z-1`.
fn first_published(incident: &IncidentId) -> Option<Timestamp> {
    let (at, number) = incident.as_str().strip_prefix("inc-")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    let at: jiff::Timestamp = at.parse().ok()?;
    Some(Timestamp::from_micros(at.as_microsecond()))
}

/// The last sequence of what was published before that time, as clocks go; found by halves.
fn before(connection: &Connection, at: Timestamp) -> rusqlite::Result<i64> {
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(sequence) FROM change")?.query_row([], |row| row.get(0))?;
    let (mut low, mut high) = (0, newest.unwrap_or_default() + 1);
    let mut look =
        connection.prepare_cached("SELECT published_at FROM change WHERE sequence >= ?1 ORDER BY sequence LIMIT 1")?;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        let published: Option<i64> = look.query_row([middle], |row| row.get(0)).optional()?;
        if published.is_some_and(|published| published < at.micros()) { low = middle } else { high = middle }
    }
    Ok(low)
}
