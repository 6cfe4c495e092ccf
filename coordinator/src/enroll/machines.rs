//! Machines: on which machine an agent was accepted, and by which key it comes back when its certificate is over. A file
//! `machines/NAME.toml` of the data directory each, for the coordinator's user alone.
//!
//! Rules: a key is bound when its agent joins, and not changed afterwards but by the agent itself; an agent may recover
//! [`RECOVERIES`] times, and again once [`PERIOD`] has passed since the last, or an operator has approved it; one that asks again
//! with the same request, since the answer was lost, has recovered once. A row is read and changed under one lock, and replaced
//! whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use data_encoding::HEXLOWER;
use faultline_attribution::Timestamp;
use faultline_proto::bound::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::pki::{self, PkiError};

/// How often an agent may recover.
pub const RECOVERIES: usize = 5;

/// After this they count anew. Source: the design notes.
pub const PERIOD: Duration = Duration::from_hours(90 * 24);

/// For so long the same request is the same recovery: an agent asks at least once an hour.
const SAME: Duration = Duration::from_hours(24);

/// What is known of an agent's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The bound key, Ed25519, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_key: Option<String>,
    /// The fingerprint that was accepted, hexadecimal: the first, or the one that an operator approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The newest that was not, and waits for an operator; empty for an agent that does not say any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// When it recovered, oldest first, since they count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<Recovery>,
}

/// One recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the key that got a certificate, hexadecimal.
    pub key: String,
}

/// How a machine compares with the one that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// None was accepted yet.
    First,
    /// It is the one.
    Same,
    /// It is another, or does not say any more.
    Other,
}

impl Machine {
    /// How this fingerprint compares; `None` is an agent that cannot tell. The first is accepted, and another is kept for an
    /// operator, until the accepted one is seen again.
    pub fn meet(&mut self, fingerprint: Option<&Fingerprint>) -> Likeness {
        let shown = fingerprint.map(|shown| HEXLOWER.encode(shown));
        let likeness = match &self.fingerprint {
            None => Likeness::First,
            accepted if *accepted == shown => Likeness::Same,
            Some(_) => Likeness::Other,
        };
        match likeness {
            Likeness::First => self.fingerprint = shown,
            Likeness::Same => self.other = None,
            Likeness::Other => self.other = Some(shown.unwrap_or_default()),
        }
        likeness
    }

    /// The fingerprint that was accepted.
    pub fn accepted(&self) -> Option<Fingerprint> {
        HEXLOWER.decode(self.fingerprint.as_ref()?.as_bytes()).ok()?.try_into().ok()
    }

    /// What an operator's approval does: the machine that waits is accepted, and recoveries count anew.
    pub fn approve(&mut self) {
        if let Some(other) = self.other.take() {
            self.fingerprint = Some(other).filter(|other| !other.is_empty());
        }
        self.recoveries.clear();
    }

    /// Counts a recovery that gives this key a certificate; `false` where there were too many.
    pub fn recover(&mut self, key: &str, now: Timestamp) -> bool {
        if self.recoveries.last().is_some_and(|last| now.since(last.at) >= PERIOD) {
            self.recoveries.clear();
        }
        if self.recoveries.iter().any(|before| before.key == key && now.since(before.at) < SAME) {
            return true;
        }
        let is_allowed = self.recoveries.len() < RECOVERIES;
        if is_allowed {
            self.recoveries.push(Recovery { at: now, key: key.to_owned() });
        }
        is_allowed
    }
}

/// The machines of a data directory. Clones are the same.
#[derive(Clone, Debug)]
pub struct Machines {
    data: PathBuf,
    /// What is read is true until it is written.
    turn: Arc<Mutex<()>>,
}

impl Machines {
    /// The machines of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned(), turn: Arc::default() }
    }

    /// What is known of an agent's machine; of most that were issued by hand, nothing.
    ///
    /// # Errors
    ///
    /// Where the name cannot be an agent's, or its file cannot be read.
    pub fn of_agent(&self, agent: &str) -> Result<Machine, PkiError> {
        pki::check_name(agent)?;
        let path = self.file(agent);
        let fail = |source| PkiError::File { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| fail(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Machine::default()),
            Err(error) => Err(fail(error)),
        }
    }

    /// Changes what is known of an agent's machine, and keeps it where `change` returns something to keep it for.
    ///
    /// # Errors
    ///
    /// Where the name cannot be an agent's, or its file cannot be read or written: then nothing is changed.
    pub fn change<T>(&self, agent: &str, change: impl FnOnce(&mut Machine) -> T) -> Result<T, PkiError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.of_agent(agent)?;
        let mut machine = before.clone();
        let changed = change(&mut machine);
        if machine != before {
            let (path, folder) = (self.file(agent), self.data.join(FOLDER));
            fs::create_dir_all(&folder).map_err(|source| PkiError::File { path: folder, source })?;
            let text = toml::to_string(&machine)
                .map_err(|error| PkiError::File { path: path.clone(), source: io::Error::other(error) })?;
            pki::replace(&path, &text, 0o600)?;
        }
        Ok(changed)
    }

    fn file(&self, agent: &str) -> PathBuf {
        file(&self.data, agent)
    }
}

/// Where what is known of an agent's machine is kept in a data directory.
pub(crate) fn file(data: &Path, agent: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{agent}.toml"))
}

const FOLDER: &str = "machines";

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(days: u32) -> Timestamp {
        Timestamp::from_micros(1_761_752_473_000_000).after(DAY * days)
    }

    #[test]
    fn five_recoveries_are_allowed_until_90_days_after_the_last() {
        let mut machine = Machine::default();
        assert!((0..5_u32).all(|n| machine.recover(&format!("key-{n}"), at(n * 10))));
        assert!(!machine.recover("key-5", at(40)));
        assert!(!machine.recover("key-5", at(40 + 89)));
        assert!(machine.recover("key-5", at(40 + 90)));
        assert_eq!(machine.recoveries.len(), 1);
    }

    #[test]
    fn who_asks_again_for_the_same_key_recovers_once_but_not_for_ever() {
        let mut machine = Machine::default();
        assert!((0..20).all(|_| machine.recover("key", at(0))));
        assert_eq!(machine.recoveries.len(), 1);
        assert!((1..5).all(|day| machine.recover("key", at(day))));
        assert!(!machine.recover("key", at(5)), "a key is no licence");
    }

    #[test]
    fn an_approval_accepts_the_machine_that_waits_and_lets_it_recover_again() {
        let mut machine = Machine::default();
        assert_eq!(machine.meet(None), Likeness::First);
        assert_eq!(machine.meet(Some(&[1; 32])), Likeness::First);
        assert_eq!(machine.meet(None), Likeness::Other, "silence is no way around it");
        assert_eq!(machine.meet(Some(&[2; 32])), Likeness::Other);
        assert_eq!(machine.meet(Some(&[1; 32])), Likeness::Same);
        machine.approve();
        assert_eq!(machine.accepted(), Some([1; 32]), "it was there last");
        assert_eq!(machine.meet(Some(&[2; 32])), Likeness::Other);
        assert!((0..6).filter(|n| machine.recover(&format!("key-{n}"), at(0))).count() == 5);
        machine.approve();
        assert_eq!((machine.accepted(), machine.other.clone()), (Some([2; 32]), None));
        assert!(machine.recover("key-9", at(0)));
        assert_eq!(machine.meet(None), Likeness::Other);
        machine.approve();
        assert_eq!(machine.meet(None), Likeness::First, "one that cannot tell may be approved too");
    }

    #[test]
    fn a_row_is_kept_for_its_owner_and_one_that_cannot_be_read_is_an_error() {
        let data = tempfile::tempdir().expect("dir");
        let machines = Machines::of(data.path());
        assert_eq!(machines.of_agent("fra-1").expect("none"), Machine::default());
        machines.change("fra-1", |_| ()).expect("nothing to write");
        assert!(!data.path().join("machines").exists());
        machines.change("fra-1", |machine| machine.recover("key", at(0))).expect("written");
        let kept = Machines::of(data.path()).of_agent("fra-1").expect("read");
        assert_eq!(kept.recoveries, [Recovery { at: at(0), key: "key".into() }]);
        let path = data.path().join("machines/fra-1.toml");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).expect("there"));
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "nonsense").expect("written");
        assert!(machines.of_agent("fra-1").is_err() && machines.change("fra-1", |_| ()).is_err());
        assert!(machines.of_agent("../x").is_err());
    }
}
