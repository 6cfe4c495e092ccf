//! `faultline agent`: issue and list agents, and say how they stand.

mod get;
mod list;
mod stand;

use std::{path::PathBuf, process::ExitCode};

use faultline_proto::clock::Clock;

use super::{DataDir, Usage, say};
use crate::{
    pki::{self, Authority},
    registry::{Place, Registry, bundle, standing::State},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Agent {
    /// Write an agent's certificate and configuration
    Issue(Box<Issue>),
    /// List agents: session, group, place, network, when last heard of, and what troubles them
    List(list::List),
    /// Tell all of one agent
    Get(get::Get),
    /// Let agents count that wait for it, or were quarantined
    Approve(stand::Approve),
    /// Let what agents measure not count; they stay connected, and it is stored
    #[command(
        before_help = "Example:\n  faultline agent quarantine fra-1 --reason \"its provider moves it this week\""
    )]
    Quarantine(stand::PutAside),
    /// Put agents out for ever; their names stay taken
    #[command(
        before_help = "Example:\n  faultline agent revoke fra-2 --reason \"its disk was stolen\" --distrust-since 2026-11-20T00:00:00Z"
    )]
    Revoke(stand::PutAside),
    /// Take agents out of the registry; their machines may join again
    Delete(stand::Delete),
}

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline agent issue fra-1 --coordinator https://probe.example.org:7443 \\\n    --isp hetzner-de --country de --geography eu --asn 24940 --out fra-1/"
)]
pub(super) struct Issue {
    /// Name of the agent
    name: String,
    #[command(flatten)]
    data: DataDir,
    /// Where the agent connects
    #[arg(long, default_value = "https://localhost:7443")]
    coordinator: String,
    /// Folder for agent.toml, ca.pem, agent.pem and agent.key [default: ./NAME]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl Agent {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Issue(issue) => issue.run(),
            Self::List(list) => list.run(),
            Self::Get(get) => get.run(),
            Self::Approve(approve) => approve.run(),
            Self::Quarantine(put_aside) => put_aside.run(State::Quarantined),
            Self::Revoke(put_aside) => put_aside.run(State::Revoked),
            Self::Delete(delete) => delete.run(),
        }
    }
}

impl Issue {
    fn run(self) -> anyhow::Result<ExitCode> {
        pki::check_name(&self.name).map_err(|error| Usage(error.to_string()))?;
        if !self.coordinator.starts_with("https://") {
            return Err(Usage(format!(
                "--coordinator {:?} is no https URL, as in https://probe.example.org:7443",
                self.coordinator
            ))
            .into());
        }
        let data = &self.data.data_dir;
        let authority = Authority::open(data)?;
        let now = Clock::system().now_micros();
        let identity = Registry::of(data).issue(&authority, &self.name, &self.place, now)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from(&self.name));
        bundle::write(&out, &authority, &identity, &self.coordinator, &self.place)?;
        say(&format!("wrote agent.toml, ca.pem, agent.pem and agent.key to {}", out.display()))?;
        say(&format!(
            "next: copy that folder to the VM, then faultline-agent run --config {}/agent.toml",
            out.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
