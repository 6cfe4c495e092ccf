//! The tables of a log, and the version of them that this build writes. Older versions are brought up to it at the start.

use rusqlite::{Connection, TransactionBehavior};

/// Version of the tables. 2: what was admitted tells which record was the last, so that old incarnations can be forgotten.
pub(super) const SCHEMA: i64 = 2;

/// Makes the tables of a new log, or brings those of an older one up to date. Returns the version of one that is newer, and
/// leaves that as it is.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Option<i64>> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found >= SCHEMA {
        return Ok((found > SCHEMA).then_some(found));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if found == 0 {
        transaction.execute_batch(TABLES)?;
        let feed_id = format!("{:032x}", rand::random::<u128>());
        transaction.execute("INSERT INTO meta VALUES ('feed_id', ?1)", [feed_id])?;
    }
    if found == 1 {
        transaction.execute_batch("ALTER TABLE admitted ADD COLUMN last INTEGER NOT NULL DEFAULT 0")?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    Ok(None)
}

const TABLES: &str = "
CREATE TABLE record (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, format INTEGER NOT NULL, kind INTEGER NOT NULL, received_at INTEGER NOT NULL,
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE admitted (
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  last INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (agent, incarnation, lane)) WITHOUT ROWID;
CREATE TABLE session (agent TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE change (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, tick INTEGER NOT NULL, published_at INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";
