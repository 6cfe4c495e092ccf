//! The log in SQLite: WAL, `synchronous=FULL`, 16 KiB pages, one writer, group commit.
//!
//! One thread owns the writing connection. It takes what waits in its queue (bounded: callers wait), writes all of it in
//! one transaction, and answers after the commit. Readers have a connection of their own.

mod reader;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use async_trait::async_trait;
use faultline_attribution::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use tokio::sync::{mpsc, oneshot};

pub use reader::SqliteReader;

use super::{Admission, Appended, ChangeLog, Cursor, Entry, LogError, RecordLog};
use crate::{
    feed::Published,
    record::{FORMAT, Record, RecordKind},
};

/// Version of the tables.
const SCHEMA: i64 = 1;

/// Requests that wait for the writer; beyond it callers wait.
const QUEUE: usize = 1024;

/// Requests in one transaction.
const GROUP: usize = 512;

const TABLES: &str = "
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

/// The log of one data directory.
pub struct SqliteLog {
    path: PathBuf,
    feed_id: String,
    writer: mpsc::Sender<Request>,
    reader: Arc<Mutex<Connection>>,
}

enum Request {
    Append(Admission, Box<Record>, oneshot::Sender<Result<Appended, LogError>>),
    Publish(Cursor, Timestamp, Vec<Published>, oneshot::Sender<Result<Vec<Entry>, LogError>>),
}

/// An answer that goes out once its transaction is durable.
enum Answer {
    Append(oneshot::Sender<Result<Appended, LogError>>, Appended),
    Publish(oneshot::Sender<Result<Vec<Entry>, LogError>>, Vec<Entry>),
}

impl SqliteLog {
    /// Opens the log of a data directory, or makes it.
    pub fn open(data: &Path) -> Result<Self, LogError> {
        let path = data.join("log.sqlite");
        let fail = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => LogError::Locked(path.clone()),
            _ => LogError::Store { path: path.clone(), source },
        };
        let writer = Connection::open(&path).map_err(fail)?;
        writer
            .execute_batch(
                "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=2000;",
            )
            .map_err(fail)?;
        let found: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA {
            return Err(LogError::Newer { path, found, known: SCHEMA });
        }
        if found == 0 {
            let feed_id = format!("{:032x}", rand::random::<u128>());
            writer
                .execute_batch(&format!(
                    "BEGIN IMMEDIATE; {TABLES} INSERT INTO meta VALUES ('feed_id', '{feed_id}'); \
                     PRAGMA user_version={SCHEMA}; COMMIT;"
                ))
                .map_err(fail)?;
        }
        let feed_id: String =
            writer.query_row("SELECT value FROM meta WHERE key = 'feed_id'", [], |row| row.get(0)).map_err(fail)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags).map_err(fail)?;
        let (sender, requests) = mpsc::channel(QUEUE);
        let file = path.clone();
        // A panic in the writer ends the process in release builds; in others its callers see `Closed`.
        thread::spawn(move || write(writer, requests, &file));
        Ok(Self { path, feed_id, writer: sender, reader: Arc::new(Mutex::new(reader)) })
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request) -> Result<T, LogError> {
        let (sender, answer) = oneshot::channel();
        let closed = || LogError::Closed(self.path.clone());
        self.writer.send(ask(sender)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Path) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let (reader, path) = (Arc::clone(&self.reader), self.path.clone());
        let closed = LogError::Closed(path.clone());
        let task = move || read(&reader.lock().unwrap_or_else(PoisonError::into_inner), &path);
        tokio::task::spawn_blocking(task).await.map_err(|_| closed)?
    }
}

#[async_trait]
impl RecordLog for SqliteLog {
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError> {
        self.ask(|answer| Request::Append(admission, Box::new(record), answer)).await
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        self.read(move |connection, path| records(connection, path, after, limit)).await
    }

    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError> {
        let (agent, incarnation) = (agent.to_owned(), incarnation.to_owned());
        self.read(move |connection, path| {
            last_admitted(connection, &agent, &incarnation, lane)
                .map_err(|source| LogError::Store { path: path.to_owned(), source })
        })
        .await
    }
}

#[async_trait]
impl ChangeLog for SqliteLog {
    fn feed_id(&self) -> String {
        self.feed_id.clone()
    }

    async fn publish(&self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Result<Vec<Entry>, LogError> {
        self.ask(|answer| Request::Publish(tick, at, changes, answer)).await
    }

    async fn published_after(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.read(move |connection, path| {
            let store = |source| LogError::Store { path: path.to_owned(), source };
            let mut statement = connection
                .prepare_cached(
                    "SELECT sequence, tick, published_at, crc32c, payload FROM change WHERE sequence > ?1 \
                     ORDER BY sequence LIMIT ?2",
                )
                .map_err(store)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![sequence.cast_signed(), limit]).map_err(store)?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next().map_err(store)? {
                let sequence: i64 = row.get(0).map_err(store)?;
                let (crc, payload): (u32, Vec<u8>) = (row.get(3).map_err(store)?, row.get(4).map_err(store)?);
                let damaged = || LogError::Damaged { path: path.to_owned(), cursor: sequence };
                if crc32c::crc32c(&payload) != crc {
                    return Err(damaged());
                }
                entries.push(Entry {
                    sequence: sequence.cast_unsigned(),
                    tick: Cursor(row.get(1).map_err(store)?),
                    published_at: Timestamp::from_micros(row.get(2).map_err(store)?),
                    published: serde_json::from_slice(&payload).map_err(|_| damaged())?,
                });
            }
            Ok(entries)
        })
        .await
    }
}

/// Records after the cursor, in order.
fn records(
    connection: &Connection,
    path: &Path,
    after: Cursor,
    limit: usize,
) -> Result<Vec<(Cursor, Record)>, LogError> {
    let store = |source| LogError::Store { path: path.to_owned(), source };
    let mut statement = connection
        .prepare_cached(
            "SELECT cursor, format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload \
             FROM record WHERE cursor > ?1 ORDER BY cursor LIMIT ?2",
        )
        .map_err(store)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.0, limit]).map_err(store)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        let cursor: i64 = row.get(0).map_err(store)?;
        let (kind, crc): (u8, u32) = (row.get(2).map_err(store)?, row.get(9).map_err(store)?);
        let payload: Vec<u8> = row.get(10).map_err(store)?;
        let kind = RecordKind::of(kind).filter(|_| crc32c::crc32c(&payload) == crc);
        let kind = kind.ok_or_else(|| LogError::Damaged { path: path.to_owned(), cursor })?;
        let record = Record {
            kind,
            received_at: Timestamp::from_micros(row.get(3).map_err(store)?),
            agent: row.get(4).map_err(store)?,
            incarnation: row.get(5).map_err(store)?,
            epoch: row.get::<_, i64>(6).map_err(store)?.cast_unsigned(),
            lane: row.get(7).map_err(store)?,
            number: row.get::<_, i64>(8).map_err(store)?.cast_unsigned(),
            payload,
        };
        records.push((Cursor(cursor), record));
    }
    Ok(records)
}

/// The writer: everything that waits, in one transaction, answered after the commit.
fn write(mut connection: Connection, mut requests: mpsc::Receiver<Request>, path: &Path) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = requests.try_recv()
        {
            group.push(next);
        }
        commit(&mut connection, group, path);
    }
}

fn commit(connection: &mut Connection, group: Vec<Request>, path: &Path) {
    let store = |source| LogError::Store { path: path.to_owned(), source };
    let mut waiting = Vec::with_capacity(group.len());
    let done = (|| {
        let transaction = connection.transaction()?;
        for request in group {
            match request {
                Request::Append(admission, record, answer) => match append(&transaction, admission, &record) {
                    Ok(appended) => waiting.push(Answer::Append(answer, appended)),
                    Err(source) => send(answer, Err(store(source))),
                },
                Request::Publish(tick, at, changes, answer) => match publish(&transaction, tick, at, changes) {
                    Ok(entries) => waiting.push(Answer::Publish(answer, entries)),
                    Err(source) => send(answer, Err(store(source))),
                },
            }
        }
        transaction.commit()
    })();
    if let Err(error) = &done {
        tracing::error!(%error, "log write failed");
    }
    for answer in waiting {
        // Nothing is acknowledged that is not durable.
        let failed = || LogError::Closed(path.to_owned());
        match answer {
            Answer::Append(answer, appended) => {
                send(answer, if done.is_ok() { Ok(appended) } else { Err(failed()) });
            }
            Answer::Publish(answer, entries) => {
                send(answer, if done.is_ok() { Ok(entries) } else { Err(failed()) });
            }
        }
    }
}

/// Answers, or not: who asked may be gone.
fn send<T>(answer: oneshot::Sender<Result<T, LogError>>, result: Result<T, LogError>) {
    drop(answer.send(result));
}

fn append(transaction: &Transaction<'_>, admission: Admission, record: &Record) -> rusqlite::Result<Appended> {
    if let Admission::Batch { first_number } = admission {
        let epoch: Option<i64> = transaction
            .prepare_cached("SELECT epoch FROM session WHERE agent = ?1")?
            .query_row([&record.agent], |row| row.get(0))
            .optional()?;
        if epoch != Some(record.epoch.cast_signed()) {
            return Ok(Appended::Fenced);
        }
        let last = last_admitted(transaction, &record.agent, &record.incarnation, record.lane)?;
        let expected = (last + 1).max(first_number);
        if record.number <= last {
            return Ok(Appended::Duplicate);
        }
        if record.number > expected {
            return Ok(Appended::Gap { expected });
        }
        transaction.prepare_cached("INSERT OR REPLACE INTO admitted VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            record.agent,
            record.incarnation,
            record.lane,
            record.number.cast_signed()
        ])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO record (format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            FORMAT,
            record.kind as u8,
            record.received_at.micros(),
            record.agent,
            record.incarnation,
            record.epoch.cast_signed(),
            record.lane,
            record.number.cast_signed(),
            crc32c::crc32c(&record.payload),
            record.payload,
        ])?;
    let cursor = transaction.last_insert_rowid();
    if admission == Admission::Session {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO session VALUES (?1, ?2)")?
            .execute(params![record.agent, cursor])?;
    }
    Ok(Appended::At(Cursor(cursor)))
}

fn last_admitted(connection: &Connection, agent: &str, incarnation: &[u8], lane: u8) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT number FROM admitted WHERE agent = ?1 AND incarnation = ?2 AND lane = ?3")?
        .query_row(params![agent, incarnation, lane], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or_default().cast_unsigned())
}

fn publish(
    transaction: &Transaction<'_>,
    tick: Cursor,
    at: Timestamp,
    changes: Vec<Published>,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO change (tick, published_at, crc32c, payload) VALUES (?1, ?2, ?3, ?4)")?;
    let mut entries = Vec::with_capacity(changes.len());
    for published in changes {
        let payload =
            serde_json::to_vec(&published).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        statement.execute(params![tick.0, at.micros(), crc32c::crc32c(&payload), payload])?;
        let sequence = transaction.last_insert_rowid().cast_unsigned();
        entries.push(Entry { sequence, tick, published_at: at, published });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
