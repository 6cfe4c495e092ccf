//! `faultline status --check`: am I affected? Of the elements that somebody depends on, and of them alone.
//!
//! Rules, for one element, the first that holds: somebody is named in an open incident that touches it: attributed; we are below
//! quorum, or nothing of it was seen lately: cannot see; an open incident suspects it, or it fails for most vantage groups:
//! suspected; else nothing attributed. The worst of all is the answer, attributed before cannot see before suspected. An element of
//! which the coordinator knows nothing is always "cannot see": a typing error must not look like health. What lies beneath a
//! region or service that is known (`aws/us-east-1/dynamodb`) is judged by that.

use std::collections::{BTreeMap, BTreeSet};

use faultline_proto::{
    feed::v1::Snapshot,
    types::v1::{Cell, CellState, Incident, Verdict},
};
use serde::Serialize;

use super::open;
use crate::{
    board::Standing,
    cli::{
        colour::{Tone, clean},
        only::Wanted,
    },
};

/// Names of known elements that are shown for an unknown one.
const NEARBY: usize = 5;

/// What a look at one element comes to.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    /// The element asked about.
    pub(super) element: String,
    #[serde(serialize_with = "word_of")]
    pub(super) standing: Standing,
    /// Why, in words.
    pub(super) reason: String,
    /// Open incidents that touch it.
    pub(super) incidents: Vec<String>,
}

/// What a look at all of them comes to.
pub(super) fn overall(checked: &[Checked]) -> Standing {
    let has = |standing| checked.iter().any(|checked| checked.standing == standing);
    let is_unknown = checked.iter().any(|checked| checked.reason.starts_with("unknown"));
    if is_unknown {
        return Standing::Blind;
    }
    let worst_first = [Standing::Attributed, Standing::Blind, Standing::Suspected];
    worst_first.into_iter().find(|standing| has(*standing)).unwrap_or(Standing::Quiet)
}

/// All of it on one line, with styles.
pub(super) fn line(checked: &[Checked]) -> String {
    let parts = checked.iter().map(|checked| {
        let (tone, glyph) = match checked.standing {
            Standing::Quiet => (Tone::Well, "●"),
            Standing::Suspected => (Tone::Suspected, "▲"),
            Standing::Attributed => (Tone::Accused, "✕"),
            Standing::Blind => (Tone::Blind, "░"),
        };
        format!("{} {}", tone.paint(&format!("{glyph} {}", checked.element)), checked.reason)
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// Looks at each element.
pub(super) fn check(snapshot: &Snapshot, wanted: &[Wanted]) -> Vec<Checked> {
    wanted.iter().map(|wanted| one(snapshot, wanted)).collect()
}

fn one(snapshot: &Snapshot, wanted: &Wanted) -> Checked {
    let touching: Vec<&Incident> = open(snapshot).into_iter().filter(|incident| wanted.touches(incident)).collect();
    let known = known(snapshot);
    let (standing, reason) = judge(snapshot, wanted, &touching, &known);
    let incidents = touching.iter().map(|incident| incident.incident.clone()).collect();
    Checked { element: wanted.to_string(), standing, reason, incidents }
}

fn judge(snapshot: &Snapshot, wanted: &Wanted, touching: &[&Incident], known: &BTreeSet<String>) -> (Standing, String) {
    let told = |incident: &Incident| format!("{} ({})", clean(&incident.headline), clean(&incident.incident));
    let is_named = |incident: &&&Incident| !matches!(incident.verdict(), Verdict::Undetermined | Verdict::Unspecified);
    if let Some(named) = touching.iter().find(is_named) {
        return (Standing::Attributed, format!("attributed: {}", told(named)));
    }
    if !known.iter().any(|element| wanted.is_of(element)) {
        return (Standing::Blind, unknown(wanted, known));
    }
    let visibility = snapshot.visibility.as_ref();
    if visibility.is_none_or(|visibility| visibility.below_quorum) {
        let reason = visibility.map_or_else(String::new, |visibility| clean(&visibility.reason));
        return (Standing::Blind, format!("cannot see: {reason}").trim_end_matches(": ").to_owned());
    }
    if let Some(suspected) = touching.first() {
        return (Standing::Suspected, format!("suspected: {}", told(suspected)));
    }
    let cells: Vec<&Cell> = snapshot.cells.iter().filter(|cell| wanted.is_of(&name(cell))).collect();
    let has_data = |cell: &&&Cell| !matches!(cell.state(), CellState::NoData | CellState::Unspecified);
    if !cells.is_empty() && !cells.iter().any(|cell| has_data(&cell)) {
        return (Standing::Blind, "cannot see: too few fresh results".into());
    }
    match cells.iter().find(|cell| cell.state() == CellState::Failing) {
        Some(cell) => {
            let (failing, all) = (cell.failing_groups, cell.total_groups);
            let reason = format!("{} fails for {failing} of {all} vantage groups; no incident yet", clean(&name(cell)));
            (Standing::Suspected, reason)
        }
        None if cells.iter().any(|cell| cell.state() == CellState::Degraded) => {
            (Standing::Quiet, "nothing attributed, degraded in part".into())
        }
        None => (Standing::Quiet, "nothing attributed".into()),
    }
}

/// The element that a cell of the matrix shows.
fn name(cell: &Cell) -> String {
    format!("{}/{}", cell.provider, cell.region)
}

/// Every element that the snapshot tells of.
fn known(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = snapshot.cells.iter().map(name).collect();
    for incident in &snapshot.incidents {
        known.extend(incident.suspects.iter().map(|suspect| suspect.element.clone()));
        known.extend(incident.regions.iter().cloned());
        known.insert(incident.element.clone());
    }
    known.remove("");
    known
}

/// What to say of an element that nothing is known of: what is known nearby.
fn unknown(wanted: &Wanted, known: &BTreeSet<String>) -> String {
    if known.is_empty() {
        return "unknown here: the coordinator has seen nothing yet".into();
    }
    let alike = |element: &str| {
        let shared = element.bytes().zip(wanted.as_str().bytes()).take_while(|(a, b)| a == b).count();
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let is_same_name = last(element) == last(wanted.as_str());
        std::cmp::Reverse(shared + if is_same_name { 8 } else { 0 })
    };
    let mut nearest: Vec<&String> = known.iter().collect();
    nearest.sort_by_key(|element| alike(element));
    let nearest: Vec<String> = nearest.into_iter().take(NEARBY).map(|element| clean(element)).collect();
    format!("unknown here: known nearby are {}", nearest.join(", "))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn word_of<S: serde::Serializer>(standing: &Standing, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(super::word(*standing))
}

/// How many of the elements stand how, for `-o json`.
pub(super) fn by_standing(checked: &[Checked]) -> BTreeMap<&'static str, usize> {
    checked.iter().fold(BTreeMap::new(), |mut counts, checked| {
        *counts.entry(super::word(checked.standing)).or_default() += 1;
        counts
    })
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{IncidentState, Layer, Suspect, Visibility};

    use super::*;
    use crate::cli::samples;

    fn cell(element: &str, state: CellState) -> Cell {
        let (provider, region) = element.split_once('/').expect("a name");
        let mut cell = Cell { provider: provider.into(), region: region.into(), total_groups: 6, ..Cell::default() };
        cell.set_state(state);
        cell.set_layer(Layer::Connect);
        cell
    }

    fn snapshot(incidents: Vec<Incident>, below_quorum: bool) -> Snapshot {
        let cells = [
            ("aws/us-east-1", CellState::Ok),
            ("aws/us-west-2", CellState::Failing),
            ("aws/eu-west-1", CellState::NoData),
            ("azure/front-door", CellState::Failing),
            ("azure/eastus", CellState::Degraded),
        ];
        let reason = if below_quorum { "1 of 6 vantage groups" } else { "" }.to_owned();
        Snapshot {
            incidents,
            cells: cells.map(|(element, state)| cell(element, state)).to_vec(),
            visibility: Some(Visibility { below_quorum, reason, ..Visibility::default() }),
            ..Snapshot::default()
        }
    }

    fn look(snapshot: &Snapshot, words: &[&str]) -> (Standing, Vec<Checked>) {
        let wanted: Vec<Wanted> = words.iter().map(|word| word.parse().expect("an element")).collect();
        let checked = check(snapshot, &wanted);
        (overall(&checked), checked)
    }

    #[test]
    fn only_the_elements_asked_about_count() {
        let snapshot = snapshot(vec![samples::incident()], false);
        let rows: [(&[&str], Standing); 8] = [
            (&["aws/us-east-1"], Standing::Quiet),
            (&["aws/us-east-1/dynamodb"], Standing::Quiet),
            (&["azure/front-door"], Standing::Attributed),
            (&["aws/us-east-1", "azure/front-door/eu"], Standing::Attributed),
            (&["azure/eastus"], Standing::Quiet),
            (&["aws/us-west-2"], Standing::Suspected),
            (&["aws/eu-west-1"], Standing::Blind),
            (&["aws/eu-west-1", "aws/us-west-2"], Standing::Blind),
        ];
        for (words, standing) in rows {
            let (found, checked) = look(&snapshot, words);
            assert_eq!(found, standing, "{checked:?}");
        }
        let (_, checked) = look(&snapshot, &["azure/front-door"]);
        assert_eq!(checked[0].incidents, ["inc-20251029T154113Z-1"]);
    }

    #[test]
    fn an_element_that_nobody_knows_is_never_well_and_its_neighbours_are_named() {
        let (standing, checked) =
            look(&snapshot(vec![samples::incident()], false), &["azure/front-door", "aws/us-east-9"]);
        assert_eq!(standing, Standing::Blind);
        assert!(checked[1].reason.starts_with("unknown here: known nearby are aws/us-east-1"), "{}", checked[1].reason);
        let (standing, checked) = look(&Snapshot::default(), &["aws/us-east-1"]);
        assert!(standing == Standing::Blind && checked[0].reason.contains("seen nothing yet"), "{checked:?}");
    }

    #[test]
    fn below_quorum_is_not_health_but_an_accusation_stands() {
        let blind = snapshot(vec![samples::incident()], true);
        assert_eq!(look(&blind, &["aws/us-east-1"]).0, Standing::Blind);
        assert_eq!(look(&blind, &["azure/front-door"]).0, Standing::Attributed);
    }

    #[test]
    fn a_suspect_is_suspected_and_an_ended_incident_is_over() {
        let mut incident = samples::incident();
        incident.set_state(IncidentState::Suspected);
        incident.set_verdict(Verdict::Undetermined);
        incident.element.clear();
        incident.suspects = vec![Suspect { element: "aws/us-east-1".into(), probability: 0.5 }];
        assert_eq!(look(&snapshot(vec![incident.clone()], false), &["aws/us-east-1"]).0, Standing::Suspected);
        incident.set_state(IncidentState::Resolved);
        assert_eq!(look(&snapshot(vec![incident], false), &["aws/us-east-1"]).0, Standing::Quiet);
    }
}
