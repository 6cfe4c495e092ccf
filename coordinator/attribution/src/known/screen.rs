//! Screening: whether anything is worth a search, and which elements and windows a search should try. Cost grows with what
//! failed lately, not with what exists.
//!
//! For each element that a recent failure implicates, its failures are held against the looks that it usually gets. To
//! begin a search, several groups must see it, and each of them counts for little: one noisy vantage starts nothing.

use std::time::Duration;

use super::{Known, UPLINK};
use crate::{assumption::Assumption, evidence::SLOW_WEIGHT, settings::Settings, time::Timestamp, window::Cell};

/// Failures of one group at one element that count towards a search. Source: three at the typical rate are worth twice what one
/// group may say in a search, ln(1000).
const PER_GROUP: f32 = 3.0;

/// Nats, prior included, from which a search begins; a search asks for far more before it says anything. Calibrated:
/// `faultline-lab calibrate suspicious-nats`.
pub(crate) static SUSPICIOUS_NATS: Assumption = Assumption::new("suspicious-nats", 6.0);

/// Nats, prior included, from which a search tries an element. The looks are only estimated, hence the room.
/// Source: `inference::search` tries none below -3 nats with every group believed; here each counts in full.
const CANDIDATE_NATS: f64 = -1.0;

/// Windows in which silence shows. Source: sessions are looked at every 15 s, and silence is known after 37 s.
const SILENCE: std::ops::RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_mins(1);

/// Windows that can be screened at once. Source: six are set, and room for two.
const WINDOWS: usize = 8;

/// What failed at one element.
#[derive(Clone, Copy, Default)]
struct Tally {
    groups: [u32; WINDOWS],
    failures: [f32; WINDOWS],
    of_group: [f32; WINDOWS],
    group: u32,
    /// Sum of the logarithms of base rates, and of how many failures.
    ln_rate: f64,
    samples: f64,
    /// Groups with an agent that is silent: it looks at nothing, so its looks cannot be counted.
    silent_groups: u32,
    silent_group: u32,
}

/// Failures by element.
struct Tallies {
    by_element: Vec<Tally>,
    touched: Vec<u32>,
}

/// What stands out that no open incident explains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicions {
    /// Elements that fail for several groups beyond chance, with their nats.
    pub(crate) elements: Vec<(u32, f64)>,
    /// For each of the windows in [`Settings::windows`], the nats by which the worst element stands out in it.
    pub(crate) promise: Vec<f64>,
}

impl Known {
    /// What stands out. `least_groups` of groups must see it; fewer are enough on the agents' side.
    pub(crate) fn suspicions(&self, now: Timestamp, settings: &Settings, least_groups: u32) -> Suspicions {
        let tallies = self.tally(now, settings, PER_GROUP, true);
        let map = self.map();
        let mut suspicions =
            Suspicions { elements: Vec::new(), promise: vec![f64::NEG_INFINITY; settings.windows.len()] };
        for number in tallies.touched {
            let tally = &tallies.by_element[number as usize];
            let element = &map.elements[number as usize];
            let least = if element.kind.is_vantage_side() { least_groups.min(2) } else { least_groups };
            let (prior, looks) = (map.ln_priors[number as usize], self.looks_a_second(number));
            let mut most = f64::NEG_INFINITY;
            for (place, window) in settings.windows.iter().take(WINDOWS).enumerate() {
                if tally.groups[place] >= least {
                    let nats = tally.nats(place, looks * window.as_secs_f64()) + prior;
                    most = most.max(nats);
                    suspicions.promise[place] = suspicions.promise[place].max(nats);
                }
            }
            if tally.silent_groups >= least {
                // What is silent looks at nothing: its looks cannot be held against it.
                let nats = f64::from(tally.silent_groups) * SUSPICIOUS_NATS.get();
                most = most.max(nats);
                for (promise, window) in suspicions.promise.iter_mut().zip(&settings.windows) {
                    if SILENCE.contains(window) {
                        *promise = promise.max(nats);
                    }
                }
            }
            if most >= SUSPICIOUS_NATS.get() {
                suspicions.elements.push((number, most));
            }
        }
        suspicions
    }

    /// Which elements a search should try.
    pub(crate) fn candidates(&self, now: Timestamp, settings: &Settings) -> Vec<bool> {
        let tallies = self.tally(now, settings, f32::INFINITY, false);
        let map = self.map();
        let mut candidates = vec![false; map.elements.len()];
        for number in tallies.touched {
            let tally = &tallies.by_element[number as usize];
            let (prior, looks) = (map.ln_priors[number as usize], self.looks_a_second(number));
            candidates[number as usize] = tally.silent_groups > 0
                || settings.windows.iter().take(WINDOWS).enumerate().any(|(place, window)| {
                    tally.failures[place] > 0.0
                        && tally.nats(place, looks * window.as_secs_f64()) + prior >= CANDIDATE_NATS
                });
        }
        candidates
    }

    /// Looks that an element usually gets in a second.
    fn looks_a_second(&self, element: u32) -> f64 {
        let cells = f64::from(u32::try_from(self.cells.len().max(1)).unwrap_or(u32::MAX));
        f64::from(self.map().cells_of[element as usize].max(1)) * self.arriving / cells
    }

    fn tally(&self, now: Timestamp, settings: &Settings, per_group: f32, only_new: bool) -> Tallies {
        let map = self.map();
        let mut tallies = Tallies {
            by_element: vec![Tally { group: u32::MAX, silent_group: u32::MAX, ..Tally::default() }; map.elements.len()],
            touched: Vec::new(),
        };
        let mut windows: Vec<u64> = settings.windows.iter().map(|window| Cell::mark(now.before(*window))).collect();
        windows.truncate(WINDOWS);
        let horizon = now.before(settings.horizon);
        let proven: Vec<bool> =
            self.slots.iter().map(|slot| slot.target.is_none_or(|target| self.is_proven(target, settings))).collect();
        let refuses_many = self.refuses_many(horizon);
        let mut places = self.troubled.clone();
        places.sort_unstable_by_key(|place| {
            let entry = self.entry(*place);
            (map.near[entry.agent as usize].group, *place)
        });
        for place in places {
            let entry = self.entry(place);
            let (near, far) = (&map.near[entry.agent as usize], &map.far[entry.slot as usize]);
            if !near.is_there || !proven[entry.slot as usize] || (only_new && entry.cell.is_frozen) {
                continue;
            }
            for sample in entry.cell.troubles_since(horizon) {
                let (layer, weight) = match (sample.failed, sample.slow) {
                    (Some((layer, _)), _) => (layer, 1.0),
                    (None, Some(layer)) => (layer, SLOW_WEIGHT.get()),
                    (None, None) => continue,
                };
                let ln_rate = self.base_rate(entry, layer).ln();
                let at = Cell::mark(sample.at);
                let Tallies { by_element, touched } = &mut tallies;
                let mut add = |number: u32| {
                    let tally = &mut by_element[number as usize];
                    if tally.samples == 0.0 {
                        touched.push(number);
                    }
                    tally.add(near.group, at, &windows, (ln_rate, weight), per_group);
                    if entry.slot == UPLINK && tally.silent_group != near.group {
                        tally.silent_groups += 1;
                        tally.silent_group = near.group;
                    }
                };
                if sample.own_fault && !refuses_many[entry.slot as usize] {
                    continue;
                }
                if sample.own_fault {
                    near.all.first().into_iter().chain(&far.own).copied().for_each(add);
                    continue;
                }
                map.each(entry, layer, &mut add);
                self.access(entry.agent).iter().copied().for_each(add);
            }
        }
        tallies
    }
}

impl Tally {
    fn add(&mut self, group: u32, at: u64, windows: &[u64], (ln_rate, weight): (f64, f64), per_group: f32) {
        if self.group != group {
            self.group = group;
            self.of_group = [0.0; WINDOWS];
        }
        self.samples += weight;
        self.ln_rate += ln_rate * weight;
        #[expect(clippy::cast_possible_truncation, reason = "one or a quarter")]
        let weight = weight as f32;
        for (place, _) in windows.iter().enumerate().filter(|(_, from)| at >= **from) {
            self.groups[place] += u32::from(self.of_group[place] == 0.0);
            self.failures[place] += weight.min(per_group - self.of_group[place]).max(0.0);
            self.of_group[place] += weight;
        }
    }

    /// Log likelihood ratio of "this share fails" against the base rate, for so many looks.
    fn nats(&self, place: usize, looks: f64) -> f64 {
        let failed = f64::from(self.failures[place]);
        let share = (failed / looks.max(failed)).clamp(0.0, 0.98);
        let rate = (self.ln_rate / self.samples.max(SLOW_WEIGHT.get())).exp();
        let passed = (looks - failed).max(0.0);
        failed * (share.max(rate) / rate).ln() + passed * ((1.0 - share) / (1.0 - rate)).min(1.0).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_groups_that_fail_are_suspicious_and_one_is_not() {
        let tally = |groups: u32, each: u32| {
            let mut tally = Tally { group: u32::MAX, ..Tally::default() };
            for group in 0..groups {
                for _ in 0..each {
                    tally.add(group, 10, &[5], (0.002_f64.ln(), 1.0), PER_GROUP);
                }
            }
            tally
        };
        let prior = 1e-3_f64.ln();
        assert!(tally(6, 1).nats(0, 12.0) + prior > SUSPICIOUS_NATS.get());
        assert!(tally(1, 50).nats(0, 400.0) + prior < SUSPICIOUS_NATS.get(), "a single noisy group");
    }
}
