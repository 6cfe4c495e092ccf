//! Counts: per minute, how many runs of each target and of each element, looked at from each vantage group, ended how. They
//! outlive the results that they were counted from.
//!
//! The minute is that in which a run began, by the coordinator's clock; a run that came late counts in the minute in which it
//! began. A run that failed counts at the layer at which it failed. What an element comes to is the sum over the targets of
//! which the catalog of that time says that they exercise it, at whatever layer; an endpoint's own element is its target.
//!
//! A part holds what some stretch of the log adds to one hour of one target, in postcard: for each group and each way to
//! end, runs of equal minutes, `(minutes since the last run, how many minutes, how many results in each)`. Parts add up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use faultline_attribution::{ElementKind, Layer, Outcome, TargetId, Timestamp, Vantage, elements_of};
use faultline_proto::{agent::v1::ResultBatch, convert};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{
    log::Cursor,
    observe,
    record::{CatalogRecord, Record, RecordKind, SlotTable},
};

const MINUTE: i64 = 60_000_000;

/// How a run ended, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It passed.
    Passed,
    /// It failed in DNS.
    Dns,
    /// It failed to connect.
    Connect,
    /// It failed in TLS.
    Tls,
    /// It failed in HTTP.
    Http,
    /// The agent could not look.
    Unmeasured,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Passed => Self::Passed,
            Outcome::Failed { layer: Layer::Dns, .. } => Self::Dns,
            Outcome::Failed { layer: Layer::Connect, .. } => Self::Connect,
            Outcome::Failed { layer: Layer::Tls, .. } => Self::Tls,
            Outcome::Failed { layer: Layer::Http, .. } => Self::Http,
            Outcome::Unmeasured { .. } => Self::Unmeasured,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Runs of a target
    #[default]
    Target,
    /// Runs of all targets that exercise an element
    Element,
}

/// Counts of one hour of one target or element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(BTreeMap<(String, Ended), BTreeMap<u8, u32>>);

/// A stretch of equal minutes: minutes since the one before it ended, minutes, results in each.
type Stretch = (u8, u8, u32);

impl Part {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let groups: Vec<(&str, Ended, Vec<Stretch>)> =
            self.0.iter().map(|((group, ended), minutes)| (group.as_str(), *ended, stretches(minutes))).collect();
        postcard::to_stdvec(&groups).unwrap_or_default()
    }

    /// The part of these bytes; `None` when they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let groups: Vec<(String, Ended, Vec<Stretch>)> = postcard::from_bytes(bytes).ok()?;
        let mut part = Self::default();
        for (group, ended, stretches) in groups {
            let minutes = part.0.entry((group, ended)).or_default();
            let mut next = 0_u8;
            for (gap, length, results) in stretches {
                let from = next.checked_add(gap)?;
                next = from.checked_add(length)?;
                minutes.extend((from..next).map(|minute| (minute, results)));
            }
        }
        Some(part)
    }

    /// Adds another part of the same hour.
    pub fn add(&mut self, other: &Self) {
        for (key, minutes) in &other.0 {
            let mine = self.0.entry(key.clone()).or_default();
            for (minute, results) in minutes {
                let sum = mine.entry(*minute).or_default();
                *sum = sum.saturating_add(*results);
            }
        }
    }

    /// Every count: minute of the hour, group, end, results; in this order.
    pub fn rows(&self) -> Vec<(u8, &str, Ended, u32)> {
        let each = self.0.iter().flat_map(|((group, ended), minutes)| {
            minutes.iter().map(|(minute, results)| (*minute, group.as_str(), *ended, *results))
        });
        let mut rows: Vec<_> = each.collect();
        rows.sort_unstable();
        rows
    }
}

fn stretches(minutes: &BTreeMap<u8, u32>) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut next = 0;
    for (minute, results) in minutes {
        match stretches.last_mut() {
            Some((_, length, same)) if *minute == next && same == results => *length += 1,
            _ => stretches.push((minute - next, 1, *results)),
        }
        next = minute + 1;
    }
    stretches
}

/// What a stretch of the log adds to the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The last record of the stretch.
    pub through: Cursor,
    /// By hour since the epoch and target.
    pub targets: BTreeMap<(i64, TargetId), Part>,
    /// By hour since the epoch and element.
    pub elements: BTreeMap<(i64, String), Part>,
    /// Hours before this one are forgotten.
    pub forgotten_before: i64,
}

/// One stored run, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// At what.
    pub target: &'a TargetId,
    /// Who hosts that, as the catalog says; empty where it does not.
    pub hosted_on: &'a str,
    /// Names of the elements that it exercises, as the catalog says, without its own endpoint.
    pub elements: Option<&'a BTreeSet<String>>,
    /// From where.
    pub group: &'a str,
    /// When it began, by the coordinator's clock.
    pub at: Timestamp,
    /// How it ended.
    pub ended: Ended,
    /// How long it took; zero for unknown.
    pub took: Duration,
}

/// Reads stored runs: what slots mean, and where agents look from.
#[derive(Debug, Default)]
pub struct Runs {
    tables: HashMap<String, SlotTable>,
    groups: HashMap<String, String>,
    /// Names of the elements of each target that ever was in a catalog.
    elements: HashMap<TargetId, BTreeSet<String>>,
    /// Who hosts each of them.
    hosts: HashMap<TargetId, String>,
}

impl Runs {
    /// Takes the next record in, and hands out the runs of a batch. One that cannot be read holds none.
    pub fn take(&mut self, record: &Record, give: impl FnMut(Run<'_>)) {
        match record.kind {
            RecordKind::Assignment => {
                if let Ok(table) = record.content() {
                    self.tables.insert(record.agent.clone(), table);
                }
            }
            RecordKind::Catalog => {
                if let Ok(CatalogRecord { targets }) = record.content() {
                    self.hosts.extend(targets.iter().map(|(id, target)| (id.clone(), target.hosted_on.clone())));
                    self.elements.extend(targets.into_iter().map(|(id, target)| {
                        let elements = elements_of(&id, &target).into_iter();
                        let shared = elements.filter(|element| element.kind != ElementKind::Endpoint);
                        let names = shared.map(|element| element.name).collect();
                        (id, names)
                    }));
                }
            }
            RecordKind::Vantage => {
                if let Ok(Vantage { group, .. }) = record.vantage() {
                    self.groups.insert(record.agent.clone(), group);
                }
            }
            RecordKind::Batch => {
                if let Ok(batch) = ResultBatch::decode(record.payload.clone()) {
                    self.batch(record, &batch, give);
                }
            }
            _ => {}
        }
    }

    fn batch(&self, record: &Record, batch: &ResultBatch, mut give: impl FnMut(Run<'_>)) {
        let Some(table) = self.tables.get(&record.agent) else { return };
        let group = self.groups.get(&record.agent).unwrap_or(&record.agent);
        let offset = batch.clock_offset.as_ref().map_or(0, |offset| {
            offset.seconds.saturating_mul(1_000_000).saturating_add(i64::from(offset.nanos) / 1000)
        });
        for result in &batch.results {
            let (Some(target), Some(outcome)) = (table.slots.get(&result.slot), observe::outcome(result)) else {
                continue;
            };
            let Some(at) = convert::micros(result.started_at.as_ref()) else { continue };
            let at = Timestamp::from_micros(at.saturating_sub(offset));
            let took = result.timings.as_ref().map_or(0, |timings| timings.total_us);
            let (hosted_on, elements) = (self.hosts.get(target).map_or("", String::as_str), self.elements.get(target));
            let (ended, took) = (outcome.into(), Duration::from_micros(took.into()));
            give(Run { target, hosted_on, elements, group, at, ended, took });
        }
    }
}

/// Counts the records of a log.
#[derive(Debug, Default)]
pub struct Counter {
    runs: Runs,
    tally: Tally,
    results: usize,
}

impl Counter {
    /// Takes the next record in.
    pub fn take(&mut self, cursor: Cursor, record: &Record) {
        let Self { runs, tally, results } = self;
        tally.through = cursor;
        runs.take(record, |run| {
            let minute = run.at.micros().div_euclid(MINUTE);
            let part = tally.targets.entry((minute.div_euclid(60), run.target.clone())).or_default();
            let minutes = part.0.entry((run.group.to_owned(), run.ended)).or_default();
            let count = minutes.entry(u8::try_from(minute.rem_euclid(60)).unwrap_or_default()).or_default();
            *count = count.saturating_add(1);
            *results += 1;
        });
    }

    /// Results in the tally.
    pub fn results(&self) -> usize {
        self.results
    }

    /// What was counted since the last time.
    pub fn tally(&mut self) -> Tally {
        self.results = 0;
        let through = self.tally.through;
        let mut tally = std::mem::replace(&mut self.tally, Tally { through, ..Tally::default() });
        for ((hour, target), part) in &tally.targets {
            for element in self.runs.elements.get(target).into_iter().flatten() {
                tally.elements.entry((*hour, element.clone())).or_default().add(part);
            }
        }
        tally
    }
}

/// The hour of an instant, since the epoch.
pub fn hour(at: Timestamp) -> i64 {
    at.micros().div_euclid(60 * MINUTE)
}

/// The minute of an hour, as an instant.
pub fn minute_of(hour: i64, minute: u8) -> Timestamp {
    Timestamp::from_micros((hour * 60 + i64::from(minute)) * MINUTE)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_part_reads_as_it_was_written() {
        for seed in 0..256 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut counts = || -> BTreeMap<u8, u32> {
                (0..random.random_range(0..60))
                    .map(|_| (random.random_range(0..60), random.random_range(1..5)))
                    .collect()
            };
            let (counts, more) = (counts(), counts());
            let mut part = Part::default();
            part.0.insert(("home-fra".into(), Ended::Passed), counts.clone());
            part.0.insert(("home-fra".into(), Ended::Dns), more);
            assert_eq!(Part::from_bytes(&part.to_bytes()), Some(part.clone()), "seed {seed}");
            part.add(&part.clone());
            for (minute, count) in counts {
                assert!(part.rows().contains(&(minute, "home-fra", Ended::Passed, count * 2)), "seed {seed}");
            }
        }
    }

    #[test]
    fn an_hour_of_even_counts_takes_few_bytes() {
        let mut part = Part::default();
        part.0.insert(("home-fra".into(), Ended::Passed), (0..60).map(|minute| (minute, 2)).collect());
        assert!(part.to_bytes().len() < 16, "{} bytes", part.to_bytes().len());
    }
}
