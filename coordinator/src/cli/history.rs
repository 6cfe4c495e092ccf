//! `faultline history`: what was published over time, from the log of a data directory.

mod cells;

use std::process::ExitCode;

/// What is asked of the past.
#[derive(Debug, clap::Subcommand)]
pub(super) enum History {
    /// Print the state of the matrix's cells over time, as CSV or JSON
    Cells(cells::Cells),
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Cells(cells) => cells.run(),
        }
    }
}
