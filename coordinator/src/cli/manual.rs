//! `faultline man`: the manual pages of all commands, one file each, for packages.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// Folder that is there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self, command: clap::Command) -> anyhow::Result<ExitCode> {
        clap_mangen::generate_to(command, &self.folder)
            .with_context(|| format!("cannot write to {}", self.folder.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
