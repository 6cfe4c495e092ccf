//! A herd: thousands of agents that lose their coordinator in one moment and come back as real agents do.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use faultline_coordinator::registry::Place;
use faultline_proto::clock::Clock;
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{self, Instant, timeout},
};

use crate::{
    alone::Alone,
    load::usage::Memory,
    scripted::{Credentials, ScriptedAgent, passed},
};

/// Agents behind one address, well below what one address may hold.
const OF_ONE: usize = 50;

/// Sessions being opened at once at the very start, which is no herd.
const CALM: usize = 64;

/// How an agent pauses: its first pause and the longest, and how long a whole opening may take. Source: the agent's uplink.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
const OPENING: Duration = Duration::from_secs(15);

/// A session that lived this long was no failed attempt. Source: the agent's uplink.
const LONG_SESSION: Duration = Duration::from_secs(30);

/// All are back long before, or never.
const HANG: Duration = Duration::from_mins(10);

/// What a herd did to its coordinator.
#[derive(Clone, Debug, Serialize)]
pub struct Herd {
    /// Agents.
    pub agents: usize,
    /// Time until all had their first session and a batch acknowledged, opened some at a time, seconds.
    pub opened_s: f64,
    /// What the coordinator held with all of them at rest.
    pub at_rest: Memory,
    /// From the start of the new coordinator until half, nearly all (99 %) and all were back, a batch acknowledged, seconds.
    pub back_s: [f64; 3],
    /// What the new coordinator held then; the peak is the herd's.
    pub after: Memory,
    /// CPU that it used until then, seconds.
    pub cpu_s: f64,
    /// Openings that failed and were tried again.
    pub failed: usize,
}

/// Where the agents of a herd are.
struct Shared {
    calm: Semaphore,
    up: watch::Sender<usize>,
    failed: AtomicUsize,
    /// Grows when the coordinator is replaced; a session of an older one does not count.
    era: watch::Sender<u64>,
}

/// Runs a herd against the lab's binary at this path.
pub async fn run(program: &Path, data: &Path, agents: usize) -> anyhow::Result<Herd> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let coordinator = Alone::start(program, data).await?;
    let shared = Arc::new(Shared {
        calm: Semaphore::new(CALM),
        up: watch::Sender::new(0),
        failed: AtomicUsize::new(0),
        era: watch::Sender::new(0),
    });
    let mut herd = JoinSet::new();
    let issued = issue(data, agents, coordinator.agents)?;
    let began = Instant::now();
    for credentials in issued {
        herd.spawn(live(credentials, Arc::clone(&shared)));
    }
    let mut up = shared.up.subscribe();
    timeout(HANG, up.wait_for(|up| *up == agents)).await.context("not all came")??;
    let opened_s = began.elapsed().as_secs_f64();
    let at_rest = coordinator.memory()?;

    shared.failed.store(0, Ordering::Relaxed);
    shared.up.send_replace(0);
    shared.era.send_modify(|era| *era += 1);
    let coordinator = coordinator.replace().await?;
    let began = Instant::now();
    let mut back_s = [0.0; 3];
    for (time, share) in back_s.iter_mut().zip([agents / 2, agents * 99 / 100, agents]) {
        timeout(HANG, up.wait_for(|up| *up >= share)).await.context("not all came back")??;
        *time = began.elapsed().as_secs_f64();
    }
    let after = coordinator.memory()?;
    let cpu_s = Duration::from_nanos(coordinator.cpu_ns()?).as_secs_f64();
    let failed = shared.failed.load(Ordering::Relaxed);
    herd.abort_all();
    while herd.join_next().await.is_some() {}
    coordinator.end().await?;
    Ok(Herd { agents, opened_s, at_rest, back_s, after, cpu_s, failed })
}

fn issue(data: &Path, agents: usize, address: SocketAddr) -> anyhow::Result<Vec<Credentials>> {
    let now = Clock::system().now_micros();
    let one = |n: usize| {
        let network = u32::try_from(n / OF_ONE)?;
        let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 1).to_bits() + network);
        let place = Place { group: Some(format!("network-{network}")), ..Place::default() };
        let credentials = Credentials::issue(data, &format!("herd-{n}"), &place, address, now)?;
        Ok(credentials.at(IpAddr::V4(source)))
    };
    (0..agents).map(one).collect()
}

/// One agent: a session, a batch, and again when it ends.
async fn live(credentials: Credentials, shared: Arc<Shared>) {
    let incarnation = rand::random();
    let mut attempt = 0;
    let mut counted = None;
    loop {
        let (era, began) = (*shared.era.borrow(), Instant::now());
        let calm = if era == 0 { shared.calm.acquire().await.ok() } else { None };
        let opened = timeout(OPENING, open(&credentials, incarnation)).await;
        drop(calm);
        if let Ok(Ok(mut agent)) = opened {
            // The era may have ended meanwhile: then this session has, too.
            if *shared.era.borrow() == era && counted.replace(era) != Some(era) {
                shared.up.send_modify(|up| *up += 1);
            }
            while let Ok(Some(_)) = agent.hear().await {}
        } else {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        }
        if began.elapsed() > LONG_SESSION {
            attempt = 0;
        }
        let limit = (PAUSES.0 * 2_u32.saturating_pow(attempt)).min(PAUSES.1);
        attempt = (attempt + 1).min(7);
        time::sleep(limit.mul_f64(rand::random())).await;
    }
}

async fn open(credentials: &Credentials, incarnation: [u8; 16]) -> anyhow::Result<ScriptedAgent> {
    let mut agent = credentials.open(incarnation).await?;
    let slot = agent.slot("control/one");
    agent.report(vec![passed(slot, Clock::system().now_micros())]).await?;
    Ok(agent)
}
