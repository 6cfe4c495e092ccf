//! Store: how far each webhook is, and its delivery log, in `webhooks.sqlite` of the data directory.
//!
//! `stand` holds the sequence that was delivered through, the failures in a row, and why nothing is sent any more; `told` the
//! incidents whose end a receiver still waits for; `attempt` the newest [`ATTEMPTS`] attempts of each webhook.
//!
//! Rules: what an attempt came to and how far the webhook is by it are one transaction, so that a cut in between sends a
//! message twice and never none (WAL, `synchronous=NORMAL`: a power cut may take the last of them back, which is the same).
//! A stand belongs to a feed: in another one it begins anew. Coordinator and commands use the file at the same time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_attribution::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::{event::Held, schedule::Failing};

/// Attempts kept of each webhook.
pub const ATTEMPTS: u32 = 1000;

/// Longest text of an error that is kept.
const ERROR_BYTES: usize = 500;

/// Version of the tables, in `PRAGMA user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS stand (
  webhook TEXT PRIMARY KEY, feed_id TEXT NOT NULL, delivered INTEGER NOT NULL, failing_since INTEGER, attempts INTEGER NOT NULL,
  disabled TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (
  webhook TEXT NOT NULL, subject TEXT NOT NULL, held TEXT NOT NULL, PRIMARY KEY (webhook, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempt (
  id INTEGER PRIMARY KEY AUTOINCREMENT, webhook TEXT NOT NULL, at INTEGER NOT NULL, event TEXT NOT NULL,
  attempt INTEGER NOT NULL, address TEXT NOT NULL, status INTEGER, error TEXT NOT NULL, took_us INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS attempt_of ON attempt (webhook, id);
";

/// The store of one data directory.
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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

/// How far a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The sequence that was delivered through.
    pub delivered: u64,
    /// Failures in a row.
    pub failing: Option<Failing>,
    /// Why nothing is sent any more.
    pub disabled: Option<String>,
}

/// An attempt to deliver, as the delivery log holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// What: the id of the message.
    pub event: String,
    /// The how manieth in a row for this message, from 1.
    pub attempt: u32,
    /// The checked addresses that were connected to; empty where it did not come to that.
    pub address: String,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// What went wrong; empty where nothing did.
    pub error: String,
    /// How long it took, microseconds.
    pub took_us: u64,
}

impl Store {
    /// Opens the store of a data directory, or makes it.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join("webhooks.sqlite");
        let fail = |source| StoreError::Sqlite { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(fail)?;
        connection.busy_timeout(Duration::from_secs(2)).map_err(fail)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found });
        }
        let begin = format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE; {TABLES} PRAGMA user_version={SCHEMA}; COMMIT;"
        );
        connection.execute_batch(&begin).map_err(fail)?;
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Opens the store to read; `None` where there is none yet.
    pub fn read(data: &Path) -> Result<Option<Self>, StoreError> {
        let path = data.join("webhooks.sqlite");
        if !path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .map_err(|source| StoreError::Sqlite { path: path.clone(), source })?;
        Ok(Some(Self { path, connection: Mutex::new(connection) }))
    }

    /// How far a webhook is in this feed; `None` where it has not begun.
    pub fn stand(&self, webhook: &str, feed_id: &str) -> Result<Option<Stand>, StoreError> {
        self.look(|connection| {
            let ask = "SELECT delivered, failing_since, attempts, disabled FROM stand \
                       WHERE webhook = ?1 AND feed_id IN (?2, '')";
            connection.query_row(ask, [webhook, feed_id], stand).optional()
        })
    }

    /// How far each webhook is, in whatever feed.
    pub fn stands(&self) -> Result<BTreeMap<String, Stand>, StoreError> {
        self.look(|connection| {
            let mut ask =
                connection.prepare("SELECT delivered, failing_since, attempts, disabled, webhook FROM stand")?;
            ask.query_map([], |row| Ok((row.get(4)?, stand(row)?)))?.collect()
        })
    }

    /// Puts a webhook at a place of a feed; an empty feed is whichever comes.
    pub fn begin(&self, webhook: &str, feed_id: &str, delivered: u64) -> Result<(), StoreError> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM told WHERE webhook = ?1", [webhook])?;
            let begin = "INSERT OR REPLACE INTO stand VALUES (?1, ?2, ?3, NULL, 0, NULL)";
            transaction.execute(begin, params![webhook, feed_id, delivered.cast_signed()])?;
            Ok(())
        })
    }

    /// Moves a webhook on past what it is not told of.
    pub fn pass(&self, webhook: &str, feed_id: &str, delivered: u64) -> Result<(), StoreError> {
        self.change(|transaction| {
            let pass = "UPDATE stand SET delivered = ?3, feed_id = ?2 WHERE webhook = ?1";
            transaction.execute(pass, params![webhook, feed_id, delivered.cast_signed()])?;
            Ok(())
        })
    }

    /// Stores what an attempt came to, and how far the webhook is by it.
    pub fn record(
        &self,
        webhook: &str,
        attempt: &Attempt,
        stand: Option<&Stand>,
        held: Option<(&str, &Held)>,
    ) -> Result<(), StoreError> {
        self.change(|transaction| {
            add(transaction, webhook, attempt)?;
            if let Some(stand) = stand {
                let keep = "UPDATE stand SET delivered = ?2, failing_since = ?3, attempts = ?4, disabled = ?5 \
                            WHERE webhook = ?1";
                let since = stand.failing.map(|failing| failing.since.micros());
                let attempts = stand.failing.map_or(0, |failing| failing.attempts);
                transaction
                    .execute(keep, params![webhook, stand.delivered.cast_signed(), since, attempts, stand.disabled])?;
            }
            if let Some((subject, held)) = held {
                hold(transaction, webhook, subject, held)?;
            }
            Ok(())
        })
    }

    /// Stores what a webhook's receiver waits for, apart from any attempt.
    pub fn hold(&self, webhook: &str, subject: &str, held: &Held) -> Result<(), StoreError> {
        self.change(|transaction| hold(transaction, webhook, subject, held))
    }

    /// What a webhook's receiver waits for the end of.
    pub fn told(&self, webhook: &str) -> Result<BTreeMap<String, String>, StoreError> {
        self.look(|connection| {
            let mut ask = connection.prepare("SELECT subject, held FROM told WHERE webhook = ?1")?;
            ask.query_map([webhook], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// The newest attempts of a webhook, the newest first: for `webhook log`, and for a page of operators.
    pub fn attempts(&self, webhook: &str, limit: u32) -> Result<Vec<Attempt>, StoreError> {
        self.look(|connection| {
            let ask = "SELECT at, event, attempt, address, status, error, took_us FROM attempt \
                       WHERE webhook = ?1 ORDER BY id DESC LIMIT ?2";
            connection.prepare(ask)?.query_map(params![webhook, limit], attempt)?.collect()
        })
    }

    /// Lets a webhook that was given up send again, from where it is or, if told, from a sequence on.
    pub fn enable(&self, webhook: &str, from: Option<u64>) -> Result<(), StoreError> {
        self.change(|transaction| {
            let enable = "UPDATE stand SET disabled = NULL, failing_since = NULL, attempts = 0, \
                          delivered = coalesce(?2, delivered) WHERE webhook = ?1";
            transaction.execute(enable, params![webhook, from.map(u64::cast_signed)])?;
            Ok(())
        })
    }

    /// Forgets a webhook and its log.
    pub fn forget(&self, webhook: &str) -> Result<(), StoreError> {
        self.change(|transaction| {
            for table in ["stand", "told", "attempt"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE webhook = ?1"), [webhook])?;
            }
            Ok(())
        })
    }

    fn look<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        look(&self.connection()).map_err(|source| self.fail(source))
    }

    fn change<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let all = || {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        all().map_err(|source| self.fail(source))
    }

    fn fail(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stand(row: &Row<'_>) -> rusqlite::Result<Stand> {
    let (since, attempts): (Option<i64>, u32) = (row.get(1)?, row.get(2)?);
    let failing = since.map(|since| Failing { since: Timestamp::from_micros(since), attempts });
    Ok(Stand { delivered: row.get::<_, i64>(0)?.cast_unsigned(), failing, disabled: row.get(3)? })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        at: Timestamp::from_micros(row.get(0)?),
        event: row.get(1)?,
        attempt: row.get(2)?,
        address: row.get(3)?,
        status: row.get(4)?,
        error: row.get(5)?,
        took_us: row.get::<_, i64>(6)?.cast_unsigned(),
    })
}

fn hold(transaction: &Transaction<'_>, webhook: &str, subject: &str, held: &Held) -> rusqlite::Result<()> {
    match held {
        Held::Open(held) => {
            transaction.execute("INSERT OR REPLACE INTO told VALUES (?1, ?2, ?3)", [webhook, subject, held])?;
        }
        Held::Nothing => {
            transaction.execute("DELETE FROM told WHERE webhook = ?1 AND subject = ?2", [webhook, subject])?;
        }
        Held::AsBefore => {}
    }
    Ok(())
}

fn add(transaction: &Transaction<'_>, webhook: &str, attempt: &Attempt) -> rusqlite::Result<()> {
    let add = "INSERT INTO attempt (webhook, at, event, attempt, address, status, error, took_us) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let error = super::event::short(&attempt.error, ERROR_BYTES);
    let Attempt { at, event, attempt, address, status, took_us, .. } = attempt;
    transaction
        .execute(add, params![webhook, at.micros(), event, attempt, address, status, error, took_us.cast_signed()])?;
    let drop_old = "DELETE FROM attempt WHERE webhook = ?1 AND id <= \
                    (SELECT id FROM attempt WHERE webhook = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    transaction.execute(drop_old, params![webhook, ATTEMPTS])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(event: &str) -> Attempt {
        let address = "127.0.0.1:9".to_owned();
        Attempt {
            at: Timestamp::default(),
            event: event.into(),
            attempt: 1,
            address,
            status: None,
            error: String::new(),
            took_us: 5,
        }
    }

    #[test]
    fn the_log_keeps_the_newest_thousand_of_each_webhook() {
        let data = tempfile::tempdir().expect("dir");
        let store = Store::open(data.path()).expect("store");
        store.record("other", &attempt("alone"), None, None).expect("record");
        for n in 0..ATTEMPTS + 7 {
            store.record("one", &attempt(&n.to_string()), None, None).expect("record");
        }
        let kept = store.attempts("one", u32::MAX).expect("log");
        assert_eq!((kept.len(), kept[0].event.as_str()), (1000, "1006"));
        assert_eq!(kept.last().map(|oldest| oldest.event.as_str()), Some("7"));
        assert_eq!(store.attempts("other", 10).expect("log").len(), 1);
    }

    #[test]
    fn a_stand_survives_and_belongs_to_its_feed() {
        let data = tempfile::tempdir().expect("dir");
        let failing = Some(Failing { since: Timestamp::from_micros(7), attempts: 3 });
        let stand = Stand { delivered: 42, failing, disabled: Some("because".into()) };
        {
            let store = Store::open(data.path()).expect("store");
            store.begin("one", "feed", 40).expect("begin");
            let held = ("inc-1", &Held::Open("alert".into()));
            store.record("one", &attempt("e"), Some(&stand), Some(held)).expect("record");
        }
        let store = Store::open(data.path()).expect("store");
        assert_eq!(store.stand("one", "feed").expect("stand"), Some(stand));
        assert_eq!(store.stand("one", "another").expect("stand"), None);
        assert_eq!(store.told("one").expect("told")["inc-1"], "alert");
        store.enable("one", Some(50)).expect("enable");
        assert_eq!(
            store.stand("one", "feed").expect("stand"),
            Some(Stand { delivered: 50, failing: None, disabled: None })
        );
        store.forget("one").expect("forget");
        assert_eq!(store.stand("one", "feed").expect("stand"), None);
        assert!(store.told("one").expect("told").is_empty() && store.attempts("one", 9).expect("log").is_empty());
    }
}
