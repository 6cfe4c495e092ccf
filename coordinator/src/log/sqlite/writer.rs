//! The writer of a log: a thread that owns the writing connection.
//!
//! It takes what waits in its queue (bounded: callers wait), writes all of it in one transaction, and answers after the
//! commit.

use std::{
    path::{Path, PathBuf},
    thread,
};

use faultline_attribution::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tokio::sync::{mpsc, oneshot};

use super::{Admission, Appended, Cursor, Entry, LogError, read::last_admitted};
use crate::{
    feed::Published,
    record::{FORMAT, Record},
};

/// Requests that wait for the writer; beyond it callers wait.
const QUEUE: usize = 1024;

/// Requests in one transaction.
const GROUP: usize = 512;

/// What the writer is asked for.
pub(super) enum Request {
    Append(Admission, Box<Record>, oneshot::Sender<Result<Appended, LogError>>),
    Publish(Cursor, Timestamp, Vec<Published>, oneshot::Sender<Result<Vec<Entry>, LogError>>),
}

/// An answer that goes out once its transaction is durable.
enum Answer {
    Append(oneshot::Sender<Result<Appended, LogError>>, Appended),
    Publish(oneshot::Sender<Result<Vec<Entry>, LogError>>, Vec<Entry>),
}

/// Starts the writer. It ends when the last sender is dropped.
pub(super) fn start(connection: Connection, path: PathBuf) -> mpsc::Sender<Request> {
    let (sender, requests) = mpsc::channel(QUEUE);
    // A panic in the writer ends the process in release builds; in others its callers see `Closed`.
    thread::spawn(move || write(connection, requests, &path));
    sender
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
