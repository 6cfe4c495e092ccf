//! Joining without being told to, for containers and images: where to join comes from the environment, the join string from a file.
//!
//! Rules: the file is read at each attempt and only then, and never while there is an identity; nobody there, or no file yet, is
//! tried again after up to a second, two ... a minute; a refusal is tried again after ten minutes, since a file may be replaced.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    time::Duration,
};

use faultline_proto::join::JoinString;
use tokio::time::Instant;

use crate::{
    control::UNREACHABLE,
    enroll::{Existing, Joining},
};

/// Where to join, and where the join string may be: in the first of these files that there is.
#[derive(Clone, Debug)]
pub struct Alone {
    /// The coordinator's host.
    pub host: String,
    /// Its port for agents.
    pub port: u16,
    /// Where a join string may be.
    pub token_files: Vec<PathBuf>,
}

pub(super) struct Attempts {
    alone: Alone,
    failures: u32,
    due: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(alone: Alone) -> Self {
        Self { alone, failures: 0, due: Some(Instant::now()) }
    }

    pub(super) fn due(&self) -> Instant {
        self.due.unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// What to join with; why not, where there is no join string.
    pub(super) fn joining(&mut self) -> Result<Joining, String> {
        let Alone { host, port, .. } = self.alone.clone();
        let join_string = self.join_string().inspect_err(|_| self.failed(UNREACHABLE))?;
        Ok(Joining { host, port, join_string, existing: Existing::Stays })
    }

    /// The attempt ended with this exit code of `join`.
    pub(super) fn failed(&mut self, exit_code: u8) {
        let pause = if exit_code == UNREACHABLE {
            let limit = (FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(MAX_DOUBLINGS))).min(LONGEST_PAUSE);
            limit.mul_f64(0.5 + rand::random::<f64>() * 0.5)
        } else {
            AFTER_REFUSAL
        };
        self.failures = self.failures.saturating_add(1);
        self.due = Some(Instant::now() + pause);
    }

    /// An operator had the agent leave: it stays away.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    fn join_string(&self) -> Result<JoinString, String> {
        for path in &self.alone.token_files {
            let mut text = String::new();
            match File::open(path).and_then(|file| file.take(MAX_READ).read_to_string(&mut text)) {
                Ok(_) => return text.parse().map_err(|error| format!("{}: {error}", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        let files = self.alone.token_files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        Err(format!("FAULTLINE_JOIN is set, and there is no join string in {}", files.join(" or ")))
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const MAX_DOUBLINGS: u32 = 6;
const AFTER_REFUSAL: Duration = Duration::from_mins(10);
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Bytes read of what should hold a join string.
const MAX_READ: u64 = 4096;
