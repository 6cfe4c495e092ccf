//! `faultline-lab bench`: what the engine costs, what the agent and the coordinator do, and what the coordinator bears.

mod agent;
mod attack;
mod feed;
mod ingest;
mod reconnect;
mod restart;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use faultline_lab::score::{
    cost::{self, Cost, Load},
    stats,
    table::Table,
};

use super::{complain, say};

/// Figures that the engine must reach, as [`Cost::pass_ns`], [`Cost::open_us`] and the 99th percentile of a tick at
/// [`TICK_CELLS`] cells.
const PASS_NS: f64 = 300.0;
const OPEN_US: f64 = 5.0;
const TICK_MS: f64 = 20.0;
const TICK_CELLS: usize = 10_000;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench engine --cells 10000,100000\n  faultline-lab bench agent\n  faultline-lab bench ingest"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Nanoseconds a result, milliseconds a tick, bytes a cell
    Engine(Engine),
    /// CPU a probe beside `blackbox_exporter` and a bare loop; memory, start and punctuality of the daemon
    Agent(agent::Agent),
    /// Results a second and CPU a result from socket to durable log and windows, beside SQLite and `VictoriaMetrics`
    Ingest(ingest::Ingest),
    /// What honest agents lose while the coordinator is attacked
    Attack(attack::Attack),
    /// What a thousand subscribers hear while they die and resume, how soon, and what they cost
    Feed(feed::Feed),
    /// How soon thousands of agents are back after the coordinator died, and what it holds then
    Reconnect(reconnect::Reconnect),
    /// Seconds until a coordinator serves after a restart, from a snapshot and without one
    Restart(restart::Restart),
    /// A part of another bench in a process of its own
    #[command(hide = true)]
    Part(agent::Part),
}

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench engine\n  faultline-lab bench engine --cells 10000 --runs 5\n\nA fleet is generated and fed to the engine without any network: a quiet stretch, then AWS us-east-1 stops\nanswering. Exit codes: 0 measured, 2 wrong usage, 3 could not be run"
)]
struct Engine {
    /// Pairs of agent and target, each probed every 30 s; one row each
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    cells: Vec<usize>,
    /// Runs of each size, each in a process of its own
    #[arg(long, default_value_t = 3)]
    runs: u64,
    /// Seconds of virtual time before the region breaks
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(60..))]
    quiet: u64,
    /// Seconds of virtual time after it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(30..))]
    broken: u64,
    /// Share of healthy runs that fail all the same
    #[arg(long, default_value_t = 0.001)]
    noise: f64,
    /// Decides which
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One run in this process, as JSON
    #[arg(long, hide = true)]
    measure: bool,
}

impl Bench {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let done = match &self.subject {
            Subject::Engine(engine) => engine.run(),
            Subject::Agent(agent) => agent.run(),
            Subject::Attack(attack) => attack.run(),
            Subject::Feed(feed) => feed.run(),
            Subject::Reconnect(reconnect) => reconnect.run(),
            Subject::Ingest(ingest) => ingest.run(),
            Subject::Restart(restart) => restart.run(),
            Subject::Part(part) => part.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(3)
            }
        }
    }
}

impl Engine {
    fn run(&self) -> anyhow::Result<()> {
        if self.measure {
            let cells = self.cells.first().copied().unwrap_or(TICK_CELLS);
            let load = Load { cells, quiet_s: self.quiet, broken_s: self.broken, noise: self.noise, seed: self.seed };
            say(&serde_json::to_string(&cost::run(&load))?);
            return Ok(());
        }
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean nothing");
        }
        let mut table = Table::new([
            "cells",
            "pass ns",
            "quiet us/result",
            "open us/result",
            "quiet tick ms p50",
            "p99",
            "max",
            "open tick ms p50",
            "p99",
            "max",
            "bytes/cell",
            "verdict s",
        ]);
        let mut sizes = Vec::new();
        for cells in &self.cells {
            let costs = (0..self.runs).map(|run| self.measure(*cells, self.seed + run));
            let costs = costs.collect::<anyhow::Result<Vec<Cost>>>()?;
            table.row(row(&costs));
            sizes.push(costs);
        }
        say(&format!("Median of {} runs (lowest to highest); noise {}\n", self.runs, self.noise));
        say(&table.to_string());
        for line in ratios(&sizes) {
            say(&line);
        }
        Ok(())
    }

    /// One run in a fresh process.
    fn measure(&self, cells: usize, seed: u64) -> anyhow::Result<Cost> {
        let program = std::env::current_exe().context("the path of this program")?;
        let output = Command::new(program)
            .args(["bench", "engine", "--measure"])
            .args(["--cells", &cells.to_string(), "--seed", &seed.to_string(), "--noise", &self.noise.to_string()])
            .args(["--quiet", &self.quiet.to_string(), "--broken", &self.broken.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .context("starting a run of its own")?;
        ensure!(output.status.success(), "a run of {cells} cells ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn row(costs: &[Cost]) -> Vec<String> {
    let spread = |decimals: usize, figure: &dyn Fn(&Cost) -> f64| {
        let all: Vec<f64> = costs.iter().map(figure).collect();
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|q| stats::quantile(&all, q).unwrap_or_default());
        format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})")
    };
    vec![
        costs.first().map_or(0, |cost| cost.cells).to_string(),
        spread(0, &|cost| cost.pass_ns),
        spread(2, &|cost| cost.quiet_us),
        spread(2, &|cost| cost.open_us),
        spread(2, &|cost| cost.quiet_tick_ms[0]),
        spread(2, &|cost| cost.quiet_tick_ms[1]),
        spread(2, &|cost| cost.quiet_tick_ms[2]),
        spread(2, &|cost| cost.open_tick_ms[0]),
        spread(2, &|cost| cost.open_tick_ms[1]),
        spread(2, &|cost| cost.open_tick_ms[2]),
        spread(0, &|cost| cost.bytes_per_cell),
        spread(0, &|cost| cost.verdict_s),
    ]
}

/// Each size against the figures to reach, and against the size before it.
fn ratios(sizes: &[Vec<Cost>]) -> Vec<String> {
    let middle = |costs: &[Cost], figure: &dyn Fn(&Cost) -> f64| {
        stats::quantile(&costs.iter().map(figure).collect::<Vec<_>>(), 0.5).unwrap_or_default()
    };
    let mut lines = Vec::new();
    for costs in sizes {
        let cells = costs.first().map_or(0, |cost| cost.cells);
        let (pass, open) = (middle(costs, &|cost| cost.pass_ns), middle(costs, &|cost| cost.open_us));
        let tick = middle(costs, &|cost| cost.open_tick_ms[1].max(cost.quiet_tick_ms[1]));
        let is_sized = cells <= TICK_CELLS * 11 / 10;
        let tick = if is_sized { format!("; tick p99 {:.2} of {TICK_MS} ms", tick / TICK_MS) } else { String::new() };
        lines.push(format!(
            "{cells:>8} cells: a passing result {:.2} of {PASS_NS} ns; a result while open {:.2} of {OPEN_US} us{tick}",
            pass / PASS_NS,
            open / OPEN_US
        ));
    }
    for pair in sizes.windows(2) {
        let [small, large] = pair else { continue };
        let cells = |costs: &[Cost]| costs.first().map_or(0, |cost| cost.cells);
        let grows = |figure: &dyn Fn(&Cost) -> f64| middle(large, figure) / middle(small, figure).max(1e-9);
        lines.push(format!(
            "{} -> {} cells ({:.1} x): quiet tick p50 {:.1} x, open tick p50 {:.1} x, bytes a cell {:.2} x",
            cells(small),
            cells(large),
            stats::real(cells(large)) / stats::real(cells(small).max(1)),
            grows(&|cost| cost.quiet_tick_ms[0]),
            grows(&|cost| cost.open_tick_ms[0]),
            grows(&|cost| cost.bytes_per_cell),
        ));
    }
    lines
}
