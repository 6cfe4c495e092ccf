//! `faultline incident`: what was published of incidents, past and present, from the coordinator's feed.

mod get;
mod list;

use std::process::ExitCode;

pub(super) use get::detail;

/// What is asked of incidents.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Incident {
    /// List incidents, newest first
    List(list::List),
    /// Show one incident: facts, evidence, who is cleared, earlier revisions
    Get(get::Get),
}

/// How incidents are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
}

impl Incident {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Get(get) => get.run(),
        }
    }
}
