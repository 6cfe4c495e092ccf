//! How often vantage groups get into trouble by themselves: what coincidences are worth.
//!
//! Where troubles begin all the time, some begin together; where they are rare, three at once have something in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Troubles of a group with less than this between them are one. Start value.
const ONE: Duration = Duration::from_mins(1);

/// How far back the rate is counted.
const SPAN: Duration = Duration::from_hours(1);

/// Begun troubles of vantage groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spells {
    /// When each group was last seen in trouble.
    last: BTreeMap<String, Timestamp>,
    begun: Vec<(Timestamp, String)>,
    /// When anything was first heard.
    since: Option<Timestamp>,
}

impl Spells {
    /// Notes which groups are in trouble.
    pub(crate) fn note<'a>(&mut self, groups: impl Iterator<Item = &'a String>, now: Timestamp) {
        for group in groups {
            let last = self.last.insert(group.clone(), now);
            if last.is_none_or(|last| now.since(last) > ONE) {
                self.begun.push((now, group.clone()));
            }
        }
        self.begun.retain(|(at, _)| now.since(*at) <= SPAN);
        self.last.retain(|_, at| now.since(*at) <= SPAN);
    }

    /// Notes that something was heard.
    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// Nats by which so many groups are more than chance when their troubles begin within `together`, given how often
    /// those of others do: the logarithm of the chance of as many or more (Poisson).
    pub(crate) fn coincidence(&self, groups: &BTreeSet<String>, together: Duration, now: Timestamp) -> f64 {
        let heard = self.since.map_or(Duration::ZERO, |since| now.since(since)).min(SPAN);
        let others = self.begun.iter().filter(|(_, group)| !groups.contains(group)).count();
        // One more, and a minute more: what was not seen yet may come.
        let rate = (f64::from(count(others)) + 1.0) / (heard + ONE).as_secs_f64();
        surprise(groups.len(), rate * together.as_secs_f64())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// -ln P(N >= n) for a Poisson number of that mean.
fn surprise(n: usize, mean: f64) -> f64 {
    let n = count(n);
    if mean <= 0.0 || n == 0 {
        return 0.0;
    }
    // The sum of the tail, each term over the first.
    let first = f64::from(n) * mean.ln() - mean - (1..=n).map(|k| f64::from(k).ln()).sum::<f64>();
    let (mut sum, mut term) = (0.0, 1.0);
    for k in 1..200 {
        sum += term;
        term *= mean / f64::from(n + k);
    }
    -(first + f64::ln(sum)).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(n: usize) -> BTreeSet<String> {
        (0..n).map(|group| format!("g{group}")).collect()
    }

    #[test]
    fn surprise_is_the_tail_of_the_poisson_distribution() {
        // P(N >= 3 | 1) = 1 - 5/(2e).
        assert!((surprise(3, 1.0) + (1.0 - 2.5 * (-1.0_f64).exp()).ln()).abs() < 1e-9);
        assert!(surprise(1, 50.0) < 1e-9, "many are expected");
        assert!(surprise(8, 0.1) > 25.0);
    }

    #[test]
    fn a_coincidence_is_worth_less_where_trouble_is_common() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let (mut calm, mut noisy) = (Spells::default(), Spells::default());
        calm.hear(at(0));
        noisy.hear(at(0));
        for second in (0..1800).step_by(10) {
            noisy.note([format!("other{second}")].iter(), at(second));
        }
        let worth = |spells: &Spells| spells.coincidence(&groups(4), Duration::from_secs(20), at(1800));
        assert!(worth(&calm) > 15.0, "{}", worth(&calm));
        assert!(worth(&noisy) < 3.0, "{}", worth(&noisy));
    }
}
