//! What agents made and lost, as their admitted batches tell: each loss is told once, so the sums are exact.

use std::{collections::BTreeMap, fmt, time::Duration};

use faultline_attribution::{AgentId, Timestamp};
use faultline_proto::agent::v1::{Loss, LossReason};
use serde::{Deserialize, Serialize};

/// Why results were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostTo {
    /// There was no room left in the spool.
    FullSpool,
    /// The process died before they were in the spool.
    DeadProcess,
    /// The spool gave back something else than it was given.
    DamagedSpool,
    /// A reason that only a newer agent knows.
    Unknown,
}

impl LostTo {
    fn of(reason: LossReason) -> Self {
        match reason {
            LossReason::SpoolFull => Self::FullSpool,
            LossReason::ProcessDied => Self::DeadProcess,
            LossReason::SpoolDamaged => Self::DamagedSpool,
            LossReason::Unspecified => Self::Unknown,
        }
    }
}

impl fmt::Display for LostTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FullSpool => "its spool was full",
            Self::DeadProcess => "its process died",
            Self::DamagedSpool => "its spool was damaged",
            Self::Unknown => "it says, for a reason unknown here",
        })
    }
}

/// What one agent lost since the log begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Results, by reason.
    pub results: BTreeMap<LostTo, u64>,
    /// When the newest of it was told.
    pub told_at: Option<Timestamp>,
}

/// A loss that was told longer ago than this is no news.
const NEWS: Duration = Duration::from_hours(1);

impl Lost {
    /// The news of it: "fra-1 lost results within the last hour, 42 since the log begins: 42 as its spool was full".
    pub fn news(&self, agent: &AgentId, now: Timestamp) -> Option<String> {
        self.told_at.filter(|at| now.since(*at) < NEWS)?;
        let all = self.results.values().copied().fold(0, u64::saturating_add);
        let reasons: Vec<String> = self.results.iter().map(|(to, results)| format!("{results} as {to}")).collect();
        Some(format!("{agent} lost results within the last hour, {all} since the log begins: {}", reasons.join(", ")))
    }

    /// Adds what an admitted batch tells.
    pub fn add(&mut self, losses: &[Loss], received_at: Timestamp) {
        for loss in losses.iter().filter(|loss| loss.results > 0) {
            let results = self.results.entry(LostTo::of(loss.reason())).or_default();
            *results = results.saturating_add(loss.results);
            self.told_at = Some(received_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_by_reason_and_are_news_for_an_hour() {
        let (agent, at) = (AgentId::from("fra-1"), Timestamp::from_micros(1_000_000));
        let of = |reason: LossReason, results| Loss { reason: reason as i32, results, ..Loss::default() };
        let mut lost = Lost::default();
        assert_eq!(lost.news(&agent, at), None);
        lost.add(&[of(LossReason::SpoolFull, 40), of(LossReason::ProcessDied, 0)], Timestamp::default());
        lost.add(&[of(LossReason::SpoolFull, 2), of(LossReason::ProcessDied, 1)], at);
        let news = "fra-1 lost results within the last hour, 43 since the log begins: 42 as its spool was full, 1 as its \
                    process died";
        assert_eq!(lost.news(&agent, at.after(Duration::from_mins(59))).as_deref(), Some(news));
        assert_eq!(lost.news(&agent, at.after(Duration::from_hours(1))), None);
        lost.add(&[Loss { reason: 99, results: u64::MAX, ..Loss::default() }], at);
        assert_eq!(lost.results[&LostTo::Unknown], u64::MAX, "of a newer agent");
    }
}
