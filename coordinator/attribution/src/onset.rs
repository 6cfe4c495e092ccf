//! Onset: when the world broke, estimated from the samples around the change, not when it was noticed.
//!
//! The likeliest change point of the log likelihood ratio "failing with this share" against the base rate, over the
//! samples of the cells that fail; its half-width covers all change points within two nats. Source: design notes 4.6.

use std::time::Duration;

use crate::time::Timestamp;

/// One sample that bears on the onset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Timestamp,
    pub(crate) failed: bool,
    /// Chance of a failure without any fault.
    pub(crate) rate: f64,
}

/// An estimate of the onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Onset {
    pub(crate) at: Timestamp,
    pub(crate) uncertainty: Duration,
}

/// Change points this many nats worse than the best are still believed.
const BELIEVED_NATS: f64 = 2.0;

/// Estimates the onset of a fault with the failing share `severity`. `None` without a failure.
pub(crate) fn estimate(marks: &mut [Mark], severity: f64) -> Option<Onset> {
    marks.sort_by_key(|mark| (mark.at, mark.failed));
    let mut ratio = 0.0;
    // Nats for "the fault began just before this sample", from the last sample back.
    let mut nats: Vec<f64> = marks
        .iter()
        .rev()
        .map(|mark| {
            let fails = 1.0 - (1.0 - mark.rate) * (1.0 - severity);
            ratio += if mark.failed { (fails / mark.rate).ln() } else { ((1.0 - fails) / (1.0 - mark.rate)).ln() };
            ratio
        })
        .collect();
    nats.reverse();
    let best = nats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !marks.iter().any(|mark| mark.failed) || best <= 0.0 {
        return None;
    }
    let believed = |place: &usize| nats[*place] >= best - BELIEVED_NATS;
    let first = (0..nats.len()).find(believed)?;
    let last = (0..nats.len()).rev().find(believed)?;
    // The change lies between the sample before the first believed one and the last believed one.
    let early = first.checked_sub(1).map_or(marks[first].at, |before| marks[before].at);
    let late = marks[last].at;
    let uncertainty = late.since(early) / 2;
    Some(Onset { at: early.after(uncertainty), uncertainty })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seconds: i64, failed: bool) -> Mark {
        Mark { at: Timestamp::from_micros(seconds * 1_000_000), failed, rate: 0.002 }
    }

    #[test]
    fn the_onset_lies_between_the_last_pass_and_the_first_failure() {
        let mut marks: Vec<Mark> = (0..60).map(|second| mark(second, second >= 40)).collect();
        let onset = estimate(&mut marks, 0.95).expect("onset");
        assert!((39..=40).contains(&(onset.at.micros() / 1_000_000)), "{onset:?}");
        assert!(onset.uncertainty <= Duration::from_secs(1));
    }

    #[test]
    fn one_early_stray_failure_does_not_move_the_onset() {
        let mut marks: Vec<Mark> = (0..60).map(|second| mark(second, second >= 40 || second == 5)).collect();
        let onset = estimate(&mut marks, 0.95).expect("onset");
        assert!((39..=40).contains(&(onset.at.micros() / 1_000_000)), "{onset:?}");
    }

    #[test]
    fn without_a_failure_there_is_no_onset() {
        let mut marks: Vec<Mark> = (0..60).map(|second| mark(second, false)).collect();
        assert_eq!(estimate(&mut marks, 0.95), None);
    }
}
