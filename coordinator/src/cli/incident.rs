//! `faultline incident`: what was published of incidents, past and present, from the coordinator's feed, and what a person
//! says of them, over its admin socket.

mod get;
mod list;
mod say;

use std::process::ExitCode;

pub(super) use get::detail;

/// What is asked of incidents.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Incident {
    /// List incidents, newest first
    List(list::List),
    /// Show one incident: facts, evidence, who is cleared, earlier revisions
    Get(get::Get),
    /// Publish a note beside an incident
    Annotate(say::Annotate),
    /// Take an incident back in public
    Retract(say::Retract),
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
            Self::Annotate(annotate) => annotate.run(),
            Self::Retract(retract) => retract.run(),
        }
    }
}
