//! Reads a log without writing to it, also while a coordinator has it open.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use faultline_attribution::{Change, IncidentId, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{
    heard::{Heard, heard},
    read::{COLUMNS, changes, last_cursor, record, records},
    revisions::{newest_incidents, revisions},
    schema::{self, SCHEMA},
    tally, trim,
};
use crate::{
    counts::{By, Part},
    history::History,
    log::{Cursor, Entry, LogError},
    record::Record,
};

/// The log of a data directory, for reading alone.
pub struct SqliteReader {
    path: PathBuf,
    connection: Connection,
}

/// How far the upkeep of a log came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Everything up to here is trimmed.
    pub trimmed: Cursor,
    /// Everything up to here is counted.
    pub counted: Cursor,
    /// The newest record that there ever was.
    pub last: Cursor,
    /// Bytes of the file that hold something.
    pub used_bytes: u64,
}

impl SqliteReader {
    /// Opens the log of a data directory; it is an error if there is none.
    pub fn open(data: &Path) -> Result<Self, LogError> {
        let path = data.join("log.sqlite");
        let fail = |source| LogError::Store { path: path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
        let found = schema::version(&connection).map_err(fail)?;
        if found > SCHEMA {
            return Err(LogError::Newer { path, found, known: SCHEMA });
        }
        Ok(Self { path, connection })
    }

    /// Records after the cursor, in order, `limit` at most.
    pub fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        records(&self.connection, &self.path, after, limit)
    }

    /// Changes after the sequence, in order, `limit` at most; damaged ones are left out.
    pub fn changes(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError> {
        changes(&self.connection, &self.path, sequence, limit)
    }

    /// Identity of the feed of this log.
    pub fn feed_id(&self) -> Result<String, LogError> {
        let found = self.connection.query_row("SELECT value FROM meta WHERE key = 'feed_id'", [], |row| row.get(0));
        found.map_err(|source| LogError::Store { path: self.path.clone(), source })
    }

    /// When the records after the cursor came, in order, `limit` at most. Reads no payload.
    pub fn stamps(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Timestamp)>, LogError> {
        let sql = "SELECT cursor, received_at FROM record WHERE cursor > ?1 ORDER BY cursor LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map([after.0, limit], |row| Ok((Cursor(row.get(0)?), Timestamp::from_micros(row.get(1)?))))?;
            rows.collect()
        })
    }

    /// A place before everything that came at that time or later, as clocks go: found by halves.
    pub fn before(&self, at: Timestamp) -> Result<Cursor, LogError> {
        self.ask(|connection| {
            let (mut low, mut high) = (trim::trimmed(connection)?.0, last_cursor(connection)?.0 + 1);
            let sql = "SELECT received_at FROM record WHERE cursor >= ?1 ORDER BY cursor LIMIT 1";
            let mut look = connection.prepare_cached(sql)?;
            // Everything up to `low` came before; what is at `high` or after it did not.
            while low + 1 < high {
                let middle = low + (high - low) / 2;
                let came: Option<i64> = look.query_row([middle], |row| row.get(0)).optional()?;
                if came.is_some_and(|came| came < at.micros()) { low = middle } else { high = middle }
            }
            Ok(Cursor(low))
        })
    }

    /// When the newest record came; `None` for an empty log.
    pub fn newest(&self) -> Result<Option<Timestamp>, LogError> {
        let sql = "SELECT received_at FROM record ORDER BY cursor DESC LIMIT 1";
        self.ask(|connection| {
            let came: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
            Ok(came.map(Timestamp::from_micros))
        })
    }

    /// The coordinator's own records up to the cursor, without ticks, in order.
    pub fn own(&self, through: Cursor) -> Result<Vec<(Cursor, Record)>, LogError> {
        // Said as the index says it, or it would not be used.
        let sql = format!("SELECT {COLUMNS} FROM record WHERE kind NOT IN (1, 5) AND cursor <= ?1 ORDER BY cursor");
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([through.0], |row| Ok((Cursor(row.get(0)?), record(row))))?;
            rows.collect()
        })
    }

    /// What it tells of each agent, by name.
    pub fn heard(&self) -> Result<BTreeMap<String, Heard>, LogError> {
        let (found, needed) = (self.ask(schema::version)?, 3);
        if found < needed {
            return Err(LogError::Older { path: self.path.clone(), found, needed });
        }
        self.ask(heard)
    }

    /// When its newest record came; `None` while it is empty.
    pub fn ends_at(&self) -> Result<Option<Timestamp>, LogError> {
        let sql = "SELECT received_at FROM record ORDER BY cursor DESC LIMIT 1";
        self.ask(|connection| connection.query_row(sql, [], |row| row.get(0).map(Timestamp::from_micros)).optional())
    }

    /// How far its upkeep came.
    pub fn upkeep(&self) -> Result<Upkeep, LogError> {
        self.ask(|connection| {
            Ok(Upkeep {
                trimmed: trim::trimmed(connection)?,
                counted: tally::counted(connection)?,
                last: last_cursor(connection)?,
                used_bytes: trim::used_bytes(connection)?,
            })
        })
    }

    /// Hands out the counts of the hours from `from` until before `to` (since the epoch), in order of hour and name. Returns
    /// how many parts of them are damaged and left out.
    pub fn counts<E: From<LogError>>(
        &self,
        by: By,
        hours: (i64, i64),
        mut give: impl FnMut(i64, &str, &Part) -> Result<(), E>,
    ) -> Result<u64, E> {
        enum Stopped<E> {
            Log(rusqlite::Error),
            Given(E),
        }
        impl<E> From<rusqlite::Error> for Stopped<E> {
            fn from(error: rusqlite::Error) -> Self {
                Self::Log(error)
            }
        }
        let (found, needed) = (self.ask(schema::version)?, tally::since(by));
        if found < needed {
            return Err(LogError::Older { path: self.path.clone(), found, needed }.into());
        }
        let given =
            tally::each(&self.connection, by, hours, |hour, name, part| give(hour, name, part).map_err(Stopped::Given));
        given.map_err(|stopped| match stopped {
            Stopped::Log(source) => LogError::Store { path: self.path.clone(), source }.into(),
            Stopped::Given(error) => error,
        })
    }

    /// The counts of one target or element in the hours from `from` until before `to` (since the epoch), oldest first; damaged
    /// parts are left out.
    pub fn counts_of(&self, by: By, name: &str, hours: (i64, i64)) -> Result<Vec<(i64, Part)>, LogError> {
        let (found, needed) = (self.ask(schema::version)?, tally::since(by));
        if found < needed {
            return Err(LogError::Older { path: self.path.clone(), found, needed });
        }
        self.ask(|connection| tally::of(connection, by, name, hours))
    }

    /// Histories of incidents that have ended.
    pub fn histories(&self) -> Result<Vec<History>, LogError> {
        self.ask(tally::histories)
    }

    /// The history of an incident; `None` while there is none.
    pub fn history(&self, incident: &IncidentId) -> Result<Option<History>, LogError> {
        if self.ask(schema::version)? < tally::since(By::Target) {
            return Ok(None);
        }
        self.ask(|connection| tally::history(connection, incident.as_str()))
    }

    /// Every revision of an incident, oldest first; damaged ones are left out. Empty if none was published within a day of
    /// the moment that its id names.
    pub fn revisions(&self, incident: &IncidentId) -> Result<Vec<Change>, LogError> {
        self.ask(|connection| revisions(connection, incident))
    }

    /// Ids of the incidents that were published last, the newest first, `limit` at most.
    pub fn newest_incidents(&self, limit: usize) -> Result<Vec<IncidentId>, LogError> {
        self.ask(|connection| newest_incidents(connection, limit))
    }

    /// Empty histories of incidents that have ended and have none yet.
    pub fn without_history(&self) -> Result<Vec<History>, LogError> {
        self.ask(tally::without_history)
    }

    fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        ask(&self.connection).map_err(|source| LogError::Store { path: self.path.clone(), source })
    }
}
