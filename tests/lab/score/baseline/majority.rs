//! `majority`: every agent votes for the party to which most of its failing endpoints belong, and the majority of the
//! voters wins. What crowd reports amount to, had the crowd been asked politely.
//!
//! Source: design notes 5.3 (3 failures to vote, a fifth of the agents to decide).

use std::collections::BTreeMap;

use super::{Accused, Peer, Rule, Seen, gated};
use crate::scenario::Verdict;

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct Majority {
    /// Failing runs from which an agent votes.
    failures: u32,
    /// Share of the agents that must vote.
    share: f64,
}

impl Default for Majority {
    /// Objective in calibration: 0.437.
    fn default() -> Self {
        Self { failures: 8, share: 0.5 }
    }
}

impl Majority {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let rules =
            [3, 5, 8, 12].into_iter().flat_map(|failures| [0.2, 0.35, 0.5, 0.7].map(|share| Self { failures, share }));
        gated(rules.collect())
    }
}

impl Rule for Majority {
    type Memory = ();

    fn name(&self) -> &'static str {
        "majority"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        // Failing runs, and failing endpoints by party, of every agent that looked.
        let mut agents: BTreeMap<u32, (u32, BTreeMap<Verdict, u32>)> = BTreeMap::new();
        for pair in seen.cells.pairs().iter().filter(|pair| pair.tally.runs() > 0) {
            let (failures, parties) = agents.entry(pair.agent).or_default();
            *failures += pair.tally.failures;
            if pair.tally.failures > 0 {
                *parties.entry(pair.party).or_default() += 1;
            }
        }
        let mut votes: BTreeMap<Verdict, usize> = BTreeMap::new();
        for (_, parties) in agents.values().filter(|(failures, _)| *failures >= self.failures) {
            if let Some((party, _)) = parties.iter().max_by_key(|(_, endpoints)| **endpoints) {
                *votes.entry(*party).or_default() += 1;
            }
        }
        let ballots: usize = votes.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "agents are few")]
        let is_enough = ballots > 0 && ballots as f64 >= self.share * agents.len() as f64;
        let winner = votes.into_iter().find(|(_, count)| 2 * count > ballots).filter(|_| is_enough);
        winner.map(|(party, _)| Accused::Party(party)).into_iter().collect()
    }
}
