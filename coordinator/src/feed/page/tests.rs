//! What every page must say, and what it must never say.

use faultline_attribution::{
    Alibi, Cause, CellChange, CellState, ElementKind, EvidenceRow, IncidentId, Kind, Layer, Probabilities, State,
    Suspect, Verdict, Visibility, change::RecordType,
};

use super::*;
use crate::{
    feed::Published,
    log::{Cursor, Entry},
};

pub(super) const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

#[test]
fn the_banner_names_the_culprit_and_clears_the_other_cloud() {
    let board = board(sight(), vec![Published::Incident(Box::new(front_door()))]);
    let html = rendered(&board);
    assert!(html.contains("Azure Front Door is failing: connections time out from 16 of 16 vantage groups."), "{html}");
    assert!(html.contains("AWS is not affected."), "{html}");
    assert!(html.contains("AWS: 121 of 121 checks passed from the same 16 vantage groups (connect)"), "{html}");
    assert!(html.contains(r#"<span title="96.2 nats">decisive</span>"#), "{html}");
    assert!(html.contains("Confidence <b>0.981 HIGH</b>"), "{html}");
    assert!(html.contains("15:41:04Z</time> ± 20 s") && html.contains("(2 min)"), "{html}");
    assert!(html.contains("<title>✕ Azure Front Door · Faultline</title>"), "{html}");
}

#[test]
fn a_cloud_without_an_alibi_is_said_not_to_be_cleared() {
    let board = board(sight(), vec![Published::Incident(Box::new(Change { alibis: Vec::new(), ..front_door() }))]);
    let html = rendered(&board);
    assert!(html.contains("AWS: not accused; too few checks since the onset to clear it"), "{html}");
    assert!(!html.contains("Azure: not accused"), "{html}");
}

#[test]
fn an_alibi_says_how_strong_it_is_where_that_is_known() {
    let with = |nats: f64| {
        let alibis = front_door().alibis.into_iter().map(|alibi| Alibi { nats, ..alibi }).collect();
        rendered(&board(sight(), vec![Published::Incident(Box::new(Change { alibis, ..front_door() }))]))
    };
    assert!(with(7.0).contains(r#"(connect), <span title="7.0 nats">strong</span>"#));
    assert!(with(1.0).contains(r#"(connect), <span title="1.0 nats">weak</span>"#));
    assert!(with(0.0).contains("(connect)</li>"), "an earlier release did not say");
}

#[test]
fn other_groups_clear_the_clouds_when_the_fault_is_the_vantages_own() {
    let isp = Change {
        verdict: Verdict::Neither,
        kind: Some(Kind::VantageIsp),
        element: "isp/rogers-ca".into(),
        element_kind: Some(ElementKind::Isp),
        ..front_door()
    };
    let html = rendered(&board(sight(), vec![Published::Incident(Box::new(isp))]));
    assert!(html.contains("passed from the other 16 vantage groups"), "{html}");
    assert!(html.contains("<title>◆ the access network rogers-ca · Faultline</title>"), "{html}");
}

#[test]
fn while_suspected_nobody_is_named_in_title_or_banner() {
    let suspicion = Change {
        state: State::Suspected,
        verdict: Verdict::Undetermined,
        element: String::new(),
        element_kind: None,
        headline: "Something is failing, the evidence cannot yet say who.".into(),
        undetermined_reason: "insufficient data: 4 of 9 nats".into(),
        suspects: vec![Suspect { element: "azure/front-door".into(), probability: 0.62 }],
        ..front_door()
    };
    let html = rendered(&board(sight(), vec![Published::Incident(Box::new(suspicion))]));
    assert!(html.contains("<title>▲ possible problem · Faultline</title>"), "{html}");
    assert!(html.contains("Nobody is accused yet: insufficient data"), "{html}");
    let banner = html.split("<section id=\"sight\"").next().expect("banner");
    assert!(!banner.contains("front-door"), "{banner}");
    assert!(html.contains("<code>azure/front-door</code> 62 %"), "candidates stand with the evidence: {html}");
}

#[test]
fn a_quiet_page_never_says_operational() {
    let html = rendered(&board(sight(), vec![cell("aws", "us-east-1", CellState::Ok)]));
    assert!(html.contains("No failure attributed to AWS or Azure."), "{html}");
    assert!(!html.to_lowercase().contains("operational"), "{html}");
    assert!(html.contains("<td class=\"ok\">"), "{html}");
}

#[test]
fn a_blind_page_says_so_and_draws_nothing_ok() {
    let blind =
        Visibility { below_quorum: true, reason: "every control fails from the only vantage".into(), ..sight() };
    let html = rendered(&board(blind, vec![cell("aws", "us-east-1", CellState::Ok)]));
    assert!(html.contains("We cannot see: every control fails from the only vantage"), "{html}");
    assert!(!html.contains("<td class=\"ok\"") && !html.contains("No failure attributed"), "{html}");
    assert!(html.contains("<td class=\"no-data\">"), "{html}");
    assert!(html.contains("<title>░ cannot see · Faultline</title>"), "{html}");
}

#[test]
fn a_picture_that_has_stopped_is_blind() {
    let old = Visibility { evaluated_through: NOW.before(Duration::from_mins(5)), ..sight() };
    let html = rendered(&board(old, Vec::new()));
    assert!(html.contains("We cannot see: nothing was evaluated since 15:39:00Z"), "{html}");
}

#[test]
fn the_worst_rows_come_first_and_healthy_ones_are_folded() {
    let cells = vec![
        cell("azure", "eastus", CellState::Degraded),
        cell("azure", "front-door", CellState::Failing),
        cell("azure", "westeurope", CellState::Ok),
        cell("azure", "brazilsouth", CellState::NoData),
    ];
    let html = rendered(&board(sight(), cells));
    let place = |what: &str| html.find(what).unwrap_or_else(|| panic!("no {what}: {html}"));
    let in_order =
        ["azure/front-door", "azure/eastus", "azure/brazilsouth", "+ 1 region or service ok", "azure/westeurope"];
    assert!(in_order.map(place).is_sorted(), "{html}");
}

#[test]
fn hostile_text_is_escaped() {
    let evil = "<script>alert(1)</script>\"'&";
    let change = Change {
        headline: evil.into(),
        caveats: vec![evil.into()],
        evidence: vec![EvidenceRow { group: evil.into(), target: evil.into(), ..front_door().evidence[0].clone() }],
        ..front_door()
    };
    let sight = Visibility { below_quorum: true, reason: evil.into(), ..sight() };
    let board = board(sight, vec![Published::Incident(Box::new(change)), cell("aws", evil, CellState::Failing)]);
    let view = View { board: &board, agents: &[], now: NOW };
    let revisions = board.revisions(&front_door().incident).expect("it is there");
    for html in [front(&view), incident(&view, revisions), missing(&view, evil)].map(maud::PreEscaped::into_string) {
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
    }
}

#[test]
fn the_page_of_an_incident_has_evidence_doubts_and_history() {
    let first = Change { revision: 1, state: State::Suspected, verdict: Verdict::Undetermined, ..front_door() };
    let board = board(sight(), [first, front_door()].map(|change| Published::Incident(Box::new(change))).into());
    let revisions = board.revisions(&front_door().incident).expect("it is there");
    let html = incident(&View { board: &board, agents: &[], now: NOW }, revisions).into_string();
    for what in
        ["connect_timeout", "8 of 8", "it could also be Azure eastus (3 %)", "0.981", "suspected", "&quot;type&quot;"]
    {
        assert!(html.contains(what), "no {what}: {html}");
    }
}

pub(super) fn rendered(board: &Board) -> String {
    front(&View { board, agents: &[], now: NOW }).into_string()
}

pub(super) fn board(visibility: Visibility, published: Vec<Published>) -> Board {
    let mut board = Board::new("feed".into());
    for (published, sequence) in published.into_iter().zip(1..) {
        board.apply(&Entry { sequence, tick: Cursor::START, published_at: NOW, published });
    }
    board.visibility = visibility;
    board
}

pub(super) fn sight() -> Visibility {
    Visibility {
        evaluated_through: NOW.before(Duration::from_secs(1)),
        live_groups: 16,
        total_groups: 16,
        live_groups_outside_clouds: 9,
        live_networks: 12,
        below_quorum: false,
        reason: String::new(),
    }
}

fn cell(provider: &str, region: &str, state: CellState) -> Published {
    let (provider, region) = (provider.to_owned(), region.to_owned());
    Published::Cell(CellChange {
        provider,
        region,
        layer: Layer::Connect,
        state,
        failing_groups: 7,
        total_groups: 16,
        changed_at: NOW,
    })
}

pub(super) fn front_door() -> Change {
    let onset = Timestamp::from_micros(1_761_752_464_000_000);
    Change {
        r#type: RecordType::Incident,
        at: NOW,
        incident: IncidentId::from("inc-20251029T154113Z-1".to_owned()),
        revision: 2,
        state: State::Attributed,
        verdict: Verdict::Azure,
        kind: None,
        element: "azure/front-door".into(),
        element_kind: Some(ElementKind::Cdn),
        confidence: 0.981,
        probabilities: Probabilities { aws: 0.001, azure: 0.981, neither: 0.012, none: 0.006 },
        onset_at: onset,
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
        opened_at: onset.after(Duration::from_secs(9)),
        attributed_at: Some(onset.after(Duration::from_secs(12))),
        resolved_at: None,
        engine: 1,
    }
}
