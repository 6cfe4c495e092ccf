//! Incidents: the list on the front page, and the page of one with all that speaks for and against its verdict.

use std::collections::VecDeque;

use faultline_attribution::{Change, Verdict};
use maud::{Markup, html};

use super::{
    View, banner, mine,
    words::{self, Mark},
};

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
            (evidence(change, SHOWN))
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
pub(super) fn whole(change: &Change, revisions: &VecDeque<Change>, view: &View<'_>) -> Markup {
    let mark = Mark::of(change);
    html! {
        section #verdict role="status" aria-label="Verdict" data-key={ (change.incident) "." (change.revision) } {
            div.verdict.(mark.class()) {
                h2 { (words::glyph(mark.glyph())) " " (change.headline) }
                p { b { (mark.word()) } ". " (banner::since(change, view)) }
                (banner::clearances(change, view))
            }
        }
        section #facts aria-labelledby="facts-title" {
            h2 #facts-title { "Facts" }
            (facts(change, view))
        }
        section #doubts aria-labelledby="doubts-title" {
            h2 #doubts-title { "How sure" }
            (doubts(change))
            p { (probabilities(change)) }
        }
        section #evidence aria-labelledby="evidence-title" {
            h2 #evidence-title { "Evidence" }
            (evidence(change, usize::MAX))
        }
        section #revisions aria-labelledby="revisions-title" {
            h2 #revisions-title { "Revisions" }
            (history(revisions, view))
            details #json {
                summary { "The newest revision as JSON" }
                pre tabindex="0" { (serde_json::to_string_pretty(change).unwrap_or_default()) }
            }
        }
    }
}

fn facts(change: &Change, view: &View<'_>) -> Markup {
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let moment = |instant| words::at(instant, view.now);
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
            (fact("First published", moment(change.opened_at)))
            @if let Some(at) = change.attributed_at { (fact("Attributed", moment(at))) }
            @if let Some(at) = change.resolved_at { (fact("Ended", moment(at))) }
            (fact("Breaks at", html! { (words::layer(change.layer)) }))
            (fact("Regions", html! {
                @if change.regions.is_empty() { "everywhere, or of no region" } @else { (change.regions.join(", ")) }
            }))
            (fact("Seen by", html! {
                (change.failing_groups) " of " (change.total_groups) " vantage groups; the controls fail too for "
                (change.control_failing_groups)
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

/// The strongest rows, `most` of them.
fn evidence(change: &Change, most: usize) -> Markup {
    html! {
        @if change.evidence.is_empty() {
            p { "No row of evidence is kept." }
        } @else {
            table.cards.evidence {
                caption { "Strongest rows; the weight says by how much a row favours the verdict over no fault" }
                thead {
                    tr {
                        @for head in ["Vantage group", "Target", "Layer", "Cause", "Failed", "Weight"] {
                            th scope="col" { (head) }
                        }
                    }
                }
                tbody {
                    @for row in change.evidence.iter().take(most) {
                        tr {
                            th scope="row" { (words::vantage_link(&row.group)) }
                            td data-label="Target" { (words::target_link(&row.target)) }
                            td data-label="Layer" { (words::layer(row.layer)) }
                            td data-label="Cause" { code { (row.cause_word()) } }
                            td data-label="Failed" { (row.failed) " of " (row.runs) }
                            td data-label="Weight" { (format!("{:.1} nats", row.weight)) }
                        }
                    }
                }
            }
            @if change.evidence.len() > most {
                p { a href={ "/incidents/" (change.incident) "#evidence" } { "All " (change.evidence.len()) " rows" } }
            }
        }
    }
}

fn history(revisions: &VecDeque<Change>, view: &View<'_>) -> Markup {
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
                @for change in revisions.iter().rev() {
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
    }
}
