//! Boards for the tests of formats.

use std::time::Duration;

use faultline_attribution::{
    Alibi, Cause, CellChange, CellState, Change, ElementKind, EvidenceRow, IncidentId, Layer, Probabilities, State,
    Suspect, Timestamp, Verdict, Visibility, change::RecordType,
};

use crate::{
    board::Board,
    feed::Published,
    log::{Cursor, Entry},
};

/// The moment at which tests look: 2025-10-29T15:44:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

/// A board that sees well and was told this.
pub(super) fn board(published: Vec<Published>) -> Board {
    let mut board = Board::new("0123456789abcdef0123456789abcdef".into());
    for (published, sequence) in published.into_iter().zip(1..) {
        board.apply(&entry(sequence, published));
    }
    board.visibility = Visibility {
        evaluated_through: NOW.before(Duration::from_secs(1)),
        live_groups: 16,
        total_groups: 17,
        live_groups_outside_clouds: 9,
        live_networks: 12,
        below_quorum: false,
        reason: String::new(),
    };
    board
}

/// The same board without a quorum.
pub(super) fn blind(mut board: Board) -> Board {
    let reason = "only 1 of 3 vantage groups that a verdict needs".to_owned();
    board.visibility = Visibility { below_quorum: true, reason, live_groups: 1, ..board.visibility };
    board
}

pub(super) fn entry(sequence: u64, published: Published) -> Entry {
    Entry { sequence, tick: Cursor::START, published_at: NOW, published }
}

pub(super) fn incident(change: Change) -> Published {
    Published::Incident(Box::new(change))
}

pub(super) fn cell(provider: &str, region: &str, layer: Layer, state: CellState) -> Published {
    Published::Cell(CellChange {
        provider: provider.to_owned(),
        region: region.to_owned(),
        layer,
        state,
        failing_groups: if state == CellState::Ok { 0 } else { 7 },
        total_groups: 16,
        changed_at: NOW.before(Duration::from_mins(3)),
    })
}

/// The matrix of a day on which Front Door fails at connect: every region of both clouds, dns and connect.
pub(super) fn cells() -> Vec<Published> {
    let rows = [
        ("aws", "us-east-1"),
        ("aws", "us-west-2"),
        ("aws", "eu-west-1"),
        ("aws", "cloudfront"),
        ("azure", "eastus"),
        ("azure", "westeurope"),
        ("azure", "front-door"),
    ];
    let of = |(provider, region): (&str, &str)| {
        let state = if region == "front-door" { CellState::Failing } else { CellState::Ok };
        [cell(provider, region, Layer::Dns, CellState::Ok), cell(provider, region, Layer::Connect, state)]
    };
    rows.into_iter().flat_map(of).collect()
}

/// The accusation of the n-th incident: Azure Front Door.
pub(super) fn change(n: u32) -> Change {
    let onset_at = Timestamp::from_micros(1_761_752_464_000_000).after(Duration::from_secs(u64::from(n)));
    Change {
        r#type: RecordType::Incident,
        at: NOW,
        incident: IncidentId::new(onset_at, n),
        revision: 2,
        state: State::Attributed,
        verdict: Verdict::Azure,
        kind: None,
        element: "azure/front-door".into(),
        element_kind: Some(ElementKind::Cdn),
        confidence: 0.981,
        probabilities: Probabilities { aws: 0.001, azure: 0.981, neither: 0.012, none: 0.006 },
        onset_at,
        onset_uncertainty_s: 20.0,
        regions: Vec::new(),
        layer: Layer::Connect,
        failing_groups: 16,
        total_groups: 16,
        control_failing_groups: 0,
        headline:
            "Azure Front Door is failing: connections time out from 16 of 16 vantage groups. AWS is not affected."
                .into(),
        suspects: Vec::new(),
        evidence: vec![EvidenceRow {
            group: "mad-1".into(),
            target: "azure/front-door/portal".into(),
            layer: Layer::Connect,
            cause: Some(Cause::ConnectTimeout),
            failed: 8,
            runs: 8,
            weight: 14.2,
        }],
        alibis: vec![Alibi {
            party: "aws".into(),
            layer: Layer::Connect,
            passed: 121,
            runs: 121,
            groups: 16,
            nats: 96.24,
        }],
        undetermined_reason: String::new(),
        superseded_by: String::new(),
        caveats: vec!["it could also be Azure eastus (3 %)".into()],
        opened_at: onset_at.after(Duration::from_secs(9)),
        attributed_at: Some(onset_at.after(Duration::from_secs(12))),
        resolved_at: None,
        engine: 1,
    }
}

/// The revision before: suspected, nobody accused.
pub(super) fn suspicion(n: u32) -> Change {
    let accused = change(n);
    Change {
        at: accused.opened_at,
        revision: 1,
        state: State::Suspected,
        verdict: Verdict::Undetermined,
        element: String::new(),
        element_kind: None,
        confidence: 0.0,
        headline: "Something is failing, the evidence cannot yet say who.".into(),
        undetermined_reason: "insufficient data: 4 of 9 nats".into(),
        suspects: vec![Suspect { element: "azure/front-door".into(), probability: 0.62 }],
        attributed_at: None,
        ..accused
    }
}
