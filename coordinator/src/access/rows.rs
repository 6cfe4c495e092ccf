//! Rows: what is kept of tokens, a file `ID.toml` in a folder each, with the digest of the secret and without the secret.
//!
//! The secret is 256 random bits in base64url, so that its SHA-256 digest is as good as any password hash. Rules: a digest is
//! compared in constant time, and for an id that is not there as well; a row is replaced whole or stays as it was.

use std::{
    fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::digest;
use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq as _;

use crate::pki::{self, PkiError};

/// Bytes of a secret.
const SECRET: usize = 32;

/// What is kept of a token.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// SHA-256 of the secret, hexadecimal.
    fn digest(&self) -> &str;
}

/// What a token comes to.
#[derive(Debug)]
pub(crate) enum Proof<T> {
    /// It is this one's.
    Good(T),
    /// There is one of this id, with another secret.
    WrongSecret,
    /// There is none of this id, or it cannot be read.
    Unknown,
}

/// The rows of one folder.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    folder: PathBuf,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        Self { folder: self.folder.clone(), of: PhantomData }
    }
}

impl<T: Row> Rows<T> {
    /// The rows of this folder, which need not be there yet.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder, of: PhantomData }
    }

    /// Whose secret this is. Takes as long for an id that is not there.
    pub(crate) fn prove(&self, id: &str, secret: &str) -> Proof<T> {
        if pki::check_name(id).is_err() {
            return Proof::Unknown;
        }
        let row = self.read(id).ok();
        let nobodys = digest_of("");
        let known = row.as_ref().map_or(nobodys.as_str(), |row| row.digest());
        let is_it: bool = digest_of(secret).as_bytes().ct_eq(known.as_bytes()).into();
        match row {
            Some(row) if is_it => Proof::Good(row),
            Some(_) => Proof::WrongSecret,
            None => Proof::Unknown,
        }
    }

    /// The row of an id that was checked; what is wrong, with the file's path, where it cannot be read.
    pub(crate) fn read(&self, id: &str) -> Result<T, String> {
        let path = self.file(id);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether there is a row of this id, readable or not.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.file(id).exists()
    }

    /// Every row, by id; a file that cannot be read comes with what is wrong with it.
    pub(crate) fn all(&self) -> Vec<(String, Result<T, String>)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let id = |path: &Path| {
            let is_row = path.extension().is_some_and(|extension| extension == "toml");
            is_row.then(|| Some(path.file_stem()?.to_str()?.to_owned())).flatten()
        };
        let ids = entries.filter_map(|entry| id(&entry.ok()?.path()));
        let mut all: Vec<_> = ids.map(|id| (id.clone(), self.read(&id))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Keeps a row, in place of an old one of its id.
    pub(crate) fn put(&self, id: &str, row: &T) -> Result<(), PkiError> {
        pki::check_name(id)?;
        fs::create_dir_all(&self.folder).map_err(|source| PkiError::File { path: self.folder.clone(), source })?;
        let path = self.file(id);
        let text = toml::to_string(row)
            .map_err(|error| PkiError::File { path: path.clone(), source: io::Error::other(error) })?;
        pki::replace(&path, &text, 0o600)
    }

    /// Forgets a row; `false` when there was none.
    pub(crate) fn remove(&self, id: &str) -> Result<bool, PkiError> {
        pki::check_name(id)?;
        match fs::remove_file(self.file(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(PkiError::File { path: self.file(id), source }),
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.toml"))
    }
}

/// A new secret.
pub(crate) fn secret() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; SECRET]>())
}

/// What is kept of a secret.
pub(crate) fn digest_of(secret: &str) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}
