//! History: what stays of an incident for ever, beside its revisions and their evidence: how many runs failed at which layer,
//! minute by minute and group by group, and how long those took that passed, before it and while it lasted.
//!
//! Beside it stands what the same vantages saw in the same minutes where the incident was not: at everything else that is
//! probed on AWS, on Azure and on neither, but for what exercises the culprit.
//!
//! Written once, when the incident has ended, from the results of the targets that any of its revisions names as evidence,
//! from [`BEFORE`] its onset to its end. What was trimmed by then is not in it. While it goes on, the same is made of what
//! the log holds so far, and not kept.

mod curve;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use faultline_attribution::{Change, IncidentId, TargetId, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::curve::{Bucket, Curve, GroupShare, median_ms};
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
    /// Of those that failed, how many at each layer, in the order in which a run walks them: DNS, connect, TLS, HTTP. All zero in
    /// what an earlier release kept: it did not say.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub at_layer: [u32; 4],
}

/// Whether no layer is known.
fn is_unknown(at_layer: &[u32; 4]) -> bool {
    *at_layer == [0; 4]
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
    /// What all groups together saw elsewhere in those minutes, by who hosts it: `aws`, `azure` or `neither`. Empty in what an
    /// earlier release kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elsewhere: BTreeMap<String, BTreeMap<Timestamp, Minute>>,
    /// Runs that passed before the onset, by latency.
    pub before: Latencies,
    /// Runs that passed after it, by latency.
    pub during: Latencies,
}

impl History {
    /// The empty history of an incident that has ended; `None` while it goes on. `revisions` are all of it, oldest first.
    pub fn of(revisions: &[Change]) -> Option<Self> {
        Self::until(revisions, revisions.last()?.resolved_at?)
    }

    /// The empty history of an incident up to `now`, or to its end if that has come. `None` without a revision.
    pub fn so_far(revisions: &[Change], now: Timestamp) -> Option<Self> {
        Self::until(revisions, revisions.last()?.resolved_at.unwrap_or(now))
    }

    fn until(revisions: &[Change], to: Timestamp) -> Option<Self> {
        let last = revisions.last()?;
        let evidence = revisions.iter().flat_map(|revision| &revision.evidence);
        Some(Self {
            incident: last.incident.clone(),
            element: last.element.clone(),
            from: last.onset_at.before(BEFORE),
            onset_at: last.onset_at,
            to,
            targets: evidence.map(|row| TargetId::from(row.target.as_str())).collect(),
            curve: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            before: Latencies::default(),
            during: Latencies::default(),
        })
    }

    /// Takes a run in, if it belongs here.
    pub fn take(&mut self, run: &Run<'_>) {
        if run.at < self.from || run.at > self.to || run.ended == Ended::Unmeasured {
            return;
        }
        if !self.targets.contains(run.target.as_str()) {
            self.take_elsewhere(run);
            return;
        }
        if !self.curve.contains_key(run.group) {
            self.curve.insert(run.group.to_owned(), BTreeMap::new());
        }
        let Some(curve) = self.curve.get_mut(run.group) else { return };
        curve.entry(minute_of(run.at)).or_default().add(run.ended);
        if run.ended != Ended::Passed {
            return;
        }
        if !run.took.is_zero() {
            let class = LATENCY_MS.iter().position(|end| run.took <= Duration::from_millis(*end));
            let latencies = if run.at < self.onset_at { &mut self.before } else { &mut self.during };
            latencies[class.unwrap_or(LATENCY_MS.len())] += 1;
        }
    }

    /// Takes in a run at a target that the incident does not name; one that exercises its culprit says nothing of elsewhere.
    fn take_elsewhere(&mut self, run: &Run<'_>) {
        let side = match run.hosted_on {
            "" => return,
            "aws" => "aws",
            "azure" => "azure",
            _ => "neither",
        };
        if run.elements.is_some_and(|elements| elements.contains(&self.element)) {
            return;
        }
        if !self.elsewhere.contains_key(side) {
            self.elsewhere.insert(side.to_owned(), BTreeMap::new());
        }
        if let Some(minutes) = self.elsewhere.get_mut(side) {
            minutes.entry(minute_of(run.at)).or_default().add(run.ended);
        }
    }
}

impl Minute {
    fn add(&mut self, ended: Ended) {
        self.runs += 1;
        self.failed += u32::from(ended != Ended::Passed);
        if let Some(layer) = layer_of(ended) {
            self.at_layer[layer] += 1;
        }
    }
}

/// The start of the minute.
fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(60_000_000))
}

/// The place of the layer at which a run failed in [`Minute::at_layer`].
fn layer_of(ended: Ended) -> Option<usize> {
    match ended {
        Ended::Dns => Some(0),
        Ended::Connect => Some(1),
        Ended::Tls => Some(2),
        Ended::Http => Some(3),
        Ended::Passed | Ended::Unmeasured => None,
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
            let (at, took) = (at(second), Duration::from_millis(ms));
            history.take(&Run { target, hosted_on: "aws", elements: None, group: "fra", at, ended, took });
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
        assert_eq!(curve[&at(5400)], Minute { failed: 0, runs: 2, at_layer: [0; 4] });
        assert_eq!(curve[&at(6000)], Minute { failed: 1, runs: 2, at_layer: [0, 0, 0, 1] });
        assert_eq!(history.elsewhere["aws"][&at(6000)], Minute { failed: 1, runs: 1, at_layer: [0, 0, 0, 1] });
        assert_eq!((history.before[5], history.before[13], history.during[8]), (1, 1, 1));
        assert_eq!(history.before.iter().chain(&history.during).sum::<u64>(), 3);
    }

    #[test]
    fn what_exercises_the_culprit_or_has_no_host_says_nothing_of_elsewhere() {
        let ended = Change { onset_at: at(6000), resolved_at: Some(at(6300)), ..change() };
        let mut history = History::of(&[ended]).expect("it has ended");
        let (behind, beside) =
            (BTreeSet::from(["azure/front-door".to_owned()]), BTreeSet::from(["azure/eastus".to_owned()]));
        let target = TargetId::from("any");
        for (hosted_on, elements) in [("azure", &behind), ("azure", &beside), ("gcp", &beside), ("", &beside)] {
            let (elements, took) = (Some(elements), Duration::ZERO);
            history.take(&Run {
                target: &target,
                hosted_on,
                elements,
                group: "fra",
                at: at(6010),
                ended: Ended::Passed,
                took,
            });
        }
        let runs: Vec<_> =
            history.elsewhere.iter().map(|(side, minutes)| (side.as_str(), minutes[&at(6000)].runs)).collect();
        assert_eq!(runs, [("azure", 1), ("neither", 1)]);
    }

    #[test]
    fn a_history_of_an_earlier_release_still_reads() {
        let minute: Minute = serde_json::from_str(r#"{"failed":3,"runs":4}"#).expect("it reads");
        assert_eq!(minute, Minute { failed: 3, runs: 4, at_layer: [0; 4] });
        assert_eq!(serde_json::to_string(&minute).expect("json"), r#"{"failed":3,"runs":4}"#);
    }

    #[test]
    fn while_it_goes_on_a_history_reaches_to_now() {
        let open = Change { onset_at: at(6000), ..change() };
        let history = History::so_far(std::slice::from_ref(&open), at(6100)).expect("a revision");
        assert_eq!((history.from, history.to), (at(5400), at(6100)));
        let ended = Change { resolved_at: Some(at(6050)), ..open };
        assert_eq!(History::so_far(&[ended], at(6100)).expect("a revision").to, at(6050));
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
