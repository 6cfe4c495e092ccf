//! The Faultline agent: probes what it is assigned and streams what it saw to the coordinator.
//!
//! One result's way through the rooms, arrows only to the right:
//! [`probe`] -> outcome -> [`batch`] -> [`spool`] -> uplink. Three go back: assignments, "durable up to N" and
//! "look again now".
//!
//! Rules: an agent is a value, not a process: [`run`] uses no global state, so that a lab runs many in one process; local
//! [`policy`] outranks the coordinator; a panic in any task ends the agent, since half an agent looks like an outage.

pub mod batch;
pub mod blackbox;
pub mod config;
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
pub mod schedule;
mod selfcheck;
pub mod spool;
pub mod status;
mod trust;
mod uplink;

use std::{future::Future, sync::Arc, time::Duration};

use faultline_proto::clock::Clock;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::Instrument;

use self::{
    blackbox::{
        ListenerError, Prometheus,
        exporter::Exporter,
        modules::{Modules, Unsupported},
    },
    probe::{ProbeSettings, Prober, RootsError},
    run::{Orders, Shared},
    selfcheck::SelfCheck,
    uplink::Uplink,
};
pub use self::{
    config::{Config, ConfigError},
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
    uplink::check(&config.coordinator)?;
    let prober = Prober::new(config.probe_settings(clock))?;
    let spool = spool::open(&config, clock)?;
    let shared = Arc::new(Shared::new(spool, SelfCheck::new(clock, config.probe.starvation)));
    shared.is_on(machine::recognise(&config.coordinator.certificate, &config.machine, None));
    let (ask, requests) = mpsc::channel(run::REQUESTS);
    let (orders_sender, orders) = watch::channel(Orders::default());
    let (stop_probing, stopped) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let walker = prober.clone();
    let walk_paths = async move { walker.walk_paths().await };
    let probing = run::Probing {
        prober,
        clock,
        max_concurrency: config.probe.max_concurrency,
        shared: Arc::clone(&shared),
        orders,
        requests,
        limits: config.policy.looks,
        pace: config.policy.pace,
        seed: rand::random(),
        stopped,
    };

    let (mut tasks, mut services) = (JoinSet::new(), JoinSet::new());
    services.spawn(shared.check.clone().watch().in_current_span());
    if let Some(prometheus) = config.prometheus.clone() {
        let settings = config.probe_settings(clock);
        let exporter = Exporter::beside(Arc::clone(&shared), prometheus, settings).await?;
        services.spawn(exporter.run().in_current_span());
    }
    services.spawn(walk_paths.in_current_span());
    if renewal::is_possible(&config.coordinator) {
        let (coordinator, source) = (config.coordinator.clone(), config.probe.source_address);
        let renewing = renewal::run(coordinator, source, clock, Arc::clone(&shared));
        services.spawn(renewing.in_current_span());
    }
    if let Some(socket) = config.status_socket.clone() {
        let endpoint = config.coordinator.endpoint.to_string().trim_end_matches('/').to_owned();
        services.spawn(status::serve(socket, Arc::clone(&shared), endpoint, clock).in_current_span());
    }
    let uplink = Uplink::new(config, clock, Arc::clone(&shared), orders_sender, ask, leaving);
    tasks.spawn(probing.run().in_current_span());
    tasks.spawn(uplink.run().in_current_span());
    tokio::select! {
        () = shutdown => {}
        ended = tasks.join_next() => return Err(died(ended)),
        ended = services.join_next() => return Err(died(ended)),
    }
    tracing::info!("leaving");
    stop_probing.send_replace(true);
    let goodbye = async {
        // Probing ends first, with everything sealed; only then the uplink may find the spool empty and leave.
        finish(tasks.join_next().await)?;
        leave.send_replace(true);
        finish(tasks.join_next().await)
    };
    let left = tokio::time::timeout(GOODBYE_LIMIT, goodbye).await.unwrap_or_else(|_| {
        tracing::warn!(limit_s = GOODBYE_LIMIT.as_secs(), "left without a goodbye");
        Ok(())
    });
    // What could not be sent waits for the next start.
    shared.spool.close().await;
    left
}

fn finish(ended: Option<Result<(), tokio::task::JoinError>>) -> Result<(), AgentError> {
    match ended {
        Some(Err(error)) => Err(AgentError::Task(error.to_string())),
        _ => Ok(()),
    }
}

fn died(ended: Option<Result<(), tokio::task::JoinError>>) -> AgentError {
    match finish(ended) {
        Err(error) => error,
        Ok(()) => AgentError::Task("it had nothing left to do".to_owned()),
    }
}

/// In real time: service managers do not run at the speed of a lab.
const GOODBYE_LIMIT: Duration = Duration::from_secs(4);
