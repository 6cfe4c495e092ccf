//! History: what stays of an incident for ever, beside its revisions and their evidence: how many runs failed, minute by
//! minute and group by group, and how long those took that passed, before it and while it lasted.
//!
//! Written once, when the incident has ended, from the results of the targets that any of its revisions names as evidence,
//! from [`BEFORE`] its onset to its end. What was trimmed by then is not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use faultline_attribution::{Change, IncidentId, TargetId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::counts::{Ended, Run};

/// How long before its onset the history of an incident begins.
pub const BEFORE: Duration = Duration::from_mins(10);

/// Upper ends of the latency classes, in milliseconds; the last class has none.
pub const LATENCY_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/// A minute of one vantage group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Runs that failed.
    pub failed: u32,
    /// Runs that passed or failed.
    pub runs: u32,
}

/// How many runs passed within each of [`LATENCY_MS`], each counted in the first that holds it, and how many took longer.
pub type Latencies = [u64; LATENCY_MS.len() + 1];

/// What stays of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Which.
    pub incident: IncidentId,
    /// Its culprit, as last named.
    pub element: String,
    /// Beginning of what is told.
    pub from: Timestamp,
    /// When the world broke, as last estimated.
    pub onset_at: Timestamp,
    /// End of what is told: that of the incident.
    pub to: Timestamp,
    /// Whose results these are.
    pub targets: BTreeSet<TargetId>,
    /// By vantage group and start of the minute.
    pub curve: BTreeMap<String, BTreeMap<Timestamp, Minute>>,
    /// Runs that passed before the onset, by latency.
    pub before: Latencies,
    /// Runs that passed after it, by latency.
    pub during: Latencies,
}

impl History {
    /// The empty history of an incident that has ended; `None` while it goes on. `revisions` are all of it, oldest first.
    pub fn of(revisions: &[Change]) -> Option<Self> {
        let last = revisions.last()?;
        let to = last.resolved_at?;
        let evidence = revisions.iter().flat_map(|revision| &revision.evidence);
        Some(Self {
            incident: last.incident.clone(),
            element: last.element.clone(),
            from: last.onset_at.before(BEFORE),
            onset_at: last.onset_at,
            to,
            targets: evidence.map(|row| TargetId::from(row.target.as_str())).collect(),
            curve: BTreeMap::new(),
            before: Latencies::default(),
            during: Latencies::default(),
        })
    }

    /// Takes a run in, if it belongs here.
    pub fn take(&mut self, run: &Run<'_>) {
        let is_told = run.at >= self.from && run.at <= self.to && self.targets.contains(run.target.as_str());
        if !is_told || run.ended == Ended::Unmeasured {
            return;
        }
        let minute = Timestamp::from_micros(run.at.micros() - run.at.micros().rem_euclid(60_000_000));
        if !self.curve.contains_key(run.group) {
            self.curve.insert(run.group.to_owned(), BTreeMap::new());
        }
        let Some(curve) = self.curve.get_mut(run.group) else { return };
        let minute = curve.entry(minute).or_default();
        minute.runs += 1;
        if run.ended != Ended::Passed {
            minute.failed += 1;
            return;
        }
        if !run.took.is_zero() {
            let class = LATENCY_MS.iter().position(|end| run.took <= Duration::from_millis(*end));
            let latencies = if run.at < self.onset_at { &mut self.before } else { &mut self.during };
            latencies[class.unwrap_or(LATENCY_MS.len())] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_attribution::{EvidenceRow, Layer};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_history_tells_the_evidences_targets_from_before_the_onset_to_the_end() {
        let row = EvidenceRow {
            group: "fra".into(),
            target: "shop".into(),
            layer: Layer::Http,
            cause: None,
            failed: 1,
            runs: 1,
            weight: 1.0,
        };
        let open = Change { onset_at: at(6000), evidence: vec![row], ..change() };
        assert_eq!(History::of(std::slice::from_ref(&open)), None, "it goes on");
        let ended = Change { resolved_at: Some(at(6300)), evidence: Vec::new(), ..open.clone() };
        let mut history = History::of(&[open, ended]).expect("it has ended");
        let (shop, other) = (TargetId::from("shop"), TargetId::from("other"));
        let mut run = |target, second, ended, ms| {
            let took = Duration::from_millis(ms);
            history.take(&Run { target, group: "fra", at: at(second), ended, took });
        };
        run(&shop, 5399, Ended::Passed, 30); // too early
        run(&shop, 5401, Ended::Passed, 30);
        run(&shop, 5410, Ended::Passed, 20_000);
        run(&other, 6010, Ended::Http, 30);
        run(&shop, 6010, Ended::Http, 30);
        run(&shop, 6011, Ended::Passed, 300);
        run(&shop, 6012, Ended::Unmeasured, 0);
        run(&shop, 6301, Ended::Http, 30); // too late
        let curve = &history.curve["fra"];
        assert_eq!(curve.len(), 2);
        assert_eq!(curve[&at(5400)], Minute { failed: 0, runs: 2 });
        assert_eq!(curve[&at(6000)], Minute { failed: 1, runs: 2 });
        assert_eq!((history.before[5], history.before[13], history.during[8]), (1, 1, 1));
        assert_eq!(history.before.iter().chain(&history.during).sum::<u64>(), 3);
    }

    fn change() -> Change {
        let json = r#"{"type":"incident","at":"2025-10-29T15:42:20Z","incident":"inc-20251029T154113Z-1","revision":2,
            "state":"attributed","verdict":"azure","kind":"","element":"azure/front-door","element_kind":"cdn",
            "confidence":0.98,"probabilities":{"aws":0.0,"azure":0.98,"neither":0.01,"none":0.01},
            "onset_at":"2025-10-29T15:41:04Z","onset_uncertainty_s":20,"regions":[],"layer":"connect","failing_groups":4,
            "total_groups":4,"control_failing_groups":0,"headline":"","suspects":[],"evidence":[],"alibis":[],
            "undetermined_reason":"","superseded_by":"","caveats":[],"opened_at":"2025-10-29T15:42:20Z",
            "attributed_at":null,"resolved_at":null,"engine":1}"#;
        serde_json::from_str(json).expect("a change")
    }
}
