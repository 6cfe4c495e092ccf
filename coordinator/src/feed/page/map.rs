//! The map: how regions are, and where the vantages stand that look at them.
//!
//! An equirectangular map of half degrees, 78° north to 57° south. Rules: a mark is the glyph of the matrix, with a title,
//! never a colour alone; regions in one place are one mark, of the worst state; what has no place is left out and counted; a
//! vantage stands at its cloud's region, else in the middle of its country: nothing finer is known of it, and nothing finer is
//! shown; a list beneath says what is not ok, and where the vantages are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use faultline_attribution::{CellState, SessionState, Vantage, element::brand};
use maud::{Markup, html};

use super::{View, matrix, words};

/// The land, as the data of an SVG path in half degrees from 180° west, 78° north.
///
/// Source: Natural Earth's 1:110m land (public domain), simplified by Visvalingam's rule to 1.5 square degrees; islands
/// smaller than 4 are left out.
const LAND: &str = include_str!("map/land.path");

/// Degrees north at the upper edge.
const NORTH: f64 = 78.0;

/// Size in half degrees.
const SIZE: (i32, i32) = (720, 270);

/// A place on the drawing, in half degrees from its upper left corner.
type Place = (i32, i32);

/// Places of regions, by `provider/region`.
static REGIONS: LazyLock<BTreeMap<&str, Place>> = LazyLock::new(|| places(include_str!("map/regions.txt")));

/// Places of countries, by ISO 3166-1 alpha-2.
static COUNTRIES: LazyLock<BTreeMap<&str, Place>> = LazyLock::new(|| places(include_str!("map/countries.txt")));

/// Reads lines of name, degrees north and degrees east; the rest of a line is for people.
fn places(table: &'static str) -> BTreeMap<&'static str, Place> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let (north, east): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((name, (half_degrees(east + 180.0), half_degrees(NORTH - north))))
    };
    lines.filter_map(read).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "degrees of the earth, doubled")]
fn half_degrees(degrees: f64) -> i32 {
    (degrees * 2.0).round() as i32
}

/// Regions of one place.
#[derive(Default)]
struct Regions {
    worst: Option<CellState>,
    titles: Vec<String>,
}

/// Vantages of one place.
#[derive(Default)]
struct Seats {
    up: usize,
    all: usize,
    name: String,
}

/// The section.
pub(super) fn map(view: &View<'_>) -> Markup {
    let rows = rows(view);
    let mut regions: BTreeMap<Place, Regions> = BTreeMap::new();
    let mut elsewhere = 0;
    for ((provider, region), state) in &rows {
        let Some(place) = REGIONS.get(format!("{provider}/{region}").as_str()) else {
            elsewhere += 1;
            continue;
        };
        let here = regions.entry(*place).or_default();
        here.worst = here.worst.max_by_severity(*state);
        here.titles.push(format!("{} {region}: {}", brand(provider), matrix::word(*state)));
    }
    let (seats, nowhere) = seats(view);
    let mut marks: Vec<(&Place, &Regions)> = regions.iter().collect();
    marks.sort_by_key(|(_, here)| here.worst.map(matrix::severity));
    html! {
        section #map aria-labelledby="map-title" {
            h2 #map-title { "On the map" }
            svg.world viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } role="img" aria-label="Map of regions and vantages; the list beneath says it in words" {
                path.land d=(LAND) {}
                @for (place, seats) in &seats {
                    text.vantage x=(place.0) y=(place.1) {
                        (if seats.up > 0 { "■" } else { "□" })
                        title { (seats.words()) }
                    }
                }
                @for (place, here) in marks {
                    @let state = here.worst.unwrap_or(CellState::NoData);
                    text.(matrix::class(state)) x=(place.0) y=(place.1) {
                        (matrix::shape(state))
                        title { (here.titles.join("; ")) }
                    }
                }
            }
            p.legend.keys {
                @for state in [CellState::Ok, CellState::Degraded, CellState::Failing, CellState::NoData] {
                    span { (words::glyph(matrix::shape(state))) " region " (matrix::word(state)) }
                }
                @if !seats.is_empty() {
                    span { (words::glyph("■")) " vantage" }
                    span { (words::glyph("□")) " vantage not heard" }
                }
            }
            @if elsewhere + nowhere > 0 { p { (left_out(elsewhere, nowhere)) } }
            (list(&rows, &seats))
        }
    }
}

/// The worst state of each row of the matrix.
fn rows<'a>(view: &View<'a>) -> BTreeMap<(&'a str, &'a str), CellState> {
    let is_blind = view.blindness().is_some();
    let mut rows: BTreeMap<_, Option<CellState>> = BTreeMap::new();
    for cell in view.board.cells() {
        let row = rows.entry((cell.provider.as_str(), cell.region.as_str())).or_default();
        *row = row.max_by_severity(matrix::shown(cell, is_blind));
    }
    rows.into_iter().filter_map(|(row, state)| Some((row, state?))).collect()
}

/// Vantages by place, and how many have none.
fn seats(view: &View<'_>) -> (BTreeMap<Place, Seats>, usize) {
    let (mut seats, mut nowhere) = (BTreeMap::new(), 0);
    for agent in view.agents {
        let Some((place, name)) = agent.vantage.as_ref().and_then(place) else {
            nowhere += 1;
            continue;
        };
        let here: &mut Seats = seats.entry(place).or_default();
        here.all += 1;
        here.up += usize::from(agent.state == SessionState::Up);
        here.name = name;
    }
    (seats, nowhere)
}

/// Where a vantage stands: in its cloud's region, else in the middle of its country.
fn place(vantage: &Vantage) -> Option<(Place, String)> {
    let region = vantage.hosted_on.as_ref().zip(vantage.region.as_ref());
    let region = region.map(|(cloud, region)| format!("{cloud}/{region}"));
    if let Some(name) = region
        && let Some((x, y)) = REGIONS.get(name.as_str())
    {
        // Above the mark of the region itself.
        return Some(((*x, y - 9), name));
    }
    let country = vantage.country.as_ref()?.to_lowercase();
    Some((*COUNTRIES.get(country.as_str())?, country.to_uppercase()))
}

impl Seats {
    /// "3 vantages in DE, 2 of them heard".
    fn words(&self) -> String {
        let heard = if self.up == self.all { String::new() } else { format!(", {} of them heard", self.up) };
        format!("{} in {}{heard}", words::count(self.all, "vantage"), self.name)
    }
}

fn left_out(rows: usize, vantages: usize) -> String {
    let rows = (rows > 0).then(|| format!("{} without a place of its own", words::count(rows, "row")));
    let vantages = (vantages > 0).then(|| format!("{} of unknown country", words::count(vantages, "vantage")));
    let left_out: Vec<String> = rows.into_iter().chain(vantages).collect();
    format!("Not on the map: {}.", left_out.join(", "))
}

/// What the map shows, in words: the regions that are not ok by name, the others by number.
fn list(rows: &BTreeMap<(&str, &str), CellState>, seats: &BTreeMap<Place, Seats>) -> Markup {
    let with = |state: CellState| -> Vec<String> {
        let rows = rows.iter().filter(|(_, is)| **is == state);
        rows.map(|((provider, region), _)| format!("{} {region}", brand(provider))).collect()
    };
    let seats: BTreeSet<String> = seats.values().map(Seats::words).collect();
    html! {
        details #map-list {
            summary { "The same as a list" }
            ul {
                @for state in [CellState::Failing, CellState::Degraded, CellState::NoData] {
                    @let rows = with(state);
                    @if !rows.is_empty() {
                        li { (words::glyph(matrix::shape(state))) " " (matrix::word(state)) ": " (rows.join(", ")) }
                    }
                }
                li { (words::glyph(matrix::shape(CellState::Ok))) " ok: " (words::count(with(CellState::Ok).len(), "row")) }
                @for seat in seats { li { (words::glyph("■")) " " (seat) } }
            }
        }
    }
}

/// The worse of two states.
trait Worse {
    fn max_by_severity(self, other: CellState) -> Self;
}

impl Worse for Option<CellState> {
    fn max_by_severity(self, other: CellState) -> Self {
        Some(self.map_or(other, |one| if matrix::severity(one) >= matrix::severity(other) { one } else { other }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, CatalogSource};

    #[test]
    fn every_line_of_the_tables_is_a_place_on_the_map() {
        for (table, places) in
            [(include_str!("map/regions.txt"), &REGIONS), (include_str!("map/countries.txt"), &COUNTRIES)]
        {
            let lines = table.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(places.len(), lines);
            let outside = places.iter().filter(|(_, (x, y))| !(0..=SIZE.0).contains(x) || !(0..=SIZE.1).contains(y));
            let outside: Vec<_> = outside.map(|(name, _)| *name).collect();
            assert!(outside.iter().all(|name| matches!(*name, "aq" | "gs" | "hm")), "{outside:?}");
        }
    }

    #[test]
    fn every_region_of_the_built_in_catalog_has_a_place() {
        let catalog = Catalog::load(&[CatalogSource::Builtin]).expect("it is checked elsewhere");
        for target in
            catalog.targets.values().filter(|target| matches!(target.target.hosted_on.as_str(), "aws" | "azure"))
        {
            let Some(region) = &target.target.region else { continue };
            let name = format!("{}/{region}", target.target.hosted_on);
            assert!(REGIONS.contains_key(name.as_str()), "{name}");
        }
    }
}
