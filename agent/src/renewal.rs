//! Renewal: a new certificate, with a fresh key, before the old one runs out.
//!
//! Rules: it begins between half and six tenths of a certificate's life, so that a fleet that joined together does not ask
//! together; what fails is tried again for ever, after up to a minute, two ... an hour; a clock that is set is noticed within an
//! hour. Only an identity in one file is renewed: key and certificate cannot part.

use std::{net::IpAddr, time::Duration};

use faultline_proto::clock::Clock;

use crate::{
    config::Coordinator,
    enroll,
    uplink::{Dialer, validity},
};

/// Whether this identity can be replaced whole.
pub(crate) fn is_possible(coordinator: &Coordinator) -> bool {
    coordinator.certificate == coordinator.key
}

/// Renews for as long as the agent runs.
pub(crate) async fn run(coordinator: Coordinator, source: Option<IpAddr>, clock: Clock) {
    let mut share = rand::random();
    let mut failures = 0;
    loop {
        let now_s = clock.now_micros() / 1_000_000;
        let wait = validity(&coordinator).map_or(LOOK, |(from, until)| pause(from, until, now_s, share));
        if !wait.is_zero() {
            clock.sleep(wait.min(LOOK)).await;
            continue;
        }
        let renewed = match Dialer::new(&coordinator, source) {
            Ok(dialer) => enroll::renew(&coordinator, dialer).await,
            Err(error) => Err(error.into()),
        };
        match renewed {
            Ok(()) => {
                (share, failures) = (rand::random(), 0);
                tracing::info!("certificate renewed");
            }
            Err(error) => {
                tracing::warn!(%error, "certificate not renewed");
                clock.sleep(after_failure(failures, rand::random())).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// How long until a certificate is to be renewed that is valid from and until then (seconds since 1970); `share` is 0 to 1.
fn pause(from: i64, until: i64, now: i64, share: f64) -> Duration {
    let life = Duration::from_secs(u64::try_from(until.saturating_sub(from)).unwrap_or(0));
    let age = u64::try_from(now.saturating_sub(from)).unwrap_or(0);
    life.mul_f64(0.5 + share * 0.1).saturating_sub(Duration::from_secs(age))
}

/// How long to wait after so many failures in a row; `share` is 0 to 1.
fn after_failure(failures: u32, share: f64) -> Duration {
    let limit = (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(MAX_DOUBLINGS))).min(LOOK);
    // Never at once: a coordinator that refuses should not hear of it again within a second.
    limit.mul_f64(0.1 + share * 0.9)
}

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_hours(1);
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const MAX_DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_between_half_and_six_tenths_of_its_life() {
        let (from, until) = (1_761_752_473, 1_761_752_473 + 7 * DAY);
        assert_eq!(pause(from, until, from, 0.0), Duration::from_hours(84));
        assert_eq!(pause(from, until, from, 1.0).as_secs(), 362_880);
        assert_eq!(pause(from, until, from + 4 * DAY, 0.0), Duration::ZERO, "due");
        assert!(!pause(from, until, from + 3 * DAY, 0.0).is_zero(), "not yet");
        assert_eq!(pause(from, until, until + DAY, 1.0), Duration::ZERO, "over: it is tried all the same");
        assert_eq!(pause(until, from, from, 0.5), Duration::ZERO, "one that is never valid harms nothing");
    }

    #[test]
    fn what_fails_is_tried_again_ever_later_but_within_the_hour() {
        let longest: Vec<u64> = (0..8).map(|failures| after_failure(failures, 1.0).as_secs()).collect();
        assert_eq!(longest, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(after_failure(u32::MAX, 0.0).as_secs(), 360);
    }
}
