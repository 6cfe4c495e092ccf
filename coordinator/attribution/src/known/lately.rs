//! How an agent fared lately: whether it is dark, so that its failures may be those of the cloud region that it sits in.
//!
//! A region whose own machines still look outwards may be down for everybody else, so what they pass does not clear it. But
//! an agent that passes most of what it looks at does not sit in a dark region, and what else it fails is not the region's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Half life of what an agent found. Source: half of the shortest window, so that a region that goes dark is seen as such
/// within it.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(4);

/// Results below which an agent says nothing of how it fares. Source: four failures in a row are one in 10^10 at
/// the typical rate.
const FEW: f32 = 4.0;

/// Results of an agent, the older ones fading. Halves are exact in binary: no order of arrival makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lately {
    runs: f32,
    passed: f32,
}

impl Lately {
    pub(super) fn hear(&mut self, has_passed: bool) {
        self.runs += 1.0;
        self.passed += f32::from(u8::from(has_passed));
    }

    pub(super) fn fade(&mut self) {
        (self.runs, self.passed) = (self.runs / 2.0, self.passed / 2.0);
    }

    /// Whether it passes less than half of what it looks at, or says too little.
    pub(super) fn is_dark(self) -> bool {
        self.runs < FEW || self.passed * 2.0 < self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_dark_while_it_is_silent_or_loses_most() {
        let mut lately = Lately::default();
        assert!(lately.is_dark(), "never heard");
        (0..20).for_each(|_| lately.hear(true));
        (0..15).for_each(|_| lately.hear(false));
        assert!(!lately.is_dark(), "15 of 35 fail");
        lately.fade();
        (0..10).for_each(|_| lately.hear(false));
        assert!(lately.is_dark(), "{lately:?}");
        (0..20).for_each(|_| lately.hear(true));
        assert!(!lately.is_dark(), "{lately:?}");
        (0..5).for_each(|_| lately.fade());
        assert!(lately.is_dark(), "silent");
    }
}
