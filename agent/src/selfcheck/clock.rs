//! How wrong this machine's clock is, measured by the coordinator's: pure but for reading the agent's clock.
//!
//! Rules: their clock was read between our question (Hello, a heartbeat) and their answer (Welcome, its ack), so that the
//! error is known to within half of that span. Afterwards the monotonic clock carries theirs on, so that a step of our wall
//! clock shows at once; what the monotonic clock may have drifted widens the bound. Of several exchanges the one with the
//! least bound counts, as long as it does not contradict the newest: then a clock was set.

use std::time::Duration;

use faultline_proto::{clock::Clock, convert};
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
pub struct ClockError {
    /// Microseconds; negative when it is behind.
    pub offset_us: i64,
    /// The truth lies within this many microseconds of it.
    pub bound_us: i64,
}

impl Exchange {
    /// The error of the clock as it stands.
    pub(crate) fn error(&self, clock: Clock) -> ClockError {
        error(clock.now_micros(), self.their_micros, clock.since(self.asked), clock.since(self.heard))
    }

    /// The better of this one and one before it.
    pub(crate) fn or(self, before: Option<Self>, clock: Clock) -> Self {
        let Some(before) = before else { return self };
        if self.error(clock).outdoes(before.error(clock)) { self } else { before }
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

    /// Whether this, measured later, is closer, or cannot be true together with the other.
    fn outdoes(self, before: Self) -> bool {
        let apart = self.offset_us.saturating_sub(before.offset_us).saturating_abs();
        self.bound_us <= before.bound_us || apart > self.bound_us.saturating_add(before.bound_us)
    }
}

/// A wire duration from microseconds of either sign.
pub(crate) fn signed_duration(micros: i64) -> prost_types::Duration {
    let mut duration = convert::duration(Duration::from_micros(micros.unsigned_abs()));
    if micros < 0 {
        (duration.seconds, duration.nanos) = (-duration.seconds, -duration.nanos);
    }
    duration
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

    #[test]
    fn the_closest_exchange_counts_until_a_clock_is_set() {
        let error = |offset_us, bound_us| ClockError { offset_us, bound_us };
        assert!(error(100, 40).outdoes(error(120, 50)), "closer");
        assert!(!error(100, 60).outdoes(error(120, 50)), "wider, and in accord");
        assert!(error(1_000, 60).outdoes(error(120, 50)), "both cannot be true");
        assert!(error(i64::MIN, 60).outdoes(error(i64::MAX, 50)));
    }

    #[test]
    fn a_span_of_either_sign_goes_on_the_wire() {
        let wire = |micros| (signed_duration(micros).seconds, signed_duration(micros).nanos);
        assert_eq!(wire(1_500_000), (1, 500_000_000));
        assert_eq!(wire(-1_500_000), (-1, -500_000_000));
    }
}
