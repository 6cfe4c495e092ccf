//! Batches in memory: what a machine without a place to write has, and what tests compare others with.
//!
//! Rules: what is confirmed is freed at once; facts are held once for all batches that refer to them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

use bytes::Bytes;

use super::{Change, Head, Ledger, Room, Row, Store, StoreError};

/// Batches that end with the process.
#[derive(Debug)]
pub struct MemoryStore {
    max_bytes: u64,
    bytes: u64,
    ledger: Option<Ledger>,
    rows: BTreeMap<u64, Held>,
    facts: HashMap<u32, (Bytes, usize)>,
}

/// A batch whose facts are apart.
#[derive(Debug)]
struct Held {
    row: Row,
    refers: Vec<u32>,
}

impl MemoryStore {
    /// An empty one of that size.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, bytes: 0, ledger: None, rows: BTreeMap::new(), facts: HashMap::new() }
    }

    fn add(&mut self, row: &Row) {
        let mut row = row.clone();
        let facts = std::mem::take(&mut row.facts);
        let refers = facts.iter().map(|facts| facts.number).collect();
        self.bytes += size(&row);
        for facts in facts {
            let held = self.facts.entry(facts.number).or_insert_with(|| {
                self.bytes += facts.encoded.len() as u64;
                (facts.encoded, 0)
            });
            held.1 += 1;
        }
        self.rows.insert(row.id, Held { row, refers });
    }

    fn remove(&mut self, ids: RangeInclusive<u64>) {
        let removed: Vec<_> = self.rows.extract_if(ids, |_, _| true).collect();
        for (_, held) in removed {
            self.bytes -= size(&held.row);
            for number in held.refers {
                let Some(facts) = self.facts.get_mut(&number) else { continue };
                facts.1 -= 1;
                if facts.1 == 0 {
                    self.bytes -= facts.0.len() as u64;
                    self.facts.remove(&number);
                }
            }
        }
    }
}

impl Store for MemoryStore {
    fn ledger(&mut self) -> Result<Option<Ledger>, StoreError> {
        Ok(self.ledger.clone())
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        if change.add.iter().map(|row| self.cost(row)).sum::<u64>() > self.max_bytes {
            return Err(StoreError::Quota);
        }
        for ids in change.remove {
            self.remove(ids.clone());
        }
        for row in change.add {
            self.add(row);
        }
        self.ledger = Some(change.ledger.clone());
        Ok(())
    }

    fn read(&mut self, ids: RangeInclusive<u64>) -> Result<Option<Row>, StoreError> {
        let Some((_, held)) = self.rows.range(ids).next() else { return Ok(None) };
        let facts = held
            .refers
            .iter()
            .filter_map(|number| Some(super::Facts { number: *number, encoded: self.facts.get(number)?.0.clone() }));
        Ok(Some(Row { facts: facts.collect(), ..held.row.clone() }))
    }

    fn heads(&mut self, ids: RangeInclusive<u64>, most: usize) -> Result<Vec<Head>, StoreError> {
        Ok(self.rows.range(ids).take(most).map(|(_, held)| Head::of(&held.row, size(&held.row))).collect())
    }

    fn newest_before(&mut self, above: u64, sealed_before: i64) -> Result<Option<u64>, StoreError> {
        let mut newer = self.rows.range(above + 1..).rev();
        Ok(newer.find(|(_, held)| held.row.sealed_at < sealed_before).map(|(id, _)| *id))
    }

    fn room(&mut self) -> Result<Room, StoreError> {
        let free = self.max_bytes - self.bytes.min(self.max_bytes);
        Ok(Room { inside: free, growth: 0, used: self.bytes, all: self.max_bytes })
    }

    fn cost(&self, row: &Row) -> u64 {
        let new = row.facts.iter().filter(|facts| !self.facts.contains_key(&facts.number));
        size(row) + new.map(|facts| facts.encoded.len() as u64).sum::<u64>()
    }

    fn keeps_confirmed(&self) -> bool {
        false
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn renew(&mut self, _now: i64) -> Result<(), StoreError> {
        *self = Self::new(self.max_bytes);
        Ok(())
    }
}

fn size(row: &Row) -> u64 {
    (row.payload.len() + OF_ROW) as u64
}

/// Rough size of what is held of a batch beside its content.
const OF_ROW: usize = 128;
