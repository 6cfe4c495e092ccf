//! What a reader asks, the scorecard, copies, and how much all of it weighs.

use super::*;

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
    let regions = include_str!("../map/regions.txt").lines().filter_map(|line| line.split(' ').next()?.split_once('/'));
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
    let parts = [html.len(), STYLE.len(), include_str!("../../app.js").len()];
    assert!(parts.iter().sum::<usize>() <= 60_000, "HTML, CSS, script: {parts:?}");
}
