//! Renewal: a new certificate, with a fresh key, before the old one runs out; and recovery, by the bound key, once it has.
//!
//! Rules: renewal begins between half and six tenths of a certificate's life, so that a fleet that joined together does not ask
//! together; whether a certificate is over is the coordinator's word, heard as its TLS alert, so that an agent whose own clock is
//! wrong neither gives up nor spends its recoveries; what fails is tried again for ever, after up to a minute, two ... an hour, and
//! at once when the uplink finds a coordinator that will not have it, and stands in the agent's status meanwhile; a clock that is set
//! is noticed within an hour. Only an identity in one file is renewed: key and certificate cannot part.

use std::{
    error::Error,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use faultline_proto::clock::Clock;
use rcgen::KeyPair;
use tokio::sync::Notify;

use crate::{
    config::Coordinator,
    enroll::{self, RecoverError},
    run::Shared,
    uplink::{self, Dialer, validity},
};

/// What the uplink and who keeps the identity good tell each other. What is told while nobody waits is heard by the next who does.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    refused: Notify,
    replaced: Notify,
    wanted: Notify,
    is_wanted: AtomicBool,
    turned: Notify,
}

impl Signals {
    /// The coordinator is there, and hangs up on this identity without a reason.
    pub(crate) fn refused(&self) {
        self.refused.notify_one();
    }

    /// The coordinator wants it renewed, though it is good for long.
    pub(crate) fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// Waits until it was renewed because the coordinator wanted that, which will see it in the next session.
    pub(crate) async fn turned(&self) {
        self.turned.notified().await;
    }

    /// Waits until the identity is another.
    pub(crate) async fn replaced(&self) {
        self.replaced.notified().await;
    }
}

/// Whether this identity can be replaced whole.
pub(crate) fn is_possible(coordinator: &Coordinator) -> bool {
    coordinator.certificate == coordinator.key
}

/// Keeps the identity good for as long as the agent runs.
pub(crate) async fn run(coordinator: Coordinator, source: Option<IpAddr>, clock: Clock, shared: Arc<Shared>) {
    let mut keeper = Keeper { coordinator, source, shared, key: None };
    let (mut share, mut failures) = (rand::random(), 0);
    loop {
        let wait = keeper.until_due(clock, share);
        let is_wanted = keeper.shared.identity.is_wanted.load(Ordering::Relaxed);
        let is_due = wait.is_zero() || is_wanted;
        if !is_due {
            tokio::select! {
                () = clock.sleep(wait.min(LOOK)) => continue,
                () = keeper.shared.identity.refused.notified() => {}
                () = keeper.shared.identity.wanted.notified() => {
                    // A fleet hears of it together.
                    clock.sleep(APART.mul_f64(rand::random())).await;
                    continue;
                }
            }
        }
        let pause = match keeper.look_after(is_due).await {
            Ok(done) => {
                keeper.shared.board().identity(None);
                match done {
                    Done::Renewed => tracing::info!("certificate renewed"),
                    Done::Recovered => tracing::info!("certificate was over: recovered by the bound key"),
                    Done::Nothing => {}
                }
                if done != Done::Nothing {
                    keeper.shared.identity.replaced.notify_one();
                }
                if done == Done::Renewed && is_wanted {
                    keeper.shared.identity.is_wanted.store(false, Ordering::Relaxed);
                    keeper.shared.identity.turned.notify_one();
                }
                (share, failures) = (rand::random(), 0);
                // By a clock that is far ahead, a new one is due as well.
                if keeper.until_due(clock, share).is_zero() { LOOK } else { LEAST_PAUSE }
            }
            Err(error) => {
                tracing::warn!(%error, "certificate not renewed");
                keeper.shared.board().identity(Some(&error.to_string()));
                failures = u32::saturating_add(failures, 1);
                after_failure(failures - 1, rand::random())
            }
        };
        clock.sleep(LEAST_PAUSE).await;
        tokio::select! {
            () = clock.sleep(pause.saturating_sub(LEAST_PAUSE)) => {}
            () = keeper.shared.identity.refused.notified(), if pause > LEAST_PAUSE => {}
        }
    }
}

struct Keeper {
    coordinator: Coordinator,
    source: Option<IpAddr>,
    shared: Arc<Shared>,
    /// That of a recovery which has not come to its end: the coordinator counts one for it.
    key: Option<KeyPair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Renewed,
    Recovered,
    /// The certificate is good.
    Nothing,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Keeper {
    /// How long until the certificate is to be renewed; `share` is 0 to 1.
    fn until_due(&self, clock: Clock, share: f64) -> Duration {
        let now_s = clock.now_micros() / 1_000_000;
        validity(&self.coordinator).map_or(LOOK, |(from, until)| pause(from, until, now_s, share))
    }

    /// Renews a certificate that is due, or recovers one that the coordinator calls over.
    async fn look_after(&mut self, is_due: bool) -> Result<Done, Failure> {
        let mut why = None;
        if is_due {
            match self.renew().await {
                Ok(()) => return Ok(Done::Renewed),
                Err(error) => why = Some(error),
            }
        }
        let greeting = uplink::greet(&self.coordinator, self.source);
        let greeted = tokio::time::timeout(PATIENCE, greeting).await;
        match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Err(error) if uplink::is_over(&error) => Ok(self.recover().await.map(|()| Done::Recovered)?),
            Err(error) => Err(why.unwrap_or_else(|| error.into())),
            Ok(()) => why.map_or(Ok(Done::Nothing), Err),
        }
    }

    async fn renew(&self) -> Result<(), Failure> {
        enroll::renew(&self.coordinator, Dialer::new(&self.coordinator, self.source)?).await
    }

    async fn recover(&mut self) -> Result<(), RecoverError> {
        let key = match self.key.take() {
            Some(key) => key,
            None => KeyPair::generate().map_err(|error| RecoverError::Failed(error.to_string()))?,
        };
        let fingerprint = self.shared.machine().fingerprint;
        let recovered = enroll::recover(&self.coordinator, self.source, fingerprint, &key).await;
        self.key = recovered.is_err().then_some(key);
        recovered
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
/// Those who are asked to renew together do so within this.
const APART: Duration = Duration::from_secs(10);
/// Between two attempts, whatever the uplink says.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const MAX_DOUBLINGS: u32 = 6;
/// Real time: to be greeted may take this long.
const PATIENCE: Duration = Duration::from_secs(30);

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
