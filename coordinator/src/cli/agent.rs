//! `faultline agent`: issue and list agents.

mod list;

use std::{path::PathBuf, process::ExitCode};

use faultline_proto::clock::Clock;

use super::{DataDir, Usage, say};
use crate::{
    pki::{self, Authority},
    registry::{Place, Registry, bundle},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Agent {
    /// Write an agent's certificate and configuration
    Issue(Box<Issue>),
    /// List agents: session, group, place, network, when last heard of, and what troubles them
    List(list::List),
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
