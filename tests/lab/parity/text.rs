//! Reads Prometheus' text format, as far as both tell it: gauges with labels, no timestamps.

use std::{collections::BTreeMap, fmt};

/// Which series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// What somebody tells.
pub(super) type Told = BTreeMap<Series, f64>;

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.labels.is_empty() {
            let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            write!(f, "{{{}}}", labels.join(","))?;
        }
        Ok(())
    }
}

/// The series of the text; what is wrong with the first line that is none.
pub(super) fn read(text: &str) -> Result<Told, String> {
    let mut told = Told::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = read_line(line).ok_or_else(|| format!("{line:?} is no series"))?;
        if told.insert(series, value).is_some() {
            return Err(format!("{line:?} is there twice"));
        }
    }
    Ok(told)
}

fn read_line(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let name = line[..end].to_owned();
    let mut rest = &line[end..];
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    Some((Series { name, labels }, rest.trim().parse().ok()?))
}

/// The text up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unquoted_and_numbers_are_gos() {
        let told = read("# HELP a A\na{x=\"q\\\"\\\\ }\",y=\"n\\n,\"} 1.5e+09\nb 0\n").expect("two series");
        let told: Vec<_> = told.iter().map(|(series, value)| (series.to_string(), *value)).collect();
        assert_eq!(told, [("a{x=\"q\\\"\\\\ }\",y=\"n\\n,\"}".to_owned(), 1.5e9), ("b".to_owned(), 0.0)]);
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for wrong in ["a", "a{x=\"1\" 2", "a x", "a 1\na 2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
