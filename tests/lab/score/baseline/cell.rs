//! What the peers count: an agent at a target, layer by layer and all told.

use faultline_attribution::{Layer, Timestamp};

use crate::scenario::Verdict;

/// Failures and passes in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) failures: u32,
    pub(crate) passes: u32,
}

impl Tally {
    /// All of them.
    pub(crate) fn runs(self) -> u32 {
        self.failures + self.passes
    }

    /// Share that failed; 0 of none.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.failures) / f64::from(self.runs().max(1))
    }

    pub(super) fn count(&mut self, is_failure: bool) {
        *if is_failure { &mut self.failures } else { &mut self.passes } += 1;
    }

    pub(super) fn discount(&mut self, is_failure: bool) {
        *if is_failure { &mut self.failures } else { &mut self.passes } -= 1;
    }
}

/// One agent looking at one target at one layer.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) pair: u32,
    pub(crate) layer: Layer,
    pub(crate) tally: Tally,
    pub(super) components: Box<[u32]>,
    pub(super) with_access: Box<[u32]>,
}

impl Cell {
    /// Components that its runs go through, by number, in order, without the region that the agent sits in.
    pub(crate) fn own_components(&self) -> &[u32] {
        &self.components
    }
}

/// One agent looking at one target.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) agent: u32,
    /// Whose the target looks like from outside: its front's, else its host's.
    pub(crate) party: Verdict,
    /// Where the target is, by number: its front, else its region, else its cloud.
    pub(crate) location: u32,
    pub(crate) tally: Tally,
    /// Newest run and whether it failed.
    pub(crate) last: Option<(Timestamp, bool)>,
}
