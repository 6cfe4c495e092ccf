//! The lab's own lag: a machine that cannot keep up must not have its overload judged as an outage.

use std::time::Duration;

use faultline_proto::clock::Clock;
use tokio::time::{self, Instant};

/// How often the lag is measured.
const BEAT: Duration = Duration::from_millis(25);

/// Lag of the emulated clock that is too much: a third of a probe's default timeout.
const TOO_MUCH: Duration = Duration::from_millis(1700);

/// Beats in a row that must be late: one alone is a hiccup that no probe notices.
const BEATS: u32 = 4;

/// Measures how late timers fire.
pub struct Lag {
    clock: Clock,
    late: u32,
}

impl Lag {
    /// A measure by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, late: 0 }
    }

    /// Ends when the machine is too slow for the clock's speed, with what to do.
    pub async fn too_much(&mut self) -> String {
        loop {
            let began = Instant::now();
            time::sleep(BEAT).await;
            let lag = self.clock.since(began).saturating_sub(BEAT.mul_f64(self.clock.speed()));
            self.late = if lag > TOO_MUCH { self.late + 1 } else { 0 };
            if self.late >= BEATS {
                let speed = self.clock.speed();
                return format!(
                    "too slow for --speed {speed}: timers are {:.1} s late; use a lower speed",
                    lag.as_secs_f64()
                );
            }
        }
    }
}
