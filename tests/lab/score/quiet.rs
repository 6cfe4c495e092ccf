//! Quiet days: nothing breaks but what noise breaks, and whoever else is accused is accused falsely.
//!
//! Rules: a day is a shard of its own, with an engine of its own and the seed `first seed + number`, so shards run in
//! parallel and in any order and give the same. A day counts only when its last second was judged; every second of it
//! counts, the first minutes too, in which the engine knows no base rates. An incident is counted once, under the worst
//! that any of its revisions says, whatever became of it later.

pub mod state;

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use faultline_attribution::{Change, Engine, IncidentId, Input, Output, Settings, State, Timestamp, Verdict, World};
use serde::{Deserialize, Serialize};

use super::{engine::TICK, stats};
use crate::{case::TrueIncident, sim};

/// How long a day is, beside the warm-up of its stream.
pub const DAY: Duration = Duration::from_hours(24);

/// One finished day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// The seed it was made with.
    pub seed: u64,
    /// Incidents that accused AWS or Azure.
    pub cloud: u64,
    /// Incidents that accused neither, and no cloud.
    pub neither: u64,
    /// Incidents that were only ever suspected.
    pub suspected: u64,
    /// Incidents of neither that the noise did break, such as an endpoint that was down.
    pub right: u64,
    /// Results that were judged.
    pub results: u64,
    /// Seconds that it took on one core.
    pub took_s: f64,
    /// When and whom, for each false accusation.
    pub accused: Vec<String>,
}

/// How bad an incident got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worst {
    Suspected,
    Right,
    Neither,
    Cloud,
}

/// A day to be judged.
pub struct Day<I> {
    /// The seed it is made with.
    pub seed: u64,
    /// Targets and agents as a coordinator is told of them.
    pub world: World,
    /// What arrives, in that order.
    pub inputs: I,
    /// First second.
    pub start: Timestamp,
    /// Last second.
    pub end: Timestamp,
    /// What the noise breaks: naming it is right.
    pub background: Vec<TrueIncident>,
}

impl<I: Iterator<Item = (Timestamp, Input)>> Day<I> {
    /// Judges the day; `None` when it was stopped before its end.
    pub fn judge(self, stop: &AtomicBool) -> Option<Shard> {
        let began = Instant::now();
        let mut engine = Engine::new(self.world, Settings::default());
        let mut shard = Shard { seed: self.seed, ..Shard::default() };
        let mut incidents: BTreeMap<IncidentId, Worst> = BTreeMap::new();
        let (mut inputs, mut second) = (self.inputs.peekable(), Vec::new());
        let mut from = self.start;
        while from < self.end {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let to = from.after(TICK);
            second.extend(std::iter::from_fn(|| inputs.next_if(|(arrives, _)| *arrives < to)));
            shard.results += second.iter().filter(|(_, input)| matches!(input, Input::Observation(_))).count() as u64;
            sim::feed(&mut engine, (from, to), second.drain(..), |_, output| {
                let Output::Change(change) = output else { return };
                let worst = worst(&change, &self.background);
                let held = incidents.entry(change.incident.clone()).or_insert(Worst::Suspected);
                if worst > *held {
                    *held = worst;
                    if worst > Worst::Right {
                        shard.accused.push(format!("{} {}: {}", change.at, change.element, change.headline));
                    }
                }
            });
            from = to;
        }
        let count = |worst: Worst| incidents.values().filter(|each| **each == worst).count() as u64;
        shard.cloud = count(Worst::Cloud);
        shard.neither = count(Worst::Neither);
        shard.suspected = count(Worst::Suspected);
        shard.right = count(Worst::Right);
        shard.took_s = began.elapsed().as_secs_f64();
        Some(shard)
    }
}

fn worst(change: &Change, background: &[TrueIncident]) -> Worst {
    match change.verdict {
        _ if change.state == State::Suspected => Worst::Suspected,
        Verdict::Undetermined => Worst::Suspected,
        Verdict::Aws | Verdict::Azure => Worst::Cloud,
        Verdict::Neither => {
            let is_noise = |noise: &TrueIncident| noise.onset <= change.at && noise.elements.contains(&change.element);
            if background.iter().any(is_noise) { Worst::Right } else { Worst::Neither }
        }
    }
}

/// All finished days.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    days: usize,
    cloud: usize,
    neither: usize,
    suspected: usize,
    results: u64,
    took_s: f64,
}

impl Total {
    /// Sums days up.
    pub fn of<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Self {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        shards.into_iter().fold(Self::default(), |total, shard| Self {
            days: total.days + 1,
            cloud: total.cloud + count(shard.cloud),
            neither: total.neither + count(shard.neither),
            suspected: total.suspected + count(shard.suspected),
            results: total.results + shard.results,
            took_s: total.took_s + shard.took_s,
        })
    }

    /// Whether a cloud was accused.
    pub fn is_wrong(&self) -> bool {
        self.cloud > 0
    }
}

impl fmt::Display for Total {
    /// Days, false incidents with what they can be at most (95 %, a day), and speed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, cloud, neither, suspected, results, took_s } = self;
        write!(f, "{days} days, {cloud} false cloud incidents, {neither} false neither, {suspected} only suspected")?;
        if *days > 0 {
            let at_most = |events: usize| stats::count_at_most(events) / stats::real(*days);
            let (cloud, neither) = (at_most(*cloud), at_most(*neither));
            write!(f, "; at most {:.2} cloud and {:.2} neither a 30-day month (95 %)", cloud * 30.0, neither * 30.0)?;
        }
        if *took_s > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = *results as f64 / took_s;
            write!(f, "; {rate:.0} results/s a core")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_days_bound_the_rate_by_the_rule_of_three() {
        let shard = Shard { results: 3_000_000, took_s: 10.0, ..Shard::default() };
        let total = Total::of(&vec![shard; 90]);
        assert_eq!(
            total.to_string(),
            "90 days, 0 false cloud incidents, 0 false neither, 0 only suspected; at most 1.00 cloud and 1.00 neither \
             a 30-day month (95 %); 300000 results/s a core"
        );
        assert!(!total.is_wrong());
    }

    #[test]
    fn a_false_incident_is_wrong_and_bounded_exactly() {
        let total = Total::of(&[Shard { cloud: 1, ..Shard::default() }, Shard::default()]);
        assert!(total.is_wrong());
        assert!(total.to_string().contains("at most 71.16 cloud and 44.94 neither"), "{total}");
    }

    #[test]
    fn a_stopped_day_does_not_count() {
        let (start, end) = (Timestamp::from_micros(0), Timestamp::from_micros(5_000_000));
        let judge = |stop: bool| {
            let (world, inputs) = (World::default(), std::iter::empty());
            Day { seed: 7, world, inputs, start, end, background: Vec::new() }.judge(&AtomicBool::new(stop))
        };
        assert_eq!(judge(true), None);
        let shard = judge(false).expect("a day");
        assert_eq!((shard.seed, shard.cloud, shard.results), (7, 0, 0));
    }
}
