//! `tomo`: whatever lies on a good path is innocent; of the rest, the smallest set that covers the bad paths, greedily.
//!
//! Source: Dhamdhere et al., 2007 (Tomo, of the `NetDiagnoser` paper). Paths are cells; a bad one fails more often than a
//! share of its runs, a good one never.

use super::{Accused, Peer, Rule, Seen, gated};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct Tomo {
    /// Share of failing runs from which a path is bad.
    bad: f64,
    /// Bad paths that the blamed must cover.
    cover: u32,
}

impl Default for Tomo {
    /// Objective in calibration: 0.378.
    fn default() -> Self {
        Self { bad: 0.5, cover: 8 }
    }
}

impl Tomo {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let bads = [0.5, 0.9];
        gated(bads.into_iter().flat_map(|bad| [1, 2, 4, 8].map(|cover| Self { bad, cover })).collect())
    }
}

impl Rule for Tomo {
    type Memory = ();

    fn name(&self) -> &'static str {
        "tomo"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let matrix = seen.matrix();
        let mut is_bad: Vec<bool> =
            matrix.tallies().iter().map(|tally| tally.failures > 0 && tally.share() >= self.bad).collect();
        let is_innocent: Vec<bool> = (0..matrix.len())
            .map(|suspect| matrix.rows(suspect).iter().any(|row| matrix.tallies()[*row].failures == 0))
            .collect();
        let mut covers = matrix.covers(&is_bad);
        let mut blamed = Vec::new();
        loop {
            let best = matrix.best(|suspect| {
                (!is_innocent[suspect] && covers[suspect] >= self.cover.max(1)).then(|| f64::from(covers[suspect]))
            });
            let Some((suspect, _)) = best else { break };
            blamed.push(suspect);
            matrix.explain(suspect, &mut is_bad, &mut covers);
        }
        matrix.elements(&blamed).into_iter().map(Accused::Component).collect()
    }
}
