//! One run as a trail of cells, and whether it is heard at all.

use std::time::Duration;

use faultline_attribution::{Cause, Layer, Observation, Outcome, Timestamp};

/// What arrives later than this after its start is not heard.
///
/// Source: the engine's own bound (`Settings::late`).
pub(super) const LATE: Duration = Duration::from_mins(2);

/// The cells that a run went through; the last of them is where a failed one failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail {
    pub(super) cells: [u32; Layer::ALL.len()],
    pub(super) length: u8,
    /// Whether it failed.
    pub(crate) is_failure: bool,
}

impl Trail {
    /// Numbers of the cells, by layer.
    pub(crate) fn cells(&self) -> &[u32] {
        &self.cells[..usize::from(self.length)]
    }

    /// The same, each with whether the run failed there.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u32, bool)> {
        let last = self.length.wrapping_sub(1);
        (0..).zip(self.cells()).map(move |(place, cell)| (*cell, self.is_failure && place == last))
    }
}

/// The failed layer, if any; `None` when the run says nothing.
#[expect(clippy::option_option, reason = "outside: whether the run says anything; inside: where it failed")]
pub(super) fn heard(observation: &Observation) -> Option<Option<Layer>> {
    if observation.is_late || observation.received_at.since(observation.at) > LATE {
        return None;
    }
    match observation.outcome {
        Outcome::Passed => Some(None),
        Outcome::Failed { cause: Cause::HttpStatus, .. }
            if observation.status.is_some_and(|status| (400..500).contains(&status)) =>
        {
            Some(None)
        }
        Outcome::Failed { layer, .. } => Some(Some(layer)),
        Outcome::Unmeasured { .. } => None,
    }
}

/// When the run began, as far as anybody knows.
pub(crate) fn begun(observation: &Observation) -> Timestamp {
    if observation.is_clock_suspect { observation.received_at } else { observation.at }
}
