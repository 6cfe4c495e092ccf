//! The agent's side: the port for Prometheus that it ships, with a policy that lets loopback be probed.

use std::{net::SocketAddr, path::Path};

use faultline_agent::{
    blackbox::{Exporter, Prometheus, modules::Modules},
    config::Starvation,
    policy::{Policy, Ports},
    probe::ProbeSettings,
};
use faultline_proto::clock::Clock;
use tokio::task::JoinSet;

use super::{ParityError, ask};

pub(super) struct Ours {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Ours {
    /// With the modules of this file, all of which it must know.
    pub(super) async fn start(file: &Path) -> Result<Self, ParityError> {
        let ours = |error: &dyn std::fmt::Display| ParityError::Ours(error.to_string());
        let modules = Modules::read(file).map_err(|error| ours(&error))?;
        if let Some(unsupported) = modules.unsupported().next() {
            return Err(ours(unsupported));
        }
        let prometheus = Prometheus { listen: ([127, 0, 0, 1], 0).into(), modules: Some(file.to_owned()) };
        let policy = Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() };
        let settings = ProbeSettings { policy, ..ProbeSettings::new(Clock::system()) };
        // The peer does not tell its own silence from the target's.
        let exporter = Exporter::alone(prometheus, settings, Starvation::Ignored).await;
        let exporter = exporter.map_err(|error| ours(&error))?;
        let address = exporter.address()?;
        let mut task = JoinSet::new();
        task.spawn(exporter.run());
        Ok(Self { address, _task: task })
    }

    /// What one look tells.
    pub(super) async fn probe(
        &self,
        module: &str,
        target: &str,
        hostname: Option<&str>,
    ) -> Result<String, ParityError> {
        ask::probe(self.address, module, target, hostname).await.map_err(ParityError::Ours)
    }
}
