//! Badges for READMEs and dashboards: `/badge/{provider}.svg`, `/badge/{provider}/{region}.svg`.
//!
//! | a badge says | when |
//! |---|---|
//! | `failing`, with the regions or `everywhere` | an incident that goes on accuses it |
//! | `recovering` | what accuses it is falling back to the baseline |
//! | `cannot see` | no quorum, a log that cannot be written, a picture that has stopped |
//! | `failing`, `degraded`, `no data` of a region | its cells; the worst of them, no data before ok |
//! | `ok` of a region, `no failure attributed` of a provider | nothing of the above |
//!
//! Rules: words and a shape, never colour alone; no data is not ok; what we do not know is 404; a badge may be kept for half a
//! minute, so that a page that many read costs little.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use faultline_attribution::{CellState, Change, State as Life, element::brand};
use maud::html;

use super::{
    Picture,
    answer::{Document, Freshness, Problem, echo},
    rows::{PROVIDERS, Row, accuses},
};
use crate::feed::Hub;

/// Regions that a provider's badge names; more are counted.
const NAMED: usize = 2;

/// Characters of a region's name that a badge shows.
const LONGEST: usize = 40;

/// The badges.
pub(super) fn router<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>) -> Router<S> {
    Router::new()
        .route(
            "/badge/{file}",
            get(async |State(hub): State<Arc<Hub>>, Path(file): Path<String>, asked: HeaderMap| {
                sent(&hub, &file, None, &asked)
            }),
        )
        .route(
            "/badge/{provider}/{file}",
            get(
                async |State(hub): State<Arc<Hub>>,
                       Path((provider, file)): Path<(String, String)>,
                       asked: HeaderMap| { sent(&hub, &file, Some(&provider), &asked) },
            ),
        )
        .with_state(hub)
}

fn sent(hub: &Hub, file: &str, folder: Option<&str>, asked: &HeaderMap) -> Response {
    let unknown = || {
        let detail = format!("no badge {:?}: /api/v1/cells lists providers and regions", echo(file));
        Problem::new(StatusCode::NOT_FOUND, "BADGE_UNKNOWN", detail).into_response()
    };
    let Some(name) = file.strip_suffix(".svg") else { return unknown() };
    let badge = hub.picture(|picture| match folder {
        None => of_provider(picture, name),
        Some(provider) => of_region(picture, provider, name),
    });
    badge.map_or_else(unknown, |(badge, sequence)| badge.drawn(sequence).answer(asked))
}

/// What a badge says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Badge {
    about: String,
    look: Look,
    words: String,
}

/// Its shape and colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Well,
    Unwell,
    Failing,
    Unseen,
}

impl Look {
    const fn glyph(self) -> &'static str {
        match self {
            Self::Well => "●",
            Self::Unwell => "▲",
            Self::Failing => "✕",
            Self::Unseen => "░",
        }
    }

    /// Fill and text. Source: the page's palette; text on its fill has a contrast of 7.8 or more.
    const fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Well => ("#d3e9f3", "#0a3d52"),
            Self::Unwell => ("#f5c04a", "#3a2700"),
            Self::Failing => ("#8c1c13", "#ffffff"),
            Self::Unseen => ("#ffffff", "#4a535c"),
        }
    }
}

/// The badge of a provider, and the sequence that it shows.
fn of_provider(picture: &Picture<'_>, provider: &str) -> Option<(Badge, u64)> {
    let provider = PROVIDERS.into_iter().find(|known| *known == provider)?;
    let open = picture.board.open();
    let accusing: Vec<&Change> = open.into_iter().filter(|change| accuses(change, provider)).collect();
    let rows = picture.rows();
    let is_unseen = rows.iter().filter(|row| row.provider == provider).all(|row| row.worst() == CellState::NoData);
    let said = accused(&accusing, |failing| where_to(failing, provider)).unwrap_or_else(|| {
        if picture.blindness().is_some() {
            (Look::Unseen, "cannot see".into())
        } else if is_unseen {
            (Look::Unseen, "no data".into())
        } else {
            (Look::Well, "no failure attributed".into())
        }
    });
    let (look, words) = said;
    Some((Badge { about: brand(provider), look, words }, picture.board.sequence))
}

/// The badge of a region.
fn of_region(picture: &Picture<'_>, provider: &str, region: &str) -> Option<(Badge, u64)> {
    let rows = picture.rows();
    let row = rows.iter().find(|row| row.provider == provider && row.region == region)?;
    let open = picture.board.open();
    let accusing: Vec<&Change> = open.into_iter().filter(|change| row.is_touched_by(change)).collect();
    let (look, words) = accused(&accusing, |_| String::new())
        .unwrap_or_else(|| if picture.blindness().is_some() { (Look::Unseen, "cannot see".into()) } else { seen(row) });
    let about = format!("{} {}", brand(provider), short(region));
    Some((Badge { about, look, words }, picture.board.sequence))
}

/// What accusations come to; `place` says where.
fn accused(accusing: &[&Change], place: impl FnOnce(&[&Change]) -> String) -> Option<(Look, String)> {
    let failing: Vec<&Change> = accusing.iter().filter(|change| change.state != Life::Recovering).copied().collect();
    if !failing.is_empty() {
        return Some((Look::Failing, format!("failing{}", place(&failing))));
    }
    (!accusing.is_empty()).then(|| (Look::Unwell, "recovering".into()))
}

/// " in us-east-1", " in eastus, westeurope and 3 more"; nothing where an accusation has no region.
fn where_to(failing: &[&Change], provider: &str) -> String {
    let mut regions: Vec<&str> = Vec::new();
    for change in failing {
        if change.regions.is_empty() {
            let name = change.element.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/'));
            regions.extend(name);
        }
        regions.extend(change.regions.iter().filter_map(|region| region.split_once('/')).map(|(_, region)| region));
    }
    regions.sort_unstable();
    regions.dedup();
    let named: Vec<String> = regions.iter().take(NAMED).map(|region| short(region)).collect();
    match (named.is_empty(), regions.len().saturating_sub(NAMED)) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", named.join(", ")),
        (false, more) => format!(": {} and {more} more", named.join(", ")),
    }
}

fn seen(row: &Row<'_>) -> (Look, String) {
    let worst = row.worst();
    let layers: Vec<&str> =
        row.cells.iter().filter(|cell| cell.state == worst).map(|cell| cell.layer.as_str()).collect();
    match worst {
        CellState::Ok => (Look::Well, "ok".into()),
        CellState::Degraded => (Look::Unwell, format!("degraded: {}", layers.join(", "))),
        CellState::Failing => (Look::Failing, format!("failing: {}", layers.join(", "))),
        CellState::NoData => (Look::Unseen, "no data".into()),
    }
}

fn short(region: &str) -> String {
    region.chars().take(LONGEST).collect()
}

impl Badge {
    /// The badge as SVG: two boxes with text, whose widths are forced so that no font breaks them.
    fn drawn(&self, sequence: u64) -> Document {
        let words = format!("{} {}", self.look.glyph(), self.words);
        let whole = format!("{}: {}", self.about, self.words);
        let (fill, ink) = self.look.colours();
        let (left, right) = (width(&self.about), width(&words));
        let text = |x: usize, width: usize, fill: &str, said: &str| {
            html! {
                text x=(x + PADDING) y="14" fill=(fill) textLength=(width - 2 * PADDING) lengthAdjust="spacingAndGlyphs" { (said) }
            }
        };
        let svg = html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(left + right) height="20" role="img" aria-label=(whole) {
                title { (whole) }
                rect width=(left) height="20" fill="#2b3138" {}
                rect x=(left) width=(right) height="20" fill=(fill) {}
                rect x="0.5" y="0.5" width=(left + right - 1) height="19" fill="none" stroke="#6d7782"
                    stroke-dasharray=[(self.look == Look::Unseen).then_some("3 2")] {}
                g font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" {
                    (text(0, left, "#ffffff", &self.about))
                    (text(left, right, ink, &words))
                }
            }
        };
        let mut svg = svg.into_string();
        svg.retain(|character| !character.is_control());
        Document::new("image/svg+xml", Freshness::Brief, sequence, svg)
    }
}

const PADDING: usize = 6;

/// Room for a text, pixels: seven a character is a little more than the font's average.
fn width(text: &str) -> usize {
    2 * PADDING + 7 * text.chars().count()
}

#[cfg(test)]
mod tests {
    use faultline_attribution::{ElementKind, Layer};

    use super::*;
    use crate::{
        board::Board,
        feed::formats::examples::{self, NOW, cell, change, suspicion},
    };

    fn says(board: &Board, provider: &str, region: &str) -> Option<String> {
        let picture = Picture { board, now: NOW };
        let badge =
            if region.is_empty() { of_provider(&picture, provider) } else { of_region(&picture, provider, region) };
        badge.map(|(badge, _)| format!("{} {}", badge.look.glyph(), badge.words))
    }

    fn board(changes: Vec<Change>) -> Board {
        let mut told = examples::cells();
        told.extend(changes.into_iter().map(examples::incident));
        examples::board(told)
    }

    #[test]
    fn a_badge_says_it_in_words() {
        let accused = board(vec![change(1)]);
        assert_eq!(says(&accused, "azure", "").as_deref(), Some("✕ failing: front-door"));
        assert_eq!(says(&accused, "azure", "front-door").as_deref(), Some("✕ failing"));
        assert_eq!(says(&accused, "azure", "eastus").as_deref(), Some("● ok"));
        assert_eq!(says(&accused, "aws", "").as_deref(), Some("● no failure attributed"));
        let recovering = board(vec![Change { state: Life::Recovering, ..change(1) }]);
        assert_eq!(says(&recovering, "azure", "").as_deref(), Some("▲ recovering"));
        let suspected = board(vec![suspicion(1)]);
        assert_eq!(says(&suspected, "azure", "").as_deref(), Some("● no failure attributed"), "nobody is accused");
        assert_eq!(says(&suspected, "azure", "front-door").as_deref(), Some("✕ failing: connect"));
        let regions = ["eastus", "westeurope", "a", "b"].map(|region| format!("azure/{region}")).to_vec();
        let wide = board(vec![Change { regions, element_kind: Some(ElementKind::Region), ..change(1) }]);
        assert_eq!(says(&wide, "azure", "").as_deref(), Some("✕ failing: a, b and 2 more"));
    }

    #[test]
    fn what_is_not_seen_is_not_ok() {
        let blind = examples::blind(board(Vec::new()));
        assert_eq!(says(&blind, "aws", "us-east-1").as_deref(), Some("░ cannot see"));
        assert_eq!(says(&blind, "aws", "").as_deref(), Some("░ cannot see"));
        let unseen = examples::board(vec![cell("aws", "us-east-1", Layer::Dns, CellState::NoData)]);
        assert_eq!(says(&unseen, "aws", "us-east-1").as_deref(), Some("░ no data"));
        assert_eq!(says(&unseen, "aws", "").as_deref(), Some("░ no data"));
        assert_eq!(says(&unseen, "azure", "").as_deref(), Some("░ no data"), "nothing of it was ever seen");
        let accused = examples::blind(board(vec![change(1)]));
        assert_eq!(says(&accused, "azure", "").as_deref(), Some("✕ failing: front-door"), "a verdict stays");
    }

    #[test]
    fn what_we_do_not_know_has_no_badge() {
        let board = board(Vec::new());
        for (provider, region) in [("gcp", ""), ("", ""), ("aws", "mars-1"), ("gcp", "us-east-1")] {
            assert_eq!(says(&board, provider, region), None, "{provider} {region}");
        }
    }

    #[test]
    fn a_badge_is_escaped_and_kept_for_a_while() {
        let evil = "<script>\"&";
        let board = examples::board(vec![cell("aws", evil, Layer::Dns, CellState::Ok)]);
        let picture = Picture { board: &board, now: NOW };
        let (badge, sequence) = of_region(&picture, "aws", evil).expect("badge");
        let document = badge.drawn(sequence);
        let svg = str::from_utf8(&document.body).expect("text").to_owned();
        assert!(!svg.contains("<script") && svg.contains("aria-label=\"AWS &lt;script&gt;&quot;&amp;: ok\""), "{svg}");
        let answer = document.answer(&HeaderMap::new());
        assert_eq!(answer.headers()["cache-control"], "public, max-age=30");
    }
}
