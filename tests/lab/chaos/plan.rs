//! Who dies when, and how: drawn from the seed before anything starts.
//!
//! Rules: half of all deaths are at a failpoint, and those go round all names before one comes again, in an order of the
//! seed's; the rest are SIGKILL at a moment of the seed's. A quarter of the deaths are the coordinator's. What takes an absence
//! comes once, since it takes its time.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::net::{End, Ending, Link, Way};

/// Lives to come, for each process one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) coordinator: VecDeque<Life>,
    pub(super) agents: Vec<VecDeque<Life>>,
}

/// What a process will meet between its start and its death.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    pub(super) death: Death,
    /// Stopped (SIGSTOP) so long after its start, for so long.
    pub(super) pause: Option<(Duration, Duration)>,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Death {
    /// SIGKILL so long after its start.
    Signal(Duration),
    /// At a failpoint.
    At(Failpoint),
}

/// Which failpoint, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failpoint {
    pub(super) name: &'static str,
    /// How many times it is passed before.
    pub(super) skipping: u32,
    /// How many lives have waited for it.
    pub(super) tries: u32,
}

impl Failpoint {
    /// The environment's words for it.
    pub(super) fn words(self) -> String {
        match self.skipping {
            0 => format!("{}=return", self.name),
            skipping => format!("{}={skipping}*off->return", self.name),
        }
    }

    /// Whether it is reached only by an agent that was cut off for a while.
    pub(super) fn takes_absence(self) -> bool {
        ABSENCE.iter().any(|room| self.name.starts_with(room))
    }

    /// Whether a life of a few seconds reaches it once only.
    fn comes_once(self) -> bool {
        ONCE.iter().any(|room| self.name.starts_with(room))
    }
}

/// Rooms of failpoints behind an absence.
const ABSENCE: [&str; 1] = ["spool.move."];
/// And of those that come once, after a start.
const ONCE: [&str; 1] = ["snapshot.write."];

impl Plan {
    pub(super) fn draw(kills: usize, seed: u64, agents: usize, names: [&[&'static str]; 2]) -> Self {
        let mut draws = StdRng::seed_from_u64(seed);
        let [of_agents, of_coordinator] = names;
        let coordinators = kills / 4;
        let coordinator = lives(coordinators, of_coordinator, COORDINATOR, &mut draws).into();
        let mut dealt = vec![VecDeque::new(); agents];
        for (n, life) in lives(kills - coordinators, of_agents, AGENT, &mut draws).into_iter().enumerate() {
            dealt[n % agents].push_back(life);
        }
        Self { coordinator, agents: dealt }
    }
}

/// How long lives are, in milliseconds: long enough for a session, and for batches in it.
type Span = std::ops::Range<u64>;
const AGENT: Span = 1_500..9_000;
const COORDINATOR: Span = 1_000..6_000;

fn lives(count: usize, names: &[&'static str], span: Span, draws: &mut StdRng) -> Vec<Life> {
    let mut order = names.to_vec();
    order.shuffle(draws);
    let once = order.iter().copied();
    let again = order.iter().copied().filter(|name| !ABSENCE.iter().any(|room| name.starts_with(room)));
    let at = once.chain(again.cycle()).take(if names.is_empty() { 0 } else { count.div_ceil(2) });
    let mut deaths: Vec<Death> = at.map(|name| Death::At(failpoint(name, draws))).collect();
    let signals = count - deaths.len();
    deaths.extend((0..signals).map(|_| Death::Signal(Duration::from_millis(draws.random_range(span.clone())))));
    deaths.shuffle(draws);
    deaths.into_iter().map(|death| Life { death, pause: pause(draws) }).collect()
}

fn failpoint(name: &'static str, draws: &mut StdRng) -> Failpoint {
    let skipping = if draws.random_bool(0.5) { 0 } else { draws.random_range(1..6) };
    let failpoint = Failpoint { name, skipping, tries: 0 };
    if failpoint.takes_absence() || failpoint.comes_once() { Failpoint { skipping: 0, ..failpoint } } else { failpoint }
}

fn pause(draws: &mut StdRng) -> Option<(Duration, Duration)> {
    let [at, long] = [200..2_500, 100..1_500].map(|span| Duration::from_millis(draws.random_range(span)));
    draws.random_bool(0.15).then_some((at, long))
}

/// What an agent's link goes through: whole for a while, then not, without end.
pub(super) struct Weather(StdRng);

impl Weather {
    pub(super) fn new(seed: u64, agent: usize) -> Self {
        // Apart from the draws of deaths, and from other agents'.
        Self(StdRng::seed_from_u64(seed ^ 0x11_4b ^ (u64::try_from(agent).unwrap_or_default() << 32)))
    }

    /// How long the link stays whole, what becomes of it then, and for how long.
    pub(super) fn next(&mut self) -> (Duration, Link, Duration) {
        let Self(draws) = self;
        let whole = Duration::from_millis(draws.random_range(1_500..8_000));
        let long = Duration::from_millis(draws.random_range(200..3_000));
        let after = draws.random_range(1..60_000);
        let link = match draws.random_range(0..10) {
            0 => Link::Refused,
            1 => Link::Stalled(Way::Up),
            2 => Link::Stalled(Way::Down),
            3 => Link::HalfOpen { gone: End::Agent },
            4 => Link::HalfOpen { gone: End::Coordinator },
            5 => Link::Throttled { bytes_per_second: draws.random_range(2_000..40_000) },
            6 => Link::Overtaken { held: draws.random_range(1..4_000), until: draws.random_range(1..8_000) },
            7 => Link::Broken { after, ending: Ending::Fin },
            8 => Link::Broken { after, ending: Ending::Rst },
            _ => Link::Cut,
        };
        (whole, link, long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&[&str]; 2] =
        [&["spool.commit.before", "spool.commit.after", "spool.move.before"], &["log.commit.after"]];

    fn names(plan: &Plan) -> Vec<&'static str> {
        let lives = plan.agents.iter().flatten().chain(&plan.coordinator);
        lives
            .filter_map(|life| if let Death::At(failpoint) = life.death { Some(failpoint.name) } else { None })
            .collect()
    }

    #[test]
    fn a_seed_is_a_plan_and_another_is_another() {
        let plan = Plan::draw(200, 7, 6, NAMES);
        assert_eq!(plan, Plan::draw(200, 7, 6, NAMES));
        assert_ne!(plan, Plan::draw(200, 8, 6, NAMES));
        let deaths = plan.coordinator.len() + plan.agents.iter().map(VecDeque::len).sum::<usize>();
        assert_eq!(deaths, 200);
    }

    #[test]
    fn every_failpoint_comes_before_one_comes_again_and_an_absence_once() {
        let few = Plan::draw(8, 3, 2, NAMES);
        assert!(NAMES.iter().copied().flatten().all(|name| names(&few).contains(name)), "{few:?}");
        let many = names(&Plan::draw(200, 3, 6, NAMES));
        assert_eq!(many.iter().filter(|name| **name == "spool.move.before").count(), 1);
        assert!(many.iter().filter(|name| **name == "spool.commit.after").count() > 30);
    }

    #[test]
    fn a_failpoint_is_told_in_the_words_of_the_environment() {
        let words = |skipping| Failpoint { name: "log.commit.after", skipping, tries: 0 }.words();
        assert_eq!(
            (words(0).as_str(), words(3).as_str()),
            ("log.commit.after=return", "log.commit.after=3*off->return")
        );
    }
}
