//! The fleet: a real coordinator and a real agent for each vantage of the world, as tasks of this process, over real
//! sockets. They see only packets, never the world.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use faultline_agent::{
    Config,
    config::{Spool, Starvation},
    policy::{Policy, Ports},
    probe::{ResolverChoice, Roots, certificates},
};
use faultline_coordinator::{
    access,
    catalog::CatalogSource,
    pki::Authority,
    registry::{Place, Registry, bundle},
    serve::{Coordinator, Options},
};
use faultline_proto::clock::Clock;
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

use crate::{Net, World, world::Agent};

/// A coordinator and its agents.
pub struct Fleet {
    coordinator: Coordinator,
    /// How it was started, on the ports that it got.
    options: Options,
    agents: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    /// Starts the coordinator in the data directory and an agent for each vantage.
    pub async fn start(
        world: &World,
        net: &Net,
        clock: Clock,
        data: &Path,
        feed_listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        let catalog = data.join("catalog.toml");
        std::fs::write(&catalog, net.catalog_toml())?;
        if !data.join("ca").exists() {
            Authority::init(data, "lab.faultline.internal", &[], clock.now_micros())?;
        }
        let authority = Authority::open(data)?;
        let mut options = Options {
            data_dir: data.to_owned(),
            catalogs: vec![CatalogSource::File(catalog)],
            agents_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            feed_listen,
            // Wherever it is asked to listen: there is nothing to protect.
            access: access::Policy { plaintext: true, ..access::Policy::default() },
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            clock,
            with_agent: false,
            publishers: None,
            claims: None,
            webhooks: true,
            retention: faultline_coordinator::retention::Retention::default(),
        };
        let coordinator = Coordinator::start(options.clone()).await?;
        options.agents_listen = coordinator.agents_address;
        options.feed_listen = coordinator.feed_address;
        options.metrics_listen = coordinator.metrics_address;
        net.set_coordinator(coordinator.agents_address);
        let (stop, stopped) = watch::channel(false);
        let mut agents = JoinSet::new();
        for agent in &world.agents {
            let folder = data.join("bundles").join(&agent.id);
            let (place, endpoint) = (place(agent), format!("https://{}", net.agent_uplink(agent)));
            let identity = Registry::of(data).issue(&authority, &agent.id, &place, clock.now_micros())?;
            bundle::write(&folder, &authority, &identity, &endpoint, &place)?;
            let config = config(agent, net, &folder)?;
            let mut stopped = stopped.clone();
            let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
            let span = tracing::info_span!("agent", id = %agent.id);
            let id = agent.id.clone();
            agents
                .spawn(async move { faultline_agent::run(config, clock, shutdown).await.context(id) }.instrument(span));
        }
        Ok(Self { coordinator, options, agents, stop })
    }

    /// Where people and subscribers connect.
    pub fn feed_address(&self) -> SocketAddr {
        self.coordinator.feed_address
    }

    /// Where the coordinator's metrics are read.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.coordinator.metrics_address
    }

    /// Ends when an agent does, which none should.
    pub async fn agent_ended(&mut self) -> anyhow::Error {
        match self.agents.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("an agent ended by itself"),
        }
    }

    /// Stops the coordinator, and starts another on the same data and ports; the agents find it by themselves.
    pub async fn restart_coordinator(self) -> anyhow::Result<Self> {
        let Self { coordinator, options, agents, stop } = self;
        coordinator.stop().await;
        let coordinator = Coordinator::start(options.clone()).await.context("the coordinator does not start again")?;
        Ok(Self { coordinator, options, agents, stop })
    }

    /// Stops the agents, then the coordinator.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.agents.join_next().await.is_some() {}
        self.coordinator.stop().await;
    }
}

/// What the operator of this world knows of the agent's place.
pub(crate) fn place(agent: &Agent) -> Place {
    Place {
        hosted_on: agent.hosted_on.clone(),
        region: agent.region.clone(),
        isp: Some(agent.isp.clone()),
        asn: Some(agent.asn),
        country: Some(agent.country.clone()),
        geography: Some(agent.geography.clone()),
        resolver: agent.resolver.clone(),
        carriers: agent.carriers.clone(),
        group: agent.group.clone(),
    }
}

/// An agent's configuration: as written for it, and what a machine of this world would have.
fn config(agent: &Agent, net: &Net, folder: &Path) -> anyhow::Result<Config> {
    let mut config = Config::read(&folder.join("agent.toml"))?;
    config.probe.source_address = Some(agent.address().into());
    config.probe.resolver = ResolverChoice::Servers(vec![net.resolver(agent)]);
    config.probe.authority_port = net.port();
    // One process holds them all, and the lab watches its lag.
    config.probe.starvation = Starvation::Ignored;
    config.probe.roots = Roots::Only(certificates(net.ca_pem().as_bytes())?);
    // A lab's results are of this run alone, and a hundred agents would share one disk.
    config.spool = Spool::in_memory();
    config.policy = Policy {
        min_interval: Duration::from_secs(10),
        allow_loopback: true,
        ports: Ports::Listed(BTreeSet::from([net.port()])),
        ..Policy::default()
    };
    Ok(config)
}
