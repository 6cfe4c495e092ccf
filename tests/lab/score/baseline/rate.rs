//! `rate-alert`: the rule that a Prometheus user writes,
//! `sum by(provider)(rate(probe_failures[1m])) / sum by(provider)(rate(probes[1m])) > x` with `for: 2m`; and
//! `rate-alert-fast`, the same without waiting.
//!
//! Source: design notes 5.3 (5 % won). When only what is on neither cloud alerts, it is neither.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::Timestamp;

use super::{Accused, Peer, Rule, Seen, cell::Tally};
use crate::scenario::Verdict;

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct RateAlert {
    /// Share of failing runs above which it is pending.
    share: f64,
    /// How long it must be.
    hold: Duration,
}

impl Default for RateAlert {
    /// Objective in calibration: 0.313; 0.340 without waiting.
    fn default() -> Self {
        Self { share: 0.05, hold: Duration::from_mins(2) }
    }
}

impl RateAlert {
    /// The rule that does not wait.
    pub(super) fn fast() -> Self {
        Self { hold: Duration::ZERO, ..Self::default() }
    }

    pub(super) fn grid() -> Vec<Peer<Self>> {
        SHARES.iter().map(|share| Peer { rule: Self { share: *share, ..Self::default() }, gate: None }).collect()
    }

    pub(super) fn fast_grid() -> Vec<Peer<Self>> {
        SHARES.iter().map(|share| Peer { rule: Self { share: *share, ..Self::fast() }, gate: None }).collect()
    }
}

const SHARES: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5];

impl Rule for RateAlert {
    /// Since when each party's alert is pending.
    type Memory = BTreeMap<Verdict, Timestamp>;

    fn name(&self) -> &'static str {
        if self.hold.is_zero() { "rate-alert-fast" } else { "rate-alert" }
    }

    fn accuse(&self, seen: &Seen<'_>, pending: &mut Self::Memory) -> Vec<Accused> {
        let mut parties: BTreeMap<Verdict, Tally> = BTreeMap::new();
        for pair in seen.cells.pairs() {
            let tally = parties.entry(pair.party).or_default();
            tally.failures += pair.tally.failures;
            tally.passes += pair.tally.passes;
        }
        pending.retain(|party, _| parties.get(party).is_some_and(|tally| tally.share() > self.share));
        for (party, tally) in &parties {
            if tally.share() > self.share {
                pending.entry(*party).or_insert(seen.at);
            }
        }
        let firing = pending.iter().filter(|(_, since)| seen.at.since(**since) >= self.hold).map(|(party, _)| *party);
        let firing: Vec<Verdict> = firing.collect();
        let has_cloud = firing.iter().any(|party| *party != Verdict::Neither);
        firing.into_iter().filter(|party| !has_cloud || *party != Verdict::Neither).map(Accused::Party).collect()
    }
}
