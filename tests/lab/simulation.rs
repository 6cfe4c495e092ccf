//! The deterministic simulation: real agents and a real coordinator over a network, clocks and disks that are made up.
//!
//! Real are the agent's batcher, spool and uplink, gRPC over HTTP/2, and the coordinator's sessions and ingest. Made up are
//! the network (turmoil), time, and what is below the two stores: disks that keep across a crash what was committed, and
//! nothing else. A seed decides what breaks and when ([`plan`]); what must hold is watched at each step and counted at the
//! end, when everything works again and all is delivered ([`check`]).
//!
//! Rules: a seed decides everything, so that a failure is repeated by its seed (held by
//! `the_same_seed_is_the_same_run`); a seed that once failed stays in `tests/e2e/simulation.rs` by its name.

pub mod agent;
pub mod check;
pub mod coordinator;
pub mod log;
pub mod plan;
pub mod spool;
mod stage;
pub mod wire;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// What the clocks show at the beginning, in microseconds since the Unix epoch.
const BEGAN: i64 = 1_700_000_000_000_000;

/// The coordinator's port.
const PORT: u16 = 7443;

/// Targets, each with a slot from 1.
const TARGETS: u32 = 5;

/// A run in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Checksum of everything that became durable at the coordinator, and when.
    pub trace: u32,
    /// How long it took until all was delivered, in virtual time.
    pub took: Duration,
    /// Results that the agents made.
    pub made: u64,
    /// Results that they lost and told.
    pub lost: u64,
    /// Things that broke.
    pub faults: usize,
}

/// A run in which something did not.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "seed {seed}, {at:?}: {what}\nplay it again: faultline-lab simulate --seeds 1 --first-seed {seed} --seconds {seconds} --tell\n{plan}"
)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// How long faults came for.
    pub seconds: u64,
    /// When, in virtual time; nothing where a panic ended it.
    pub at: Option<Duration>,
    /// What.
    pub what: String,
    /// What broke until then.
    pub plan: String,
}

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// The seed that this thread plays: where a panic ends the process, its hook can still say so.
pub fn now() -> u64 {
    NOW.get()
}

/// Plays one seed: faults come for `seconds` of virtual time, then all works and all must be delivered.
pub fn simulate(seed: u64, seconds: u64, tell: impl Fn(&str)) -> Result<Report, Failure> {
    NOW.set(seed);
    let played = catch_unwind(AssertUnwindSafe(|| stage::play(seed, Duration::from_secs(seconds), tell)));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something else than words");
        let plan = plan::of(seed, Duration::from_secs(seconds)).to_string();
        Err(Failure { seed, seconds, at: None, what: format!("panicked: {said}"), plan })
    })
}
