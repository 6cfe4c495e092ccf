//! What the way from an agent's socket to durable log and windows costs, beside a bare SQLite and `VictoriaMetrics`.
//!
//! The coordinator is the real program, [`fleet`] its agents in a process of their own; [`append`] writes the same bytes to
//! a bare SQLite, and [`victoria`] has `VictoriaMetrics` take the same results. [`side`] gives each its turn, [`report`] tells.
//!
//! Rules: only the process that takes the results in is on the bill, what the generator used is told apart; a result
//! counts once its batch is acknowledged and a tick that began later has been evaluated; figures of one run are of the
//! same minute, and ratios of the same run; a refused batch or result ends the bench, since refusing is cheap; nothing
//! leaves loopback.

pub mod append;
pub mod batches;
pub mod coordinator;
pub mod fleet;
pub mod report;
pub mod side;
pub mod victoria;

use serde::{Deserialize, Serialize};

/// What agents send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Targets that each agent looks at.
    pub targets: u32,
    /// Results in a batch.
    pub batch: u32,
}

/// The name of an agent; all have the same length.
pub fn agent(number: usize) -> String {
    format!("agent-{number:05}")
}

/// The name of a target; all have the same length.
pub fn target(number: u32) -> String {
    format!("bench/target-{number:04}")
}
