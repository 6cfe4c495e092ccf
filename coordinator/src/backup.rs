//! Backup and restore: everything that a coordinator must not lose, in one folder.
//!
//! A backup is a folder: `manifest.json`, `log.sqlite` (records, changes, what was admitted, counts), `ca/` (so that every
//! agent's certificate stays good), `agents/` (the registry), `machines/` (their bound keys), `subscribers/` (their tokens' hashes), `audit.sqlite` (what
//! operators asked), `ranges/`, `webhooks/` (their files; how far each is does not come along: after a restore they begin at the
//! newest change), and `snapshots/` of the fold. Join strings do not come along: what was used up since would be good again. The
//! manifest names each file with its size and CRC-32C, the feed, and how far log and feed reach.
//!
//! Rules: it may be taken while a coordinator runs. The log is copied as it was at one moment. Snapshots are copied before it,
//! since one of what the log does not hold would be wrong, and the registry after it, since an agent that is in the log must be
//! known. Everything is written beside its place, synced, and renamed at the end: a backup is whole or not there. The same
//! holds of a restore.

mod folder;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use faultline_attribution::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use self::folder::{Fresh, copy_file, copy_folder, sum};
use crate::admin::audit;

/// Format of a backup.
const FORMAT: u32 = 1;

/// Folders that are copied before the log, and after it.
const BEFORE: [&str; 1] = ["snapshots"];
const AFTER: [&str; 7] = ["ca", "ca.old", "agents", "machines", "subscribers", "ranges", "webhooks"];

/// The log, in a data directory as in a backup.
const LOG: &str = "log.sqlite";
const MANIFEST: &str = "manifest.json";

/// How often it is said how far a backup is.
const TOLD: Duration = Duration::from_millis(500);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A folder that should be empty.
    #[error("{} is not empty: name a folder that is, or one that does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// No data directory.
    #[error("{} is no data directory: it has no {LOG}", .0.display())]
    NoData(PathBuf),
    /// No backup.
    #[error("{} is no backup: it has no {MANIFEST} that can be read ({why})", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A backup of a newer build.
    #[error("{}: backup format {found} is newer than {FORMAT}, the newest that this build reads: upgrade it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// A file that is not as it was.
    #[error("{}: the backup is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log's store.
    #[error("{}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl BackupError {
    /// Whether what was given is at fault.
    pub fn is_of_usage(&self) -> bool {
        matches!(self, Self::NotEmpty(_) | Self::NoData(_) | Self::NoBackup { .. } | Self::Newer { .. })
    }
}

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the backup.
    pub format: u32,
    /// Build that made it.
    pub version: String,
    /// When.
    pub made_at: Timestamp,
    /// Identity of the feed.
    pub feed_id: String,
    /// The newest record in the log.
    pub last_record: i64,
    /// The newest change in the feed.
    pub last_change: i64,
    /// Every file.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// CRC-32C of its content.
    pub crc32c: u32,
}

/// Backs a data directory up into a folder that is empty or not there. `progress` hears of the bytes of the log that are
/// copied, and of how many there are.
pub fn backup(
    data: &Path,
    to: &Path,
    made_at: Timestamp,
    progress: impl FnMut(u64, u64),
) -> Result<Manifest, BackupError> {
    if !data.join(LOG).is_file() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    let fresh = Fresh::beside(to)?;
    for folder in BEFORE {
        copy_folder(&data.join(folder), &fresh.path.join(folder))?;
    }
    let log = fresh.path.join(LOG);
    copy_store(&data.join(LOG), &log, progress)?;
    for folder in AFTER {
        copy_folder(&data.join(folder), &fresh.path.join(folder))?;
    }
    if data.join(audit::FILE).is_file() {
        copy_store(&data.join(audit::FILE), &fresh.path.join(audit::FILE), |_, _| {})?;
    }
    let store = |source| BackupError::Store { path: log.clone(), source };
    let copied = Connection::open_with_flags(&log, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(store)?;
    let newest = |table: &str| -> rusqlite::Result<i64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1";
        copied.query_row(sql, [table], |row| row.get(0))
    };
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at,
        feed_id: copied
            .query_row("SELECT value FROM meta WHERE key = 'feed_id'", [], |row| row.get(0))
            .map_err(store)?,
        last_record: newest("record").map_err(store)?,
        last_change: newest("change").map_err(store)?,
        files: entries(&fresh.path)?,
    };
    drop(copied);
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    write(&fresh.path.join(MANIFEST), &text)?;
    fresh.into_place(to)?;
    Ok(manifest)
}

/// Which feed a restored coordinator serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The same: subscribers go on from where they are.
    Same,
    /// A new one: subscribers are told that theirs was replaced, and begin with a snapshot.
    New,
}

/// Restores a backup into a data directory that is empty or not there, after everything in it proved to be whole.
pub fn restore(backup: &Path, data: &Path, feed: Feed) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(backup)?;
    for entry in &manifest.files {
        verify(backup, entry)?;
    }
    let fresh = Fresh::beside(data)?;
    for entry in &manifest.files {
        copy_file(&backup.join(&entry.path), &fresh.path.join(&entry.path))?;
    }
    if feed == Feed::New {
        let path = fresh.path.join(LOG);
        let store = |source| BackupError::Store { path: path.clone(), source };
        let log = Connection::open(&path).map_err(store)?;
        let feed_id = format!("{:032x}", rand::random::<u128>());
        log.execute("UPDATE meta SET value = ?1 WHERE key = 'feed_id'", [feed_id]).map_err(store)?;
    }
    fresh.into_place(data)?;
    Ok(manifest)
}

fn read_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let no = |why: String| BackupError::NoBackup { path: backup.to_owned(), why };
    let text = fs::read(backup.join(MANIFEST)).map_err(|error| no(error.to_string()))?;
    let head: Head = serde_json::from_slice(&text).map_err(|error| no(error.to_string()))?;
    if head.format > FORMAT {
        return Err(BackupError::Newer { path: backup.to_owned(), found: head.format });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| no(error.to_string()))?;
    let is_inside =
        |path: &str| Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match manifest.files.iter().find(|entry| !is_inside(&entry.path)) {
        Some(entry) => Err(no(format!("{:?} lies outside of it", entry.path))),
        None => Ok(manifest),
    }
}

fn verify(backup: &Path, entry: &Entry) -> Result<(), BackupError> {
    let path = backup.join(&entry.path);
    let damaged = |why: &str| BackupError::Damaged { path: path.clone(), why: why.to_owned() };
    if !path.is_file() {
        return Err(damaged("it is missing"));
    }
    let (bytes, crc32c) = sum(&path)?;
    if bytes != entry.bytes {
        return Err(damaged(&format!("{bytes} bytes, not {}", entry.bytes)));
    }
    if crc32c == entry.crc32c { Ok(()) } else { Err(damaged("checksum")) }
}

/// Copies an SQLite file with its permissions, as it is at one moment, while others write to it.
fn copy_store(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), BackupError> {
    let store = |source| BackupError::Store { path: from.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(store)?;
    let pages = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let used = pages("page_count").map_err(store)? - pages("freelist_count").map_err(store)?;
    let all = (used * pages("page_size").map_err(store)?).max(0).cast_unsigned();
    let target = to.to_string_lossy().into_owned();
    let copied = || fs::metadata(to).map_or(0, |file| file.len());
    let (done, ended) = mpsc::channel();
    let vacuumed = thread::scope(|scope| {
        scope.spawn(move || {
            let vacuumed = connection.execute("VACUUM INTO ?1", [target]).map(|_| ());
            drop(done.send(vacuumed));
        });
        loop {
            match ended.recv_timeout(TOLD) {
                Ok(vacuumed) => return vacuumed,
                Err(mpsc::RecvTimeoutError::Timeout) => progress(copied(), all),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(rusqlite::Error::InvalidQuery),
            }
        }
    });
    vacuumed.map_err(store)?;
    progress(copied(), copied());
    let keep = || fs::set_permissions(to, fs::metadata(from)?.permissions());
    let file = keep().and_then(|()| File::open(to)?.sync_all());
    file.map_err(|source| BackupError::File { path: to.to_owned(), source })
}

fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let written = File::create(path).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(|source| BackupError::File { path: path.to_owned(), source })
}

/// Every file under a folder, in order.
fn entries(root: &Path) -> Result<Vec<Entry>, BackupError> {
    let (mut folders, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let fail = |source| BackupError::File { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let (bytes, crc32c) = sum(&path)?;
            let inside = path.strip_prefix(root).unwrap_or(&path);
            files.push(Entry { path: inside.to_string_lossy().into_owned(), bytes, crc32c });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests;
