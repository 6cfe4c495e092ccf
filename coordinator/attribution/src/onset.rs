//! Onset: when the world broke, estimated from the samples around the change, not when it was noticed.
//!
//! The likeliest change point of the log likelihood ratio "failing with this share" against the base rate, over the
//! samples of the cells that exercise what fails; its half-width covers all change points within two nats. Samples are
//! summed in steps of half a second. Source: design notes 4.6.

use std::time::Duration;

use crate::{evidence::SLOW_WEIGHT, time::Timestamp, vocabulary::Layer, window::Cell};

/// An estimate of the onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Onset {
    pub(crate) at: Timestamp,
    pub(crate) uncertainty: Duration,
}

/// Change points this many nats worse than the best are still believed. Source: design notes 4.6; Wilks 1938, 95 % for one
/// parameter are 1.92.
const BELIEVED_NATS: f64 = 2.0;

/// Onsets are told to the second: steps are half of that.
const STEP: Duration = Duration::from_millis(500);

/// Log likelihood ratios over time.
#[derive(Clone, Debug)]
pub(crate) struct Ratios {
    start: Timestamp,
    /// By step; `None` where there is no sample.
    nats: Vec<Option<f64>>,
    any_failed: bool,
}

impl Ratios {
    /// Nothing seen yet between the two.
    pub(crate) fn new(start: Timestamp, end: Timestamp) -> Self {
        // Steps lie where they lie in every search, so that the same samples give the same onset.
        let step = i64::try_from(STEP.as_micros()).unwrap_or(1);
        let start = Timestamp::from_micros(start.micros().div_euclid(step) * step);
        let steps = end.since(start).as_millis() / STEP.as_millis() + 1;
        Self { start, nats: vec![None; usize::try_from(steps).unwrap_or(0)], any_failed: false }
    }

    /// Adds what a cell saw at a layer, a slow pass being part of a failure, with the chance of a failure without any fault, and the share that the fault makes
    /// fail.
    pub(crate) fn add(&mut self, cell: &Cell, layer: Layer, rate: f64, severity: f64) {
        let fails = 1.0 - (1.0 - rate) * (1.0 - severity);
        let (failure, pass) = ((fails / rate).ln(), ((1.0 - fails) / (1.0 - rate)).ln());
        for sample in cell.since(self.start) {
            let Some(is_bad) = sample.is_bad_at(layer) else { continue };
            let ratio = match (is_bad, sample.failed) {
                (true, None) => failure * SLOW_WEIGHT.get(),
                (true, Some(_)) => failure,
                (false, _) => pass,
            };
            self.add_one(sample.at, is_bad, ratio);
        }
    }

    fn add_one(&mut self, at: Timestamp, failed: bool, ratio: f64) {
        let step = usize::try_from(at.since(self.start).as_millis() / STEP.as_millis()).unwrap_or(usize::MAX);
        let Some(nats) = self.nats.get_mut(step) else { return };
        *nats = Some(nats.unwrap_or_default() + ratio);
        self.any_failed |= failed;
    }

    /// The likeliest onset. `None` without a failure.
    pub(crate) fn onset(&self) -> Option<Onset> {
        let seen: Vec<(usize, f64)> =
            self.nats.iter().enumerate().filter_map(|(step, nats)| Some((step, (*nats)?))).collect();
        // Nats for "the fault began just before this step", from the last step back.
        let mut sum = 0.0;
        let mut since: Vec<f64> = seen
            .iter()
            .rev()
            .map(|(_, nats)| {
                sum += nats;
                sum
            })
            .collect();
        since.reverse();
        let best = since.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !self.any_failed || best <= 0.0 {
            return None;
        }
        let believed = |place: &usize| since[*place] >= best - BELIEVED_NATS;
        let first = (0..since.len()).find(believed)?;
        let last = (0..since.len()).rev().find(believed)?;
        // The change lies between the step before the first believed one and the last believed one.
        let early = self.at(first.checked_sub(1).map_or(seen[first].0, |before| seen[before].0));
        let uncertainty = self.at(seen[last].0).since(early) / 2;
        Some(Onset { at: early.after(uncertainty), uncertainty })
    }

    fn at(&self, step: usize) -> Timestamp {
        self.start.after(STEP * u32::try_from(step).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{vocabulary::Cause, window::Sample};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn onset(failed: impl Fn(i64) -> bool) -> Option<Onset> {
        let mut cell = Cell::default();
        for second in 0..60 {
            let failure = failed(second).then_some((Layer::Connect, Cause::ConnectTimeout));
            cell.push(Sample::new(at(second), failure));
        }
        let mut ratios = Ratios::new(at(0), at(60));
        ratios.add(&cell, Layer::Connect, 0.002, 0.95);
        ratios.onset()
    }

    #[test]
    fn the_onset_lies_between_the_last_pass_and_the_first_failure() {
        let onset = onset(|second| second >= 40).expect("onset");
        assert!((39..=40).contains(&(onset.at.micros() / 1_000_000)), "{onset:?}");
        assert!(onset.uncertainty <= Duration::from_secs(1));
    }

    #[test]
    fn one_early_stray_failure_does_not_move_the_onset() {
        let onset = onset(|second| second >= 40 || second == 5).expect("onset");
        assert!((39..=40).contains(&(onset.at.micros() / 1_000_000)), "{onset:?}");
    }

    #[test]
    fn without_a_failure_there_is_no_onset() {
        assert_eq!(onset(|_| false), None);
    }
}
