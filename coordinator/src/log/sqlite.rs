//! The log in SQLite: WAL, `synchronous=FULL`, 16 KiB pages, one writer, group commit.
//!
//! `writer` owns the writing connection and its thread, `read` the statements that read, `schema` the tables. Readers
//! have a connection of their own.

pub mod check;
mod heard;
mod read;
mod reader;
mod revisions;
mod schema;
mod tally;
mod trim;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use faultline_attribution::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

pub use heard::Heard;
pub use reader::{SqliteReader, Upkeep};

use self::{
    read::{changes, last_admitted, records},
    schema::SCHEMA,
    writer::Request,
};
use super::{Admission, Appended, ChangeLog, Cursor, Entry, LogError, RecordLog};
use crate::{counts::Tally, feed::Published, history::History, record::Record};

/// Size of a page of the file.
const PAGE_BYTES: u64 = 16 << 10;

/// The log of one data directory.
pub struct SqliteLog {
    path: PathBuf,
    feed_id: String,
    writer: mpsc::Sender<Request>,
    reader: Arc<Mutex<Connection>>,
}

impl SqliteLog {
    /// Opens the log of a data directory, or makes it.
    pub fn open(data: &Path) -> Result<Self, LogError> {
        let path = data.join("log.sqlite");
        let fail = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => LogError::Locked(path.clone()),
            _ => LogError::Store { path: path.clone(), source },
        };
        let mut writer = Connection::open(&path).map_err(fail)?;
        writer
            .execute_batch(
                "PRAGMA page_size=16384; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; \
                 PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=2000;",
            )
            .map_err(fail)?;
        if let Some(found) = schema::prepare(&mut writer).map_err(fail)? {
            return Err(LogError::Newer { path, found, known: SCHEMA });
        }
        let feed_id: String =
            writer.query_row("SELECT value FROM meta WHERE key = 'feed_id'", [], |row| row.get(0)).map_err(fail)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags).map_err(fail)?;
        let sender = writer::start(writer, path.clone());
        Ok(Self { path, feed_id, writer: sender, reader: Arc::new(Mutex::new(reader)) })
    }

    /// Lets the file grow no further than so many bytes (it never shrinks by it): then the log is full. What waits to be
    /// moved into the file, some MiB, comes on top.
    pub async fn limit(&self, bytes: u64) -> Result<(), LogError> {
        let pages = u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX).max(1);
        self.ask(|answer| Request::Limit(pages, answer)).await
    }

    /// Gives some of the free pages back to the file system. Returns how many are left to give.
    pub async fn vacuum(&self) -> Result<u64, LogError> {
        self.ask(Request::Vacuum).await
    }

    /// Stores counts, all or nothing.
    pub async fn tally(&self, tally: Tally) -> Result<(), LogError> {
        self.ask(|answer| Request::Tally(Box::new(tally), answer)).await
    }

    /// Keeps the history of an incident for ever.
    pub async fn keep_history(&self, history: History) -> Result<(), LogError> {
        self.ask(|answer| Request::History(Box::new(history), answer)).await
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
        self.ask(|answer| Request::Append(admission, record, answer)).await
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        self.read(move |connection, path| records(connection, path, after, limit)).await
    }

    async fn trim(&self, through: Cursor) -> Result<Cursor, LogError> {
        self.ask(|answer| Request::Trim(through, answer)).await
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
        self.read(move |connection, path| changes(connection, path, sequence, limit)).await
    }
}

#[cfg(test)]
mod tests;
