//! The report: `report.md` for people, `cases.csv` for programs (one row a case and method), SVG figures.
//!
//! Rule: the same rows give the same Markdown, but for what is measured with a clock, which stands in a table of its own.

mod csv_rows;
mod figures;

use std::{collections::BTreeSet, fmt::Write as _, io, path::Path};

use super::{
    judged::Class,
    run::Row,
    summary::{Bounded, Summary, distinct},
    table::{Table, figure, percent},
};

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The directory or a file in it.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A row of the CSV.
    #[error("cases.csv: {0}")]
    Csv(#[from] csv::Error),
    /// A figure.
    #[error("{figure}: {reason}")]
    Figure {
        /// Which.
        figure: String,
        /// Why.
        reason: String,
    },
}

/// Whether a row is of a part.
type Choose = fn(&Row) -> bool;

/// Everything that was judged.
pub struct Report<'a> {
    rows: &'a [Row],
    methods: Vec<&'static str>,
}

impl<'a> Report<'a> {
    /// A report over these rows; methods keep the order in which they come.
    pub fn new(rows: &'a [Row]) -> Self {
        let mut methods = Vec::new();
        for row in rows {
            if !methods.contains(&row.method) {
                methods.push(row.method);
            }
        }
        Self { rows, methods }
    }

    /// Writes all files into the directory, which is made.
    pub fn write(&self, directory: &Path) -> Result<(), ReportError> {
        let file = |path: &Path, source| ReportError::File { path: path.display().to_string(), source };
        std::fs::create_dir_all(directory).map_err(|error| file(directory, error))?;
        let markdown = directory.join("report.md");
        std::fs::write(&markdown, self.markdown()).map_err(|error| file(&markdown, error))?;
        let csv = directory.join("cases.csv");
        std::fs::write(&csv, csv_rows::text(self.rows)?).map_err(|error| file(&csv, error))?;
        figures::draw(self, directory)
    }

    /// The headline table alone, as a terminal shows it.
    pub fn headline(&self) -> Table {
        let mut table = Table::new([
            "method",
            "runs",
            "accuracy",
            "macro-F1",
            "95 %",
            "wrong cloud",
            "<= runs",
            "<= scenarios",
            "undetermined",
            "element",
            "kind",
            "median s",
            "p90 s",
            "never",
            "x optimum",
            "ECE",
            "Brier",
        ]);
        for (method, summary) in self.summaries(|_| true) {
            let interval = summary.macro_f1_interval.map(|(low, high)| format!("{low:.3}-{high:.3}"));
            table.row([
                method.into(),
                summary.runs.to_string(),
                figure(summary.accuracy, 3),
                figure(summary.macro_f1, 3),
                interval.unwrap_or_else(|| "-".into()),
                bounded(summary.wrong_cloud),
                percent(Some(summary.wrong_cloud.at_most)),
                percent(Some(summary.wrong_cloud_scenarios.at_most)),
                summary.undetermined.to_string(),
                percent(summary.element_accuracy),
                percent(summary.kind_accuracy),
                figure(summary.seconds.median, 0),
                figure(summary.seconds.p90, 0),
                percent(summary.never),
                figure(summary.optimum_ratio.median, 1),
                figure(summary.calibration.map(|calibration| calibration.ece), 3),
                figure(summary.calibration.map(|calibration| calibration.brier), 3),
            ]);
        }
        table
    }

    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Verdicts against the truth\n\n");
        let scenarios = distinct(&self.rows.iter().collect::<Vec<_>>(), |row| &row.scenario).len();
        let seeds: BTreeSet<u64> = self.rows.iter().map(|row| row.seed).collect();
        let mut add = |title: &str, table: &Table| {
            if !table.is_empty() {
                writeln!(text, "## {title}\n\n{table}").expect("a string takes all");
            }
        };
        add(&format!("All: {scenarios} scenarios, {} seeds", seeds.len()), &self.headline());
        add("Hard families and held-out families", &self.parts());
        add("By class", &self.classes());
        add("By family (accuracy; wrong cloud where any; median seconds)", &self.families());
        add("Stability", &self.stability());
        add("Calibration", &self.calibration());
        add("Runs that accused a cloud which was not at fault", &self.wrong());
        add("Cost (measured with a clock)", &self.cost());
        text
    }

    /// Each method's figures over the rows chosen.
    fn summaries(&self, choose: impl Fn(&Row) -> bool) -> Vec<(&'static str, Summary)> {
        let each = self.methods.iter().map(|method| (*method, Summary::of(&self.of(method, &choose))));
        each.filter(|(_, summary)| summary.runs > 0).collect()
    }

    fn of(&self, method: &str, choose: impl Fn(&Row) -> bool) -> Vec<&'a Row> {
        self.rows.iter().filter(|row| row.method == method && choose(row)).collect()
    }

    fn parts(&self) -> Table {
        let mut table = Table::new([
            "method",
            "part",
            "runs",
            "scenarios",
            "accuracy",
            "macro-F1",
            "95 %",
            "wrong cloud",
            "<= runs",
            "<= scenarios",
        ]);
        let parts: [(&str, Choose); 3] =
            [("hard", |row| row.is_hard), ("easy", |row| !row.is_hard), ("held out", |row| row.is_held_out)];
        for (part, choose) in parts {
            for (method, summary) in self.summaries(choose) {
                let interval = summary.macro_f1_interval.map(|(low, high)| format!("{low:.3}-{high:.3}"));
                table.row([
                    method.into(),
                    part.into(),
                    summary.runs.to_string(),
                    summary.scenarios.to_string(),
                    figure(summary.accuracy, 3),
                    figure(summary.macro_f1, 3),
                    interval.unwrap_or_else(|| "-".into()),
                    bounded(summary.wrong_cloud),
                    percent(Some(summary.wrong_cloud.at_most)),
                    percent(Some(summary.wrong_cloud_scenarios.at_most)),
                ]);
            }
        }
        table
    }

    fn classes(&self) -> Table {
        let mut table = Table::new(["method", "class", "cases", "precision", "recall", "F1"]);
        for (method, summary) in self.summaries(|_| true) {
            for score in summary.classes.iter().filter(|score| score.cases > 0 || score.precision.is_some()) {
                table.row([
                    method.into(),
                    score.class.word().into(),
                    score.cases.to_string(),
                    figure(score.precision, 3),
                    figure(score.recall, 3),
                    figure(score.f1, 3),
                ]);
            }
        }
        table
    }

    fn families(&self) -> Table {
        let head = ["family", "marks", "runs"].into_iter().chain(self.methods.iter().copied());
        let mut table = Table::new(head);
        for family in distinct(&self.rows.iter().collect::<Vec<_>>(), |row| &row.family) {
            let own = |row: &&Row| row.family == family;
            let mark = |is: Choose, word: &str| {
                if self.rows.iter().filter(own).any(is) { word.to_owned() } else { String::new() }
            };
            let marks = mark(|row| row.is_hard, "hard ") + &mark(|row| row.is_held_out, "held-out");
            let runs = self.rows.iter().filter(own).count() / self.methods.len().max(1);
            let cells = self.summaries(|row| row.family == family).into_iter().map(|(_, summary)| {
                let wrong = match summary.wrong_cloud.hits {
                    0 => String::new(),
                    hits => format!(" WRONG {hits}"),
                };
                format!("{}{wrong} {}", figure(summary.accuracy, 2), figure(summary.seconds.median, 0))
            });
            table.row([family.to_owned(), marks.trim_end().to_owned(), runs.to_string()].into_iter().chain(cells));
        }
        table
    }

    fn stability(&self) -> Table {
        let mut table = Table::new([
            "method",
            "wrong begun a run",
            "withdrawn a run",
            "runs with wrong neither",
            "element F1",
            "onset error s median",
            "p90",
            "resolve s median",
            "p90",
        ]);
        for (method, summary) in self.summaries(|_| true) {
            table.row([
                method.into(),
                figure(summary.wrong_begun, 3),
                figure(summary.flips, 3),
                summary.wrong_neither.to_string(),
                figure(summary.element_f1, 3),
                figure(summary.onset_error_s.median, 1),
                figure(summary.onset_error_s.p90, 1),
                figure(summary.resolve_s.median, 0),
                figure(summary.resolve_s.p90, 0),
            ]);
        }
        table
    }

    fn calibration(&self) -> Table {
        let mut table = Table::new(["method", "ECE width", "ECE mass", "Brier top", "Brier all", "log loss nats"]);
        for (method, summary) in self.summaries(|_| true) {
            if let Some(calibration) = summary.calibration {
                table.row([
                    method.into(),
                    figure(Some(calibration.ece), 4),
                    figure(Some(calibration.ece_mass), 4),
                    figure(Some(calibration.brier), 4),
                    figure(Some(calibration.brier_all), 4),
                    figure(Some(calibration.log_loss), 4),
                ]);
            }
        }
        table
    }

    fn wrong(&self) -> Table {
        let mut table = Table::new(["scenario", "seed", "method", "truth", "accused"]);
        for row in self.rows.iter().filter(|row| !row.judged.wrong_clouds.is_empty()) {
            let accused: Vec<&str> = row.judged.wrong_clouds.iter().map(|cloud| cloud.word()).collect();
            table.row([
                row.scenario.clone(),
                row.seed.to_string(),
                row.method.into(),
                row.judged.truth.word().into(),
                accused.join(" "),
            ]);
        }
        table
    }

    fn cost(&self) -> Table {
        let mut table = Table::new(["method", "us/result", "tick ms p50", "p99", "max"]);
        for (method, summary) in self.summaries(|_| true) {
            let tick = |place: usize| figure(summary.tick_ms.map(|ticks| ticks[place]), 3);
            table.row([method.into(), figure(summary.result_us, 2), tick(0), tick(1), tick(2)]);
        }
        table
    }
}

fn bounded(bounded: Bounded) -> String {
    format!("{} of {}", bounded.hits, bounded.of)
}

/// How often each truth (row) was said to be what (column).
fn confusion(rows: &[&Row]) -> [[usize; Class::SAID.len()]; Class::TRUE.len()] {
    let mut counts = [[0; Class::SAID.len()]; Class::TRUE.len()];
    for row in rows {
        let truth = Class::TRUE.iter().position(|class| *class == row.judged.truth);
        let said = Class::SAID.iter().position(|class| *class == row.judged.said);
        if let (Some(truth), Some(said)) = (truth, said) {
            counts[truth][said] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests;
