//! Agreement: for how many ticks in a row the same was found.
//!
//! Rule: ticks that follow a result at once, within [`APART`] of one that counted, say the same by the same evidence and do not
//! count (`ticks_close_together_agree_no_sooner`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Ticks in a row that must agree before anything is published or changed. Source: design notes 4.6.
const AGREEING: u32 = 2;

/// Ticks closer together than this count as one. Source: regular ticks are a second apart, less what timers are early by.
const APART: Duration = Duration::from_millis(900);

/// What ticks in a row agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agreement {
    ticks: u32,
    counted_at: Timestamp,
}

impl Agreement {
    /// With one more tick that found the same.
    pub(super) fn and(self, now: Timestamp) -> Self {
        if self.ticks > 0 && now.since(self.counted_at) < APART {
            return self;
        }
        Self { ticks: self.ticks.saturating_add(1), counted_at: now }
    }

    /// Whether enough ticks agree.
    pub(super) fn is_reached(self) -> bool {
        self.ticks >= AGREEING
    }

    /// Whether any tick found it.
    pub(super) fn is_begun(self) -> bool {
        self.ticks > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_close_together_agree_no_sooner() {
        let start = Timestamp::from_micros(1_761_752_474_000_000);
        let mut agreement = Agreement::default();
        for millis in (0..900).step_by(50) {
            agreement = agreement.and(start.after(Duration::from_millis(millis)));
            assert!(agreement.is_begun() && !agreement.is_reached(), "after {millis} ms");
        }
        assert!(agreement.and(start.after(Duration::from_millis(900))).is_reached());
        assert!(Agreement::default().and(start).and(start.after(Duration::from_secs(1))).is_reached());
    }
}
