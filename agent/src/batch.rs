//! Collects results until a batch is worth sealing: pure, `now` is an argument.
//!
//! Rules: a batch is sealed when it is full, when its oldest result has waited long enough, or at once when it holds a
//! failed result or one that was asked for; facts are numbered within the incarnation, above those of earlier processes, and
//! every batch has all that its results refer to: whether they were sent before is for the session to know.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use faultline_proto::{
    agent::v1::Limits,
    convert::std_duration,
    types::v1::{Outcome, ProbeResult},
};
use prost::Message;

use crate::{
    probe::{Facts, Observed},
    spool,
};

/// When a batch is full or old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Results in a batch.
    pub results: usize,
    /// Encoded size of a batch, roughly.
    pub bytes: usize,
    /// Longest wait of a result.
    pub age: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { results: 200, bytes: 256 * 1024, age: Duration::from_secs(2) }
    }
}

impl From<&Limits> for BatchLimits {
    /// The coordinator's limits; its zeros mean the defaults.
    fn from(limits: &Limits) -> Self {
        let or = |value: u32, default: usize| usize::try_from(value).ok().filter(|value| *value > 0).unwrap_or(default);
        let default = Self::default();
        Self {
            results: or(limits.max_batch_results, default.results),
            bytes: or(limits.max_batch_bytes, default.bytes),
            age: std_duration(limits.max_batch_age.as_ref()).filter(|age| !age.is_zero()).unwrap_or(default.age),
        }
    }
}

/// The batch that is being filled.
#[derive(Debug, Default)]
pub struct Batcher {
    limits: BatchLimits,
    results: Vec<ProbeResult>,
    facts: Vec<spool::Facts>,
    referred: HashSet<u32>,
    bytes: usize,
    oldest: Option<i64>,
    urgency: Urgency,
    numbers: HashMap<Facts, spool::Facts>,
    last_number: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Urgency {
    #[default]
    Normal,
    /// Somebody waits for it: it failed, or was asked for.
    Urgent,
}

/// A full batch without its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sealed {
    /// When its oldest result came, in microseconds since the Unix epoch.
    pub since: i64,
    /// Facts that the results refer to, each once.
    pub facts: Vec<spool::Facts>,
    /// Results.
    pub results: Vec<ProbeResult>,
}

impl Batcher {
    /// An empty batch under the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with numbers of facts above the last that an earlier process used.
    pub fn after(last_facts: u32) -> Self {
        Self { last_number: last_facts, ..Self::default() }
    }

    /// Takes over the session's limits.
    pub fn set_limits(&mut self, limits: BatchLimits) {
        self.limits = limits;
    }

    /// Adds the slot's result.
    pub fn add(&mut self, now: i64, slot: u32, observed: Observed) {
        let mut result = observed.result;
        result.slot = slot;
        if let Some(facts) = observed.facts {
            result.facts = self.refer_to(&facts);
        }
        if result.outcome() == Outcome::Failed || result.on_demand {
            self.urgency = Urgency::Urgent;
        }
        self.bytes += framed(result.encoded_len());
        // By a clock that was set back, what waits is not of the future.
        self.oldest = Some(self.oldest.map_or(now, |oldest| oldest.min(now)));
        self.results.push(result);
    }

    fn refer_to(&mut self, facts: &Facts) -> u32 {
        // A peer that invents facts at each run must not grow the table for ever; numbers are never used twice.
        if self.numbers.len() >= MAX_FACTS && !self.numbers.contains_key(facts) {
            self.numbers.clear();
        }
        let known = self.numbers.entry(facts.clone()).or_insert_with(|| {
            self.last_number += 1;
            let number = self.last_number;
            spool::Facts { number, encoded: facts.to_wire(number).encode_to_vec().into() }
        });
        if self.referred.insert(known.number) {
            self.bytes += framed(known.encoded.len());
            self.facts.push(known.clone());
        }
        known.number
    }

    /// When the batch is to be sealed; `None` while it is empty.
    pub fn due(&self) -> Option<i64> {
        let oldest = self.oldest?;
        let is_full = self.results.len() >= self.limits.results || self.bytes >= self.limits.bytes * 9 / 10;
        if is_full || self.urgency == Urgency::Urgent {
            return Some(oldest);
        }
        Some(oldest.saturating_add(i64::try_from(self.limits.age.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The batch, if there is anything in it.
    pub fn seal(&mut self) -> Option<Sealed> {
        let since = self.oldest.take()?;
        self.bytes = 0;
        self.urgency = Urgency::Normal;
        self.referred.clear();
        Some(Sealed { since, facts: std::mem::take(&mut self.facts), results: std::mem::take(&mut self.results) })
    }
}

/// Encoded size of a message inside another: its own, a tag and a length.
fn framed(length: usize) -> usize {
    length + 1 + prost::length_delimiter_len(length)
}

const MAX_FACTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{Cause, Layer};

    use super::*;

    #[test]
    fn a_batch_waits_for_its_age_and_a_failure_does_not() {
        let mut batcher = Batcher::new();
        assert_eq!(batcher.due(), None);
        batcher.add(1_000_000, 1, passed("a"));
        batcher.add(1_500_000, 2, passed("a"));
        assert_eq!(batcher.due(), Some(3_000_000));
        batcher.add(1_600_000, 3, failed());
        assert!(batcher.due().is_some_and(|due| due <= 1_600_000));
        let slots: Vec<_> = batcher.seal().expect("three results").results.iter().map(|result| result.slot).collect();
        assert_eq!(slots, [1, 2, 3]);
        batcher.add(2_000_000, 4, passed("a"));
        assert_eq!(batcher.due(), Some(4_000_000));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_waiting() {
        let mut batcher = Batcher::new();
        batcher.add(3_600_000_000, 1, passed("a"));
        batcher.add(1_000_000, 2, passed("a"));
        assert_eq!(batcher.due(), Some(3_000_000));
    }

    #[test]
    fn what_was_asked_for_does_not_wait() {
        let mut batcher = Batcher::new();
        let mut asked_for = passed("a");
        asked_for.result.on_demand = true;
        batcher.add(1_000_000, 1, asked_for);
        assert_eq!(batcher.due(), Some(1_000_000));
    }

    #[test]
    fn a_batch_is_full_by_count_and_by_bytes() {
        let mut batcher = Batcher::new();
        batcher.set_limits(BatchLimits { results: 2, ..BatchLimits::default() });
        batcher.add(5, 1, passed("a"));
        assert_ne!(batcher.due(), Some(5));
        batcher.add(6, 2, passed("a"));
        assert_eq!(batcher.due(), Some(5));

        let mut batcher = Batcher::new();
        batcher.set_limits(BatchLimits { bytes: 1_000, ..BatchLimits::default() });
        let mut added = 0;
        while batcher.due() != Some(5) {
            batcher.add(5, 1, passed(&format!("resolver-{added}")));
            added += 1;
        }
        let sealed = batcher.seal().expect("results");
        let encoded = sealed.results.iter().map(|result| framed(result.encoded_len())).sum::<usize>()
            + sealed.facts.iter().map(|facts| framed(facts.encoded.len())).sum::<usize>();
        assert!((900..1_000).contains(&encoded), "{encoded} bytes");
    }

    #[test]
    fn a_batch_has_all_facts_that_it_refers_to_and_each_once() {
        let mut batcher = Batcher::after(40);
        let referred = |batcher: &mut Batcher, names: &[&str]| {
            for name in names {
                batcher.add(0, 1, passed(name));
            }
            let sealed = batcher.seal().expect("results");
            let results: Vec<_> = sealed.results.iter().map(|result| result.facts).collect();
            (results, sealed.facts.iter().map(|facts| facts.number).collect::<Vec<_>>())
        };
        assert_eq!(referred(&mut batcher, &["a", "b", "a"]), (vec![41, 42, 41], vec![41, 42]));
        assert_eq!(referred(&mut batcher, &["b"]), (vec![42], vec![42]));
    }

    #[test]
    fn a_peer_that_invents_facts_does_not_grow_the_table() {
        let mut batcher = Batcher::new();
        for invented in 0..=MAX_FACTS {
            batcher.add(0, 1, passed(&invented.to_string()));
        }
        assert!(batcher.numbers.len() <= MAX_FACTS);
        batcher.add(0, 1, passed("0"));
        let sealed = batcher.seal().expect("results");
        let last = sealed.results.last().map(|result| result.facts);
        assert_eq!(last, Some(u32::try_from(MAX_FACTS).expect("small") + 2), "a number came back");
    }

    fn passed(resolver: &str) -> Observed {
        let mut result = ProbeResult::default();
        result.set_outcome(Outcome::Passed);
        Observed { result, facts: Some(Facts { resolver: resolver.to_owned(), ..Facts::default() }) }
    }

    fn failed() -> Observed {
        let mut result = ProbeResult::default();
        result.set_outcome(Outcome::Failed);
        result.set_layer(Layer::Connect);
        result.set_cause(Cause::ConnectRefused);
        Observed { result, facts: None }
    }
}
