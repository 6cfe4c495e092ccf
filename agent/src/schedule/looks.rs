//! Looking again: runs that the coordinator asks for while it suspects something, within a budget of their own. Pure,
//! `now` is an argument.
//!
//! Rules: a look starts within a jitter of 250 ms after it was asked for, drawn from the agent's seed, so that a fleet
//! does not strike at one instant; it keeps the spacing from the slot's last start, due or asked for; looks at a
//! slot within ten minutes, and looks of the agent within a minute, are bounded; all of this is judged when the look would
//! start, and across assignment pushes. A look that is not made is counted by its reason and never made up for. What
//! waits is bounded too, whatever the coordinator asks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use faultline_proto::agent::v1::{LookRefusal, RefusedLooks};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::micros;

/// What local policy allows of looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookLimits {
    /// Least time between a look and the slot's last start; never below [`SPACING_FLOOR`].
    pub spacing: Duration,
    /// Most looks at a slot within [`SPAN`], up to [`MOST_LOOKS`]; none forbids looking.
    pub of_target: usize,
}

impl Default for LookLimits {
    fn default() -> Self {
        Self { spacing: SPACING_FLOOR, of_target: MOST_LOOKS }
    }
}

/// The hard floor of [`LookLimits::spacing`]. Source: the contract with those who are probed (README, agent).
pub const SPACING_FLOOR: Duration = Duration::from_secs(2);

/// The hard ceiling of [`LookLimits::of_target`]. Source: Trinocular (SIGCOMM 2013), 15 probes a round.
pub const MOST_LOOKS: usize = 15;

/// What the looks at a slot are counted over. Source: a round of Trinocular is 11 minutes.
pub const SPAN: Duration = Duration::from_mins(10);

/// Looks of one agent within a minute: two a second at its machine and its network, whatever the fleet is asked for.
/// Source: the engine asks for at most 8 looks a second, of which it gives an agent at most 2 for each suspicion.
pub const OF_AGENT: usize = 120;

/// What the looks of the agent are counted over.
const MINUTE: Duration = Duration::from_mins(1);

/// Slots read of one request, and looks that wait for their jitter; what is beyond is refused as crowded.
pub const MOST_WAITING: usize = 64;

/// Source: a quarter of a second costs the verdict little, and spreads a hundred agents to one each 2.5 ms.
pub const JITTER: Duration = Duration::from_millis(250);

/// A look that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) slot: u32,
    /// When it is to start.
    pub(super) at: i64,
    pub(super) deadline: i64,
}

/// Looks that wait, and what was spent on others.
#[derive(Debug)]
pub(super) struct Looks {
    limits: LookLimits,
    jitter: StdRng,
    waiting: BTreeMap<u32, Asked>,
    queue: BTreeSet<(i64, u32)>,
    /// Starts within [`SPAN`], by slot.
    made: BTreeMap<u32, VecDeque<i64>>,
    /// Starts within [`MINUTE`].
    of_agent: VecDeque<i64>,
    refused: Refused,
}

impl Looks {
    pub(super) fn new(limits: LookLimits, seed: u64) -> Self {
        let LookLimits { spacing, of_target } = limits;
        Self {
            limits: LookLimits { spacing: spacing.max(SPACING_FLOOR), of_target: of_target.min(MOST_LOOKS) },
            jitter: StdRng::seed_from_u64(seed),
            waiting: BTreeMap::new(),
            queue: BTreeSet::new(),
            made: BTreeMap::new(),
            of_agent: VecDeque::new(),
            refused: Refused::default(),
        }
    }

    pub(super) fn ask(&mut self, now: i64, slots: &[u32], deadline: i64) {
        if self.limits.of_target == 0 {
            return self.refuse(LookRefusal::Policy, slots.len());
        }
        let read = slots.len().min(MOST_WAITING);
        self.refuse(LookRefusal::Crowded, slots.len() - read);
        for &slot in &slots[..read] {
            if self.waiting.contains_key(&slot) {
                self.refuse(LookRefusal::Spacing, 1);
            } else if self.waiting.len() >= MOST_WAITING {
                self.refuse(LookRefusal::Crowded, 1);
            } else {
                let at = now.saturating_add(self.jitter.random_range(0..=micros(JITTER)));
                self.waiting.insert(slot, Asked { slot, at, deadline });
                self.queue.insert((at, slot));
            }
        }
    }

    /// Takes the first look whose time has come.
    pub(super) fn ripe(&mut self, now: i64) -> Option<Asked> {
        let &(_, slot) = self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first();
        self.waiting.remove(&slot)
    }

    pub(super) fn next_ripe(&self) -> Option<i64> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Whether spacing and budget allow a look at the slot.
    pub(super) fn allow(&mut self, now: i64, slot: u32, last_start: Option<i64>) -> Result<(), LookRefusal> {
        forget(&mut self.of_agent, now, MINUTE);
        for made in self.made.values_mut() {
            forget(made, now, SPAN);
        }
        self.made.retain(|_, made| !made.is_empty());
        let made = self.made.get(&slot);
        // A push may have replaced the entry that knew of the last start.
        let last = last_start.max(made.and_then(|made| made.back().copied()));
        if last.is_some_and(|last| now.saturating_sub(last) < micros(self.limits.spacing)) {
            return Err(LookRefusal::Spacing);
        }
        let is_spent = made.is_some_and(|made| made.len() >= self.limits.of_target) || self.of_agent.len() >= OF_AGENT;
        if is_spent { Err(LookRefusal::Budget) } else { Ok(()) }
    }

    /// Books a look that starts.
    pub(super) fn made(&mut self, now: i64, slot: u32) {
        self.made.entry(slot).or_default().push_back(now);
        self.of_agent.push_back(now);
    }

    pub(super) fn refuse(&mut self, reason: LookRefusal, looks: usize) {
        self.refused.add(reason, looks);
    }

    /// Takes up a wall clock that was set back: nothing waits longer than the jitter, and no budget is won.
    pub(super) fn realign(&mut self, now: i64) {
        let latest = now.saturating_add(micros(JITTER));
        self.queue.clear();
        for (slot, asked) in &mut self.waiting {
            asked.at = asked.at.min(latest);
            self.queue.insert((asked.at, *slot));
        }
        let made = self.made.values_mut().chain([&mut self.of_agent]);
        made.flatten().for_each(|start| *start = (*start).min(now));
    }

    pub(super) fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }
}

fn forget(starts: &mut VecDeque<i64>, now: i64, span: Duration) {
    while starts.front().is_some_and(|start| now.saturating_sub(*start) >= micros(span)) {
        starts.pop_front();
    }
}

/// Looks that were asked for and not made, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused(BTreeMap<LookRefusal, u64>);

impl Refused {
    /// Counts looks that are refused for this reason.
    pub fn add(&mut self, reason: LookRefusal, looks: usize) {
        if looks > 0 {
            let count = self.0.entry(reason).or_default();
            *count = count.saturating_add(u64::try_from(looks).unwrap_or(u64::MAX));
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (reason, looks) in &other.0 {
            let count = self.0.entry(*reason).or_default();
            *count = count.saturating_add(*looks);
        }
    }

    /// How many were refused for this reason.
    pub fn of(&self, reason: LookRefusal) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// Each reason that was given, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (LookRefusal, u64)> {
        self.0.iter().map(|(reason, looks)| (*reason, *looks))
    }

    /// The counts as heartbeats tell them.
    pub fn to_wire(&self) -> Vec<RefusedLooks> {
        self.iter().map(|(reason, runs)| RefusedLooks { reason: reason.into(), runs }).collect()
    }
}
