//! `stock-alert`: `probe_success == 0` with `for: 2m`, as most `blackbox_exporter` set-ups have it: one alert for each
//! agent and endpoint, and whoever owns most of the alerts that fire is to blame.
//!
//! Source: design notes 5.3. A series whose last run is older than five minutes is stale, as in Prometheus.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::Timestamp;

use super::{Accused, Peer, Rule, Seen};
use crate::scenario::Verdict;

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct StockAlert {
    /// How long a series must fail.
    hold: Duration,
    /// Share of all series that must fire before anybody looks.
    share: f64,
}

impl Default for StockAlert {
    fn default() -> Self {
        Self { hold: Duration::from_mins(2), share: 0.01 }
    }
}

impl StockAlert {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let rules = [0.001, 0.003, 0.01, 0.03, 0.1].map(|share| Self { share, ..Self::default() });
        rules.into_iter().map(|rule| Peer { rule, gate: None }).collect()
    }
}

const STALE: Duration = Duration::from_mins(5);

impl Rule for StockAlert {
    /// Since when each pair fails.
    type Memory = BTreeMap<usize, Timestamp>;

    fn name(&self) -> &'static str {
        "stock-alert"
    }

    fn accuse(&self, seen: &Seen<'_>, failing: &mut Self::Memory) -> Vec<Accused> {
        let mut owners: BTreeMap<Verdict, usize> = BTreeMap::new();
        for (number, pair) in seen.cells.pairs().iter().enumerate() {
            match pair.last {
                Some((last, true)) if seen.at.since(last) < STALE => {
                    let since = *failing.entry(number).or_insert(seen.at);
                    if seen.at.since(since) >= self.hold {
                        *owners.entry(pair.party).or_default() += 1;
                    }
                }
                _ => drop(failing.remove(&number)),
            }
        }
        let firing: usize = owners.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "series are few")]
        let is_enough = firing > 0 && firing as f64 >= self.share * seen.cells.pairs().len() as f64;
        if !is_enough {
            return Vec::new();
        }
        let winner = owners.into_iter().find(|(_, alerts)| 2 * alerts > firing);
        vec![winner.map_or(Accused::Somebody, |(party, _)| Accused::Party(party))]
    }
}
