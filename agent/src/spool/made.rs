//! How many results were made: the figure that survives a process which dies before it stored them.
//!
//! The file `made` beside the store: 16 bytes incarnation, then the count, 8 bytes, little-endian.
//!
//! Rules: it is written with one `pwrite` for each finished run's results and not synced, so that SIGKILL loses none of it,
//! and a power cut perhaps the last seconds: what died with the process is then at least what is told. A count of another
//! incarnation is none. Its lock is the spool's: whoever has it may open the store.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// Keeps how many results were made.
pub trait Counter: Send {
    /// What the last process left for this incarnation.
    fn load(&mut self, incarnation: &[u8; 16]) -> Option<u64>;
    /// Notes how many were made in this incarnation.
    fn save(&mut self, incarnation: &[u8; 16], made: u64);
}

/// Keeps nothing: for a spool that ends with its process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCounter;

impl Counter for NoCounter {
    fn load(&mut self, _incarnation: &[u8; 16]) -> Option<u64> {
        None
    }

    fn save(&mut self, _incarnation: &[u8; 16], _made: u64) {}
}

/// The count in a file.
#[derive(Debug)]
pub struct MadeFile {
    file: File,
    /// The incarnation that the file is of.
    incarnation: Option<[u8; 16]>,
    is_failing: bool,
}

impl MadeFile {
    /// Opens the file, or makes it, and locks it; `None` when another process has it.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, incarnation: None, is_failing: false })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn write(&mut self, incarnation: &[u8; 16], made: u64) -> io::Result<()> {
        if self.incarnation.as_ref() != Some(incarnation) {
            let mut whole = [0; 24];
            whole[..16].copy_from_slice(incarnation);
            whole[16..].copy_from_slice(&made.to_le_bytes());
            self.file.write_all_at(&whole, 0)?;
            self.incarnation = Some(*incarnation);
            return Ok(());
        }
        self.file.write_all_at(&made.to_le_bytes(), 16)
    }
}

impl Counter for MadeFile {
    fn load(&mut self, incarnation: &[u8; 16]) -> Option<u64> {
        let mut whole = [0; 24];
        self.file.read_exact_at(&mut whole, 0).ok()?;
        let (found, made) = whole.split_at(16);
        if found != incarnation {
            return None;
        }
        self.incarnation = Some(*incarnation);
        Some(u64::from_le_bytes(made.try_into().ok()?))
    }

    fn save(&mut self, incarnation: &[u8; 16], made: u64) {
        let written = self.write(incarnation, made);
        match written {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(%error, "the count of results made cannot be written: what dies with the process may go untold");
            }
            Err(_) => {}
        }
    }
}
