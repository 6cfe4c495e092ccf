//! The curve of an incident: what all vantage groups together saw, in steps that a picture can hold, and what each of them
//! saw, before the onset and after it.

use faultline_attribution::Timestamp;

use super::{History, LATENCY_MS, Latencies, Minute};

const MINUTE: i64 = 60_000_000;

/// Lengths of a step, in minutes.
const STEPS: [i64; 10] = [1, 2, 5, 10, 15, 30, 60, 180, 720, 1440];

/// One step of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins.
    pub at: Timestamp,
    /// Runs that passed or failed.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Of those, at each layer: DNS, connect, TLS, HTTP.
    pub at_layer: [u64; 4],
}

impl Bucket {
    /// Share of runs that failed, 0 to 1; `None` where nobody looked.
    pub fn share(&self) -> Option<f64> {
        share(self.failed, self.runs)
    }

    /// The same of one layer.
    pub fn share_at(&self, layer: usize) -> Option<f64> {
        share(*self.at_layer.get(layer)?, self.runs)
    }

    /// Runs that failed at a layer that was not kept.
    pub fn elsewhere(&self) -> u64 {
        self.failed.saturating_sub(self.at_layer.iter().sum())
    }

    fn add(&mut self, minute: &Minute) {
        self.runs += u64::from(minute.runs);
        self.failed += u64::from(minute.failed);
        for (sum, more) in self.at_layer.iter_mut().zip(minute.at_layer) {
            *sum += u64::from(more);
        }
    }
}

/// What all groups saw, step by step, without gaps, from the first step in which anybody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Curve {
    /// Minutes of a step.
    pub step_minutes: u32,
    /// The steps; a step in which nobody looked has no runs.
    pub buckets: Vec<Bucket>,
}

/// What one vantage group saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupShare<'a> {
    /// Which.
    pub group: &'a str,
    /// Before the onset: runs that failed, and runs.
    pub before: (u64, u64),
    /// From the onset on.
    pub after: (u64, u64),
}

/// The steps of a curve: minutes of each, and the numbers of the first and the last, counted from the epoch.
struct Frame {
    step: i64,
    begin: i64,
    end: i64,
}

impl Frame {
    fn curve<'a>(&self, minutes: impl Iterator<Item = (&'a Timestamp, &'a Minute)>) -> Curve {
        let Self { step, begin, end } = *self;
        let empty =
            |n: i64| Bucket { at: Timestamp::from_micros(n * step * MINUTE), runs: 0, failed: 0, at_layer: [0; 4] };
        let mut buckets: Vec<Bucket> = (begin..=end).map(empty).collect();
        for (at, minute) in minutes {
            let place = at.micros().div_euclid(MINUTE).div_euclid(step) - begin;
            if let Some(bucket) = usize::try_from(place).ok().and_then(|place| buckets.get_mut(place)) {
                bucket.add(minute);
            }
        }
        Curve { step_minutes: u32::try_from(step).unwrap_or(u32::MAX), buckets }
    }
}

impl History {
    /// The curve, of `most` steps or fewer.
    pub fn curve(&self, most: usize) -> Curve {
        self.frame(most).map_or_else(Curve::default, |frame| frame.curve(self.curve.values().flatten()))
    }

    /// The curves of what was seen elsewhere, in the same steps, by who hosts it.
    pub fn elsewhere(&self, most: usize) -> Vec<(&str, Curve)> {
        let Some(frame) = self.frame(most) else { return Vec::new() };
        self.elsewhere.iter().map(|(side, minutes)| (side.as_str(), frame.curve(minutes.iter()))).collect()
    }

    /// The steps of the curve; `None` where nobody looked.
    fn frame(&self, most: usize) -> Option<Frame> {
        let number = |at: &Timestamp| at.micros().div_euclid(MINUTE);
        let first = self.curve.values().filter_map(|minutes| minutes.keys().next()).min().map(number)?;
        let last = self.curve.values().filter_map(|minutes| minutes.keys().next_back()).max().map(number)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
        let fits = |step: &i64| last.div_euclid(*step) - first.div_euclid(*step) < most;
        let longest = (last - first).div_euclid((most - 1).max(1)) + 1;
        let step = STEPS.into_iter().find(fits).unwrap_or(longest);
        Some(Frame { step, begin: first.div_euclid(step), end: last.div_euclid(step) })
    }

    /// What each vantage group saw: those first for which most runs failed after the onset. The minute of the onset counts as
    /// before it unless the onset is its first half.
    pub fn groups(&self) -> Vec<GroupShare<'_>> {
        let split = Timestamp::from_micros((self.onset_at.micros() + MINUTE / 2).div_euclid(MINUTE) * MINUTE);
        let sum = |minutes: &mut dyn Iterator<Item = &Minute>| {
            minutes.fold((0, 0), |(failed, runs), minute| {
                (failed + u64::from(minute.failed), runs + u64::from(minute.runs))
            })
        };
        let mut groups: Vec<GroupShare<'_>> = self
            .curve
            .iter()
            .map(|(group, minutes)| GroupShare {
                group,
                before: sum(&mut minutes.range(..split).map(|(_, minute)| minute)),
                after: sum(&mut minutes.range(split..).map(|(_, minute)| minute)),
            })
            .collect();
        let failing = |(failed, runs): (u64, u64)| share(failed, runs).unwrap_or(-1.0);
        groups.sort_by(|a, b| failing(b.after).total_cmp(&failing(a.after)).then_with(|| a.group.cmp(b.group)));
        groups
    }
}

/// The upper end of the class in which the middle run lies, in milliseconds: `Err` where that is the last class, which has
/// none, and `None` where nothing passed.
pub fn median_ms(latencies: &Latencies) -> Option<Result<u64, u64>> {
    let all: u64 = latencies.iter().sum();
    let mut seen = 0;
    let class = latencies.iter().position(|count| {
        seen += count;
        seen * 2 >= all && all > 0
    })?;
    Some(LATENCY_MS.get(class).copied().ok_or(LATENCY_MS[LATENCY_MS.len() - 1]))
}

#[expect(clippy::cast_precision_loss, reason = "counts of one incident")]
fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_micros(n * MINUTE)
    }

    fn history(minutes: &[(&str, i64, Minute)]) -> History {
        let mut curve: BTreeMap<String, BTreeMap<Timestamp, Minute>> = BTreeMap::new();
        for (group, n, counts) in minutes {
            curve.entry((*group).to_owned()).or_default().insert(minute(*n), *counts);
        }
        History {
            incident: String::new().into(),
            element: String::new(),
            from: minute(0),
            onset_at: minute(101),
            to: minute(200),
            targets: BTreeSet::new(),
            curve,
            elsewhere: BTreeMap::new(),
            before: [0; 14],
            during: [0; 14],
        }
    }

    #[test]
    fn groups_add_up_and_minutes_without_a_look_stay_as_gaps() {
        let fails = Minute { failed: 2, runs: 4, at_layer: [0, 1, 0, 1] };
        let history = history(&[("a", 100, Minute::default()), ("a", 102, fails), ("b", 102, fails)]);
        let curve = history.curve(240);
        assert_eq!((curve.step_minutes, curve.buckets.len()), (1, 3));
        assert_eq!(curve.buckets[1].share(), None);
        assert_eq!((curve.buckets[2].share(), curve.buckets[2].share_at(1)), (Some(0.5), Some(0.25)));
        assert_eq!(history.groups()[0], GroupShare { group: "a", before: (0, 0), after: (2, 4) });
    }

    #[test]
    fn a_long_incident_gets_longer_steps_never_more_of_them() {
        let one = Minute { failed: 0, runs: 1, at_layer: [0; 4] };
        for minutes in [1, 240, 241, 3000, 200_000, 9_000_000] {
            let minutes: Vec<_> = [0, minutes - 1].map(|n| ("a", n, one)).into();
            let curve = history(&minutes).curve(240);
            assert!(curve.buckets.len() <= 240, "{} steps", curve.buckets.len());
            assert_eq!(
                curve.buckets.iter().map(|bucket| bucket.runs).sum::<u64>(),
                if minutes[1].1 == 0 { 1 } else { 2 }
            );
        }
        assert_eq!(history(&[]).curve(240).buckets, []);
    }

    #[test]
    fn what_was_seen_elsewhere_comes_in_the_same_steps() {
        let one = Minute { failed: 0, runs: 1, at_layer: [0; 4] };
        let mut history = history(&[("a", 100, one), ("a", 104, one)]);
        history.elsewhere = BTreeMap::from([("aws".into(), [(minute(90), one), (minute(102), one)].into())]);
        let elsewhere = history.elsewhere(240);
        let runs: Vec<u64> = elsewhere[0].1.buckets.iter().map(|bucket| bucket.runs).collect();
        assert_eq!((elsewhere[0].0, runs), ("aws", vec![0, 0, 1, 0, 0]));
    }

    #[test]
    fn what_an_earlier_release_kept_failed_at_an_unknown_layer() {
        let history = history(&[("a", 1, Minute { failed: 3, runs: 4, at_layer: [0; 4] })]);
        assert_eq!(history.curve(9).buckets[0].elsewhere(), 3);
    }

    #[test]
    fn the_median_is_the_class_of_the_middle_run() {
        let mut latencies = [0; 14];
        assert_eq!(median_ms(&latencies), None);
        (latencies[2], latencies[13]) = (3, 2);
        assert_eq!(median_ms(&latencies), Some(Ok(5)));
        latencies[13] = 9;
        assert_eq!(median_ms(&latencies), Some(Err(10_000)));
    }
}
