//! Noise that has a memory: bursts, restarts, overload, endpoints that answer errors for hours.
//!
//! Rules: a spell is decided by the seed and its place in the sequence alone; time only goes forward, and only the spell
//! in force is kept, so that a quiet year needs no more memory than a minute. Agents of one access network share bursts.

use super::{
    draw::{Draw, For, key, micros},
    profile::{FLAP, FLAP_STATUS, OVERLOAD, Profile, RESTART},
};
use crate::world::{Agent, Target, World};

/// Times in which something is bad, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Spells {
    draw: Draw,
    gap: Gap,
    length: (f64, f64),
    severity: (f64, f64),
    spell: Spell,
}

#[derive(Clone, Copy, Debug)]
enum Gap {
    /// Without memory, of that mean in seconds.
    Mean(f64),
    /// As long as the spells.
    Alike,
}

/// One time in which something is bad; instants are microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spell {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) severity: f64,
}

impl Spells {
    fn new(draw: Draw, gap: Gap, length: (f64, f64), severity: (f64, f64), from: i64) -> Self {
        let nothing = Spell { from, until: from, severity: 0.0 };
        let mut spells = Self { draw, gap, length, severity, spell: nothing };
        spells.turn();
        spells
    }

    /// The spell in force, or else the next to come.
    pub(super) fn at(&mut self, now: i64) -> &Spell {
        while self.spell.until <= now {
            self.turn();
        }
        &self.spell
    }

    /// How bad it is: zero between spells.
    pub(super) fn severity(&mut self, now: i64) -> f64 {
        let spell = self.at(now);
        if spell.from <= now { spell.severity } else { 0.0 }
    }

    fn turn(&mut self) {
        let gap = match self.gap {
            Gap::Mean(mean) => self.draw.wait(mean),
            Gap::Alike => self.draw.scale(self.length),
        };
        let from = self.spell.until.saturating_add(micros(gap));
        let until = from.saturating_add(micros(self.draw.scale(self.length)));
        self.spell = Spell { from, until, severity: self.draw.between(self.severity) };
    }
}

/// Everything of this sort in one world.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    networks: Vec<Option<Spells>>,
    /// Which of `networks` an agent is in.
    network_of: Vec<usize>,
    accesses: Vec<Option<Spells>>,
    overloads: Vec<Spells>,
    restarts: Vec<Spells>,
    endpoints: Vec<Option<(Spells, u16)>>,
    dead: Option<usize>,
    /// Share of its runs that an agent loses at the moment.
    pub(super) loss: Vec<f64>,
    /// Share of its runs that an agent cannot make at the moment.
    pub(super) overload: Vec<f64>,
    /// What an endpoint answers at the moment instead of what it should.
    pub(super) status: Vec<Option<u16>>,
}

impl Noise {
    pub(super) fn new(world: &World, profile: &Profile, seed: u64, start: i64) -> Self {
        let mut names: Vec<&str> = world.agents.iter().map(|agent| agent.isp.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let network_of = |agent: &Agent| names.binary_search(&agent.isp.as_str()).unwrap_or_default();
        let burst = |what, number: usize| {
            let mut draw = Draw::of(seed, what, number as u64, 0);
            draw.happens(profile.bursty).then(|| {
                // Two processes, the network's and the agent's own, together make the profile's gap.
                Spells::new(draw, Gap::Mean(profile.burst_gap * 2.0), profile.burst_length, profile.burst_loss, start)
            })
        };
        let agents = world.agents.len();
        let of_agents = |what, gap, length, severity| {
            let spells =
                move |agent| Spells::new(Draw::of(seed, what, agent, 0), Gap::Mean(gap), length, severity, start);
            (0..agents as u64).map(spells).collect::<Vec<_>>()
        };
        let third_parties: Vec<usize> =
            (0..world.targets.len()).filter(|place| is_third_party(&world.targets[*place])).collect();
        let endpoint = |place: usize| {
            let mut draw = Draw::of(seed, For::Endpoint, place as u64, 0);
            let flaps = is_third_party(&world.targets[place]) && draw.happens(profile.flapping);
            let status = draw.one_of(&FLAP_STATUS);
            // It began long ago, so that the first minute may lie within a spell.
            let began = start - micros(4.0 * FLAP.1) - micros(draw.between((0.0, FLAP.1)));
            flaps.then(|| (Spells::new(draw, Gap::Alike, FLAP, (1.0, 1.0), began), status))
        };
        let dead = (profile.has_dead && !third_parties.is_empty())
            .then(|| Draw::of(seed, For::Dead, 0, 0).one_of(&third_parties));
        let mut noise = Self {
            networks: (0..names.len()).map(|number| burst(For::Network, number)).collect(),
            network_of: world.agents.iter().map(network_of).collect(),
            accesses: (0..agents).map(|number| burst(For::Access, number)).collect(),
            overloads: of_agents(For::Overload, profile.overload_gap, OVERLOAD, (0.3, 0.9)),
            restarts: of_agents(For::Restart, profile.restart_gap, (RESTART, RESTART), (0.0, 1.0)),
            endpoints: (0..world.targets.len()).map(endpoint).collect(),
            dead,
            loss: vec![0.0; agents],
            overload: vec![0.0; agents],
            status: vec![None; world.targets.len()],
        };
        noise.go_to(start);
        noise
    }

    /// Makes it be `now`, which is never earlier than before.
    pub(super) fn go_to(&mut self, now: i64) {
        for (agent, network) in self.network_of.iter().enumerate() {
            let shared = self.networks[*network].as_mut().map_or(0.0, |spells| spells.severity(now));
            let own = self.accesses[agent].as_mut().map_or(0.0, |spells| spells.severity(now));
            self.loss[agent] = shared.max(own);
            self.overload[agent] = self.overloads[agent].severity(now);
        }
        for (place, endpoint) in self.endpoints.iter_mut().enumerate() {
            if let Some((spells, status)) = endpoint {
                self.status[place] = (spells.severity(now) > 0.0).then_some(*status);
            }
        }
    }

    /// The restart that this agent is in, or its next one.
    pub(super) fn restart(&mut self, agent: usize, now: i64) -> Spell {
        *self.restarts[agent].at(now)
    }

    /// Whether nothing answers at that target, ever.
    pub(super) fn is_dead(&self, target: usize) -> bool {
        self.dead == Some(target)
    }

    /// What of this a watcher may rightly name, although nobody asked for it: endpoints that answer errors, the dead one,
    /// and bursts that a whole access network shares. In the order of places.
    pub(super) fn events(mut self, until: i64, from: i64) -> Vec<Event> {
        let mut events: Vec<Event> = self.dead.map(|place| Event::Endpoint(place, from, until)).into_iter().collect();
        let mut spells_of = |spells: &mut Spells, event: &dyn Fn(i64, i64) -> Event| {
            let mut now = from;
            while now < until {
                let spell = *spells.at(now);
                if spell.from >= until {
                    break;
                }
                events.push(event(spell.from.max(from), spell.until.min(until)));
                now = spell.until;
            }
        };
        for (place, endpoint) in self.endpoints.iter_mut().enumerate() {
            if let Some((spells, _)) = endpoint {
                spells_of(spells, &|from, until| Event::Endpoint(place, from, until));
            }
        }
        for (agent, network) in self.network_of.clone().into_iter().enumerate() {
            // The network's first agent speaks for it.
            let is_first = self.network_of.iter().position(|other| *other == network) == Some(agent);
            if let Some(spells) = self.networks[network].as_mut().filter(|_| is_first) {
                spells_of(spells, &|from, until| Event::Network(agent, from, until));
            }
            if let Some(spells) = self.accesses[agent].as_mut() {
                spells_of(spells, &|from, until| Event::Agent(agent, from, until));
            }
        }
        events
    }
}

/// Something that goes wrong by itself, from and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// That target answers errors.
    Endpoint(usize, i64, i64),
    /// The access network of that agent loses packets.
    Network(usize, i64, i64),
    /// That agent loses packets.
    Agent(usize, i64, i64),
}

/// Whether neither a cloud nor an operator of names runs it for everybody: its owner's own trouble is nobody's outage.
pub(super) fn is_third_party(target: &Target) -> bool {
    target.service.is_none() && !target.id.starts_with("control/")
}

/// Whether that agent is taken for a robot there.
pub(super) fn is_refused(profile: &Profile, seed: u64, agent: &Agent, target: &Target) -> bool {
    let chance = if agent.hosted_on.is_some() { profile.robots * 2.0 } else { profile.robots };
    let drawn = key(seed, For::Pair, u64::from(agent.number), u64::from(target.number) << 1 | 1) >> 40;
    is_third_party(target) && f64::from(u32::try_from(drawn).unwrap_or(u32::MAX)) / 2f64.powi(24) < chance
}
