//! What the parts of the agent note for a snapshot, as it happens.
//!
//! Rules: noting is a lock and a few words; nothing grows with time.

use std::time::Duration;

use faultline_proto::{
    agent::v1,
    convert,
    types::v1::{Assignment, Layer, assignment::Spec},
};
use tokio::{sync::watch, time::Instant};

use super::{Assignments, Coordinator, Refusal, Session};
use crate::{
    blackbox::own::Tally,
    probe::{Observed, Outcome},
};

#[derive(Debug)]
pub(crate) struct Board {
    started: Instant,
    session: Session,
    since: Instant,
    error: Option<String>,
    last_ack: Option<Instant>,
    standing: &'static str,
    standing_reason: String,
    assignments: Assignments,
    runs: Tally,
    is_other_machine: bool,
    identity_trouble: Option<String>,
    first_batch: Option<String>,
    has_http3: bool,
    first_quic: Option<Result<(), String>>,
    /// Told that something of [`Progress`] changed.
    changes: watch::Sender<()>,
}

/// How far a new agent is on its way to a first batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// See [`Coordinator`].
    pub(crate) session: Session,
    pub(crate) error: Option<String>,
    pub(crate) standing: &'static str,
    pub(crate) assignments: Assignments,
    /// The first batch that the coordinator confirmed, as `live/1`.
    pub(crate) first_batch: Option<String>,
    /// Whether there is anything to fetch over HTTP/3.
    pub(crate) has_http3: bool,
    /// Whether QUIC was answered when that was done first; why not, where it was not.
    pub(crate) first_quic: Option<Result<(), String>>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            session: Session::default(),
            since: now,
            error: None,
            last_ack: None,
            standing: "active",
            standing_reason: String::new(),
            assignments: Assignments::default(),
            runs: Tally::default(),
            is_other_machine: false,
            identity_trouble: None,
            first_batch: None,
            has_http3: false,
            first_quic: None,
            changes: watch::Sender::new(()),
        }
    }

    /// Hears of every change of [`Progress`].
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            session: self.session,
            error: self.error.clone(),
            standing: self.standing,
            assignments: self.assignments.clone(),
            first_batch: self.first_batch.clone(),
            has_http3: self.has_http3,
            first_quic: self.first_quic.clone(),
        }
    }

    pub(crate) fn recognised(&mut self, is_other: bool) {
        self.is_other_machine = is_other;
    }

    /// Why the certificate was not renewed when it was due; `None` once it is.
    pub(crate) fn identity(&mut self, trouble: Option<&str>) {
        self.identity_trouble = trouble.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect());
    }

    pub(super) fn identity_trouble(&self) -> Option<String> {
        self.identity_trouble.clone()
    }

    pub(super) fn is_other_machine(&self) -> bool {
        self.is_other_machine
    }

    pub(crate) fn up(&mut self) {
        (self.session, self.since, self.error) = (Session::Up, Instant::now(), None);
        // One that does not count is told so after this.
        self.stands("active", "");
    }

    /// How the coordinator says that the agent stands, and why.
    pub(crate) fn stands(&mut self, standing: &'static str, reason: &str) {
        self.standing = standing;
        self.standing_reason = reason.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
        self.changes.send_replace(());
    }

    /// The session ended, or could not be had.
    pub(crate) fn down(&mut self, error: &str) {
        if self.session == Session::Up {
            (self.session, self.since) = (Session::Down, Instant::now());
        }
        self.error = Some(error.chars().take(MAX_TEXT).collect());
        self.changes.send_replace(());
    }

    /// The coordinator confirmed everything of a lane up to this number.
    pub(crate) fn acked(&mut self, lane: v1::Lane, number: u64) {
        self.last_ack = Some(Instant::now());
        if self.first_batch.is_none() && number > 0 {
            self.first_batch =
                Some(format!("{}/{number}", if lane == v1::Lane::Backfill { "backfill" } else { "live" }));
            self.changes.send_replace(());
        }
    }

    /// What is assigned, before it is told as pushed.
    pub(crate) fn assigned(&mut self, accepted: &[Assignment]) {
        self.has_http3 = accepted.iter().any(|assignment| matches!(assignment.spec, Some(Spec::Http3(_))));
    }

    pub(crate) fn pushed(&mut self, version: u64, in_force: usize, refused: &[v1::Refusal]) {
        let refusals = refused.iter().take(MAX_REFUSALS);
        self.assignments = Assignments {
            version,
            in_force,
            refused: refused.len(),
            refusals: refusals
                .map(|refusal| Refusal { slot: refusal.slot, reason: refusal.reason.chars().take(MAX_TEXT).collect() })
                .collect(),
        };
        self.changes.send_replace(());
    }

    pub(crate) fn ran(&mut self, observed: &Observed) {
        if let Some(outcome) = observed.outcome() {
            self.runs.count(outcome);
        }
    }

    /// A run of this assignment ended so. Only one that came as far as QUIC tells of it.
    pub(crate) fn ran_as(&mut self, assignment: &Assignment, observed: &Observed) {
        self.ran(observed);
        if self.first_quic.as_ref().is_some_and(Result::is_ok) || !matches!(assignment.spec, Some(Spec::Http3(_))) {
            return;
        }
        let quic = match observed.outcome() {
            Some(Outcome::Passed | Outcome::Failed { layer: Layer::Tls | Layer::Http, .. }) => Ok(()),
            Some(Outcome::Failed { layer: Layer::Connect, cause }) => Err(convert::word(cause)),
            _ => return,
        };
        self.first_quic = Some(quic);
        self.changes.send_replace(());
    }

    pub(crate) fn runs(&self) -> &Tally {
        &self.runs
    }

    pub(crate) fn is_up(&self) -> bool {
        self.session == Session::Up
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn coordinator(&self, endpoint: String) -> Coordinator {
        Coordinator {
            endpoint,
            session: self.session,
            since_s: self.since.elapsed().as_secs(),
            error: self.error.clone(),
            last_ack_s: self.last_ack.map(|at| at.elapsed().as_secs()),
            standing: self.standing.to_owned(),
            standing_reason: self.standing_reason.clone(),
        }
    }

    pub(super) fn assignments(&self) -> Assignments {
        self.assignments.clone()
    }
}

/// A screen of them; all are in the coordinator's log.
const MAX_REFUSALS: usize = 20;
/// Characters of a reason or an error: the coordinator may put its own text into both.
const MAX_TEXT: usize = 500;
