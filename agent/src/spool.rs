//! Sealed batches that the coordinator has not yet confirmed, in memory, within a bound.
//!
//! Rules: numbers are dense from 1 within an incarnation, which is 16 random bytes for each start of the process; when
//! the bound is reached the oldest batch is dropped and its results are counted; the facts that it announced move to
//! the oldest batch that is left, so that no result refers to facts that were never sent. Batches are held encoded,
//! which is a quarter of their size otherwise. Only the live lane exists.

use std::collections::VecDeque;

use faultline_proto::{
    agent::v1::{Lane, ResultBatch, SpoolState},
    convert,
    types::v1::Facts,
};
use prost::Message;

use crate::batch::Sealed;

/// Batches in order of their numbers.
#[derive(Debug)]
pub struct Spool {
    incarnation: [u8; 16],
    held: VecDeque<Held>,
    next_number: u64,
    bytes: usize,
    max_bytes: usize,
    dropped_results: u64,
}

/// One batch: its facts apart, since those of a dropped one join them.
#[derive(Debug)]
struct Held {
    number: u64,
    results: u64,
    sealed_at: i64,
    facts: Vec<Facts>,
    encoded: Vec<u8>,
}

impl Held {
    fn bytes(&self) -> usize {
        self.encoded.len() + self.facts.iter().map(Message::encoded_len).sum::<usize>()
    }
}

impl Spool {
    /// An empty spool of a new incarnation.
    pub fn new(incarnation: [u8; 16], max_bytes: usize) -> Self {
        Self { incarnation, held: VecDeque::new(), next_number: 1, bytes: 0, max_bytes, dropped_results: 0 }
    }

    /// What the numbers are counted in.
    pub fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    /// Numbers and holds the batch. Returns facts whose announcement was lost because nothing is left to carry it.
    pub fn push(&mut self, now: i64, sealed: Sealed, skipped_runs: u64) -> Vec<u32> {
        let number = self.next_number;
        let results = sealed.results.len() as u64;
        let batch = ResultBatch {
            lane: Lane::Live.into(),
            number,
            results: sealed.results,
            sealed_at: Some(convert::timestamp(now)),
            skipped_runs,
            ..ResultBatch::default()
        };
        let held = Held { number, results, sealed_at: now, facts: sealed.facts, encoded: batch.encode_to_vec() };
        self.next_number += 1;
        self.bytes += held.bytes();
        self.held.push_back(held);
        let mut lost = Vec::new();
        while self.bytes > self.max_bytes {
            let Some(dropped) = self.take_oldest() else { break };
            self.dropped_results += dropped.results;
            if let Some(oldest) = self.held.front_mut() {
                self.bytes -= oldest.bytes();
                oldest.facts.splice(0..0, dropped.facts);
                self.bytes += oldest.bytes();
            } else {
                lost.extend(dropped.facts.iter().map(|facts| facts.number));
            }
        }
        lost
    }

    /// Frees everything up to and with the number.
    pub fn ack(&mut self, number: u64) {
        while self.held.front().is_some_and(|batch| batch.number <= number) {
            self.take_oldest();
        }
    }

    fn take_oldest(&mut self) -> Option<Held> {
        let oldest = self.held.pop_front()?;
        self.bytes -= oldest.bytes();
        Some(oldest)
    }

    /// The batch as it is to be sent now; `None` when it is not held.
    pub fn batch(&self, number: u64) -> Option<ResultBatch> {
        let index = usize::try_from(number.checked_sub(self.first_number())?).ok()?;
        let held = self.held.get(index)?;
        let mut batch = ResultBatch::decode(held.encoded.as_slice()).ok()?;
        batch.facts.clone_from(&held.facts);
        batch.first_number = self.first_number();
        batch.dropped_results = self.dropped_results;
        Some(batch)
    }

    /// The lowest number held; the next to be made when none is.
    pub fn first_number(&self) -> u64 {
        self.held.front().map_or(self.next_number, |batch| batch.number)
    }

    /// The number of the next batch.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes held, at most the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest batch held was sealed, in microseconds since the Unix epoch.
    pub fn oldest_sealed_at(&self) -> Option<i64> {
        self.held.front().map(|batch| batch.sealed_at)
    }

    /// Results dropped for want of room since the incarnation began.
    pub fn dropped_results(&self) -> u64 {
        self.dropped_results
    }

    /// The spool as hello and heartbeats tell it.
    pub fn state(&self) -> SpoolState {
        SpoolState {
            lane: Lane::Live.into(),
            first_number: self.first_number(),
            next_number: self.next_number,
            dropped_results: self.dropped_results,
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::ProbeResult;

    use super::*;

    #[test]
    fn an_ack_frees_what_it_covers() {
        let mut spool = Spool::new([7; 16], 1 << 20);
        for slot in 1..=5 {
            assert!(spool.push(slot.into(), sealed(slot, &[]), 0).is_empty());
        }
        spool.ack(3);
        assert_eq!((spool.first_number(), spool.next_number()), (4, 6));
        assert_eq!(spool.oldest_sealed_at(), Some(4));
        assert!(spool.batch(3).is_none());
        assert_eq!(spool.batch(4).map(|batch| (batch.number, batch.first_number)), Some((4, 4)));
        spool.ack(5);
        assert!(spool.is_empty());
        assert_eq!((spool.first_number(), spool.bytes), (6, 0));
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_says_so() {
        let size = encoded(&[]);
        let mut spool = Spool::new([7; 16], size * 3 + size / 2);
        for slot in 1..=5 {
            spool.push(0, sealed(slot, &[]), 0);
        }
        assert_eq!((spool.first_number(), spool.next_number(), spool.dropped_results()), (3, 6, 2));
        let oldest = spool.batch(3).expect("held");
        assert_eq!((oldest.first_number, oldest.dropped_results), (3, 2));
        assert_eq!(spool.state().dropped_results, 2);
    }

    #[test]
    fn facts_of_a_dropped_batch_move_to_the_oldest_that_is_left() {
        let size = encoded(&[1]);
        let mut spool = Spool::new([7; 16], size * 2 + size / 2);
        assert!(spool.push(0, sealed(1, &[1]), 0).is_empty());
        assert!(spool.push(0, sealed(2, &[2]), 0).is_empty());
        assert!(spool.push(0, sealed(3, &[]), 0).is_empty());
        let carried: Vec<_> = spool.batch(2).expect("held").facts.iter().map(|facts| facts.number).collect();
        assert_eq!(carried, [1, 2]);
    }

    #[test]
    fn facts_that_nothing_can_carry_are_given_back() {
        let mut spool = Spool::new([7; 16], 1);
        assert_eq!(spool.push(0, sealed(1, &[1, 2]), 0), [1, 2]);
        assert_eq!((spool.first_number(), spool.dropped_results(), spool.bytes), (2, 1, 0));
    }

    fn encoded(facts: &[u32]) -> usize {
        let mut spool = Spool::new([7; 16], usize::MAX);
        spool.push(0, sealed(1, facts), 0);
        spool.bytes
    }

    fn sealed(slot: u32, facts: &[u32]) -> Sealed {
        Sealed {
            facts: facts.iter().map(|number| Facts { number: *number, ..Facts::default() }).collect(),
            results: vec![ProbeResult { slot, status: 200, ..ProbeResult::default() }],
        }
    }
}
