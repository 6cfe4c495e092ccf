//! Standing: whether what an agent measures counts, and whether it may connect; one file beside its place in the registry.
//!
//! Quarantine, revocation and deletion are three things. A quarantined agent keeps its session, and what it sends is stored and
//! not counted; a revoked one is refused, keeps its row, and cannot come back; a deleted one has no row any more, and its name is
//! free. One without a file is active.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::{
    enroll::machines,
    pki::{self, PkiError},
};

/// Characters of a reason, at most.
pub const MAX_REASON: usize = 200;

/// How an agent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it may.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why, for people: at most [`MAX_REASON`] characters; may be empty for an active one.
    #[serde(default)]
    pub reason: String,
    /// Nothing that it measured from then on counts, in the past either.
    #[serde(default)]
    pub distrust_since: Option<Timestamp>,
}

/// What an agent may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It may connect, and counts.
    Active,
    /// It may connect, and does not count before an operator approves it.
    Pending,
    /// It may connect, and does not count.
    Quarantined,
    /// It may not connect, ever again.
    Revoked,
    /// It is not in the registry any more.
    Deleted,
}

impl State {
    /// Whether what it measures counts.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether it may have a session.
    pub const fn may_connect(self) -> bool {
        matches!(self, Self::Active | Self::Pending | Self::Quarantined)
    }

    /// Its word, as in the registry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }
}

impl Standing {
    /// That of an agent of which nobody said anything.
    pub fn active(since: Timestamp) -> Self {
        Self::new(State::Active, since, "")
    }

    /// One with a reason, of which at most [`MAX_REASON`] characters are kept.
    pub fn new(state: State, since: Timestamp, reason: &str) -> Self {
        Self { state, since, reason: reason.chars().take(MAX_REASON).collect(), distrust_since: None }
    }
}

impl Registry {
    /// How an agent stands. One whose file is damaged does not count until somebody has looked at it.
    ///
    /// # Errors
    ///
    /// Where that cannot be told at the moment.
    pub fn standing(&self, name: &str) -> io::Result<Standing> {
        let beginning = Timestamp::from_micros(0);
        if !self.has(name)? {
            return Ok(Standing::new(State::Deleted, beginning, ""));
        }
        let bytes = match fs::read(self.standing_file(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::active(beginning)),
            Err(error) => return Err(error),
        };
        Ok(toml::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::error!(agent = name, %error, "the standing of an agent is damaged: it does not count");
            let reason = format!("its standing is damaged: {}", error.message());
            Standing::new(State::Quarantined, beginning, &reason)
        }))
    }

    /// Keeps how an agent stands; one that is deleted leaves the registry.
    ///
    /// # Errors
    ///
    /// Where the name cannot be an agent's, or the file cannot be written or removed.
    pub fn stand(&self, name: &str, standing: &Standing) -> Result<(), PkiError> {
        pki::check_name(name)?;
        if standing.state == State::Deleted {
            // The row first: a deletion that is cut short lets nobody in.
            return remove(self.file(name)).and_then(|()| self.stand_anew(name));
        }
        pki::replace(&self.standing_file(name), &toml::to_string(standing).unwrap_or_default(), 0o644)
    }

    /// Forgets how somebody stood who had this name, and by which key and from which machine it came.
    pub(super) fn stand_anew(&self, name: &str) -> Result<(), PkiError> {
        self.forget_machine(name).and_then(|()| remove(self.standing_file(name)))
    }

    /// Forgets by which key somebody came back who had this name, and from which machine.
    pub(super) fn forget_machine(&self, name: &str) -> Result<(), PkiError> {
        remove(machines::file(self.folder.parent().unwrap_or(Path::new("")), name))
    }

    fn standing_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.standing"))
    }
}

fn remove(path: PathBuf) -> Result<(), PkiError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PkiError::File { path, source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Place;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn with_agent(data: &Path) -> Registry {
        let registry = Registry::of(data);
        assert!(registry.admit("fra-1", &Place::default()).expect("a row"));
        registry
    }

    #[test]
    fn what_was_said_of_an_agent_stays_until_it_is_deleted() {
        let data = tempfile::tempdir().expect("folder");
        let registry = with_agent(data.path());
        assert_eq!(registry.standing("fra-1").expect("tells").state, State::Active);
        let revoked = Standing {
            distrust_since: Some(at(7)),
            ..Standing::new(State::Revoked, at(9), "its disk was \"found\"\nelsewhere")
        };
        registry.stand("fra-1", &revoked).expect("a standing");
        assert_eq!(registry.standing("fra-1").expect("tells"), revoked);
        assert_eq!(registry.all().len(), 1, "a standing is no agent");
        registry.stand("fra-1", &Standing::new(State::Deleted, at(10), "")).expect("no row");
        assert_eq!(registry.standing("fra-1").expect("tells").state, State::Deleted);
        assert!(registry.admit("fra-1", &Place::default()).expect("a row"), "the name is free");
        assert_eq!(registry.standing("fra-1").expect("tells").state, State::Active, "and says nothing of who had it");
    }

    #[test]
    fn a_standing_that_nobody_can_read_does_not_count() {
        let data = tempfile::tempdir().expect("folder");
        let registry = with_agent(data.path());
        for damaged in ["state = \"active\"", "state = \"trusted\"\nsince = 1", "\0"] {
            fs::write(data.path().join("agents/fra-1.standing"), damaged).expect("file");
            let standing = registry.standing("fra-1").expect("tells");
            assert_eq!(standing.state, State::Quarantined, "{damaged}");
            assert!(!standing.state.counts() && standing.state.may_connect() && !standing.reason.is_empty());
        }
    }
}
