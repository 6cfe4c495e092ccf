//! `truth.toml`, in both its forms.

use faultline_attribution::Timestamp;
use serde::{Deserialize, de::IntoDeserializer as _};
use toml::value::Datetime;

use crate::{case::TrueIncident, scenario::Verdict};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) family: Option<String>,
    pub(super) liars: f64,
    pub(super) is_hard: bool,
    pub(super) starts_at: Option<Timestamp>,
    pub(super) ends_at: Option<Timestamp>,
    pub(super) truth: Vec<TrueIncident>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    family: Option<String>,
    #[serde(default)]
    liars: f64,
    #[serde(default)]
    is_hard: bool,
    starts_at: Option<Datetime>,
    ends_at: Option<Datetime>,
    #[serde(default)]
    truth: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    verdict: Verdict,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    accept_kinds: Vec<String>,
    #[serde(default)]
    element: String,
    #[serde(default)]
    accept_elements: Vec<String>,
    onset_at: Datetime,
    ends_at: Option<Datetime>,
}

#[derive(Deserialize)]
struct Who {
    verdict: Verdict,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    accept_kinds: Vec<String>,
    #[serde(default)]
    element: String,
    #[serde(default)]
    accept_elements: Vec<String>,
}

/// A record of a real incident, of which most says nothing here.
#[derive(Deserialize)]
struct Record {
    truth: Who,
    time: Span,
}

#[derive(Deserialize)]
struct Span {
    start: Datetime,
    end: Option<Datetime>,
}

pub(super) fn parse(text: &str) -> Result<Told, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    if table.get("truth").is_some_and(toml::Value::is_table) {
        let record: Record = toml::from_str(text).map_err(|error| error.to_string())?;
        let onset = instant(record.time.start)?;
        let end = record.time.end.map(instant).transpose()?;
        let is_none = record.truth.kind == "none";
        let truth = if is_none { Vec::new() } else { vec![record.truth.incident(onset, end)?] };
        return Ok(Told { truth, ..Told::default() });
    }
    let case: Case = toml::from_str(text).map_err(|error| error.to_string())?;
    let truth = case.truth.into_iter().map(|row| {
        let (onset, end) = (instant(row.onset_at)?, row.ends_at.map(instant).transpose()?);
        let Row { verdict, kind, accept_kinds, element, accept_elements, .. } = row;
        Who { verdict, kind, accept_kinds, element, accept_elements }.incident(onset, end)
    });
    Ok(Told {
        family: case.family,
        liars: case.liars,
        is_hard: case.is_hard,
        starts_at: case.starts_at.map(instant).transpose()?,
        ends_at: case.ends_at.map(instant).transpose()?,
        truth: truth.collect::<Result<_, _>>()?,
    })
}

impl Who {
    fn incident(self, onset: Timestamp, end: Option<Timestamp>) -> Result<TrueIncident, String> {
        if end.is_some_and(|end| end <= onset) {
            return Err(format!("ends_at = {} is not after onset_at = {onset}", end.unwrap_or_default()));
        }
        if self.verdict != Verdict::Neither && !self.kind.is_empty() {
            return Err(format!("kind = {:?} does not go with verdict = {:?}", self.kind, self.verdict.word()));
        }
        let all = |first: String, rest: Vec<String>| {
            let mut words: Vec<String> = [first].into_iter().chain(rest).filter(|word| !word.is_empty()).collect();
            words.sort();
            words.dedup();
            words
        };
        // An empty element means that any is right, whatever else is listed.
        let elements = if self.element.is_empty() { Vec::new() } else { all(self.element, self.accept_elements) };
        Ok(TrueIncident { verdict: self.verdict, kinds: all(self.kind, self.accept_kinds), elements, onset, end })
    }
}

fn instant(at: Datetime) -> Result<Timestamp, String> {
    let text = at.to_string();
    let wrong = |error: serde::de::value::Error| format!("{text}: not an instant with its offset from UTC ({error})");
    Timestamp::deserialize(text.clone().into_deserializer()).map_err(wrong)
}
