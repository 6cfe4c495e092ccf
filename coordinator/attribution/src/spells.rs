//! How often vantage groups get into trouble by themselves: what coincidences are worth.
//!
//! Where troubles begin all the time, some begin together; where they are rare, three at once have something in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{assumption::Assumption, time::Timestamp};

/// Seconds: troubles of a group with less between them are one. Calibrated: `faultline-lab calibrate trouble-s`.
pub(crate) static TROUBLE_S: Assumption = Assumption::new("trouble-s", 60.0);

/// How far back the rate is counted. Source: an agent's past has the same half life (`window`).
const SPAN: Duration = Duration::from_hours(1);

/// Seconds: one trouble in so much of a group's time is assumed beside what was heard. Calibrated: `faultline-lab calibrate
/// unheard-s`.
pub(crate) static UNHEARD_S: Assumption = Assumption::new("unheard-s", 36_000.0);

const MONTH: Duration = Duration::from_hours(30 * 24);

/// Begun troubles of vantage groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spells {
    /// When each group was last seen in trouble, and since when its last minute of that counts.
    last: BTreeMap<String, (Timestamp, Timestamp)>,
    begun: Vec<(Timestamp, String)>,
    /// Every minute of trouble.
    minutes: Vec<(Timestamp, String)>,
    /// When anything was first heard.
    since: Option<Timestamp>,
}

impl Spells {
    /// Notes which groups are in trouble.
    pub(crate) fn note<'a>(&mut self, groups: impl Iterator<Item = &'a String>, now: Timestamp) {
        for group in groups {
            let (last, counted) = self.last.get(group).copied().unzip();
            if last.is_none_or(|last| now.since(last) > one()) {
                self.begun.push((now, group.clone()));
            }
            let counted = counted.filter(|counted| now.since(*counted) <= one());
            if counted.is_none() {
                self.minutes.push((now, group.clone()));
            }
            self.last.insert(group.clone(), (now, counted.unwrap_or(now)));
        }
        for noted in [&mut self.begun, &mut self.minutes] {
            noted.retain(|(at, _)| now.since(*at) <= SPAN);
        }
        self.last.retain(|_, (at, _)| now.since(*at) <= SPAN);
    }

    /// Notes that something was heard.
    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// How many times a month so many of `all` groups would be in trouble within `together` of each other by themselves, in
    /// any of so many `sets` of that size, given for how many minutes other groups are. Source: independent groups, each in
    /// trouble for a minute at a time.
    pub(crate) fn coincidences_a_month(
        &self,
        (groups, all): (&BTreeSet<String>, usize),
        together: Duration,
        sets: usize,
        now: Timestamp,
    ) -> f64 {
        let heard = self.since.map_or(Duration::ZERO, |since| now.since(since)).min(SPAN);
        let others = self.minutes.iter().filter(|(_, group)| !groups.contains(group)).count();
        let watched = heard.as_secs_f64() * f64::from(count(all.saturating_sub(groups.len()))) + UNHEARD_S.get();
        let span = (together + one()).as_secs_f64();
        let chance = (f64::from(count(others)) + 1.0) / watched * span;
        MONTH.as_secs_f64() / span * f64::from(count(sets)) * chance.min(1.0).powf(f64::from(count(groups.len())))
    }

    /// Nats by which so many groups are more than chance when their troubles begin within `together`, given how often
    /// those of others do: the logarithm of the chance of as many or more (Poisson).
    pub(crate) fn coincidence(&self, groups: &BTreeSet<String>, together: Duration, now: Timestamp) -> f64 {
        let heard = self.since.map_or(Duration::ZERO, |since| now.since(since)).min(SPAN);
        let others = self.begun.iter().filter(|(_, group)| !groups.contains(group)).count();
        // One more, and a minute more: what was not seen yet may come.
        let rate = (f64::from(count(others)) + 1.0) / (heard + one()).as_secs_f64();
        surprise(groups.len(), rate * together.as_secs_f64())
    }
}

fn one() -> Duration {
    Duration::from_secs_f64(TROUBLE_S.get())
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

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// Half an hour of a fleet in which nobody stumbles, and of one in which somebody does every ten seconds.
    fn fleets() -> (Spells, Spells) {
        let (mut calm, mut noisy) = (Spells::default(), Spells::default());
        calm.hear(at(0));
        noisy.hear(at(0));
        for second in (0..1800).step_by(10) {
            noisy.note([format!("other{second}")].iter(), at(second));
        }
        (calm, noisy)
    }

    #[test]
    fn surprise_is_the_tail_of_the_poisson_distribution() {
        // P(N >= 3 | 1) = 1 - 5/(2e).
        assert!((surprise(3, 1.0) + (1.0 - 2.5 * (-1.0_f64).exp()).ln()).abs() < 1e-9);
        assert!(surprise(1, 50.0) < 1e-9, "many are expected");
        assert!(surprise(8, 0.1) > 25.0);
    }

    #[test]
    fn a_few_together_are_rare_in_a_calm_fleet_and_daily_in_a_noisy_one() {
        let (calm, noisy) = fleets();
        let rate = |spells: &Spells, several: usize| {
            spells.coincidences_a_month((&groups(several), 48), Duration::from_secs(8), 30, at(1800))
        };
        assert!(rate(&calm, 2) < 0.5, "{}", rate(&calm, 2));
        assert!(rate(&noisy, 2) > 100.0, "{}", rate(&noisy, 2));
        assert!(rate(&noisy, 3) < rate(&noisy, 2));
    }

    #[test]
    fn a_coincidence_is_worth_less_where_trouble_is_common() {
        let (calm, noisy) = fleets();
        let worth = |spells: &Spells| spells.coincidence(&groups(4), Duration::from_secs(20), at(1800));
        assert!(worth(&calm) > 15.0, "{}", worth(&calm));
        assert!(worth(&noisy) < 3.0, "{}", worth(&noisy));
    }
}
