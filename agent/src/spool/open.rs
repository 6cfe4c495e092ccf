//! Opens the spool where the configuration says, and copes with what it finds there.
//!
//! The folder: `spool.sqlite` (and its `-wal`), `made`, and what was found damaged as `spool.sqlite.damaged-<time>`, of which
//! the latest is kept.
//!
//! Rules: a spool that another process has, or that a later build wrote, is refused by name, because going on without it
//! would lose what it holds; one that is no database, or damaged beyond reading, is moved aside and a new one is made; one
//! that cannot be written at all leaves the agent with memory. The last two are warned of, and probing goes on.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use faultline_proto::clock::Clock;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    MadeFile, Spool, SqliteStore, Store, StoreError,
    sqlite::{SqliteError, move_aside},
};
use crate::config::{Config, SpoolPlace};

/// The spool must not be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{}: another faultline-agent has this spool open; each needs its own, see [spool] path", .0.display())]
    Taken(PathBuf),
    /// A later build wrote it.
    #[error(transparent)]
    Newer(SqliteError),
}

/// Opens the spool of the configuration.
pub fn open(config: &Config, clock: Clock) -> Result<Spool, OpenError> {
    let (incarnation, memory) = (rand::random(), config.spool.max_memory_bytes);
    let Some(folder) = folder(config) else { return Ok(Spool::memory(incarnation, memory)) };
    match in_folder(&folder, config.spool.max_bytes, memory, incarnation, clock.now_micros()) {
        Ok(spool) => Ok(spool),
        Err(Trouble::Refused(error)) => Err(error),
        Err(Trouble::Unusable(error)) => {
            let folder = folder.display();
            tracing::warn!(%folder, error, "the spool cannot be written: results are kept in memory and end with the process");
            Ok(Spool::memory(incarnation, memory))
        }
    }
}

/// Where the spool of the configuration is; `None` for memory.
pub(crate) fn folder(config: &Config) -> Option<PathBuf> {
    match &config.spool.place {
        SpoolPlace::Memory => None,
        SpoolPlace::Folder(folder) => Some(folder.clone()),
        SpoolPlace::Below(folder) => {
            Some(folder.join(pin(&config.coordinator.ca).unwrap_or_else(|| "unknown".to_owned())))
        }
    }
}

/// The name of a coordinator among those that an agent may have: the first 16 hex digits of its root's SHA-256.
pub fn pin(ca: &Path) -> Option<String> {
    let root = CertificateDer::pem_file_iter(ca).ok()?.next()?.ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &root);
    Some(HEXLOWER.encode(&digest.as_ref()[..8]))
}

enum Trouble {
    Refused(OpenError),
    Unusable(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Unusable(error.to_string())
    }
}

fn in_folder(
    folder: &Path,
    max_bytes: u64,
    max_line_bytes: usize,
    incarnation: [u8; 16],
    now: i64,
) -> Result<Spool, Trouble> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = folder.join(FILE);
    let Some(made) = MadeFile::open(&folder.join(MADE))? else { return Err(Trouble::Refused(OpenError::Taken(file))) };
    let store: Box<dyn Store> = match SqliteStore::open(&file, max_bytes) {
        Ok(store) => Box::new(store),
        Err(error @ SqliteError::Newer { .. }) => return Err(Trouble::Refused(OpenError::Newer(error))),
        Err(SqliteError::Store { source: StoreError::Broken(error), .. }) => {
            let aside = move_aside(&file, now)?;
            let (told, aside) = (file.display(), aside.display());
            tracing::warn!(file = %told, %aside, error, "the spool is damaged: moved aside, what it held is lost, a new one is made");
            Box::new(SqliteStore::open(&file, max_bytes).map_err(|error| Trouble::Unusable(error.to_string()))?)
        }
        Err(error) => return Err(Trouble::Unusable(error.to_string())),
    };
    Ok(Spool::threaded(store, Box::new(made), incarnation, max_line_bytes, now)?.told_to_be_in(folder))
}

/// The store.
pub(crate) const FILE: &str = "spool.sqlite";
const MADE: &str = "made";

/// Whether a file of this name is part of a spool.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(FILE) || name == MADE
}
