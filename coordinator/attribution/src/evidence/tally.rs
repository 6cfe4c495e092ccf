//! What a cell brings to a layer: failures by whose word they are, slow passes, passes.

use crate::{
    assumption::Assumption,
    engine::Maker,
    vocabulary::{Cause, Layer},
    window::Sample,
};

/// How much of a failure a slow pass is: weak evidence of trouble, and no evidence of health. Calibrated: `faultline-lab
/// calibrate slow-weight`.
pub(crate) static SLOW_WEIGHT: Assumption = Assumption::new("slow-weight", 0.5);

/// What a cell brings to one layer of one window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) failed: f64,
    pub(super) slow: f64,
    /// Failures whose answer the origin wrote: what stands in front of it passed them on.
    pub(super) origin: f64,
    /// Failures that are the endpoint's own word.
    pub(super) own: f64,
    /// The same where it refuses only a few agents: no outage, and what carries it has delivered.
    pub(super) refused: f64,
    pub(super) passed: f64,
    /// The cause seen most, and by how much it leads; exact where one cause has the majority.
    pub(super) cause: Option<(Cause, u32)>,
}

impl Tally {
    pub(super) fn add(&mut self, sample: &Sample, layer: Layer, is_refused: bool) {
        match sample.failed_at(layer) {
            Some(true) if sample.own_fault && is_refused => self.refused += 1.0,
            Some(true) if sample.own_fault => self.own += 1.0,
            Some(true) if sample.maker == Some(Maker::Origin) => self.origin += 1.0,
            Some(true) => self.failed += 1.0,
            Some(false) if sample.slow == Some(layer) => {
                self.failed += SLOW_WEIGHT.get();
                self.slow += 1.0;
            }
            Some(false) => self.passed += 1.0,
            None => {}
        }
        if let Some((failed, cause)) = sample.failed
            && failed == layer
            && !(is_refused && sample.own_fault)
        {
            self.cause = match self.cause {
                Some((held, lead)) if held == cause => Some((held, lead + 1)),
                Some((held, lead)) if lead > 1 => Some((held, lead - 1)),
                _ => Some((cause, 1)),
            };
        }
    }

    pub(super) fn failures(&self) -> f64 {
        self.failed + self.origin + self.own
    }

    pub(super) fn runs(&self) -> f64 {
        self.failures() + self.passed
    }
}
