//! Forgets whom the agent joined, and what it holds for them. The configuration stays.
//!
//! Rule: the identity goes first, so that an end in between leaves results without an owner and never an owner without them.

use std::{fs, io, path::Path};

use crate::{Setup, config::SpoolPlace, enroll, spool};

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum WipeError {
    /// Of the identity.
    #[error(transparent)]
    Identity(#[from] enroll::JoinError),
    /// Of the spool.
    #[error("{}: {source}", path.display())]
    Spool {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Removes identity, keys and spool. Nobody may run as this agent meanwhile. Returns whether there was an identity.
///
/// # Errors
///
/// When something cannot be removed; the rest may be gone.
pub fn wipe(setup: &Setup) -> Result<bool, WipeError> {
    let found = enroll::forget(setup)?;
    match &setup.spool().place {
        SpoolPlace::Memory => {}
        // Of the agent's own making, with a folder for each coordinator that it had.
        SpoolPlace::Below(folder) => absent(folder, fs::remove_dir_all(folder))?,
        SpoolPlace::Folder(folder) => {
            let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
            for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(spool::is_own)) {
                absent(folder, fs::remove_file(entry.path()))?;
            }
        }
    }
    Ok(found)
}

fn absent(path: &Path, removed: io::Result<()>) -> Result<(), WipeError> {
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(WipeError::Spool { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
