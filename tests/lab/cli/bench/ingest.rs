//! `faultline-lab bench ingest`.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use faultline_lab::{
    ingest::{
        Load,
        report::Report,
        side::{self, Setup},
        victoria,
    },
    load::usage,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::agent::Output;
use crate::cli::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench ingest\n  faultline-lab bench ingest --agents 100 --alone --coordinator ./faultline\n\nFrom agents' sockets to durable log and windows, beside a bare SQLite that appends the same bytes, and\nVictoriaMetrics that takes the same results (Debian's package: apt-get install victoria-metrics). All on\nloopback; agents are scripted and in one process. Takes a quarter of an hour.\nExit codes: 0 measured, 2 wrong usage, 3 could not be run (or something was refused)"
)]
pub(super) struct Ingest {
    /// Sizes of the fleet; one row each
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 5_000])]
    agents: Vec<usize>,
    /// Targets that each agent looks at
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200))]
    targets: u32,
    /// Results in a batch
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Runs, each of everybody
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// How long each side is measured in a run
    #[arg(long, default_value = "6s", value_parser = lasts)]
    lasts: Duration,
    /// Program of the coordinator [default: the one beside this program]
    #[arg(long = "coordinator", value_name = "PATH")]
    program: Option<PathBuf>,
    /// Program of `VictoriaMetrics` [default: the one on the path; left out where there is none]
    #[arg(long, value_name = "PATH")]
    victoria_metrics: Option<PathBuf>,
    /// The coordinator without its peers
    #[arg(long)]
    alone: bool,
    /// How to print what was measured
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

impl Ingest {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean nothing");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(self.measure())?;
        match self.output {
            Output::Table => say(report.text().trim_end()),
            Output::Json => say(&serde_json::to_string(&report)?),
        }
        Ok(())
    }

    async fn measure(&self) -> anyhow::Result<Report> {
        let machine = usage::machine();
        let folder = tempfile::tempdir()?;
        let beside = std::env::current_exe().context("the path of this program")?.with_file_name("faultline");
        let peer = self.victoria_metrics.clone().or_else(victoria::installed).filter(|_| !self.alone);
        let version = match &peer {
            Some(program) => Some(victoria::version(program).await?),
            None => None,
        };
        let setup = Setup {
            program: self.program.clone().unwrap_or(beside),
            victoria: peer,
            agents: self.agents.clone(),
            load: Load { targets: self.targets, batch: self.batch },
            runs: usize::from(self.runs),
            lasts: self.lasts,
            alone: self.alone,
        };
        let bar = ProgressBar::with_draw_target(Some(side::steps(&setup) as u64), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}")?);
        let rows = side::measure(&setup, folder.path(), |what| {
            bar.inc(1);
            bar.set_message(what);
        });
        let rows = rows.await?;
        bar.finish_and_clear();
        Ok(Report::new(machine, setup.load, version, rows))
    }
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_secs(2)..=Duration::from_mins(1);
    if allowed.contains(&lasts) { Ok(lasts) } else { Err("between 2s and 60s".into()) }
}
