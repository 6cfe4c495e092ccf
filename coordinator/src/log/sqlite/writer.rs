//! The writer of a log: a thread that owns the writing connection.
//!
//! It takes what waits in its queue (bounded: callers wait), writes all of it in one transaction, and answers after the
//! commit. A request that finds the log idle is committed at once; those that come while a commit is under way make the next
//! group, up to [`GROUP_BYTES`] or what can be gathered in [`GATHER`].
//!
//! Rules: an error says that nothing of the request is stored. When a statement fails its transaction is rolled back whole,
//! since the store may have done so already, and each request of the group is tried alone, so that one that cannot be stored
//! harms no other; where there is no room, none is.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use faultline_attribution::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, ffi, params};
use tokio::sync::{mpsc, oneshot};

use super::{Admission, Appended, Cursor, Entry, LogError, read::last_admitted, tally, trim};
use crate::{
    counts::Tally,
    feed::Published,
    history::History,
    log::INCARNATIONS,
    record::{FORMAT, Record},
};

/// Requests that wait for the writer; beyond it callers wait.
const QUEUE: usize = 1024;

/// Payload in one transaction, so that who came first does not wait for the disk to take much more than its own.
const GROUP_BYTES: usize = 1 << 20;

/// Time for gathering one: many small requests must not keep the first of them waiting either.
const GATHER: Duration = Duration::from_millis(5);

/// What the writer is asked for.
pub(super) enum Request {
    Append(Admission, Record, oneshot::Sender<Result<Appended, LogError>>),
    Publish(Cursor, Timestamp, Vec<Published>, oneshot::Sender<Result<Vec<Entry>, LogError>>),
    /// Lets the file grow no further than these pages.
    Limit(u32, oneshot::Sender<Result<(), LogError>>),
    /// One step of a trim.
    Trim(Cursor, oneshot::Sender<Result<Cursor, LogError>>),
    /// One step of giving free pages back; answers how many are left to give.
    Vacuum(oneshot::Sender<Result<u64, LogError>>),
    /// Adds counts.
    Tally(Box<Tally>, oneshot::Sender<Result<(), LogError>>),
    /// Keeps the history of an incident.
    History(Box<History>, oneshot::Sender<Result<(), LogError>>),
}

/// What a request came to, once its transaction is durable.
enum Outcome {
    Appended(Appended),
    Published(Vec<Entry>),
    Limited,
    Trimmed(Cursor),
    Vacuumed(u64),
    Kept,
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Append(_, record, _) => record.payload.len(),
            _ => 0,
        }
    }

    fn store(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Outcome> {
        match self {
            Self::Append(admission, record, _) => append(transaction, *admission, record).map(Outcome::Appended),
            Self::Publish(tick, at, changes, _) => publish(transaction, *tick, *at, changes).map(Outcome::Published),
            Self::Limit(pages, _) => {
                transaction.pragma_update(None, "max_page_count", pages)?;
                Ok(Outcome::Limited)
            }
            Self::Trim(through, _) => trim::step(transaction, *through).map(Outcome::Trimmed),
            Self::Vacuum(_) => trim::vacuum(transaction).map(Outcome::Vacuumed),
            Self::Tally(tally, _) => tally::add(transaction, tally).map(|()| Outcome::Kept),
            Self::History(history, _) => tally::keep(transaction, history).map(|()| Outcome::Kept),
        }
    }

    fn answer(self, result: Result<Outcome, LogError>, path: &Path) {
        let closed = || LogError::Closed(path.to_owned());
        match self {
            Self::Append(.., answer) => send(
                answer,
                result.and_then(|outcome| match outcome {
                    Outcome::Appended(appended) => Ok(appended),
                    _ => Err(closed()),
                }),
            ),
            Self::Publish(.., answer) => send(
                answer,
                result.and_then(|outcome| match outcome {
                    Outcome::Published(entries) => Ok(entries),
                    _ => Err(closed()),
                }),
            ),
            Self::Limit(_, answer) | Self::Tally(_, answer) | Self::History(_, answer) => {
                send(answer, result.map(|_| ()));
            }
            Self::Trim(_, answer) => send(
                answer,
                result.and_then(|outcome| match outcome {
                    Outcome::Trimmed(through) => Ok(through),
                    _ => Err(closed()),
                }),
            ),
            Self::Vacuum(answer) => send(
                answer,
                result.and_then(|outcome| match outcome {
                    Outcome::Vacuumed(left) => Ok(left),
                    _ => Err(closed()),
                }),
            ),
        }
    }
}

/// Answers, or not: who asked may be gone.
fn send<T>(answer: oneshot::Sender<Result<T, LogError>>, result: Result<T, LogError>) {
    drop(answer.send(result));
}

/// Starts the writer. It ends when the last sender is dropped.
pub(super) fn start(connection: Connection, path: PathBuf) -> mpsc::Sender<Request> {
    let (sender, requests) = mpsc::channel(QUEUE);
    // A panic in the writer ends the process in release builds; in others its callers see `Closed`.
    thread::spawn(move || write(connection, requests, &path));
    sender
}

fn write(mut connection: Connection, mut requests: mpsc::Receiver<Request>, path: &Path) {
    while let Some(first) = requests.blocking_recv() {
        let began = Instant::now();
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES
            && began.elapsed() < GATHER
            && let Ok(next) = requests.try_recv()
        {
            bytes += next.bytes();
            group.push(next);
        }
        commit(&mut connection, group, path);
    }
}

/// Stores a group and answers it.
fn commit(connection: &mut Connection, group: Vec<Request>, path: &Path) {
    match store(connection, &group) {
        Ok(outcomes) => {
            for (request, outcome) in group.into_iter().zip(outcomes) {
                request.answer(Ok(outcome), path);
            }
        }
        Err(error) if group.len() == 1 || is_full(&error) => {
            for request in group {
                request.answer(Err(refusal(&error, path)), path);
            }
        }
        Err(_) => {
            for request in group {
                commit(connection, vec![request], path);
            }
        }
    }
}

/// Stores all of a group, or nothing.
fn store(connection: &mut Connection, group: &[Request]) -> rusqlite::Result<Vec<Outcome>> {
    let transaction = connection.transaction()?;
    faultline_proto::failpoint::reach("log.append.before");
    let outcomes = group.iter().map(|request| request.store(&transaction)).collect::<Result<_, _>>()?;
    faultline_proto::failpoint::reach("log.append.after");
    faultline_proto::failpoint::reach("log.commit.before");
    transaction.commit()?;
    faultline_proto::failpoint::reach("log.commit.after");
    Ok(outcomes)
}

/// Whether there was no room: a full disk, a quota, or a limit on the size of files. The operating system says so of a log
/// that grows, and of the index beside it, in different words.
fn is_full(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    failure.code == ErrorCode::DiskFull
        || [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_TRUNCATE]
            .contains(&failure.extended_code)
}

/// The error as each of a group is told of it.
fn refusal(error: &rusqlite::Error, path: &Path) -> LogError {
    let path = path.to_owned();
    if is_full(error) {
        return LogError::Full { path, why: error.to_string() };
    }
    tracing::error!(%error, "log write failed");
    let source = match error {
        rusqlite::Error::SqliteFailure(failure, why) => rusqlite::Error::SqliteFailure(*failure, why.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    };
    LogError::Store { path, source }
}

fn append(transaction: &Transaction<'_>, admission: Admission, record: &Record) -> rusqlite::Result<Appended> {
    let mut is_first = false;
    if let Admission::Batch { first_number } = admission {
        let epoch: Option<i64> = transaction
            .prepare_cached("SELECT epoch FROM session WHERE agent = ?1")?
            .query_row([&record.agent], |row| row.get(0))
            .optional()?;
        if epoch != Some(record.epoch.cast_signed()) {
            return Ok(Appended::Fenced);
        }
        let durable = last_admitted(transaction, &record.agent, &record.incarnation, record.lane)?;
        let expected = (durable + 1).max(first_number);
        if record.number <= durable {
            return Ok(Appended::Duplicate { durable });
        }
        if record.number > expected {
            return Ok(Appended::Gap { expected });
        }
        is_first = durable == 0;
    }
    insert(transaction, None, record)?;
    let cursor = transaction.last_insert_rowid();
    match admission {
        Admission::Own => {}
        Admission::Session => {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO session VALUES (?1, ?2)")?
                .execute(params![record.agent, cursor])?;
        }
        Admission::Batch { .. } => {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO admitted VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![record.agent, record.incarnation, record.lane, record.number.cast_signed(), cursor])?;
            if is_first {
                forget(transaction, &record.agent)?;
            }
        }
    }
    Ok(Appended::At(Cursor(cursor)))
}

/// Forgets the incarnations of an agent beyond those that a store must know.
fn forget(transaction: &Transaction<'_>, agent: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM admitted WHERE agent = ?1 AND incarnation NOT IN (SELECT incarnation FROM admitted \
             WHERE agent = ?1 GROUP BY incarnation ORDER BY max(last) DESC LIMIT ?2)",
        )?
        .execute(params![agent, i64::try_from(INCARNATIONS).unwrap_or(i64::MAX)])
        .map(|_| ())
}

/// Puts a record at a place, or after all others.
pub(super) fn insert(transaction: &Transaction<'_>, cursor: Option<Cursor>, record: &Record) -> rusqlite::Result<()> {
    let sql = "INSERT INTO record \
        (cursor, format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    transaction
        .prepare_cached(sql)?
        .execute(params![
            cursor.map(|cursor| cursor.0),
            FORMAT,
            record.kind as u8,
            record.received_at.micros(),
            record.agent,
            record.incarnation,
            record.epoch.cast_signed(),
            record.lane,
            record.number.cast_signed(),
            record.checksum(FORMAT),
            &*record.payload,
        ])
        .map(|_| ())
}

fn publish(
    transaction: &Transaction<'_>,
    tick: Cursor,
    at: Timestamp,
    changes: &[Published],
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO change (tick, published_at, crc32c, payload) VALUES (?1, ?2, ?3, ?4)")?;
    let mut entries = Vec::with_capacity(changes.len());
    for published in changes {
        let payload =
            serde_json::to_vec(published).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        statement.execute(params![tick.0, at.micros(), crc32c::crc32c(&payload), payload])?;
        let sequence = transaction.last_insert_rowid().cast_unsigned();
        entries.push(Entry { sequence, tick, published_at: at, published: published.clone() });
    }
    Ok(entries)
}
