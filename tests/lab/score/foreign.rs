//! Foreign cases: a directory a case, made by anybody, in the formats that `faultline replay` reads.
//!
//! A case is `catalog.toml`, `world.toml`, `results.ndjson` (section 4 of the design) and `truth.toml`:
//!
//! ```toml
//! family = "provider-cdn"           # default: the directory's name
//! liars = 0.0                       # share of vantage groups that lie; for the report
//! is_hard = false                   # for the report
//! starts_at = 2025-10-29T15:30:00Z  # default: when the first result arrived
//! ends_at = 2025-10-29T16:30:00Z    # default: when the last result arrived
//!
//! [[truth]]                         # none: nothing may be accused
//! verdict = "azure"                 # aws | azure | neither
//! kind = ""                         # for neither
//! accept_kinds = []                 # further kinds that are right
//! element = "azure/front-door"      # "": any is right
//! accept_elements = []              # further elements that are right
//! onset_at = 2025-10-29T15:41:00Z
//! ends_at = 2025-10-29T16:10:00Z    # default: with the record
//! ```
//!
//! Records of incidents with one `[truth]` table and a `[time]` table (`start`, `end`) are read too; of such a record only
//! the keys above count, and `kind = "none"` is a truth under which nothing may be accused.
//!
//! Rules: results arrive in the order of their arrival and count as `faultline replay` counts them; what healthy probes
//! saw is learned from them. Sessions are not part of the format.

mod read;
mod truth;
mod write;

use std::{
    io,
    path::{Path, PathBuf},
};

use faultline_coordinator::{catalog::CatalogError, world_file::WorldError};

pub use write::export;

use super::run::Entry;

/// A foreign case that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A line of the results.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// Which file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The truth.
    #[error("{path}: {reason}")]
    Truth {
        /// Which file.
        path: String,
        /// What is wrong, with line and value.
        reason: String,
    },
}

/// The directories of cases under this one, by name.
pub fn directories(parent: &Path) -> Result<Vec<PathBuf>, ForeignError> {
    let failed = |source| ForeignError::File { path: parent.display().to_string(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.join("truth.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The case in this directory.
pub fn load(directory: &Path) -> Result<Entry, ForeignError> {
    read::entry(directory)
}

#[cfg(test)]
mod tests;
