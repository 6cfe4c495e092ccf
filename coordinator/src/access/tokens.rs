//! Subscriber tokens: `fls1.ID.SECRET`, a file `subscribers/ID.toml` of the data directory each, without the secret.
//!
//! The secret is 256 random bits in base64url, so that its SHA-256 digest is as good as any password hash. Rules: the secret is
//! shown once, when the token is made; a token is good from its file alone, so that deleting it, or editing it, takes effect at
//! the next call.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use faultline_attribution::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::pki::{self, PkiError};

/// What a token may do beside reading the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Single results as they come in.
    MeasureRead,
    /// Claims of others, and whatever else an operator says.
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MeasureRead => "measure-read",
            Self::Operator => "operator",
        })
    }
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// SHA-256 of the secret, hexadecimal.
    pub digest: String,
    /// From then on it is not good any more.
    pub expires_at: Timestamp,
    /// What it may do beside reading the feed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Streams it may have at once; 64 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<usize>,
}

/// The tokens of a data directory.
#[derive(Clone, Debug)]
pub struct Tokens {
    folder: PathBuf,
}

/// Begins every token, so that those that leak can be found. Source: the design notes' token prefixes.
pub(super) const PREFIX: &str = "fls1.";

/// Bytes of a secret.
const SECRET: usize = 32;

impl Tokens {
    /// The tokens of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join("subscribers") }
    }

    /// Makes a token; returns it whole. It is not kept.
    ///
    /// # Errors
    ///
    /// When the id is none, is taken, or cannot be written.
    pub fn create(
        &self,
        id: &str,
        roles: Vec<Role>,
        streams: Option<usize>,
        expires_at: Timestamp,
    ) -> Result<String, TokenError> {
        pki::check_name(id)?;
        let path = self.file(id);
        if path.exists() {
            return Err(TokenError::Taken(id.to_owned()));
        }
        fs::create_dir_all(&self.folder).map_err(|source| PkiError::File { path: self.folder.clone(), source })?;
        let secret = BASE64URL_NOPAD.encode(&rand::random::<[u8; SECRET]>());
        let subscriber = Subscriber { digest: digest_of(&secret), expires_at, roles, streams };
        pki::write(&path, &toml::to_string(&subscriber).unwrap_or_default(), 0o600)?;
        Ok(format!("{PREFIX}{id}.{secret}"))
    }

    /// Every token, by id; a file that cannot be read comes with what is wrong with it.
    pub fn all(&self) -> Vec<(String, Result<Subscriber, String>)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let ids = entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()));
        let mut all: Vec<_> = ids.map(|id| (id.clone(), self.read(&id))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Forgets a token; `false` when there was none.
    ///
    /// # Errors
    ///
    /// When its file cannot be deleted.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        pki::check_name(id)?;
        match fs::remove_file(self.file(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(PkiError::File { path: self.file(id), source }.into()),
        }
    }

    /// Whose token this is; `None` when it is not good.
    pub(super) fn subscriber(&self, token: &str, now: Timestamp) -> Option<(String, Subscriber)> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('.')?;
        pki::check_name(id).ok()?;
        let subscriber = self.read(id).ok();
        // As long for an id that is not there.
        let known = subscriber.as_ref().map_or("", |subscriber| &subscriber.digest);
        let is_it: bool = digest_of(secret).as_bytes().ct_eq(known.as_bytes()).into();
        subscriber
            .filter(|subscriber| is_it && now < subscriber.expires_at)
            .map(|subscriber| (id.to_owned(), subscriber))
    }

    /// Whether the token of this id is still good.
    pub(super) fn is_good(&self, id: &str, now: Timestamp) -> bool {
        self.read(id).is_ok_and(|subscriber| now < subscriber.expires_at)
    }

    fn read(&self, id: &str) -> Result<Subscriber, String> {
        let path = self.file(id);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.toml"))
    }
}

/// Why there is no such token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The id or its file.
    #[error(transparent)]
    File(#[from] PkiError),
    /// Another has this id.
    #[error("there is a token {0:?} already: revoke it first, or choose another name")]
    Taken(String),
}

fn digest_of(secret: &str) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}
