//! `faultline-lab chaos`: kills, failpoints and broken links, and then the accounting.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use faultline_lab::chaos::{self, Report, Setup};
use tokio::signal::unix::{SignalKind, signal};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab chaos --kills 200 --seed \"$(date +%s)\" --keep chaos\n\nThe programs must be built with failpoints: `cargo build -p faultline-agent -p faultline-coordinator\n--features faultline-agent/failpoints,faultline-coordinator/failpoints`. Clocks are left alone.\nExit codes: 0 made = logged + lost, for every agent, 1 it is not, 2 wrong usage, 3 could not be run"
)]
pub(crate) struct Chaos {
    /// Processes to kill: a quarter of them coordinators, half at failpoints
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Decides who dies when and what links do
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Agents
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=28))]
    agents: u8,
    /// Keep logs, spools and the coordinator's folder here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where `faultline` and `faultline-agent` are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Chaos {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        say(&format!("seed    {}", self.seed));
        match self.run() {
            Ok(Some(Report { text, faults })) => {
                say(&format!("\n{text}"));
                for fault in &faults {
                    say(&format!("wrong   {fault}"));
                }
                if faults.is_empty() {
                    say(&format!("right   seed {}: made = logged + lost, nothing twice", self.seed));
                    return ExitCode::SUCCESS;
                }
                say(&format!("wrong   seed {}", self.seed));
                ExitCode::FAILURE
            }
            Ok(None) => {
                complain("interrupted");
                ExitCode::from(3)
            }
            Err(error) => {
                complain(&format!("seed {}: {error:#}", self.seed));
                ExitCode::from(3)
            }
        }
    }

    /// What came of it; `None` when stopped from outside, with every process gone.
    fn run(&self) -> anyhow::Result<Option<Report>> {
        let programs = self.programs.clone().map_or_else(chaos::own_folder, Ok)?;
        let (kills, seed, agents) = (self.kills, self.seed, usize::from(self.agents));
        let setup = Setup { kills, seed, agents, programs, keep: self.keep.clone() };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut told = |line: String| say(&line);
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                report = chaos::run(&setup, &mut told) => report.map(Some),
                _ = tokio::signal::ctrl_c() => Ok(None),
                _ = terminate.recv() => Ok(None),
            }
        })
    }
}
