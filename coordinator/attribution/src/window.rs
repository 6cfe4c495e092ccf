//! Windows: the recent samples of every cell (one agent looking at one target), and the base rates behind them.
//!
//! Samples within the horizon are kept one by one, in order of their start. Older ones melt into a base rate per
//! layer, which forgets with a half life. Rule: base rates of cells that an open incident touches stand still, so that
//! an outage never becomes normal.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    time::Timestamp,
    vocabulary::{Cause, Layer},
};

/// One run, as far as the window remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Start of the run.
    pub at: Timestamp,
    /// Layer and cause of the failure; `None` when all layers passed.
    pub failed: Option<(Layer, Cause)>,
    /// The failure speaks of the endpoint alone (a 4xx answer).
    pub own_fault: bool,
}

impl Sample {
    /// Whether the sample says anything about the layer, and if so, whether it failed there.
    pub fn failed_at(&self, layer: Layer) -> Option<bool> {
        match self.failed {
            None => Some(false),
            Some((failed, _)) if layer < failed => Some(false),
            Some((failed, _)) if layer == failed => Some(true),
            Some(_) => None,
        }
    }
}

/// Runs and failures of the past, weighted by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Base {
    runs: f64,
    failures: f64,
}

/// Chance of a failure at a layer without any fault, before anything is known of the cell.
///
/// Source: order of magnitude of the recorded checks behind this project (0.1 to 0.5 % of runs fail for no visible
/// reason).
const TYPICAL_RATE: f64 = 0.002;

/// Runs that the typical rate is worth. Source: design notes 4.3.
const TYPICAL_RUNS: f64 = 200.0;

/// Base rates stay within these: one clean day proves no perfection, and a target that mostly fails proves nothing.
const RATE_RANGE: (f64, f64) = (1e-3, 0.2);

/// Samples that a cell keeps at most: a 10 s interval fills 30 in the horizon, bursts a few more.
const MAX_SAMPLES: usize = 128;

/// One agent looking at one target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cell {
    samples: VecDeque<Sample>,
    base: [Base; 4],
    faded_at: Timestamp,
}

impl Cell {
    /// Adds a sample in its place. Beyond the bound the oldest is forgotten.
    pub fn push(&mut self, sample: Sample) {
        let place = self.samples.iter().rposition(|held| held.at <= sample.at).map_or(0, |last| last + 1);
        self.samples.insert(place, sample);
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Moves samples from before `until` into the base rate, or drops them while `frozen`.
    pub fn expire(&mut self, until: Timestamp, half_life: Duration, frozen: bool) {
        while let Some(oldest) = self.samples.front().copied() {
            if oldest.at >= until {
                break;
            }
            self.samples.pop_front();
            if frozen {
                continue;
            }
            self.fade(oldest.at, half_life);
            self.absorb(&oldest);
        }
    }

    /// Forgets all samples without a trace in the base rate: what an incident that is over explained.
    pub fn forget_until(&mut self, until: Timestamp) {
        self.samples.retain(|sample| sample.at > until);
    }

    /// Samples, oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// Start of the newest sample.
    pub fn newest(&self) -> Option<Timestamp> {
        self.samples.back().map(|sample| sample.at)
    }

    /// Chance of a failure at the layer without any fault: the cell's own past, shrunk towards the typical rate.
    pub fn base_rate(&self, layer: Layer) -> f64 {
        let base = self.base[layer as usize];
        let rate = (base.failures + TYPICAL_RUNS * TYPICAL_RATE) / (base.runs + TYPICAL_RUNS);
        rate.clamp(RATE_RANGE.0, RATE_RANGE.1)
    }

    fn fade(&mut self, now: Timestamp, half_life: Duration) {
        let keep = (-now.since(self.faded_at).as_secs_f64() / half_life.as_secs_f64()).exp2();
        for base in &mut self.base {
            base.runs *= keep;
            base.failures *= keep;
        }
        self.faded_at = self.faded_at.max(now);
    }

    fn absorb(&mut self, sample: &Sample) {
        for layer in Layer::ALL {
            let Some(failed) = sample.failed_at(*layer) else { continue };
            let base = &mut self.base[*layer as usize];
            base.runs += 1.0;
            base.failures += f64::from(u8::from(failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn failed(seconds: i64) -> Sample {
        Sample { at: at(seconds), failed: Some((Layer::Connect, Cause::ConnectTimeout)), own_fault: false }
    }

    fn passed(seconds: i64) -> Sample {
        Sample { at: at(seconds), failed: None, own_fault: false }
    }

    #[test]
    fn a_failure_says_nothing_of_later_layers() {
        let sample = failed(0);
        assert_eq!(sample.failed_at(Layer::Dns), Some(false));
        assert_eq!(sample.failed_at(Layer::Connect), Some(true));
        assert_eq!(sample.failed_at(Layer::Http), None);
    }

    #[test]
    fn samples_that_arrive_out_of_order_stand_in_order() {
        let mut cell = Cell::default();
        for seconds in [5, 1, 3] {
            cell.push(passed(seconds));
        }
        let order: Vec<_> = cell.samples().map(|sample| sample.at.micros() / 1_000_000).collect();
        assert_eq!(order, [1, 3, 5]);
    }

    #[test]
    fn an_outage_never_becomes_normal() {
        let half_life = Duration::from_hours(16);
        let (mut frozen, mut learning) = (Cell::default(), Cell::default());
        for seconds in 0..100 {
            frozen.push(failed(seconds));
            learning.push(failed(seconds));
        }
        frozen.expire(at(1000), half_life, true);
        learning.expire(at(1000), half_life, false);
        assert!(frozen.base_rate(Layer::Connect) < 0.003);
        assert!(learning.base_rate(Layer::Connect) > 0.19);
        assert!(learning.base_rate(Layer::Http) < 0.003, "later layers were not tried");
    }
}
