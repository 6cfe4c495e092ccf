//! The agent's side: its own listener for Prometheus, with a policy that lets loopback be probed.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::OnceLock, time::Duration};

use faultline_agent::{
    blackbox::{
        exposition::Exposition,
        listener::{Listener, Probing},
        metrics::Measured,
        modules::{Module, Modules},
        run::{Runner, runners},
    },
    policy::{Policy, Ports},
    probe::{ProbeSettings, RootsError},
};
use faultline_proto::clock::Clock;
use tokio::{sync::watch, task::JoinSet};

use super::{ParityError, ask};

pub(super) struct Ours {
    address: SocketAddr,
    _stop: watch::Sender<bool>,
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
        let (address, clock) = (([127, 0, 0, 1], 0).into(), Clock::system());
        let listener = Listener::bind(address, Some(file.to_owned()), clock, Probes(OnceLock::new())).await;
        let listener = listener.map_err(|error| ours(&error))?;
        let address = listener.address()?;
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(listener.run(stopped));
        Ok(Self { address, _stop: stop, _task: task })
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

/// Each module, ready to look; they are never read anew.
struct Probes(OnceLock<BTreeMap<String, Runner>>);

impl Probing for Probes {
    fn prepare(&self, modules: &Modules) -> Result<(), RootsError> {
        let policy = Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() };
        let settings = ProbeSettings { policy, ..ProbeSettings::new(Clock::system()) };
        self.0.set(runners(modules, &settings)?).ok();
        Ok(())
    }

    async fn probe(&self, module: &Module, target: &str, hostname: Option<&str>, timeout: Duration) -> Measured {
        let runner = self.0.get().and_then(|runners| runners.get(&module.name));
        runner.expect("prepared, as every module is").probe(target, hostname, timeout).await
    }

    fn own(&self, _: &mut Exposition) {}
}
