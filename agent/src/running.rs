//! An agent from its start to its goodbye.
//!
//! Rule: whatever is wrong with identity, roots, spool or ports is known when [`Running::start`] returns, before anybody is told
//! that the agent is ready.

use std::{sync::Arc, time::Duration};

use faultline_proto::clock::Clock;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tracing::Instrument as _;

use crate::{
    AgentError, Config,
    blackbox::exporter::Exporter,
    machine,
    probe::Prober,
    renewal,
    run::{self, Orders, Shared},
    selfcheck::SelfCheck,
    spool, status,
    uplink::{self, Uplink},
};

/// An agent that probes and reports. Dropped, it stops where it is.
pub(crate) struct Running {
    shared: Arc<Shared>,
    /// Probing and the uplink.
    tasks: JoinSet<()>,
    services: JoinSet<()>,
    stop_probing: watch::Sender<bool>,
    leave: watch::Sender<bool>,
}

impl Running {
    /// Starts an agent.
    pub(crate) async fn start(config: Config, clock: Clock) -> Result<Self, AgentError> {
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
            let (shared, coordinator) = (Arc::clone(&shared), config.coordinator.clone());
            let snapshot = move || status::Status::of(&shared, &coordinator, clock);
            services.spawn(status::serve(socket, snapshot).in_current_span());
        }
        let uplink = Uplink::new(config, clock, Arc::clone(&shared), orders_sender, ask, leaving);
        tasks.spawn(probing.run().in_current_span());
        tasks.spawn(uplink.run().in_current_span());
        Ok(Self { shared, tasks, services, stop_probing, leave })
    }

    /// What its parts share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits for a part to end that must not.
    pub(crate) async fn ended(&mut self) -> AgentError {
        tokio::select! {
            ended = self.tasks.join_next() => died(ended),
            ended = self.services.join_next() => died(ended),
        }
    }

    /// Stops probing, sends what it can and leaves with a goodbye, all within four seconds of real time.
    pub(crate) async fn leave(mut self) -> Result<(), AgentError> {
        tracing::info!("leaving");
        self.stop_probing.send_replace(true);
        let goodbye = async {
            // Probing ends first, with everything sealed; only then the uplink may find the spool empty and leave.
            finish(self.tasks.join_next().await)?;
            self.leave.send_replace(true);
            finish(self.tasks.join_next().await)
        };
        let left = tokio::time::timeout(GOODBYE_LIMIT, goodbye).await.unwrap_or_else(|_| {
            tracing::warn!(limit_s = GOODBYE_LIMIT.as_secs(), "left without a goodbye");
            Ok(())
        });
        // What could not be sent waits for the next start.
        self.shared.spool.close().await;
        self.tasks.shutdown().await;
        self.services.shutdown().await;
        left
    }
}

/// How a part ended that may.
pub(crate) fn finish(ended: Option<Result<(), JoinError>>) -> Result<(), AgentError> {
    match ended {
        Some(Err(error)) => Err(AgentError::Task(error.to_string())),
        _ => Ok(()),
    }
}

/// Why a part ended that must not.
pub(crate) fn died(ended: Option<Result<(), JoinError>>) -> AgentError {
    match finish(ended) {
        Err(error) => error,
        Ok(()) => AgentError::Task("it had nothing left to do".to_owned()),
    }
}

/// In real time: service managers do not run at the speed of a lab.
const GOODBYE_LIMIT: Duration = Duration::from_secs(4);
