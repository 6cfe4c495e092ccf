//! `faultline-lab parity`: the agent and `blackbox_exporter` at the same servers.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use faultline_lab::parity::{self, ParityError, Played, case::Catalog, report};
use tokio::signal::unix::{SignalKind, signal};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab parity\n  faultline-lab parity --case tls-expired -o json\n\nServers are on loopback. Exit codes: 0 all is as declared, 1 it is not, 2 wrong usage,\n3 could not be run"
)]
pub(crate) struct Parity {
    /// The exporter; HTTP/3 needs 0.28 or newer
    #[arg(long, value_name = "PATH", default_value = "prometheus-blackbox-exporter")]
    blackbox: PathBuf,
    /// Only this case
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Name the cases, and play none
    #[arg(long, conflicts_with_all = ["differences", "case"])]
    list: bool,
    /// Print every declared difference with its reason in Markdown, and play nothing
    #[arg(long, conflicts_with = "case")]
    differences: bool,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Parity {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        match self.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain(&format!("{error:#}"));
                let is_usage = matches!(error.downcast_ref(), Some(ParityError::NoCase(_)));
                ExitCode::from(if is_usage { 2 } else { 3 })
            }
        }
    }

    fn run(&self) -> anyhow::Result<bool> {
        let catalog = Catalog::built_in()?;
        if self.list {
            catalog.cases.iter().for_each(|case| say(&case.name));
            return Ok(true);
        }
        if self.differences {
            say(report::differences(&catalog).trim_end());
            return Ok(true);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let played = runtime.block_on(self.play(&catalog))?;
        say(&match self.output {
            Output::Text => report::text(&played, &catalog),
            Output::Json => report::json(&played, &catalog)?,
        });
        Ok(played.holds())
    }

    /// Plays until it is done, or until a signal ends it and the exporter with it.
    async fn play(&self, catalog: &Catalog) -> anyhow::Result<Played> {
        let mut end = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
        tokio::select! {
            played = parity::run(catalog, self.case.as_deref(), &self.blackbox) => Ok(played?),
            _ = end.recv() => anyhow::bail!("ended by SIGTERM"),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("waiting for SIGINT")?;
                anyhow::bail!("ended by SIGINT")
            }
        }
    }
}
