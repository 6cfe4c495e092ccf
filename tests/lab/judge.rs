//! The judge: what a subscriber was told, against the scenario's truth. Pure; the engine never sees it.

use faultline_proto::types::v1::{Incident, IncidentState, Verdict};

use crate::Truth;

/// What has been told so far, and what is still to come.
#[derive(Clone, Debug)]
pub struct Judge {
    waiting: Vec<Truth>,
    found: Vec<Truth>,
    wrong: Vec<String>,
}

impl Judge {
    /// A judge who knows the truth.
    pub fn new(truth: &[Truth]) -> Self {
        Self { waiting: truth.to_vec(), found: Vec::new(), wrong: Vec::new() }
    }

    /// Takes a revision in. Returns whether it is the first to tell one of the truths.
    pub fn hear(&mut self, incident: &Incident) -> bool {
        let accused = !matches!(incident.verdict(), Verdict::Undetermined | Verdict::Unspecified);
        if !accused || incident.state() == IncidentState::Retracted {
            if incident.state() == IncidentState::Retracted {
                self.wrong.push(format!("retracted: {}", incident.headline));
            }
            return false;
        }
        if let Some(place) = self.waiting.iter().position(|truth| tells(incident, truth) && clears(incident, truth)) {
            self.found.push(self.waiting.remove(place));
            return true;
        }
        let known = self.waiting.iter().chain(&self.found).any(|truth| tells(incident, truth));
        if !known {
            self.wrong.push(format!("accused {} ({})", incident.element, incident.headline));
        }
        false
    }

    /// Whether every truth was told.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Accusations of the innocent, and retractions.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Truths that were not told.
    pub fn missing(&self) -> &[Truth] {
        &self.waiting
    }
}

/// Whether the incident names the truth's culprit.
fn tells(incident: &Incident, truth: &Truth) -> bool {
    let verdict = match incident.verdict() {
        Verdict::Aws => "aws",
        Verdict::Azure => "azure",
        Verdict::Neither => "neither",
        Verdict::Undetermined | Verdict::Unspecified => return false,
    };
    verdict == truth.verdict.word() && truth.accepts_kind(&incident.kind) && truth.accepts_element(&incident.element)
}

/// Whether the incident clears whom the truth clears.
fn clears(incident: &Incident, truth: &Truth) -> bool {
    truth.cleared.iter().all(|party| incident.alibis.iter().any(|alibi| alibi.party == *party))
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::Alibi;

    use super::*;

    fn truth() -> Truth {
        Truth {
            verdict: crate::scenario::Verdict::Azure,
            kind: String::new(),
            element: "azure/front-door".into(),
            cleared: vec!["aws".into()],
            accept_kinds: Vec::new(),
            accept_elements: vec!["azure/front-door/eu".into()],
            at_s: None,
            until_s: None,
        }
    }

    fn incident(element: &str, verdict: Verdict, cleared: &[&str]) -> Incident {
        Incident {
            element: element.into(),
            verdict: verdict as i32,
            state: IncidentState::Attributed as i32,
            alibis: cleared.iter().map(|party| Alibi { party: (*party).into(), ..Alibi::default() }).collect(),
            ..Incident::default()
        }
    }

    #[test]
    fn the_truth_is_told_only_with_who_is_cleared() {
        let mut judge = Judge::new(&[truth()]);
        assert!(!judge.hear(&incident("azure/front-door", Verdict::Azure, &[])));
        assert!(!judge.is_complete());
        assert!(judge.hear(&incident("azure/front-door", Verdict::Azure, &["aws"])));
        assert!(judge.is_complete() && judge.wrong().is_empty());
    }

    #[test]
    fn an_innocent_party_accused_is_wrong_whatever_else_is_right() {
        let mut judge = Judge::new(&[truth()]);
        judge.hear(&incident("azure/front-door", Verdict::Azure, &["aws"]));
        judge.hear(&incident("aws/us-east-1", Verdict::Aws, &[]));
        assert!(judge.is_complete());
        assert_eq!(judge.wrong().len(), 1);
    }

    #[test]
    fn another_element_that_the_truth_accepts_is_right() {
        let mut judge = Judge::new(&[truth()]);
        assert!(judge.hear(&incident("azure/front-door/eu", Verdict::Azure, &["aws"])));
        assert!(judge.is_complete() && judge.wrong().is_empty());
    }

    #[test]
    fn suspicion_accuses_nobody() {
        let mut judge = Judge::new(&[]);
        judge.hear(&incident("", Verdict::Undetermined, &[]));
        assert!(judge.wrong().is_empty() && judge.is_complete());
    }
}
