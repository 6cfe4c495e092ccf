//! When each assignment runs: pure, `now` is an argument.
//!
//! Rules: an assignment is due whenever `t mod interval == phase`, with `t` in microseconds of the wall clock since the
//! Unix epoch, so that a run that was late delays none of the next; one that a push leaves unchanged keeps its rhythm;
//! at most one run of a slot is in flight, and a due time that finds it so, finds no free place, or was slept through,
//! is skipped and counted. A wall clock set back makes nothing wait longer than its interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use faultline_proto::{convert::std_duration, types::v1::Assignment};

/// Due times of all assignments in force.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<u32, Entry>,
    queue: BTreeSet<(i64, u32)>,
    running: BTreeSet<u32>,
    last_seen: i64,
    skipped_runs: u64,
    worst_lag: Duration,
}

#[derive(Debug)]
struct Entry {
    assignment: Arc<Assignment>,
    interval: i64,
    phase: i64,
    due: i64,
}

/// A run to start now.
#[derive(Clone, Debug)]
pub struct Run {
    /// What to run.
    pub assignment: Arc<Assignment>,
    /// How late it is.
    pub lag: Duration,
}

impl Schedule {
    /// An empty schedule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the whole set; what stays the same keeps its next due time.
    pub fn replace(&mut self, now: i64, assignments: impl IntoIterator<Item = Assignment>) {
        let mut before = std::mem::take(&mut self.entries);
        self.queue.clear();
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

    /// The runs to start, at most `free` of them.
    pub fn due(&mut self, now: i64, free: usize) -> Vec<Run> {
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
            if runs.len() >= free || !self.running.insert(slot) {
                self.skipped_runs = self.skipped_runs.saturating_add(1);
            } else {
                runs.push(Run { assignment: Arc::clone(&entry.assignment), lag });
            }
        }
        runs
    }

    fn realign(&mut self, now: i64) {
        self.queue.clear();
        for (slot, entry) in &mut self.entries {
            entry.due = entry.due.min(next(now, entry.interval, entry.phase));
            self.queue.insert((entry.due, *slot));
        }
    }

    /// Notes that the slot's run has ended.
    pub fn finished(&mut self, slot: u32) {
        self.running.remove(&slot);
    }

    /// The first instant at which something is due.
    pub fn next_due(&self) -> Option<i64> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Runs in flight.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Runs skipped since the schedule was made.
    pub fn skipped_runs(&self) -> u64 {
        self.skipped_runs
    }

    /// The worst lateness since this was last asked.
    pub fn take_worst_lag(&mut self) -> Duration {
        std::mem::take(&mut self.worst_lag)
    }
}

impl Entry {
    fn new(now: i64, assignment: Assignment) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4);
        let interval = std_duration(assignment.interval.as_ref()).map_or(FALLBACK_MICROS, micros).max(1);
        let phase = std_duration(assignment.phase.as_ref()).map_or(0, micros).rem_euclid(interval);
        Self { assignment: Arc::new(assignment), interval, phase, due: next(now, interval, phase) }
    }
}

/// The first instant not before `now` that lies on the rhythm.
fn next(now: i64, interval: i64, phase: i64) -> i64 {
    now + (phase - now).rem_euclid(interval)
}

/// Policy refuses an assignment without an interval; this keeps the arithmetic total.
const FALLBACK_MICROS: i64 = 60_000_000;

#[cfg(test)]
mod tests {
    use faultline_proto::convert::duration;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn runs_fall_on_the_phase_of_the_wall_clock() {
        let mut schedule = Schedule::new();
        schedule.replace(1_000 * SECOND + 1, [assignment(1, 30, 7), assignment(2, 10, 3)]);
        assert_eq!(schedule.next_due(), Some(1_003 * SECOND));
        let mut seen = Vec::new();
        while let Some(now) = schedule.next_due().filter(|now| *now < 1_070 * SECOND) {
            for run in schedule.due(now, 64) {
                seen.push((now / SECOND, run.assignment.slot));
                schedule.finished(run.assignment.slot);
            }
        }
        let of = |slot| seen.iter().filter(|(_, of)| *of == slot).map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(of(1), [1_027, 1_057]);
        assert_eq!(of(2), [1_003, 1_013, 1_023, 1_033, 1_043, 1_053, 1_063]);
    }

    #[test]
    fn a_late_run_delays_none_of_the_next() {
        let mut schedule = Schedule::new();
        schedule.replace(0, [assignment(1, 10, 0)]);
        let runs = schedule.due(0, 64);
        assert_eq!(runs.len(), 1);
        schedule.finished(1);
        let late = schedule.due(13 * SECOND, 64);
        assert_eq!(late[0].lag, Duration::from_secs(3));
        assert_eq!(schedule.next_due(), Some(20 * SECOND));
        assert_eq!(schedule.take_worst_lag(), Duration::from_secs(3));
        assert_eq!(schedule.take_worst_lag(), Duration::ZERO);
    }

    #[test]
    fn what_was_slept_through_is_counted_and_not_caught_up() {
        let mut schedule = Schedule::new();
        schedule.replace(0, [assignment(1, 10, 0)]);
        assert_eq!(schedule.due(45 * SECOND, 64).len(), 1);
        assert_eq!(schedule.skipped_runs(), 4);
        assert_eq!(schedule.next_due(), Some(50 * SECOND));
    }

    #[test]
    fn a_slot_never_overlaps_itself() {
        let mut schedule = Schedule::new();
        schedule.replace(0, [assignment(1, 10, 0)]);
        assert_eq!(schedule.due(0, 64).len(), 1);
        assert_eq!(schedule.due(10 * SECOND, 64).len(), 0);
        assert_eq!((schedule.skipped_runs(), schedule.running()), (1, 1));
        schedule.finished(1);
        assert_eq!(schedule.due(20 * SECOND, 64).len(), 1);
    }

    #[test]
    fn without_a_free_place_a_run_is_skipped_and_counted() {
        let mut schedule = Schedule::new();
        schedule.replace(0, (1..=5).map(|slot| assignment(slot, 10, 0)));
        assert_eq!(schedule.due(0, 2).len(), 2);
        assert_eq!((schedule.skipped_runs(), schedule.running()), (3, 2));
    }

    #[test]
    fn an_unchanged_assignment_keeps_its_rhythm_across_a_push() {
        let mut schedule = Schedule::new();
        schedule.replace(0, [assignment(1, 10, 4), assignment(2, 10, 6)]);
        assert_eq!(schedule.due(4 * SECOND, 64).len(), 1);
        schedule.replace(5 * SECOND, [assignment(1, 10, 4), assignment(2, 20, 9)]);
        assert_eq!(schedule.next_due(), Some(9 * SECOND));
        assert_eq!(schedule.due(9 * SECOND, 64)[0].assignment.slot, 2);
        assert_eq!(schedule.next_due(), Some(14 * SECOND));
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut schedule = Schedule::new();
        schedule.replace(3_600 * SECOND, [assignment(1, 10, 0)]);
        assert_eq!(schedule.due(3_600 * SECOND, 64).len(), 1);
        schedule.finished(1);
        assert!(schedule.due(100 * SECOND + 1, 64).is_empty());
        assert_eq!(schedule.next_due(), Some(110 * SECOND));
    }

    fn assignment(slot: u32, interval: u64, phase: u64) -> Assignment {
        Assignment {
            slot,
            interval: Some(duration(Duration::from_secs(interval))),
            phase: Some(duration(Duration::from_secs(phase))),
            ..Assignment::default()
        }
    }
}
