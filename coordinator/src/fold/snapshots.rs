//! Snapshots: the files of one data directory, the two newest.
//!
//! Rules: a file is written beside its place and renamed, file and folder are synced, so that a crash leaves the old ones or
//! the new one; an older one goes only after that. Two are kept, so that the log can be folded from the older where the
//! newer turns out to be damaged, and proves the newer.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::snapshot::{Snapshot, Unusable};
use crate::log::Cursor;

/// Snapshots that are kept.
const KEPT: usize = 2;

const ENDING: &str = "fold";

/// The snapshots of one data directory.
#[derive(Debug)]
pub struct Snapshots {
    folder: PathBuf,
    /// Ticks of those that this process has written or gone on from, oldest first.
    good: Mutex<Vec<Cursor>>,
}

/// A snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// Its tick, by its name.
    pub cursor: Cursor,
}

impl Found {
    /// Reads it.
    pub fn read(&self) -> Result<Snapshot, Unusable> {
        let snapshot = Snapshot::from_bytes(&fs::read(&self.path)?)?;
        if snapshot.cursor == self.cursor { Ok(snapshot) } else { Err(Unusable::Foreign) }
    }
}

impl Snapshots {
    /// The snapshots of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join("snapshots"), good: Mutex::default() }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is there, newest first, whatever it is worth.
    pub fn newest_first(&self) -> Vec<Found> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let found = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_ours = path.extension().is_some_and(|ending| ending == ENDING);
            let cursor = path.file_stem()?.to_str()?.parse().ok().map(Cursor).filter(|_| is_ours)?;
            Some(Found { path, cursor })
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.cursor));
        found
    }

    /// Writes a snapshot, and forgets all but it and the one before. Returns its size in bytes.
    pub fn write(&self, snapshot: &Snapshot) -> io::Result<usize> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{:020}.{ENDING}", snapshot.cursor.0));
        let fresh = path.with_extension("new");
        let bytes = snapshot.to_bytes();
        faultline_proto::failpoint::reach("snapshot.write.before");
        let written = fs::File::create(&fresh)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .inspect(|()| faultline_proto::failpoint::reach("snapshot.write.after"))
            .and_then(|()| fs::rename(&fresh, &path))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        if let Err(error) = written {
            // What is left of it would take room on a full disk.
            drop(fs::remove_file(&fresh));
            return Err(error);
        }
        self.note(snapshot.cursor);
        self.forget_others()?;
        Ok(bytes.len())
    }

    /// The last record that a trim of the log may take without making a snapshot useless: everything up to it is in both
    /// that are kept, and their ticks come after it. The start of the log, while fewer than two are known to be good.
    pub fn snapshot_cursor(&self) -> Cursor {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = good.iter().min().filter(|_| good.len() == KEPT);
        oldest.map_or(Cursor::START, |oldest| Cursor(oldest.0 - 1))
    }

    /// Notes that the snapshot of this tick is good.
    pub(super) fn note(&self, cursor: Cursor) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.retain(|other| *other != cursor);
        good.push(cursor);
        if good.len() > KEPT {
            good.remove(0);
        }
    }

    /// Removes the files of all others, and of writes that a crash cut off. While fewer than two are known to be good, the
    /// next older one is kept, whatever it is worth.
    fn forget_others(&self) -> io::Result<()> {
        let mut keep = self.good.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let newest = keep.iter().max().copied();
        for found in self.newest_first() {
            if keep.contains(&found.cursor) {
                continue;
            }
            if keep.len() < KEPT && Some(found.cursor) < newest {
                keep.push(found.cursor);
            } else {
                fs::remove_file(&found.path)?;
            }
        }
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "new") {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
