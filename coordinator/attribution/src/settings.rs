//! What can be set of the engine, with the reason for each default. The same in production, in the lab and in replay.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How long samples stay individually known. Longer windows are base rates.
    pub horizon: Duration,
    /// Windows that are searched for a common cause, shortest first: a hard fault shows in the shortest, a grey one
    /// needs the longest.
    pub windows: Vec<Duration>,
    /// Log Bayes factor from which something is suspected in public.
    pub suspect_nats: f64,
    /// Log Bayes factor from which a culprit may be named: ln(gamma * M) for one false alarm a month over about 2,000
    /// hypotheses. Source: Lorden 1971, first order; design notes 4.6.
    pub open_nats: f64,
    /// The same for elements on the agents' side: each group can speak only for itself there, which bounds what any
    /// number of passing groups could add.
    pub open_vantage_nats: f64,
    /// Probability of the verdict from which it may be named.
    pub open_probability: f64,
    /// What must be left of the log Bayes factor without the most supportive groups: 100 to 1.
    pub robust_nats: f64,
    /// Chance that a group reports anything whatever. Source: design notes 4.4.
    pub liar: f64,
    /// Groups that a verdict needs, live.
    pub quorum_groups: usize,
    /// Networks that those groups must come from.
    pub quorum_networks: usize,
    /// A group without a result for this long is not live.
    pub fresh: Duration,
    /// A result that arrives later than this after its start corrects the record but opens nothing.
    pub late: Duration,
    /// Recent span that decides whether a fault goes on.
    pub recent: Duration,
    /// Time without failures before an incident is resolved.
    pub settle: Duration,
    /// A fault that comes back within this is the same incident.
    pub reopen: Duration,
    /// Half life of base rates.
    pub base_half_life: Duration,
    /// Groups from which an unverified target must have passed before it counts.
    pub proof_groups: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            horizon: Duration::from_mins(5),
            windows: [8, 15, 30, 60, 120, 300].map(Duration::from_secs).to_vec(),
            suspect_nats: 12.0,
            open_nats: 20.0,
            open_vantage_nats: 9.0,
            open_probability: 0.9,
            robust_nats: 4.6,
            liar: 1e-3,
            quorum_groups: 3,
            quorum_networks: 2,
            fresh: Duration::from_secs(90),
            late: Duration::from_mins(2),
            recent: Duration::from_secs(45),
            settle: Duration::from_mins(1),
            reopen: Duration::from_mins(5),
            base_half_life: Duration::from_hours(16),
            proof_groups: 3,
        }
    }
}
