//! When each assignment runs: pure, `now` is an argument.
//!
//! Rules: an assignment is due whenever `t mod interval == phase`, with `t` in microseconds of the wall clock since the
//! Unix epoch, so that a run that was late delays none of the next; one that a push leaves unchanged keeps its rhythm;
//! at most one run of a slot is in flight, and a due time that finds it so, finds no free place, or was slept through,
//! is skipped and counted, as is one beyond the machine's or its target's pace ([`pace`]). A wall clock set back makes nothing wait longer than its interval. Runs on request
//! ([`looks`]) go beside the schedule and never change it: a due time takes a look's place, its own slot's first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use faultline_proto::{agent::v1::LookRefusal, convert::std_duration, types::v1::Assignment};

use self::{
    looks::{Asked, Looks},
    pace::Pace,
};
pub use self::{
    looks::{LookLimits, Refused},
    pace::PaceLimits,
};

pub mod looks;
pub mod pace;

/// Due times of all assignments in force.
#[derive(Debug)]
pub struct Schedule {
    entries: BTreeMap<u32, Entry>,
    queue: BTreeSet<(i64, u32)>,
    running: BTreeMap<u32, (RunId, Origin)>,
    looks: Looks,
    pace: Pace,
    last_number: u64,
    last_seen: i64,
    skipped_runs: u64,
    worst_lag: Duration,
}

#[derive(Debug)]
struct Entry {
    assignment: Arc<Assignment>,
    target: Option<String>,
    interval: i64,
    phase: i64,
    due: i64,
    last_start: Option<i64>,
}

/// Names one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// Of which assignment.
    pub slot: u32,
    number: u64,
}

/// Why something is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was due.
    Scheduled,
    /// The coordinator asked for it.
    Look,
}

/// A run to start now.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name, for [`Schedule::finished`].
    pub id: RunId,
    /// What to run.
    pub assignment: Arc<Assignment>,
    /// Why.
    pub origin: Origin,
    /// How late it is.
    pub lag: Duration,
    /// A look in flight that must be abandoned before.
    pub displaces: Option<RunId>,
}

impl Schedule {
    /// An empty schedule; the seed moves looks apart from those of other agents.
    pub fn new(limits: LookLimits, pace: PaceLimits, seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            running: BTreeMap::new(),
            looks: Looks::new(limits, seed),
            pace: Pace::new(pace),
            last_number: 0,
            last_seen: i64::MIN,
            skipped_runs: 0,
            worst_lag: Duration::ZERO,
        }
    }

    /// Replaces the whole set; what stays the same keeps its next due time.
    pub fn replace(&mut self, now: i64, assignments: impl IntoIterator<Item = Assignment>) {
        let mut before = std::mem::take(&mut self.entries);
        self.queue.clear();
        self.pace.forget(now);
        for assignment in assignments {
            let slot = assignment.slot;
            let entry = match before.remove(&slot) {
                Some(entry) if *entry.assignment == assignment => entry,
                _ => Entry::new(now, assignment),
            };
            self.queue.insert((entry.due, slot));
            self.entries.insert(slot, entry);
        }
    }

    /// Takes a request to run these slots once more, at once but for a small jitter; nothing starts after `deadline`.
    pub fn ask(&mut self, now: i64, slots: &[u32], deadline: i64) {
        self.looks.ask(now, slots, deadline);
    }

    /// The runs to start, such that at most `places` are in flight: what is due first, then looks.
    pub fn due(&mut self, now: i64, places: usize) -> Vec<Run> {
        if now < self.last_seen {
            self.realign(now);
        }
        self.last_seen = now;
        let mut runs = Vec::new();
        while let Some(&(due, slot)) = self.queue.first().filter(|(due, _)| *due <= now) {
            self.queue.pop_first();
            let Some(entry) = self.entries.get_mut(&slot) else { continue };
            let slept_through = (now - due) / entry.interval;
            self.skipped_runs = self.skipped_runs.saturating_add(slept_through.unsigned_abs());
            let latest = due + slept_through * entry.interval;
            entry.due = latest + entry.interval;
            self.queue.insert((entry.due, slot));
            let lag = Duration::from_micros((now - due).unsigned_abs());
            self.worst_lag = self.worst_lag.max(lag);
            let has_pace = self.pace.has_room(now, entry.target.as_deref());
            match if has_pace { self.make_room(slot, places) } else { Err(NoPlace) } {
                Ok(displaces) => runs.extend(self.begin(now, slot, Origin::Scheduled, lag, displaces)),
                Err(NoPlace) => self.skipped_runs = self.skipped_runs.saturating_add(1),
            }
        }
        while let Some(asked) = self.looks.ripe(now) {
            match self.judge(now, &asked, places) {
                Ok(()) => {
                    self.looks.made(now, asked.slot);
                    let lag = Duration::from_micros((now - asked.at).unsigned_abs());
                    runs.extend(self.begin(now, asked.slot, Origin::Look, lag, None));
                }
                Err(refusal) => self.looks.refuse(refusal, 1),
            }
        }
        runs
    }

    /// A place for a due run of the slot, and the look that must leave it.
    fn make_room(&mut self, slot: u32, places: usize) -> Result<Option<RunId>, NoPlace> {
        let in_the_way = match self.running.get(&slot) {
            Some((_, Origin::Scheduled)) => return Err(NoPlace),
            Some((look, Origin::Look)) => *look,
            None if self.running.len() < places => return Ok(None),
            None => {
                let mut looks = self.running.values().filter(|(_, origin)| *origin == Origin::Look);
                looks.next().map(|(look, _)| *look).ok_or(NoPlace)?
            }
        };
        self.running.remove(&in_the_way.slot);
        self.looks.refuse(LookRefusal::Displaced, 1);
        Ok(Some(in_the_way))
    }

    /// Whether a look may be made.
    fn judge(&mut self, now: i64, asked: &Asked, places: usize) -> Result<(), LookRefusal> {
        let entry = self.entries.get(&asked.slot).ok_or(LookRefusal::NotInForce)?;
        if now > asked.deadline {
            return Err(LookRefusal::Expired);
        }
        if self.running.contains_key(&asked.slot) {
            return Err(LookRefusal::InFlight);
        }
        self.looks.allow(now, asked.slot, entry.last_start)?;
        if !self.pace.has_room(now, entry.target.as_deref()) {
            return Err(LookRefusal::Budget);
        }
        if self.running.len() < places { Ok(()) } else { Err(LookRefusal::Crowded) }
    }

    fn begin(&mut self, now: i64, slot: u32, origin: Origin, lag: Duration, displaces: Option<RunId>) -> Option<Run> {
        let entry = self.entries.get_mut(&slot)?;
        entry.last_start = Some(now);
        self.pace.made(now, entry.target.as_deref());
        self.last_number += 1;
        let id = RunId { slot, number: self.last_number };
        self.running.insert(slot, (id, origin));
        Some(Run { id, assignment: Arc::clone(&entry.assignment), origin, lag, displaces })
    }

    fn realign(&mut self, now: i64) {
        self.queue.clear();
        for (slot, entry) in &mut self.entries {
            entry.due = entry.due.min(next(now, entry.interval, entry.phase));
            entry.last_start = entry.last_start.map(|start| start.min(now));
            self.queue.insert((entry.due, *slot));
        }
        self.looks.realign(now);
        self.pace.realign(now);
    }

    /// Books what a run probed beyond once: every address, name server and attempt after the first. Whoever assigns many of them
    /// gets no more probes out of this machine than its pace allows, but fewer runs.
    pub fn probed_further(&mut self, now: i64, run: RunId, further: usize) {
        let target = self.entries.get(&run.slot).and_then(|entry| entry.target.as_deref());
        (0..further).for_each(|_| self.pace.made(now, target));
    }

    /// Notes that the run has ended.
    pub fn finished(&mut self, run: RunId) {
        if self.running.get(&run.slot).is_some_and(|(running, _)| *running == run) {
            self.running.remove(&run.slot);
        }
    }

    /// The first instant at which something is due.
    pub fn next_due(&self) -> Option<i64> {
        let due = self.queue.first().map(|(due, _)| *due);
        [due, self.looks.next_ripe()].into_iter().flatten().min()
    }

    /// Runs in flight.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Runs skipped since the schedule was made.
    pub fn skipped_runs(&self) -> u64 {
        self.skipped_runs
    }

    /// Looks that were asked for and not made, since this was last asked.
    pub fn take_refused(&mut self) -> Refused {
        self.looks.take_refused()
    }

    /// The worst lateness of what was due since this was last asked.
    pub fn take_worst_lag(&mut self) -> Duration {
        std::mem::take(&mut self.worst_lag)
    }
}

/// The slot is busy with a run that was due, every place is taken by such runs, or the pace is used up.
struct NoPlace;

impl Entry {
    fn new(now: i64, assignment: Assignment) -> Self {
        let interval = std_duration(assignment.interval.as_ref()).map_or(FALLBACK_MICROS, micros).max(1);
        let phase = std_duration(assignment.phase.as_ref()).map_or(0, micros).rem_euclid(interval);
        let due = next(now, interval, phase);
        let target = pace::target(&assignment);
        Self { assignment: Arc::new(assignment), target, interval, phase, due, last_start: None }
    }
}

/// The first instant not before `now` that lies on the rhythm.
fn next(now: i64, interval: i64, phase: i64) -> i64 {
    now + (phase - now).rem_euclid(interval)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Policy refuses an assignment without an interval; this keeps the arithmetic total.
const FALLBACK_MICROS: i64 = 60_000_000;

#[cfg(test)]
mod tests;
