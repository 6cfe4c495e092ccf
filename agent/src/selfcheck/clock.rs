//! How wrong this machine's clock is, measured by the coordinator's: pure but for reading the agent's clock.
//!
//! Rules: their clock was read between our question (Hello) and their answer (Welcome), so that the error is known to
//! within half of that span. Afterwards the monotonic clock carries theirs on, so that a step of our wall clock shows at
//! once; what the monotonic clock may have drifted widens the bound.

use std::time::Duration;

use faultline_proto::clock::Clock;
use tokio::time::Instant;

/// One question and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// When we asked.
    pub(crate) asked: Instant,
    /// When the answer was here.
    pub(crate) heard: Instant,
    /// What their clock showed in between, in microseconds since the Unix epoch.
    pub(crate) their_micros: i64,
}

/// How far this machine's clock is ahead of the coordinator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockError {
    /// Microseconds; negative when it is behind.
    pub(crate) offset_us: i64,
    /// The truth lies within this many microseconds of it.
    pub(crate) bound_us: i64,
}

impl Exchange {
    /// The error of the clock as it stands.
    pub(crate) fn error(&self, clock: Clock) -> ClockError {
        error(clock.now_micros(), self.their_micros, clock.since(self.asked), clock.since(self.heard))
    }
}

/// The error when our clock shows `ours`, an exchange in which theirs showed `theirs` having begun and ended so long ago.
///
/// Source: RFC 5905, section 8, with the server's two stamps being one; the error is at most half of the round trip.
fn error(ours: i64, theirs: i64, since_asked: Duration, since_heard: Duration) -> ClockError {
    let (asked, heard) = (micros(since_asked), micros(since_heard));
    let theirs = theirs.saturating_add(heard + (asked - heard) / 2);
    let drift = heard / DRIFT_DIVISOR;
    ClockError { offset_us: ours.saturating_sub(theirs), bound_us: (asked - heard) / 2 + 1 + drift }
}

impl ClockError {
    /// What of the error is certain, in microseconds, with its sign.
    pub(crate) fn certain_us(self) -> i64 {
        let certain = self.offset_us.saturating_abs().saturating_sub(self.bound_us).max(0);
        certain * self.offset_us.signum()
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

/// One part in 2,000, 500 ppm. Source: RFC 5905 assumes no worse (its MAXFREQ), and adjtimex(2) slews no faster.
const DRIFT_DIVISOR: i64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_error_is_known_to_half_a_round_trip() {
        // They read their clock somewhere within 200 ms that ended a second ago; ours is ten seconds ahead.
        let ours = 110 * SECOND + 1_100_000;
        let error = error(ours, 100 * SECOND, Duration::from_millis(1_200), Duration::from_secs(1));
        assert_eq!(error.offset_us, 10 * SECOND);
        assert_eq!(error.bound_us, 100_000 + 1 + 500);
        assert_eq!(error.certain_us(), 10 * SECOND - error.bound_us);
    }

    #[test]
    fn an_error_within_its_bound_is_none() {
        let day = Duration::from_hours(24);
        let error = error(40 * SECOND, 86_400 * -SECOND, day, day);
        assert_eq!(error.offset_us, 40 * SECOND);
        assert_eq!(error.certain_us(), 0, "43 s of drift are possible in a day");
    }

    #[test]
    fn a_clock_that_is_behind_has_a_negative_error() {
        let error = error(0, 3_600 * SECOND, Duration::ZERO, Duration::ZERO);
        assert_eq!(error.certain_us(), -3_600 * SECOND + 1);
    }
}
