//! The scorecard: how the verdicts of the last 90 days held, retracted ones among them.
//!
//! Rules: it counts what was published, and nothing is left out because it looks bad; a figure that is not known is not shown.

use std::time::Duration;

use faultline_attribution::{Change, State, Timestamp, Verdict};
use maud::{Markup, html};

use super::{
    View,
    asked::Span,
    words::{self, Mark},
};
use crate::{board::Board, claims};

/// Retracted verdicts that are listed.
const LISTED: usize = 50;

/// What the verdicts about one party come to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Score {
    /// Incidents that accused it.
    verdicts: usize,
    /// Of those, taken back.
    retracted: usize,
    /// Of those, still open.
    open: usize,
    /// From the onset to the verdict.
    delays: Vec<Duration>,
}

/// The scores of 90 days.
struct Card<'a> {
    aws: Score,
    azure: Score,
    neither: Score,
    /// Incidents in which nobody was ever accused.
    undecided: usize,
    retracted: Vec<&'a Change>,
}

impl Score {
    fn add(&mut self, change: &Change) {
        self.verdicts += 1;
        self.retracted += usize::from(change.state == State::Retracted);
        self.open += usize::from(change.state.is_open());
        self.delays.extend(change.attributed_at.map(|at| at.since(change.onset_at)));
    }
}

/// The middle of some spans; of an even number, the lower of the two in the middle.
fn median(mut spans: Vec<Duration>) -> Option<Duration> {
    spans.sort_unstable();
    spans.get(spans.len().saturating_sub(1) / 2).copied()
}

impl<'a> Card<'a> {
    fn of(view: &View<'a>) -> Self {
        let from = Span::Quarter.before(view.now);
        let mut card = Card {
            aws: Score::default(),
            azure: Score::default(),
            neither: Score::default(),
            undecided: 0,
            retracted: Vec::new(),
        };
        for change in view.board.incidents().filter(|change| change.opened_at >= from) {
            match words::last_named(change, view) {
                Some(Verdict::Aws) => card.aws.add(change),
                Some(Verdict::Azure) => card.azure.add(change),
                Some(Verdict::Neither) => card.neither.add(change),
                Some(Verdict::Undetermined) | None => {
                    card.undecided += 1;
                    continue;
                }
            }
            if change.state == State::Retracted {
                card.retracted.push(change);
            }
        }
        card
    }

    fn rows(&self) -> [(&'static str, &Score); 3] {
        [("AWS", &self.aws), ("Azure", &self.azure), ("neither cloud", &self.neither)]
    }

    fn verdicts(&self) -> usize {
        self.rows().iter().map(|(_, score)| score.verdicts).sum()
    }
}

/// By how much our verdicts of 90 days came before the accused cloud's own page, in the median; `None` where no page ever
/// said anything of them.
pub fn official_lead(board: &Board, now: Timestamp) -> Option<Lead> {
    let recent = board.incidents().filter(|change| change.opened_at >= Span::Quarter.before(now));
    let mut leads: Vec<i64> =
        recent.filter_map(|change| claims::lead(change, &board.claims)?.after_verdict_s).collect();
    leads.sort_unstable();
    let median = *leads.get(leads.len() / 2)?;
    let length = Duration::from_secs(median.unsigned_abs());
    Some(if median >= 0 { Lead::Before(length) } else { Lead::After(length) })
}

/// The scorecard in a sentence, with a link to it.
pub(super) fn line(view: &View<'_>) -> Markup {
    let card = Card::of(view);
    html! {
        "Last 90 days: " (words::count(card.verdicts(), "verdict")) ", " (card.retracted.len()) " retracted"
        @if let Some(lead) = view.official_lead { ", median " (lead_words(lead)) }
        ". " a href="/scorecard" { "Scorecard" }
    }
}

/// The section of its own page.
pub(super) fn scorecard(view: &View<'_>) -> Markup {
    let card = Card::of(view);
    html! {
        section #scorecard aria-labelledby="scorecard-title" {
            h2 #scorecard-title { "Scorecard of the last 90 days" }
            p { "Every verdict that was published, by whom it accused. A verdict that turned out wrong is retracted and stays here." }
            table.cards {
                thead {
                    tr {
                        @for head in ["Accused", "Verdicts", "Retracted", "Open", "Median from onset to verdict"] {
                            th scope="col" { (head) }
                        }
                    }
                }
                tbody {
                    @for (who, score) in card.rows() {
                        tr {
                            th scope="row" { (who) }
                            td data-label="Verdicts" { (score.verdicts) }
                            td data-label="Retracted" { (score.retracted) }
                            td data-label="Open" { (score.open) }
                            td data-label="Median from onset to verdict" {
                                (median(score.delays.clone()).map_or_else(|| "-".into(), words::span))
                            }
                        }
                    }
                }
            }
            p { (words::count(card.undecided, "incident")) " in which nobody was accused." }
            @if let Some(lead) = view.official_lead {
                p { "Median over incidents that the accused cloud's own page posted too: " b { (lead_words(lead)) } "." }
            }
            p { "A feed that is younger than 90 days has only its own time in this: " (began(view)) }
        }
        section #retracted aria-labelledby="retracted-title" {
            h2 #retracted-title { "Retracted" }
            @if card.retracted.is_empty() { p { "None in the last 90 days." } }
            ul {
                @for change in card.retracted.iter().take(LISTED) {
                    li {
                        (words::glyph(Mark::Retracted.glyph())) " " (words::at(change.at, view.now)) " "
                        a href={ "/incidents/" (change.incident) } {
                            s { (words::culprit(change).unwrap_or_else(|| change.incident.to_string())) }
                        }
                        ": " (change.headline)
                    }
                }
                @if card.retracted.len() > LISTED { li { "and " (card.retracted.len() - LISTED) " older ones" } }
            }
        }
    }
}

fn began(view: &View<'_>) -> Markup {
    html! {
        @match view.board.spells().began() {
            Some(at) => { "this one published its first change at " (words::at(at, view.now)) "." }
            None => "this one has published nothing yet."
        }
    }
}

/// "11 min before the official page", or after it.
fn lead_words(lead: Lead) -> String {
    match lead {
        Lead::Before(span) => format!("{} before the official page", words::span(span)),
        Lead::After(span) => format!("{} after the official page", words::span(span)),
    }
}

/// How our first word of an incident compares with that of the accused cloud's own page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Ours came first, by so much.
    Before(Duration),
    /// Theirs came first, by so much.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let seconds = |all: &[u64]| median(all.iter().copied().map(Duration::from_secs).collect());
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[9, 1, 5]), Some(Duration::from_secs(5)));
        assert_eq!(seconds(&[9, 1]), Some(Duration::from_secs(1)));
    }
}
