//! The verdict: the first thing that people read. It says who, how, who is cleared, how sure and since when.
//!
//! Rules: one section an open incident, the accused before the suspected; each cloud that is not accused is cleared or
//! said not to be; a quiet page says what it knows and no more; a blind one says that it cannot see.

use faultline_attribution::{Alibi, Change, ElementKind, EvidenceRow, State, Verdict, element::brand};
use maud::{Markup, html};

use super::{
    View, mine,
    words::{self, Mark},
};
use crate::report;

/// The banner.
pub(super) fn banner(view: &View<'_>) -> Markup {
    let open = open(view);
    let (accused, suspected): (Vec<&Change>, Vec<&Change>) =
        open.iter().partition(|change| change.state != State::Suspected);
    let blind = view.blindness();
    // The script leaves the banner alone while its key stays, so that a screen reader says each revision once.
    let key: Vec<String> = open.iter().map(|change| format!("{}.{}", change.incident, change.revision)).collect();
    html! {
        section #verdict role="status" aria-atomic="true" aria-label="Verdict"
            data-key={ (key.join(" ")) " " (blind.as_deref().unwrap_or_default()) } {
            @for change in accused { (accusation(change, view)) }
            @if let Some(reason) = &blind {
                div.verdict.blind {
                    h2 { (words::glyph(Mark::Blind.glyph())) " We cannot see: " (reason) }
                    p { "Do not trust silence: until this is mended, no news here is not good news." }
                }
            }
            @for change in &suspected { (accusation(change, view)) }
            @if open.is_empty() && blind.is_none() {
                div.verdict.quiet {
                    h2 { (words::glyph(Mark::Quiet.glyph())) " No failure attributed to AWS or Azure." }
                    p { "This is what the vantages below measure from outside. It is not a promise that everything works." }
                }
            }
        }
    }
}

/// Open incidents: those that accuse a cloud, then those that accuse somebody else, then the suspected.
pub(super) fn open<'a>(view: &View<'a>) -> Vec<&'a Change> {
    let mut open = view.board.open();
    open.sort_by_key(|change| (change.state == State::Suspected, Mark::of(change) != Mark::Accused));
    open
}

/// Rows of evidence in open incidents that are asked for, with their incident; the strongest of each first. Those of the newest
/// revision, and what that of its height had besides, which the incident's own page shows.
pub(super) fn evidence_of<'a>(
    view: &View<'a>,
    is_asked: impl Fn(&EvidenceRow) -> bool,
) -> Vec<(&'a Change, &'a EvidenceRow)> {
    let of = |change: &'a Change| {
        let is_same =
            |a: &EvidenceRow, b: &EvidenceRow| (&a.group, &a.target, a.layer) == (&b.group, &b.target, b.layer);
        let is_left_out = move |row: &&EvidenceRow| !change.evidence.iter().any(|newer| is_same(newer, row));
        let height = view.board.revisions(&change.incident).and_then(report::telling);
        let older = height.into_iter().flat_map(|height| &height.evidence).filter(is_left_out);
        change.evidence.iter().chain(older).map(move |row| (change, row))
    };
    open(view).into_iter().flat_map(of).filter(|(_, row)| is_asked(row)).collect()
}

/// What rows of evidence say, in a section of this id.
pub(super) fn spoken(evidence: &[(&Change, &EvidenceRow)], id: &str, view: &View<'_>) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { "Open incidents that it speaks in" }
            @if evidence.is_empty() { p { "None: it is in nobody's kept evidence." } } @else {
                table.cards {
                    thead {
                        tr {
                            @for head in ["Incident", "Vantage group", "Target", "Layer", "Cause", "Failed", "Since"] {
                                th scope="col" { (head) }
                            }
                        }
                    }
                    tbody {
                        @for (change, row) in evidence {
                            tr {
                                th scope="row" {
                                    a href={ "/incidents/" (change.incident) } {
                                        (words::culprit(change).unwrap_or_else(|| "cause unknown".into()))
                                    }
                                }
                                td data-label="Vantage group" { (words::vantage_link(&row.group)) }
                                td data-label="Target" { (words::target_link(&row.target)) }
                                td data-label="Layer" { (words::layer(row.layer)) }
                                td data-label="Cause" { code { (row.cause_word()) } }
                                td data-label="Failed" { (row.failed) " of " (row.runs) }
                                td data-label="Since" { (words::at(change.onset_at, view.now)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One open incident.
fn accusation(change: &Change, view: &View<'_>) -> Markup {
    let mark = Mark::of(change);
    html! {
        div.verdict.(mark.class()) {
            h2 {
                (words::glyph(mark.glyph())) " "
                @if mark == Mark::Suspected { "Possible problem. " }
                (change.headline)
                (mine::mark(change, view))
            }
            p {
                @if change.verdict == Verdict::Undetermined {
                    "Nobody is accused yet: " (change.undetermined_reason) "."
                } @else {
                    "Confidence " b { (words::probability(change.confidence)) " " (words::band(change.confidence)) } "."
                }
                " " (since(change, view))
                " " a href={ "/incidents/" (change.incident) } { "Evidence" }
            }
            (clearances(change, view))
        }
    }
}

/// "Since 15:41:04Z ± 20 s (7 min)."
pub(super) fn since(change: &Change, view: &View<'_>) -> Markup {
    html! {
        "Since " (words::at(change.onset_at, view.now)) " ± " (change.onset_uncertainty_s) " s"
        @if change.state.is_open() {
            // The only words of the banner that change without news: not for the screen reader to repeat.
            span data-age="" aria-live="off" { " (" (words::span(view.now.since(change.onset_at))) ")" }
        }
        "."
    }
}

/// A line for each cloud that is not accused: by what it is cleared, or that it is not.
pub(super) fn clearances(change: &Change, view: &View<'_>) -> Markup {
    let accused: Vec<Verdict> = view.board.open().iter().map(|open| open.verdict).chain([change.verdict]).collect();
    let is_unclear =
        |cloud: Verdict| !accused.contains(&cloud) && !change.alibis.iter().any(|alibi| alibi.party == cloud.as_str());
    // While nobody is accused there is nobody to clear.
    let names_somebody = change.state.is_open() && change.verdict != Verdict::Undetermined;
    html! {
        ul.alibis {
            @for alibi in &change.alibis {
                li {
                    (words::glyph("●")) " " (alibi_words(alibi, change))
                    // Alibis of an earlier release do not say it.
                    @if alibi.nats > 0.0 {
                        ", " span title=(format!("{:.1} nats", alibi.nats)) { (words::strength(alibi.nats)) }
                    }
                }
            }
            @for cloud in [Verdict::Aws, Verdict::Azure].into_iter().filter(|cloud| names_somebody && is_unclear(*cloud)) {
                li { (words::glyph("░")) " " (words::verdict(cloud)) ": not accused; too few checks since the onset to clear it" }
            }
        }
    }
}

/// "AWS: 121 of 121 checks passed from the same 16 vantage groups (connect)".
fn alibi_words(alibi: &Alibi, change: &Change) -> String {
    // Groups inside the fault cannot clear anybody when the fault is their own.
    let whose = if change.element_kind.is_some_and(ElementKind::is_vantage_side) { "other" } else { "same" };
    let groups = if alibi.groups == 1 { "vantage group" } else { "vantage groups" };
    format!(
        "{}: {} of {} checks passed from the {whose} {} {groups} ({})",
        brand(&alibi.party),
        alibi.passed,
        alibi.runs,
        alibi.groups,
        words::layer(alibi.layer),
    )
}
