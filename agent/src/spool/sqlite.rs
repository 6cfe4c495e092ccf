//! Batches in a SQLite file: WAL, `synchronous=FULL`, 16 KiB pages, one connection, locked for this process alone.
//!
//! Tables: `ledger` (one line of JSON with its checksum), `batch` (what is told of a batch, the numbers of the facts that it
//! refers to, its payload) and `facts`. Facts are kept once for a segment, a run of up to 256 ids: they are removed with its
//! last batch, and no batch needs those of another segment.
//!
//! Rules: a batch carries a CRC32C over all of its columns; what does not match is given back as damaged. A file of a newer
//! schema is refused, an older one is brought forward. The file is never larger than its quota (`max_page_count`), and
//! beside it the WAL is some MiB. Both keep their size when emptied, and the WAL stays when the store is closed: so there is
//! room to remove, and to store anew, on a disk that is full; the file grows only while the disk has more than it needs,
//! because pages that are in the WAL and find no place in the file would block it. That a power cut takes nothing that was
//! committed rests on SQLite's own promise, and on a disk that does not lie about what it has synced.

mod rows;

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, config::DbConfig, params};

use self::rows::{Segment, add, read, remove};
use super::{Change, Head, Ledger, Room, Row, Store, StoreError};

/// Batches in a file.
pub struct SqliteStore {
    path: PathBuf,
    max_pages: u64,
    connection: Option<Connection>,
    segment: Segment,
}

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// It was written by a later build.
    #[error("{} has schema {found}, this build knows {known}: use the build that wrote it or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest known.
        known: u32,
    },
    /// It cannot be used.
    #[error("{}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

impl SqliteStore {
    /// Opens the file, or makes it, and takes so many bytes at most.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, SqliteError> {
        let fail = |source| SqliteError::Store { path: path.to_owned(), source };
        let max_pages = (max_bytes / PAGE).max(LEAST_PAGES);
        let mut connection = connect(path, max_pages).map_err(|error| fail(told(&error)))?;
        let found = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        let found = found.map_err(|error| fail(told(&error)))?;
        let known = u32::try_from(SCHEMAS.len()).unwrap_or(u32::MAX);
        if found > known {
            return Err(SqliteError::Newer { path: path.to_owned(), found, known });
        }
        migrate(&mut connection, found).map_err(|error| fail(told(&error)))?;
        let mut store =
            Self { path: path.to_owned(), max_pages, connection: Some(connection), segment: Segment::default() };
        store.ledger().map_err(fail)?;
        if let Err(error) = store.reserve((max_pages / 8).min(RESERVE)) {
            tracing::debug!(%error, "no reserve in the spool");
        }
        Ok(store)
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.path, self.max_pages).map_err(|error| told(&error))?);
        }
        self.connection.as_mut().ok_or_else(|| StoreError::Disk("no connection".to_owned()))
    }

    /// Makes the file as large as this, with pages that are free.
    fn reserve(&mut self, pages: u64) -> Result<(), StoreError> {
        let connection = self.connection()?;
        // Fillers have ids below zero, which no batch has; those of a process that died in between go too.
        let reserve = |connection: &Connection| -> rusqlite::Result<()> {
            let mut filler = 0;
            while pragma(connection, "page_count")? < pages {
                filler -= 1;
                connection.execute(
                    "INSERT OR REPLACE INTO batch VALUES (?1, 0, 0, 0, 0, '', x'', 0, zeroblob(?2))",
                    [filler, CHUNK],
                )?;
            }
            connection.execute("DELETE FROM batch WHERE id < 0", []).map(drop)
        };
        reserve(connection).map_err(|error| told(&error))
    }
}

impl Store for SqliteStore {
    fn ledger(&mut self) -> Result<Option<Ledger>, StoreError> {
        let connection = self.connection()?;
        let found = connection.query_row("SELECT crc32c, content FROM ledger", [], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let Some((crc, content)) = found.optional().map_err(|error| told(&error))? else { return Ok(None) };
        if crc32c::crc32c(&content) != crc {
            return Err(StoreError::Broken("the checksum of its ledger is wrong".to_owned()));
        }
        serde_json::from_slice(&content).map(Some).map_err(|error| StoreError::Broken(error.to_string()))
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        let room = self.room()?;
        let cost: u64 = change.add.iter().map(|row| self.cost(row)).sum();
        let mut segment = std::mem::take(&mut self.segment);
        let connection = self.connection()?;
        let written = (|| {
            let transaction = connection.transaction()?;
            faultline_proto::failpoint::reach("spool.write.before");
            for ids in change.remove {
                remove(&transaction, ids)?;
            }
            for row in change.add {
                add(&transaction, row, &mut segment)?;
            }
            let content = serde_json::to_vec(change.ledger)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO ledger VALUES (1, ?1, ?2)")?
                .execute(params![crc32c::crc32c(&content), content])?;
            faultline_proto::failpoint::reach("spool.write.after");
            transaction.commit()
        })();
        match written {
            Ok(()) => self.segment = segment,
            // What was new in this segment is not there: the next batch begins another one.
            Err(error) => {
                let is_quota = error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    && room.all.saturating_sub(room.used) < 2 * cost + MARGIN;
                return Err(if is_quota { StoreError::Quota } else { told(&error) });
            }
        }
        Ok(())
    }

    fn read(&mut self, ids: RangeInclusive<u64>) -> Result<Option<Row>, StoreError> {
        let connection = self.connection()?;
        read(connection, ids).map_err(|error| told(&error))?.transpose()
    }

    fn heads(&mut self, ids: RangeInclusive<u64>, most: usize) -> Result<Vec<Head>, StoreError> {
        let connection = self.connection()?;
        let heads = || -> rusqlite::Result<Vec<Head>> {
            let mut statement = connection.prepare_cached(
                "SELECT id, since, sealed_at, results, losses, length(payload) FROM batch \
                 WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
            )?;
            let limits = params![to_sql(*ids.start()), to_sql(*ids.end()), i64::try_from(most).unwrap_or(i64::MAX)];
            statement
                .query_map(limits, |row| {
                    // What is damaged here is found when it is read, and must not hide the rest.
                    let losses: String = row.get(4).unwrap_or_default();
                    Ok(Head {
                        id: row.get::<_, i64>(0)?.cast_unsigned(),
                        since: row.get(1).unwrap_or_default(),
                        sealed_at: row.get(2).unwrap_or_default(),
                        results: row.get::<_, i64>(3).unwrap_or_default().cast_unsigned(),
                        losses: serde_json::from_str(&losses).unwrap_or_default(),
                        bytes: row.get::<_, i64>(5).unwrap_or_default().cast_unsigned(),
                    })
                })?
                .collect()
        };
        heads().map_err(|error| told(&error))
    }

    fn newest_before(&mut self, above: u64, sealed_before: i64) -> Result<Option<u64>, StoreError> {
        let connection = self.connection()?;
        let newest = connection
            .prepare_cached("SELECT id FROM batch WHERE id > ?1 AND sealed_at < ?2 ORDER BY id DESC LIMIT 1")
            .and_then(|mut statement| {
                statement.query_row(params![to_sql(above), sealed_before], |row| row.get::<_, i64>(0)).optional()
            });
        Ok(newest.map_err(|error| told(&error))?.map(i64::cast_unsigned))
    }

    fn room(&mut self) -> Result<Room, StoreError> {
        let max_pages = self.max_pages;
        let available = available(&self.path);
        let connection = self.connection()?;
        let counted = pragma(connection, "page_count").and_then(|all| Ok((all, pragma(connection, "freelist_count")?)));
        let (pages, free) = counted.map_err(|error| told(&error))?;
        let of_disk = available.saturating_sub(DISK_MARGIN);
        Ok(Room {
            // A file whose quota was lowered has more pages than it may use.
            inside: (free.min(max_pages.saturating_sub(pages - free)) * PAGE).saturating_sub(MARGIN),
            growth: (max_pages.saturating_sub(pages) * PAGE).min(of_disk),
            used: pages.saturating_sub(free) * PAGE,
            all: max_pages * PAGE,
        })
    }

    fn cost(&self, row: &Row) -> u64 {
        let new = row.facts.iter().filter(|facts| !self.segment.stored.contains(&facts.number));
        let facts: usize = new.map(|facts| facts.encoded.len() + OF_FACTS).sum();
        let bytes = row.payload.len() + 4 * row.facts.len() + OF_ROW + facts;
        // Pages are never quite full.
        (bytes as u64) * 5 / 4
    }

    fn keeps_confirmed(&self) -> bool {
        true
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        self.segment = Segment::default();
        self.connection().map(drop)
    }

    fn renew(&mut self, now: i64) -> Result<(), StoreError> {
        (self.connection, self.segment) = (None, Segment::default());
        let aside = move_aside(&self.path, now).map_err(|error| StoreError::Disk(error.to_string()))?;
        tracing::warn!(file = %self.path.display(), aside = %aside.display(), "a damaged spool was moved aside");
        migrate(self.connection()?, 0).map_err(|error| told(&error))
    }
}

/// Opens and sets what is not stored in the file.
fn connect(path: &Path, max_pages: u64) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE}; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; \
         PRAGMA cache_size=-512; PRAGMA wal_autocheckpoint=64; PRAGMA temp_store=MEMORY; PRAGMA max_page_count={max_pages};"
    ))?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (version, schema) in (1_u32..).zip(SCHEMAS).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(schema)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Renames a file that cannot be used, and its WAL with it; the ones that were moved earlier go.
pub(super) fn move_aside(file: &Path, now: i64) -> io::Result<PathBuf> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let earlier = format!("{name}.damaged-");
    for entry in fs::read_dir(file.parent().unwrap_or(Path::new(".")))?.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&earlier) {
            fs::remove_file(entry.path())?;
        }
    }
    let aside = file.with_file_name(format!("{earlier}{}", now.div_euclid(1_000_000)));
    fs::rename(file, &aside)?;
    let wal = file.with_file_name(format!("{name}-wal"));
    if wal.exists() {
        let seconds = now.div_euclid(1_000_000);
        fs::rename(&wal, file.with_file_name(format!("{earlier}{seconds}-wal")))?;
    }
    Ok(aside)
}

/// What the disk has for this process; everything where it does not say.
fn available(path: &Path) -> u64 {
    nix::sys::statvfs::statvfs(path)
        .map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
}

fn told(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Broken(error.to_string()),
        None if is_of_another_type(error) => StoreError::Broken(error.to_string()),
        _ => StoreError::Disk(error.to_string()),
    }
}

/// Whether a column has what this build never stores there.
fn is_of_another_type(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(error, InvalidColumnType(..) | FromSqlConversionFailure(..) | IntegralValueOutOfRange(..))
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Each brings a file from the schema of its place to the next.
const SCHEMAS: [&str; 1] = ["
CREATE TABLE ledger (id INTEGER PRIMARY KEY, crc32c INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE batch (
  id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, since INTEGER NOT NULL, sealed_at INTEGER NOT NULL,
  results INTEGER NOT NULL, losses TEXT NOT NULL, refers BLOB NOT NULL, crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE facts (
  segment INTEGER NOT NULL, number INTEGER NOT NULL, crc32c INTEGER NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (segment, number)) WITHOUT ROWID;
"];
/// Bytes of a page. Source: measured against 4 KiB, half again the throughput for batches of 64 KiB.
const PAGE: u64 = 16_384;
/// The smallest file that holds the tables and a batch.
const LEAST_PAGES: u64 = 64;
/// Pages that a new file has at least, an eighth of the quota at most: 8 MiB, hours of results on a full disk.
const RESERVE: u64 = 512;
const CHUNK: i64 = 256 * 1024;
/// What a write may take beside its batches: inner pages, the ledger.
const MARGIN: u64 = 8 * PAGE;
/// What is left to others, and to the WAL.
const DISK_MARGIN: u64 = 8 << 20;
/// Rough size of a batch and of facts beside their content.
const OF_ROW: usize = 256;
const OF_FACTS: usize = 24;

#[cfg(test)]
mod tests;
