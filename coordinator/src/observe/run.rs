//! Run: from what is known of one run to the observation that the core is told, the same for a stored batch and for a
//! result line.
//!
//! Rules: nothing starts after it has arrived, so a clock that runs ahead is cut back; a result is late when it arrives
//! long after its end, or in the lane of an agent's backlog.

use std::time::Duration;

use faultline_attribution::{AgentId, Maker, Observation, Outcome, TargetId, Timestamp, Way};

/// A result that arrives later than this after its end is late. Source: section 4 of the project's design.
pub const LATE: Duration = Duration::from_mins(2);

/// What is known of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Start, agent clock corrected.
    pub at: Timestamp,
    /// When the coordinator got it.
    pub received_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whom the name was asked of.
    pub way: Way,
    /// Who wrote the answer, where that shows.
    pub maker: Option<Maker>,
    /// Time that it took.
    pub took: Option<Duration>,
    /// It came with the backlog.
    pub is_backlog: bool,
    /// The agent's clock was wrong.
    pub is_clock_suspect: bool,
    /// Asked for outside the schedule.
    pub is_on_demand: bool,
}

impl Run {
    /// What the core is told.
    pub fn observation(self, agent: AgentId, target: TargetId) -> Observation {
        Observation {
            agent,
            target,
            at: self.at.min(self.received_at),
            received_at: self.received_at,
            outcome: self.outcome,
            status: self.status,
            way: self.way,
            maker: self.maker,
            took: self.took,
            is_late: self.is_backlog || self.received_at.since(self.at.after(self.took.unwrap_or_default())) > LATE,
            is_clock_suspect: self.is_clock_suspect,
            is_on_demand: self.is_on_demand,
        }
    }
}

/// Whom the name was asked of: `system` or nothing for the agent's own resolver, `authority:SERVER`, or a resolver.
pub fn way(resolver: &str) -> Way {
    match resolver.strip_prefix("authority:") {
        Some(server) => Way::Authority(server.to_owned()),
        None if matches!(resolver, "" | "system") => Way::System,
        None => Way::Resolver(resolver.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at_s: i64, received_s: i64) -> Run {
        Run {
            at: Timestamp::from_micros(at_s * 1_000_000),
            received_at: Timestamp::from_micros(received_s * 1_000_000),
            outcome: Outcome::Passed,
            status: None,
            way: Way::System,
            maker: None,
            took: Some(Duration::from_secs(5)),
            is_backlog: false,
            is_clock_suspect: false,
            is_on_demand: false,
        }
    }

    fn is_late(run: Run) -> bool {
        run.observation("a".into(), "t".into()).is_late
    }

    #[test]
    fn lateness_counts_from_the_end_of_the_run() {
        assert!(!is_late(run(0, 125)));
        assert!(is_late(run(0, 126)));
        assert!(is_late(Run { is_backlog: true, ..run(0, 6) }));
    }

    #[test]
    fn nothing_starts_after_it_has_arrived() {
        let observation = run(100, 60).observation("a".into(), "t".into());
        assert_eq!((observation.at.micros(), observation.is_late), (60_000_000, false));
    }

    #[test]
    fn a_resolver_says_whom_the_name_was_asked_of() {
        assert_eq!(way(""), Way::System);
        assert_eq!(way("system"), Way::System);
        assert_eq!(way("1.1.1.1"), Way::Resolver("1.1.1.1".into()));
        assert_eq!(way("authority:ns1.example.net"), Way::Authority("ns1.example.net".into()));
    }
}
