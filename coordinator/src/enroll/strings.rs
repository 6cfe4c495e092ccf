//! Join strings: what an operator made, for how many agents and how long, and who joined with it. A file `joins/ID.toml` of the
//! data directory each, without the secret.
//!
//! Rules: what is decided of a join string is decided from its row and the time alone; a row stays for [`KEPT`] after its time is
//! over, so that a late attempt is told why.

use std::{path::Path, time::Duration};

use data_encoding::BASE32_DNSSEC;
use faultline_attribution::Timestamp;
use faultline_proto::join::JoinString;
use serde::{Deserialize, Serialize};

use super::Denied;
use crate::{
    access::rows::{Proof, Row, Rows, digest_of, secret},
    pki::{self, PkiError},
    registry::Place,
};

/// Agents that may join with one string, at most.
pub const MAX_USES: u32 = 1000;

/// A join string is good for so long at most.
pub const MAX_LIFE: Duration = Duration::from_hours(7 * 24);

/// Characters of a label: with the part that is added a name is as long as one may be.
pub const MAX_LABEL: usize = 54;

/// How long a row stays after its time is over.
pub const KEPT: Duration = Duration::from_hours(7 * 24);

/// Join strings at once.
const MAX_STRINGS: usize = 1000;

/// What a join string is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The first part of the names of those who join with it; `agent` where it is empty.
    #[serde(default)]
    pub label: String,
    /// Agents that may join with it, 1 to [`MAX_USES`].
    pub uses: u32,
    /// How long it is good, in seconds, up to [`MAX_LIFE`].
    pub life_s: u64,
    /// Where those are who join with it, as the operator knows.
    #[serde(default)]
    pub place: Place,
    /// Whether who joins with it does not count before an operator approves it.
    #[serde(default)]
    pub needs_approval: bool,
}

/// What is kept of a join string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joining {
    /// SHA-256 of the secret, hexadecimal.
    pub digest: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// From then on it is not good any more.
    pub expires_at: Timestamp,
    /// Agents that may join with it.
    pub uses: u32,
    /// The first part of their names.
    pub label: String,
    /// Whether they do not count before an operator approves them.
    #[serde(default)]
    pub needs_approval: bool,
    /// When an operator took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Where they are, as the operator knows.
    #[serde(default)]
    pub place: Place,
    /// Who joined with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
}

/// An agent that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// SHA-256 of its public key, hexadecimal.
    pub key: String,
    /// Its name.
    pub agent: String,
    /// When.
    pub at: Timestamp,
}

/// What a key comes to at a join string that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joins {
    /// The agent that joined with this key before.
    Again(String),
    /// A new agent.
    Anew,
}

/// How a join string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Agents may join with it.
    Open,
    /// As many joined as may.
    UsedUp,
    /// Its time is over.
    Expired,
    /// An operator took it back.
    Revoked,
}

impl Row for Joining {
    fn digest(&self) -> &str {
        &self.digest
    }
}

impl Joining {
    /// Whether anybody may join with it at this time, one who joined before included.
    ///
    /// # Errors
    ///
    /// When it was taken back, or its time is over.
    pub fn is_open(&self, now: Timestamp) -> Result<(), Denied> {
        match self.revoked_at {
            Some(at) => Err(Denied::Revoked(at)),
            None if now >= self.expires_at => Err(Denied::Expired(self.expires_at)),
            None => Ok(()),
        }
    }

    /// What this key comes to.
    ///
    /// # Errors
    ///
    /// When it is a new one, and as many joined as may.
    pub fn joins(&self, key: &str) -> Result<Joins, Denied> {
        if let Some(before) = self.joined.iter().find(|joined| joined.key == key) {
            return Ok(Joins::Again(before.agent.clone()));
        }
        let left = usize::try_from(self.uses).unwrap_or(usize::MAX).saturating_sub(self.joined.len());
        if left == 0 { Err(Denied::UsedUp(self.uses)) } else { Ok(Joins::Anew) }
    }

    /// Notes who joined.
    pub fn add(&mut self, key: String, agent: String, at: Timestamp) {
        self.joined.push(Joined { key, agent, at });
    }

    /// A name for who joins: the label, and eight characters of these bits.
    pub fn name(&self, bits: [u8; 5]) -> String {
        let label = if self.label.is_empty() { "agent" } else { &self.label };
        format!("{label}-{}", BASE32_DNSSEC.encode(&bits))
    }

    /// How it is at this time.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.is_open(now) {
            Err(Denied::Revoked(_)) => Standing::Revoked,
            Err(_) => Standing::Expired,
            Ok(()) if self.joined.len() as u64 >= u64::from(self.uses) => Standing::UsedUp,
            Ok(()) => Standing::Open,
        }
    }
}

/// Why there is no such join string.
#[derive(Debug, thiserror::Error)]
pub enum StringError {
    /// What it was to be is not allowed.
    #[error("{0}")]
    Wanted(String),
    /// There are too many.
    #[error("there are {MAX_STRINGS} join strings already: one is forgotten a week after its time is over")]
    Full,
    /// Its file.
    #[error(transparent)]
    File(#[from] PkiError),
}

/// The join strings of a data directory.
#[derive(Clone, Debug)]
pub struct JoinStrings {
    rows: Rows<Joining>,
}

impl JoinStrings {
    /// The join strings of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { rows: Rows::of(data.join("joins")) }
    }

    /// Makes a join string for whoever trusts the root of this pin; it is not kept.
    ///
    /// # Errors
    ///
    /// When what is wanted is not allowed, there are too many, or it cannot be written.
    pub fn create(&self, wanted: &Wanted, pin: &str, now: Timestamp) -> Result<(JoinString, Joining), StringError> {
        let Wanted { label, uses, life_s, place, needs_approval } = wanted;
        let life = Duration::from_secs(*life_s);
        let wrong = if !label.is_empty() && (label.len() > MAX_LABEL || pki::check_name(label).is_err()) {
            Some(format!(
                "label {label:?} is not 1 to {MAX_LABEL} of a-z, 0-9 and -, beginning with a letter or a digit"
            ))
        } else if !(1..=MAX_USES).contains(uses) {
            Some(format!("{uses} uses: 1 to {MAX_USES} are allowed"))
        } else if life.is_zero() || life > MAX_LIFE {
            Some(format!("good for {life_s} s: 1 s to {} s are allowed", MAX_LIFE.as_secs()))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(StringError::Wanted(wrong));
        }
        let all = self.rows.all();
        let is_over = |row: &Joining| now.since(row.expires_at) > KEPT;
        let over = all.iter().filter(|(_, row)| row.as_ref().is_ok_and(is_over));
        let mut left = all.len();
        for (id, _) in over {
            left -= usize::from(self.rows.remove(id)?);
        }
        if left >= MAX_STRINGS {
            return Err(StringError::Full);
        }
        let id = BASE32_DNSSEC.encode(&rand::random::<[u8; 5]>());
        let secret = secret();
        let row = Joining {
            digest: digest_of(&secret),
            made_at: now,
            expires_at: now.after(life),
            uses: *uses,
            label: label.clone(),
            needs_approval: *needs_approval,
            revoked_at: None,
            place: place.clone(),
            joined: Vec::new(),
        };
        self.rows.put(&id, &row)?;
        Ok((JoinString { id, secret, pin: pin.to_owned() }, row))
    }

    /// Every join string, by id; a file that cannot be read comes with what is wrong with it.
    pub fn all(&self) -> Vec<(String, Result<Joining, String>)> {
        self.rows.all()
    }

    /// Takes a join string back, for good; `None` when there is none of this id. Who joined with it stays.
    ///
    /// # Errors
    ///
    /// When its file cannot be read or written.
    pub fn revoke(&self, id: &str, now: Timestamp) -> Result<Option<Joining>, StringError> {
        if pki::check_name(id).is_err() || !self.rows.has(id) {
            return Ok(None);
        }
        let mut row = self.rows.read(id).map_err(StringError::Wanted)?;
        row.revoked_at.get_or_insert(now);
        self.rows.put(id, &row)?;
        Ok(Some(row))
    }

    pub(super) fn prove(&self, shown: &JoinString) -> Proof<Joining> {
        self.rows.prove(&shown.id, &shown.secret)
    }

    pub(super) fn keep(&self, id: &str, row: &Joining) -> Result<(), PkiError> {
        self.rows.put(id, row)
    }
}
