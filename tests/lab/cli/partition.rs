//! `faultline-lab partition`: a day without a coordinator, in fast time.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use faultline_lab::chaos::{
    Report,
    partition::{self, Setup},
};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab partition --hours 24\n\nThe spool, the agent and the coordinator are real; the hours alone are written into the spool, at the nominal\nrate. Exit codes: 0 all arrived and nothing live waited, 1 not so, 2 wrong usage, 3 could not be run"
)]
pub(crate) struct Partition {
    /// How long the agent was cut off
    #[arg(long, default_value_t = 24)]
    hours: u32,
    /// Results a second of that time [the nominal rate: 250 targets every 30 s]
    #[arg(long, default_value_t = 250.0 / 30.0)]
    rate: f64,
    /// Keep the spool and the coordinator's folder here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Partition {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let setup = Setup { hours: self.hours, rate: self.rate, keep: self.keep.clone() };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::from(3);
            }
        };
        match runtime.block_on(partition::run(&setup, &mut |line: String| say(&line))) {
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
}
