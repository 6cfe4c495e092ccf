//! What every page must say, and what it must never say.

use faultline_attribution::{
    Alibi, Cause, CellChange, CellState, ElementKind, EvidenceRow, IncidentId, Kind, Layer, Probabilities,
    SessionState, State, Suspect, Vantage, Verdict, Visibility, change::RecordType,
};

use super::*;
use crate::{
    feed::Published,
    ingest::Told,
    log::{Cursor, Entry},
    observe::lost::Lost,
};

const NOW: Timestamp = Timestamp::from_micros(1_761_752_640_000_000);

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
fn the_timeline_keeps_what_was_retracted_and_hatches_what_nobody_saw() {
    let wrong = Change {
        state: State::Retracted,
        verdict: Verdict::Undetermined,
        resolved_at: Some(NOW),
        revision: 3,
        ..front_door()
    };
    let changes = [front_door(), wrong].map(|change| Published::Incident(Box::new(change)));
    let html = rendered(&board(sight(), changes.into()));
    let timeline = section(&html, "timeline");
    assert!(timeline.contains("1 incident, 1 of them retracted; this feed began at <time"), "{timeline}");
    assert!(timeline.contains(r#"<rect class="bar retracted""#) && timeline.contains("class=\"strike\""), "{timeline}");
    assert!(
        timeline.contains("<td data-label=\"Whose\">Azure</td>"),
        "its lane is that of the last accused: {timeline}"
    );
    assert!(timeline.contains("<s>") && timeline.contains("fill=\"url(#unseen-hatch)\""), "{timeline}");
    assert!(!timeline.contains("style="), "the policy forbids it: {timeline}");
}

#[test]
fn a_spell_without_sight_is_hatched_and_told() {
    let mut board = board(sight(), Vec::new());
    for (minutes, below_quorum) in [(6000, false), (90, true), (60, false)] {
        let published_at = NOW.before(Duration::from_mins(minutes));
        let published = Published::Visibility(Visibility { below_quorum, ..sight() });
        board.apply(&Entry { sequence: board.sequence + 1, tick: Cursor::START, published_at, published });
    }
    let html = rendered(&board);
    let timeline = section(&html, "timeline");
    assert!(timeline.contains("No incident; nobody could see for 30 min."), "{timeline}");
    assert_eq!(timeline.matches("fill=\"url(#unseen-hatch)\" x=\"93.75%\"").count(), 3, "a lane each: {timeline}");
}

#[test]
fn the_timeline_shows_the_span_that_is_asked_and_nothing_older() {
    let old = Change {
        state: State::Resolved,
        onset_at: NOW.before(Duration::from_hours(80)),
        resolved_at: Some(NOW.before(Duration::from_hours(79))),
        ..front_door()
    };
    let board = board(sight(), vec![Published::Incident(Box::new(old))]);
    let of = |query: &str| {
        let asked = Asked::of(query);
        front(&view(&board, &[], &asked)).into_string()
    };
    assert!(section(&of(""), "timeline").contains("No incident"), "80 hours are no day");
    let week = section(&of("span=7d"), "timeline").to_owned();
    assert!(week.contains("1 incident;") && week.contains("10-26"), "{week}");
    assert!(week.contains(r#"<a href="/?span=7d" aria-current="true">"#), "{week}");
}

#[test]
fn what_a_reader_uses_is_answered_shown_and_marked() {
    let cells = vec![
        cell("azure", "front-door", CellState::Failing),
        cell("azure", "westeurope", CellState::Ok),
        cell("aws", "us-east-1", CellState::Ok),
    ];
    let published = cells.into_iter().chain([Published::Incident(Box::new(front_door()))]).collect();
    let board = board(sight(), published);
    let of = |mine: &str| {
        let asked = Asked::of(&format!("mine={mine}"));
        front(&view(&board, &[], &asked)).into_string()
    };
    let html = of("aws/us-east-1,azure/front-door,azure/nowhere");
    let mine = section(&html, "mine");
    assert!(mine.contains("<b>Yes, as far as we see: azure/front-door.</b>"), "{mine}");
    assert!(mine.contains("<code>azure/nowhere</code>: not known here"), "{mine}");
    assert!(mine.contains("<code>aws/us-east-1</code>: no failure is seen there"), "{mine}");
    assert!(section(&html, "verdict").contains("touches yours"), "{html}");
    let (shown, folded) = section(&html, "matrix").split_once("<details id=\"others-azure\"").expect("a fold");
    assert!(shown.contains("aws/us-east-1") && shown.contains("azure/front-door") && !shown.contains("westeurope"));
    assert!(folded.contains("+ 1 region or service, 1 ok") && folded.contains("azure/westeurope"), "{folded}");
    let html = of("aws/us-east-1");
    assert!(section(&html, "mine").contains("Not as far as we see"), "{html}");
    assert!(!html.contains("touches yours"), "{html}");
}

#[test]
fn a_blind_page_tells_nobody_that_all_is_well() {
    let blind = Visibility { below_quorum: true, reason: "too few".into(), ..sight() };
    let board = board(blind, vec![cell("aws", "us-east-1", CellState::Ok)]);
    let asked = Asked::of("mine=aws");
    let html = front(&view(&board, &[], &asked)).into_string();
    assert!(section(&html, "mine").contains("We cannot say"), "{html}");
}

#[test]
fn names_are_bounded_and_what_lies_beyond_is_said() {
    let many: Vec<String> = (0..1000).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    let board = board(sight(), Vec::new());
    let asked = Asked::of(&format!("mine={}", many.join(",")));
    let html = front(&view(&board, &[], &asked)).into_string();
    assert!(html.contains("The first 20 names are looked at, 980 more are not."), "{html}");
    assert!(section(&html, "mine").len() < 20_000);
}

#[test]
fn the_map_marks_each_place_by_its_worst_region_and_counts_what_has_none() {
    let cells = vec![
        cell("aws", "ap-east-1", CellState::Ok),
        cell("azure", "eastasia", CellState::Failing),
        cell("azure", "front-door", CellState::Ok),
    ];
    let html = rendered(&board(sight(), cells));
    let map = section(&html, "map");
    assert_eq!(map.matches("<text").count(), 1, "one place, one mark: {map}");
    assert!(map.contains("✕<title>AWS ap-east-1: ok; Azure eastasia: failing</title>"), "{map}");
    assert!(map.contains("Not on the map: 1 row without a place of its own."), "{map}");
    assert!(map.contains("failing: Azure eastasia</li>") && map.contains("ok: 2 rows"), "{map}");
}

#[test]
fn the_map_shows_a_vantage_where_its_cloud_or_country_is() {
    let within = |cloud: &str, region: &str| Vantage {
        hosted_on: Some(cloud.into()),
        region: Some(region.into()),
        country: Some("us".into()),
        ..Vantage::default()
    };
    let at_home = Vantage { country: Some("de".into()), ..Vantage::default() };
    let silent = AgentView { state: SessionState::Silent, ..seat("c", at_home.clone()) };
    let agents = [seat("a", within("aws", "us-east-1")), seat("b", at_home), silent, seat("d", Vantage::default())];
    let board = board(sight(), Vec::new());
    let html = front(&view(&board, &agents, &Asked::default())).into_string();
    let map = section(&html, "map");
    assert!(map.contains("1 vantage in aws/us-east-1") && map.contains("2 vantages in DE, 1 of them heard"), "{map}");
    assert!(map.contains("1 vantage of unknown country"), "{map}");
}

#[test]
fn the_scorecard_counts_what_was_taken_back_and_shows_no_figure_that_is_not_known() {
    let wrong = Change {
        incident: IncidentId::from("inc-2".to_owned()),
        state: State::Retracted,
        verdict: Verdict::Aws,
        ..front_door()
    };
    let old = Change {
        incident: IncidentId::from("inc-1".to_owned()),
        opened_at: NOW.before(Duration::from_hours(91 * 24)),
        ..front_door()
    };
    let changes = [front_door(), wrong, old].map(|change| Published::Incident(Box::new(change)));
    let (board, asked) = (board(sight(), changes.into()), Asked::default());
    let view = view(&board, &[], &asked);
    let front_page = front(&view).into_string();
    assert!(front_page.contains("Last 90 days: 2 verdicts, 1 retracted. <a href=\"/scorecard\">"), "{front_page}");
    let html = scorecard(&view).into_string();
    let row = "<th scope=\"row\">AWS</th><td data-label=\"Verdicts\">1</td><td data-label=\"Retracted\">1</td>";
    assert!(html.contains(row), "{html}");
    assert!(section(&html, "scorecard").contains("12 s"), "from the onset to the verdict: {html}");
    assert!(section(&html, "retracted").contains("/incidents/inc-2"), "{html}");
    assert!(!html.contains("official page"), "{html}");
    let lead = Some(Lead::Before(Duration::from_mins(11)));
    let html = front(&View { official_lead: lead, ..view }).into_string();
    assert!(html.contains("1 retracted, median 11 min before the official page."), "{html}");
}

#[test]
fn a_copy_says_when_it_was_taken_and_never_looks_live() {
    let board =
        board(sight(), vec![Published::Incident(Box::new(front_door())), cell("aws", "us-east-1", CellState::Ok)]);
    let asked = Asked::default();
    let copied = Some(Copied { at: NOW, has_agents: false });
    let files = copied::files(&View { copied, ..view(&board, &[], &asked) }, 10);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["style.css", "incidents/inc-20251029T154113Z-1.html", "scorecard.html", "index.html"]);
    for (name, html) in files.iter().filter(|(name, _)| name != "style.css") {
        assert!(
            html.contains("This is a copy, taken at <time datetime=\"2025-10-29T15:44:00Z\">2025-10-29 15:44:00Z"),
            "{html}"
        );
        assert!(!html.contains("<script") && !html.contains("http-equiv") && !html.contains("<form"), "{name}: {html}");
        assert!(!html.contains("href=\"/") && !html.contains("src="), "{name}: {html}");
    }
    assert!(files[3].1.contains("href=\"incidents/inc-20251029T154113Z-1.html\""), "{}", files[3].1);
    assert!(
        files[1].1.contains("href=\"../style.css\"") && files[1].1.contains("href=\"../index.html\""),
        "{}",
        files[1].1
    );
    assert!(files[3].1.contains("does not name agents"), "{}", files[3].1);
}

#[test]
fn an_incident_whose_id_is_no_file_name_gets_no_file() {
    let evil = Change { incident: IncidentId::from("../../etc/x".to_owned()), ..front_door() };
    let (board, asked) = (board(sight(), vec![Published::Incident(Box::new(evil))]), Asked::default());
    let copied = Some(Copied { at: NOW, has_agents: true });
    let files = copied::files(&View { copied, ..view(&board, &[], &asked) }, 10);
    assert!(files.iter().all(|(name, _)| !name.contains("..")), "{:?}", files.iter().map(|(name, _)| name));
    assert!(!files.iter().any(|(_, html)| html.contains("href=\"incidents/")), "it leads nowhere");
}

#[test]
fn a_page_load_of_fifty_regions_and_thirty_agents_is_60_kb_at_most_before_compression() {
    let regions = include_str!("map/regions.txt").lines().filter_map(|line| line.split(' ').next()?.split_once('/'));
    let cells = regions.take(50).flat_map(|(provider, region)| {
        Layer::ALL.iter().map(move |layer| {
            let Published::Cell(whole) = cell(provider, region, CellState::Ok) else { unreachable!("a cell") };
            Published::Cell(CellChange { layer: *layer, ..whole })
        })
    });
    let ended = |n: u32| Change {
        incident: IncidentId::from(format!("inc-20251029T154113Z-{n}")),
        state: State::Resolved,
        resolved_at: Some(NOW),
        ..front_door()
    };
    let incidents = (0..3).map(|n| Published::Incident(Box::new(ended(n))));
    let board = board(sight(), cells.chain(incidents).collect());
    let agents: Vec<AgentView> = (0..30)
        .map(|n| {
            seat(
                &format!("agent-{n:02}"),
                Vantage {
                    group: format!("group-{n:02}"),
                    asn: Some(64_500 + n),
                    country: Some("de".into()),
                    ..Vantage::default()
                },
            )
        })
        .collect();
    let html = front(&view(&board, &agents, &Asked::default())).into_string();
    let parts = [html.len(), STYLE.len(), include_str!("../app.js").len()];
    assert!(parts.iter().sum::<usize>() <= 60_000, "HTML, CSS, script: {parts:?}");
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
    let revisions = board.revisions(&front_door().incident).expect("it is there");
    let asked = Asked::of("mine=%3Cscript%3E%22,x");
    let asking = View { asked: &asked, ..view };
    for html in [front(&view), front(&asking), incident(&view, revisions), missing(&view, evil)]
        .map(maud::PreEscaped::into_string)
    {
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
    }
}

#[test]
fn the_page_of_an_incident_has_evidence_doubts_and_history() {
    let first = Change { revision: 1, state: State::Suspected, verdict: Verdict::Undetermined, ..front_door() };
    let board = board(sight(), [first, front_door()].map(|change| Published::Incident(Box::new(change))).into());
    let revisions = board.revisions(&front_door().incident).expect("it is there");
    let html = incident(&view(&board, &[], &Asked::default()), revisions).into_string();
    for what in
        ["connect_timeout", "8 of 8", "it could also be Azure eastus (3 %)", "0.981", "suspected", "&quot;type&quot;"]
    {
        assert!(html.contains(what), "no {what}: {html}");
    }
}

fn rendered(board: &Board) -> String {
    front(&view(board, &[], &Asked::default())).into_string()
}

fn seat(agent: &str, vantage: Vantage) -> AgentView {
    AgentView {
        agent: agent.into(),
        vantage: Some(vantage),
        state: SessionState::Up,
        heard_at: NOW,
        told: Told::default(),
        lost: Lost::default(),
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

fn board(visibility: Visibility, published: Vec<Published>) -> Board {
    let mut board = Board::new("feed".into());
    for (published, sequence) in published.into_iter().zip(1..) {
        board.apply(&Entry { sequence, tick: Cursor::START, published_at: NOW, published });
    }
    board.visibility = visibility;
    board
}

fn sight() -> Visibility {
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

fn front_door() -> Change {
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
