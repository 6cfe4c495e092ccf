//! Windows: the recent samples of every cell (one agent looking at one target), and the base rates behind them.
//!
//! Samples within the horizon are kept one by one, eight bytes each, in order of their start. Older ones melt into a base
//! rate per layer, which forgets with a half life. Rule: base rates of cells that an open incident touches stand still,
//! so that an outage never becomes normal.

mod past;
mod sample;

use std::{collections::VecDeque, time::Duration};

pub(crate) use self::{
    past::{Past, UsualRates},
    sample::Sample,
};

use serde::{Deserialize, Serialize};

use self::sample::{Packed, stamp};
use crate::{assumption::Assumption, time::Timestamp, vocabulary::Layer};

/// Chance of a failure at a layer without any fault, before anything is known of the cell.
///
/// Source: order of magnitude of the recorded checks behind this project (0.1 to 0.5 % of runs fail for no visible
/// reason).
const TYPICAL_RATE: f32 = 0.002;

/// Runs that the typical rate is worth. Source: design notes 4.3.
const TYPICAL_RUNS: f32 = 200.0;

/// Base rates stay within these: one clean day proves no perfection, and a target that mostly fails proves nothing. Source:
/// design notes 4.3.
const RATE_RANGE: (f32, f32) = (1e-3, 0.2);

/// Samples that a cell keeps at most. Source: a 10 s interval fills 30 in the horizon, bursts a few more.
const MAX_SAMPLES: usize = 128;

/// Samples for which a cell has room without growing. Source: a 30 s interval in a horizon of five minutes, and two.
const USUAL_SAMPLES: usize = 12;

/// A pass is slow from so many times its usual duration, and never below [`LEAST_SLOW`]. Calibrated: `faultline-lab calibrate
/// slow-times`.
pub(crate) static SLOW_TIMES: Assumption = Assumption::new("slow-times", 4.0);

/// Source: a retransmitted SYN costs one second (RFC 6298), which is trouble and no longer noise.
const LEAST_SLOW: Duration = Duration::from_millis(900);

/// Passes from which the usual duration is known. Source: the mean of five lies within half a standard deviation.
const KNOWN_USUAL: u8 = 5;

/// One agent looking at one target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    samples: VecDeque<Packed>,
    /// How many of them, the oldest, an incident that is over explained: evidence of nothing more.
    explained: u8,
    /// Runs of the past, weighted by age, and how many of them failed at each layer.
    runs: f32,
    failures: [f32; 4],
    faded_at: Timestamp,
    /// Logarithm of the usual duration in seconds, over passes.
    usual_ln: f32,
    usual_runs: u8,
    /// Something failed or was slow in here that is still kept.
    pub(crate) is_troubled: bool,
    /// An open incident touches the cell: nothing is learned from it.
    pub(crate) is_frozen: bool,
    /// While frozen: the incident's onset. What was before speaks of another time, and would water the incident down.
    pub(crate) frozen_from: Timestamp,
}

impl Cell {
    /// Adds a sample in its place. Beyond the bound the oldest is forgotten.
    pub(crate) fn push(&mut self, sample: Sample) {
        let packed = Packed::from(sample);
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(USUAL_SAMPLES);
        }
        if self.samples.back().is_none_or(|last| *last <= packed) {
            self.samples.push_back(packed);
        } else {
            let place = self.samples.partition_point(|held| held.0 >> 16 <= packed.0 >> 16);
            self.samples.insert(place, packed);
            self.explained += u8::from(place < usize::from(self.explained));
        }
        self.is_troubled |= !packed.is_plain_pass();
        if self.samples.len() > MAX_SAMPLES {
            self.pop_oldest();
        }
    }

    /// Whether the oldest had been explained.
    fn pop_oldest(&mut self) -> bool {
        self.samples.pop_front();
        let was_explained = self.explained > 0;
        self.explained = self.explained.saturating_sub(1);
        was_explained
    }

    /// Samples that nothing has explained, oldest first.
    fn open(&self) -> impl DoubleEndedIterator<Item = &Packed> {
        self.samples.range(usize::from(self.explained)..)
    }

    fn holds_trouble(&self) -> bool {
        self.open().any(|sample| !sample.is_plain_pass())
    }

    /// Whether a pass that took so long is slow for this cell; learns what is usual from those that are not.
    pub(crate) fn is_slow(&mut self, took: Duration) -> bool {
        let ln = took.as_secs_f32().max(1e-4).ln();
        let known = self.usual_runs >= KNOWN_USUAL;
        if known && took >= LEAST_SLOW && f64::from(ln - self.usual_ln) > SLOW_TIMES.get().ln() {
            return true;
        }
        if !self.is_frozen {
            let weight = if known { 16.0 } else { f32::from(self.usual_runs) + 1.0 };
            self.usual_ln += (ln - self.usual_ln) / weight;
            self.usual_runs = self.usual_runs.saturating_add(1);
        }
        false
    }

    /// Moves samples from before `until` into the base rate, or drops them while frozen; `learn` gets those that moved.
    pub(crate) fn expire(&mut self, until: Timestamp, half_life: Duration, mut learn: impl FnMut(&Sample)) {
        let until = stamp(until);
        while let Some(oldest) = self.samples.front().copied().filter(|oldest| oldest.0 < until) {
            let was_explained = self.pop_oldest();
            if !was_explained && !self.is_frozen && !oldest.is_on_demand() {
                self.fade(oldest.at(), half_life);
                self.runs += 1.0;
                let sample = oldest.sample();
                if let Some((layer, _)) = sample.failed {
                    self.failures[layer as usize] += 1.0;
                }
                learn(&sample);
            }
        }
        if self.is_troubled {
            self.is_troubled = self.holds_trouble();
        }
    }

    /// Lays aside all samples until then, without a trace in the base rate: what an incident that is over explained.
    pub(crate) fn lay_aside(&mut self, until: Timestamp) {
        let until = stamp(until);
        let explained = self.samples.partition_point(|sample| sample.0 <= until);
        self.explained = self.explained.max(u8::try_from(explained).unwrap_or(u8::MAX));
        self.is_troubled = self.holds_trouble();
    }

    /// Samples, oldest first.
    pub(crate) fn samples(&self) -> impl DoubleEndedIterator<Item = Sample> {
        self.open().map(|packed| packed.sample())
    }

    /// Samples that began at or after `from`, whatever explained them, newest first.
    pub(crate) fn all_since(&self, from: Timestamp) -> impl Iterator<Item = Sample> {
        let from = stamp(from);
        self.samples.iter().rev().take_while(move |packed| packed.0 >= from).map(|packed| packed.sample())
    }

    /// Samples that began at or after `from`, newest first.
    pub(crate) fn since(&self, from: Timestamp) -> impl Iterator<Item = Sample> {
        let from = stamp(from);
        self.open().rev().take_while(move |packed| packed.0 >= from).map(|packed| packed.sample())
    }

    /// Samples that began at or after `from` and failed or were slow, newest first.
    pub(crate) fn troubles_since(&self, from: Timestamp) -> impl Iterator<Item = Sample> {
        let from = stamp(from);
        let recent = self.open().rev().take_while(move |packed| packed.0 >= from);
        recent.filter(|packed| !packed.is_plain_pass()).map(|packed| packed.sample())
    }

    /// How many samples began at or after `from`, and how many of them passed or were the endpoint's own word.
    pub(crate) fn count_since(&self, from: Timestamp) -> (u32, u32) {
        let from = stamp(from);
        let (mut runs, mut passed) = (0, 0);
        for packed in self.open().rev().take_while(|packed| packed.0 >= from) {
            runs += 1;
            passed += u32::from(packed.passed() || packed.is_own_fault());
        }
        (runs, passed)
    }

    /// The instant from which samples count in a window that begins at `from`.
    pub(crate) fn counts_from(&self, from: Timestamp) -> Timestamp {
        if self.is_frozen { from.max(self.frozen_from) } else { from }
    }

    /// How many samples began at or after each of these instants, which are in descending order.
    pub(crate) fn counts<const N: usize>(&self, from: &[u64; N]) -> [u32; N] {
        let mut counts = [0; N];
        let (mut window, mut seen) = (0, 0);
        for packed in self.open().rev() {
            while packed.0 < from[window] {
                counts[window] = seen;
                window += 1;
                if window == N {
                    return counts;
                }
            }
            seen += 1;
        }
        counts[window..].fill(seen);
        counts
    }

    /// An instant as [`Cell::counts`] takes it.
    pub(crate) fn mark(at: Timestamp) -> u64 {
        stamp(at)
    }

    /// The newest sample.
    pub(crate) fn newest(&self) -> Option<Sample> {
        self.samples.back().map(|packed| packed.sample())
    }

    /// Start of the newest sample.
    pub(crate) fn newest_at(&self) -> Option<Timestamp> {
        self.samples.back().map(|packed| packed.at())
    }

    /// Chance of a failure at the layer without any fault: the cell's own past, shrunk towards that of its agent.
    pub(crate) fn base_rate(&self, layer: Layer, usual: &UsualRates) -> f64 {
        let earlier: f32 = self.failures[..layer as usize].iter().sum();
        let runs = (self.runs - earlier).max(0.0);
        let rate = (self.failures[layer as usize] + TYPICAL_RUNS * usual.of(layer)) / (runs + TYPICAL_RUNS);
        f64::from(rate.clamp(RATE_RANGE.0, RATE_RANGE.1))
    }

    /// Nats by which a run that passes these layers is less than certain.
    pub(crate) fn pass_nats(&self, layers: &[Layer], usual: &UsualRates) -> f64 {
        layers.iter().map(|layer| Self::of_pass(self.base_rate(*layer, usual))).sum()
    }

    /// -ln(1 - rate) by its series: exact to 2e-5 at the highest base rate, and several times as fast.
    fn of_pass(rate: f64) -> f64 {
        rate * (1.0 + rate * (1.0 / 2.0 + rate * (1.0 / 3.0 + rate * (1.0 / 4.0 + rate / 5.0))))
    }

    fn fade(&mut self, now: Timestamp, half_life: Duration) {
        let Some(keep) = keep(self.faded_at, now, half_life) else { return };
        self.runs *= keep;
        for failures in &mut self.failures {
            *failures *= keep;
        }
        self.faded_at = now;
    }
}

/// What is left after that time, with this half life; `None` for less than a minute, which is often enough.
fn keep(faded_at: Timestamp, now: Timestamp, half_life: Duration) -> Option<f32> {
    let age = now.since(faded_at);
    (age >= Duration::from_mins(1)).then(|| (-age.as_secs_f32() / half_life.as_secs_f32()).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Cause;

    const HALF_LIFE: Duration = Duration::from_hours(16);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn failed(seconds: i64) -> Sample {
        Sample::new(at(seconds), Some((Layer::Connect, Cause::ConnectTimeout)))
    }

    fn passed(seconds: i64) -> Sample {
        Sample::new(at(seconds), None)
    }

    #[test]
    fn samples_that_arrive_out_of_order_stand_in_order() {
        let mut cell = Cell::default();
        for seconds in [5, 1, 3] {
            cell.push(passed(seconds));
        }
        let order: Vec<_> = cell.samples().map(|sample| sample.at.micros() / 1_000_000).collect();
        assert_eq!(order, [1, 3, 5]);
        let marks = |seconds: [i64; 3]| seconds.map(|second| Cell::mark(at(second)));
        assert_eq!(cell.counts(&marks([4, 2, 0])), [1, 2, 3]);
        assert_eq!(cell.counts(&marks([9, 6, 4])), [0, 0, 1]);
        assert_eq!(cell.counts(&marks([0, 0, 0])), [3, 3, 3]);
    }

    #[test]
    fn what_was_explained_is_laid_aside_and_still_known() {
        let mut cell = Cell::default();
        for sample in [failed(1), passed(3), passed(7)] {
            cell.push(sample);
        }
        cell.lay_aside(at(5));
        assert_eq!(cell.samples().count(), 1);
        assert!(!cell.is_troubled);
        assert_eq!(cell.all_since(at(0)).filter(|sample| sample.failed.is_some()).count(), 1);
        cell.push(failed(2)); // late: of what is explained
        assert_eq!((cell.samples().count(), cell.all_since(at(0)).count()), (1, 4));
        cell.expire(at(3), HALF_LIFE, |_| unreachable!("an outage is nothing usual"));
        assert_eq!((cell.samples().count(), cell.all_since(at(0)).count()), (1, 2));
        let mut learned = 0;
        cell.expire(at(9), HALF_LIFE, |_| learned += 1);
        assert_eq!(learned, 1, "only what nothing explained");
    }

    #[test]
    fn an_outage_never_becomes_normal() {
        let (mut frozen, mut learning) = (Cell { is_frozen: true, ..Cell::default() }, Cell::default());
        for seconds in 0..100 {
            frozen.push(failed(seconds));
            learning.push(failed(seconds));
        }
        let mut past = Past::default();
        frozen.expire(at(1000), HALF_LIFE, |_| unreachable!("it is frozen"));
        let usual = past.usual();
        learning.expire(at(1000), HALF_LIFE, |sample| past.learn(sample));
        assert!(frozen.base_rate(Layer::Connect, &usual) < 0.003);
        assert!(learning.base_rate(Layer::Connect, &usual) > 0.19);
        assert!(learning.base_rate(Layer::Http, &usual) < 0.003, "later layers were not tried");
        assert!(frozen.base_rate(Layer::Connect, &past.usual()) > 0.04, "the agent is bad at every target");
    }

    #[test]
    fn what_takes_many_times_its_usual_time_is_slow() {
        let mut cell = Cell::default();
        for _ in 0..10 {
            assert!(!cell.is_slow(Duration::from_millis(80)));
        }
        assert!(!cell.is_slow(Duration::from_millis(500)), "within the noise of the internet");
        assert!(cell.is_slow(Duration::from_secs(2)));
    }
}
