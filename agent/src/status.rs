//! What a running agent says of itself to the operator of its machine: a snapshot over a Unix socket.
//!
//! The protocol: whoever connects is sent one JSON object, [`Status`], and the connection is closed; nothing is read.
//!
//! Rules: the socket is the operator's and root's alone (mode 0600); one connection is served at a time and within a second,
//! so that nobody who connects can hold up probing; a socket that cannot be made is warned of and probing goes on; what a
//! dead agent left behind is replaced, a living one's socket never. A snapshot is bounded, whatever the coordinator pushed.

mod board;
mod identity;
mod socket;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use faultline_proto::{clock::Clock, convert, types::v1::Reason};
use serde::{Deserialize, Serialize};

pub(crate) use self::{board::Board, socket::serve};
pub(crate) use self::{board::Progress, socket::Listening};
pub use self::{
    identity::Identity,
    socket::{AskError, ask},
    text::text,
};
use crate::{
    config,
    run::Shared,
    selfcheck::{ClockError, Readings},
};

/// Where the shipped unit has the socket.
pub const SYSTEM_SOCKET: &str = "/run/faultline-agent/status.sock";

/// The state of a running agent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Its build.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Who it is; absent while it has not joined.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// Its session.
    pub coordinator: Coordinator,
    /// What it was told to do.
    pub assignments: Assignments,
    /// What it did.
    pub runs: Runs,
    /// What waits for the coordinator.
    pub spool: Spool,
    /// What it finds wrong with itself, as words of the contract's reasons; lacking one family is no impairment.
    pub impairments: Vec<String>,
    /// What it reads of itself.
    pub self_check: SelfCheck,
    /// Why its certificate was not renewed when it was due, or not recovered once it was over; absent while all is well.
    #[serde(default)]
    pub identity_trouble: Option<String>,
    /// Whether it found itself on another machine than at its start before: a copy of its disk, or changed hardware.
    #[serde(default)]
    pub is_other_machine: bool,
}

/// The session with the coordinator.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Coordinator {
    /// `https://host:port`.
    pub endpoint: String,
    /// How the session stands.
    pub session: Session,
    /// Seconds since that became so.
    pub since_s: u64,
    /// Why the last session ended or could not be had; kept until there is one again.
    pub error: Option<String>,
    /// Seconds since the coordinator last confirmed results.
    pub last_ack_s: Option<u64>,
    /// How the agent stands with it: `active`, `pending`, `quarantined`, or `revoked`, after which nothing is tried any more.
    #[serde(default)]
    pub standing: String,
    /// Why, in the coordinator's words; empty while it is active.
    #[serde(default)]
    pub standing_reason: String,
}

/// How the session stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// There is nobody to have one with: the agent has not joined.
    NotJoined,
    /// There was none yet.
    #[default]
    Connecting,
    /// Both sides talk.
    Up,
    /// It was lost, and is tried again.
    Down,
}

/// What the coordinator assigned.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Assignments {
    /// Version in force; zero for none.
    pub version: u64,
    /// How many are in force.
    pub in_force: usize,
    /// How many local policy refused.
    pub refused: usize,
    /// The first twenty of these.
    pub refusals: Vec<Refusal>,
}

/// A refused assignment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Refusal {
    /// Which.
    pub slot: u32,
    /// The limit, and the key that moves it.
    pub reason: String,
}

/// Runs since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Runs {
    /// Ended.
    pub made: u64,
    /// Under way.
    pub in_flight: usize,
    /// Not made, for want of a place, of pace or of time.
    pub skipped: u64,
    /// Made, but unmeasured, by reason.
    pub unmeasured: BTreeMap<String, u64>,
    /// Worst lateness of a start since the last heartbeat.
    pub worst_lag_ms: u64,
}

/// Results that the coordinator has not confirmed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Spool {
    /// Whether it outlives the process.
    pub is_durable: bool,
    /// Where it is; absent for one in memory.
    pub folder: Option<PathBuf>,
    /// Why it cannot be written; absent when it can.
    pub trouble: Option<String>,
    /// What it takes, with what is confirmed and stays until room is needed.
    pub bytes: u64,
    /// Batches of the last minutes that wait.
    pub live_batches: u64,
    /// Batches that waited long, and are sent after those.
    pub backfill_batches: u64,
    /// Batches that wait in memory for the disk.
    pub line_batches: usize,
    /// Seconds since the oldest was sealed.
    pub oldest_s: Option<u64>,
    /// Results made since the spool was.
    pub made_results: u64,
    /// Results of these that will never come, by reason.
    pub lost_results: BTreeMap<String, u64>,
}

/// Readings; absent is unknown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SelfCheck {
    /// Share of the last seconds that the process waited for a CPU, 0 to 1.
    pub cpu_wait: Option<f64>,
    /// The same of its cgroup, as the kernel has it.
    pub cpu_pressure: Option<f64>,
    /// Worst lateness of a timer in the last seconds.
    pub timer_lag_ms: u64,
    /// Open files and sockets.
    pub open_files: Option<u64>,
    /// How many may be open.
    pub open_files_limit: Option<u64>,
    /// Whether there is a route for IPv4.
    pub has_ipv4: bool,
    /// Whether there is a route for IPv6.
    pub has_ipv6: bool,
    /// Milliseconds that the clock is ahead of the coordinator's.
    pub clock_offset_ms: Option<f64>,
    /// The truth lies within this many of it.
    pub clock_bound_ms: Option<f64>,
}

impl Status {
    /// Of an agent that has not joined. `why` is what came of its attempts, where it makes any by itself.
    pub(crate) fn not_joined(uptime_s: u64, why: Option<String>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s,
            identity: None,
            coordinator: Coordinator {
                session: Session::NotJoined,
                since_s: uptime_s,
                error: why,
                ..Board::new().coordinator(String::new())
            },
            assignments: Assignments::default(),
            runs: Runs::default(),
            spool: Spool::default(),
            identity_trouble: None,
            is_other_machine: false,
            impairments: Vec::new(),
            self_check: SelfCheck::default(),
        }
    }

    pub(crate) fn of(shared: &Shared, coordinator: &config::Coordinator, clock: Clock) -> Self {
        let (readings, impairments) = shared.check.snapshot();
        let pulse = shared.last_pulse();
        let board = shared.board();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: board.uptime().as_secs(),
            identity: Identity::of(coordinator, clock.now_micros()),
            coordinator: board.coordinator(identity::place(coordinator)),
            assignments: board.assignments(),
            runs: Runs {
                made: board.runs().all(),
                in_flight: pulse.in_flight,
                skipped: pulse.skipped_runs,
                unmeasured: board.runs().unmeasured(),
                worst_lag_ms: u64::try_from(pulse.worst_lag.as_millis()).unwrap_or(u64::MAX),
            },
            spool: Spool::of(&shared.spool, clock.now_micros()),
            impairments: impairments.into_iter().filter(|reason| is_impairment(*reason)).map(convert::word).collect(),
            self_check: readings.into(),
            identity_trouble: board.identity_trouble(),
            is_other_machine: board.is_other_machine(),
        }
    }

    /// One line on what is not fine, or that it is.
    pub fn headline(&self) -> String {
        let error = self.coordinator.error.as_deref().unwrap_or("no session yet");
        match self.coordinator.session {
            Session::NotJoined => "not joined: run faultline-agent join".to_owned(),
            Session::Connecting | Session::Down => format!("not connected: {error}"),
            Session::Up if self.impairments.is_empty() => "fine".to_owned(),
            Session::Up => format!("impaired: {}", self.impairments.join(", ")),
        }
    }

    /// Whether the agent measures and reports as it should.
    pub fn is_fine(&self) -> bool {
        self.coordinator.session == Session::Up && self.impairments.is_empty()
    }
}

impl Spool {
    fn of(spool: &crate::spool::Spool, now: i64) -> Self {
        let view = spool.view();
        let lost = [
            ("spool_full", view.dropped_results()),
            ("process_died", view.lost.process_died),
            ("spool_damaged", view.lost.spool_damaged),
        ];
        let lost = lost.into_iter().filter(|(_, results)| *results > 0);
        Self {
            is_durable: spool.is_durable(),
            folder: spool.folder().map(Path::to_owned),
            bytes: view.bytes,
            live_batches: view.live.waiting(),
            backfill_batches: view.backfill.waiting(),
            line_batches: view.line,
            oldest_s: view.oldest_sealed_at.map(|at| (now.saturating_sub(at).max(0) / 1_000_000).unsigned_abs()),
            made_results: spool.made_results(),
            lost_results: lost.map(|(reason, results)| (reason.to_owned(), results)).collect(),
            trouble: view.trouble,
        }
    }
}

/// Machines with one family are usual, and their agents judge targets of that one.
fn is_impairment(reason: Reason) -> bool {
    !matches!(reason, Reason::NoIpv4 | Reason::NoIpv6)
}

impl From<Readings> for SelfCheck {
    fn from(readings: Readings) -> Self {
        let Readings { cpu_wait, cpu_pressure, timer_lag, open_files, open_files_limit, has_ipv4, has_ipv6, .. } =
            readings;
        let ms = |value: fn(ClockError) -> i64| readings.clock_error.map(|error| in_ms(value(error)));
        Self {
            cpu_wait,
            cpu_pressure,
            timer_lag_ms: u64::try_from(timer_lag.as_millis()).unwrap_or(u64::MAX),
            open_files,
            open_files_limit,
            has_ipv4,
            has_ipv6,
            clock_offset_ms: ms(|error| error.offset_us),
            clock_bound_ms: ms(|error| error.bound_us),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "people read it; a double holds 200 years of microseconds")]
fn in_ms(micros: i64) -> f64 {
    micros as f64 / 1_000.0
}

/// The first of the folders that the service manager made for the agent, as one of its variables has them.
pub(crate) fn service_folder(variable: Option<&str>) -> Option<PathBuf> {
    // Source: systemd.exec(5): several folders are separated by colons.
    variable.and_then(|folders| folders.split(':').next()).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}
