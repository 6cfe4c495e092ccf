//! Mine: "am I affected?", for the regions and services that a reader names in the address.
//!
//! Names are those of the matrix (`aws/us-east-1`, `azure/front-door`), of a service in such a row
//! (`aws/us-east-1/dynamodb`), or of a whole cloud (`aws`). Rules: an incident touches a name when its culprit or one of its
//! regions is the name, holds it or lies in it, or is something that all of the name's cloud stands on; a name that is not
//! known here is said to be unknown, and an answer never promises that all is well; the list is bounded, and what lies beyond
//! is said.

use faultline_attribution::{CellState, Change, ElementKind, State, element::brand};
use maud::{Markup, html};
use url::form_urlencoded;

use super::{View, banner, matrix, words};
use crate::feed::filter::overlap;

/// Names that are looked at.
const MOST: usize = 20;

/// Longest name, in characters.
const LONGEST: usize = 80;

/// What a reader uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mine {
    names: Vec<String>,
    /// Names beyond what is looked at.
    left_out: usize,
}

/// How a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Fine,
    Unknown,
    Unseen,
    /// It may be, or nobody is accused yet.
    Perhaps,
    /// An incident that accuses somebody touches it.
    Touched,
}

/// What is known of one name.
struct Answer<'a> {
    name: &'a str,
    standing: Standing,
    incidents: Vec<&'a Change>,
    worst: Option<CellState>,
}

impl Mine {
    /// Reads a list, as in `aws/us-east-1,azure/front-door`.
    pub(super) fn of(list: &str) -> Self {
        let mut mine = Self::default();
        for name in list.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
            let name = name.to_lowercase();
            if mine.names.contains(&name) {
                continue;
            }
            if mine.names.len() < MOST { mine.names.push(name) } else { mine.left_out += 1 }
        }
        mine
    }

    /// Whether nothing is named.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The list, as an address has it.
    pub(super) fn in_address(&self) -> String {
        let encoded =
            self.names.iter().map(|name| form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
        encoded.collect::<Vec<_>>().join(",").replace("%2F", "/")
    }

    /// Whether a row of the matrix is one of those that are named.
    pub(super) fn has_row(&self, provider: &str, region: &str) -> bool {
        let row = format!("{provider}/{region}");
        self.names.iter().any(|name| overlap(name, &row))
    }

    /// Whether an incident touches something that is named, for sure or perhaps.
    pub(super) fn is_touched_by(&self, change: &Change) -> bool {
        self.names.iter().any(|name| touches(change, name) != Standing::Fine)
    }
}

/// Whether an incident touches a name.
fn touches(change: &Change, name: &str) -> Standing {
    let cloud = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    let is_wide = change.element_kind.is_some_and(|kind| {
        use ElementKind::{Dns, Identity, Network, ServiceEverywhere};
        matches!(kind, Dns | Identity | Network | ServiceEverywhere) && cloud(&change.element) == cloud(name)
    });
    let named = [&change.element].into_iter().chain(&change.regions).filter(|named| !named.is_empty());
    if named.into_iter().any(|named| overlap(name, named)) {
        return if change.state == State::Suspected { Standing::Perhaps } else { Standing::Touched };
    }
    let is_suspected = change.suspects.iter().any(|suspect| overlap(name, &suspect.element));
    if is_wide || (is_suspected && change.state.is_open()) { Standing::Perhaps } else { Standing::Fine }
}

/// The section: a way to ask, and the answer.
pub(super) fn mine(view: &View<'_>) -> Markup {
    let mine = &view.asked.mine;
    html! {
        section #mine aria-labelledby="mine-title" {
            h2 #mine-title { "Am I affected?" }
            @if !mine.is_empty() { (answer(view)) }
            form action="/" method="get" {
                label for="mine-names" { "Regions and services that you use" }
                input #mine-names name="mine" value=(mine.names.join(",")) placeholder="aws/us-east-1,azure/front-door"
                    maxlength="800" autocomplete="off" autocapitalize="none" spellcheck="false";
                @if view.asked.span != super::asked::Span::default() {
                    input type="hidden" name="span" value=(view.asked.span.word());
                }
                button type="submit" { "Show" }
                @if !mine.is_empty() { a href=(view.asked.without_mine().address()) { "Show all" } }
            }
        }
    }
}

fn answer(view: &View<'_>) -> Markup {
    let mine = &view.asked.mine;
    let answers: Vec<Answer<'_>> = mine.names.iter().map(|name| look(name, view)).collect();
    let (class, shape, sentence) = sentence(&answers, view.blindness().is_some());
    html! {
        p.answer.(class) { (words::glyph(shape)) " " b { (sentence) } }
        ul.answers {
            @for answer in &answers { li { code { (answer.name) } ": " (in_words(answer, view)) } }
            @if mine.left_out > 0 {
                li { "The first " (MOST) " names are looked at, " (mine.left_out) " more are not." }
            }
        }
    }
}

/// All that is known of a name.
fn look<'a>(name: &'a str, view: &View<'a>) -> Answer<'a> {
    let touching = banner::open(view).into_iter().map(|change| (touches(change, name), change));
    let touching: Vec<(Standing, &Change)> = touching.filter(|(standing, _)| *standing != Standing::Fine).collect();
    let cells = view.board.cells().filter(|cell| overlap(name, &format!("{}/{}", cell.provider, cell.region)));
    let is_blind = view.blindness().is_some();
    let worst = cells.map(|cell| matrix::shown(cell, is_blind)).max_by_key(|state| matrix::severity(*state));
    let seen = match worst {
        None => Standing::Unknown,
        Some(CellState::NoData) => Standing::Unseen,
        Some(CellState::Ok) => Standing::Fine,
        Some(CellState::Degraded | CellState::Failing) => Standing::Perhaps,
    };
    let touched = touching.iter().map(|(standing, _)| *standing).max().unwrap_or(seen);
    Answer {
        name,
        standing: touched.max(seen),
        incidents: touching.into_iter().map(|(_, change)| change).collect(),
        worst,
    }
}

/// The answer in a sentence, with its class and glyph.
fn sentence(answers: &[Answer<'_>], is_blind: bool) -> (&'static str, &'static str, String) {
    let worst = answers.iter().map(|answer| answer.standing).max().unwrap_or(Standing::Unknown);
    let with = |standing: Standing| {
        let names = answers.iter().filter(|answer| answer.standing == standing).map(|answer| answer.name);
        names.collect::<Vec<_>>().join(", ")
    };
    match worst {
        Standing::Touched => ("failing", "✕", format!("Yes, as far as we see: {}.", with(worst))),
        Standing::Perhaps => ("degraded", "▲", format!("Perhaps: {}.", with(worst))),
        _ if is_blind => ("no-data", "░", "We cannot say: nobody sees enough.".into()),
        Standing::Unseen => ("no-data", "░", format!("We cannot say of all: no data on {}.", with(worst))),
        Standing::Unknown => ("no-data", "░", format!("We cannot say of all: {} is not known here.", with(worst))),
        Standing::Fine => ("ok", "●", "Not as far as we see: nothing that we measure of these fails.".into()),
    }
}

fn in_words(answer: &Answer<'_>, view: &View<'_>) -> Markup {
    html! {
        @for change in &answer.incidents {
            @let who = words::culprit(change).unwrap_or_else(|| "an incident that accuses nobody yet".into());
            @if touches(change, answer.name) == Standing::Touched { "touched by " } @else { "perhaps touched by " }
            a href={ "/incidents/" (change.incident) } { (who) }
            " (" (change.state) ", since " (words::at(change.onset_at, view.now)) "); "
        }
        @match answer.worst {
            Some(CellState::Failing) => "it fails, as the matrix shows",
            Some(CellState::Degraded) => "it fails for some, as the matrix shows",
            Some(CellState::Ok) => "no failure is seen there",
            Some(CellState::NoData) => "no data: too few vantages see it",
            None => {
                "not known here. Names are as in the matrix, " code { "aws/us-east-1" } ", of a service there, "
                code { "aws/us-east-1/dynamodb" } ", or of a cloud, " code { "azure" } " for all of " (brand("azure"))
            }
        }
    }
}

/// The mark of an incident that touches what the reader uses.
pub(super) fn mark(change: &Change, view: &View<'_>) -> Markup {
    html! {
        @if view.asked.mine.is_touched_by(change) { " " span.badge.yours { (words::glyph("◎")) " touches yours" } }
    }
}
