//! Facts of one agent: what the numbers in its results mean.
//!
//! Rules: a number is one thing within an incarnation, in both lanes, and keeps the meaning that came first; a new incarnation
//! starts anew, and those before it stay readable while their batches are drained; both are bounded, the oldest goes first.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use faultline_proto::types::v1::Facts;
use prost::Message as _;

use super::pool::{Held, Pool};

/// Incarnations whose facts are held: one in use, one whose spool is drained, and a few processes that died soon.
const INCARNATIONS: usize = 4;

/// Encoded size of the facts held of one agent. Source: a thousand targets with two sights of each, of 2 KiB with their
/// certificates, twice over, since a spool may hold batches from before.
const MAX_BYTES: usize = 8 << 20;

/// Facts of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct FactsOfAgent {
    /// The newest incarnation last.
    tables: VecDeque<Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    incarnation: Vec<u8>,
    facts: BTreeMap<u32, Held>,
    bytes: usize,
}

impl FactsOfAgent {
    /// Takes in what a batch of the incarnation announces.
    pub(super) fn announce(&mut self, pool: &mut Pool, incarnation: &[u8], announced: Vec<Facts>) {
        if announced.is_empty() {
            return;
        }
        if !self.tables.iter().any(|table| table.incarnation == incarnation) {
            if self.tables.len() >= INCARNATIONS {
                self.tables.pop_front();
            }
            self.tables.push_back(Table { incarnation: incarnation.to_owned(), ..Table::default() });
        }
        let Some(table) = self.tables.iter_mut().find(|table| table.incarnation == incarnation) else { return };
        for facts in announced {
            if let Entry::Vacant(vacant) = table.facts.entry(facts.number) {
                let held = pool.hold(facts);
                table.bytes += size(&held.0);
                vacant.insert(held);
            }
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.tables.iter().map(|table| table.bytes).sum::<usize>() > MAX_BYTES {
            let is_last = self.tables.len() == 1;
            match self.tables.front_mut() {
                Some(table) if is_last => match table.facts.pop_first() {
                    Some((_, facts)) => table.bytes -= size(&facts.0),
                    None => return,
                },
                _ => drop(self.tables.pop_front()),
            }
        }
    }

    /// Each incarnation and its facts, the newest last.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&[u8], &BTreeMap<u32, Held>)> {
        self.tables.iter().map(|table| (table.incarnation.as_slice(), &table.facts))
    }

    /// Takes in an incarnation of a snapshot, newer than those before.
    pub(super) fn come_back(&mut self, incarnation: Vec<u8>, facts: BTreeMap<u32, Held>) {
        let bytes = facts.values().map(|held| size(&held.0)).sum();
        self.tables.push_back(Table { incarnation, facts, bytes });
    }

    /// What the numbers of an incarnation mean.
    pub(super) fn incarnation(&self, incarnation: &[u8]) -> Option<&BTreeMap<u32, Held>> {
        self.tables.iter().rev().find(|table| table.incarnation == incarnation).map(|table| &table.facts)
    }

    /// What a number means in the incarnation.
    pub(super) fn of(&self, incarnation: &[u8], number: u32) -> Option<&Held> {
        self.incarnation(incarnation)?.get(&number)
    }
}

/// What facts count for: their size, and the place that even empty ones take.
fn size(facts: &Facts) -> usize {
    facts.encoded_len() + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u32, issuer: &str) -> Vec<Facts> {
        vec![Facts { number, issuer: issuer.into(), ..Facts::default() }]
    }

    fn issuer(agent: &FactsOfAgent, incarnation: u8, number: u32) -> Option<&str> {
        agent.of(&[incarnation; 16], number).map(|held| held.0.issuer.as_str())
    }

    #[test]
    fn a_number_keeps_its_meaning_within_an_incarnation_and_has_another_in_the_next() {
        let (mut agent, mut pool) = (FactsOfAgent::default(), Pool::default());
        agent.announce(&mut pool, &[1; 16], facts(1, "old"));
        agent.announce(&mut pool, &[2; 16], facts(1, "new"));
        agent.announce(&mut pool, &[1; 16], facts(1, "forged"));
        assert_eq!((issuer(&agent, 1, 1), issuer(&agent, 2, 1)), (Some("old"), Some("new")));
        assert_eq!((issuer(&agent, 1, 2), issuer(&agent, 3, 1)), (None, None));
    }

    #[test]
    fn what_is_held_is_bounded_and_the_oldest_goes_first() {
        let (mut agent, mut pool) = (FactsOfAgent::default(), Pool::default());
        for incarnation in 1..=5 {
            agent.announce(&mut pool, &[incarnation; 16], facts(1, "x"));
        }
        assert_eq!((agent.tables.len(), issuer(&agent, 1, 1), issuer(&agent, 2, 1)), (4, None, Some("x")));
        for number in 1..=2_000 {
            agent.announce(&mut pool, &[5; 16], facts(number, &"x".repeat(8_000)));
        }
        assert_eq!((issuer(&agent, 5, 1), issuer(&agent, 4, 1)), (None, None));
        assert!(issuer(&agent, 5, 2_000).is_some() && agent.tables[0].facts.len() > 1_000);
        assert!(agent.tables.iter().map(|table| table.bytes).sum::<usize>() <= MAX_BYTES);
    }
}
