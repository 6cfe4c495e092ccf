//! Planned work: on the front page while it is near, and beside an incident that it may have to do with.

use faultline_attribution::Change;
use maud::{Markup, html};

use super::{View, words};
use crate::work::{PlannedWork, Stage};

/// Works that are listed.
const SHOWN: usize = 20;

/// The section of the front page; nothing where nothing is planned.
pub(super) fn near(view: &View<'_>) -> Markup {
    let all: Vec<_> = view.board.work.recent(view.now).collect();
    html! {
        @if !all.is_empty() {
            section #work aria-labelledby="work-title" {
                h2 #work-title { "Planned work" }
                p { "Announced by whoever runs this. No verdict is made of it." }
                (list(&all, view))
            }
        }
    }
}

/// The section of an incident's page: work that was going on while it lasted and may touch what it touches.
pub(super) fn beside(change: &Change, view: &View<'_>) -> Markup {
    let all = view.board.work.beside(change, view.now);
    html! {
        @if !all.is_empty() {
            section #work aria-labelledby="work-title" {
                h2 #work-title { "Planned work at the time" }
                (list(&all, view))
            }
        }
    }
}

/// As a list.
pub(super) fn list(all: &[&PlannedWork], view: &View<'_>) -> Markup {
    html! {
        ul {
            @for work in all.iter().take(SHOWN) { li { (told(work, view)) } }
            @if all.len() > SHOWN {
                li {
                    "and " (all.len() - SHOWN) " more"
                    // A copy has no such file.
                    @if view.copied.is_none() { ": " a href="/api/v1/work" { "all of it" } }
                }
            }
        }
    }
}

/// "Going on, from 06:12:00Z to 07:00:00Z: A new carrier in Frankfurt (aws/eu-central-1)."
fn told(work: &PlannedWork, view: &View<'_>) -> Markup {
    let stage = work.stage(view.now);
    html! {
        span.badge {
            @match stage {
                Stage::Scheduled => "to come",
                Stage::InProgress => "going on",
                Stage::Completed => "ended",
                Stage::Cancelled => "called off",
            }
        }
        " " (words::at(work.starts_at, view.now)) " to " (words::at(work.ends_at, view.now)) ": "
        @if stage == Stage::Cancelled { s { (work.text) } " (" (work.cancel_reason) ")" } @else { (work.text) }
        @for element in &work.elements { " " code { (element) } }
        @if !work.link.is_empty() { " " a href=(work.link) rel="nofollow noreferrer" { (work.link) } }
    }
}
