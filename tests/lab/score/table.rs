//! A table as people read it, in a terminal and in Markdown alike.

use std::fmt;

/// Rows of text under a head; the first column is left-aligned, the others right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a row; what is missing stays empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
        self
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    /// Markdown, padded so that it reads as a table without being rendered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default().max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, row: &[String]| {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 { write!(f, "| {cell:width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")
        };
        line(f, &self.head)?;
        for (column, width) in widths.iter().enumerate() {
            let dashes = "-".repeat(width - 1);
            if column == 0 { write!(f, "| {dashes}- ")? } else { write!(f, "| {dashes}: ")? }
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

/// A figure with so many decimals; a dash where there is none, "never" where it is without end.
pub fn figure(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_infinite() => "never".into(),
        Some(value) => format!("{value:.decimals$}"),
        None => "-".into(),
    }
}

/// A share in per cent with one decimal.
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.1} %", value * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let mut table = Table::new(["method", "F1"]);
        table.row(["engine".into(), figure(Some(0.979), 3)]).row(["a|b".into(), figure(None, 3)]);
        let expected = "| method |    F1 |\n| ------ | ----: |\n| engine | 0.979 |\n| a\\|b   |     - |\n";
        assert_eq!(table.to_string(), expected);
        assert_eq!(figure(Some(f64::INFINITY), 1), "never");
        assert_eq!(percent(Some(0.0254)), "2.5 %");
    }
}
