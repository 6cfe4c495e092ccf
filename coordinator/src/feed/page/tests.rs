//! What every page must say, and what it must never say.

mod drawings;
mod parts;

use faultline_attribution::{
    Alibi, CellChange, CellState, Change, ElementKind, EvidenceRow, IncidentId, Kind, Layer, SessionState, State,
    Suspect, Vantage, Verdict, Visibility,
};

use super::*;
pub(super) use crate::feed::examples::{NOW, front_door};
use crate::{
    feed::Published,
    ingest,
    log::{Cursor, Entry},
    observe::lost::Lost,
};

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
fn a_page_has_one_main_heading_and_an_icon_for_when_news_stop() {
    let html = rendered(&board(sight(), Vec::new()));
    assert_eq!(html.matches("<h1").count(), 1, "{html}");
    assert!(html.contains(&format!(r#"data-stale="{}""#, icon_url(Mark::Blind))), "{html}");
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
fn of_two_that_fail_at_once_both_are_said_to_be_measured() {
    let other = Change {
        incident: "inc-20251029T160000Z-1".to_owned().into(),
        verdict: Verdict::Aws,
        element: "aws/eu-west-1".into(),
        element_kind: Some(ElementKind::Region),
        ..front_door()
    };
    let both = [front_door(), other].map(|change| Published::Incident(Box::new(change)));
    let html = rendered(&board(sight(), both.into()));
    let lanes = section(&html, "claims");
    assert!(lanes.contains("Azure Front Door since") && lanes.contains("AWS eu-west-1 since"), "{lanes}");
}

#[test]
fn a_group_of_the_evidence_at_its_height_speaks_in_the_incident() {
    let wide = front_door();
    let row = EvidenceRow { group: "yul-1".into(), ..wide.evidence[0].clone() };
    let left = Change { revision: 3, failing_groups: 4, evidence: vec![row], ..wide.clone() };
    let board = board(sight(), [wide, left].map(|change| Published::Incident(Box::new(change))).into());
    for group in ["mad-1", "yul-1"] {
        let html = vantage(&view(&board, &[], &Asked::default()), group).expect("a page").into_string();
        assert!(section(&html, "vantage-incidents").contains("Azure Front Door"), "{group}: {html}");
    }
    assert!(vantage(&view(&board, &[], &Asked::default()), "nowhere").is_none());
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
    let nothing = Asked::default();
    let view = view(&board, &[], &nothing);
    let revisions: Vec<Change> =
        board.revisions(&front_door().incident).expect("it is there").iter().cloned().collect();
    let asked = Asked::of("mine=%3Cscript%3E%22,x");
    let asking = View { asked: &asked, ..view };
    for html in [front(&view), front(&asking), incident(&view, &told(&revisions)), missing(&view, evil)]
        .map(maud::PreEscaped::into_string)
    {
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
    }
}

#[test]
fn the_page_of_an_incident_has_evidence_doubts_and_history() {
    let first = Change { revision: 1, state: State::Suspected, verdict: Verdict::Undetermined, ..front_door() };
    let board = board(sight(), [first, front_door()].map(|change| Published::Incident(Box::new(change))).into());
    let revisions: Vec<Change> =
        board.revisions(&front_door().incident).expect("it is there").iter().cloned().collect();
    let html = incident(&view(&board, &[], &Asked::default()), &told(&revisions)).into_string();
    for what in
        ["connect_timeout", "8 of 8", "it could also be Azure eastus (3 %)", "0.981", "suspected", "&quot;type&quot;"]
    {
        assert!(html.contains(what), "no {what}: {html}");
    }
}

#[test]
fn a_retracted_verdict_stands_in_a_box_of_its_own_and_clears_nobody() {
    let headline = "We were wrong: Azure Front Door did not fail; it is the CDN fastly.".to_owned();
    let retracted = Change { revision: 3, state: State::Retracted, resolved_at: Some(NOW), headline, ..front_door() };
    let html = page_of(&[front_door(), retracted], Order::default());
    let retraction =
        html.split("id=\"retraction\"").nth(1).expect("a box").split("</section>").next().expect("its end");
    assert!(retraction.contains("We were wrong") && retraction.contains("Azure Front Door is failing"), "{retraction}");
    let verdict = html.split("id=\"verdict\"").nth(1).expect("a verdict").split("</section>").next().expect("its end");
    assert!(!verdict.contains("checks passed"), "{verdict}");
    assert!(!page_of(&[front_door()], Order::default()).contains("id=\"retraction\""));
}

#[test]
fn evidence_sorts_by_the_column_that_is_asked_for() {
    let row = |group: &str, target: &str, weight| EvidenceRow {
        group: group.into(),
        target: target.into(),
        weight,
        ..front_door().evidence[0].clone()
    };
    let evidence = vec![row("a-1", "z-target", 3.0), row("c-3", "x-target", 9.0), row("b-2", "y-target", 1.0)];
    let change = Change { evidence, ..front_door() };
    for (order, groups) in [
        (Order::Weight, ["c-3", "a-1", "b-2"]),
        (Order::Group, ["a-1", "b-2", "c-3"]),
        (Order::Target, ["c-3", "b-2", "a-1"]),
        (Order::of("nonsense"), ["c-3", "a-1", "b-2"]),
    ] {
        let html = page_of(std::slice::from_ref(&change), order);
        let table = html.split("<table class=\"cards evidence\">").nth(1).expect("the table");
        let places = groups.map(|group| table.find(group).unwrap_or_else(|| panic!("no {group}: {table}")));
        assert!(places.is_sorted(), "{order:?}: {table}");
        assert_eq!(table.matches("aria-sort").count(), 1, "{table}");
    }
}

#[test]
fn the_page_tells_the_height_of_an_incident_that_is_over_and_no_more_revisions_than_one_reads() {
    let late = (3..300).map(|revision| Change {
        revision,
        state: State::Recovering,
        failing_groups: 1,
        evidence: Vec::new(),
        alibis: Vec::new(),
        ..front_door()
    });
    let revisions: Vec<Change> = std::iter::once(front_door()).chain(late).collect();
    let html = page_of(&revisions, Order::default());
    assert!(
        html.contains("As published in revision 2, at the height of it.") && html.contains("connect_timeout"),
        "{html}"
    );
    assert!(html.contains("16 of 16 vantage groups;") && html.contains("121 of 121"), "{html}");
    assert!(html.contains("198 earlier revisions: "), "{html}");
}

fn page_of(revisions: &[Change], order: Order) -> String {
    let board = board(sight(), revisions.iter().cloned().map(|change| Published::Incident(Box::new(change))).collect());
    let asked = Asked::default();
    incident(&view(&board, &[], &asked), &Told { order, ..told(revisions) }).into_string()
}

fn told(revisions: &[Change]) -> Told<'_> {
    Told { revisions, past: None, order: Order::default() }
}

pub(super) fn rendered(board: &Board) -> String {
    front(&view(board, &[], &Asked::default())).into_string()
}

fn seat(agent: &str, vantage: Vantage) -> AgentView {
    AgentView {
        agent: agent.into(),
        vantage: Some(vantage),
        state: SessionState::Up,
        heard_at: NOW,
        told: ingest::Told::default(),
        lost: Lost::default(),
        standing: crate::registry::standing::Standing::active(NOW),
    }
}

fn view<'a>(board: &'a Board, agents: &'a [AgentView], asked: &'a Asked) -> View<'a> {
    View { board, agents, now: NOW, asked, official_lead: None, copied: None }
}

/// A section of a page, by its id.
fn section<'a>(html: &'a str, id: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {html}"));
    rest.split_once("</section>").map_or(rest, |(section, _)| section)
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
