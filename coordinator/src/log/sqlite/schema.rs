//! The tables of a log, and the version of them that this build writes.

/// Version of the tables.
pub(super) const SCHEMA: i64 = 1;

/// Makes them.
pub(super) const TABLES: &str = "
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
";
