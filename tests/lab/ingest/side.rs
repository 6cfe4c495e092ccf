//! Everybody side by side: at each size of the fleet, in several runs, each side takes its turn with the machine to itself.
//!
//! Rules: who begins changes from run to run; a turn begins with an empty store; what a side does before it is loaded, and
//! in the first seconds of it, is not measured; the coordinator's turn is measured from the moment at which a subscriber sees
//! one evaluated tick to the moment at which he sees another, over the results that became durable before the one and not
//! before the other.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{bail, ensure};
use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use serde::Serialize;
use tokio::time::{self, Instant};

use super::{
    Load,
    append::{self, Counted},
    coordinator::{self, Coordinator},
    fleet::{Ask, Opening},
    victoria::{Lines, Stored, Victoria},
};
use crate::{
    load::{part::Part, usage},
    score::stats::{self, real},
};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The coordinator.
    pub program: PathBuf,
    /// `VictoriaMetrics`, if there is one.
    pub victoria: Option<PathBuf>,
    /// Sizes of the fleet.
    pub agents: Vec<usize>,
    /// What each agent sends.
    pub load: Load,
    /// How often.
    pub runs: usize,
    /// How long each side is measured in a run.
    pub lasts: Duration,
    /// The coordinator alone.
    pub alone: bool,
}

/// A turn of any side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    /// Results a second.
    pub rate: f64,
    /// Microseconds of CPU a result of who takes them in.
    pub cpu_us: f64,
    /// The same of who sends them.
    pub sender_us: f64,
    /// Most memory that was resident, MiB.
    pub peak_mib: f64,
}

/// What only the coordinator has.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Session {
    /// From the first connection to the last acknowledged facts, seconds.
    pub opened_s: f64,
    /// Memory with all sessions open and nothing sent, MiB.
    pub idle_mib: f64,
    /// How far the fold was behind: median and worst, seconds.
    pub behind_s: [f64; 2],
}

/// Everybody's turns at one size, a value for each run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Agents.
    pub agents: usize,
    /// The coordinator.
    pub coordinator: Vec<Turn>,
    /// What only it has.
    pub sessions: Vec<Session>,
    /// A bare append.
    pub append: Vec<Turn>,
    /// `VictoriaMetrics`, whole results and their outcomes alone.
    pub victoria: [Vec<Turn>; 2],
}

/// The coordinator's transactions hold so many batches at most, and as many as there are agents.
const GROUP: usize = 512;

/// For so long a side is loaded before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Longer than any tick or handshake: who has not got further by then hangs.
const HANGS: Duration = Duration::from_mins(2);

/// How often the feed is asked how far the fold is.
const POLL: Duration = Duration::from_millis(50);

/// Measures; `step` is called before each turn.
pub async fn measure(setup: &Setup, folder: &Path, mut step: impl FnMut(String)) -> anyhow::Result<Vec<Row>> {
    let data = folder.join("data");
    coordinator::init(&data, setup.load.targets)?;
    let mut fleet = Part::start(&["fleet"], Stdio::inherit())?;
    let mut bare = Part::start(&["append"], Stdio::inherit())?;
    let mut rows = Vec::new();
    for agents in &setup.agents {
        step(format!("{agents} agents, identities"));
        let mut issued = 0;
        while issued < *agents {
            issued = fleet.ask(&Ask::Issue(data.clone(), *agents)).await?;
        }
        let mut row = Row { agents: *agents, ..Row::default() };
        for run in 0..setup.runs {
            for turn in 0..SIDES {
                let side = (turn + run) % SIDES;
                if side > 0 && setup.alone {
                    continue;
                }
                match (side, &setup.victoria) {
                    (0, _) => {
                        step(format!("{agents} agents, coordinator"));
                        let (turn, session) = serve(setup, *agents, &data, &mut fleet).await?;
                        row.coordinator.push(turn);
                        row.sessions.push(session);
                    }
                    (1, _) => {
                        step(format!("{agents} agents, bare append"));
                        row.append.push(write(setup, *agents, folder, &mut bare).await?);
                    }
                    (side, Some(program)) => {
                        step(format!("{agents} agents, VictoriaMetrics"));
                        let stored = [Stored::Whole, Stored::Outcome][side - 2];
                        row.victoria[side - 2].push(post(setup, *agents, program, folder, stored).await?);
                    }
                    (_, None) => {}
                }
            }
        }
        rows.push(row);
    }
    fleet.end().await?;
    bare.end().await?;
    Ok(rows)
}

const SIDES: usize = 4;

/// How many steps [`measure`] takes at most.
pub fn steps(setup: &Setup) -> usize {
    setup.agents.len() * (1 + setup.runs * SIDES)
}

/// What processes have used at an instant.
struct Spent {
    at: Instant,
    taker: Duration,
    sender: Duration,
}

impl Spent {
    fn now(taker: u32, sender: u32) -> anyhow::Result<Self> {
        Ok(Self { at: Instant::now(), taker: usage::cpu(taker)?, sender: usage::cpu(sender)? })
    }

    fn turn(&self, later: &Self, results: u64, took: Duration, taker: u32) -> anyhow::Result<Turn> {
        ensure!(results > 0, "not one result");
        let results = real(usize::try_from(results)?);
        let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / results;
        Ok(Turn {
            rate: results / took.as_secs_f64(),
            cpu_us: us(later.taker.saturating_sub(self.taker)),
            sender_us: us(later.sender.saturating_sub(self.sender)),
            peak_mib: mib(usage::memory(taker)?.peak),
        })
    }
}

fn mib(kib: u64) -> f64 {
    real(usize::try_from(kib).unwrap_or_default()) / 1024.0
}

async fn serve(setup: &Setup, agents: usize, data: &Path, fleet: &mut Part) -> anyhow::Result<(Turn, Session)> {
    let mut coordinator = Coordinator::start(&setup.program, data).await?;
    let began = Instant::now();
    let opening = Opening { coordinator: coordinator.agents, agents, load: setup.load };
    let () = fleet.ask(&Ask::Open(opening)).await?;
    let (mut open, mut opened_at) = (0, began);
    while open < agents {
        ensure!(opened_at.elapsed() < HANGS, "only {open} of {agents} sessions open");
        time::sleep(POLL).await;
        let now_open = fleet.ask(&Ask::OpenSessions).await?;
        if now_open > open {
            (open, opened_at) = (now_open, Instant::now());
        }
    }
    let opened_s = began.elapsed().as_secs_f64();
    let idle_mib = mib(usage::memory(coordinator.pid)?.rss);
    let () = fleet.ask(&Ask::Send).await?;
    time::sleep(WARM_UP).await;
    let mut behind = Vec::new();
    let first = next_tick(&mut coordinator, &mut Vec::new()).await?;
    let before = Spent::now(coordinator.pid, fleet.pid)?;
    let (last, after) = loop {
        let tick = next_tick(&mut coordinator, &mut behind).await?;
        let now = Spent::now(coordinator.pid, fleet.pid)?;
        if now.at - before.at >= setup.lasts {
            break (tick, now);
        }
    };
    let (by_first, by_last): (u64, u64) =
        (fleet.ask(&Ask::AckedBy(first)).await?, fleet.ask(&Ask::AckedBy(last)).await?);
    let turn = before.turn(&after, by_last - by_first, after.at - before.at, coordinator.pid)?;
    coordinator.end().await?;
    let () = fleet.ask(&Ask::Abandon).await?;
    append::clear(&data.join("log.sqlite"));
    let behind_s = [0.5, 1.0].map(|q| stats::quantile(&behind, q).unwrap_or_default());
    Ok((turn, Session { opened_s, idle_mib, behind_s }))
}

/// Waits for the next evaluated tick; notes at each look how far behind the last one is.
async fn next_tick(coordinator: &mut Coordinator, behind: &mut Vec<f64>) -> anyhow::Result<Timestamp> {
    let (held, began) = (coordinator.evaluated_through().await?, Instant::now());
    while began.elapsed() < HANGS {
        let tick = coordinator.evaluated_through().await?;
        behind.push(Timestamp::from_micros(Clock::system().now_micros()).since(tick).as_secs_f64());
        if tick > held {
            return Ok(tick);
        }
        time::sleep(POLL).await;
    }
    bail!("no tick was evaluated for {HANGS:?}")
}

async fn write(setup: &Setup, agents: usize, folder: &Path, bare: &mut Part) -> anyhow::Result<Turn> {
    let group = agents.min(GROUP);
    let slice = append::Slice { folder: folder.to_owned(), load: setup.load, group, lasts: setup.lasts };
    let before = Spent::now(bare.pid, std::process::id())?;
    let counted: Counted = bare.ask(&slice).await?;
    let after = Spent::now(bare.pid, std::process::id())?;
    before.turn(&after, counted.results, counted.took, bare.pid)
}

async fn post(setup: &Setup, agents: usize, program: &Path, folder: &Path, stored: Stored) -> anyhow::Result<Turn> {
    let victoria = Victoria::start(program, folder).await?;
    let lines = Lines::new(setup.load, stored);
    // All targets of an agent are in so many of its batches.
    let least = setup.load.targets.div_ceil(setup.load.batch) as usize;
    let known = lines.send(&victoria, agents, least, WARM_UP).await?;
    let before = Spent::now(victoria.pid, std::process::id())?;
    let counted = lines.send(&victoria, agents, 0, setup.lasts).await?;
    let after = Spent::now(victoria.pid, std::process::id())?;
    let turn = before.turn(&after, counted.results, counted.took, victoria.pid)?;
    let (taken, sent) = (victoria.taken().await?, lines.samples(known.results + counted.results));
    ensure!(taken == sent, "VictoriaMetrics took {taken} samples of {sent}");
    victoria.end().await?;
    Ok(turn)
}
