//! Prometheus' text format 0.0.4, as `blackbox_exporter` writes it.
//!
//! ```text
//! # HELP probe_http_ssl Whether the last hop was https
//! # TYPE probe_http_ssl gauge
//! probe_http_ssl 1
//! ```
//!
//! Rules: families, series and labels are in the order of their names, whatever order they were added in; numbers
//! are written as Go writes them (`1.7e+09`), so that a text can be compared with `blackbox_exporter`'s; a series is there once.
//!
//! Source: Prometheus, "Exposition formats", text-based format.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write,
};

/// What `Content-Type` says of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics that are written together.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, Family>,
}

#[derive(Clone, Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    /// By their labels as they are written.
    series: BTreeMap<String, f64>,
}

impl Exposition {
    /// Adds a gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauge_of(name, help, &[], value);
    }

    /// Adds a gauge with labels.
    pub fn gauge_of(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add(name, help, "gauge", labels, value);
    }

    /// Adds a counter; its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add(name, help, "counter", labels, value);
    }

    fn add(&mut self, name: &'static str, help: &'static str, kind: &'static str, labels: &[(&str, &str)], value: f64) {
        let family = match self.families.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Family { help, kind, series: BTreeMap::new() }),
        };
        family.series.insert(written(labels), value);
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a string cannot fail.
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", family.kind).ok();
            for (labels, value) in &family.series {
                writeln!(text, "{name}{labels} {}", number(*value)).ok();
            }
        }
        text
    }
}

/// The labels in braces, or nothing.
fn written(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let quoted = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        format!("{name}=\"{value}\"")
    };
    let mut pairs: Vec<String> = labels.iter().map(quoted).collect();
    pairs.sort_unstable();
    format!("{{{}}}", pairs.join(","))
}

/// The number as Go's `strconv.FormatFloat(value, 'g', -1, 64)` has it: the fewest digits that say it, with an exponent where
/// that is below -4 or above 5.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..=5).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: what `blackbox_exporter` 0.23 printed, and Go's own tables of `%g`.
    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (1.1, "1.1"),
            (200.0, "200"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1_798_282_037.0, "1.798282037e+09"),
            (-62_135_596_800.0, "-6.21355968e+10"),
            (0.000_114, "0.000114"),
            (0.000_011_417, "1.1417e-05"),
            (0.001_207_103_999_999_999_6, "0.0012071039999999996"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn families_and_series_are_in_order_and_escaped() {
        let mut page = Exposition::default();
        page.gauge_of("b", "Two\nlines \\", &[("phase", "tls")], 0.5);
        page.gauge_of("b", "Two\nlines \\", &[("phase", "connect")], 2.0);
        page.gauge_of("a_info", "A", &[("x", "q\"\\\n"), ("w", "é")], 1.0);
        page.counter("c_total", "C", &[], 3.0);
        let text = "# HELP a_info A\n# TYPE a_info gauge\na_info{w=\"é\",x=\"q\\\"\\\\\\n\"} 1\n\
                    # HELP b Two\\nlines \\\\\n# TYPE b gauge\nb{phase=\"connect\"} 2\nb{phase=\"tls\"} 0.5\n\
                    # HELP c_total C\n# TYPE c_total counter\nc_total 3\n";
        assert_eq!(page.text(), text);
    }

    #[test]
    fn a_series_is_there_once() {
        let mut page = Exposition::default();
        page.gauge("a", "A", 1.0);
        page.gauge("a", "A", 2.0);
        assert_eq!(page.text().lines().last(), Some("a 2"));
    }
}
