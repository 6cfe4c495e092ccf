//! The figures, as SVG: text stays text, so no font is needed to draw them.

use std::{collections::BTreeMap, ops::Range, path::Path};

use plotters::prelude::*;

use super::{Report, ReportError, confusion};
use crate::score::{
    judged::Class,
    run::Row,
    stats::{self, real},
    summary,
};

/// Points from left to right.
type Line = Vec<(f64, f64)>;

/// Draws all figures that the rows can fill.
pub(super) fn draw(report: &Report<'_>, directory: &Path) -> Result<(), ReportError> {
    let all: Vec<&Row> = report.rows.iter().collect();
    for method in &report.methods {
        let rows = report.of(method, |_| true);
        put(directory, &format!("confusion-{method}.svg"), |path| matrix(path, method, &rows))?;
        let families = summary::distinct(&rows, |row| &row.family);
        let spans = families.into_iter().filter_map(|family| {
            let own: Vec<&Row> = rows.iter().copied().filter(|row| row.family == family).collect();
            Span::of(family, &own)
        });
        let mut spans: Vec<Span> = spans.collect();
        spans.sort_by(|a, b| a.median.total_cmp(&b.median).then_with(|| a.name.cmp(&b.name)));
        let title = format!("Seconds to the right verdict by family: {method} (median; 10 to 90 % of what broke)");
        put(directory, &format!("time-to-verdict-{method}.svg"), |path| ranges(path, &title, &spans))?;
    }
    let each = |line: &dyn Fn(&[&Row]) -> Line| -> Vec<(String, Line)> {
        report.methods.iter().map(|method| ((*method).to_owned(), line(&report.of(method, |_| true)))).collect()
    };
    put(directory, "time-to-verdict.svg", |path| arrivals(path, "Time to the right verdict", &each(&delays)))?;
    let reliability = each(&|rows| {
        let bins = summary::bins_of_width(&summary::confidences(rows));
        bins.into_iter().map(|(confidence, right, _)| (confidence, right)).collect()
    });
    if reliability.iter().any(|(_, line)| !line.is_empty()) {
        put(directory, "reliability.svg", |path| {
            curves(
                path,
                &Axes { title: "Reliability", x: "confidence", y: "share right", to: 1.0, has_points: true },
                &reliability,
            )
        })?;
    }
    let vantages = |row: &Row| u32::try_from(row.agents).unwrap_or(u32::MAX);
    if all.iter().any(|row| row.agents != all[0].agents) {
        let lines = each(&|rows| accuracy_over(rows, |row| f64::from(vantages(row))));
        let to = all.iter().map(|row| f64::from(vantages(row))).fold(1.0, f64::max);
        let axes = Axes { title: "Accuracy over vantages", x: "agents", y: "accuracy", to, has_points: true };
        put(directory, "vantages.svg", |path| curves(path, &axes, &lines))?;
    }
    if all.iter().any(|row| row.liars > 0.0) {
        let lines = each(&|rows| accuracy_over(rows, |row| row.liars));
        let to = all.iter().map(|row| row.liars).fold(0.05, f64::max);
        let axes = Axes {
            title: "Accuracy over liars",
            x: "share of vantage groups that lie",
            y: "accuracy",
            to,
            has_points: true,
        };
        put(directory, "liars.svg", |path| curves(path, &axes, &lines))?;
    }
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn put(directory: &Path, name: &str, figure: impl FnOnce(&Path) -> Drawn) -> Result<(), ReportError> {
    let failed =
        |error: Box<dyn std::error::Error>| ReportError::Figure { figure: name.into(), reason: error.to_string() };
    figure(&directory.join(name)).map_err(failed)
}

/// Share of things that broke which were told within so many seconds: a step function up to [`DELAY`].
fn delays(rows: &[&Row]) -> Line {
    let incidents = rows.iter().flat_map(|row| &row.judged.incidents);
    let mut seconds: Vec<f64> = incidents.map(|incident| incident.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut line = vec![(0.0, 0.0)];
    let mut share = 0.0;
    for (place, at) in seconds.iter().enumerate().filter(|(_, at)| **at <= DELAY.end) {
        line.push((*at, share));
        share = real(place + 1) / real(seconds.len());
        line.push((*at, share));
    }
    line.push((DELAY.end, share));
    if seconds.is_empty() { Vec::new() } else { line }
}

/// How long the faults of a family took to be told; infinite where they never were.
struct Span {
    name: String,
    low: f64,
    median: f64,
    high: f64,
    never: f64,
}

impl Span {
    /// `None` where nothing broke.
    fn of(family: &str, rows: &[&Row]) -> Option<Self> {
        let incidents = rows.iter().flat_map(|row| &row.judged.incidents);
        let mut seconds: Vec<f64> = incidents.map(|incident| incident.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |tenths: usize| seconds.get((seconds.len() * tenths / 10).min(seconds.len() - 1)).copied();
        if seconds.is_empty() {
            return None;
        }
        let never = stats::share(seconds.iter().filter(|at| at.is_infinite()).count(), seconds.len())?;
        Some(Self { name: family.to_owned(), low: at(1)?, median: at(5)?, high: at(9)?, never })
    }
}

/// A row for each family over a logarithmic axis; what was never told reaches to its end.
fn ranges(path: &Path, title: &str, spans: &[Span]) -> Drawn {
    const ROW: i32 = 18;
    const LEFT: i32 = 330;
    const TOP: i32 = 70;
    const RIGHT: i32 = 860;
    let height = TOP + ROW * i32::try_from(spans.len())? + 20;
    let root = SVGBackend::new(path, (980, u32::try_from(height)?)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_owned(), (12, 12), ("sans-serif", 18)))?;
    #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
    let x = |seconds: f64| {
        let share = seconds.clamp(1.0, 1000.0).log10() / 3.0;
        LEFT + (share * f64::from(RIGHT - LEFT)) as i32
    };
    let gray = RGBColor(200, 200, 200);
    for mark in [1, 3, 10, 30, 100, 300, 1000] {
        let at = x(f64::from(mark));
        root.draw(&PathElement::new(vec![(at, TOP - 8), (at, height - 16)], gray))?;
        root.draw(&Text::new(format!("{mark} s"), (at - 8, TOP - 26), ("sans-serif", 12)))?;
    }
    let blue = RGBColor(30, 90, 160);
    for (row, span) in (0..).zip(spans) {
        let y = TOP + ROW * row + ROW / 2;
        root.draw(&Text::new(span.name.clone(), (12, y - 6), ("sans-serif", 12)))?;
        root.draw(&PathElement::new(vec![(x(span.low), y), (x(span.high), y)], blue.stroke_width(3)))?;
        root.draw(&Circle::new((x(span.median), y), 5, blue.filled()))?;
        if span.never > 0.0 {
            let never = format!("{:.0} % never", span.never * 100.0);
            root.draw(&Text::new(never, (RIGHT + 20, y - 6), ("sans-serif", 12)))?;
        }
    }
    root.present()?;
    Ok(())
}

/// Seconds that are shown.
const DELAY: Range<f64> = 0.0..180.0;

fn accuracy_over(rows: &[&Row], place: impl Fn(&Row) -> f64) -> Line {
    let mut counts: BTreeMap<u64, (f64, usize, usize)> = BTreeMap::new();
    for row in rows {
        // Bits of numbers that are not negative sort as the numbers do.
        let at = place(row).max(0.0);
        let count = counts.entry(at.to_bits()).or_insert((at, 0, 0));
        count.1 += usize::from(row.judged.is_right());
        count.2 += 1;
    }
    counts.into_values().filter_map(|(at, right, all)| Some((at, stats::share(right, all)?))).collect()
}

fn arrivals(path: &Path, title: &str, lines: &[(String, Line)]) -> Drawn {
    let axes = Axes { title, x: "seconds from the onset", y: "share told", to: DELAY.end, has_points: false };
    let told: Vec<_> = lines.iter().filter(|(_, line)| !line.is_empty()).cloned().collect();
    curves(path, &axes, &told)
}

struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    to: f64,
    /// Each point is a measurement of its own, so that one alone shows too.
    has_points: bool,
}

/// Lines over a share from 0 to 1; the legend stands beside them, however many there are.
fn curves(path: &Path, axes: &Axes<'_>, lines: &[(String, Line)]) -> Drawn {
    const LEGEND: i32 = 260;
    const ROW: i32 = 18;
    let rows = i32::try_from(lines.len()).unwrap_or(i32::MAX / ROW);
    let height = u32::try_from((rows * ROW + 80).max(460))?;
    let root = SVGBackend::new(path, (980, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(980 - LEGEND);
    let mut chart = ChartBuilder::on(&plot)
        .caption(axes.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..axes.to, 0.0..1.0)?;
    chart.configure_mesh().x_desc(axes.x).y_desc(axes.y).light_line_style(WHITE).draw()?;
    for (place, (name, line)) in lines.iter().enumerate() {
        let color = Palette99::pick(place).to_rgba();
        chart.draw_series(std::iter::once(PathElement::new(line.clone(), color.stroke_width(2))))?;
        if axes.has_points {
            chart.draw_series(line.iter().map(|point| Circle::new(*point, 4, color.filled())))?;
        }
        let y = 40 + ROW * i32::try_from(place)?;
        legend.draw(&Rectangle::new([(0, y), (18, y + 8)], color.filled()))?;
        legend.draw(&Text::new(name.clone(), (24, y), ("sans-serif", 13)))?;
    }
    root.present()?;
    Ok(())
}

/// Truth down, said across; a row's shade is its share.
fn matrix(path: &Path, method: &str, rows: &[&Row]) -> Drawn {
    const CELL: i32 = 80;
    const LEFT: i32 = 110;
    const TOP: i32 = 80;
    let counts = confusion(rows);
    let root = SVGBackend::new(path, (620, 510)).into_drawing_area();
    root.fill(&WHITE)?;
    let style = ("sans-serif", 13);
    root.draw(&Text::new(format!("{method}: truth down, said across"), (12, 12), ("sans-serif", 18)))?;
    for (across, class) in (0..).zip(Class::SAID) {
        root.draw(&Text::new(class.word(), (LEFT + across * CELL, TOP - 20), style))?;
    }
    for ((down, class), row) in (0..).zip(Class::TRUE).zip(counts) {
        let all: usize = row.iter().sum();
        root.draw(&Text::new(class.word(), (12, TOP + down * CELL + 34), style))?;
        for ((across, said), count) in (0..).zip(Class::SAID).zip(row) {
            let corner = (LEFT + across * CELL, TOP + down * CELL);
            let shade = stats::share(count, all).unwrap_or_default();
            let color = if said == class { RGBColor(40, 110, 60) } else { RGBColor(180, 50, 40) };
            let cell = [corner, (corner.0 + CELL - 2, corner.1 + CELL - 2)];
            root.draw(&Rectangle::new(cell, color.mix(shade.sqrt()).filled()))?;
            root.draw(&Rectangle::new(cell, RGBColor(200, 200, 200)))?;
            if count > 0 {
                root.draw(&Text::new(count.to_string(), (corner.0 + 30, corner.1 + 34), style))?;
            }
        }
    }
    root.present()?;
    Ok(())
}
