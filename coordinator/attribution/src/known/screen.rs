//! Screening: whether anything is worth a search, and which elements a search should try. Cost grows with what failed
//! lately, not with what exists.
//!
//! For each element that a recent failure implicates, its failures are held against the looks that it usually gets. To
//! begin a search, several groups must see it, and each of them counts for little: one noisy vantage starts nothing.

use super::{Known, UPLINK};
use crate::{settings::Settings, time::Timestamp, window::Cell};

/// Failures of one group at one element that count towards a search.
const PER_GROUP: u32 = 3;

/// Nats, prior included, from which a search begins; a search asks for far more before it says anything. Start value.
const SUSPICIOUS_NATS: f64 = 6.0;

/// Nats, prior included, from which a search tries an element. The looks are only estimated, hence the room.
const CANDIDATE_NATS: f64 = -1.0;

/// Windows that can be screened at once.
const WINDOWS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Tally {
    groups: [u32; WINDOWS],
    failures: [u32; WINDOWS],
    of_group: [u32; WINDOWS],
    group: u32,
    ln_rate: f64,
    samples: u32,
    /// Groups with an agent that is silent: it looks at nothing, so its looks cannot be counted.
    silent_groups: u32,
    silent_group: u32,
}

/// Failures by element.
struct Tallies {
    by_element: Vec<Tally>,
    touched: Vec<u32>,
}

impl Known {
    /// Whether some element shows failures from several groups that chance does not explain, and no open incident does.
    /// `least_groups` of them. Unless `with_local`, only elements that many depend on count.
    pub(crate) fn is_suspicious(
        &self,
        now: Timestamp,
        settings: &Settings,
        least_groups: u32,
        with_local: bool,
    ) -> bool {
        let tallies = self.tally(now, settings, PER_GROUP, true);
        let map = self.map();
        let counts = |number: &&u32| with_local || !map.elements[**number as usize].kind.is_local();
        tallies.touched.iter().filter(counts).any(|number| {
            let tally = &tallies.by_element[*number as usize];
            let element = &map.elements[*number as usize];
            let least = if element.kind.is_vantage_side() { least_groups.min(2) } else { least_groups };
            let (prior, looks) = (element.prior().ln(), self.looks_a_second(*number));
            if tally.silent_groups >= least {
                return true;
            }
            settings.windows.iter().take(WINDOWS).enumerate().any(|(place, window)| {
                tally.groups[place] >= least
                    && tally.nats(place, looks * window.as_secs_f64()) + prior >= SUSPICIOUS_NATS
            })
        })
    }

    /// Which elements a search should try.
    pub(crate) fn candidates(&self, now: Timestamp, settings: &Settings) -> Vec<bool> {
        let tallies = self.tally(now, settings, u32::MAX, false);
        let map = self.map();
        let mut candidates = vec![false; map.elements.len()];
        for number in tallies.touched {
            let tally = &tallies.by_element[number as usize];
            let (prior, looks) = (map.elements[number as usize].prior().ln(), self.looks_a_second(number));
            candidates[number as usize] = tally.silent_groups > 0
                || settings.windows.iter().take(WINDOWS).enumerate().any(|(place, window)| {
                    tally.failures[place] > 0
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

    fn tally(&self, now: Timestamp, settings: &Settings, per_group: u32, only_new: bool) -> Tallies {
        let map = self.map();
        let mut tallies = Tallies {
            by_element: vec![Tally { group: u32::MAX, silent_group: u32::MAX, ..Tally::default() }; map.elements.len()],
            touched: Vec::new(),
        };
        let mut windows: Vec<u64> = settings.windows.iter().map(|window| Cell::mark(now.before(*window))).collect();
        windows.truncate(WINDOWS);
        let horizon = now.before(settings.horizon);
        let mut places = self.troubled.clone();
        places.sort_unstable_by_key(|place| {
            let entry = self.entry(*place);
            (map.near[entry.agent as usize].group, *place)
        });
        for place in places {
            let entry = self.entry(place);
            let near = &map.near[entry.agent as usize];
            if !near.is_there || (only_new && entry.cell.is_frozen) {
                continue;
            }
            for sample in entry.cell.since(horizon) {
                let Some((layer, _)) = sample.failed else { continue };
                let ln_rate = entry.cell.base_rate(layer).ln();
                let at = Cell::mark(sample.at);
                let Tallies { by_element, touched } = &mut tallies;
                let mut add = |number: u32| {
                    let tally = &mut by_element[number as usize];
                    if tally.samples == 0 {
                        touched.push(number);
                    }
                    tally.add(near.group, at, &windows, ln_rate, per_group);
                    if entry.slot == UPLINK && tally.silent_group != near.group {
                        tally.silent_groups += 1;
                        tally.silent_group = near.group;
                    }
                };
                map.each(entry, layer, &mut add);
                near.access.iter().copied().for_each(add);
            }
        }
        tallies
    }
}

impl Tally {
    fn add(&mut self, group: u32, at: u64, windows: &[u64], ln_rate: f64, per_group: u32) {
        if self.group != group {
            self.group = group;
            self.of_group = [0; WINDOWS];
        }
        self.samples += 1;
        self.ln_rate += ln_rate;
        for (place, _) in windows.iter().enumerate().filter(|(_, from)| at >= **from) {
            self.groups[place] += u32::from(self.of_group[place] == 0);
            self.failures[place] += u32::from(self.of_group[place] < per_group);
            self.of_group[place] += 1;
        }
    }

    /// Log likelihood ratio of "this share fails" against the base rate, for so many looks.
    fn nats(&self, place: usize, looks: f64) -> f64 {
        let failed = f64::from(self.failures[place]);
        let share = (failed / looks.max(failed)).clamp(0.0, 0.98);
        let rate = (self.ln_rate / f64::from(self.samples.max(1))).exp();
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
                    tally.add(group, 10, &[5], 0.002_f64.ln(), PER_GROUP);
                }
            }
            tally
        };
        let prior = 1e-3_f64.ln();
        assert!(tally(6, 1).nats(0, 12.0) + prior > SUSPICIOUS_NATS);
        assert!(tally(1, 50).nats(0, 400.0) + prior < SUSPICIOUS_NATS, "a single noisy group");
    }
}
