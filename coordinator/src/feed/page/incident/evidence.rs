//! The table of evidence: sorted by the column that the address names (`?sort=target`), so that it sorts without scripts; and
//! the same rows for programs.

use std::cmp::Ordering;

use faultline_attribution::{Change, EvidenceRow};
use maud::{Markup, html};

use super::super::words;

/// The column that rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Vantage group.
    Group,
    /// Target.
    Target,
    /// Layer, as a run walks them.
    Layer,
    /// Cause.
    Cause,
    /// Share that failed, the largest first.
    Failed,
    /// Weight, the largest first.
    #[default]
    Weight,
}

impl Order {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Group, "group", "Vantage group"),
        (Self::Target, "target", "Target"),
        (Self::Layer, "layer", "Layer"),
        (Self::Cause, "cause", "Cause"),
        (Self::Failed, "failed", "Failed"),
        (Self::Weight, "weight", "Weight"),
    ];

    /// The order of this name; that of weights for any other.
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map_or(Self::Weight, |(order, ..)| order)
    }

    /// Rows of the same place stay in the order of their weights.
    fn compare(self, a: &EvidenceRow, b: &EvidenceRow) -> Ordering {
        let share = |row: &EvidenceRow| f64::from(row.failed) / f64::from(row.runs.max(1));
        match self {
            Self::Group => a.group.cmp(&b.group),
            Self::Target => a.target.cmp(&b.target),
            Self::Layer => a.layer.cmp(&b.layer),
            Self::Cause => a.cause_word().cmp(b.cause_word()),
            Self::Failed => share(b).total_cmp(&share(a)),
            Self::Weight => b.weight.total_cmp(&a.weight),
        }
    }
}

/// The strongest rows, `most` of them; with `order`, all that can be done with them.
pub(super) fn evidence(change: &Change, most: usize, order: Option<Order>) -> Markup {
    if change.evidence.is_empty() {
        return html! { p { "No row of evidence is kept." } };
    }
    let mut rows: Vec<&EvidenceRow> = change.evidence.iter().take(most).collect();
    if let Some(order) = order {
        rows.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        rows.sort_by(|a, b| order.compare(a, b));
    }
    html! {
        table.cards.evidence {
            caption { "The weight says by how much a row favours the verdict over no fault" }
            thead { tr { @for (column, name, title) in Order::ALL { (head(change, column, name, title, order)) } } }
            tbody {
                @for row in rows {
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
        @if order.is_some() {
            p { "The same as " (file(change, "evidence.csv", "CSV")) " or " (file(change, "evidence.json", "JSON")) "." }
        } @else if change.evidence.len() > most {
            p { a href={ "/incidents/" (change.incident) "#evidence" } { "All " (change.evidence.len()) " rows" } }
        }
    }
}

/// A column's head: a link that sorts by it, where the table can be sorted.
fn head(change: &Change, column: Order, name: &str, title: &str, order: Option<Order>) -> Markup {
    let falls = matches!(column, Order::Failed | Order::Weight);
    match order {
        None => html! { th scope="col" { (title) } },
        Some(order) if order == column => {
            html! { th scope="col" aria-sort=(if falls { "descending" } else { "ascending" }) { (title) } }
        }
        Some(_) => html! {
            th scope="col" { a href={ "/incidents/" (change.incident) "?sort=" (name) "#evidence" } { (title) } }
        },
    }
}

fn file(change: &Change, name: &str, title: &str) -> Markup {
    html! { a href={ "/incidents/" (change.incident) "/" (name) } { (title) } }
}
