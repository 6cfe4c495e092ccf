//! The timeline: what went wrong when, a lane each for AWS, Azure and what is neither.
//!
//! Rules: a retracted verdict stays, struck through, and is counted; time in which nobody could see, or in which this feed did
//! not yet exist, is hatched, so that an empty lane means that somebody looked; the drawing is for the eye and for the mouse,
//! and a table beneath it says the same to everybody. Places are shares of the width: it reads the same on a phone.

use std::time::Duration;

use faultline_attribution::{Change, State, Timestamp, Verdict};
use maud::{Markup, html};

use super::{
    View,
    asked::{Asked, HOUR, Span},
    mine,
    words::{self, Mark},
    work,
};
use crate::work::PlannedWork;

/// Incidents that are drawn and listed, the newest ones.
const SHOWN: usize = 100;

/// Height of a lane, in pixels.
const LANE: usize = 30;

/// Narrowest bar, in per cent of the width: what lasts a minute must be seen in 90 days.
const NARROWEST: f64 = 0.5;

/// Whose an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Aws,
    Azure,
    Other,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Aws, Self::Azure, Self::Other];

    const fn name(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Azure => "Azure",
            Self::Other => "other",
        }
    }
}

/// How a bar looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Accused,
    Neither,
    Suspected,
    Retracted,
}

impl Look {
    const ALL: [Self; 4] = [Self::Accused, Self::Neither, Self::Suspected, Self::Retracted];

    const fn word(self) -> &'static str {
        match self {
            Self::Accused => "a cloud",
            Self::Neither => "not the clouds",
            Self::Suspected => "nobody accused",
            Self::Retracted => "retracted",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Accused => "bar accused",
            Self::Neither => "bar neither",
            Self::Suspected => "bar suspected",
            Self::Retracted => "bar retracted",
        }
    }
}

/// An incident as it is drawn.
struct Bar<'a> {
    change: &'a Change,
    lane: Lane,
    look: Look,
    from: Timestamp,
    to: Timestamp,
}

/// The section.
pub(super) fn timeline(view: &View<'_>) -> Markup {
    let span = view.asked.span;
    let window = Window { from: span.before(view.now), to: view.now };
    let mut bars: Vec<Bar<'_>> = view.board.incidents().map(|change| bar(change, view)).collect();
    bars.retain(|bar| bar.to >= window.from && bar.from <= window.to);
    let all = bars.len();
    bars.truncate(SHOWN);
    let unseen = unseen(view, &window);
    let works = view.board.work.during(window.from, window.to);
    html! {
        section #timeline aria-labelledby="timeline-title" {
            h2 #timeline-title { "The last " (span.name()) }
            @if view.copied.is_none() { (choices(view.asked)) }
            p { (summary(&bars, all, &window, view)) }
            (drawing(&bars, &unseen, &works, &window, span))
            p.legend.keys {
                @for look in Look::ALL { span { i.key.(look.class()) aria-hidden="true" {} " " (look.word()) } }
                span { i.key.unseen aria-hidden="true" {} " not seen" }
                @if !works.is_empty() { span { i.key.work aria-hidden="true" {} " planned work" } }
            }
            @if !bars.is_empty() || !works.is_empty() { (list(&bars, &works, view)) }
        }
    }
}

/// Links to the other spans.
fn choices(asked: &Asked) -> Markup {
    html! {
        ul.choices aria-label="How far back" {
            @for span in Span::ALL {
                li {
                    a href=(Asked { span, ..asked.clone() }.address()) aria-current=[(span == asked.span).then_some("true")] {
                        (span.word())
                    }
                }
            }
        }
    }
}

/// "3 incidents, 1 of them retracted; nobody could see for 34 min; this feed began at 06:12:00Z."
fn summary(bars: &[Bar<'_>], all: usize, window: &Window, view: &View<'_>) -> Markup {
    let retracted = bars.iter().filter(|bar| bar.look == Look::Retracted).count();
    let blind = spells(view, window).map(|(from, to)| to.since(from)).sum::<Duration>();
    html! {
        @if all == 0 { "No incident" } @else { (words::count(all, "incident")) }
        @if retracted > 0 { ", " (retracted) " of them retracted" }
        @if all > bars.len() { "; the newest " (bars.len()) " are shown" }
        @if !blind.is_zero() { "; nobody could see for " (words::span(blind)) }
        @match view.board.spells().began() {
            Some(at) if at > window.from => { "; this feed began at " (words::at(at, view.now)) }
            Some(_) => "",
            None => "; this feed has not begun",
        }
        "."
    }
}

/// Where an incident is drawn, and how: by the last verdict that named somebody, which a retraction keeps in view.
fn bar<'a>(change: &'a Change, view: &View<'a>) -> Bar<'a> {
    let (lane, look) = match words::last_named(change, view) {
        Some(Verdict::Aws) => (Lane::Aws, Look::Accused),
        Some(Verdict::Azure) => (Lane::Azure, Look::Accused),
        Some(Verdict::Neither) => (Lane::Other, Look::Neither),
        Some(Verdict::Undetermined) | None => (Lane::Other, Look::Suspected),
    };
    let look = if change.state == State::Retracted { Look::Retracted } else { look };
    let to = change.resolved_at.filter(|_| !change.state.is_open()).unwrap_or(view.now);
    Bar { change, lane, look, from: change.onset_at, to: to.max(change.onset_at) }
}

/// Spells of the window in which nobody could see, oldest first.
fn spells(view: &View<'_>, window: &Window) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let spells = view.board.spells().iter().map(|(from, to)| (from, to.unwrap_or(window.to)));
    spells.filter_map(|(from, to)| window.cut(from, to))
}

/// The same, and the time before this feed.
fn unseen(view: &View<'_>, window: &Window) -> Vec<(Timestamp, Timestamp)> {
    let began = view.board.spells().began().unwrap_or(window.to);
    let before = window.cut(Timestamp::from_micros(i64::MIN), began);
    before.into_iter().chain(spells(view, window)).collect()
}

/// What the drawing shows.
struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// The part of a stretch that lies in the window.
    fn cut(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = (from.max(self.from), to.min(self.to));
        (from < to).then_some((from, to))
    }

    /// Place of an instant, in per cent of the width; the ends for what lies outside.
    #[expect(clippy::cast_precision_loss, reason = "the share of a window of days, to a hundredth of a per cent")]
    fn place(&self, at: Timestamp) -> f64 {
        let (at, from, to) = (at.micros(), self.from.micros(), self.to.micros());
        let share = at.saturating_sub(from) as f64 / (to - from).max(1) as f64;
        share.clamp(0.0, 1.0) * 100.0
    }

    /// Left end and width, in per cent.
    fn stretch(&self, from: Timestamp, to: Timestamp) -> (String, String) {
        let (left, right) = (self.place(from), self.place(to));
        let width = (right - left).max(NARROWEST);
        (per_cent(left.min(100.0 - width)), per_cent(width))
    }

    /// Round moments in the window, every so many hours of UTC.
    fn marks(&self, hours: i64) -> impl Iterator<Item = Timestamp> {
        let step = hours * HOUR;
        let first = self.from.micros().div_euclid(step) + 1;
        (first..).map(move |n| Timestamp::from_micros(n * step)).take_while(|at| *at < self.to)
    }
}

fn per_cent(share: f64) -> String {
    format!("{share:.2}%")
}

fn drawing(
    bars: &[Bar<'_>],
    unseen: &[(Timestamp, Timestamp)],
    works: &[&PlannedWork],
    window: &Window,
    span: Span,
) -> Markup {
    let height = Lane::ALL.len() * LANE;
    html! {
        div.lanes {
            ul { @for lane in Lane::ALL { li { (lane.name()) } } }
            // The table beneath says all of it: this is for the eye and the mouse.
            svg.lanes-drawing width="100%" height=(height + 20) aria-hidden="true" {
                defs {
                    pattern #unseen-hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                        rect.ground width="6" height="6" {}
                        rect.line width="2" height="6" {}
                    }
                }
                @for lane in 0..Lane::ALL.len() {
                    rect.lane x="0" y=(lane * LANE + 2) width="100%" height=(LANE - 4) {}
                }
                @for (from, to) in unseen {
                    @let (x, width) = window.stretch(*from, *to);
                    @for lane in 0..Lane::ALL.len() {
                        rect fill="url(#unseen-hatch)" x=(x) y=(lane * LANE + 2) width=(width) height=(LANE - 4) {
                            title { "nobody could see, or this feed had not begun" }
                        }
                    }
                }
                @for at in window.marks(span.mark_hours()) {
                    @let x = per_cent(window.place(at));
                    line.mark x1=(x) x2=(x) y1="0" y2=(height + 4) {}
                    text x=(x) y=(height + 16) text-anchor=(anchor(window.place(at))) { (label(at, span)) }
                }
                @for bar in bars.iter().rev() { (drawn(bar, window)) }
                @for work in works {
                    @let (x, width) = window.stretch(work.starts_at, work.over_at());
                    rect.bar.work x=(x) y=(height) width=(width) height="4" { title { "planned work: " (work.text) } }
                }
            }
        }
    }
}

/// Where a label hangs on its mark: its middle, but for those that would stick out of a phone's drawing.
fn anchor(place: f64) -> &'static str {
    match place {
        ..8.0 => "start",
        92.0.. => "end",
        _ => "middle",
    }
}

/// A bar, as a link to its incident. Its keyboard and its words are in the table.
fn drawn(bar: &Bar<'_>, window: &Window) -> Markup {
    let (x, width) = window.stretch(bar.from, bar.to);
    let top = bar.lane as usize * LANE;
    let (y, height) = if bar.look == Look::Suspected { (top + 10, 10) } else { (top + 6, LANE - 12) };
    let end = per_cent(window.place(bar.to).max(window.place(bar.from) + NARROWEST).min(100.0));
    html! {
        a href={ "/incidents/" (bar.change.incident) } tabindex="-1" {
            title { (bar.change.headline) }
            rect.(bar.look.class()) x=(x) y=(y) width=(width) height=(height) rx="2" {}
            @if bar.look == Look::Retracted {
                line.strike x1=(x) x2=(end) y1=(top + LANE / 2) y2=(top + LANE / 2) {}
            }
        }
    }
}

/// "06:00" of a day, "10-29" of longer spans.
fn label(at: Timestamp, span: Span) -> String {
    let text = at.to_string();
    let part = if span == Span::Day { text.get(11..16) } else { text.get(5..10) };
    part.unwrap_or_default().to_owned()
}

fn list(bars: &[Bar<'_>], works: &[&PlannedWork], view: &View<'_>) -> Markup {
    html! {
        details #timeline-list {
            summary { "The same as a list" }
            @if !bars.is_empty() { (table(bars, view)) }
            @if !works.is_empty() {
                h3 { "Planned work" }
                (work::list(works, view))
            }
        }
    }
}

fn table(bars: &[Bar<'_>], view: &View<'_>) -> Markup {
    html! {
        table.cards {
            caption.sr { "Incidents of the timeline, newest first" }
            thead { tr { @for head in ["Incident", "Whose", "State", "From", "For"] { th scope="col" { (head) } } } }
            tbody {
                @for bar in bars {
                    @let mark = Mark::of(bar.change);
                    tr.(mark.class()) {
                        th scope="row" {
                            a href={ "/incidents/" (bar.change.incident) } {
                                @if bar.look == Look::Retracted { s { (name(bar)) } } @else { (name(bar)) }
                            }
                            (mine::mark(bar.change, view))
                        }
                        td data-label="Whose" { (bar.lane.name()) }
                        td data-label="State" { (words::glyph(mark.glyph())) " " (mark.word()) }
                        td data-label="From" { (words::at(bar.from, view.now)) }
                        td data-label="For" {
                            (words::span(bar.to.since(bar.from)))
                            @if bar.change.state.is_open() { " so far" }
                        }
                    }
                }
            }
        }
    }
}

fn name(bar: &Bar<'_>) -> String {
    words::culprit(bar.change).unwrap_or_else(|| "cause unknown".into())
}
