//! One process, through all its lives.
//!
//! Rules: who dies is started again at once; a death that nobody planned is a fault; a failpoint that is not reached within
//! its patience is waited for in a later life, a few times, and is then a fault; a stopped process goes on or dies, never stays.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::ensure;
use tokio::time::{self, Instant};

use super::{
    plan::{Death, Failpoint, Life, Weather},
    process::{Ended, Running, signal},
    stage::{Duty, Stage, Victim, soon},
};
use crate::net::Link;

/// What became of everybody so far.
#[derive(Default)]
pub(super) struct Tally {
    told: Mutex<Told>,
}

#[derive(Clone, Default)]
pub(super) struct Told {
    /// Deaths, by kind: `SIGKILL` or the failpoint.
    pub(super) deaths: BTreeMap<(&'static str, String), usize>,
    /// Failpoints that no life reached.
    pub(super) unreached: Vec<&'static str>,
    /// What processes were expected to say as an ERROR.
    pub(super) announced: Vec<&'static str>,
    /// Deaths that nobody planned.
    pub(super) faults: Vec<String>,
    /// Deaths of each agent.
    pub(super) of_agents: BTreeMap<usize, usize>,
    /// How often processes were stopped, and links broken.
    pub(super) pauses: usize,
    pub(super) links: usize,
    /// From the death of a coordinator to its next one's serving, and from that of an agent (or when it could first reach a
    /// coordinator) to its next probe.
    pub(super) serving: Vec<Duration>,
    pub(super) probing: Vec<Duration>,
}

impl Tally {
    pub(super) fn told(&self) -> Told {
        self.lock().clone()
    }

    pub(super) fn deaths(&self) -> usize {
        self.lock().deaths.values().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Deaths of that agent.
    pub(super) fn deaths_of(&self, agent: usize) -> usize {
        self.of_agents.get(&agent).copied().unwrap_or_default()
    }
}

impl Victim {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Agent(_) => "agent",
        }
    }
}

/// Takes the process through its lives. Returns it alive.
pub(super) async fn torment(
    victim: Victim,
    mut lives: VecDeque<Life>,
    stage: &Stage,
    tally: &Tally,
) -> anyhow::Result<Running> {
    let program = stage.program(victim, Duty::Probing);
    let mut died = None;
    while let Some(life) = lives.pop_front() {
        let at = if let Death::At(failpoint) = life.death { Some(failpoint) } else { None };
        let mut running = program.start(at)?;
        let pid = running.pid();
        let ended = tokio::select! {
            ended = back(victim, &mut running, died, stage, tally) => ended?,
            over = live(victim, pid, &life, stage, tally) => { over?; running.kill().await? }
        };
        if victim == Victim::Coordinator {
            stage.serves(false);
        }
        if let Victim::Agent(agent) = victim
            && at.is_some_and(Failpoint::takes_absence)
        {
            stage.release_link(agent);
        }
        died = Some(Instant::now());
        let mut told = tally.lock();
        if let Victim::Agent(agent) = victim {
            *told.of_agents.entry(agent).or_default() += 1;
        }
        match (ended, at) {
            (Ended::Killed, None) => *told.deaths.entry((victim.kind(), "SIGKILL".into())).or_default() += 1,
            (Ended::Killed, Some(at)) => {
                *told.deaths.entry((victim.kind(), "SIGKILL".into())).or_default() += 1;
                if at.tries < TRIES {
                    let death = Death::At(Failpoint { skipping: 0, tries: at.tries + 1, ..at });
                    lives.push_back(Life { death, pause: None });
                } else {
                    told.unreached.push(at.name);
                }
            }
            (Ended::At(name), Some(at)) if name == at.name => {
                *told.deaths.entry((victim.kind(), name)).or_default() += 1;
            }
            (ended, _) => told.faults.push(format!("{} died: {ended:?}", program.name)),
        }
        ensure!(told.faults.len() < HOPELESS, "too many deaths that nobody planned: {}", told.faults.join("; "));
    }
    let mut running = program.start(None)?;
    if victim == Victim::Coordinator {
        up(&mut running, died, stage, tally).await?;
    }
    Ok(running)
}

/// Deaths that nobody planned, after which there is no use in going on.
const HOPELESS: usize = 5;
/// Lives that wait for a failpoint once more.
const TRIES: u32 = 2;

/// Waits for the process to come back and notes how long that took; then for its end.
async fn back(
    victim: Victim,
    running: &mut Running,
    died: Option<Instant>,
    stage: &Stage,
    tally: &Tally,
) -> anyhow::Result<Ended> {
    match victim {
        Victim::Coordinator => up(running, died, stage, tally).await?,
        Victim::Agent(agent) => {
            let ended = tokio::select! {
                ended = running.ended() => Some(ended),
                () = probes(agent, died, stage, tally) => None,
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }
    running.ended().await
}

/// Hears where the coordinator is, and tells the relays.
async fn up(running: &mut Running, died: Option<Instant>, stage: &Stage, tally: &Tally) -> anyhow::Result<()> {
    let Some(address) = running.hear("agents").await? else { return Ok(()) };
    stage.net.set_coordinator(address.parse()?);
    if running.hear("page").await?.is_some() {
        stage.serves(true);
        tally.lock().serving.extend(died.map(|died| died.elapsed()));
    }
    Ok(())
}

/// Waits until the agent has been at a target.
async fn probes(agent: usize, died: Option<Instant>, stage: &Stage, tally: &Tally) {
    let before = stage.net.visits(&stage.world.agents[agent]);
    while stage.net.visits(&stage.world.agents[agent]) == before {
        soon().await;
    }
    if let (Some(died), Some(reachable)) = (died, stage.reachable_since(agent)) {
        tally.lock().probing.push(died.max(reachable).elapsed());
    }
}

/// Waits until this life is over.
async fn live(victim: Victim, pid: u32, life: &Life, stage: &Stage, tally: &Tally) -> anyhow::Result<()> {
    let span = match life.death {
        Death::Signal(after) => after,
        Death::At(at) if at.takes_absence() => {
            if let Victim::Agent(agent) = victim {
                time::sleep(SESSION).await;
                stage.hold_link(agent, Link::Refused);
                time::sleep(ABSENCE).await;
                stage.release_link(agent);
            }
            RETURN
        }
        Death::At(_) => PATIENCE,
    };
    let over = Instant::now() + span;
    if let Some((at, long)) = life.pause {
        time::sleep_until(over.min(Instant::now() + at)).await;
        signal(pid, "STOP").await?;
        tally.lock().pauses += 1;
        time::sleep_until(over.min(Instant::now() + long)).await;
        signal(pid, "CONT").await?;
    }
    time::sleep_until(over).await;
    Ok(())
}

/// A process that has not come to its failpoint by then is killed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Enough for a session, and for results that wait when it ends.
const SESSION: Duration = Duration::from_secs(4);
/// Longer than a batch stays in the live lane.
const ABSENCE: Duration = Duration::from_secs(12);
/// The longest pause before a new session, and some.
const RETURN: Duration = Duration::from_secs(40);

/// Has an agent's link fail and heal, without end.
pub(super) async fn weather(agent: usize, seed: u64, stage: &Stage, tally: &Tally) {
    let mut weather = Weather::new(seed, agent);
    loop {
        let (whole, link, long) = weather.next();
        time::sleep(whole).await;
        stage.set_link(agent, link);
        tally.lock().links += 1;
        time::sleep(long).await;
        stage.set_link(agent, Link::Whole);
    }
}
