//! The stream of what arrives at a coordinator, in order of arrival, made second by second.
//!
//! Rules: a result is made when its run begins and waits in the bucket of the second in which it arrives; a bucket is
//! final when all runs that began in its second are made. So memory is what is on its way, however long the stream.

use std::{collections::VecDeque, time::Duration};

use faultline_attribution::{
    Cause, Input, Learned, Observation, Outcome, SessionChange, SessionState, Timestamp, World as ToldWorld,
    WorldChange,
};

use super::{
    absence::{Absences, BACKLOG, SILENT_AFTER, span},
    broken::{Broken, Run},
    draw::{Draw, For, micros},
    fleet::{Fleet, INTERVAL, Slot},
    lies::{DELAY, Lie, Lies},
    look::{Seen, Sky},
    noise::Noise,
    profile::{LATENESS, Profile},
    told,
};
use crate::{
    scenario::{self, Scenario, WARM_UP, Way},
    world::World,
};

/// What arrives, with the instant of its arrival, in that order.
#[derive(Clone, Debug)]
pub struct Stream {
    told: ToldWorld,
    to_learn: Vec<Option<Learned>>,
    sky: Sky,
    profile: Profile,
    absences: Absences,
    lies: Lies,
    seed: u64,
    /// First microsecond, and that of the scenario's time zero.
    start: i64,
    zero: i64,
    seconds: usize,
    /// Seconds whose runs are made, and seconds handed out.
    made: usize,
    handed: usize,
    buckets: VecDeque<Vec<(Timestamp, Input)>>,
    ready: std::vec::IntoIter<(Timestamp, Input)>,
}

impl Stream {
    /// What a coordinator gets while that scenario is played in that world.
    pub fn new(world: &World, scenario: &Scenario, seed: u64) -> Self {
        let profile = Profile::of(scenario.noise);
        let start = start_of(seed);
        let (told, to_learn) = told::told(world, scenario);
        let sky = Sky {
            fleet: Fleet::new(world, &profile, seed),
            noise: Noise::new(world, &profile, seed, start),
            broken: Broken::new(world, scenario, seed),
            is_broken: false,
            tail: profile.tail,
            day: Vec::new(),
        };
        let mut stream = Self {
            told,
            to_learn,
            sky,
            profile,
            absences: Absences::new(world, scenario, seed),
            lies: Lies::new(world, scenario, seed),
            seed,
            start,
            zero: start + span(WARM_UP),
            seconds: usize::try_from((WARM_UP + scenario.run).as_secs()).unwrap_or(usize::MAX),
            made: 0,
            handed: 0,
            buckets: VecDeque::new(),
            ready: Vec::new().into_iter(),
        };
        stream.open_sessions();
        stream
    }

    /// A world in which nothing breaks for that long, beside its noise.
    pub fn quiet(world: &World, noise: scenario::Noise, seed: u64, run: Duration) -> Self {
        let quiet = Scenario {
            id: String::new(),
            title: String::new(),
            story: String::new(),
            family: String::new(),
            plays: vec![Way::Observations],
            noise,
            agents: world.agents.len(),
            targets: world.targets.len(),
            run,
            breaks: Vec::new(),
            liars: Vec::new(),
            silences: Vec::new(),
            stale: Vec::new(),
            truth: Vec::new(),
        };
        Self::new(world, &quiet, seed)
    }

    /// Targets and agents as the coordinator is told of them.
    pub fn told(&self) -> &ToldWorld {
        &self.told
    }

    /// First second.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_micros(self.start)
    }

    /// Last second.
    pub fn end(&self) -> Timestamp {
        self.start().after(Duration::from_secs(self.seconds as u64))
    }

    /// Inputs that are on their way.
    pub fn waiting(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum::<usize>() + self.ready.len()
    }

    fn open_sessions(&mut self) {
        for agent in 0..self.sky.fleet.agents.len() {
            let mut draw = Draw::of(self.seed, For::Start, agent as u64, 1);
            let at = self.start + micros(draw.unit());
            self.session(agent, SessionState::Up, at, at);
            for absence in self.absences.of(agent).to_vec() {
                let (from, noticed) = (self.zero + absence.from, self.zero + absence.from + SILENT_AFTER);
                if absence.until.is_none_or(|until| self.zero + until > noticed) {
                    self.session(agent, SessionState::Silent, from, noticed);
                }
                if absence.until.is_some() {
                    let back = self.zero + absence.back;
                    self.session(agent, SessionState::Up, back, back);
                }
            }
        }
    }

    fn session(&mut self, agent: usize, state: SessionState, since: i64, arrives: i64) {
        let agent = self.sky.fleet.agents[agent].id.clone();
        let at = Timestamp::from_micros(since);
        self.arrive(arrives, Input::Session(SessionChange { agent, at, state }));
    }

    /// Puts an input into the bucket of its arrival; what arrives after the end is nobody's.
    fn arrive(&mut self, at: i64, input: Input) {
        let Ok(second) = usize::try_from((at - self.start) / 1_000_000) else { return };
        if second >= self.seconds {
            return;
        }
        let place = second.saturating_sub(self.handed);
        if place >= self.buckets.len() {
            self.buckets.resize_with(place + 1, Vec::new);
        }
        self.buckets[place].push((Timestamp::from_micros(at), input));
    }

    /// Makes all runs that begin in the next second.
    fn make(&mut self) {
        let second = self.made;
        self.made += 1;
        let now = self.start + 1_000_000 * i64::try_from(second).unwrap_or(i64::MAX);
        self.sky.go_to(now, self.profile.swing);
        // Runs that begin in this second may end in the next ones.
        let on =
            |at: i64| u64::try_from(at - self.zero).is_ok_and(|at| self.sky.broken.is_on(Duration::from_micros(at)));
        self.sky.is_broken = on(now) || on(now + 1_000_000);
        self.restarts(now);
        let slots = std::mem::take(&mut self.sky.fleet.schedule[second % INTERVAL]);
        let round = (second / INTERVAL) as u64;
        for slot in &slots {
            self.run(*slot, now, round);
        }
        self.sky.fleet.schedule[second % INTERVAL] = slots;
    }

    /// Sessions that end and begin with a restart in this second.
    fn restarts(&mut self, now: i64) {
        for agent in 0..self.sky.fleet.agents.len() {
            let spell = self.sky.noise.restart(agent, now);
            if !(now..now + 1_000_000).contains(&spell.from) {
                continue;
            }
            // Half of them are killed and say nothing; the gap is too short to be missed.
            if spell.severity < 0.5 {
                self.session(agent, SessionState::Goodbye, spell.from, spell.from);
            }
            self.session(agent, SessionState::Up, spell.until, spell.until);
        }
    }

    fn run(&mut self, slot: Slot, now: i64, number: u64) {
        let Slot { after, agent, target } = slot;
        let pair = (agent * self.sky.fleet.targets.len() + target) as u64;
        let mut draw = Draw::of(self.seed, For::Run, pair, number);
        let begins = now + after + micros(START_JITTER * draw.unit());
        let since_zero = begins - self.zero;
        let absence = self.absences.at(agent, since_zero);
        let restart = self.sky.noise.restart(agent, now);
        if absence.is_some_and(|absence| !absence.looks) || restart.from <= begins && begins < restart.until {
            return;
        }
        let is_cut = absence.is_some_and(|absence| absence.is_path);
        let lie = self.lies.of(agent, since_zero);
        let eyes = if let Some(Lie::Mirror(other)) = lie { *other } else { agent };
        let at = u64::try_from(since_zero).ok().map(Duration::from_micros);
        let run = Run { agent: eyes, target, number, at };
        let seen = self.sky.look(run, is_cut, &mut draw);
        let seen = lie.map_or(seen, |lie| self.tell(lie, target, seen));
        let extra = if lie == Some(&Lie::Delay) { micros(draw.between(DELAY)) } else { 0 };
        self.deliver(slot, begins, extra, seen, &mut draw);
    }

    /// What a liar says of what it saw.
    fn tell(&self, lie: &Lie, target: usize, seen: Seen) -> Seen {
        match lie {
            Lie::Fabricate(targets, layer, cause) if targets[target] => {
                let is_possible = self.sky.fleet.targets[target].layers.contains(layer);
                let status = (*cause == Cause::HttpStatus).then_some(503);
                let outcome = Outcome::Failed { layer: *layer, cause: *cause };
                if is_possible { Seen { outcome, status, took: CLAIMED, maker: None, slowest: None } } else { seen }
            }
            Lie::Mask if matches!(seen.outcome, Outcome::Failed { .. }) => Seen {
                outcome: Outcome::Passed,
                status: None,
                maker: None,
                took: seen.took.min(CLAIMED),
                slowest: None,
            },
            _ => seen,
        }
    }

    /// Sends a result on its way, with all that may happen to it there.
    fn deliver(&mut self, slot: Slot, begins: i64, extra: i64, seen: Seen, draw: &mut Draw) {
        let fate = draw.unit();
        let Profile { lost, late, doubled, .. } = self.profile;
        if fate < lost {
            return;
        }
        let sender = &self.sky.fleet.agents[slot.agent];
        let known = begins + span(seen.took);
        let mut arrives = sender.delivery(known) + extra;
        if fate < lost + late {
            arrives += micros(draw.between(LATENESS));
        }
        let mut is_backlog = false;
        if let Some(absence) = self.absences.holding(slot.agent, arrives - self.zero) {
            if absence.until.is_none() {
                return;
            }
            is_backlog = true;
            arrives = self.zero + absence.back + micros(draw.between(BACKLOG));
        }
        let is_double = fate >= lost + late && fate < lost + late + doubled;
        let (skew, is_clock_suspect) = (sender.skew, sender.is_clock_suspect);
        let looked = &self.sky.fleet.targets[slot.target];
        let observation = |arrives: i64| Observation {
            // Nothing starts after it has arrived: the coordinator cuts back a clock that runs ahead.
            at: Timestamp::from_micros((begins + skew).min(arrives)),
            received_at: Timestamp::from_micros(arrives),
            status: seen.status,
            way: looked.way.clone(),
            maker: seen.maker,
            took: Some(seen.took),
            slowest: seen.slowest,
            is_late: is_backlog || arrives - known > LATE,
            is_clock_suspect,
            ..Observation::new(sender.id.clone(), looked.id.clone(), Timestamp::default(), seen.outcome)
        };
        let (first, second) = (observation(arrives), is_double.then(|| arrives + micros(draw.between(AGAIN))));
        let second = second.map(|again| (again, observation(again)));
        if seen.outcome == Outcome::Passed
            && let Some(learned) = self.to_learn[slot.target].take()
        {
            let change = WorldChange::Learned(self.sky.fleet.targets[slot.target].id.clone(), learned);
            self.arrive(arrives, Input::World(change));
        }
        self.arrive(arrives, Input::Observation(first));
        if let Some((again, observation)) = second {
            self.arrive(again, Input::Observation(observation));
        }
    }
}

impl Iterator for Stream {
    type Item = (Timestamp, Input);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.ready.next() {
                return Some(next);
            }
            if self.handed >= self.seconds {
                return None;
            }
            self.make();
            let mut bucket = self.buckets.pop_front().unwrap_or_default();
            self.handed += 1;
            bucket.sort_by_key(|(at, _)| *at);
            self.ready = bucket.into_iter();
        }
    }
}

/// By how much a run begins after its phase, at most, seconds. Source: an agent's timers.
const START_JITTER: f64 = 0.3;

/// A result that arrives this long after its end is late. Source: DESIGN, section 4.
const LATE: i64 = 120_000_000;

/// When a doubled report comes again, seconds. Source: chosen: a session that broke before its ack.
const AGAIN: (f64, f64) = (0.5, 20.0);

/// What a fabricated run is said to have taken: a connect's limit.
const CLAIMED: Duration = Duration::from_secs(3);

/// When the record begins: a whole second between 2023 and mid-2026.
fn start_of(seed: u64) -> i64 {
    let mut draw = Draw::of(seed, For::Start, 0, 0);
    let second = draw.between((1_672_531_200.0, 1_782_864_000.0)).floor();
    micros(second)
}
