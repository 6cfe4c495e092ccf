//! `007`: every failed flow gives 1/h of a vote to each of the h components of its path; the component with most votes
//! is blamed, the flows that it explains are taken out, and so on while the best has a share of all votes.
//!
//! Source: Arzani et al., "007: Democratically Finding the Cause of Packet Drops", NSDI 2018, Algorithm 1, where the
//! share is 1 %. Successes have no vote. The paper leaves ties open; here the component with fewer cells wins them,
//! else every endpoint would lose to its region.

use super::{Accused, Peer, Rule, Seen, gated};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct Votes {
    /// Share of all votes that the blamed must have.
    share: f64,
    /// Votes that the blamed must have.
    votes: f64,
}

impl Default for Votes {
    /// Objective in calibration: 0.484.
    fn default() -> Self {
        Self { share: 0.05, votes: 1.0 }
    }
}

impl Votes {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let shares = [0.02, 0.05, 0.1, 0.2];
        gated(shares.into_iter().flat_map(|share| [1.0, 3.0].map(|votes| Self { share, votes })).collect())
    }
}

/// What a cell more costs in a tie: less than any real difference of votes.
const TIE: f64 = 1e-7;

impl Rule for Votes {
    type Memory = ();

    fn name(&self) -> &'static str {
        "007"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let matrix = seen.matrix();
        let mut votes = vec![0.0; matrix.len()];
        let ballot = |row: usize| f64::from(matrix.tallies()[row].failures) / f64::from(matrix.hops(row));
        let failed: u32 = matrix.tallies().iter().map(|tally| tally.failures).sum();
        for row in 0..matrix.tallies().len() {
            for suspect in matrix.members(row) {
                votes[*suspect] += ballot(row);
            }
        }
        let floor = (self.share * f64::from(failed)).max(self.votes);
        let mut is_explained = vec![false; matrix.tallies().len()];
        let mut blamed = Vec::new();
        loop {
            let best = matrix.best(|suspect| {
                let width = u32::try_from(matrix.rows(suspect).len()).map_or(0.0, f64::from);
                (votes[suspect] > 1e-9 && votes[suspect] >= floor).then(|| votes[suspect] - TIE * width)
            });
            let Some((suspect, _)) = best else { break };
            blamed.push(suspect);
            for row in matrix.rows(suspect) {
                if !std::mem::replace(&mut is_explained[*row], true) {
                    for other in matrix.members(*row) {
                        votes[*other] -= ballot(*row);
                    }
                }
            }
        }
        matrix.elements(&blamed).into_iter().map(Accused::Component).collect()
    }
}
