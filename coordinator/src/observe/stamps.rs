//! Stamps of a batch: the agent's clock taken back to the coordinator's, and whether it can be trusted.
//!
//! Rules: where the agent measured its clock against the coordinator's, that offset is taken off its stamps. A clock that is
//! surely wrong by more than `WRONG` is a fault of the vantage, not of what it measured: its runs are marked. Without a
//! measurement, a batch that was sealed after it arrived comes from a clock that runs ahead.

use std::time::Duration;

use faultline_attribution::Timestamp;
use faultline_proto::{agent::v1::ResultBatch, convert, types::v1::ProbeResult};

/// A clock that is surely off by more than this is wrong. Source: clocks that are kept by NTP agree to well within it.
const WRONG: Duration = Duration::from_secs(1);

/// A batch that was sealed so much after it arrived comes from a clock that runs ahead. Source: clocks that are kept by
/// NTP agree to well within a second, and the log's own clock may be as wrong.
const AHEAD: Duration = Duration::from_secs(2);

/// Larger offsets are no measurement: the clock of neither side was ever set. Source: ten years, as in the fault table of the
/// design notes.
const MOST: Duration = Duration::from_hours(24 * 366 * 10);

/// An agent's clock minus the coordinator's, in microseconds, and how well that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The difference.
    pub micros: i64,
    /// It is known to within this.
    pub bound: Duration,
}

impl Offset {
    /// How far the clock is off at least.
    pub fn error(self) -> Duration {
        Duration::from_micros(self.micros.unsigned_abs()).saturating_sub(self.bound)
    }

    /// Whether the clock is surely wrong.
    pub fn is_suspect(self) -> bool {
        self.error() > WRONG
    }
}

/// An offset as the wire has it; `None` where it was not measured, or cannot be.
pub fn offset(offset: Option<&prost_types::Duration>, bound: Option<&prost_types::Duration>) -> Option<Offset> {
    let offset = offset?;
    let micros = offset.seconds.checked_mul(1_000_000)?.checked_add(i64::from(offset.nanos / 1000))?;
    let bound = convert::std_duration(bound)?;
    let most = i64::try_from(MOST.as_micros()).unwrap_or(i64::MAX);
    (micros.unsigned_abs() <= most.unsigned_abs()).then_some(Offset { micros, bound })
}

/// How to read the stamps of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    offset_micros: i64,
    /// The agent's clock was wrong.
    pub is_clock_suspect: bool,
}

impl Stamps {
    /// Of a batch that was received then.
    pub fn of(batch: &ResultBatch, received_at: Timestamp) -> Self {
        let measured = offset(batch.clock_offset.as_ref(), batch.clock_bound.as_ref());
        let offset_micros = measured.map_or(0, |offset| offset.micros);
        let sealed_at = convert::micros(batch.sealed_at.as_ref()).map(|micros| micros.saturating_sub(offset_micros));
        let is_ahead = sealed_at.is_some_and(|at| Timestamp::from_micros(at).since(received_at) > AHEAD);
        Self { offset_micros, is_clock_suspect: is_ahead || measured.is_some_and(Offset::is_suspect) }
    }

    /// When a run began, by the coordinator's clock.
    pub fn began(&self, result: &ProbeResult) -> Timestamp {
        let began = convert::micros(result.started_at.as_ref()).unwrap_or_default();
        Timestamp::from_micros(began.saturating_sub(self.offset_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn wire(millis: i64) -> prost_types::Duration {
        let nanos = i32::try_from(millis % 1000 * 1_000_000).expect("below a second");
        prost_types::Duration { seconds: millis / 1000, nanos }
    }

    /// Of a batch that says so of its clock, sealed so much after it was received by that clock.
    fn read(offset: Option<i64>, bound: Option<i64>, sealed: i64) -> (i64, bool) {
        let (clock_offset, clock_bound) = (offset.map(wire), bound.map(wire));
        let sealed_at = Some(convert::timestamp(RECEIVED.micros() + sealed * 1000));
        let batch = ResultBatch { sealed_at, clock_offset, clock_bound, ..ResultBatch::default() };
        let stamps = Stamps::of(&batch, RECEIVED);
        let started_at = Some(convert::timestamp(RECEIVED.micros()));
        let began = stamps.began(&ProbeResult { started_at, ..ProbeResult::default() });
        ((began.micros() - RECEIVED.micros()) / 1000, stamps.is_clock_suspect)
    }

    #[test]
    fn a_measured_offset_is_taken_off_and_marks_a_clock_that_is_surely_wrong() {
        assert_eq!(read(Some(400), Some(50), 0), (-400, false));
        assert_eq!(read(Some(-400), Some(50), -400), (400, false));
        assert_eq!(read(Some(1_040), Some(50), 0), (-1_040, false), "it may be right");
        assert_eq!(read(Some(1_060), Some(50), 0), (-1_060, true));
        assert_eq!(read(Some(-3_600_000), Some(50), -3_600_000), (3_600_000, true), "one that runs behind is found");
    }

    #[test]
    fn without_a_measurement_only_a_clock_that_runs_ahead_is_found() {
        assert_eq!(read(None, None, 0), (0, false));
        assert_eq!(read(None, None, 2_001), (0, true));
        assert_eq!(read(None, None, -3_600_000), (0, false), "or it waited in a spool");
        assert_eq!(read(Some(3_000), None, 0), (0, false), "nobody knows how well it is known");
        assert_eq!(read(Some(3_000), Some(10_000), 3_000), (-3_000, false), "sealed as it arrived, once corrected");
    }

    #[test]
    fn offsets_that_nobody_can_have_measured_are_none() {
        for seconds in [i64::MIN, i64::MAX, 400_000_000] {
            let absurd = prost_types::Duration { seconds, nanos: 0 };
            assert_eq!(offset(Some(&absurd), Some(&wire(1))), None);
        }
    }
}
