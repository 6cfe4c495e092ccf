//! `faultline history cells`: the state of cells at equal steps of time, as it was published.
//!
//! Rules: a cell has the state of its newest change at that moment; before its first one, and while we were below quorum if it was
//! ok, it has no data, as on the page; more than [`MOST`] points are an error that says which step fits. A coordinator may be
//! running on the log.

use std::{collections::BTreeMap, io, path::PathBuf, process::ExitCode, time::Duration};

use faultline_attribution::{CellState, Layer, Timestamp};
use serde::Serialize;

use crate::{
    cli::{Usage, replay::instant, results, say},
    feed::Published,
    log::Entry,
};

/// Most points of one answer, those of all cells together. Source: the limit of Prometheus for a range.
const MOST: u64 = 11_000;

/// Changes read at once.
const CHUNK: usize = 2_000;

/// Steps that are offered where the one asked for is too fine, in seconds.
const STEPS: [u64; 22] = [
    1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800,
    1_209_600, 2_592_000, 7_776_000,
];

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline history cells --data-dir ./data --from 2026-10-29T15:00:00Z --to 2026-10-29T18:00:00Z \\\n    --step 1m --provider azure > azure.csv",
    after_help = "Exit codes: 0 printed, also nothing; 1 the log cannot be read; 2 wrong usage, or more than 11,000 points"
)]
pub(in crate::cli) struct Cells {
    /// Where the log is
    #[arg(long, visible_alias = "data", env = "FAULTLINE_DATA_DIR", default_value = "faultline-data")]
    data_dir: PathBuf,
    /// The first moment
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Timestamp,
    /// The last moment at most
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    to: Timestamp,
    /// Time between moments, 1 s at least
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1m")]
    step: Duration,
    /// Of aws or of azure alone
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Of this region, or service that has none, as in us-east-1 or front-door
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Of this layer: dns, connect, tls or http
    #[arg(long, value_name = "LAYER")]
    layer: Option<Layer>,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// How a history is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A header, then one row a cell and moment
    #[default]
    Csv,
    /// One JSON document
    Json,
}

/// Provider, region and layer.
type Name = (String, String, Layer);

/// A cell from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    at: Timestamp,
    state: CellState,
    failing_groups: u32,
    total_groups: u32,
}

/// What the changes up to the last moment come to.
#[derive(Default)]
struct Past {
    /// Changes of each cell: the last one before the first moment, and those after it.
    cells: BTreeMap<Name, Vec<Held>>,
    /// From when on we were below quorum or not.
    blind: Vec<(Timestamp, bool)>,
}

/// One point.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Point<'a> {
    at: Timestamp,
    provider: &'a str,
    region: &'a str,
    layer: Layer,
    state: CellState,
    failing_groups: u32,
    total_groups: u32,
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a> {
    from: Timestamp,
    to: Timestamp,
    step_s: f64,
    points: Vec<Point<'a>>,
}

impl Cells {
    pub(in crate::cli) fn run(self) -> anyhow::Result<ExitCode> {
        self.check()?;
        let log = results::open(&self.data_dir)?;
        let (mut past, mut read) = (Past::default(), 0);
        loop {
            let entries = log.changes(read, CHUNK)?;
            let Some(last) = entries.last() else { break };
            read = last.sequence;
            let is_past = last.published_at > self.to;
            for entry in &entries {
                self.take(&mut past, entry);
            }
            if is_past {
                break;
            }
        }
        self.fit(past.cells.len())?;
        match self.print(&past) {
            // Whoever read this is gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
        }
    }

    fn check(&self) -> Result<(), Usage> {
        if self.step < Duration::from_secs(1) {
            return Err(Usage(format!("--step {:?} is below 1 s", self.step)));
        }
        if self.to < self.from {
            return Err(Usage(format!("--to {} is before --from {}", self.to, self.from)));
        }
        Ok(())
    }

    /// Takes a change in, if it was published by the last moment and is asked for.
    fn take(&self, past: &mut Past, entry: &Entry) {
        if entry.published_at > self.to {
            return;
        }
        match &entry.published {
            Published::Cell(cell) if self.is_asked(&cell.provider, &cell.region, cell.layer) => {
                let name = (cell.provider.clone(), cell.region.clone(), cell.layer);
                let held = Held {
                    at: entry.published_at,
                    state: cell.state,
                    failing_groups: cell.failing_groups,
                    total_groups: cell.total_groups,
                };
                let changes = past.cells.entry(name).or_default();
                if held.at <= self.from {
                    changes.clear();
                }
                changes.push(held);
            }
            Published::Visibility(sight) => {
                if entry.published_at <= self.from {
                    past.blind.clear();
                }
                past.blind.push((entry.published_at, sight.below_quorum));
            }
            Published::Cell(_) | Published::Incident(_) | Published::Claim(_) | Published::Work(_) => {}
        }
    }

    fn is_asked(&self, provider: &str, region: &str, layer: Layer) -> bool {
        self.provider.as_deref().is_none_or(|asked| asked == provider)
            && self.region.as_deref().is_none_or(|asked| asked == region)
            && self.layer.is_none_or(|asked| asked == layer)
    }

    /// Whether so many cells make an answer of a size that is allowed.
    fn fit(&self, cells: usize) -> Result<(), Usage> {
        let cells = u64::try_from(cells).unwrap_or(u64::MAX);
        let points = cells.saturating_mul(self.moments(self.step));
        if points <= MOST {
            return Ok(());
        }
        let fits =
            STEPS.map(Duration::from_secs).into_iter().find(|step| cells.saturating_mul(self.moments(*step)) <= MOST);
        let advice = match fits {
            Some(step) => format!("--step {} fits", humantime::format_duration(step)),
            None => "no step fits".to_owned(),
        };
        Err(Usage(format!(
            "{points} points ({cells} cells) are more than {MOST}: {advice}; --provider, --region and --layer make it fewer cells"
        )))
    }

    fn moments(&self, step: Duration) -> u64 {
        let moments = self.to.since(self.from).as_micros() / step.as_micros().max(1) + 1;
        u64::try_from(moments).unwrap_or(u64::MAX)
    }

    fn print(&self, past: &Past) -> io::Result<()> {
        let points = self.points(past);
        if self.output == Form::Json {
            let document = Document { from: self.from, to: self.to, step_s: self.step.as_secs_f64(), points };
            return say(&serde_json::to_string_pretty(&document)?);
        }
        let mut out = csv::WriterBuilder::new().has_headers(false).from_writer(io::stdout().lock());
        out.write_record(["at", "provider", "region", "layer", "state", "failing_groups", "total_groups"])?;
        points.iter().try_for_each(|point| out.serialize(point))?;
        out.flush()
    }

    /// Every point, cell by cell.
    fn points<'a>(&self, past: &'a Past) -> Vec<Point<'a>> {
        let mut points = Vec::new();
        for ((provider, region, layer), changes) in &past.cells {
            for n in 0..self.moments(self.step) {
                let span = self.step.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
                let at = self.from.after(span);
                let is_blind = newest(&past.blind, at, |(since, _)| *since).is_none_or(|(_, is_blind)| *is_blind);
                let held = newest(changes, at, |held| held.at);
                let state = match held.map_or(CellState::NoData, |held| held.state) {
                    CellState::Ok if is_blind => CellState::NoData,
                    state => state,
                };
                let (failing_groups, total_groups) =
                    held.map_or((0, 0), |held| (held.failing_groups, held.total_groups));
                points.push(Point { at, provider, region, layer: *layer, state, failing_groups, total_groups });
            }
        }
        points
    }
}

/// The newest at that moment; they are in order.
fn newest<T>(all: &[T], at: Timestamp, since: impl Fn(&T) -> Timestamp) -> Option<&T> {
    let after = all.partition_point(|one| since(one) <= at);
    all.get(after.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use faultline_attribution::{CellChange, Visibility};

    use super::*;
    use crate::log::Cursor;

    const START: i64 = 1_761_750_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(START + seconds * 1_000_000)
    }

    fn cells(to: i64, step: u64) -> Cells {
        Cells {
            data_dir: PathBuf::new(),
            from: at(0),
            to: at(to),
            step: Duration::from_secs(step),
            provider: None,
            region: None,
            layer: None,
            output: Form::Csv,
        }
    }

    fn entry(seconds: i64, published: Published) -> Entry {
        Entry { sequence: 1, tick: Cursor::START, published_at: at(seconds), published }
    }

    fn cell(seconds: i64, region: &str, state: CellState) -> Entry {
        let change = CellChange {
            provider: "aws".into(),
            region: region.into(),
            layer: Layer::Http,
            state,
            failing_groups: 1,
            total_groups: 6,
            changed_at: at(seconds),
        };
        entry(seconds, Published::Cell(change))
    }

    fn sight(seconds: i64, below_quorum: bool) -> Entry {
        entry(seconds, Published::Visibility(Visibility { below_quorum, ..Visibility::default() }))
    }

    fn states(cells: &Cells, entries: &[Entry]) -> Vec<CellState> {
        let mut past = Past::default();
        for entry in entries {
            cells.take(&mut past, entry);
        }
        cells.points(&past).iter().map(|point| point.state).collect()
    }

    #[test]
    fn a_cell_has_the_state_of_its_newest_change() {
        use CellState::{Failing, NoData, Ok};
        let entries = [
            sight(-50, false),
            cell(-40, "us-east-1", Failing),
            cell(-30, "us-east-1", Ok),
            cell(60, "us-east-1", Failing),
            cell(61, "us-east-1", Ok),
            cell(9_999, "us-east-1", Failing),
        ];
        assert_eq!(states(&cells(180, 30), &entries), [Ok, Ok, Failing, Ok, Ok, Ok, Ok]);
        assert_eq!(states(&cells(30, 30), &[sight(-1, false), cell(20, "eu-west-1", Ok)]), [NoData, Ok]);
    }

    #[test]
    fn while_we_cannot_see_nothing_is_ok() {
        use CellState::{Failing, NoData, Ok};
        let entries = [cell(-9, "us-east-1", Ok), sight(20, false), sight(50, true), cell(80, "us-east-1", Failing)];
        assert_eq!(states(&cells(90, 30), &entries), [NoData, Ok, NoData, Failing]);
    }

    #[test]
    fn too_many_points_name_the_step_that_fits() {
        let day = cells(86_400, 1);
        assert!(cells(9, 1).fit(1_100).is_ok());
        let said = cells(9, 1).fit(1_101).expect_err("too many").to_string();
        assert!(said.starts_with("11010 points (1101 cells) are more than 11000: --step 5s fits"), "{said}");
        let said = day.fit(10).expect_err("too many").to_string();
        assert!(said.contains("--step 2m fits"), "{said}");
        let fitting = Cells { step: Duration::from_mins(2), ..day };
        assert!(fitting.fit(10).is_ok(), "what it says is true");
        assert!(fitting.fit(20_000).expect_err("too many").to_string().contains("no step fits"));
    }

    #[test]
    fn a_filter_leaves_other_cells_out() {
        let entries =
            [sight(-9, false), cell(-8, "us-east-1", CellState::Ok), cell(-7, "eu-west-1", CellState::Failing)];
        let one = Cells { region: Some("eu-west-1".into()), ..cells(0, 1) };
        assert_eq!(states(&one, &entries), [CellState::Failing]);
        let none = Cells { layer: Some(Layer::Dns), ..cells(0, 1) };
        assert!(states(&none, &entries).is_empty());
    }

    #[test]
    fn a_moment_that_is_none_is_wrong_usage() {
        assert!(cells(-1, 60).check().is_err() && cells(0, 60).check().is_ok());
        assert!(Cells { step: Duration::from_millis(999), ..cells(0, 1) }.check().is_err());
    }
}
