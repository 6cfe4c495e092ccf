//! Boards for the tests of formats.

use std::time::Duration;

use faultline_attribution::{CellChange, CellState, Change, IncidentId, Layer, State, Suspect, Verdict, Visibility};

pub(super) use crate::feed::examples::NOW;
use crate::{
    board::Board,
    feed::{
        Published,
        examples::{ONSET, front_door},
    },
    log::{Cursor, Entry},
};

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
    let later = Duration::from_secs(u64::from(n));
    let first = front_door();
    Change {
        incident: IncidentId::new(ONSET.after(later), n),
        onset_at: ONSET.after(later),
        opened_at: first.opened_at.after(later),
        attributed_at: first.attributed_at.map(|at| at.after(later)),
        ..first
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
