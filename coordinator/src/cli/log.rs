//! `faultline log`: what state the log is in.

use std::{process::ExitCode, time::Duration};

use serde_json::json;

use super::{DataDir, Format, Usage, say};
use crate::log::sqlite::check::{Depth, check};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Log {
    /// Read all of it: exit 0 whole, 1 damaged; a coordinator may be running on it
    Check(Check),
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline log check --data-dir ./data")]
pub(super) struct Check {
    #[command(flatten)]
    data: DataDir,
    /// text or json
    #[arg(short, long, default_value = "text")]
    output: Format,
}

impl Log {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Check(check) = self;
        check.run()
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let data = &self.data.data_dir;
        if !data.join("log.sqlite").is_file() {
            return Err(Usage(format!("--data-dir {}: no log there", data.display())).into());
        }
        let mut progress = super::Progress::every(Duration::from_secs(1));
        let found = check(data, Depth::Whole, |done, all| progress.say(|| format!("{done} of {all} records")))?;
        progress.end();
        let is_whole = found.damaged == 0;
        if self.output == Format::Text {
            for finding in &found.findings {
                say(finding)?;
            }
            let word = if is_whole { "whole".to_owned() } else { format!("{} findings", found.damaged) };
            say(&format!(
                "log: {word}; {} records, {} changes, schema {}",
                found.records, found.changes, found.schema
            ))?;
        } else {
            let mut object = json!(found);
            object["whole"] = is_whole.into();
            say(&object.to_string())?;
        }
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
