//! `flock`: the most probable set of failed components, found greedily, where a run through a failed one fails with one
//! probability, any other with another, and each failed component costs the same.
//!
//! Source: Harsh et al., "Flock: Accurate Network Fault Localization at Scale", PACMNET 2023: one p1, one p2 and one prior
//! for all components, greedy search that updates the scores of the others. Members that others make needless are
//! dropped, which the paper's beam does in its own way.

use super::{Accused, Peer, Rule, Seen, gated, matrix::Matrix};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct Flock {
    /// Chance that a run through a failed component fails.
    failed: f64,
    /// Chance that any other run fails.
    healthy: f64,
    /// Log prior odds of a failed component.
    prior: f64,
}

impl Default for Flock {
    fn default() -> Self {
        Self { failed: 0.5, healthy: 0.005, prior: -12.0 }
    }
}

impl Flock {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let mut rules = Vec::new();
        for failed in [0.3, 0.5, 0.8] {
            for healthy in [0.01, 0.02, 0.05] {
                rules.extend([-12.0, -16.0, -20.0].map(|prior| Self { failed, healthy, prior }));
            }
        }
        gated(rules)
    }

    /// The failed suspects.
    fn hypothesis(&self, matrix: &Matrix) -> Vec<usize> {
        let (bad, good) = ((self.failed / self.healthy).ln(), ((1.0 - self.failed) / (1.0 - self.healthy)).ln());
        let gain_of = |row: usize| {
            let tally = matrix.tallies()[row];
            f64::from(tally.failures) * bad + f64::from(tally.passes) * good
        };
        let mut gains: Vec<f64> =
            (0..matrix.len()).map(|suspect| matrix.rows(suspect).iter().map(|row| gain_of(*row)).sum()).collect();
        // How many members each cell goes through.
        let mut crossings = vec![0u32; matrix.tallies().len()];
        let mut members: Vec<usize> = Vec::new();
        while members.len() < MAX_MEMBERS {
            let best = matrix.best(|suspect| {
                let gain = gains[suspect] + self.prior;
                (gain > 0.0 && !members.contains(&suspect)).then_some(gain)
            });
            let Some((suspect, _)) = best else { break };
            members.push(suspect);
            for row in matrix.rows(suspect) {
                crossings[*row] += 1;
                if crossings[*row] == 1 {
                    matrix.members(*row).iter().for_each(|other| gains[*other] -= gain_of(*row));
                }
            }
            let needless = members.iter().position(|member| {
                let alone = matrix.rows(*member).iter().filter(|row| crossings[**row] == 1);
                alone.map(|row| gain_of(*row)).sum::<f64>() + self.prior < 0.0
            });
            if let Some(place) = needless {
                let member = members.remove(place);
                for row in matrix.rows(member) {
                    crossings[*row] -= 1;
                    if crossings[*row] == 0 {
                        matrix.members(*row).iter().for_each(|other| gains[*other] += gain_of(*row));
                    }
                }
            }
        }
        members
    }
}

/// Failed components at most; each step raises the posterior, so this only bounds the time.
const MAX_MEMBERS: usize = 64;

impl Rule for Flock {
    type Memory = ();

    fn name(&self) -> &'static str {
        "flock"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let matrix = seen.matrix();
        matrix.elements(&self.hypothesis(matrix)).into_iter().map(Accused::Component).collect()
    }
}
