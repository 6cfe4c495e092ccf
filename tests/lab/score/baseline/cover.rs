//! `score-cover`: of the risk groups that fail on nearly all of their paths, the one that explains most bad paths, and
//! so on until none explains enough.
//!
//! Source: Kompella et al., "IP Fault Localization via Risk Modeling", NSDI 2005 (SCORE): hit ratio and coverage; the
//! threshold of 0.6 is deTector's (ATC 2017).

use super::{Accused, Peer, Rule, Seen, gated};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct ScoreCover {
    /// Share of a group's paths that must be bad.
    hit_ratio: f64,
    /// Bad paths that the blamed must explain.
    cover: u32,
    /// Share of failing runs from which a path is bad.
    bad: f64,
}

impl Default for ScoreCover {
    /// Objective in calibration: 0.551.
    fn default() -> Self {
        Self { hit_ratio: 0.5, cover: 8, bad: 0.5 }
    }
}

impl ScoreCover {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let mut rules = Vec::new();
        for hit_ratio in [0.5, 0.6, 0.8] {
            for cover in [2, 4, 8] {
                rules.extend([0.5, 0.9].map(|bad| Self { hit_ratio, cover, bad }));
            }
        }
        gated(rules)
    }
}

impl Rule for ScoreCover {
    type Memory = ();

    fn name(&self) -> &'static str {
        "score-cover"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let matrix = seen.matrix();
        let mut is_bad: Vec<bool> =
            matrix.tallies().iter().map(|tally| tally.failures > 0 && tally.share() >= self.bad).collect();
        let mut covers = matrix.covers(&is_bad);
        let hit_ratios: Vec<f64> = (0..matrix.len())
            .map(|suspect| {
                f64::from(covers[suspect]) / u32::try_from(matrix.rows(suspect).len()).map_or(1.0, f64::from)
            })
            .collect();
        let mut blamed = Vec::new();
        loop {
            let best = matrix.best(|suspect| {
                // Equal coverage: the higher hit ratio wins.
                (hit_ratios[suspect] >= self.hit_ratio && covers[suspect] >= self.cover.max(1))
                    .then(|| f64::from(covers[suspect]) + hit_ratios[suspect] / 2.0)
            });
            let Some((suspect, _)) = best else { break };
            blamed.push(suspect);
            matrix.explain(suspect, &mut is_bad, &mut covers);
        }
        matrix.elements(&blamed).into_iter().map(Accused::Component).collect()
    }
}
