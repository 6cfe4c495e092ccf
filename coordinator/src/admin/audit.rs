//! Audit: what operators asked of the coordinator, who, when, and what became of it, and who tried to become an agent, in
//! `audit.sqlite` of the data directory.
//!
//! Rules: an entry is on disk before anything is done (`synchronous=FULL`), and its outcome after; one without an outcome was
//! cut off by the coordinator's end, and may have been done. Entries are numbered without a gap and never changed but for
//! their outcome; the newest [`ENTRIES`] stay, and the first number tells how many went. The file is the coordinator's
//! user's alone.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_attribution::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;

/// Entries kept.
pub const ENTRIES: i64 = 100_000;

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "audit.sqlite";

/// Version of the tables, in `PRAGMA user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS entry (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, uid INTEGER NOT NULL, call TEXT NOT NULL, asked TEXT NOT NULL,
  outcome TEXT);";

/// The audit record of a data directory.
pub struct Audit {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be made.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store said no.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A file of a newer build.
    #[error("{}: schema {found} is newer than {SCHEMA}, the newest that this build reads: upgrade it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: i64,
    },
}

/// In the place of a uid where somebody asked who is no user of this machine.
const NOBODY: i64 = -1;

/// One call of an operator, or one attempt to become an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub id: i64,
    /// When it came.
    pub at: Timestamp,
    /// The user who asked, as the kernel says; `None` for a machine that would become an agent, whose address `asked` has, and
    /// for the coordinator itself.
    pub uid: Option<u32>,
    /// What was asked, in one word; `enroll` or `recover` for such an attempt, `look_again` where verdicts are looked at without what is not
    /// trusted any more, `unreadable` for what is no call.
    pub call: String,
    /// The call or attempt as JSON, or why it could not be read.
    pub asked: String,
    /// What became of it: `done: ...` or `refused: ...`; `None` while it goes on, or where the coordinator ended meanwhile.
    pub outcome: Option<String>,
}

impl Audit {
    /// Opens the record of a data directory, or makes it.
    ///
    /// # Errors
    ///
    /// Where the file cannot be made, read or written, or is of a newer build.
    pub fn open(data: &Path) -> Result<Self, AuditError> {
        let path = data.join(FILE);
        let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        made.map_err(|source| AuditError::File { path: path.clone(), source })?;
        let audit = Self::connect(path, OpenFlags::default())?;
        let tables = format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN IMMEDIATE; {TABLES} PRAGMA user_version={SCHEMA}; COMMIT;"
        );
        let begun = audit.connection().execute_batch(&tables);
        begun.map_err(|source| audit.fail(source))?;
        Ok(audit)
    }

    /// The newest entries of a data directory, oldest first; empty where there is no record yet. It may be read while a
    /// coordinator writes it.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is of a newer build.
    pub fn tail(data: &Path, limit: u32) -> Result<Vec<AuditEntry>, AuditError> {
        let path = data.join(FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(AuditError::File { path, source }),
            Ok(_) => {}
        }
        let audit = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let read = || -> rusqlite::Result<Vec<AuditEntry>> {
            let connection = audit.connection();
            let mut statement =
                connection.prepare("SELECT id, at, uid, call, asked, outcome FROM entry ORDER BY id DESC LIMIT ?1")?;
            let rows = statement.query_map([limit], |row| {
                Ok(AuditEntry {
                    id: row.get(0)?,
                    at: Timestamp::from_micros(row.get(1)?),
                    uid: u32::try_from(row.get::<_, i64>(2)?).ok(),
                    call: row.get(3)?,
                    asked: row.get(4)?,
                    outcome: row.get(5)?,
                })
            })?;
            rows.collect()
        };
        let mut newest = read().map_err(|source| audit.fail(source))?;
        newest.reverse();
        Ok(newest)
    }

    /// Puts a call on record, before it is acted on. Returns its number.
    pub(crate) fn begin(&self, at: Timestamp, uid: Option<u32>, call: &str, asked: &str) -> Result<i64, AuditError> {
        let uid = uid.map_or(NOBODY, i64::from);
        let mut connection = self.connection();
        let mut write = || -> rusqlite::Result<i64> {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO entry (at, uid, call, asked) VALUES (?1, ?2, ?3, ?4)",
                params![at.micros(), uid, call, asked],
            )?;
            let id = transaction.last_insert_rowid();
            transaction.execute("DELETE FROM entry WHERE id <= ?1", [id - ENTRIES])?;
            transaction.commit()?;
            Ok(id)
        };
        write().map_err(|source| self.fail(source))
    }

    /// Puts on record what became of a call.
    pub(crate) fn end(&self, id: i64, outcome: &str) -> Result<(), AuditError> {
        let written = self.connection().execute("UPDATE entry SET outcome = ?2 WHERE id = ?1", params![id, outcome]);
        written.map(|_| ()).map_err(|source| self.fail(source))
    }

    fn connect(path: PathBuf, flags: OpenFlags) -> Result<Self, AuditError> {
        let fail = |source| AuditError::Sqlite { path: path.clone(), source };
        let connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
        connection.busy_timeout(Duration::from_secs(2)).map_err(fail)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA {
            return Err(AuditError::Newer { path, found });
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, source: rusqlite::Error) -> AuditError {
        AuditError::Sqlite { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_call_is_on_record_before_it_is_done_and_after_a_restart() {
        let data = tempfile::tempdir().expect("dir");
        assert!(Audit::tail(data.path(), 5).expect("none yet").is_empty());
        let at = Timestamp::from_micros(1_761_752_000_000_000);
        let audit = Audit::open(data.path()).expect("made");
        let id = audit.begin(at, Some(1000), "retract", "{}").expect("begun");
        let begun = Audit::tail(data.path(), 5).expect("read");
        assert_eq!((begun[0].uid, begun[0].call.as_str(), &begun[0].outcome), (Some(1000), "retract", &None));
        audit.end(id, "done: inc-1 revision 3").expect("ended");
        drop(audit);
        let audit = Audit::open(data.path()).expect("again");
        audit.begin(at, None, "enroll", "{}").expect("begun");
        let entries = Audit::tail(data.path(), 5).expect("read");
        let shown: Vec<_> = entries.iter().map(|entry| (entry.id, entry.outcome.as_deref())).collect();
        assert_eq!(shown, [(1, Some("done: inc-1 revision 3")), (2, None)]);
        assert_eq!(entries[1].uid, None, "no user of this machine");
        assert_eq!(Audit::tail(data.path(), 1).expect("read"), entries[1..]);
        let mode = fs::metadata(data.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_oldest_entries_go_and_the_numbers_tell() {
        let data = tempfile::tempdir().expect("dir");
        let audit = Audit::open(data.path()).expect("made");
        let at = Timestamp::from_micros(1);
        audit.begin(at, Some(0), "annotate", "{}").expect("begun");
        audit.connection().execute("UPDATE sqlite_sequence SET seq = ?1", [ENTRIES]).expect("as after many");
        audit.begin(at, Some(0), "annotate", "{}").expect("begun");
        let ids: Vec<i64> = Audit::tail(data.path(), 5).expect("read").iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [ENTRIES + 1]);
    }
}
