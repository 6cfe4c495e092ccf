//! The timeline and the map.

use super::*;

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
