//! Reads a log without writing to it, also while a coordinator has it open.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{read::records, schema::SCHEMA};
use crate::{
    log::{Cursor, LogError},
    record::Record,
};

/// The log of a data directory, for reading alone.
pub struct SqliteReader {
    path: PathBuf,
    connection: Connection,
}

impl SqliteReader {
    /// Opens the log of a data directory; it is an error if there is none.
    pub fn open(data: &Path) -> Result<Self, LogError> {
        let path = data.join("log.sqlite");
        let fail = |source| LogError::Store { path: path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA {
            return Err(LogError::Newer { path, found, known: SCHEMA });
        }
        Ok(Self { path, connection })
    }

    /// Records after the cursor, in order, `limit` at most.
    pub fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        records(&self.connection, &self.path, after, limit)
    }
}
