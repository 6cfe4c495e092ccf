//! Our states in Statuspage's words.
//!
//! | ours | incident | component | impact, indicator |
//! |---|---|---|---|
//! | suspected, undetermined | investigating | `degraded_performance` where it is not ok | minor |
//! | attributed, one region | identified | `partial_outage` | major |
//! | attributed, most regions or a global service | identified | `major_outage` | critical |
//! | attributed, neither cloud | identified | operational | minor |
//! | recovering | monitoring | `degraded_performance` | minor |
//! | resolved, retracted | resolved | operational | none |
//!
//! Nobody is accused while something is only suspected, so a component is then degraded by what its own cells show. They count
//! too where no incident explains them, and not while one is attributed to neither cloud: that explains them. A component
//! without data is as it was last.
//! Source: section 3.3 of the project's design notes on the feed.

use faultline_attribution::{CellState, Change, ElementKind, State, Verdict};
use serde::Serialize;

use crate::feed::formats::rows::Row;

/// How bad an incident, or the page, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Impact {
    #[default]
    None,
    Minor,
    Major,
    Critical,
}

/// How a component is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ComponentStatus {
    #[default]
    Operational,
    DegradedPerformance,
    PartialOutage,
    MajorOutage,
}

/// Where an incident is in its life.
pub(super) fn incident_status(change: &Change) -> &'static str {
    match (change.state, change.verdict) {
        (State::Resolved | State::Retracted, _) => "resolved",
        (State::Recovering, _) => "monitoring",
        (State::Suspected, _) | (_, Verdict::Undetermined) => "investigating",
        (State::Attributed, _) => "identified",
    }
}

/// How bad an incident is; `rows` tells how many regions there are.
pub(super) fn impact(change: &Change, rows: &[Row<'_>]) -> Impact {
    match (change.state, change.verdict) {
        (State::Resolved | State::Retracted, _) => Impact::None,
        (State::Attributed, Verdict::Aws | Verdict::Azure) if is_wide(change, rows) => Impact::Critical,
        (State::Attributed, Verdict::Aws | Verdict::Azure) => Impact::Major,
        _ => Impact::Minor,
    }
}

/// How a component is, by the incidents that go on and by its own cells.
pub(super) fn component_status(row: &Row<'_>, open: &[&Change], rows: &[Row<'_>]) -> ComponentStatus {
    let accused = open.iter().filter(|change| row.is_touched_by(change)).map(|change| of_group(change, rows)).max();
    let is_explained =
        open.iter().any(|change| change.verdict == Verdict::Neither && change.state == State::Attributed);
    let is_wrong = matches!(row.worst(), CellState::Degraded | CellState::Failing);
    let seen =
        if is_wrong && !is_explained { ComponentStatus::DegradedPerformance } else { ComponentStatus::Operational };
    accused.unwrap_or_default().max(seen)
}

/// How whatever an accusation is about is.
pub(super) fn of_group(change: &Change, rows: &[Row<'_>]) -> ComponentStatus {
    match impact(change, rows) {
        Impact::None => ComponentStatus::Operational,
        Impact::Minor => ComponentStatus::DegradedPerformance,
        Impact::Major => ComponentStatus::PartialOutage,
        Impact::Critical => ComponentStatus::MajorOutage,
    }
}

/// Whether most regions of the accused fail, or a service that has none.
fn is_wide(change: &Change, rows: &[Row<'_>]) -> bool {
    let is_of_one_geography = change.element.split('/').count() > 2;
    match change.element_kind {
        Some(ElementKind::CdnSite) => false,
        Some(ElementKind::Network) => !is_of_one_geography,
        _ if change.regions.is_empty() => true,
        _ => {
            let provider = change.verdict.as_str();
            let regions = rows.iter().filter(|row| row.provider == provider).count();
            change.regions.len() > 1 && change.regions.len() * 2 > regions
        }
    }
}
