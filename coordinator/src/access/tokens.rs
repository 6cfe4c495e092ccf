//! Subscriber tokens: `fls1.ID.SECRET`, a file `subscribers/ID.toml` of the data directory each, without the secret.
//!
//! Rules: the secret is shown once, when the token is made; a token is good from its file alone, so that deleting it, or editing
//! it, takes effect at the next call.

use std::{fmt, path::Path};

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

use super::rows::{Proof, Row, Rows, digest_of, secret};
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
    rows: Rows<Subscriber>,
}

impl Row for Subscriber {
    fn digest(&self) -> &str {
        &self.digest
    }
}

/// Begins every token, so that those that leak can be found. Source: the design notes' token prefixes.
pub(super) const PREFIX: &str = "fls1.";

impl Tokens {
    /// The tokens of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { rows: Rows::of(data.join("subscribers")) }
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
        if self.rows.has(id) {
            return Err(TokenError::Taken(id.to_owned()));
        }
        let secret = secret();
        let subscriber = Subscriber { digest: digest_of(&secret), expires_at, roles, streams };
        self.rows.put(id, &subscriber)?;
        Ok(format!("{PREFIX}{id}.{secret}"))
    }

    /// Every token, by id; a file that cannot be read comes with what is wrong with it.
    pub fn all(&self) -> Vec<(String, Result<Subscriber, String>)> {
        self.rows.all()
    }

    /// Forgets a token; `false` when there was none.
    ///
    /// # Errors
    ///
    /// When its file cannot be deleted.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        Ok(self.rows.remove(id)?)
    }

    /// Whose token this is; `None` when it is not good.
    pub(super) fn subscriber(&self, token: &str, now: Timestamp) -> Option<(String, Subscriber)> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('.')?;
        match self.rows.prove(id, secret) {
            Proof::Good(subscriber) if now < subscriber.expires_at => Some((id.to_owned(), subscriber)),
            Proof::Good(_) | Proof::WrongSecret | Proof::Unknown => None,
        }
    }

    /// Whether the token of this id is still good.
    pub(super) fn is_good(&self, id: &str, now: Timestamp) -> bool {
        self.rows.read(id).is_ok_and(|subscriber| now < subscriber.expires_at)
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
