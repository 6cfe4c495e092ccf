//! Folder: the files of a data directory's webhooks, one TOML file each, for the owner's eyes only.
//!
//! Rule: a file is whole or not there: it is written beside its place, and renamed.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::config::{ConfigError, Webhook};
use crate::pki;

/// Webhooks of one data directory; further files are not read, and that is said.
pub const MAX_WEBHOOKS: usize = 64;

/// Size of a file that is read. Source: far above what the keys can hold.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The webhooks' files of one data directory.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Those of a data directory.
    pub fn of(data: &Path) -> Self {
        Self(data.join("webhooks"))
    }

    /// Where a webhook's file is, if that can be a name.
    pub fn file(&self, name: &str) -> Result<PathBuf, ConfigError> {
        pki::check_name(name).map_err(|_| ConfigError::Name(name.to_owned()))?;
        Ok(self.0.join(format!("{name}.toml")))
    }

    /// Names of all files, in order: [`MAX_WEBHOOKS`] at most, and how many there are beyond.
    pub fn names(&self) -> Result<(Vec<String>, usize), ConfigError> {
        let fail = |source| ConfigError::File { path: self.0.clone(), source };
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(source) => return Err(fail(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|ending| ending == "toml")
                && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        let beyond = names.len().saturating_sub(MAX_WEBHOOKS);
        names.truncate(MAX_WEBHOOKS);
        Ok((names, beyond))
    }

    /// The text of a webhook's file.
    pub fn text(&self, name: &str) -> Result<String, ConfigError> {
        let path = self.file(name)?;
        let read = fs::metadata(&path).and_then(|found| match found.len() {
            0..=MAX_FILE_BYTES => fs::read_to_string(&path),
            bytes => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{bytes} bytes, {MAX_FILE_BYTES} at most")))
            }
        });
        read.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Unknown(name.to_owned()),
            _ => ConfigError::File { path, source },
        })
    }

    /// A webhook.
    pub fn webhook(&self, name: &str) -> Result<Webhook, ConfigError> {
        Webhook::parse(&self.file(name)?, &self.text(name)?)
    }

    /// Writes a webhook's file, in place of an old one or as a new one; for the owner's eyes only.
    pub fn write(&self, name: &str, webhook: &Webhook) -> Result<PathBuf, ConfigError> {
        webhook.check().map_err(|(_, why)| ConfigError::Unfit(why))?;
        let path = self.file(name)?;
        let text = toml::to_string(webhook).map_err(|error| ConfigError::Unfit(error.to_string()))?;
        let fresh = path.with_extension("new");
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).and_then(|()| {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        });
        written.map_err(|source| ConfigError::File { path: fresh, source })?;
        Ok(path)
    }

    /// Removes a webhook's file.
    pub fn remove(&self, name: &str) -> Result<(), ConfigError> {
        let path = self.file(name)?;
        fs::remove_file(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Unknown(name.to_owned()),
            _ => ConfigError::File { path, source },
        })
    }
}
