//! `faultline-lab bench restart`: how soon a coordinator serves after a restart.

use std::{path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::Args;
use faultline_attribution::Timestamp;
use faultline_lab::{
    load::usage,
    restart::{self, Filled, Fleet, Restarts, Start, Taking},
    score::{stats, table::Table},
};
use faultline_proto::clock::Clock;

use crate::cli::{complain, say};

/// Seconds that the log goes on after the snapshot: as long as a crash may lose of it.
const AFTER_S: usize = 60;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench restart --results 10000000\n\nA log is filled through the store's own append, then `faultline serve` is started on it, with a snapshot of a\nminute before its end and without one. Ten million results take 1.5 GB of disk and a few minutes.\nExit codes: 0 measured, 2 wrong usage, 3 could not be run"
)]
pub(super) struct Restart {
    /// Results in the log
    #[arg(long, default_value_t = 10_000_000)]
    results: usize,
    /// Changes in its record of what was published, beside those that the results make
    #[arg(long, default_value_t = 0)]
    changes: usize,
    /// Agents, each looking at every target twice a minute
    #[arg(long, default_value_t = 50, value_parser = at_least_ten)]
    agents: usize,
    /// Targets: results in a batch
    #[arg(long, default_value_t = 200, value_parser = at_least_ten)]
    targets: usize,
    /// Starts of each sort
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Where to put the log; it is left there [default: a folder that is removed at the end]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Program of the coordinator [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    coordinator: Option<PathBuf>,
}

fn at_least_ten(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if number < 10 { Err("fewer than 10 make no fleet".into()) } else { Ok(number) }
}

impl Restart {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean nothing");
        }
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.measure())
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let beside = std::env::current_exe().context("the path of this program")?.with_file_name("faultline");
        let program = self.coordinator.clone().unwrap_or(beside);
        let folder = tempfile::tempdir()?;
        let data = self.data_dir.clone().unwrap_or_else(|| folder.path().to_owned());
        let fleet = Fleet { agents: self.agents, targets: self.targets };
        let seconds = fleet.seconds(self.results).max(AFTER_S * 5);
        let machine = usage::machine();

        let now = Timestamp::from_micros(Clock::system().now_micros());
        let began = Instant::now();
        let mut filled = Filled::open(&data, fleet, seconds, now).await?;
        filled.go_on(&data, seconds - AFTER_S).await?;
        let filling_s = began.elapsed().as_secs_f64();
        complain(&format!("{} results in the log after {filling_s:.0} s", filled.results));
        let restarts = Restarts::new(program, data.clone());
        let taking = restarts.take().await?;
        filled.go_on(&data, AFTER_S).await?;
        restart::publish_more(&data, self.changes).await?;
        let runs = |start: &dyn Fn() -> anyhow::Result<Start>| -> anyhow::Result<Vec<Start>> {
            tokio::task::block_in_place(|| (0..self.runs).map(|_| start()).collect())
        };
        let resumed = runs(&|| restarts.resume())?;
        complain("restarts from a snapshot are measured");
        let rebuilt = runs(&|| restarts.rebuild())?;

        let log_mb = std::fs::metadata(data.join("log.sqlite"))?.len() / 1_000_000;
        say(&format!("{machine}\n"));
        say(&format!(
            "{} results of {} agents at {} targets over {} s, {} changes beside theirs; log {log_mb} MB. Median of {} starts (lowest to highest)\n",
            filled.results, self.agents, self.targets, seconds, self.changes, self.runs
        ));
        say(&table(&resumed, &rebuilt).to_string());
        say(&taken(&taking));
        Ok(())
    }
}

fn table(resumed: &[Start], rebuilt: &[Start]) -> Table {
    let mut table = Table::new(["start of the process to the first answer", "s", "peak MiB"]);
    for (what, starts) in [("from a snapshot of a minute before", resumed), ("folding the whole log", rebuilt)] {
        let spread = |figure: &dyn Fn(&Start) -> f64, decimals: usize| {
            let all: Vec<f64> = starts.iter().map(figure).collect();
            let [low, middle, high] = [0.0, 0.5, 1.0].map(|q| stats::quantile(&all, q).unwrap_or_default());
            format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})")
        };
        table.row([what.to_owned(), spread(&|start| start.serving_s, 2), spread(&|start| start.peak_mib, 0)]);
    }
    table
}

fn taken(Taking { bytes_ms, write_ms, bytes }: &Taking) -> String {
    let kb = bytes / 1000;
    format!("a snapshot: {kb} kB, {bytes_ms:.1} ms between two ticks, {write_ms:.1} ms to disk beside them")
}
