//! How often vantage groups and their networks get into trouble by themselves: what coincidences are worth.
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

/// One group in trouble.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InTrouble {
    pub(crate) group: String,
    pub(crate) network: String,
    /// Whether it loses some destinations for good and keeps the others.
    pub(crate) is_selective: bool,
}

/// Troubles of vantage groups and of the networks that they are in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spells {
    /// Of networks: groups of one network stumble together.
    any: Begun,
    /// Those alone that lose some destinations and keep others.
    selective: Begun,
    /// Since when each group's last minute of trouble counts.
    counted: BTreeMap<String, Timestamp>,
    /// Every minute of trouble of each group.
    minutes: Vec<(Timestamp, String)>,
    /// When anything was first heard.
    since: Option<Timestamp>,
}

/// Begun troubles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Begun {
    /// When each network was last seen in trouble.
    last: BTreeMap<String, Timestamp>,
    at: Vec<(Timestamp, String)>,
}

impl Begun {
    fn note(&mut self, network: &str, now: Timestamp) {
        if self.last.insert(network.to_owned(), now).is_none_or(|last| now.since(last) > one()) {
            self.at.push((now, network.to_owned()));
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.at.retain(|(at, _)| now.since(*at) <= SPAN);
        self.last.retain(|_, at| now.since(*at) <= SPAN);
    }
}

impl Spells {
    /// Notes which groups are in trouble.
    pub(crate) fn note(&mut self, in_trouble: &[InTrouble], now: Timestamp) {
        for InTrouble { group, network, is_selective } in in_trouble {
            self.any.note(network, now);
            if *is_selective {
                self.selective.note(network, now);
            }
            if self.counted.get(group).is_none_or(|counted| now.since(*counted) > one()) {
                self.minutes.push((now, group.clone()));
                self.counted.insert(group.clone(), now);
            }
        }
        self.any.forget(now);
        self.selective.forget(now);
        self.minutes.retain(|(at, _)| now.since(*at) <= SPAN);
        self.counted.retain(|_, at| now.since(*at) <= SPAN);
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

    /// Nats by which so many of `all` networks are more than chance when their troubles begin within `together`, given how often
    /// those of others do: the logarithm of the chance of as many or more. Source: a Poisson process whose rate is known by what
    /// was counted, so that the next count is negative binomial. The prior is gamma, of one trouble: a minute of all networks;
    /// selective troubles being rare, [`UNHEARD_S`] of each.
    pub(crate) fn coincidence(
        &self,
        (networks, all): (&BTreeSet<&String>, usize),
        is_selective: bool,
        together: Duration,
        now: Timestamp,
    ) -> f64 {
        let heard = self.since.map_or(Duration::ZERO, |since| now.since(since)).min(SPAN);
        let (begun, assumed) = if is_selective {
            (&self.selective, UNHEARD_S.get() / f64::from(count(all.max(1))))
        } else {
            (&self.any, one().as_secs_f64())
        };
        let others = begun.at.iter().filter(|(_, network)| !networks.contains(network)).count();
        surprise(networks.len(), count(others), together.as_secs_f64() / (heard.as_secs_f64() + assumed))
    }
}

fn one() -> Duration {
    Duration::from_secs_f64(TROUBLE_S.get())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// -ln P(N >= n) for a count in a time that is so many times (`length`) the one in which `counted` were, one more being assumed.
fn surprise(n: usize, counted: u32, length: f64) -> f64 {
    let n = count(n);
    if length <= 0.0 || n == 0 {
        return 0.0;
    }
    let (shape, odds) = (counted + 1, length / (1.0 + length));
    // The sum of the tail, each term over the first.
    let choices: f64 = (1..=n).map(|k| (f64::from(shape + k - 1) / f64::from(k)).ln()).sum();
    let first = choices + f64::from(n) * odds.ln() - f64::from(shape) * length.ln_1p();
    let (mut sum, mut term) = (0.0, 1.0);
    for k in n..n + 200 {
        sum += term;
        term *= odds * f64::from(k + shape) / f64::from(k + 1);
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
            let other = format!("other{second}");
            noisy.note(&[in_trouble(&other, &other, false)], at(second));
        }
        (calm, noisy)
    }

    #[test]
    fn surprise_is_the_tail_of_the_negative_binomial_distribution() {
        // One assumed trouble in as long a time: geometric, P(N >= 3) = 1/8.
        assert!((surprise(3, 0, 1.0) - 8.0_f64.ln()).abs() < 1e-9);
        // Much counted, the rate is known: Poisson, P(N >= 3 | 1) = 1 - 5/(2e).
        let poisson = -(1.0 - 2.5 * (-1.0_f64).exp()).ln();
        assert!((surprise(3, 999_999, 1e-6) - poisson).abs() < 1e-4);
        assert!(surprise(8, 0, 0.1) < surprise(8, 99, 0.001), "little counted, little known");
        assert!(surprise(1, 49, 1.0) < 1e-9, "many are expected");
    }

    fn in_trouble(group: &str, network: &str, is_selective: bool) -> InTrouble {
        InTrouble { group: group.into(), network: network.into(), is_selective }
    }

    #[test]
    fn groups_of_one_network_begin_one_trouble() {
        let mut spells = Spells::default();
        spells.hear(at(0));
        spells.note(&[in_trouble("a", "isp", false), in_trouble("b", "isp", true)], at(600));
        assert_eq!((spells.any.at.len(), spells.selective.at.len(), spells.minutes.len()), (1, 1, 2));
    }

    #[test]
    fn lines_that_stumble_make_no_selective_coincidence_less_rare() {
        let (_, noisy) = fleets();
        let networks = groups(3);
        let worth = |is_selective| {
            let networks = networks.iter().collect();
            noisy.coincidence((&networks, 30), is_selective, Duration::from_secs(8), at(1800))
        };
        assert!(worth(true) > 15.0 && worth(false) < 5.0, "{} {}", worth(true), worth(false));
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
        let networks = groups(4);
        let worth = |spells: &Spells| {
            let networks = networks.iter().collect();
            spells.coincidence((&networks, 30), false, Duration::from_secs(20), at(1800))
        };
        assert!(worth(&calm) > 15.0, "{}", worth(&calm));
        assert!(worth(&noisy) < 3.0, "{}", worth(&noisy));
    }
}
