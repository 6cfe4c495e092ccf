//! Plots: an incident in pictures, as SVG inside the page.
//!
//! Rules: text is text; each picture has a title and a description that say what it shows, and a table of the same numbers
//! ([`Table`]) goes beside it; colours are classes of `plot.css`, so that there is neither inline
//! style (the page's policy forbids it) nor a picture for each theme; a line is told by its dashes, a bar by its fill, never by
//! colour alone. A picture is of bounded size, however long the incident lasted.
//!
//! Plotters draws each role in a colour of its own that no eye sees (`Ink`); `finished` puts the role's class in its place.

pub mod curve;
pub mod elsewhere;
pub mod latency;
mod lines;

use faultline_attribution::{Change, ElementKind, State, Timestamp};
use maud::{Markup, PreEscaped, html};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea as _, IntoFont as _, PathElement, RGBColor, Rectangle, SVGBackend, Text},
    style::{
        Color as _, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::history::History;

/// Most steps that a curve is drawn with.
pub const STEPS: usize = 240;

/// What a line, a fill or a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Text,
    Grid,
    Dns,
    Connect,
    Tls,
    Http,
    Unknown,
    Aws,
    Azure,
    Neither,
    Onset,
    Mark,
    Before,
    During,
}

impl Ink {
    const ALL: [Self; 14] = [
        Self::Text,
        Self::Grid,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Http,
        Self::Unknown,
        Self::Aws,
        Self::Azure,
        Self::Neither,
        Self::Onset,
        Self::Mark,
        Self::Before,
        Self::During,
    ];

    /// The layers, in the order of [`crate::history::Minute::at_layer`], and what failed at none that was kept.
    const LAYERS: [Self; 5] = [Self::Dns, Self::Connect, Self::Tls, Self::Http, Self::Unknown];

    /// Its class in `plot.css`.
    const fn class(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Grid => "grid",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Unknown => "unknown",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Neither => "neither",
            Self::Onset => "onset",
            Self::Mark => "mark",
            Self::Before => "before",
            Self::During => "during",
        }
    }

    /// The colour that stands for it until the picture is finished.
    const fn color(self) -> RGBColor {
        RGBColor(0xF1, 0, self as u8)
    }
}

/// The moments of an incident that a curve is read against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// When the world broke.
    pub onset_at: Timestamp,
    /// Half-width of that, seconds.
    pub onset_uncertainty_s: f64,
    /// First attributed.
    pub attributed_at: Option<Timestamp>,
    /// Ended, and in what state.
    pub ended: Option<(Timestamp, State)>,
}

impl From<&Change> for Moments {
    fn from(newest: &Change) -> Self {
        Self {
            onset_at: newest.onset_at,
            onset_uncertainty_s: newest.onset_uncertainty_s,
            attributed_at: newest.attributed_at,
            ended: newest.resolved_at.map(|at| (at, newest.state)),
        }
    }
}

/// A picture, what it says in words, and its numbers.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Unique on its page.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What is to be seen in it, for who does not see it.
    pub says: String,
    /// The picture.
    pub svg: Markup,
    /// The same as numbers.
    pub numbers: Table,
}

/// A table, as data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it is of.
    pub caption: String,
    /// Names of the columns.
    pub heads: Vec<String>,
    /// The rows, as many cells in each as there are columns; the first cell names the row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As HTML. On a narrow screen each row is a card, and each cell says its column.
    pub fn markup(&self) -> Markup {
        html! {
            table.cards.numbers {
                caption { (self.caption) }
                thead { tr { @for head in &self.heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in &self.rows {
                        tr {
                            @for (place, (head, cell)) in self.heads.iter().zip(row).enumerate() {
                                @if place == 0 { th scope="row" { (cell) } } @else { td data-label=(head) { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The pictures of an incident's history: its curve, what was seen elsewhere, and latencies; those of which anything is kept.
pub fn figures(history: &History, newest: &Change) -> Vec<Figure> {
    let moments = Moments::from(newest);
    let curve = curve::figure("curve", history, &moments);
    // A fault of the vantages' own shows everywhere.
    let is_vantage_side = newest.element_kind.is_some_and(ElementKind::is_vantage_side);
    let elsewhere = if is_vantage_side { None } else { elsewhere::figure("elsewhere", history, &moments) };
    [curve, elsewhere, latency::figure("latency", history)].into_iter().flatten().collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of this size. `id` is unique on the page; a picture that cannot be drawn is an empty one.
fn picture(id: &str, title: &str, says: &str, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Markup {
    let mut drawn = String::new();
    let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
    let result = draw(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    match result {
        Ok(()) => finished(&drawn, id, title, says, size),
        Err(error) => {
            tracing::warn!(id, %error, "a picture cannot be drawn");
            html! {}
        }
    }
}

/// Plotters' picture with classes for colours, the page's own font, and words for who does not see it.
fn finished(drawn: &str, id: &str, title: &str, says: &str, (width, height): (u32, u32)) -> Markup {
    let body = drawn.split_once('>').map_or("", |(_, body)| body);
    let body = body.trim_end().trim_end_matches("</svg>");
    let mut body = body.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    for ink in Ink::ALL {
        let RGBColor(red, green, blue) = ink.color();
        for part in ["fill", "stroke"] {
            let color = format!("{part}=\"#{red:02X}{green:02X}{blue:02X}\"");
            body = body.replace(&color, &format!("class=\"{part}-{}\"", ink.class()));
        }
    }
    html! {
        svg.plot role="img" aria-labelledby={ (id) "-title " (id) "-says" } viewBox={ "0 0 " (width) " " (height) }
            xmlns="http://www.w3.org/2000/svg" {
            title id={ (id) "-title" } { (title) }
            desc id={ (id) "-says" } { (says) }
            (PreEscaped(body))
        }
    }
}

/// Size of text, in units of the picture.
const FONT: i32 = 16;

fn text(area: &Area<'_>, words: &str, at: (i32, i32), (h, v): (HPos, VPos)) -> Drawn {
    let ink = Ink::Text.color();
    let style = TextStyle::from(("sans-serif", FONT).into_font()).color(&ink).pos(Pos::new(h, v));
    Ok(area.draw(&Text::new(words.to_owned(), at, style))?)
}

fn line(area: &Area<'_>, points: Vec<(i32, i32)>, ink: Ink, width: u32) -> Drawn {
    Ok(area.draw(&PathElement::new(points, ink.color().stroke_width(width)))?)
}

fn fill(area: &Area<'_>, corners: [(i32, i32); 2], ink: Ink) -> Drawn {
    Ok(area.draw(&Rectangle::new(corners, ink.color().filled()))?)
}

/// A share as an axis or a table writes it: "0 %", "0.3 %", "97 %".
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// The time of day, to the minute or the second.
fn clock(at: Timestamp, to: usize) -> String {
    at.to_string().get(11..to).unwrap_or_default().to_owned()
}

/// The date.
fn date(at: Timestamp) -> String {
    at.to_string().get(..10).unwrap_or_default().to_owned()
}

/// A number of runs with its noun.
fn runs(n: u64) -> String {
    if n == 1 { "1 run".into() } else { format!("{n} runs") }
}

#[cfg(test)]
mod tests;
