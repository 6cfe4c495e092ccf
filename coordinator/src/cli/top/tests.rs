//! Frames of `faultline top` from states made by hand: no terminal, no coordinator.

use std::time::Duration;

use faultline_proto::{
    convert,
    feed::v1::{Bookmark, FeedEvent, Snapshot, feed_event::Change},
    types::v1::{Cell, CellState, Incident, IncidentState, Layer, Verdict, Visibility},
};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    BOOKMARKS, draw,
    state::{Flow, Key, MOST, Open, State},
};
use crate::cli::{follow::News, samples};

/// 2025-10-29T15:43:00Z.
const NOW: i64 = 1_761_752_580_000_000;

fn frame(state: &State, now: Duration, (columns, rows): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a screen");
    terminal.draw(|frame| draw(frame, state, now, true)).expect("drawn");
    let buffer = terminal.backend().buffer();
    (0..rows).map(|y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>()).collect()
}

fn text(state: &State) -> String {
    frame(state, Duration::ZERO, (80, 24)).join("\n")
}

fn cell(element: &str, layer: Layer, state: CellState) -> Cell {
    let (provider, region) = element.split_once('/').expect("a name");
    let mut cell = Cell { provider: provider.into(), region: region.into(), total_groups: 44, ..Cell::default() };
    cell.failing_groups = if state == CellState::Failing { 41 } else { 0 };
    cell.set_state(state);
    cell.set_layer(layer);
    cell
}

fn snapshot(incidents: Vec<Incident>) -> Snapshot {
    let layers = [Layer::Dns, Layer::Connect, Layer::Tls, Layer::Http];
    let mut cells: Vec<Cell> =
        (0..30).flat_map(|n| layers.map(|layer| cell(&format!("aws/region-{n}"), layer, CellState::Ok))).collect();
    cells.push(cell("azure/front-door", Layer::Dns, CellState::Ok));
    cells.push(cell("azure/front-door", Layer::Connect, CellState::Failing));
    cells.push(cell("azure/eastus", Layer::Http, CellState::Degraded));
    cells.push(cell("azure/qatar", Layer::Http, CellState::NoData));
    Snapshot {
        feed_id: "f00d".into(),
        incidents,
        cells,
        visibility: Some(Visibility {
            live_groups: 44,
            total_groups: 44,
            live_groups_outside_clouds: 20,
            live_networks: 31,
            evaluated_through: Some(convert::timestamp(NOW)),
            ..Visibility::default()
        }),
        ..Snapshot::default()
    }
}

fn state(incidents: Vec<Incident>) -> State {
    let mut state = State::new("http://127.0.0.1:7444", BOOKMARKS);
    state.take(News::Snapshot(snapshot(incidents)), Duration::ZERO);
    state
}

fn event(change: Change) -> News {
    News::Event(Box::new(FeedEvent { published_at: Some(convert::timestamp(NOW)), change: Some(change) }), 1)
}

#[test]
fn everything_is_on_a_screen_of_80_by_24() {
    let text = text(&state(vec![samples::incident()]));
    for wanted in [
        "faultline top  http://127.0.0.1:7444",
        "15:43:00Z  ● live",
        "✕ ATTRIBUTED  Azure Front Door is failing for 41 of 44 vantage groups",
        "verdict azure, confidence 0.98, since 2025-10-29 15:41:04Z",
        "can we see? 44 of 44 vantage groups live, 20 outside both clouds, 31 networks",
        "› INCIDENTS (1)",
        "› ✕ attributed azure        10-29 15:41  Azure Front Door",
        "WHAT WORKS WHERE (33)",
        "azure/front-door     ● ok        ✕ failing   –           –           41/44",
        "more, no worse: Tab, then ↓",
        "q leave",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    let place = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name} in\n{text}"));
    assert!(place("azure/front-door ") < place("azure/eastus"), "the worst first\n{text}");
    assert!(place("azure/eastus") < place("azure/qatar") && place("azure/qatar") < place("aws/region-0"), "{text}");
}

#[test]
fn a_change_reaches_the_next_frame() {
    let mut state = state(Vec::new());
    assert!(text(&state).contains("● NOTHING ATTRIBUTED") && text(&state).contains("none in the last day"));
    state.take(event(Change::Incident(samples::incident())), Duration::ZERO);
    assert!(text(&state).contains("✕ ATTRIBUTED"));
    let older = Incident { revision: 1, headline: "older".into(), ..samples::incident() };
    state.take(event(Change::Incident(older)), Duration::ZERO);
    assert!(!text(&state).contains("older"), "a revision is never replaced by an earlier one");
    state.take(event(Change::Cell(cell("aws/region-7", Layer::Tls, CellState::Failing))), Duration::ZERO);
    let text = text(&state);
    assert!(text.contains("aws/region-7         ● ok        ● ok        ✕ failing   ● ok        41/44"), "{text}");
}

#[test]
fn a_stream_that_stopped_is_stale_and_nothing_in_it_is_ok() {
    let mut state = state(vec![samples::incident()]);
    let late = 3 * BOOKMARKS + Duration::from_secs(1);
    let before = frame(&state, 3 * BOOKMARKS, (80, 24)).join("\n");
    assert!(before.contains("● live") && before.contains("● ok"), "{before}");
    state.take(News::Trouble { why: "no coordinator".into(), again_in: Duration::ZERO }, late);
    let after = frame(&state, late, (80, 24)).join("\n");
    assert!(after.contains("✕ STALE: no word from the coordinator for 16 s"), "{after}");
    assert!(after.contains("what stands here is of 15:43:00Z. no coordinator"), "{after}");
    assert!(!after.contains("● ok") && !after.contains("● live") && after.contains("✕ failing"), "{after}");
    state.take(News::Bookmark(Bookmark { visibility: snapshot(vec![]).visibility, ..Bookmark::default() }), late);
    assert!(frame(&state, late, (80, 24)).join("\n").contains("● live"));
}

#[test]
fn below_quorum_it_says_that_it_cannot_see() {
    let mut state = state(Vec::new());
    let reason = "1 of 44 vantage groups is live: start agents".to_owned();
    let blind = Visibility { below_quorum: true, reason, ..Visibility::default() };
    state.take(event(Change::Visibility(blind)), Duration::ZERO);
    let text = text(&state);
    assert!(text.contains("░ WE CANNOT SEE") && text.contains("start agents"), "{text}");
    assert!(!text.contains("● ok") && !text.contains("NOTHING ATTRIBUTED"), "{text}");
}

#[test]
fn before_anything_came_it_is_connecting_and_says_why_it_takes_long() {
    let mut state = State::new("http://127.0.0.1:1", BOOKMARKS);
    state.take(News::Trouble { why: "no coordinator at …:1".into(), again_in: Duration::ZERO }, Duration::ZERO);
    let text = text(&state);
    assert!(text.contains("░ CONNECTING") && text.contains("no coordinator at …:1"), "{text}");
    assert!(!text.contains('●'), "{text}");
}

#[test]
fn enter_opens_the_evidence_and_escape_goes_back() {
    let mut state = state(vec![samples::incident()]);
    assert_eq!(state.press(Key::Enter, 10), Flow::On);
    let text = frame(&state, Duration::ZERO, (80, 40)).join("\n");
    for wanted in ["hetzner-de           air", "9/10      connect_timeout", "aws: 90 of 90 checks", "Esc back"] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    state.press(Key::Char('q'), 10);
    assert_eq!(state.open, Open::Board);
    assert_eq!(state.press(Key::Char('q'), 10), Flow::Quit);
}

#[test]
fn an_open_incident_that_left_says_where_it_is() {
    let mut state = state(vec![samples::incident()]);
    state.press(Key::Enter, 10);
    state.take(News::Snapshot(snapshot(Vec::new())), Duration::ZERO);
    let text = text(&state);
    assert!(text.contains("faultline incident get"), "{text}");
}

#[test]
fn arrows_and_tab_move_and_never_leave_what_there_is() {
    let second = Incident { incident: "inc-3".into(), headline: "the second".into(), ..samples::incident() };
    let mut state = state(vec![samples::incident(), second]);
    for _ in 0..9 {
        state.press(Key::Down, 10);
    }
    assert_eq!(state.selected, 1);
    assert!(text(&state).contains("› ✕ attributed azure        10-29 15:41  the second"), "{}", text(&state));
    state.press(Key::Tab, 10);
    state.press(Key::PageDown, 10);
    assert_eq!((state.selected, state.first_row), (1, 10));
    for _ in 0..9 {
        state.press(Key::PageDown, 10);
    }
    assert_eq!(state.first_row, 32, "the last row");
    state.press(Key::Home, 10);
    assert_eq!(state.first_row, 0);
    assert_eq!(state.press(Key::Interrupt, 10), Flow::Quit);
}

#[test]
fn a_filter_keeps_rows_that_hold_its_text() {
    let mut state = state(vec![samples::incident()]);
    for key in [Key::Char('/'), Key::Char('Q'), Key::Char('a'), Key::Char('x'), Key::Backspace] {
        assert_eq!(state.press(key, 10), Flow::On);
    }
    assert!(text(&state).contains("/Qa"), "{}", text(&state));
    state.press(Key::Enter, 10);
    let shown = text(&state);
    assert!(shown.contains("azure/qatar") && !shown.contains("aws/region-0"), "{shown}");
    assert!(shown.contains("ATTRIBUTED") && shown.contains("INCIDENTS (0)"), "the banner has no filter: {shown}");
    state.press(Key::Escape, 10);
    assert!(text(&state).contains("aws/region-0"));
}

#[test]
fn help_names_the_keys_and_any_size_can_be_drawn() {
    let mut state = state(vec![samples::incident()]);
    state.press(Key::Char('?'), 10);
    assert!(text(&state).contains("incidents or matrix"));
    for open in [Open::Board, Open::Help, Open::Detail("inc-20251029T154113Z-1".into())] {
        state.open = open;
        state.scroll = 999;
        for columns in [1, 20, 39, 40, 79, 200] {
            for rows in [1, 5, 9, 10, 24, 60] {
                let drawn = frame(&state, Duration::ZERO, (columns, rows));
                assert_eq!(drawn.len(), usize::from(rows));
            }
        }
    }
    assert!(frame(&state, Duration::ZERO, (39, 24))[0].contains("enlarge the window"));
}

#[test]
fn text_of_others_cannot_drive_the_terminal() {
    let mut incident = samples::incident();
    incident.headline = "down \u{1b}[2J\u{7}\r\n\u{202e}up".into();
    let mut state = state(vec![incident]);
    state.take(event(Change::Cell(cell("aws/\u{1b}[31m", Layer::Tls, CellState::Failing))), Duration::ZERO);
    for open in [Open::Board, Open::Detail("inc-20251029T154113Z-1".into())] {
        state.open = open;
        let text = frame(&state, Duration::ZERO, (80, 24)).concat();
        assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn what_ended_a_day_ago_leaves() {
    let mut ended = samples::incident();
    ended.set_state(IncidentState::Resolved);
    ended.resolved_at = Some(convert::timestamp(NOW - 23 * 3_600_000_000));
    let mut state = state(vec![ended]);
    assert!(text(&state).contains("● resolved") && text(&state).contains("NOTHING ATTRIBUTED"));
    let tomorrow = Some(convert::timestamp(NOW + 2 * 3_600_000_000));
    let visibility = snapshot(Vec::new()).visibility;
    state.take(News::Bookmark(Bookmark { server_time: tomorrow, visibility, ..Bookmark::default() }), Duration::ZERO);
    assert!(text(&state).contains("none in the last day"), "{}", text(&state));
}

#[test]
fn a_feed_without_end_fills_no_memory() {
    let mut state = state(Vec::new());
    for n in 0..MOST + 10 {
        let incident = Incident { incident: format!("inc-{n:06}"), ..samples::incident() };
        state.take(event(Change::Incident(incident)), Duration::ZERO);
        state.take(event(Change::Cell(cell(&format!("aws/{n}"), Layer::Tls, CellState::Ok))), Duration::ZERO);
    }
    assert_eq!((state.incidents().len(), state.rows(Duration::ZERO).len()), (MOST, MOST));
    assert!(state.incidents().iter().any(|incident| incident.incident == format!("inc-{:06}", MOST + 9)), "the newest");
}

#[test]
fn an_accusation_stands_before_a_suspicion() {
    let mut suspected = Incident { incident: "inc-9".into(), headline: "something".into(), ..samples::incident() };
    suspected.set_state(IncidentState::Suspected);
    suspected.set_verdict(Verdict::Undetermined);
    suspected.opened_at = Some(convert::timestamp(NOW));
    let text = text(&state(vec![suspected, samples::incident()]));
    let place = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name} in\n{text}"));
    assert!(text.contains("✕ ATTRIBUTED") && text.contains("; 1 more below"), "{text}");
    assert!(place("✕ attributed") < place("▲ suspected"), "{text}");
}
