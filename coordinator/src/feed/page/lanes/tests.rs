//! What the lanes say, and what they never draw.

use super::*;
use crate::{
    board::Board,
    claims::Crowd,
    feed::{
        Published,
        page::tests::{NOW, board, front_door, rendered, sight},
    },
};

fn onset() -> Timestamp {
    front_door().onset_at
}

fn claim(source: &str, about: &str, stance: Stance, since: Timestamp) -> Claim {
    Claim {
        source: source.into(),
        about: about.into(),
        stance,
        since,
        observed_at: since,
        posted_at: None,
        text: String::new(),
        link: String::new(),
        regions: Vec::new(),
        reason: String::new(),
        crowd: None,
    }
}

fn crowd(about: &str, count: u64, at: Timestamp) -> Claim {
    let stance = if count > 24 { Stance::ReportsProblem } else { Stance::NothingPosted };
    Claim { crowd: Some(Crowd { count, baseline: 8, window_s: Some(900) }), ..claim("crowd", about, stance, at) }
}

fn with(incident: Option<Change>, claims: Vec<Claim>) -> Board {
    let incident = incident.map(|change| Published::Incident(Box::new(change)));
    let claims = claims.into_iter().map(|claim| Published::Claim(Box::new(claim)));
    board(sight(), incident.into_iter().chain(claims).collect())
}

/// The section alone.
fn section(board: &Board) -> String {
    let html = rendered(board);
    let begin = html.find("<section id=\"claims\"").expect("a section");
    let end = html[begin..].find("</section>").expect("an end");
    html[begin..begin + end].to_owned()
}

#[test]
fn the_crowd_may_say_aws_while_azure_is_measured() {
    let html = section(&with(Some(front_door()), vec![crowd("aws", 6025, onset().after(Duration::from_mins(2)))]));
    assert!(html.contains("Crowd says AWS, measured says Azure."), "{html}");
    assert!(html.contains("6025 reports about AWS, 8 are usual in 15 min"), "{html}");
    assert!(html.contains("Crowd said AWS 2 min after our onset."), "{html}");
    assert!(html.contains("<b>Measured</b>: Azure Front Door since"), "{html}");
    let quiet = section(&with(None, vec![crowd("aws", 6025, NOW), crowd("azure", 100, NOW), crowd("zoom", 9, NOW)]));
    assert!(quiet.contains("Crowd says AWS and Azure, measured says that nothing is attributed."), "{quiet}");
}

#[test]
fn a_crowd_of_long_ago_says_nothing_of_the_present() {
    let html = section(&with(None, vec![crowd("aws", 6025, NOW.before(Duration::from_hours(3)))]));
    assert!(!html.contains("says AWS"), "{html}");
    assert!(html.contains("not counted since the coordinator started"), "{html}");
}

#[test]
fn a_word_that_would_stick_out_ends_with_its_lane() {
    for (since, anchor) in [(NOW.before(Duration::from_secs(5)), "end"), (NOW.before(Duration::from_hours(5)), "start")]
    {
        let html = section(&with(None, vec![claim("aws-status", "aws", Stance::Unreachable, since)]));
        assert!(html.contains(&format!("text-anchor=\"{anchor}\">unreachable<")), "{anchor}: {html}");
    }
}

#[test]
fn nothing_posted_is_drawn_as_nothing_and_never_as_ok() {
    let mut board = with(Some(front_door()), vec![claim("aws-status", "aws", Stance::NothingPosted, onset())]);
    board.claims.checked("aws-status", "aws", NOW.before(Duration::from_secs(12)), None);
    let html = section(&board);
    assert!(html.contains("<b>AWS status</b>: nothing posted (checked 12 s ago)."), "{html}");
    assert!(!html.contains("class=\"problem\"") && !html.contains("class=\"unreachable\""), "{html}");
    assert!(!html.contains("class=\"ok\"") && !html.to_lowercase().contains("operational"), "{html}");
}

#[test]
fn a_page_that_posted_late_is_told_by_how_much() {
    let later = onset().after(Duration::from_mins(11));
    let post =
        Claim { text: "We are investigating".into(), ..claim("azure-status", "azure", Stance::ReportsProblem, later) };
    let change = Change { resolved_at: Some(NOW.after(Duration::from_hours(1))), ..front_door() };
    let board = with(Some(change.clone()), vec![claim("azure-status", "azure", Stance::NothingPosted, onset()), post]);
    let html = section(&board);
    assert!(html.contains("Azure status posted 11 min after our onset."), "{html}");
    assert!(html.contains("<q>We are investigating</q>") && html.contains("class=\"problem\""), "{html}");
    let list = beside(&change, &board.claims, NOW).into_string();
    assert!(
        list.contains("Azure status posted 11 min after our onset") && list.contains("after our verdict."),
        "{list}"
    );
}

#[test]
fn a_page_that_says_nothing_or_cannot_be_read_is_told_as_that_beside_an_incident() {
    let silent = with(None, vec![claim("azure-status", "azure", Stance::NothingPosted, onset())]);
    let list = beside(&front_door(), &silent.claims, NOW).into_string();
    assert!(list.contains("Azure status posted nothing about it that we saw."), "{list}");
    let list = beside(&front_door(), &Claims::default(), NOW).into_string();
    assert!(list.contains("Nobody else said anything that we saw."), "{list}");
    let away = Claim { reason: "timed out".into(), ..claim("aws-status", "aws", Stance::Unreachable, onset()) };
    let html = section(&with(Some(front_door()), vec![away]));
    assert!(html.contains("unreachable since") && html.contains("Why: timed out."), "{html}");
    assert!(html.contains("stroke-dasharray"), "{html}");
}

#[test]
fn what_others_wrote_is_escaped_and_no_style_is_inline() {
    let evil = "<script>alert(1)</script>\"'&";
    let post = Claim {
        text: evil.into(),
        reason: evil.into(),
        regions: vec![evil.into()],
        link: "https://x.example/\"><script>".into(),
        ..claim(evil, evil, Stance::ReportsProblem, onset())
    };
    let board = with(Some(front_door()), vec![post, crowd(evil, 99, NOW)]);
    for html in [section(&board), beside(&front_door(), &board.claims, NOW).into_string()] {
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("style="), "{html}");
    }
}

#[test]
fn the_drawing_says_its_onset_and_has_its_words_in_the_list() {
    let post = claim("azure-status", "azure", Stance::ReportsProblem, onset().before(Duration::from_mins(50)));
    let html = section(&with(Some(front_door()), vec![post]));
    let figure = |name: &str, attribute: &str| -> f64 {
        let tag = html.split(&format!("class=\"{name}\"")).nth(1).unwrap_or_else(|| panic!("no {name}: {html}"));
        let value = tag.split(&format!(" {attribute}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {attribute} of {name}: {html}"))
    };
    assert!(figure("problem", "x") < figure("onset", "x1"), "they posted before our onset: {html}");
    assert!(figure("error", "x") <= figure("onset", "x1") && figure("measured", "x") >= figure("error", "x"), "{html}");
    assert!(html.contains("role=\"img\"") && html.contains("Azure status posted 50 min before our onset"), "{html}");
}
