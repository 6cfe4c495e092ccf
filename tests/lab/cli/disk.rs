//! `faultline-lab disk`: full disks, on either side.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use faultline_lab::chaos::{
    self, Report,
    disk::{self, Setup},
};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  tests/ci/disk\n\nBoth folders must be empty small file systems of their own, since they are filled to the last byte:\n`tests/ci/disk` mounts them. Exit codes: 0 nothing was lost and everything went on, 1 not so, 2 wrong usage,\n3 could not be run"
)]
pub(crate) struct Disk {
    /// A file system for an agent's spool, some 24 MiB
    #[arg(long = "agent-disk", value_name = "DIR")]
    agent: PathBuf,
    /// A file system for the coordinator's data directory, some 24 MiB
    #[arg(long = "coordinator-disk", value_name = "DIR")]
    coordinator: PathBuf,
    /// Where `faultline` and `faultline-agent` are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Disk {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        match self.run() {
            Ok(Report { text, faults }) => {
                say(text.trim_end());
                for fault in &faults {
                    say(&format!("wrong   {fault}"));
                }
                if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(3)
            }
        }
    }

    fn run(&self) -> anyhow::Result<Report> {
        let programs = self.programs.clone().map_or_else(chaos::own_folder, Ok)?;
        let (agent_disk, coordinator_disk) = (self.agent.clone(), self.coordinator.clone());
        let setup = Setup { agent_disk, coordinator_disk, programs };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(disk::run(&setup, &mut |line: String| say(&line)))
    }
}
