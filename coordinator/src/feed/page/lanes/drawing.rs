//! The drawing of the lanes: SVG by attributes and classes of the stylesheet, no script, no inline style.

use std::time::Duration;

use faultline_attribution::{Change, Timestamp};
use maud::{Markup, html};

use super::{MOST, View, words};
use crate::claims::{Stance, Told};

/// Measures, in units of the drawing: its width, where the lanes begin and end, the height of the axis and of a lane.
const WIDTH: u32 = 640;
const LEFT: f64 = 112.0;
const RIGHT: f64 = 632.0;
const TOP: u32 = 24;
const LANE: u32 = 28;

/// Room for the longest word of a spell.
const WORD: f64 = 90.0;

/// Shown before an onset and after it, at least.
const AROUND: Duration = Duration::from_mins(30);

/// Shown where there is no incident.
const QUIET: Duration = Duration::from_hours(6);

/// Spells drawn in a lane.
const SPELLS: usize = 40;

/// A time axis.
struct Axis {
    from: Timestamp,
    to: Timestamp,
}

impl Axis {
    fn of(view: &View<'_>, shown: Option<&Change>) -> Self {
        let Some(change) = shown else { return Self { from: view.now.before(QUIET), to: view.now } };
        let end = change.resolved_at.unwrap_or(view.now).max(change.onset_at);
        let said = super::leads(change, &view.board.claims);
        let first = said.first().map_or(change.onset_at, |lead| lead.says_at.min(change.onset_at));
        let last = said.last().map_or(end, |lead| lead.says_at.max(end));
        Self { from: first.before(AROUND), to: last.max(change.onset_at.after(AROUND)).min(view.now.max(end)) }
    }

    /// Where a moment is, within the lanes.
    fn x(&self, at: Timestamp) -> f64 {
        let whole = self.to.since(self.from).as_secs_f64().max(1.0);
        let part = (at.since(self.from).as_secs_f64() / whole).clamp(0.0, 1.0);
        LEFT + part * (RIGHT - LEFT)
    }
}

/// What somebody said from one moment to another.
struct Spell {
    stance: Stance,
    from: Timestamp,
    to: Timestamp,
}

/// The lanes over the time around an incident.
pub(super) fn drawing(view: &View<'_>, shown: Option<&Change>) -> Markup {
    let axis = Axis::of(view, shown);
    let told: Vec<&Told> = view.board.claims.all().take(MOST).collect();
    let height = TOP + LANE * u32::try_from(told.len() + 1).unwrap_or(0) + 8;
    let text = |at: Timestamp| words::in_words(at, view.now);
    html! {
        svg.lanes viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby="lanes-title" {
            title #lanes-title {
                "What is measured and what others say, from " (text(axis.from)) " to " (text(axis.to)) "; the list below says the same"
            }
            text.when x=(LEFT) y="14" { (text(axis.from)) }
            text.when x=(RIGHT) y="14" text-anchor="end" { (text(axis.to)) }
            (lane(0, "Measured", &html! { @if let Some(change) = shown { (measured(change, &axis, view.now)) } }))
            @for (told, row) in told.iter().zip(1..) {
                @let claim = told.newest();
                @let name = if claim.is_official() { claim.source_title() } else { format!("{}: {}", claim.source_title(), super::brand(&claim.about)) };
                (lane(row, &name, &html! {
                    @for spell in spells(told, &axis, view.now) { (drawn(&spell, row, &axis)) }
                    @if claim.stance == Stance::NothingPosted && claim.is_official() {
                        text.nothing x=(RIGHT) y=(base(row) - 2) text-anchor="end" { "nothing posted" }
                    }
                }))
            }
            @if let Some(change) = shown { (onset(change, &axis, height)) }
        }
    }
}

/// Where a lane's words stand.
fn base(row: u32) -> u32 {
    TOP + LANE * row + 18
}

fn lane(row: u32, name: &str, content: &Markup) -> Markup {
    // Long names are cut: the list has them whole.
    let short: String =
        if name.chars().count() > 16 { name.chars().take(15).chain(['…']).collect() } else { name.into() };
    let line = base(row) + 4;
    html! {
        text.who x="0" y=(base(row)) { (short) }
        line.axis x1=(LEFT) y1=(line) x2=(RIGHT) y2=(line) {}
        (content)
    }
}

fn measured(change: &Change, axis: &Axis, now: Timestamp) -> Markup {
    let (from, to) = (axis.x(change.onset_at), axis.x(change.resolved_at.unwrap_or(now)));
    html! {
        rect.measured x=(figure(from)) y=(base(0) - 12) width=(figure((to - from).max(2.0))) height="12" {}
        text.glyph x=(figure(from + 2.0)) y=(base(0) - 2) { "✕" }
    }
}

/// Our onset, with its error to both sides.
fn onset(change: &Change, axis: &Axis, height: u32) -> Markup {
    let half = Duration::try_from_secs_f64(change.onset_uncertainty_s).unwrap_or_default();
    let (low, at, high) =
        (axis.x(change.onset_at.before(half)), axis.x(change.onset_at), axis.x(change.onset_at.after(half)));
    html! {
        rect.error x=(figure(low)) y=(TOP) width=(figure((high - low).max(1.0))) height=(height - TOP) {}
        line.onset x1=(figure(at)) y1="18" x2=(figure(at)) y2=(height) {}
        text.when x=(figure(at.clamp(LEFT + 110.0, RIGHT - 110.0))) y="14" text-anchor="middle" { "our onset" }
    }
}

/// What was said within the axis, the last spells of it.
fn spells(told: &Told, axis: &Axis, now: Timestamp) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    for claim in told.history() {
        let from = if claim.stance == Stance::ReportsProblem { claim.since } else { claim.observed_at };
        if let Some(last) = spells.last_mut() {
            last.to = claim.observed_at;
            if last.stance == claim.stance {
                last.to = now;
                continue;
            }
        }
        spells.push(Spell { stance: claim.stance, from, to: now });
    }
    spells.retain(|spell| spell.to > axis.from && spell.from < axis.to);
    spells.split_off(spells.len().saturating_sub(SPELLS))
}

fn drawn(spell: &Spell, row: u32, axis: &Axis) -> Markup {
    let (from, to) = (axis.x(spell.from), axis.x(spell.to));
    let (top, middle, width) = (base(row) - 12, base(row) - 6, figure((to - from).max(2.0)));
    let word = |word: &str| {
        // One that would stick out ends with its lane.
        let (x, anchor) = if from > RIGHT - WORD { (RIGHT, "end") } else { (from, "start") };
        html! { text.word x=(figure(x)) y=(base(row)) text-anchor=(anchor) { (word) } }
    };
    let (from, to) = (figure(from), figure(to));
    html! {
        @match spell.stance {
            // As nothing.
            Stance::NothingPosted => {}
            Stance::ReportsProblem => {
                rect.problem x=(from) y=(top) width=(width) height="12" {}
                text.glyph x=(from) y=(base(row) - 2) dx="2" { "▲" }
            }
            Stance::Unreachable => {
                line.unreachable x1=(from) y1=(middle) x2=(to) y2=(middle) stroke-dasharray="6 5" {}
                (word("unreachable"))
            }
            Stance::Unparseable => {
                line.unreachable x1=(from) y1=(middle) x2=(to) y2=(middle) stroke-dasharray="1 5" {}
                (word("unreadable"))
            }
        }
    }
}

fn figure(number: f64) -> String {
    format!("{number:.1}")
}
