//! What is published: incidents, cells of the matrix and how well we see. Always whole objects, never patches.
//!
//! The JSON form of [`Change`] is a promise: the same object in the feed's JSON, in `watch -o ndjson` and in webhooks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    element::ElementKind,
    time::Timestamp,
    vocabulary::{Cause, Kind, Layer, State, Verdict},
};

/// Names an incident: `inc-<first publication, basic UTC>-<n>`, from the inputs alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(String);

impl IncidentId {
    /// The id of the n-th incident first published at this instant.
    pub fn new(first_published: Timestamp, n: u32) -> Self {
        Self(format!("inc-{}-{n}", first_published.basic()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for IncidentId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Says what a JSON line is; readers skip types that they do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordType {
    /// A revision of an incident.
    #[default]
    Incident,
}

/// Probability of each answer, 0 to 1, summing to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probabilities {
    /// AWS.
    pub aws: f64,
    /// Azure.
    pub azure: f64,
    /// Neither of them.
    pub neither: f64,
    /// Nothing is wrong.
    pub none: f64,
}

impl Probabilities {
    /// The probability of the verdict; zero for `undetermined`.
    pub fn of(&self, verdict: Verdict) -> f64 {
        match verdict {
            Verdict::Aws => self.aws,
            Verdict::Azure => self.azure,
            Verdict::Neither => self.neither,
            Verdict::Undetermined => 0.0,
        }
    }
}

/// A candidate while nobody is accused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Canonical name of the element.
    pub element: String,
    /// Probability, 0 to 1.
    pub probability: f64,
}

/// One vantage group looking at one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceRow {
    /// Vantage group.
    pub group: String,
    /// Target; `uplink` for the agents' own sessions.
    pub target: String,
    /// Layer that failed.
    pub layer: Layer,
    /// Most common cause; empty where runs passed, but took many times as long as usual.
    #[serde(with = "blank")]
    pub cause: Option<Cause>,
    /// Runs in the window that failed or were slow.
    pub failed: u32,
    /// Runs in the window.
    pub runs: u32,
    /// Nats by which the row favours the verdict over no fault.
    pub weight: f64,
}

impl EvidenceRow {
    /// The cause, or `slow`.
    pub fn cause_word(&self) -> &'static str {
        self.cause.map_or("slow", Cause::as_str)
    }
}

/// What clears a suspect: the same vantages reached it, at the same layer, in the same minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alibi {
    /// Who is cleared: `aws`, `azure`, or an element of theirs.
    pub party: String,
    /// Layer at which it was reached.
    pub layer: Layer,
    /// Runs that passed.
    pub passed: u32,
    /// Runs in all.
    pub runs: u32,
    /// Vantage groups that looked.
    pub groups: u32,
    /// How strongly it refutes, in nats, above 0: the log likelihood ratio of these looks under "the party is as usual"
    /// over "the party fails as the culprit does", with the culprit's failing share at the layer. No vantage group adds
    /// more than `ln((1 - liar) / liar)`, 6.9 by default: one group clears nobody, however often it looks. 0 where an
    /// earlier release did not say.
    #[serde(default)]
    pub nats: f64,
}

/// Notes that an incident may have.
pub const MAX_NOTES: usize = 16;

/// What a person wrote beside an incident; nothing is concluded from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it was published.
    pub at: Timestamp,
    /// Plain text.
    pub text: String,
    /// Where to read more: http or https, or empty.
    pub link: String,
}

/// One revision of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Always `incident`.
    pub r#type: RecordType,
    /// When this revision was made.
    pub at: Timestamp,
    /// Which incident.
    pub incident: IncidentId,
    /// From 1, one more at each change.
    pub revision: u64,
    /// Where it is in its life.
    pub state: State,
    /// Who. `undetermined` until somebody is accused.
    pub verdict: Verdict,
    /// What, for "neither".
    #[serde(with = "blank")]
    pub kind: Option<Kind>,
    /// Canonical name of the culprit; empty until somebody is accused.
    pub element: String,
    /// What the culprit is.
    #[serde(with = "blank")]
    pub element_kind: Option<ElementKind>,
    /// Probability of the verdict, 0 to 1.
    pub confidence: f64,
    /// Probability of each answer.
    pub probabilities: Probabilities,
    /// When the world broke.
    pub onset_at: Timestamp,
    /// Half-width of the onset, seconds.
    pub onset_uncertainty_s: f64,
    /// Regions touched, `aws/us-east-1`; empty means everywhere.
    pub regions: Vec<String>,
    /// Layer that breaks for most.
    pub layer: Layer,
    /// Vantage groups that see it fail.
    pub failing_groups: u32,
    /// Vantage groups that looked.
    pub total_groups: u32,
    /// Of those that see it fail, the ones whose controls mostly fail too.
    pub control_failing_groups: u32,
    /// One sentence for people.
    pub headline: String,
    /// Candidates while nobody is accused, likeliest first.
    pub suspects: Vec<Suspect>,
    /// Strongest rows first.
    pub evidence: Vec<EvidenceRow>,
    /// Who is cleared, and by what.
    pub alibis: Vec<Alibi>,
    /// Why the verdict is undetermined; empty when it is not.
    pub undetermined_reason: String,
    /// The incident that this one was folded into; empty for none.
    pub superseded_by: String,
    /// What would change our mind.
    pub caveats: Vec<String>,
    /// First published.
    pub opened_at: Timestamp,
    /// First attributed.
    pub attributed_at: Option<Timestamp>,
    /// Ended.
    pub resolved_at: Option<Timestamp>,
    /// [`crate::ENGINE_VERSION`] that made it.
    pub engine: u32,
    /// What people wrote beside it, oldest first; [`MAX_NOTES`] at most.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Why a person took it back; empty where nobody did.
    #[serde(default)]
    pub retraction_reason: String,
}

/// State of one cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellState {
    /// Seen by enough groups and at its baseline.
    Ok,
    /// Some of it fails for a fifth of the groups or more.
    Degraded,
    /// Half of all looks at it fail, or more.
    Failing,
    /// Too few fresh results to say.
    NoData,
}

/// One provider, region and layer of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellChange {
    /// aws or azure.
    pub provider: String,
    /// Region, or the name of what has none (`front-door`).
    pub region: String,
    /// Layer.
    pub layer: Layer,
    /// State.
    pub state: CellState,
    /// Vantage groups that see it fail.
    pub failing_groups: u32,
    /// Vantage groups with fresh results.
    pub total_groups: u32,
    /// When the state last changed.
    pub changed_at: Timestamp,
}

/// How well we see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visibility {
    /// Every result that had arrived by then is in the picture.
    pub evaluated_through: Timestamp,
    /// Groups with fresh results that reach at least one control.
    pub live_groups: u32,
    /// Groups known.
    pub total_groups: u32,
    /// Of the live ones, those outside both clouds.
    pub live_groups_outside_clouds: u32,
    /// Networks of the live ones.
    pub live_networks: u32,
    /// Too few for a verdict: silence means nothing.
    pub below_quorum: bool,
    /// Why we cannot see and what to do; empty when we can.
    pub reason: String,
}

impl Visibility {
    /// The same but for the moment it was made.
    pub fn is_same_sight(&self, other: &Self) -> bool {
        Self { evaluated_through: other.evaluated_through, ..self.clone() } == *other
    }
}

mod blank {
    //! An absent word is the empty string, so that readers find the field.
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<T: Display, S: Serializer>(word: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match word {
            Some(word) => serializer.collect_str(word),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word.is_empty() { Ok(None) } else { word.parse().map(Some).map_err(de::Error::custom) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Words {
        #[serde(with = "blank")]
        cause: Option<Cause>,
        #[serde(with = "blank")]
        kind: Option<Kind>,
        #[serde(with = "blank")]
        element_kind: Option<ElementKind>,
    }

    #[test]
    fn an_absent_word_is_the_empty_string_in_every_form() {
        let all = Words {
            cause: Some(Cause::DnsTimeout),
            kind: Some(Kind::ThirdPartyCdn),
            element_kind: Some(ElementKind::ServiceEverywhere),
        };
        let none = Words { cause: None, kind: None, element_kind: None };
        for (words, json) in [
            (all, r#"{"cause":"dns_timeout","kind":"third-party-cdn","element_kind":"service-everywhere"}"#),
            (none, r#"{"cause":"","kind":"","element_kind":""}"#),
        ] {
            assert_eq!(serde_json::to_string(&words).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<Words>(json).expect("words"), words);
            let bytes = postcard::to_stdvec(&words).expect("bytes");
            assert_eq!(postcard::from_bytes::<Words>(&bytes).expect("words"), words);
        }
    }

    #[test]
    fn a_word_of_no_list_is_refused() {
        let line = r#"{"cause":"","kind":"","element_kind":"galaxy"}"#;
        let error = serde_json::from_str::<Words>(line).expect_err("no such kind").to_string();
        assert!(error.contains("galaxy"), "{error}");
    }
}
