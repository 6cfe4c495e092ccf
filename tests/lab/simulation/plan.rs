//! What breaks in a run, and when: a seed decides.

use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// How a process ends against its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It was killed: what it gave to the system is there.
    Killed,
    /// The power went: what was not synced is gone.
    PowerCut,
}

/// Something that breaks, or works again. A number is an agent's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// An agent dies.
    Agent(usize, Death),
    /// An agent dies in the middle of the commit that comes after so many.
    AgentInCommit(usize, u32),
    /// An agent starts.
    AgentStarts(usize),
    /// The coordinator dies.
    Coordinator(Death),
    /// The coordinator dies in the middle of the commit that comes after so many.
    CoordinatorInCommit(u32),
    /// The coordinator is stopped in order.
    CoordinatorStops,
    /// The coordinator starts.
    CoordinatorStarts,
    /// A copy of the log is made.
    Backup,
    /// The coordinator dies, and its log is the copy from then on.
    Restore,
    /// Nothing passes between an agent and the coordinator; what is on its way is lost.
    Cut(usize),
    /// Nothing passes from the agent.
    CutUp(usize),
    /// Nothing passes to the agent.
    CutDown(usize),
    /// It passes again.
    Mend(usize),
    /// What is on its way waits.
    Hold(usize),
    /// It goes on, all at once.
    Release(usize),
    /// So many milliseconds to the coordinator.
    Latency(usize, u64),
    /// A message in so many breaks the link.
    Loss(usize, u32),
    /// An agent's disk is full.
    AgentFull(usize, bool),
    /// An agent's disk fails.
    AgentFails(usize, bool),
    /// An agent's disk refuses a write, that happens or not.
    Deny(usize, bool),
    /// A batch in an agent's spool is damaged.
    Rot(usize),
    /// The coordinator's disk is full.
    CoordinatorFull(bool),
    /// A commit of the coordinator takes up to so many milliseconds.
    SlowCommits(u64),
    /// An agent's clock is set by so many seconds.
    AgentClock(usize, i64),
    /// The coordinator's is.
    CoordinatorClock(i64),
    /// An agent does not read.
    AgentStalls(usize, bool),
    /// The coordinator does not read.
    CoordinatorStalls(bool),
    /// Somebody runs with the identity of the first agent.
    Clone(bool),
}

/// A run's faults in order, and its size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many agents.
    pub agents: usize,
    /// Bytes of each one's spool.
    pub spool_bytes: u64,
    /// Milliseconds between two runs of an agent, about.
    pub pace: u64,
    /// What happens when.
    pub faults: Vec<(Duration, Fault)>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} agents, spools of {} bytes, a run every {} ms", self.agents, self.spool_bytes, self.pace)?;
        self.faults.iter().try_for_each(|(at, fault)| writeln!(f, "{:>8.3} s  {fault:?}", at.as_secs_f64()))
    }
}

/// The plan of a seed.
pub fn of(seed: u64, span: Duration) -> Plan {
    let mut draw = Xoshiro256PlusPlus::seed_from_u64(seed);
    let agents = draw.random_range(3..=5);
    // Every third has a spool that a cut fills.
    let spool_bytes = if draw.random_range(0..3) == 0 { 12 << 10 } else { 1 << 20 };
    let pace = draw.random_range(150..600);
    let mut faults = Vec::new();
    for _ in 0..draw.random_range(4..16) {
        let at = span.mul_f64(draw.random_range(0.02..0.9));
        let long = Duration::from_millis(draw.random_range(50..15_000));
        let short = Duration::from_millis(draw.random_range(1..3_000));
        let agent = draw.random_range(0..agents);
        let death = if draw.random() { Death::Killed } else { Death::PowerCut };
        let pair = |begin, lasts, end| vec![(at, begin), (at + lasts, end)];
        faults.extend(match draw.random_range(0..25) {
            0 | 1 => pair(Fault::Agent(agent, death), short, Fault::AgentStarts(agent)),
            2 | 3 => {
                let commits = draw.random_range(1..6);
                pair(Fault::AgentInCommit(agent, commits), long, Fault::AgentStarts(agent))
            }
            4 | 5 => pair(Fault::Coordinator(death), short, Fault::CoordinatorStarts),
            6 | 7 => pair(Fault::CoordinatorInCommit(draw.random_range(1..12)), long, Fault::CoordinatorStarts),
            8 => pair(Fault::CoordinatorStops, short + Duration::from_secs(5), Fault::CoordinatorStarts),
            9 => {
                let restored = at + long;
                vec![(at, Fault::Backup), (restored, Fault::Restore), (restored + short, Fault::CoordinatorStarts)]
            }
            10 => pair(Fault::Cut(agent), long, Fault::Mend(agent)),
            11 => pair(Fault::CutUp(agent), long, Fault::Mend(agent)),
            12 => pair(Fault::CutDown(agent), long, Fault::Mend(agent)),
            13 | 14 => pair(Fault::Hold(agent), long, Fault::Release(agent)),
            15 => pair(Fault::Latency(agent, draw.random_range(50..2000)), long, Fault::Latency(agent, 5)),
            16 => pair(Fault::Loss(agent, draw.random_range(20..500)), long, Fault::Loss(agent, 0)),
            17 => pair(Fault::AgentFull(agent, true), long, Fault::AgentFull(agent, false)),
            18 => pair(Fault::AgentFails(agent, true), long, Fault::AgentFails(agent, false)),
            19 => vec![(at, Fault::Deny(agent, draw.random())), (at, Fault::Rot(agent))],
            20 => pair(Fault::CoordinatorFull(true), long, Fault::CoordinatorFull(false)),
            21 => pair(Fault::SlowCommits(draw.random_range(100..3000)), long, Fault::SlowCommits(10)),
            22 => {
                let seconds = [-3600, -20, 15, 3600, 86_400 * 365][draw.random_range(0..5)];
                let is_theirs = draw.random_range(0..3) == 0;
                vec![(at, if is_theirs { Fault::CoordinatorClock(seconds) } else { Fault::AgentClock(agent, seconds) })]
            }
            23 if draw.random() => pair(Fault::CoordinatorStalls(true), short, Fault::CoordinatorStalls(false)),
            23 => pair(Fault::AgentStalls(agent, true), long, Fault::AgentStalls(agent, false)),
            _ => pair(Fault::Clone(true), long, Fault::Clone(false)),
        });
    }
    faults.sort_by_key(|(at, _)| *at);
    Plan { agents, spool_bytes, pace, faults }
}
