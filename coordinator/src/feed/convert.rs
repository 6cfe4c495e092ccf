//! From what the core says to what the wire carries.

mod claim;
mod work;

use std::{str::FromStr, time::Duration};

use faultline_attribution::{
    Alibi, CellChange, CellState, Change, EvidenceRow, IncidentId, Note, Probabilities, State, Suspect, Timestamp,
    Verdict, Visibility, change::RecordType,
};
use faultline_proto::{convert, feed::v1 as feed, types::v1 as wire};

pub use self::{
    claim::{claim, claimed, told},
    work::{planned, work},
};
use super::{Published, filter::Filter};
use crate::{board::Board, claims::text};

/// The snapshot of a board, as a filter lets it pass: incidents of which any revision passes.
pub fn snapshot(board: &Board, filter: &Filter, now: Timestamp) -> feed::Snapshot {
    let is_told = |change: &&Change| {
        let mut revisions = board.revisions(&change.incident).into_iter().flatten();
        filter.is_open() || revisions.any(|revision| filter.passes_incident(revision))
    };
    feed::Snapshot {
        feed_id: board.feed_id.clone(),
        sequence: board.sequence,
        incidents: board.recent(now).filter(is_told).map(incident).collect(),
        cells: board.cells().filter(|cell| filter.passes_cell(&cell.provider, &cell.region)).map(cell).collect(),
        visibility: Some(visibility(&board.sight())),
        notices: board.all_notices(),
        claims: board.claims.all().filter(|_| filter.wants(feed::ChangeKind::Claim)).map(told).collect(),
        planned_work: board.work.recent(now).filter(|planned| filter.passes_work(planned)).map(work).collect(),
    }
}

/// A change of the feed.
pub fn event(published_at: Timestamp, published: &Published) -> feed::FeedEvent {
    let change = match published {
        Published::Incident(change) => feed::feed_event::Change::Incident(incident(change)),
        Published::Cell(change) => feed::feed_event::Change::Cell(cell(change)),
        Published::Visibility(change) => feed::feed_event::Change::Visibility(visibility(change)),
        Published::Claim(change) => feed::feed_event::Change::Claim(claim(change)),
        Published::Work(change) => feed::feed_event::Change::Work(work(change)),
    };
    feed::FeedEvent { published_at: Some(at(published_at)), change: Some(change) }
}

/// An incident.
pub fn incident(change: &Change) -> wire::Incident {
    let probabilities = &change.probabilities;
    wire::Incident {
        incident: change.incident.to_string(),
        revision: change.revision,
        state: state(change.state) as i32,
        verdict: verdict(change.verdict) as i32,
        kind: change.kind.map_or("", |kind| kind.as_str()).to_owned(),
        element: change.element.clone(),
        element_kind: change.element_kind.map_or("", |kind| kind.as_str()).to_owned(),
        confidence: change.confidence,
        probabilities: Some(wire::Probabilities {
            aws: probabilities.aws,
            azure: probabilities.azure,
            neither: probabilities.neither,
            none: probabilities.none,
        }),
        onset_at: Some(at(change.onset_at)),
        onset_uncertainty: Some(convert::duration(
            Duration::try_from_secs_f64(change.onset_uncertainty_s).unwrap_or_default(),
        )),
        regions: change.regions.clone(),
        layer: layer(change.layer) as i32,
        failing_groups: change.failing_groups,
        total_groups: change.total_groups,
        control_failing_groups: change.control_failing_groups,
        headline: change.headline.clone(),
        at: Some(at(change.at)),
        suspects: change
            .suspects
            .iter()
            .map(|suspect| wire::Suspect { element: suspect.element.clone(), probability: suspect.probability })
            .collect(),
        evidence: change.evidence.iter().map(evidence).collect(),
        alibis: change.alibis.iter().map(alibi).collect(),
        undetermined_reason: change.undetermined_reason.clone(),
        superseded_by: change.superseded_by.clone(),
        caveats: change.caveats.clone(),
        opened_at: Some(at(change.opened_at)),
        attributed_at: change.attributed_at.map(at),
        resolved_at: change.resolved_at.map(at),
        engine: change.engine,
        notes: change.notes.iter().map(note).collect(),
        retraction_reason: change.retraction_reason.clone(),
    }
}

/// The incident as the core has it: what `watch -o ndjson` writes. `None` when a value is missing or of a later build.
pub fn change(incident: &wire::Incident) -> Option<Change> {
    let when = |at: Option<&prost_types::Timestamp>| convert::micros(at).map(Timestamp::from_micros);
    let probabilities = incident.probabilities.unwrap_or_default();
    Some(Change {
        r#type: RecordType::Incident,
        at: when(incident.at.as_ref())?,
        incident: IncidentId::from(incident.incident.clone()),
        revision: incident.revision,
        state: word_of(incident.state().as_str_name(), "INCIDENT_STATE_")?,
        verdict: word_of(incident.verdict().as_str_name(), "VERDICT_")?,
        kind: if incident.kind.is_empty() { None } else { Some(incident.kind.parse().ok()?) },
        element: incident.element.clone(),
        element_kind: incident.element_kind.parse().ok(),
        confidence: incident.confidence,
        probabilities: Probabilities {
            aws: probabilities.aws,
            azure: probabilities.azure,
            neither: probabilities.neither,
            none: probabilities.none,
        },
        onset_at: when(incident.onset_at.as_ref())?,
        onset_uncertainty_s: convert::std_duration(incident.onset_uncertainty.as_ref())?.as_secs_f64(),
        regions: incident.regions.clone(),
        layer: word_of(incident.layer().as_str_name(), "LAYER_")?,
        failing_groups: incident.failing_groups,
        total_groups: incident.total_groups,
        control_failing_groups: incident.control_failing_groups,
        headline: incident.headline.clone(),
        suspects: incident
            .suspects
            .iter()
            .map(|suspect| Suspect { element: suspect.element.clone(), probability: suspect.probability })
            .collect(),
        evidence: incident.evidence.iter().filter_map(evidence_row).collect(),
        alibis: incident.alibis.iter().filter_map(cleared).collect(),
        undetermined_reason: incident.undetermined_reason.clone(),
        superseded_by: incident.superseded_by.clone(),
        caveats: incident.caveats.clone(),
        opened_at: when(incident.opened_at.as_ref())?,
        attributed_at: when(incident.attributed_at.as_ref()),
        resolved_at: when(incident.resolved_at.as_ref()),
        engine: incident.engine,
        notes: incident.notes.iter().filter_map(noted).collect(),
        retraction_reason: incident.retraction_reason.clone(),
    })
}

fn note(note: &Note) -> wire::Note {
    wire::Note { at: Some(at(note.at)), text: note.text.clone(), link: note.link.clone() }
}

fn noted(note: &wire::Note) -> Option<Note> {
    let at = Timestamp::from_micros(convert::micros(note.at.as_ref())?);
    Some(Note { at, text: note.text.clone(), link: text::link(&note.link) })
}

fn evidence_row(row: &wire::Evidence) -> Option<EvidenceRow> {
    Some(EvidenceRow {
        group: row.group.clone(),
        target: row.target.clone(),
        layer: word_of(row.layer().as_str_name(), "LAYER_")?,
        cause: match row.cause() {
            wire::Cause::Unspecified => None,
            cause => Some(word_of(cause.as_str_name(), "CAUSE_")?),
        },
        failed: row.failed,
        runs: row.runs,
        weight: row.weight,
    })
}

fn cleared(alibi: &wire::Alibi) -> Option<Alibi> {
    Some(Alibi {
        party: alibi.party.clone(),
        layer: word_of(alibi.layer().as_str_name(), "LAYER_")?,
        passed: u32::try_from(alibi.passed).unwrap_or(u32::MAX),
        runs: u32::try_from(alibi.runs).unwrap_or(u32::MAX),
        groups: alibi.groups,
        nats: alibi.nats,
    })
}

fn word_of<T: FromStr>(name: &str, prefix: &str) -> Option<T> {
    name.strip_prefix(prefix)?.to_ascii_lowercase().parse().ok()
}

/// A cell of the matrix.
pub fn cell(change: &CellChange) -> wire::Cell {
    let state = match change.state {
        CellState::Ok => wire::CellState::Ok,
        CellState::Degraded => wire::CellState::Degraded,
        CellState::Failing => wire::CellState::Failing,
        CellState::NoData => wire::CellState::NoData,
    };
    wire::Cell {
        provider: change.provider.clone(),
        region: change.region.clone(),
        layer: layer(change.layer) as i32,
        state: state as i32,
        failing_groups: change.failing_groups,
        total_groups: change.total_groups,
        changed_at: Some(at(change.changed_at)),
    }
}

/// The cell as the core has it. `None` when a value is missing or of a later build.
pub fn cell_change(cell: &wire::Cell) -> Option<CellChange> {
    let state = match cell.state() {
        wire::CellState::Ok => CellState::Ok,
        wire::CellState::Degraded => CellState::Degraded,
        wire::CellState::Failing => CellState::Failing,
        wire::CellState::NoData => CellState::NoData,
        wire::CellState::Unspecified => return None,
    };
    Some(CellChange {
        provider: cell.provider.clone(),
        region: cell.region.clone(),
        layer: word_of(cell.layer().as_str_name(), "LAYER_")?,
        state,
        failing_groups: cell.failing_groups,
        total_groups: cell.total_groups,
        changed_at: Timestamp::from_micros(convert::micros(cell.changed_at.as_ref())?),
    })
}

/// How well we see, as the core has it. `None` when it does not say when.
pub fn sight(visibility: &wire::Visibility) -> Option<Visibility> {
    Some(Visibility {
        evaluated_through: Timestamp::from_micros(convert::micros(visibility.evaluated_through.as_ref())?),
        live_groups: visibility.live_groups,
        total_groups: visibility.total_groups,
        live_groups_outside_clouds: visibility.live_groups_outside_clouds,
        live_networks: visibility.live_networks,
        below_quorum: visibility.below_quorum,
        reason: visibility.reason.clone(),
    })
}

/// How well we see.
pub fn visibility(visibility: &Visibility) -> wire::Visibility {
    wire::Visibility {
        evaluated_through: Some(at(visibility.evaluated_through)),
        live_groups: visibility.live_groups,
        total_groups: visibility.total_groups,
        live_groups_outside_clouds: visibility.live_groups_outside_clouds,
        live_networks: visibility.live_networks,
        below_quorum: visibility.below_quorum,
        reason: visibility.reason.clone(),
    }
}

fn evidence(row: &EvidenceRow) -> wire::Evidence {
    let word = row.cause.map(|cause| format!("CAUSE_{}", cause.as_str().to_ascii_uppercase()));
    let cause = word.and_then(|word| wire::Cause::from_str_name(&word));
    wire::Evidence {
        group: row.group.clone(),
        target: row.target.clone(),
        layer: layer(row.layer) as i32,
        cause: cause.unwrap_or_default() as i32,
        failed: row.failed,
        runs: row.runs,
        weight: row.weight,
    }
}

fn alibi(alibi: &Alibi) -> wire::Alibi {
    wire::Alibi {
        party: alibi.party.clone(),
        layer: layer(alibi.layer) as i32,
        passed: alibi.passed.into(),
        runs: alibi.runs.into(),
        groups: alibi.groups,
        nats: alibi.nats,
    }
}

fn layer(layer: faultline_attribution::Layer) -> wire::Layer {
    use faultline_attribution::Layer;
    match layer {
        Layer::Dns => wire::Layer::Dns,
        Layer::Connect => wire::Layer::Connect,
        Layer::Tls => wire::Layer::Tls,
        Layer::Http => wire::Layer::Http,
    }
}

fn state(state: State) -> wire::IncidentState {
    match state {
        State::Suspected => wire::IncidentState::Suspected,
        State::Attributed => wire::IncidentState::Attributed,
        State::Recovering => wire::IncidentState::Recovering,
        State::Resolved => wire::IncidentState::Resolved,
        State::Retracted => wire::IncidentState::Retracted,
    }
}

fn verdict(verdict: Verdict) -> wire::Verdict {
    match verdict {
        Verdict::Aws => wire::Verdict::Aws,
        Verdict::Azure => wire::Verdict::Azure,
        Verdict::Neither => wire::Verdict::Neither,
        Verdict::Undetermined => wire::Verdict::Undetermined,
    }
}

fn at(at: Timestamp) -> prost_types::Timestamp {
    convert::timestamp(at.micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"type":"incident","at":"2025-10-29T15:42:20Z","incident":"inc-20251029T154113Z-1","revision":2,
        "state":"attributed","verdict":"neither","kind":"third-party-cdn","element":"cdn/fastly","element_kind":"cdn",
        "confidence":0.981,"probabilities":{"aws":0.001,"azure":0.006,"neither":0.981,"none":0.012},
        "onset_at":"2025-10-29T15:41:04Z","onset_uncertainty_s":20.5,"regions":[],"layer":"connect","failing_groups":41,
        "total_groups":44,"control_failing_groups":0,"headline":"...","suspects":[{"element":"cdn/fastly","probability":0.9}],
        "evidence":[{"group":"g","target":"t","layer":"connect","cause":"connect_timeout","failed":1,"runs":2,"weight":6.1}],
        "alibis":[{"party":"aws","layer":"connect","passed":9,"runs":10,"groups":3,"nats":12.5}],"undetermined_reason":"",
        "superseded_by":"","caveats":["x"],"opened_at":"2025-10-29T15:42:00Z","attributed_at":"2025-10-29T15:42:20Z",
        "resolved_at":null,"engine":1}"#;

    #[test]
    fn an_alibi_of_an_earlier_release_has_no_strength() {
        let line = LINE.replace(r#","nats":12.5"#, "");
        let before: Change = serde_json::from_str(&line).expect("a change");
        assert!(before.alibis[0].nats.abs() < f64::EPSILON && line != LINE);
    }

    #[test]
    fn cells_and_sight_survive_the_wire() {
        for state in [CellState::Ok, CellState::Degraded, CellState::Failing, CellState::NoData] {
            let before = CellChange {
                provider: "aws".into(),
                region: "us-east-1".into(),
                layer: faultline_attribution::Layer::Tls,
                state,
                failing_groups: 3,
                total_groups: 7,
                changed_at: Timestamp::from_micros(1_761_752_640_000_001),
            };
            assert_eq!(cell_change(&cell(&before)).expect("back"), before);
        }
        let before = Visibility {
            evaluated_through: Timestamp::from_micros(1_761_752_640_000_000),
            live_groups: 4,
            total_groups: 9,
            live_groups_outside_clouds: 2,
            live_networks: 3,
            below_quorum: true,
            reason: "too few".into(),
        };
        assert_eq!(sight(&visibility(&before)).expect("back"), before);
    }

    #[test]
    fn an_incident_survives_the_wire() {
        let before: Change = serde_json::from_str(LINE).expect("a change");
        assert_eq!(change(&incident(&before)).expect("back"), before);
    }
}
