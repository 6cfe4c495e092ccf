//! Words, figures and marks as the page writes them.
//!
//! Rule: a state is never colour alone. Each [`Mark`] has a glyph, a word, a class of the stylesheet and an icon of its
//! own shape.

use std::time::Duration;

use faultline_attribution::{Change, Element, Layer, State, Timestamp, Verdict};
use maud::{Markup, html};
use url::form_urlencoded;

use super::View;
use crate::feed::filter::Band;

/// What a banner, a row of incidents or the whole page stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing is attributed.
    Quiet,
    /// Something fails, nobody is accused.
    Suspected,
    /// A cloud is accused.
    Accused,
    /// Something fails that is neither cloud.
    Neither,
    /// Failures are falling towards the baseline.
    Recovering,
    /// Ended.
    Resolved,
    /// We were wrong.
    Retracted,
    /// We cannot see.
    Blind,
}

impl Mark {
    /// The mark of an incident.
    pub(super) fn of(change: &Change) -> Self {
        match (change.state, change.verdict) {
            (State::Resolved, _) => Self::Resolved,
            (State::Retracted, _) => Self::Retracted,
            (State::Suspected, _) | (_, Verdict::Undetermined) => Self::Suspected,
            (State::Recovering, _) => Self::Recovering,
            (State::Attributed, Verdict::Neither) => Self::Neither,
            (State::Attributed, Verdict::Aws | Verdict::Azure) => Self::Accused,
        }
    }

    /// A shape that says it without colour.
    pub(super) const fn glyph(self) -> &'static str {
        match self {
            Self::Quiet => "●",
            Self::Suspected => "▲",
            Self::Accused => "✕",
            Self::Neither => "◆",
            Self::Recovering => "◐",
            Self::Resolved => "✓",
            Self::Retracted => "↶",
            Self::Blind => "░",
        }
    }

    /// The word on the banner.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Quiet => "nothing attributed",
            Self::Suspected => "possible problem",
            Self::Accused => "attributed",
            Self::Neither => "not the clouds",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
            Self::Retracted => "retracted",
            Self::Blind => "cannot see",
        }
    }

    /// Its class in the stylesheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Suspected => "suspected",
            Self::Accused => "accused",
            Self::Neither => "neither",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
            Self::Retracted => "retracted",
            Self::Blind => "blind",
        }
    }

    /// The icon of the page, as SVG: the glyph's shape, so that a tab says it too.
    pub(super) const fn icon(self) -> &'static str {
        match self {
            Self::Quiet | Self::Resolved | Self::Retracted => concat!(
                "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>",
                "<circle cx='8' cy='8' r='6' fill='#d3e9f3' stroke='#4a8299' stroke-width='2'/></svg>"
            ),
            Self::Suspected | Self::Recovering | Self::Neither => concat!(
                "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>",
                "<path d='M8 1.5 15 14.5H1Z' fill='#f5c04a' stroke='#8f6400' stroke-width='1.5'/></svg>"
            ),
            Self::Accused => concat!(
                "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' ",
                "fill='#8c1c13'/><path d='m4 4 8 8m0-8-8 8' stroke='#fff' stroke-width='2.5'/></svg>"
            ),
            Self::Blind => concat!(
                "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect x='1' y='1' width='14' height='14' ",
                "fill='#fff' stroke='#6d7782' stroke-width='2' stroke-dasharray='3 2'/>",
                "<path d='m3 13L13 3' stroke='#6d7782' stroke-width='2'/></svg>"
            ),
        }
    }
}

/// A glyph that screen readers pass over: the word beside it says the same.
pub(super) fn glyph(shape: &str) -> Markup {
    html! { i aria-hidden="true" { (shape) } }
}

/// An instant in UTC: the time of day, and the date where it is not the day of `now`.
pub(super) fn at(instant: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(instant) { (in_words(instant, now)) } }
}

/// The same as text.
pub(super) fn in_words(instant: Timestamp, now: Timestamp) -> String {
    let (text, today) = (instant.to_string(), now.to_string());
    let (Some(day), Some(time)) = (text.get(..10), text.get(11..19)) else { return text };
    if today.get(..10) == Some(day) { format!("{time}Z") } else { format!("{day} {time}Z") }
}

/// An instant in UTC with its date, whenever it is read.
pub(super) fn full(instant: Timestamp) -> Markup {
    let text = instant.to_string();
    let (Some(day), Some(time)) = (text.get(..10), text.get(11..19)) else { return html! { (text) } };
    html! { time datetime=(instant) { (day) " " (time) "Z" } }
}

/// A span in its largest sensible unit: "7 s", "12 min", "30 h", "3 d".
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A confidence in words: bands that are the same everywhere.
pub(crate) fn band(confidence: f64) -> &'static str {
    Band::of(confidence).as_str()
}

/// How strongly an alibi of so many nats refutes, in words: decisive from what a culprit takes to be named, strong from
/// odds of 100 to 1. Source: `open_nats` and `robust_nats` of the engine's settings.
pub(crate) fn strength(nats: f64) -> &'static str {
    if nats >= 20.0 {
        "decisive"
    } else if nats >= 4.6 {
        "strong"
    } else {
        "weak"
    }
}

/// A probability to three decimals; never quite 0 or 1, which no evidence gives.
pub(crate) fn probability(probability: f64) -> String {
    if probability > 0.9995 {
        "> 0.999".into()
    } else if probability < 0.0005 {
        "< 0.001".into()
    } else {
        format!("{probability:.3}")
    }
}

/// A layer as a column is headed.
pub(crate) const fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Dns => "DNS",
        Layer::Connect => "connect",
        Layer::Tls => "TLS",
        Layer::Http => "HTTP",
    }
}

/// A verdict as people say it.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Aws => "AWS",
        Verdict::Azure => "Azure",
        Verdict::Neither => "neither cloud",
        Verdict::Undetermined => "undetermined",
    }
}

/// What is accused, by the name that people use; `None` while nobody is.
pub(crate) fn culprit(change: &Change) -> Option<String> {
    let kind = change.element_kind.filter(|_| !change.element.is_empty())?;
    Some(Element::new(kind, change.element.clone()).title())
}

/// The verdict that last named somebody, which a retraction keeps in view; `None` where nobody was ever named.
pub(super) fn last_named(change: &Change, view: &View<'_>) -> Option<Verdict> {
    let revisions = view.board.revisions(&change.incident).into_iter().flatten().rev();
    let mut verdicts = revisions.map(|revision| revision.verdict).chain([change.verdict]);
    verdicts.find(|verdict| *verdict != Verdict::Undetermined)
}

/// A vantage group or agent, with a link to its page.
pub(super) fn vantage_link(name: &str) -> Markup {
    html! { a href={ "/vantages/" (in_path(name)) } { (name) } }
}

/// A target, with a link to its page. The agents' own sessions are none.
pub(super) fn target_link(id: &str) -> Markup {
    html! { @if id == "uplink" { (id) } @else { a href={ "/targets/" (in_path(id)) } { (id) } } }
}

/// A name as the end of a path.
fn in_path(name: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    encoded.replace('+', "%20").replace("%2F", "/")
}

/// A count with its noun: "1 agent", "12 agents".
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_day_carries_its_date() {
        let onset = Timestamp::from_micros(1_761_752_464_500_000);
        assert_eq!(in_words(onset, onset.after(Duration::from_mins(3))), "15:41:04Z");
        assert_eq!(in_words(onset, onset.after(Duration::from_hours(30))), "2025-10-29 15:41:04Z");
    }

    #[test]
    fn spans_bands_and_probabilities_change_where_they_should() {
        assert_eq!([119, 120, 7200, 172_800].map(|s| span(Duration::from_secs(s))), ["119 s", "2 min", "2 h", "2 d"]);
        assert_eq!([1.0, 0.9812, 0.0].map(probability), ["> 0.999", "0.981", "< 0.001"]);
        assert_eq!([0.95, 0.949, 0.8, 0.79].map(band), ["HIGH", "MEDIUM", "MEDIUM", "LOW"]);
    }
}
