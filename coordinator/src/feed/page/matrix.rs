//! The matrix: a row for each region, or service that has none, a column for each layer.
//!
//! Rules: the worst rows come first and are never folded, unless the reader names rows: then those are shown, and the others
//! are folded under the worst state of them; no data is never drawn like ok; without a quorum nothing is drawn ok, because
//! silence then means nothing.

use std::{cmp::Reverse, collections::BTreeMap};

use faultline_attribution::{CellChange, CellState, Layer, element::brand};
use maud::{Markup, html};

use super::{View, words};

/// Rows without data that a provider shows; more are behind a fold.
const UNFOLDED: usize = 6;

/// The section with a table for each provider.
pub(super) fn matrix(view: &View<'_>) -> Markup {
    let mut rows: BTreeMap<(&str, &str), [Option<&CellChange>; 4]> = BTreeMap::new();
    for cell in view.board.cells() {
        rows.entry((&cell.provider, &cell.region)).or_default()[cell.layer as usize] = Some(cell);
    }
    let is_blind = view.blindness().is_some();
    let mut providers: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::from([("aws", Vec::new()), ("azure", Vec::new())]);
    for ((provider, region), cells) in rows {
        let row = Row { provider, region, states: cells.map(|cell| Some(shown(cell?, is_blind))), cells };
        providers.entry(provider).or_default().push(row);
    }
    html! {
        section #matrix aria-labelledby="matrix-title" {
            h2 #matrix-title { "What works where" }
            p.legend {
                @for state in [CellState::Ok, CellState::Degraded, CellState::Failing, CellState::NoData] {
                    span.(class(state)) { (words::glyph(shape(state))) " " (word(state)) } " "
                }
            }
            div.providers {
                @for (provider, rows) in providers { (block(provider, rows, view)) }
            }
        }
    }
}

struct Row<'a> {
    provider: &'a str,
    region: &'a str,
    cells: [Option<&'a CellChange>; 4],
    /// What is drawn; `None` where nothing is probed.
    states: [Option<CellState>; 4],
}

impl Row<'_> {
    fn worst(&self) -> CellState {
        self.states.iter().flatten().copied().max_by_key(|state| severity(*state)).unwrap_or(CellState::NoData)
    }
}

/// One provider: what is wrong, what cannot be seen, and what is well.
fn block(provider: &str, mut rows: Vec<Row<'_>>, view: &View<'_>) -> Markup {
    rows.sort_by_key(|row| {
        let worst = row.worst();
        (
            Reverse(severity(worst)),
            Reverse(row.states.iter().filter(|state| **state == Some(worst)).count()),
            row.region,
        )
    });
    if !view.asked.mine.is_empty() {
        return picked(provider, rows, view);
    }
    let (ok, rest): (Vec<Row<'_>>, Vec<Row<'_>>) = rows.into_iter().partition(|row| row.worst() == CellState::Ok);
    let (unseen, wrong): (Vec<Row<'_>>, Vec<Row<'_>>) =
        rest.into_iter().partition(|row| row.worst() == CellState::NoData);
    let (unseen, shown) =
        if unseen.len() > UNFOLDED { (unseen, wrong) } else { (Vec::new(), wrong.into_iter().chain(unseen).collect()) };
    let name = brand(provider);
    html! {
        div.provider {
            h3 { (name) }
            @if shown.is_empty() && unseen.is_empty() && ok.is_empty() {
                p.no-data { (words::glyph("░")) " no data: nothing of " (name) " was seen yet" }
            }
            @if !shown.is_empty() { (table(&format!("{name}: what does not work or is not seen"), &shown, view)) }
            @if !unseen.is_empty() {
                details id={ "unseen-" (provider) } {
                    summary.no-data { (words::glyph("░")) " + " (regions(unseen.len())) " without data" }
                    (table(&format!("{name}: no data"), &unseen, view))
                }
            }
            @if !ok.is_empty() {
                details id={ "ok-" (provider) } {
                    summary.ok { (words::glyph("●")) " + " (regions(ok.len())) " ok" }
                    (table(&format!("{name}: what works"), &ok, view))
                }
            }
        }
    }
}

/// One provider for a reader who names rows: those, and the others behind a fold that says the worst of them.
fn picked(provider: &str, rows: Vec<Row<'_>>, view: &View<'_>) -> Markup {
    let (own, others): (Vec<Row<'_>>, Vec<Row<'_>>) =
        rows.into_iter().partition(|row| view.asked.mine.has_row(row.provider, row.region));
    let name = brand(provider);
    let worst = others.first().map_or(CellState::Ok, Row::worst);
    let as_bad = others.iter().filter(|row| row.worst() == worst).count();
    html! {
        div.provider {
            h3 { (name) }
            @if own.is_empty() { p { "Nothing of " (name) " that you named." } } @else {
                (table(&format!("{name}: what you named"), &own, view))
            }
            @if !others.is_empty() {
                details id={ "others-" (provider) } {
                    summary.(class(worst)) {
                        (words::glyph(shape(worst))) " + " (regions(others.len())) ", " (as_bad) " " (word(worst))
                    }
                    (table(&format!("{name}: the others"), &others, view))
                }
            }
        }
    }
}

fn table(caption: &str, rows: &[Row<'_>], view: &View<'_>) -> Markup {
    html! {
        table.matrix {
            caption.sr { (caption) }
            thead {
                tr {
                    th scope="col" { "Where" }
                    @for layer in Layer::ALL { th scope="col" { (words::layer(*layer)) } }
                }
            }
            tbody {
                @for row in rows {
                    tr data-row={ (row.provider) "/" (row.region) } {
                        th scope="row" { (row.region) }
                        @for (layer, state) in row.states.iter().enumerate() {
                            @match (row.cells[layer], state) {
                                (Some(cell), Some(state)) => (drawn(cell, *state, view)),
                                _ => td.unprobed { span.sr { "not probed" } },
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A cell: its word, and for the ear the rest of the sentence where its headers do not say it all. Its glyph comes with the
/// stylesheet: there are hundreds of cells.
fn drawn(cell: &CellChange, state: CellState, view: &View<'_>) -> Markup {
    html! {
        td.(class(state)) {
            (word(state))
            @if matches!(state, CellState::Degraded | CellState::Failing) {
                span.sr {
                    ": " (brand(&cell.provider)) " " (cell.region) ", " (words::layer(cell.layer)) " fails for "
                    (cell.failing_groups) " of " (cell.total_groups) " groups since "
                    (words::in_words(cell.changed_at, view.now))
                }
            }
        }
    }
}

fn regions(n: usize) -> String {
    if n == 1 { "1 region or service".into() } else { format!("{n} regions and services") }
}

/// What a cell is drawn as.
pub(super) fn shown(cell: &CellChange, is_blind: bool) -> CellState {
    if is_blind && cell.state == CellState::Ok { CellState::NoData } else { cell.state }
}

/// How much a state deserves a look.
pub(super) const fn severity(state: CellState) -> u8 {
    match state {
        CellState::Ok => 0,
        CellState::NoData => 1,
        CellState::Degraded => 2,
        CellState::Failing => 3,
    }
}

pub(super) const fn shape(state: CellState) -> &'static str {
    match state {
        CellState::Ok => "●",
        CellState::Degraded => "▲",
        CellState::Failing => "✕",
        CellState::NoData => "░",
    }
}

pub(super) const fn word(state: CellState) -> &'static str {
    match state {
        CellState::Ok => "ok",
        CellState::Degraded => "degraded",
        CellState::Failing => "failing",
        CellState::NoData => "no data",
    }
}

pub(super) const fn class(state: CellState) -> &'static str {
    match state {
        CellState::Ok => "ok",
        CellState::Degraded => "degraded",
        CellState::Failing => "failing",
        CellState::NoData => "no-data",
    }
}
