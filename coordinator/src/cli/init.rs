//! `faultline init`: a data directory with a certificate authority.

use std::process::ExitCode;

use faultline_proto::clock::Clock;

use super::{DataDir, say};
use crate::pki::Authority;

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline init --data-dir /var/lib/faultline --dns probe.example.org")]
pub(super) struct Init {
    #[command(flatten)]
    data: DataDir,
    /// Name or address that agents dial; repeats
    #[arg(long = "dns", default_value = "localhost")]
    names: Vec<String>,
    /// Trust domain, the first part of agents' names [default: a random one]
    #[arg(long)]
    domain: Option<String>,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let domain = self.domain.unwrap_or_else(|| format!("faultline-{:08x}.internal", rand::random::<u32>()));
        let data = &self.data.data_dir;
        std::fs::create_dir_all(data)?;
        Authority::init(data, &domain, &self.names, Clock::system().now_micros())?;
        say(&format!("made a certificate authority for {domain} in {}", data.display()))?;
        say(&format!(
            "next: faultline serve --data-dir {0} --agents-listen 0.0.0.0:7443\n      \
             faultline token create --data-dir {0} | ssh VM faultline-agent join {1}:7443",
            data.display(),
            self.names[0]
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
