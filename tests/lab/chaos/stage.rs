//! Where it happens: an emulated internet in this process, the programs and their folders outside of it.
//!
//! Rules: agents reach the coordinator through their relays alone; one target refuses every connection, so that batches
//! flow all the time (a failure is sealed at once); an agent that is told to be quiet probes nothing and sends what it holds.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use faultline_coordinator::{
    pki::Authority,
    registry::{Registry, bundle},
};
use faultline_proto::clock::Clock;
use tokio::time::Instant;

use super::process::Program;
use crate::{
    Net, World, fleet,
    net::{AgentSelect, ConnectEffect, Effect, Fault, Link, ShareOf, TargetSelect},
    world::{Agent, Probe, Target},
};

/// Everything that outlives a process.
pub(super) struct Stage {
    pub(super) net: Net,
    pub(super) world: World,
    pub(super) folder: PathBuf,
    programs: Option<PathBuf>,
    links: Mutex<Vec<Held>>,
    serving_since: Mutex<Option<Instant>>,
    page: Mutex<String>,
}

/// An agent's link: since when it is whole, and whether somebody needs it as it is.
#[derive(Clone, Copy)]
struct Held {
    whole_since: Option<Instant>,
    is_held: bool,
}

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Coordinator,
    Agent(usize),
}

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Probing,
    Quiet,
}

impl Stage {
    /// Builds it; without programs, agents and coordinator are the caller's tasks.
    pub(super) async fn build(
        folder: &Path,
        programs: Option<&Path>,
        agents: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        for name in programs.map_or(&[][..], |_| &[AGENT, COORDINATOR]) {
            let path = programs.unwrap_or(Path::new("")).join(name);
            ensure!(
                path.is_file(),
                "no {}: cargo build -p faultline-agent -p faultline-coordinator --features failpoints",
                path.display()
            );
        }
        let world = world(agents, seed);
        let clock = Clock::system();
        let net = Net::start(&world, clock, seed)?;
        let targets = TargetSelect { ids: vec![REFUSING.into()], ..TargetSelect::default() };
        let effect = Effect::Connect(ConnectEffect::Refused);
        let agents = AgentSelect::default();
        net.set(Fault { targets, agents, effect, share: 1.0, share_of: ShareOf::Runs, path: false }).await?;
        let data = folder.join(DATA);
        std::fs::create_dir_all(&data)?;
        // As often as targets are probed here, catalogs have it in no file that people write.
        let catalog = net.catalog_toml().replace("interval = \"30s\"", "interval = \"1s\"");
        std::fs::write(data.join("catalog.toml"), catalog.replace("timeout = \"5s\"", "timeout = \"1s\""))?;
        Authority::init(&data, "lab.faultline.internal", &[], clock.now_micros())?;
        let authority = Authority::open(&data)?;
        for agent in &world.agents {
            let bundle_folder = folder.join(&agent.id);
            let (place, endpoint) = (fleet::place(agent), format!("https://{}", net.agent_uplink(agent)));
            let identity = Registry::of(&data).issue(&authority, &agent.id, &place, clock.now_micros())?;
            bundle::write(&bundle_folder, &authority, &identity, &endpoint, &place)?;
            std::fs::write(bundle_folder.join("lab.pem"), net.ca_pem())?;
            let issued = std::fs::read_to_string(bundle_folder.join("agent.toml"))?;
            for duty in [Duty::Probing, Duty::Quiet] {
                let text = format!("{issued}{}", settings(agent, &net, duty));
                std::fs::write(bundle_folder.join(duty.file()), text)?;
            }
        }
        let held = Held { whole_since: Some(Instant::now()), is_held: false };
        let links = Mutex::new(vec![held; world.agents.len()]);
        let (folder, programs) = (folder.to_owned(), programs.map(Path::to_owned));
        Ok(Self { net, world, folder, programs, links, serving_since: Mutex::default(), page: Mutex::default() })
    }

    /// Targets that see a connection of each run that passes.
    pub(super) fn connecting(&self) -> BTreeSet<String> {
        let connecting = self.world.targets.iter().filter(|target| !matches!(target.probe, Probe::Dns { .. }));
        connecting.map(|target| target.id.clone()).collect()
    }

    /// The coordinator's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// Where a running agent tells its status.
    pub(super) fn socket(&self, agent: usize) -> PathBuf {
        self.folder.join(&self.world.agents[agent].id).join("status.sock")
    }

    /// Notes where the coordinator's page is, as `host:port`.
    pub(super) fn set_page(&self, address: &str) {
        address.clone_into(&mut self.page.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Where the coordinator's page is.
    pub(super) fn page(&self) -> String {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How that process is started.
    pub(super) fn program(&self, victim: Victim, duty: Duty) -> Program {
        let data = self.data();
        let name = match victim {
            Victim::Coordinator => COORDINATOR.to_owned(),
            Victim::Agent(n) => self.world.agents[n].id.clone(),
        };
        let (program, arguments) = match victim {
            Victim::Coordinator => {
                let words = "serve --no-ranges-refresh --no-claims --agents-listen 127.0.0.1:0 \
                             --feed-listen 127.0.0.1:0 --metrics-listen none --data-dir";
                let mut arguments: Vec<_> = words.split(' ').map(Into::into).collect();
                arguments.extend([data.clone().into(), "--catalog".into(), data.join("catalog.toml").into()]);
                (COORDINATOR, arguments)
            }
            Victim::Agent(_) => {
                let config = self.folder.join(&name).join(duty.file());
                (AGENT, vec!["run".into(), "--config".into(), config.into()])
            }
        };
        let log = self.log(victim);
        Program { name, path: self.programs.as_deref().unwrap_or(Path::new("")).join(program), arguments, log }
    }

    /// What that process has said in all its lives.
    pub(super) fn log(&self, victim: Victim) -> PathBuf {
        match victim {
            Victim::Coordinator => self.folder.join("coordinator.log"),
            Victim::Agent(n) => self.folder.join(format!("{}.log", self.world.agents[n].id)),
        }
    }

    /// Sets an agent's link, unless somebody holds it.
    pub(super) fn set_link(&self, agent: usize, link: Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !links[agent].is_held {
            self.turn(&mut links[agent], agent, link);
        }
    }

    /// Sets an agent's link and holds it so.
    pub(super) fn hold_link(&self, agent: usize, link: Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links[agent].is_held = true;
        self.turn(&mut links[agent], agent, link);
    }

    /// Makes an agent's link whole, and gives it back to the weather.
    pub(super) fn release_link(&self, agent: usize) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links[agent].is_held = false;
        self.turn(&mut links[agent], agent, Link::Whole);
    }

    fn turn(&self, held: &mut Held, agent: usize, link: Link) {
        held.whole_since = match (link, held.whole_since) {
            (Link::Whole, since) => since.or_else(|| Some(Instant::now())),
            _ => None,
        };
        self.net.set_link(&self.world.agents[agent], link);
    }

    /// Notes whether the coordinator serves.
    pub(super) fn serves(&self, is_serving: bool) {
        let since = is_serving.then(Instant::now);
        *self.serving_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when nothing but itself keeps an agent from its coordinator; `None` while something does.
    pub(super) fn reachable_since(&self, agent: usize) -> Option<Instant> {
        let whole = self.links.lock().unwrap_or_else(PoisonError::into_inner)[agent].whole_since?;
        let serving = (*self.serving_since.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(whole.max(serving))
    }
}

impl Duty {
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Probing => "probing.toml",
            Self::Quiet => "quiet.toml",
        }
    }
}

/// Names of the programs, and of the coordinator's folder.
const AGENT: &str = "faultline-agent";
const COORDINATOR: &str = "faultline";
pub(super) const DATA: &str = "coordinator";
/// Where an agent's spool is, in its folder.
pub(super) const STATE: &str = "state";

/// A TCP service of its own name.
const REFUSING: &str = "app/queue-two";

type IsKind = fn(&Probe) -> bool;

/// So many targets of each kind: most of the runs are cheap, and every kind of result is there.
const KINDS: [(IsKind, usize); 5] = [
    (|probe| matches!(probe, Probe::Tcp), 4),
    (|probe| matches!(probe, Probe::Tls), 2),
    (|probe| matches!(probe, Probe::Https), 8),
    (|probe| matches!(probe, Probe::Http3), 1),
    (|probe| matches!(probe, Probe::Dns { .. }), 4),
];

pub(super) fn world(agents: usize, seed: u64) -> World {
    let mut world = World::sized(agents, 0, seed);
    let all = std::mem::take(&mut world.targets);
    let kept = KINDS.iter().flat_map(|(is_kind, most)| all.iter().filter(|target| is_kind(&target.probe)).take(*most));
    world.targets = (0..).zip(kept.cloned()).map(|(number, target)| Target { number, ..target }).collect();
    world
}

fn settings(agent: &Agent, net: &Net, duty: Duty) -> String {
    let (address, resolver, port) = (agent.address(), net.resolver(agent), net.port());
    let most = if duty == Duty::Quiet { "max_assignments = 0\n" } else { "" };
    format!(
        "\n[probe]\nsource_address = \"{address}\"\nresolvers = [\"{resolver}\"]\nauthority_port = {port}\nroots = \"lab.pem\"\n\
         only_roots = true\n\n[policy]\n{most}min_interval = \"1s\"\nallow_loopback = true\nports = \"any\"\npath_hint = false\n"
    )
}

/// Waits until that many moments have passed without anything else to wait for.
pub(super) async fn soon() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

/// A folder for everything, kept or not.
pub(super) fn folder(keep: Option<&Path>) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = keep {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let is_empty = std::fs::read_dir(folder)?.next().is_none();
        ensure!(is_empty, "{} is not empty", folder.display());
        Ok((folder.canonicalize()?, None))
    } else {
        let folder = tempfile::tempdir().context("no temporary directory")?;
        Ok((folder.path().to_owned(), Some(folder)))
    }
}
