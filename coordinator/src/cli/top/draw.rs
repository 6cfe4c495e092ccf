//! Draws `faultline top`: a frame from the state, nothing else.
//!
//! Rules: what matters most comes first, and stays where there is little room; a colour never says what a glyph and a word do not;
//! text of others is cleaned of what a terminal would obey.

use std::time::Duration;

use faultline_attribution::Timestamp;
use faultline_proto::types::v1::{CellState, Incident, IncidentState};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::state::{Link, Open, Pane, Row, State, is_accused};
use crate::{
    cli::{
        colour::{Tone, clean, cut},
        incident, subscriber,
    },
    feed::convert,
};

/// Smallest screen that is drawn on.
const SMALLEST: (u16, u16) = (40, 10);

/// Rows of incidents, at most; those left over go to the matrix.
const INCIDENTS: usize = 6;

/// What each key does.
const KEYS: [(&str, &str); 9] = [
    ("↑ ↓ j k", "move"),
    ("PgUp PgDn Home", "move further"),
    ("Tab", "incidents or matrix"),
    ("Enter", "the selected incident with its evidence"),
    ("/", "show only rows that hold a text; Enter keeps it, Esc drops it"),
    ("?", "this help"),
    ("Esc", "back"),
    ("q", "back, and leave"),
    ("Ctrl-C", "leave"),
];

/// Draws the state at that time since the beginning, with colours or without.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Duration, is_coloured: bool) {
    let area = frame.area();
    let pen = Pen(is_coloured);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        frame.render_widget(Paragraph::new("enlarge the window"), area);
        return;
    }
    let width = usize::from(area.width);
    let head = head(state, now, pen, width);
    let [top, body, foot] = Layout::vertical([
        Constraint::Length(u16::try_from(head.len()).unwrap_or(u16::MAX)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(Paragraph::new(keys(state, pen, width)), foot);
    match &state.open {
        Open::Board => board(frame, state, now, pen, body),
        Open::Detail(id) => detail(frame, state, id, pen, body),
        Open::Help => {
            let lines = KEYS.iter().map(|(key, what)| Line::raw(cut(&format!("  {key:16} {what}"), width)));
            let all = std::iter::once(pen.heading("Keys")).chain(lines).collect::<Vec<_>>();
            frame.render_widget(Paragraph::new(all), body);
        }
    }
}

/// Styles, or none.
#[derive(Clone, Copy)]
struct Pen(bool);

impl Pen {
    fn tone(self, tone: Tone) -> Style {
        let style = Style::new();
        if !self.0 {
            return style;
        }
        match tone {
            Tone::Accused => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Suspected => style.fg(Color::Yellow),
            Tone::Recovering => style.fg(Color::Cyan),
            Tone::Well => style.fg(Color::Green),
            Tone::Retracted => style.fg(Color::Magenta),
            Tone::Blind | Tone::Faint => style.add_modifier(Modifier::DIM),
        }
    }

    fn heading(self, text: &str) -> Line<'static> {
        let style = if self.0 { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        Line::styled(text.to_owned(), style)
    }
}

/// What is always there: where from, the banner, whether we can see, notices.
fn head(state: &State, now: Duration, pen: Pen, width: usize) -> Vec<Line<'static>> {
    let (link, tone) = match state.link(now) {
        Link::Connecting => ("░ connecting", Tone::Suspected),
        Link::Live => ("● live", Tone::Well),
        Link::Stale(_) => ("✕ stale", Tone::Accused),
    };
    let clock = if state.server_micros == 0 { String::new() } else { time(state.server_micros) };
    let left = cut(&format!("faultline top  {}", clean(&state.feed)), width.saturating_sub(24));
    let gap = width.saturating_sub(left.chars().count() + clock.chars().count() + link.chars().count() + 2);
    let mut lines = vec![Line::from(vec![
        Span::styled(left, pen.tone(Tone::Faint)),
        Span::raw(" ".repeat(gap)),
        Span::raw(clock),
        Span::raw("  "),
        Span::styled(link, pen.tone(tone)),
    ])];
    lines.extend(banner(state, now, pen, width));
    let sight = &state.visibility;
    lines.push(Line::raw(cut(
        &format!(
            "can we see? {} of {} vantage groups live, {} outside both clouds, {} networks",
            sight.live_groups, sight.total_groups, sight.live_groups_outside_clouds, sight.live_networks
        ),
        width,
    )));
    lines.extend(state.notices.iter().take(1).map(|notice| {
        let more = state.notices.len().saturating_sub(1);
        let more = if more > 0 { format!(" (+{more} more: faultline status)") } else { String::new() };
        let text = cut(&format!("▲ {}", clean(notice)), width.saturating_sub(more.chars().count()));
        Line::styled(text + &more, pen.tone(Tone::Suspected))
    }));
    lines.push(Line::default());
    lines
}

/// The answer in two lines. Never well while we cannot see or are not told.
fn banner(state: &State, now: Duration, pen: Pen, width: usize) -> [Line<'static>; 2] {
    let incidents = state.incidents_that_go_on();
    let (tone, first, second) = match (state.link(now), incidents.first()) {
        (Link::Connecting, _) => {
            (Tone::Suspected, "░ CONNECTING".to_owned(), state.trouble.as_deref().map(clean).unwrap_or_default())
        }
        (Link::Stale(silence), _) => (
            Tone::Accused,
            format!("✕ STALE: no word from the coordinator for {} s", silence.as_secs()),
            format!(
                "what stands here is of {}. {}",
                time(state.server_micros),
                state.trouble.as_deref().map(clean).unwrap_or_default()
            ),
        ),
        (Link::Live, Some(incident)) if is_accused(incident) || !state.visibility.below_quorum => {
            let more = incidents.len() - 1;
            let more = if more > 0 { format!("; {more} more below") } else { String::new() };
            (
                subscriber::tone(incident),
                format!("{}  {}", upper(subscriber::state(incident)), clean(&incident.headline)),
                format!(
                    "verdict {}, confidence {:.2}, since {}{more}",
                    subscriber::verdict(incident),
                    incident.confidence,
                    subscriber::moment(incident.onset_at.as_ref())
                ),
            )
        }
        (Link::Live, _) if state.visibility.below_quorum => {
            (Tone::Suspected, "░ WE CANNOT SEE".to_owned(), clean(&state.visibility.reason))
        }
        (Link::Live, _) => {
            (Tone::Well, "● NOTHING ATTRIBUTED".to_owned(), "No failure attributed to AWS or Azure.".to_owned())
        }
    };
    [Line::styled(cut(&first, width), pen.tone(tone)), Line::raw(cut(second.trim_end(), width))]
}

fn upper(state: &str) -> String {
    state.to_uppercase()
}

fn keys(state: &State, pen: Pen, width: usize) -> Line<'static> {
    let text = match (&state.open, state.is_typing) {
        (_, true) => format!("/{}▏  Enter keeps it, Esc drops it", clean(&state.filter)),
        (Open::Board, _) if !state.filter.is_empty() => {
            format!("only rows with {:?}: Esc shows all", clean(&state.filter))
        }
        (Open::Board, _) => "q leave  ↑↓ move  Tab pane  Enter detail  / filter  ? help".into(),
        (Open::Detail(_) | Open::Help, _) => "Esc back  ↑↓ move".into(),
    };
    Line::styled(cut(&text, width), pen.tone(Tone::Faint))
}

/// Incidents, and the matrix in the room that they leave.
fn board(frame: &mut Frame<'_>, state: &State, now: Duration, pen: Pen, area: Rect) {
    let incidents = state.incidents();
    let most = INCIDENTS.min(usize::from(area.height) / 3).max(1);
    let shown = incidents.len().clamp(1, most);
    let [upper, lower] =
        Layout::vertical([Constraint::Length(u16::try_from(shown + 2).unwrap_or(u16::MAX)), Constraint::Min(0)])
            .areas(area);
    let width = usize::from(area.width);
    let mut lines = vec![pen.heading(&title("INCIDENTS", incidents.len(), state.pane == Pane::Incidents))];
    if incidents.is_empty() {
        lines.push(Line::styled("  none in the last day", pen.tone(Tone::Faint)));
    }
    let first = (state.selected + 1).saturating_sub(shown);
    for (n, incident) in incidents.iter().enumerate().skip(first).take(shown) {
        let is_selected = n == state.selected && state.pane == Pane::Incidents;
        lines.push(incident_row(incident, is_selected, pen, width));
    }
    frame.render_widget(Paragraph::new(lines), upper);
    frame.render_widget(Paragraph::new(matrix(state, now, pen, lower)), lower);
}

fn title(name: &str, n: usize, is_chosen: bool) -> String {
    format!("{}{name} ({n})", if is_chosen { "› " } else { "  " })
}

fn incident_row(incident: &Incident, is_selected: bool, pen: Pen, width: usize) -> Line<'static> {
    let mark = if is_selected { "› " } else { "  " };
    let since = subscriber::moment(incident.onset_at.as_ref());
    let since = since.get(5..16).unwrap_or(&since).to_owned();
    let state = format!("{:13}", subscriber::state(incident));
    let rest = format!("{:13}{since}  {}", subscriber::verdict(incident), clean(&incident.headline));
    let used = mark.chars().count() + state.chars().count();
    let line = Line::from(vec![
        Span::raw(mark),
        Span::styled(state, pen.tone(subscriber::tone(incident))),
        Span::raw(cut(&rest, width.saturating_sub(used))),
    ]);
    let is_over =
        !matches!(incident.state(), IncidentState::Suspected | IncidentState::Attributed | IncidentState::Recovering);
    if is_over && !is_selected { line.style(pen.tone(Tone::Faint)) } else { line }
}

fn matrix(state: &State, now: Duration, pen: Pen, area: Rect) -> Vec<Line<'static>> {
    let rows = state.rows(now);
    let width = usize::from(area.width);
    let name = width.saturating_sub(4 * 12 + 11).clamp(14, 40);
    let mut lines = vec![
        pen.heading(&title("WHAT WORKS WHERE", rows.len(), state.pane == Pane::Matrix)),
        Line::styled(
            cut(&format!("  {:name$}{:12}{:12}{:12}{:12}fails for", "", "DNS", "connect", "TLS", "HTTP"), width),
            pen.tone(Tone::Faint),
        ),
    ];
    if rows.is_empty() {
        let text = if state.filter.is_empty() { "  ░ no data yet" } else { "  no row holds that text" };
        lines.push(Line::styled(text, pen.tone(Tone::Faint)));
    }
    let room = usize::from(area.height).saturating_sub(lines.len());
    let first = state.first_row.min(rows.len().saturating_sub(1));
    let is_cut = rows.len().saturating_sub(first) > room;
    let fitting = if is_cut { room.saturating_sub(1) } else { room };
    lines.extend(rows.iter().skip(first).take(fitting).map(|row| matrix_row(row, name, pen)));
    if is_cut {
        let left = rows.len() - first - fitting;
        lines.push(Line::styled(cut(&format!("  … {left} more, no worse: Tab, then ↓"), width), pen.tone(Tone::Faint)));
    }
    lines
}

fn matrix_row(row: &Row<'_>, name: usize, pen: Pen) -> Line<'static> {
    let mut spans = vec![Span::raw(format!("  {:name$}", cut(&clean(row.name), name.saturating_sub(1))))];
    spans.extend(row.states.iter().map(|state| {
        let (text, tone) = match state {
            Some(CellState::Ok) => ("● ok", Tone::Well),
            Some(CellState::Degraded) => ("▲ degraded", Tone::Suspected),
            Some(CellState::Failing) => ("✕ failing", Tone::Accused),
            Some(CellState::NoData | CellState::Unspecified) => ("░ no data", Tone::Blind),
            None => ("–", Tone::Faint),
        };
        Span::styled(format!("{text:12}"), pen.tone(tone))
    }));
    if row.failing.0 > 0 {
        spans.push(Span::raw(format!("{}/{}", row.failing.0, row.failing.1)));
    }
    Line::from(spans)
}

/// One incident with its evidence, as `faultline incident get` tells it.
fn detail(frame: &mut Frame<'_>, state: &State, id: &str, pen: Pen, area: Rect) {
    let change = state.detail().and_then(|incident| Some((convert::change(incident)?, incident)));
    let Some((change, incident)) = change else {
        let gone = format!("{}: ended more than a day ago: faultline incident get has it", clean(id));
        frame.render_widget(Paragraph::new(cut(&gone, usize::from(area.width))), area);
        return;
    };
    let told = incident::detail(&change, incident);
    let width = usize::from(area.width);
    let lines: Vec<Line<'static>> = told
        .iter()
        .enumerate()
        .map(|(n, line)| {
            let plain = cut(&anstream::adapter::strip_str(line).to_string(), width);
            let style = if n == 0 { pen.tone(subscriber::tone(incident)) } else { Style::new() };
            Line::styled(plain, style)
        })
        .collect();
    let last = lines.len().saturating_sub(usize::from(area.height));
    let first = u16::try_from(state.scroll.min(last)).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(lines).scroll((first, 0)), area);
}

/// The time of day in UTC.
fn time(micros: i64) -> String {
    let text = Timestamp::from_micros(micros).to_string();
    text.get(11..19).map_or_else(|| text.clone(), |time| format!("{time}Z"))
}
