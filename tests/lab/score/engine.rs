//! The engine as a method: fed second by second as a coordinator feeds it ([`sim::feed`]).
//!
//! Rules: `attributed` and `recovering` accuse; `suspected` sees something and accuses nobody; resolved, retracted and
//! superseded incidents say nothing. A silence of the engine is its word that nothing is wrong, so its probability of
//! `none` is then 1.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use faultline_attribution::{self as attribution, Change, Engine, IncidentId, Output, Settings, State, Timestamp};

use super::method::{Answer, Blind, Method};
use crate::{scenario::Verdict, sim};

/// The engine of this tree with these settings.
#[derive(Clone, Debug, Default)]
pub struct EngineMethod {
    /// Its settings.
    pub settings: Settings,
}

impl Method for EngineMethod {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn judge(&self, case: &Blind<'_>) -> Vec<(Timestamp, Answer)> {
        self.judge_timed(case).0
    }
}

impl EngineMethod {
    /// The changes of answer, and the milliseconds that each second of the record took, its results included.
    pub fn judge_timed(&self, case: &Blind<'_>) -> (Vec<(Timestamp, Answer)>, Vec<f32>) {
        let mut engine = Engine::new(case.world.clone(), self.settings.clone());
        let mut open = Open::default();
        let mut changes = vec![(case.start, open.answer())];
        let mut ticks_ms = Vec::new();
        let (mut from, mut inputs) = (case.start, case.inputs);
        while from < case.end {
            let to = from.after(TICK);
            let (second, later) = inputs.split_at(inputs.partition_point(|(arrives, _)| *arrives < to));
            let mut is_news = false;
            let began = Instant::now();
            sim::feed(&mut engine, (from, to), second.iter().map(|(at, input)| (*at, input)), |_, output| {
                if let Output::Change(change) = output {
                    open.hear(*change);
                    is_news = true;
                }
            });
            ticks_ms.push(began.elapsed().as_secs_f32() * 1e3);
            if is_news {
                let answer = open.answer();
                if changes.last().is_none_or(|(_, before)| *before != answer) {
                    changes.push((to, answer));
                }
            }
            (from, inputs) = (to, later);
        }
        (changes, ticks_ms)
    }
}

/// One step of [`sim::feed`].
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The incidents that are open.
#[derive(Default)]
struct Open(BTreeMap<IncidentId, Change>);

impl Open {
    fn hear(&mut self, change: Change) {
        if change.state.is_open() && change.superseded_by.is_empty() {
            self.0.insert(change.incident.clone(), change);
        } else {
            self.0.remove(&change.incident);
        }
    }

    fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        for change in self.0.values() {
            let accused = match change.verdict {
                attribution::Verdict::Aws => Some(Verdict::Aws),
                attribution::Verdict::Azure => Some(Verdict::Azure),
                attribution::Verdict::Neither => Some(Verdict::Neither),
                attribution::Verdict::Undetermined => None,
            };
            let Some(verdict) = accused.filter(|_| change.state != State::Suspected) else {
                answer.is_undetermined = true;
                continue;
            };
            answer.verdicts.insert(verdict);
            answer.elements.push(change.element.clone());
            answer.kinds.extend(change.kind.map(|kind| kind.as_str().to_owned()));
            answer.onsets.push(change.onset_at);
        }
        answer.probabilities = Some(self.probabilities());
        answer
    }

    /// Of [aws, azure, both, neither, none]: each incident tells of one culprit, and incidents are taken to be
    /// independent of each other.
    fn probabilities(&self) -> [f64; 5] {
        let innocent = |party: fn(&Change) -> f64| self.0.values().map(|change| 1.0 - party(change)).product::<f64>();
        let aws = 1.0 - innocent(|change| change.probabilities.aws);
        let azure = 1.0 - innocent(|change| change.probabilities.azure);
        let none: f64 = self.0.values().map(|change| change.probabilities.none).product();
        let no_cloud = (1.0 - aws) * (1.0 - azure);
        let none = none.min(no_cloud);
        [aws * (1.0 - azure), azure * (1.0 - aws), aws * azure, no_cloud - none, none]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, verdict: &str, state: &str, aws: f64, neither: f64) -> Change {
        let json = serde_json::json!({
            "type": "incident", "at": "2025-10-29T15:42:20Z", "incident": id, "revision": 1, "state": state,
            "verdict": verdict, "kind": "", "element": "aws/us-east-1", "element_kind": "region", "confidence": aws,
            "probabilities": {"aws": aws, "azure": 0.0, "neither": neither, "none": 1.0 - aws - neither},
            "onset_at": "2025-10-29T15:41:04Z", "onset_uncertainty_s": 5.0, "regions": [], "layer": "connect",
            "failing_groups": 9, "total_groups": 12, "control_failing_groups": 0, "headline": "", "suspects": [],
            "evidence": [], "alibis": [], "undetermined_reason": "", "superseded_by": "", "caveats": [],
            "opened_at": "2025-10-29T15:41:04Z", "attributed_at": null, "resolved_at": null, "engine": 1
        });
        serde_json::from_value(json).expect("a change")
    }

    #[test]
    fn suspicion_accuses_nobody_and_the_resolved_are_silent() {
        let mut open = Open::default();
        open.hear(change("a", "undetermined", "suspected", 0.5, 0.25));
        let answer = open.answer();
        assert!(answer.is_undetermined && answer.verdicts.is_empty());
        open.hear(change("a", "aws", "attributed", 0.75, 0.125));
        let answer = open.answer();
        assert!(!answer.is_undetermined && answer.verdicts.contains(&Verdict::Aws));
        assert_eq!(answer.probabilities, Some([0.75, 0.0, 0.0, 0.125, 0.125]));
        open.hear(change("a", "aws", "recovering", 0.75, 0.125));
        assert!(open.answer().verdicts.contains(&Verdict::Aws));
        open.hear(change("a", "aws", "resolved", 0.75, 0.125));
        assert_eq!(open.answer(), Answer { probabilities: Some([0.0, 0.0, 0.0, 0.0, 1.0]), ..Answer::default() });
    }

    #[test]
    fn an_incident_folded_into_another_accuses_nobody() {
        let mut open = Open::default();
        open.hear(change("a", "aws", "attributed", 0.75, 0.125));
        open.hear(Change { superseded_by: "b".to_owned(), ..change("a", "aws", "attributed", 0.75, 0.125) });
        assert!(open.answer().verdicts.is_empty());
    }
}
