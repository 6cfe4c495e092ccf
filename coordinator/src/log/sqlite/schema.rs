//! The tables of a log, their version, and how an older version becomes the newest.
//!
//! `PRAGMA user_version` is the version. Rules: an older file is brought forward step by step, all in one transaction, so
//! that a cut leaves it as it was; a newer one is refused by name; a step never changes once a build wrote its version.
//!
//! * 1: records, what was admitted, sessions, changes.
//! * 2: what was admitted tells which record was the last, so that old incarnations can be forgotten.
//! * 3: the coordinator's own records are found without reading the batches between them; `kept` names the records that a
//!   trim left because later ones refer to them; `tally` holds the counts, `history` what stays of incidents.
//!
//! * 4: `element_tally` holds the counts by element.
//!
//! Files that begin at 3 give freed pages back to the file system; older ones use them again.

use rusqlite::{Connection, TransactionBehavior};

/// Version of the tables.
pub(super) const SCHEMA: i64 = 4;

/// What leads to each version from the one before it; the first makes the tables of a new file.
const STEPS: [&str; 4] = [
    "
CREATE TABLE record (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, format INTEGER NOT NULL, kind INTEGER NOT NULL, received_at INTEGER NOT NULL,
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE admitted (
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (agent, incarnation, lane)) WITHOUT ROWID;
CREATE TABLE session (agent TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE change (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, tick INTEGER NOT NULL, published_at INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
",
    "ALTER TABLE admitted ADD COLUMN last INTEGER NOT NULL DEFAULT 0;",
    "
CREATE INDEX own ON record (cursor) WHERE kind NOT IN (1, 5);
CREATE TABLE kept (
  kind INTEGER NOT NULL, agent TEXT NOT NULL, incarnation BLOB NOT NULL, cursor INTEGER NOT NULL,
  PRIMARY KEY (kind, agent, incarnation)) WITHOUT ROWID;
CREATE TABLE tally (
  hour INTEGER NOT NULL, target TEXT NOT NULL, through INTEGER NOT NULL, crc32c INTEGER NOT NULL, payload BLOB NOT NULL,
  PRIMARY KEY (hour, target, through)) WITHOUT ROWID;
CREATE TABLE history (incident TEXT PRIMARY KEY, crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
",
    "
CREATE TABLE element_tally (
  hour INTEGER NOT NULL, element TEXT NOT NULL, through INTEGER NOT NULL, crc32c INTEGER NOT NULL, payload BLOB NOT NULL,
  PRIMARY KEY (hour, element, through)) WITHOUT ROWID;
",
];

/// Version of an open file; 0 for a new one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the tables of a new log, or brings those of an older one up to date. Returns the version of one that is newer, and
/// leaves that as it is.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Option<i64>> {
    let found = version(connection)?;
    if found >= SCHEMA {
        return Ok((found > SCHEMA).then_some(found));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (step, version) in STEPS.iter().zip(1_i64..).filter(|(_, version)| *version > found) {
        transaction.execute_batch(step)?;
        if version == 1 {
            let feed_id = format!("{:032x}", rand::random::<u128>());
            transaction.execute("INSERT INTO meta VALUES ('feed_id', ?1)", [feed_id])?;
        }
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    Ok(None)
}
