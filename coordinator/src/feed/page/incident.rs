//! Incidents: the list on the front page, and the page of one with all that speaks for and against its verdict.

mod evidence;

use faultline_attribution::{Change, State, Timestamp, Verdict};
use maud::{Markup, html};

pub use self::evidence::Order;
use self::evidence::evidence;
use super::{
    View, banner, lanes, mine,
    words::{self, Mark},
    work,
};
use crate::{
    feed::{archive::Past, plot::Figure},
    report,
};

/// What the page of one incident is made of, beside the view.
pub struct Told<'a> {
    /// Its revisions, oldest first: at least one.
    pub revisions: &'a [Change],
    /// What stays of its results, if it is at hand.
    pub past: Option<&'a Past>,
    /// How the rows of evidence are sorted.
    pub order: Order,
}

/// Revisions on an incident's page.
const REVISIONS: usize = 100;

/// Rows of evidence on the front page.
const SHOWN: usize = 5;

/// Open incidents with their evidence, and those that ended in the last day.
pub(super) fn recent(view: &View<'_>) -> Markup {
    let open = banner::open(view);
    let ended: Vec<&Change> = view.board.recent(view.now).filter(|change| !change.state.is_open()).collect();
    html! {
        section #incidents aria-labelledby="incidents-title" {
            h2 #incidents-title { "Incidents" }
            @if open.is_empty() && ended.is_empty() { p { "None open, none in the last 24 hours." } }
            @for change in open { (article(change, view)) }
            @if !ended.is_empty() {
                h3 { "Ended in the last 24 hours" }
                table.cards {
                    thead {
                        tr { @for head in ["Incident", "State", "Verdict", "Element", "From", "To"] { th scope="col" { (head) } } }
                    }
                    tbody { @for change in ended { (ended_row(change, view)) } }
                }
            }
        }
    }
}

fn article(change: &Change, view: &View<'_>) -> Markup {
    let mark = Mark::of(change);
    html! {
        article.(mark.class()) data-incident=(change.incident) {
            h3 {
                span.badge { (words::glyph(mark.glyph())) " " (mark.word()) } " "
                a href={ "/incidents/" (change.incident) } { (words::culprit(change).unwrap_or_else(|| "cause unknown".into())) }
                (mine::mark(change, view))
            }
            p {
                "Verdict " b { (words::verdict(change.verdict)) }
                @if let Some(kind) = change.kind { " (" (kind) ")" }
                @if !change.element.is_empty() { ", element " code { (change.element) } }
                ". " (banner::since(change, view)) " Seen by "
                (change.failing_groups) " of " (change.total_groups) " vantage groups that looked."
            }
            (banner::clearances(change, view))
            (doubts(change))
            (evidence(change, SHOWN, None))
        }
    }
}

fn ended_row(change: &Change, view: &View<'_>) -> Markup {
    let mark = Mark::of(change);
    html! {
        tr.(mark.class()) {
            th scope="row" { a href={ "/incidents/" (change.incident) } { (change.headline) } }
            td data-label="State" { (words::glyph(mark.glyph())) " " (mark.word()) }
            td data-label="Verdict" { (words::verdict(change.verdict)) }
            td data-label="Element" { (words::culprit(change).unwrap_or_else(|| "-".into())) }
            td data-label="From" { (words::at(change.onset_at, view.now)) }
            td data-label="To" { @if let Some(end) = change.resolved_at { (words::at(end, view.now)) } }
        }
    }
}

/// The body of an incident's own page.
pub(super) fn whole(change: &Change, told: &Told<'_>, view: &View<'_>) -> Markup {
    let mark = Mark::of(change);
    // Later revisions speak of what was left of it: evidence and alibis are those of its height.
    let telling = report::telling(told.revisions).unwrap_or(change);
    let is_retracted = change.state == State::Retracted;
    html! {
        section #verdict role="status" aria-label="Verdict" data-key={ (change.incident) "." (change.revision) } {
            div.verdict.(mark.class()) {
                h2 { (words::glyph(mark.glyph())) " " (change.headline) }
                p { b { (mark.word()) } ". " (banner::since(change, view)) }
                @if !is_retracted { (banner::clearances(telling, view)) }
            }
        }
        @if is_retracted { (retraction(change, told.revisions, view)) }
        @if !change.notes.is_empty() { (notes(change, view)) }
        section #facts aria-labelledby="facts-title" {
            h2 #facts-title { "Facts" }
            (facts(change, telling, view))
        }
        @if !view.board.claims.is_empty() {
            section #others aria-labelledby="others-title" {
                h2 #others-title { "What others said" }
                (lanes::beside(change, &view.board.claims, view.now))
            }
        }
        (work::beside(change, view))
        section #curves aria-labelledby="curves-title" {
            h2 #curves-title { "Before and after" }
            (pictures(change, told.past, view))
        }
        section #doubts aria-labelledby="doubts-title" {
            h2 #doubts-title { "How sure" }
            (doubts(telling))
            p { (probabilities(telling)) }
        }
        section #evidence aria-labelledby="evidence-title" {
            h2 #evidence-title { "Evidence" }
            @if telling.revision != change.revision {
                p { "As published in revision " (telling.revision) ", at the height of it." }
            }
            (evidence(telling, usize::MAX, Some(told.order)))
        }
        section #revisions aria-labelledby="revisions-title" {
            h2 #revisions-title { "Revisions" }
            (history(told.revisions, view))
            details #json {
                summary { "The newest revision as JSON" }
                pre tabindex="0" { (serde_json::to_string_pretty(change).unwrap_or_default()) }
            }
        }
        section #report aria-labelledby="report-title" {
            h2 #report-title { "Report" }
            p { "All of this told for somebody who was not there, in one file. This page's address stays the same for ever." }
            ul.files {
                @for (file, what) in [("report.html", "web page"), ("report.md", "Markdown"), ("report.json", "JSON")] {
                    li { a href={ "/incidents/" (change.incident) "/" (file) } { (what) } }
                }
                li { code { "faultline report " (change.incident) " -o report.html" } }
            }
        }
    }
}

/// The box of a verdict that was taken back.
fn retraction(change: &Change, revisions: &[Change], view: &View<'_>) -> Markup {
    let wrong = revisions.iter().rev().find(|revision| revision.state != State::Retracted);
    html! {
        section #retraction aria-labelledby="retraction-title" {
            h2 #retraction-title { (words::glyph(Mark::Retracted.glyph())) " Retracted " (words::at(change.at, view.now)) }
            p { (change.headline) }
            @if let Some(wrong) = wrong {
                p { "What stood here before, and was wrong:" }
                blockquote { (wrong.headline) }
            }
            p { "Everything below is what we said and why, as it was published." }
        }
    }
}

/// What people wrote beside it, oldest first.
fn notes(change: &Change, view: &View<'_>) -> Markup {
    html! {
        section #notes aria-labelledby="notes-title" {
            h2 #notes-title { "Notes" }
            ul {
                @for note in &change.notes {
                    li {
                        (words::at(note.at, view.now)) ": " (note.text)
                        @if !note.link.is_empty() { " " a href=(note.link) rel="nofollow noreferrer" { (note.link) } }
                    }
                }
            }
        }
    }
}

/// The pictures, each with its words and numbers.
fn pictures(change: &Change, past: Option<&Past>, view: &View<'_>) -> Markup {
    let Some(past) = past.filter(|past| !past.figures.is_empty()) else {
        return html! {
            p {
                @if change.state.is_open() { "Nothing to draw yet: results are counted by the minute. Look again in one." }
                @else { "No result of those minutes is left to draw." }
            }
        };
    };
    html! {
        p {
            "Runs at the " (words::count(past.history.targets.len(), "target")) " that the evidence names"
            @if change.state.is_open() { ", until " (words::at(past.history.to, view.now)) }
            "."
        }
        @for figure in &past.figures { (picture(figure)) }
    }
}

fn picture(figure: &Figure) -> Markup {
    html! {
        figure {
            h3 { (figure.title) }
            div.picture tabindex="0" role="region" aria-label=(figure.title) { (figure.svg) }
            figcaption { (figure.says) }
            details id={ "numbers-" (figure.id) } {
                summary { "The same as numbers" }
                (figure.numbers.markup())
            }
        }
    }
}

fn facts(change: &Change, telling: &Change, view: &View<'_>) -> Markup {
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let moment = |instant| words::at(instant, view.now);
    let after = |instant: Timestamp| {
        html! {
            (moment(instant))
            @if instant >= change.onset_at { " (" (report::span(instant.since(change.onset_at))) " after the onset)" }
        }
    };
    html! {
        dl.facts {
            (fact("Incident", html! { code { (change.incident) } }))
            (fact("State", html! { (change.state) ", revision " (change.revision) }))
            (fact("Verdict", html! {
                (words::verdict(change.verdict))
                @if let Some(kind) = change.kind { " (" (kind) ")" }
            }))
            @if let Some(kind) = change.element_kind.filter(|_| !change.element.is_empty()) {
                (fact("Element", html! { code { (change.element) } " (" (kind) ")" }))
            }
            @if change.verdict != Verdict::Undetermined {
                (fact("Confidence", html! { (words::probability(change.confidence)) " " (words::band(change.confidence)) }))
            }
            (fact("Onset", html! { (moment(change.onset_at)) " ± " (change.onset_uncertainty_s) " s" }))
            (fact("Detected", after(change.opened_at)))
            @if let Some(at) = change.attributed_at { (fact("Attributed", after(at))) }
            @if let Some(at) = change.resolved_at { (fact(if change.state == State::Retracted { "Retracted" } else { "Resolved" }, after(at))) }
            (fact("Breaks at", html! { (words::layer(change.layer)) }))
            (fact("Regions", html! {
                @if change.regions.is_empty() { "everywhere, or of no region" } @else { (change.regions.join(", ")) }
            }))
            (fact("Seen by", html! {
                (telling.failing_groups) " of " (telling.total_groups) " vantage groups; the controls fail too for "
                (telling.control_failing_groups)
            }))
            @if !change.superseded_by.is_empty() {
                (fact("Folded into", html! { a href={ "/incidents/" (change.superseded_by) } { (change.superseded_by) } }))
            }
            (fact("Engine", html! { "version " (change.engine) }))
        }
    }
}

/// Who else it could be, and what would change our mind.
fn doubts(change: &Change) -> Markup {
    html! {
        @if !change.suspects.is_empty() {
            p { "Candidates, nobody accused yet:" }
            ul.suspects {
                @for suspect in &change.suspects {
                    li { code { (suspect.element) } " " (format!("{:.0} %", suspect.probability * 100.0)) }
                }
            }
        }
        @if !change.undetermined_reason.is_empty() { p { "Why not yet: " (change.undetermined_reason) "." } }
        @if !change.caveats.is_empty() {
            p { "What would change our mind:" }
            ul.caveats { @for caveat in &change.caveats { li { (caveat) } } }
        }
    }
}

fn probabilities(change: &Change) -> Markup {
    let of = &change.probabilities;
    let answers = [("AWS", of.aws), ("Azure", of.azure), ("neither", of.neither), ("nothing wrong", of.none)];
    let answers = answers.map(|(answer, probability)| format!("{answer} {}", words::probability(probability)));
    html! { "Probability of each answer: " (answers.join(", ")) "." }
}

fn history(revisions: &[Change], view: &View<'_>) -> Markup {
    html! {
        table.cards {
            caption { "Every revision that was published, newest first" }
            thead {
                tr {
                    @for head in ["Revision", "Published", "State", "Verdict", "Confidence", "Headline"] {
                        th scope="col" { (head) }
                    }
                }
            }
            tbody {
                @for change in revisions.iter().rev().take(REVISIONS) {
                    tr.(Mark::of(change).class()) {
                        th scope="row" { (change.revision) }
                        td data-label="Published" { (words::at(change.at, view.now)) }
                        td data-label="State" { (change.state) }
                        td data-label="Verdict" { (words::verdict(change.verdict)) }
                        td data-label="Confidence" {
                            @if change.verdict == Verdict::Undetermined { "-" } @else { (words::probability(change.confidence)) }
                        }
                        td data-label="Headline" { (change.headline) }
                    }
                }
            }
        }
        @if let (Some(newest), Some(earlier @ 1..)) = (revisions.last(), revisions.len().checked_sub(REVISIONS)) {
            p { (words::count(earlier, "earlier revision")) ": " a href={ "/incidents/" (newest.incident) "/report.json" } { "all of them as JSON" } }
        }
    }
}
