//! A bare append: the same bytes into a bare SQLite of the same settings, group by group, and nothing else.
//!
//! Rule: what the log must do at least, and no more: a table of numbers and payloads, one thread, no checks.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Load, batches::Batches};
use crate::load::part;

/// A turn of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// Where the file goes.
    pub folder: PathBuf,
    /// What is written.
    pub load: Load,
    /// Batches in a transaction.
    pub group: usize,
    /// No group begins after this.
    pub lasts: Duration,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Results that are durable.
    pub results: u64,
    /// From the first group's start to the last one's end.
    pub took: Duration,
}

/// The part: answers each [`Slice`] with what was [`Counted`].
pub async fn main() -> anyhow::Result<()> {
    part::answer(async |slice: Slice| Ok(serde_json::to_value(append(&slice)?)?)).await
}

/// Writes until time is up.
pub fn append(slice: &Slice) -> anyhow::Result<Counted> {
    let path = slice.folder.join("bare.sqlite");
    clear(&path);
    let (batches, clock) = (Batches::new(slice.load), Clock::system());
    let mut connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE record (cursor INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
    )?;
    let began = Instant::now();
    let (mut number, mut payload) = (0, Vec::new());
    while began.elapsed() < slice.lasts {
        let transaction = connection.transaction()?;
        for _ in 0..slice.group {
            number += 1;
            payload.clear();
            batches.batch(0, number, Timestamp::from_micros(clock.now_micros())).encode(&mut payload);
            transaction
                .prepare_cached("INSERT INTO record (payload) VALUES (?1)")?
                .execute(params![payload])
                .context("a bare append")?;
        }
        transaction.commit()?;
    }
    let counted = Counted { results: number * u64::from(slice.load.batch), took: began.elapsed() };
    drop(connection);
    clear(&path);
    Ok(counted)
}

/// Removes a database and what stands beside it.
pub fn clear(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // There may be none.
        drop(std::fs::remove_file(format!("{}{suffix}", path.display())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_was_written_in_whole_groups() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = Load { targets: 3, batch: 5 };
        let slice = Slice { folder: folder.path().to_owned(), load, group: 4, lasts: Duration::from_millis(50) };
        let counted = append(&slice).expect("written");
        assert!(counted.results > 0 && counted.results.is_multiple_of(20), "{counted:?}");
        assert!(!folder.path().join("bare.sqlite").exists(), "nothing is left behind");
    }
}
