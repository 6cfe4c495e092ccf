//! The one place where the wall clock is read, by agent and coordinator alike.
//!
//! Rules: everything that waits, times out or stamps goes through a [`Clock`], so that an emulated internet can run
//! faster than life: a clock of speed K shows K seconds for each real one, and waits a K-th of what it is told.
//! Engine settings know nothing of it.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// A wall clock and the speed at which it runs.
#[derive(Clone, Copy)]
pub struct Clock {
    emulated: Option<Emulated>,
}

#[derive(Clone, Copy)]
struct Emulated {
    began: Instant,
    began_micros: i64,
    speed: f64,
    jumped: Option<&'static AtomicI64>,
}

/// The limit of a [`Clock::timeout`] passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// The system's clock, at the speed of life; follows adjustments of the system's time.
    pub const fn system() -> Self {
        Self { emulated: None }
    }

    /// A clock that shows the system's time now and runs at `speed` (1 to 1000) times the speed of life.
    pub fn emulated(speed: f64) -> Self {
        let speed = if speed.is_finite() { speed.clamp(1.0, 1000.0) } else { 1.0 };
        Self { emulated: Some(Emulated { began: Instant::now(), began_micros: system_micros(), speed, jumped: None }) }
    }

    /// A clock that shows `began_micros` now and goes on at the speed of life, as tokio's time passes: under virtual time
    /// the same start gives the same stamps. What `jumped` holds, in microseconds, is added to what it shows: a wall clock
    /// that somebody sets. Nothing that waits notices.
    pub fn starting_at(began_micros: i64, jumped: &'static AtomicI64) -> Self {
        Self { emulated: Some(Emulated { began: Instant::now(), began_micros, speed: 1.0, jumped: Some(jumped) }) }
    }

    /// Microseconds since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        match self.emulated {
            None => system_micros(),
            Some(emulated) => {
                let jumped = emulated.jumped.map_or(0, |jumped| jumped.load(Ordering::Relaxed));
                let shown = emulated.began_micros.saturating_add(saturating_micros(self.since(emulated.began)));
                shown.saturating_add(jumped)
            }
        }
    }

    /// Time shown by this clock since the instant; monotonic.
    pub fn since(&self, instant: Instant) -> Duration {
        instant.elapsed().mul_f64(self.speed())
    }

    /// How long a span of this clock's time takes in reality.
    pub fn real(&self, span: Duration) -> Duration {
        span.div_f64(self.speed())
    }

    /// How many seconds this clock shows for each real one.
    pub fn speed(&self) -> f64 {
        self.emulated.map_or(1.0, |emulated| emulated.speed)
    }

    /// Waits until this clock has moved on by `span`.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// The future's value, or [`Elapsed`] once this clock has moved on by `limit`.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), future).await.map_err(|_| Elapsed)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock(x{})", self.speed())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system_micros() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => saturating_micros(since),
        Err(before) => saturating_micros(before.duration()).saturating_neg(),
    }
}

fn saturating_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_emulated_clock_runs_at_its_speed() {
        let clock = Clock::emulated(10.0);
        let before = clock.now_micros();
        clock.sleep(Duration::from_secs(30)).await;
        let shown = clock.now_micros() - before;
        assert!((30_000_000..30_100_000).contains(&shown), "{shown} us");
        assert_eq!(clock.real(Duration::from_secs(30)), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_shows_it_and_waits_as_before() {
        static JUMPED: AtomicI64 = AtomicI64::new(0);
        let (clock, began) = (Clock::starting_at(1_000_000, &JUMPED), Instant::now());
        clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.now_micros(), 3_000_000);
        JUMPED.store(-7_000_000, Ordering::Relaxed);
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!((clock.now_micros(), clock.since(began)), (-3_000_000, Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_in_the_clocks_own_time() {
        let clock = Clock::emulated(10.0);
        let late = clock.timeout(Duration::from_secs(5), tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!(late, Err(Elapsed));
    }
}
