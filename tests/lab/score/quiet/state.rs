//! The state file: JSON lines, so that a long count goes on where it was cut off.
//!
//! The first line says what is counted ([`Setup`]); each further line is one finished [`Shard`]. A line is on disk before
//! the next day is begun; a torn last line (the program was killed while it wrote) is cut off on opening. A file of
//! another setup is refused: days of different worlds are not one count.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::Shard;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Format of this file.
    pub format: u32,
    /// Version of the inference.
    pub engine: u32,
    /// Agents.
    pub agents: usize,
    /// Targets.
    pub targets: usize,
    /// Profile of noise.
    pub noise: String,
}

/// Version of the format.
pub const FORMAT: u32 = 1;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line that is not the last is damaged.
    #[error("{path}:{line}: {reason}; remove the file to count anew")]
    Line {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It counts something else.
    #[error("{path} counts {found:?}, not {wanted:?}; name another file to count anew")]
    Setup {
        /// Which file.
        path: String,
        /// What it counts.
        found: Box<Setup>,
        /// What is asked for.
        wanted: Box<Setup>,
    },
}

/// The finished days, on disk where a file was named.
#[derive(Debug)]
pub struct StateFile {
    file: Option<File>,
    path: String,
    shards: Vec<Shard>,
}

impl StateFile {
    /// Finished days that only memory holds.
    pub fn none() -> Self {
        Self { file: None, path: String::new(), shards: Vec::new() }
    }

    /// Opens or makes the file.
    pub fn open(path: &Path, setup: &Setup) -> Result<Self, StateError> {
        let name = path.display().to_string();
        let failed = |source| StateError::File { path: name.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        // Only a line with its end was written whole.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut state = Self { file: Some(file), path: name.clone(), shards: Vec::new() };
        let mut lines = text[..whole].lines().enumerate();
        let Some((_, head)) = lines.next() else {
            state.put(setup)?;
            return Ok(state);
        };
        let damaged =
            |line, error: serde_json::Error| StateError::Line { path: name.clone(), line, reason: error.to_string() };
        let found: Setup = serde_json::from_str(head).map_err(|error| damaged(1, error))?;
        if found != *setup {
            let (found, wanted) = (Box::new(found), Box::new(setup.clone()));
            return Err(StateError::Setup { path: name, found, wanted });
        }
        for (place, line) in lines {
            state.shards.push(serde_json::from_str(line).map_err(|error| damaged(place + 1, error))?);
        }
        Ok(state)
    }

    /// Keeps a finished day; returns once it would survive a power cut.
    pub fn add(&mut self, shard: Shard) -> Result<(), StateError> {
        self.put(&shard)?;
        self.shards.push(shard);
        Ok(())
    }

    /// The finished days, in the order in which they were finished.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Seeds of the finished days.
    pub fn seeds(&self) -> BTreeSet<u64> {
        self.shards.iter().map(|shard| shard.seed).collect()
    }

    fn put(&mut self, record: &impl Serialize) -> Result<(), StateError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut write = || {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_data()
        };
        write().map_err(|source| StateError::File { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { format: FORMAT, engine: 1, agents: 48, targets: 240, noise: "typical".into() }
    }

    fn shard(seed: u64) -> Shard {
        Shard { seed, results: 33_000_000, took_s: 61.25, ..Shard::default() }
    }

    #[test]
    fn a_count_goes_on_where_it_was_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("quiet.ndjson");
        let mut state = StateFile::open(&path, &setup()).expect("made");
        state.add(shard(1)).expect("kept");
        state.add(shard(3)).expect("kept");
        drop(state);
        let mut text = std::fs::read(&path).expect("read");
        text.extend(b"{\"seed\":2,\"cloud\":0,\"nei");
        std::fs::write(&path, text).expect("torn");
        let mut state = StateFile::open(&path, &setup()).expect("opened");
        assert_eq!(state.shards(), [shard(1), shard(3)]);
        state.add(shard(2)).expect("kept");
        drop(state);
        let state = StateFile::open(&path, &setup()).expect("opened");
        assert_eq!(state.seeds(), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn a_file_killed_before_its_first_line_is_begun_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("quiet.ndjson");
        std::fs::write(&path, "{\"form").expect("torn");
        assert!(StateFile::open(&path, &setup()).expect("opened").shards().is_empty());
        assert!(StateFile::open(&path, &setup()).expect("opened again").shards().is_empty());
    }

    #[test]
    fn days_of_another_world_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("quiet.ndjson");
        drop(StateFile::open(&path, &setup()).expect("made"));
        let other = Setup { noise: "hostile".into(), ..setup() };
        let error = StateFile::open(&path, &other).expect_err("refused").to_string();
        assert!(error.contains("name another file"), "{error}");
    }

    #[test]
    fn a_damaged_line_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("quiet.ndjson");
        StateFile::open(&path, &setup()).expect("made").add(shard(1)).expect("kept");
        let text = std::fs::read_to_string(&path).expect("read").replace("\"cloud\":0", "\"cloud\":x");
        std::fs::write(&path, text).expect("damaged");
        let error = StateFile::open(&path, &setup()).expect_err("refused").to_string();
        assert!(error.contains("quiet.ndjson:2: "), "{error}");
    }
}
