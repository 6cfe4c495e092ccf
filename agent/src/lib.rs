//! The Faultline agent: probes what it is assigned and streams what it saw to the coordinator.
//!
//! One result's way through the rooms, arrows only to the right:
//! [`probe`] -> outcome -> [`batch`] -> [`spool`] -> uplink. Three go back: assignments, "durable up to N" and
//! "look again now".
//!
//! Around it stands the [`daemon`], which joins, leaves, and says how the agent is.
//!
//! Rules: an agent is a value, not a process: [`run`] uses no global state, so that a lab runs many in one process; local
//! [`policy`] outranks the coordinator; a panic in any task ends the agent, since half an agent looks like an outage.

pub mod batch;
pub mod blackbox;
pub mod config;
pub mod control;
pub mod daemon;
pub mod delivery;
pub mod doctor;
pub mod enroll;
pub mod failpoints;
pub mod machine;
pub mod once;
pub mod policy;
pub mod probe;
mod renewal;
mod run;
mod running;
pub mod schedule;
mod selfcheck;
pub mod spool;
pub mod status;
mod trust;
mod uplink;

use std::future::Future;

use faultline_proto::clock::Clock;

use self::{
    blackbox::{
        ListenerError, Prometheus,
        exporter::Exporter,
        modules::{Modules, Unsupported},
    },
    probe::{ProbeSettings, Prober, RootsError},
    running::{Running, died, finish},
};
pub use self::{
    config::{Config, ConfigError, Setup},
    uplink::IdentityError,
};

/// The agent cannot start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The roots for probed certificates cannot be used.
    #[error("roots: {0}")]
    Roots(#[from] RootsError),
    /// The agent's own certificate, key or the coordinator's roots cannot be used.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// The spool is another process's or a later build's.
    #[error("spool: {0}")]
    Spool(#[from] spool::OpenError),
    /// The port for Prometheus cannot be opened.
    #[error(transparent)]
    Prometheus(#[from] ListenerError),
    /// Its configuration, or what joining wrote, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody could tell it whom to join.
    #[error("{}: {source}: it has not joined, and nobody could tell it to: change [control] socket to a path that can be made", path.display())]
    Control {
        /// The socket.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A part of the agent ended that must not; a panic, where it was one.
    #[error("a task ended: {0}")]
    Task(String),
}

/// Checks what can be checked without a network: the roots and the agent's identity.
pub fn check(config: &Config, clock: Clock) -> Result<(), AgentError> {
    Prober::new(config.probe_settings(clock))?;
    uplink::check(&config.coordinator)?;
    unsupported(config).map(drop)
}

/// What the module file for Prometheus asks for and is not supported.
pub fn unsupported(config: &Config) -> Result<Vec<Unsupported>, AgentError> {
    let Some(file) = config.prometheus.as_ref().and_then(|prometheus| prometheus.modules.as_ref()) else {
        return Ok(Vec::new());
    };
    Ok(Modules::read(file).map_err(ListenerError::from)?.unsupported().cloned().collect())
}

/// Answers Prometheus until `shutdown` completes, without a coordinator and without a schedule: a `blackbox_exporter`.
pub async fn export(
    prometheus: Prometheus,
    settings: ProbeSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let exporter = Exporter::alone(prometheus, settings, config::Starvation::default()).await?;
    tracing::info!(address = exporter.address().map(|address| address.to_string()).unwrap_or_default(), "listening");
    tokio::select! {
        () = shutdown => Ok(()),
        () = exporter.run() => Ok(()),
    }
}

/// Runs an agent until `shutdown` completes; then stops probing, sends what it can and leaves with a goodbye, all within
/// four seconds of real time. Ends earlier only with an error.
pub async fn run(config: Config, clock: Clock, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let mut agent = Running::start(config, clock).await?;
    tokio::select! {
        () = shutdown => agent.leave().await,
        ended = agent.ended() => Err(ended),
    }
}
