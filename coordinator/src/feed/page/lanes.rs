//! Lanes: who says what, when. What we measure and what status pages and crowds say, over the time around an incident.
//!
//! Rules: a drawing, and the same as a list in words; nothing posted is drawn as nothing, and never as "ok"; what cannot be
//! reached or read is drawn unlike either. What others say stands beside the verdict and changes none of it.

use std::time::Duration;

use faultline_attribution::{Change, State, Timestamp, Verdict, element::brand};
use maud::{Markup, html};

use self::drawing::drawing;
use super::{View, banner, words};
use crate::claims::{self, Claim, Claims, Lead, Stance, Told, leads};

mod drawing;

/// A crowd that nobody has pushed in for this long says nothing of the present.
const FRESH: Duration = Duration::from_hours(1);

/// Sources on the page.
const MOST: usize = 12;

/// The section.
pub(super) fn lanes(view: &View<'_>) -> Markup {
    let claims = &view.board.claims;
    let shown = shown(view);
    html! {
        section #claims aria-labelledby="claims-title" {
            h2 #claims-title { "Who says what, when" }
            @for sentence in contrasts(view, shown) { p.contrast { (sentence) } }
            @if !claims.is_empty() { (drawing(view, shown)) }
            ul.says {
                li { b { "Measured" } ": " (measured(view, shown)) }
                @for told in claims.all().take(MOST) {
                    li { (says(told, view.now)) @if let Some(change) = shown { (beside_one(change, told, claims)) } }
                }
            }
            @if claims.is_empty() {
                p { "Nobody's word is collected here: no status page is asked, and no crowd was pushed in." }
            } @else {
                p.dim { "What others say is shown, and is no input: no verdict rests on it." }
            }
        }
    }
}

/// What others said of an incident, and how long before or after us, as a list.
pub fn beside(change: &Change, claims: &Claims, now: Timestamp) -> Markup {
    let leads = leads(change, claims);
    let cloud = change.verdict.as_str();
    let official = claims.all().find(|told| told.newest().is_official() && told.newest().about == cloud);
    let is_silent = |told: &&Told| !leads.iter().any(|lead| lead.is_official && lead.source == told.newest().source);
    html! {
        ul.beside {
            @for lead in leads.iter().take(MOST) {
                li {
                    (lead_words(change, lead)) " (" (words::at(lead.says_at, now)) ")"
                    @if lead.is_official && lead.agrees && let Some(after) = lead.after_verdict_s { ": " (first(after)) }
                    "."
                }
            }
            @if let Some(told) = official.filter(is_silent) {
                li { (told.newest().source_title()) " posted nothing about it that we saw." }
            }
            @if leads.is_empty() && official.is_none() { li { "Nobody else said anything that we saw." } }
        }
    }
}

/// The incident that the section is about: the open one that the banner names first, else the newest that ended lately.
fn shown<'a>(view: &View<'a>) -> Option<&'a Change> {
    let ended = || view.board.recent(view.now).max_by_key(|change| change.resolved_at);
    banner::open(view).into_iter().next().or_else(ended)
}

fn measured(view: &View<'_>, shown: Option<&Change>) -> Markup {
    let blind = view.blindness();
    let accused = || banner::open(view).into_iter().filter(|change| change.verdict != Verdict::Undetermined);
    let onset =
        |change: &Change| html! { (words::at(change.onset_at, view.now)) " ± " (change.onset_uncertainty_s) " s" };
    html! {
        @match shown {
            Some(change) if change.state.is_open() => {
                @if change.verdict == Verdict::Undetermined {
                    "something fails since " (onset(change)) ", and the evidence cannot yet say who"
                } @else {
                    @for (place, change) in accused().enumerate() {
                        @if place > 0 { "; " }
                        (words::culprit(change).unwrap_or_else(|| words::verdict(change.verdict).into())) " since " (onset(change))
                    }
                }
            }
            _ if blind.is_some() => { "we cannot see" }
            Some(change) if change.state == State::Retracted => { "nothing; what we said of " (onset(change)) " is retracted" }
            Some(change) => {
                "nothing now; "
                (words::culprit(change).unwrap_or_else(|| "something, nobody knows what,".into()))
                " from " (onset(change))
                @if let Some(end) = change.resolved_at { " to " (words::at(end, view.now)) }
            }
            None => { "no failure attributed" }
        }
        "."
    }
}

/// "Crowd says AWS, measured says Azure."
fn contrasts(view: &View<'_>, shown: Option<&Change>) -> Vec<String> {
    let open = shown.filter(|change| change.state.is_open());
    let ours = match open.map(|change| change.verdict) {
        Some(Verdict::Undetermined) => "measured cannot yet say who".to_owned(),
        Some(verdict) => format!("measured says {}", words::verdict(verdict)),
        None if view.blindness().is_some() => "we cannot see".to_owned(),
        None => "measured says that nothing is attributed".to_owned(),
    };
    let mut crowds: Vec<(String, Vec<String>)> = Vec::new();
    for told in view.board.claims.all().filter(|told| !told.newest().is_official() && is_loud(told, view.now)) {
        let (source, about) = (told.newest().source_title(), brand(&told.newest().about));
        match crowds.iter_mut().find(|(known, _)| *known == source) {
            Some((_, abouts)) => abouts.push(about),
            None => crowds.push((source, vec![about])),
        }
    }
    crowds.into_iter().map(|(source, abouts)| format!("{source} says {}, {ours}.", abouts.join(" and "))).collect()
}

fn is_loud(told: &Told, now: Timestamp) -> bool {
    let claim = told.newest();
    let heard_at = told.checked_at.max(Some(claim.observed_at)).unwrap_or(claim.observed_at);
    claim.stance == Stance::ReportsProblem && now.since(heard_at) <= FRESH
}

/// "AWS status: nothing posted (checked 12 s ago)."
fn says(told: &Told, now: Timestamp) -> Markup {
    let claim = told.newest();
    html! {
        b { (claim.source_title()) } ": "
        @match (told.crowd.or(claim.crowd), claim.stance) {
            (Some(crowd), stance) => {
                (crowd.count) " reports about " (brand(&claim.about)) ", " (crowd.baseline) " are usual"
                @if let Some(window) = crowd.window_s { " in " (words::span(Duration::from_secs(window.into()))) }
                @if stance == Stance::ReportsProblem { "; that many since " (words::at(claim.since, now)) }
            }
            (None, Stance::ReportsProblem) => { "reports a problem since " (words::at(claim.since, now)) }
            (None, Stance::NothingPosted) => { "nothing posted" }
            (None, Stance::Unreachable) => { "unreachable since " (words::at(claim.since, now)) }
            (None, Stance::Unparseable) => { "says what we cannot read, since " (words::at(claim.since, now)) }
        }
        " (" (checked(told, now)) ")."
        @if !claim.regions.is_empty() { " Names " (claim.regions.join(", ")) "." }
        @if !claim.text.is_empty() { " " q { (claim.text) } }
        @if !claim.reason.is_empty() { " Why: " (claim.reason) "." }
        @if !claim.link.is_empty() { " " a href=(claim.link) rel="noreferrer nofollow external" { "Their words" } }
    }
}

fn checked(told: &Told, now: Timestamp) -> Markup {
    let word = if told.newest().is_official() { "checked" } else { "counted" };
    html! {
        @match told.checked_at {
            Some(at) => { (word) " " (words::span(now.since(at))) " ago" }
            None => { "not " (word) " since the coordinator started, last seen " (words::at(told.newest().observed_at, now)) }
        }
    }
}

/// " Posted 11 min after our onset."
fn beside_one(change: &Change, told: &Told, claims: &Claims) -> Markup {
    let claim = told.newest();
    let lead = leads(change, claims).into_iter().find(|lead| is_of(lead, claim));
    html! { @if let Some(lead) = lead { " " (lead_words(change, &lead)) "." } }
}

fn is_of(lead: &Lead, claim: &Claim) -> bool {
    (&lead.source, &lead.about) == (&claim.source, &claim.about)
}

/// "Azure status posted 11 min after our onset", "Crowd said AWS 3 min before our onset".
fn lead_words(change: &Change, lead: &Lead) -> String {
    let source = claims::title(&lead.source);
    let did = if lead.is_official { "posted".to_owned() } else { format!("said {}", brand(&lead.about)) };
    let apart = Duration::from_secs(lead.after_onset_s.unsigned_abs());
    let when = if apart.as_secs_f64() <= change.onset_uncertainty_s {
        "at our onset, as far as that is known".to_owned()
    } else {
        format!("{} {} our onset", words::span(apart), if lead.after_onset_s < 0 { "before" } else { "after" })
    };
    format!("{source} {did} {when}")
}

/// By how much whoever was first was first.
fn first(after_verdict_s: i64) -> String {
    let apart = words::span(Duration::from_secs(after_verdict_s.unsigned_abs()));
    if after_verdict_s < 0 { format!("{apart} before our verdict") } else { format!("{apart} after our verdict") }
}

#[cfg(test)]
mod tests;
