//! The limit: how fast anybody could have known, at one false alarm a month.
//!
//! For a known change of a failure rate from p0 to p1 nobody beats the CUSUM of the log likelihood ratio
//! (Moustakides 1986: of all rules with the same mean time to a false alarm, its worst mean delay is the smallest). So
//! the limit of a case is the mean delay of the CUSUM over the runs that go through what broke, at the lowest threshold
//! that keeps the false alarms to one a month.
//!
//! - The runs: those through an element that the truth accepts, from the layer on where it shows most; a run counts
//!   once, and fails when it fails at such a layer on that element. The mapping is the peers'. p0 is the share of them
//!   that fails before the onset, shrunk towards 0.2 % as by 200 runs, within 0.1 % and 20 %. p1 is the share that fails
//!   between onset and end, at most 99 %. Their rate is that of the schedule: runs a second before the onset (during the
//!   fault where the record has no such time), extra looks left out.
//! - Where the truth accepts several elements, the limit is the smallest: whoever knew which to watch.
//! - The mean delay counts from a statistic at zero, the worst case. To it comes the time until a run is known: the median
//!   from start to arrival of those that failed, since nobody can know of a timeout before it is over.
//! - Exact means: with a pass worth -b and a failure worth a = ln(p1/p0), the statistic lives on a lattice of step b/k,
//!   where k is the smallest number that makes the step at most `STEP` nats; only `a` is rounded, by at most half a
//!   step. A cycle of the statistic ends at the threshold or back at zero; by renewal, the mean time to the threshold is
//!   the mean length of a cycle over the chance that it ends there, both of which come from carrying the whole
//!   distribution forward until `REST` of it is left.
//!
//! Source: design notes 4.8, whose table is a test below.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use faultline_attribution::{Input, Layer, Timestamp};

use super::baseline::{Cells, Trail, begun};
use crate::case::{Case, TrueIncident};

/// Lattice step at most, in nats: small enough for the limits of the table below, which are held to 5 %.
const STEP: f64 = 0.04;

/// Share of a cycle that is not followed to its end.
const REST: f64 = 1e-13;

/// Mean time to a false alarm, in seconds.
const MONTH_S: f64 = 2.592e6;

/// Delays beyond this are no limit worth a figure, in seconds.
const TOO_LONG_S: f64 = 3600.0;

/// Changes whose limit is worked out exactly: those with the smallest first-order limits, which are within a factor of 1.5
/// of the exact ones.
const EXACT: usize = 3;

/// Failures during the fault from which its rate is known at all.
const MIN_FAILURES: u32 = 5;

/// A change of a failure rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Chance that a run fails before it.
    pub before: f64,
    /// Chance that a run fails after it.
    pub during: f64,
    /// Runs a second.
    pub runs_per_second: f64,
}

impl Shift {
    /// What a failure and a pass are worth, in nats.
    fn steps(self) -> (f64, f64) {
        ((self.during / self.before).ln(), ((1.0 - self.before) / (1.0 - self.during)).ln())
    }

    /// Lorden's first-order limit in seconds; `None` where nothing changes for the worse.
    fn first_order(self, false_alarm_s: f64) -> Option<f64> {
        let Self { before, during, runs_per_second } = self;
        if !(0.0 < before && before < during && during < 1.0 && runs_per_second > 0.0) {
            return None;
        }
        let (up, down) = self.steps();
        let information = during * up - (1.0 - during) * down;
        Some((false_alarm_s * runs_per_second).ln() / information / runs_per_second)
    }
}

/// The limit of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The change that shows most.
    pub shift: Shift,
    /// Mean delay of the best rule, counted in runs sent, in seconds.
    pub delay_s: f64,
    /// Median time from the start of a run that fails to its arrival, in seconds.
    pub arrival_s: f64,
}

/// Seconds from the onset in which the fault of this case could have been known, on average, at one false alarm a month;
/// of several faults the first. `None` for a quiet case, and where the fault hardly shows.
pub fn seconds(case: &Case) -> Option<f64> {
    limit(case).map(|limit| limit.delay_s + limit.arrival_s)
}

/// The same with its parts.
pub fn limit(case: &Case) -> Option<Limit> {
    let incident = case.truth.iter().min_by_key(|incident| incident.onset)?;
    let (mut shifts, arrival_s) = shifts(case, incident);
    let first_order = |shift: &Shift| shift.first_order(MONTH_S).unwrap_or(f64::INFINITY);
    shifts.sort_by(|left, right| first_order(left).total_cmp(&first_order(right)));
    shifts.dedup();
    shifts.truncate(EXACT);
    let limits =
        shifts.into_iter().filter_map(|shift| Some(Limit { shift, delay_s: delay(shift, MONTH_S)?, arrival_s }));
    limits.min_by(|left, right| left.delay_s.total_cmp(&right.delay_s))
}

/// Mean delay in seconds of the best possible rule with one false alarm in `false_alarm_s` seconds on average; `None`
/// where nothing changes or an hour is not enough.
pub fn delay(shift: Shift, false_alarm_s: f64) -> Option<f64> {
    let Shift { before, during, runs_per_second } = shift;
    if shift.first_order(false_alarm_s)? > TOO_LONG_S {
        return None;
    }
    let (up, down) = shift.steps();
    let runs = false_alarm_s * runs_per_second;
    let lattice = Lattice::new(up, down);
    let threshold = lattice.threshold(before, runs);
    Some(lattice.mean_runs(during, threshold) / runs_per_second)
}

/// The statistic's steps in units of the lattice.
#[derive(Clone, Copy, Debug)]
struct Lattice {
    up: usize,
    down: usize,
    /// Nats of one unit.
    step: f64,
}

impl Lattice {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^32")]
    fn new(up: f64, down: f64) -> Self {
        let parts = (down / STEP).ceil();
        let step = down / parts;
        Self { up: ((up / step).round() as usize).max(1), down: parts as usize, step }
    }

    /// The lowest threshold at which a rate of failures of `before` reaches it after `runs` runs at the earliest. The logarithm
    /// of the mean runs grows about as the threshold in nats, and is never below it (Lorden 1971), which tells where to look;
    /// each third look halves what is left, since it grows in steps.
    fn threshold(self, before: f64, runs: f64) -> usize {
        let (mut low, mut high) = (0, self.units(runs.ln()).max(self.up));
        let mut guess = high;
        for look in 1.. {
            if high - low <= 1 {
                break;
            }
            let short = (runs / self.mean_runs(before, guess)).ln();
            if short > 0.0 {
                low = guess;
                if low >= high {
                    high = low + self.up; // what was rounded may take a little more
                }
                guess = low + self.units(short);
            } else {
                high = guess;
                guess = high.saturating_sub(self.units(-short));
            }
            let guessed = if look % 3 == 0 { usize::midpoint(low, high) } else { guess };
            guess = guessed.clamp(low + 1, (high - 1).max(low + 1));
        }
        high
    }

    /// So many nats in units, rounded down, and at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^32")]
    fn units(self, nats: f64) -> usize {
        ((nats.max(0.0) / self.step) as usize).max(1)
    }

    /// Mean number of runs until the statistic, from zero, reaches the threshold.
    fn mean_runs(self, rate: f64, threshold: usize) -> f64 {
        let mut mass = vec![0.0; threshold];
        mass[0] = 1.0;
        let (mut length, mut reached, mut alive) = (0.0, 0.0, 1.0);
        let (mut low, mut high) = (0, 0);
        while alive > REST {
            length += alive;
            let mut next = vec![0.0; threshold];
            alive = 0.0;
            let (from, until) = (low, high);
            (low, high) = (threshold, 0);
            for (place, here) in mass.iter().enumerate().take(until + 1).skip(from).filter(|(_, here)| **here > 0.0) {
                let failure = here * rate;
                if place + self.up >= threshold {
                    reached += failure;
                } else {
                    next[place + self.up] += failure;
                    alive += failure;
                    (low, high) = (low.min(place + self.up), high.max(place + self.up));
                }
                // Down to zero or below ends the cycle.
                if place > self.down {
                    let pass = here * (1.0 - rate);
                    next[place - self.down] += pass;
                    alive += pass;
                    (low, high) = (low.min(place - self.down), high.max(place - self.down));
                }
            }
            mass = next;
        }
        length / reached
    }
}

/// Runs and failures of one element from one layer on.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    before: (u32, u32),
    during: (u32, u32),
    scheduled_before: u32,
    scheduled_during: u32,
}

/// How the failure rates of the incident's elements changed, from each layer on, and the median time in seconds in which
/// a failure during it was known.
fn shifts(case: &Case, incident: &TrueIncident) -> (Vec<Shift>, f64) {
    let end = incident.end.unwrap_or(case.end);
    let mut cells = Cells::new(&case.world);
    let mut counts: BTreeMap<(u32, Layer), Counts> = BTreeMap::new();
    let mut accepted = Accepted { incident, by_cell: Vec::new() };
    let mut waits = Vec::new();
    for (arrived, input) in &case.inputs {
        let Input::Observation(observation) = input else {
            cells.hear(input);
            continue;
        };
        let at = begun(observation);
        let Some(trail) = cells.trail(observation) else { continue };
        let scheduled = u32::from(!observation.is_on_demand);
        for (component, deepest, is_failure) in accepted.on(&cells, &trail) {
            let failed = u32::from(is_failure);
            for layer in Layer::ALL.iter().filter(|layer| **layer <= deepest) {
                let entry = counts.entry((component, *layer)).or_default();
                if at < incident.onset {
                    entry.before = (entry.before.0 + 1, entry.before.1 + failed);
                    entry.scheduled_before += scheduled;
                } else if at < end {
                    entry.during = (entry.during.0 + 1, entry.during.1 + failed);
                    entry.scheduled_during += scheduled;
                }
            }
            if is_failure && incident.onset <= at && at < end {
                waits.push(arrived.since(at));
            }
        }
    }
    let spans = (incident.onset.since(case.start).as_secs_f64(), end.since(incident.onset).as_secs_f64());
    waits.sort_unstable();
    let arrival_s = waits.get(waits.len() / 2).map_or(0.0, Duration::as_secs_f64);
    (counts.into_values().filter_map(|counts| shift(counts, spans)).collect(), arrival_s)
}

/// Components of each cell that would be right to name.
struct Accepted<'a> {
    incident: &'a TrueIncident,
    by_cell: Vec<Option<Box<[u32]>>>,
}

impl Accepted<'_> {
    /// The accepted components that a run went through, each with the last layer at which it did, and whether the run
    /// failed there.
    fn on(&mut self, cells: &Cells, trail: &Trail) -> Vec<(u32, Layer, bool)> {
        let mut found: Vec<(u32, Layer, bool)> = Vec::new();
        for (back, number) in trail.cells().iter().rev().enumerate() {
            let cell = cells.cell_at(*number);
            for component in self.of(cells, *number) {
                if found.iter().all(|(known, ..)| known != component) {
                    found.push((*component, cell.layer, trail.is_failure && back == 0));
                }
            }
        }
        found
    }

    fn of(&mut self, cells: &Cells, number: u32) -> &[u32] {
        let place = number as usize;
        if self.by_cell.len() <= place {
            self.by_cell.resize(place + 1, None);
        }
        self.by_cell[place].get_or_insert_with(|| {
            let components = cells.cell_at(number).own_components().iter().copied();
            components.filter(|id| is_accepted(self.incident, cells.components().element(*id))).collect()
        })
    }
}

fn shift(counts: Counts, (before_s, during_s): (f64, f64)) -> Option<Shift> {
    if counts.during.1 < MIN_FAILURES {
        return None;
    }
    let before = (f64::from(counts.before.1) + 0.4) / (f64::from(counts.before.0) + 200.0);
    let (scheduled, span) = if before_s >= 30.0 && counts.scheduled_before > 0 {
        (counts.scheduled_before, before_s)
    } else {
        (counts.scheduled_during, during_s)
    };
    Some(Shift {
        before: before.clamp(1e-3, 0.2),
        during: (f64::from(counts.during.1) / f64::from(counts.during.0)).min(0.99),
        runs_per_second: f64::from(scheduled) / span.max(1.0),
    })
}

/// Whether naming this element would be right.
fn is_accepted(incident: &TrueIncident, element: &faultline_attribution::Element) -> bool {
    if !incident.elements.is_empty() {
        return incident.elements.contains(&element.name);
    }
    let kinds: BTreeSet<&str> = incident.kinds.iter().map(String::as_str).collect();
    element.verdict().as_str() == incident.verdict.word()
        && element.neither_kind().is_none_or(|kind| kinds.is_empty() || kinds.contains(kind.as_str()))
}

/// The time at which an incident was over, or the record.
pub(crate) fn ended(case: &Case, incident: &TrueIncident) -> Timestamp {
    incident.end.unwrap_or(case.end).min(case.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50 vantages, one endpoint each 30 s: design notes 4.8.
    fn limit(before: f64, during: f64) -> f64 {
        delay(Shift { before, during, runs_per_second: 50.0 / 30.0 }, MONTH_S).expect("a limit")
    }

    #[test]
    fn the_limits_are_those_of_the_literature() {
        let table = [
            (0.01, 0.99, 2.4),
            (0.002, 0.95, 1.9),
            (0.01, 0.5, 5.3),
            (0.01, 0.2, 18.0),
            (0.01, 0.1, 49.4),
            (0.01, 0.05, 157.0),
            (0.002, 0.1, 25.1),
            (0.002, 0.05, 60.0),
        ];
        for (before, during, seconds) in table {
            let found = limit(before, during);
            assert!((found / seconds - 1.0).abs() < 0.05, "{before} to {during}: {found:.2} s, not {seconds} s");
        }
    }

    #[test]
    fn the_threshold_is_the_lowest_that_suffices() {
        for (before, during) in [(0.01, 0.99), (0.002, 0.5), (0.01, 0.05), (0.001, 0.02)] {
            let shift = Shift { before, during, runs_per_second: 10.0 };
            let (up, down) = shift.steps();
            let lattice = Lattice::new(up, down);
            let found = lattice.threshold(before, 1e6);
            assert!(lattice.mean_runs(before, found) >= 1e6, "{before} to {during}: {found} is too low");
            assert!(lattice.mean_runs(before, found - 1) < 1e6, "{before} to {during}: {found} is too high");
        }
    }

    #[test]
    fn more_hypotheses_cost_time() {
        let shift = Shift { before: 0.01, during: 0.1, runs_per_second: 50.0 / 30.0 };
        let many = delay(shift, MONTH_S * 2000.0).expect("a limit");
        assert!((many / 81.0 - 1.0).abs() < 0.05, "{many:.1} s, not 81 s");
    }

    #[test]
    fn a_rate_that_does_not_change_has_no_limit() {
        for (before, during) in [(0.01, 0.01), (0.1, 0.01), (0.01, 0.0101)] {
            assert_eq!(delay(Shift { before, during, runs_per_second: 1.0 }, MONTH_S), None);
        }
    }

    #[test]
    fn twice_the_runs_halve_the_limit_or_nearly() {
        let limit = |runs_per_second| delay(Shift { before: 0.002, during: 0.1, runs_per_second }, MONTH_S);
        let (once, twice) = (limit(2.0).expect("a limit"), limit(4.0).expect("a limit"));
        assert!((1.8..=2.0).contains(&(once / twice)), "{once} {twice}");
    }
}
