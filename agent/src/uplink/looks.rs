//! `RunNow`: what the coordinator wants looked at again, put into this agent's time and handed to the driver.
//!
//! Rules: it never waits for the driver; a request without a deadline, or past it, is counted and dropped; no more of
//! one is kept than the schedule reads, however much was sent.

use std::time::Duration;

use faultline_proto::{
    agent::v1::{LookRefusal, RunNow, Welcome},
    clock::Clock,
    convert,
};
use tokio::time::Instant;

use super::Uplink;
use crate::{run::LookAgain, schedule::looks::MOST_WAITING};

/// The coordinator's clock as Welcome showed it, moved on by this machine's monotonic one: neither machine's wall clock
/// need be right, or stay as it is.
pub(super) struct TheirClock {
    clock: Clock,
    welcomed: Instant,
    /// What their clock showed then; `None` when they did not say.
    server_time: Option<i64>,
}

impl TheirClock {
    pub(super) fn new(welcome: &Welcome, clock: Clock) -> Self {
        Self { clock, welcomed: Instant::now(), server_time: convert::micros(welcome.server_time.as_ref()) }
    }

    /// Their deadline in this agent's time, which shows `now`.
    fn deadline(&self, deadline: i64, now: i64) -> i64 {
        let Some(server_time) = self.server_time else { return deadline };
        here(deadline, server_time, self.clock.since(self.welcomed), now)
    }
}

/// What this agent's clock, at `now`, will show at the deadline of a clock that showed `server_time` an `age` ago.
fn here(deadline: i64, server_time: i64, age: Duration, now: i64) -> i64 {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    now.saturating_add(deadline.saturating_sub(server_time).saturating_sub(age))
}

impl Uplink {
    pub(super) fn take_run_now(&self, run_now: RunNow, their_clock: &TheirClock) {
        let RunNow { mut slots, deadline } = run_now;
        let (now, asked) = (self.clock.now_micros(), slots.len());
        let deadline = convert::micros(deadline.as_ref()).map(|deadline| their_clock.deadline(deadline, now));
        let Some(deadline) = deadline.filter(|deadline| now <= *deadline) else {
            return self.shared.refuse_looks(LookRefusal::Expired, asked);
        };
        tracing::debug!(asked, "asked to look again");
        slots.truncate(MOST_WAITING);
        let kept = slots.len();
        let refused = match self.ask.try_send(LookAgain { slots, deadline }) {
            Ok(()) => asked - kept,
            Err(_) => asked,
        };
        if refused > 0 {
            self.shared.refuse_looks(LookRefusal::Crowded, refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_deadline_needs_no_common_clock() {
        // This machine is an hour behind; of the five seconds that were given two went by since Welcome.
        let deadline = here(3_605 * SECOND, 3_600 * SECOND, Duration::from_secs(2), 2 * SECOND);
        assert_eq!(deadline, 5 * SECOND);
        assert_eq!(here(3_601 * SECOND, 3_600 * SECOND, Duration::from_secs(2), 2 * SECOND), SECOND, "past");
    }

    #[test]
    fn absurd_deadlines_are_only_late_or_far() {
        assert!(here(i64::MIN, i64::MAX, Duration::MAX, 0) < 0);
        assert!(here(i64::MAX, i64::MIN, Duration::ZERO, 0) > 0);
    }
}
