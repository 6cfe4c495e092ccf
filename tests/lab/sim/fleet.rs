//! Who looks at what, and when: ids, schedules, clocks, latencies, ways to deliver.
//!
//! Rules: every agent looks at every target once in [`INTERVAL`], at a phase of its own that stays, since synchronous agents
//! would see nothing between two looks; an agent delivers what it has in batches, a few a second.

use faultline_attribution::{AgentId, Layer, ProbeKind, TargetId, Way};

use super::{
    draw::{Draw, For, key, micros},
    noise,
    profile::Profile,
};
use crate::world::{Agent, Probe, Target, World};

/// Time between two looks of one agent at one target. Source: the default of catalogs.
pub(super) const INTERVAL: usize = 30;

/// One agent, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Looker {
    pub(super) id: AgentId,
    /// Error of its clock, microseconds.
    pub(super) skew: i64,
    /// Whether the agent knows that its clock is wrong.
    pub(super) is_clock_suspect: bool,
    /// How far its day is ahead of UTC, in hours.
    pub(super) hours: f64,
    /// Time between two batches, and where in it they go off, microseconds.
    cadence: i64,
    flush: i64,
    /// From the agent to the coordinator, microseconds.
    uplink: i64,
}

impl Looker {
    fn new(agent: &Agent, profile: &Profile, seed: u64) -> Self {
        let mut draw = Draw::of(seed, For::Agent, u64::from(agent.number), 0);
        let is_clock_suspect = draw.happens(profile.suspect_clocks);
        let skew = draw.between((-profile.skew, profile.skew));
        let half_minute = if draw.happens(0.5) { SUSPECT_SKEW } else { -SUSPECT_SKEW };
        let cadence = micros(draw.between(CADENCE));
        Self {
            id: agent.id.as_str().into(),
            skew: micros(if is_clock_suspect { half_minute + skew } else { skew }),
            is_clock_suspect,
            hours: HOURS[place(&agent.geography)],
            cadence,
            flush: micros(draw.unit()) % cadence,
            uplink: micros(draw.between((0.01, 0.15))),
        }
    }

    /// When the coordinator has a result that the agent had at `known`.
    pub(super) fn delivery(&self, known: i64) -> i64 {
        let since_last = (known - self.flush).rem_euclid(self.cadence);
        known - since_last + self.cadence + self.uplink
    }
}

/// Time between two batches. Source: chosen around the agent's own half second.
const CADENCE: (f64, f64) = (0.2, 1.0);

/// By how much a suspect clock is wrong, seconds.
const SUSPECT_SKEW: f64 = 30.0;

/// One target, ready to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) id: TargetId,
    pub(super) kind: ProbeKind,
    /// Layers that a run walks, in order.
    pub(super) layers: Vec<Layer>,
    pub(super) way: Way,
    /// Whether a CDN is in front.
    pub(super) has_cdn: bool,
}

impl Looked {
    fn new(world: &World, target: &Target) -> Self {
        let kind = kind(target);
        let is_named = !target.names.is_empty();
        let walks = |layer: &Layer| match layer {
            Layer::Dns => is_named || kind == ProbeKind::Dns,
            Layer::Connect => kind != ProbeKind::Dns,
            Layer::Tls => matches!(kind, ProbeKind::Tls | ProbeKind::Https | ProbeKind::Http3),
            Layer::Http => matches!(kind, ProbeKind::Https | ProbeKind::Http3),
        };
        let server =
            target.dns_operator().and_then(|id| world.operator(id)).and_then(|operator| operator.servers.first());
        let way = match (is_direct(target), server) {
            (true, Some(server)) => Way::Authority(server.clone()),
            _ => Way::System,
        };
        Self {
            id: target.id.as_str().into(),
            kind,
            layers: Layer::ALL.iter().copied().filter(walks).collect(),
            way,
            has_cdn: target.cdn.is_some(),
        }
    }
}

/// How the core calls the probe.
pub(super) fn kind(target: &Target) -> ProbeKind {
    match &target.probe {
        Probe::Dns { .. } => ProbeKind::Dns,
        Probe::Tcp => ProbeKind::Tcp,
        Probe::Tls => ProbeKind::Tls,
        Probe::Https => ProbeKind::Https,
        Probe::Http3 => ProbeKind::Http3,
    }
}

/// Whether the operator's own server is asked.
pub(super) fn is_direct(target: &Target) -> bool {
    matches!(target.probe, Probe::Dns { is_direct: true, .. })
}

/// What is particular to one agent looking at one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Chance that a run fails without a cause.
    pub(super) rate: f64,
    /// Round trip between both, seconds.
    pub(super) trip: f64,
    /// Whether the agent is refused as a robot.
    pub(super) is_refused: bool,
}

/// One look of the schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Microseconds after its second.
    pub(super) after: i64,
    pub(super) agent: usize,
    pub(super) target: usize,
}

/// Everything that does not change.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    pub(super) agents: Vec<Looker>,
    pub(super) targets: Vec<Looked>,
    pairs: Vec<Pair>,
    /// By second of the interval.
    pub(super) schedule: Vec<Vec<Slot>>,
}

impl Fleet {
    pub(super) fn new(world: &World, profile: &Profile, seed: u64) -> Self {
        let pair = |agent: &Agent, target: &Target| {
            let mut draw = Draw::of(seed, For::Pair, u64::from(agent.number), u64::from(target.number) << 1);
            Pair {
                rate: draw.scale(profile.base),
                trip: trip(agent, target) * (TRIP_SPREAD * draw.bell()).exp(),
                is_refused: noise::is_refused(profile, seed, agent, target),
            }
        };
        let (agents, targets) = (&world.agents, &world.targets);
        Self {
            agents: agents.iter().map(|agent| Looker::new(agent, profile, seed)).collect(),
            targets: targets.iter().map(|target| Looked::new(world, target)).collect(),
            pairs: agents.iter().flat_map(|agent| targets.iter().map(move |target| pair(agent, target))).collect(),
            schedule: schedule(agents.len(), targets.len(), seed),
        }
    }

    pub(super) fn pair(&self, agent: usize, target: usize) -> &Pair {
        &self.pairs[agent * self.targets.len() + target]
    }
}

/// Each target is looked at by the agents in an order of its own, evenly over the interval.
fn schedule(agents: usize, targets: usize, seed: u64) -> Vec<Vec<Slot>> {
    let mut seconds = vec![Vec::new(); INTERVAL];
    for target in 0..targets {
        let mut order: Vec<usize> = (0..agents).collect();
        order.sort_by_key(|agent| key(seed, For::Phase, *agent as u64, target as u64));
        let mut draw = Draw::of(seed, For::Phase, u64::MAX, target as u64);
        let turn = draw.unit();
        for (rank, agent) in order.into_iter().enumerate() {
            let rank = f64::from(u32::try_from(rank).unwrap_or(u32::MAX));
            let of = f64::from(u32::try_from(agents).unwrap_or(u32::MAX));
            let share = ((rank + draw.unit()) / of + turn).fract();
            let phase = micros(share * f64::from(u32::try_from(INTERVAL).unwrap_or(u32::MAX)));
            let second = usize::try_from(phase / 1_000_000).unwrap_or_default().min(INTERVAL - 1);
            seconds[second].push(Slot { after: phase % 1_000_000, agent, target });
        }
    }
    for slots in &mut seconds {
        slots.sort_by_key(|slot| (slot.after, slot.agent, slot.target));
    }
    seconds
}

/// Spread of round trips around their base, in the logarithm.
const TRIP_SPREAD: f64 = 0.35;

/// Round trip in seconds before the pair's own spread.
fn trip(agent: &Agent, target: &Target) -> f64 {
    let trip = match &target.geography {
        // A CDN answers from near the agent, and so does what says no place: such addresses are anycast.
        Some(there) if target.cdn.is_none() => TRIPS_MS[place(&agent.geography)][place(there)],
        _ => NEAR_MS,
    };
    trip / 1000.0
}

const NEAR_MS: f64 = 14.0;

/// Round trips between geographies in the order of [`place`], milliseconds. Source: chosen by the order of magnitude of
/// what clouds publish between their regions.
const TRIPS_MS: [[f64; 7]; 7] = [
    [35.0, 130.0, 95.0, 220.0, 190.0, 165.0, 180.0],
    [130.0, 25.0, 200.0, 330.0, 290.0, 290.0, 300.0],
    [95.0, 200.0, 22.0, 160.0, 100.0, 220.0, 270.0],
    [220.0, 330.0, 160.0, 40.0, 200.0, 280.0, 330.0],
    [190.0, 290.0, 100.0, 200.0, 35.0, 130.0, 220.0],
    [165.0, 290.0, 220.0, 280.0, 130.0, 45.0, 120.0],
    [180.0, 300.0, 270.0, 330.0, 220.0, 120.0, 20.0],
];

/// How far the day of a geography is ahead of UTC.
const HOURS: [f64; 7] = [-6.0, -3.0, 1.0, 2.0, 3.0, 8.0, 10.0];

fn place(geography: &str) -> usize {
    ["na", "sa", "eu", "af", "me", "as", "oc"].iter().position(|word| *word == geography).unwrap_or_default()
}
