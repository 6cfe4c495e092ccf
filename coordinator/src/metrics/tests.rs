//! What the metrics must say, and what they must never say.

use std::time::Duration;

use faultline_attribution::{AgentId, CellChange, Visibility};
use faultline_proto::types::v1::Reason as ToldReason;

use super::*;
use crate::{
    feed::Published,
    log::{Cursor, Entry},
};

const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

#[test]
fn the_picture_is_told_in_numbers() {
    let text = text(&board(false), &[]);
    for line in [
        "faultline_standing 0",
        "faultline_below_quorum 0",
        "faultline_evaluated_through_age_seconds 2",
        "faultline_evaluated_through_timestamp_seconds 1761752638",
        "faultline_live_groups 16",
        "faultline_live_groups_outside_clouds 9",
        r#"faultline_cell_state{layer="dns",provider="aws",region="us-east-1"} 0"#,
        r#"faultline_cell_state{layer="dns",provider="azure",region="front-door"} 2"#,
        r#"faultline_incident_open{band="high",verdict="azure"} 0"#,
        "faultline_log_full 0",
        "faultline_log_bytes 4096",
        "faultline_results_taken_total 40",
        r#"faultline_looks_total{fate="asked"} 3"#,
        r#"faultline_agents{session="silent"} 0"#,
        "# TYPE faultline_results_taken_total counter",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}: {text}");
    }
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
}

#[test]
fn what_is_ok_while_we_cannot_see_is_no_data() {
    let blind = text(&board(true), &[]);
    assert!(blind.contains(r#"faultline_cell_state{layer="dns",provider="aws",region="us-east-1"} -1"#), "{blind}");
    assert!(blind.contains(r#"faultline_cell_state{layer="dns",provider="azure",region="front-door"} 2"#), "{blind}");
    assert!(blind.contains("faultline_standing 3") && blind.contains("faultline_below_quorum 1"), "{blind}");
    let mut stopped = board(false);
    stopped.visibility.evaluated_through = NOW.before(Duration::from_mins(5));
    assert!(text(&stopped, &[]).contains("faultline_standing 3"));
    let mut full = board(false);
    full.full_since = Some(NOW);
    let full = text(&full, &[]);
    assert!(full.contains("faultline_log_full 1") && full.contains("faultline_below_quorum 1"), "{full}");
}

#[test]
fn agents_are_counted_and_never_named() {
    let agents = ["fra-1", "mad-1"].map(|name| {
        let mut agent = AgentView {
            agent: AgentId::from(name),
            vantage: None,
            state: SessionState::Up,
            heard_at: NOW,
            told: crate::ingest::Told::default(),
            lost: crate::observe::lost::Lost::default(),
            standing: standing::Standing::new(standing::State::Quarantined, NOW, "a clone of fra-1"),
        };
        agent.told.impairments = vec![ToldReason::UdpBlocked];
        agent.lost.results.insert(LostTo::FullSpool, 21);
        agent
    });
    let text = text(&board(false), &agents);
    for line in [
        r#"faultline_agents{session="up"} 2"#,
        r#"faultline_agents_put_aside{standing="quarantined"} 2"#,
        r#"faultline_agents_put_aside{standing="revoked"} 0"#,
        r#"faultline_agents_impaired{reason="udp_blocked"} 2"#,
        r#"faultline_agents_impaired{reason="overloaded"} 0"#,
        r#"faultline_results_lost{reason="spool_full"} 42"#,
    ] {
        assert!(text.contains(line), "no {line}: {text}");
    }
    assert!(!text.contains("fra-1") && !text.contains("mad-1"), "{text}");
}

#[test]
fn labels_are_escaped_and_cells_are_bounded() {
    let mut board = board(false);
    board.apply(&entry(3, "x\"} 1\nevil 1", CellState::Ok));
    let hostile = text(&board, &[]);
    assert!(hostile.contains(r#"region="x\"} 1\nevil 1""#) && !hostile.contains("\nevil"), "{hostile}");
    for n in 0..u64::try_from(CELLS).expect("small") + 10 {
        board.apply(&entry(4 + n, &format!("r{n}"), CellState::Ok));
    }
    assert_eq!(text(&board, &[]).matches("faultline_cell_state{").count(), CELLS);
}

#[test]
fn bands_are_those_of_the_page() {
    assert_eq!([1.0, 0.95, 0.949, 0.8, 0.79, 0.0].map(band), ["high", "high", "medium", "medium", "low", "low"]);
}

fn text(board: &Board, agents: &[AgentView]) -> String {
    let seen = Seen {
        board,
        now: NOW,
        agents,
        sessions_open: agents.len(),
        taken: TakenCounts { batches: 4, results: 40, ..TakenCounts::default() },
        looks: LookCounts { asked: 3, ..LookCounts::default() },
        readers: 1,
        log_bytes: 4096,
        log_limit_bytes: 10 << 30,
    };
    seen.text().expect("text")
}

fn board(below_quorum: bool) -> Board {
    let mut board = Board::new("feed".into());
    board.apply(&entry(1, "us-east-1", CellState::Ok));
    board.apply(&entry(2, "front-door", CellState::Failing));
    board.visibility = Visibility {
        evaluated_through: NOW.before(Duration::from_secs(2)),
        live_groups: 16,
        total_groups: 17,
        live_groups_outside_clouds: 9,
        live_networks: 12,
        below_quorum,
        reason: String::new(),
    };
    board
}

fn entry(sequence: u64, region: &str, state: CellState) -> Entry {
    let provider = if region == "front-door" { "azure" } else { "aws" };
    let cell = CellChange {
        provider: provider.into(),
        region: region.into(),
        layer: Layer::Dns,
        state,
        failing_groups: 0,
        total_groups: 16,
        changed_at: NOW,
    };
    Entry { sequence, tick: Cursor::START, published_at: NOW, published: Published::Cell(cell) }
}
