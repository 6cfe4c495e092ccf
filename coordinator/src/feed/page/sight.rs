//! Can we see? Who looks, from where, and whether that is enough: what every verdict, and every silence, stands on.

use faultline_attribution::{SessionState, Timestamp, Vantage, element::brand};
use faultline_proto::convert;
use maud::{Markup, html};

use super::{View, words};
use crate::ingest::AgentView;

/// Agents that are listed at once; more are behind a fold.
const UNFOLDED: usize = 8;

/// The strip under the banner.
pub(super) fn strip(view: &View<'_>) -> Markup {
    let sight = &view.board.visibility;
    let blind = view.blindness();
    html! {
        section #sight class=(if blind.is_some() { "blind" } else { "sees" }) aria-labelledby="sight-title" {
            h2 #sight-title { "Can we see?" }
            ul {
                li { b { (sight.live_groups) " of " (sight.total_groups) } " vantage groups live" }
                li { b { (sight.live_groups_outside_clouds) } " outside both clouds" }
                li { b { (sight.live_networks) } " networks" }
                li {
                    @if sight.evaluated_through == Timestamp::default() {
                        "no results evaluated yet"
                    } @else {
                        "results up to " (words::at(sight.evaluated_through, view.now))
                    }
                }
                li {
                    @match &blind {
                        Some(reason) => { (words::glyph("░")) " " b { "no quorum" } ": " (reason) }
                        None => { (words::glyph("✓")) " " b { "quorum" } ": enough for a verdict" }
                    }
                }
                @for notice in view.board.all_notices() { li { (words::glyph("▲")) " " (notice) } }
            }
        }
    }
}

/// Every agent that has ever said hello.
pub(super) fn vantages(view: &View<'_>) -> Markup {
    let mut agents: Vec<&AgentView> = view.agents.iter().collect();
    agents.sort_by_key(|agent| (order(agent.state), &agent.agent));
    let in_state = |state| agents.iter().filter(|agent| agent.state == state).count();
    html! {
        section #vantages aria-labelledby="vantages-title" {
            h2 #vantages-title { "Vantages" }
            @if view.copied.is_some_and(|copied| !copied.has_agents) {
                p { "This copy was made of the feed, which does not name agents." }
            } @else if agents.is_empty() {
                p { "No agent has ever said hello. Issue one with " code { "faultline agent issue NAME" } "." }
            } @else {
                details #all-vantages open[agents.len() <= UNFOLDED] {
                    summary {
                        (words::count(agents.len(), "agent")) ": "
                        (in_state(SessionState::Up)) " up, "
                        (in_state(SessionState::Silent)) " silent, "
                        (in_state(SessionState::Goodbye)) " left"
                    }
                    (table(&agents, view))
                }
            }
        }
    }
}

/// Agents, in this order.
pub(super) fn table(agents: &[&AgentView], view: &View<'_>) -> Markup {
    html! {
        table.cards {
            caption.sr { "Agents, the silent ones first" }
            thead {
                tr {
                    @for head in ["Agent", "Vantage group", "Where", "Network", "Session", "Last heard"] {
                        th scope="col" { (head) }
                    }
                }
            }
            tbody { @for agent in agents { (row(agent, view)) } }
        }
    }
}

fn row(agent: &AgentView, view: &View<'_>) -> Markup {
    let vantage = agent.vantage.as_ref();
    let (class, shape, word) = match agent.state {
        SessionState::Up => ("up", "●", "up"),
        SessionState::Silent => ("silent", "▲", "silent"),
        SessionState::Goodbye => ("left", "○", "said goodbye"),
    };
    html! {
        tr {
            th scope="row" { (agent.agent) }
            td data-label="Vantage group" {
                @match vantage { Some(vantage) => (words::vantage_link(&vantage.group)), None => "-" }
            }
            td data-label="Where" { (vantage.map_or_else(|| "-".into(), place)) }
            td data-label="Network" { (vantage.map_or_else(|| "-".into(), Vantage::network)) }
            td.(class) data-label="Session" {
                (words::glyph(shape)) " " (word)
                @for trouble in troubles(agent) { br; (words::glyph("▲")) " " (trouble) }
                @if !agent.told.refused.is_empty() {
                    details {
                        summary { "which it refuses" }
                        ul { @for refused in &agent.told.refused {
                            li { code { (refused.target) } " (slot " (refused.slot) "): " (refused.reason) }
                        } }
                    }
                }
            }
            td data-label="Last heard" { (words::span(view.now.since(agent.heard_at))) " ago" }
        }
    }
}

/// What the agent could not measure or hand in, and what it finds wrong with itself, in words.
fn troubles(agent: &AgentView) -> Vec<String> {
    let told = &agent.told;
    let standing = agent.standing.state;
    // Why is between the operator and the agent.
    let put_aside = (!standing.counts()).then(|| format!("{}: what it measures does not count", standing.word()));
    let lost = agent.lost.results.iter().map(|(to, results)| format!("{results} results lost: {to}"));
    let mut words: Vec<String> = put_aside.into_iter().chain(lost).collect();
    let mut counted = |count: u64, what: &str| {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    };
    counted(told.skipped_runs, "runs skipped: it was too busy");
    counted(told.refused_assignments, "targets refused by its own policy");
    counted(told.refused_looks, "extra looks refused by its own limits");
    words.extend(told.impairments.iter().map(|reason| format!("impaired: {}", convert::word(*reason))));
    if let Some(error) = told.clock_error() {
        words.push(format!("its clock is off by {:.1} s or more", error.as_secs_f64()));
    }
    if told.is_spool_durable == Some(false) {
        words.push("its spool is in memory: what waits there is lost when it ends".into());
    }
    words
}

/// "DE, inside AWS eu-central-1" or "ES, outside both clouds".
fn place(vantage: &Vantage) -> String {
    let country = vantage.country.as_ref().or(vantage.geography.as_ref()).map(|country| country.to_uppercase());
    let host = match (&vantage.hosted_on, &vantage.region) {
        (Some(cloud), Some(region)) if !vantage.is_outside_clouds() => format!("inside {} {region}", brand(cloud)),
        (Some(cloud), None) if !vantage.is_outside_clouds() => format!("inside {}", brand(cloud)),
        _ => "outside both clouds".into(),
    };
    country.into_iter().chain([host]).collect::<Vec<_>>().join(", ")
}

/// Who needs a look comes first.
const fn order(state: SessionState) -> u8 {
    match state {
        SessionState::Silent => 0,
        SessionState::Up => 1,
        SessionState::Goodbye => 2,
    }
}
