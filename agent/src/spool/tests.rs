//! The spool by what it promises: every store passes the same suite, and every result is stored, told as lost, or waits.

mod conformance;
mod disk;
mod folder;
mod kill;
mod model;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use faultline_proto::{agent::v1::Lane, types::v1::ProbeResult};

use super::*;
use crate::batch::Sealed;

/// A batch of so many results, that refers to these facts.
fn sealed(results: u32, facts: &[u32]) -> Sealed {
    let content = |number: &u32| Bytes::from(format!("facts {number}"));
    Sealed {
        since: 0,
        facts: facts.iter().map(|number| Facts { number: *number, encoded: content(number) }).collect(),
        results: (0..results).map(|slot| ProbeResult { slot, status: 200, ..ProbeResult::default() }).collect(),
    }
}

/// A batch that takes about so many bytes, with one result.
fn sealed_of(bytes: usize) -> Sealed {
    let last_hop = vec![7; bytes];
    Sealed { results: vec![ProbeResult { last_hop, ..ProbeResult::default() }], ..sealed(0, &[]) }
}

fn at(now: i64) -> Stamp {
    Stamp { now, ..Stamp::default() }
}

/// Everything that waits in a lane, in order.
async fn waiting(spool: &Spool, lane: Lane) -> Vec<Fetched> {
    let mut found = Vec::new();
    let mut number = spool.view().lane(lane).first;
    while let Some(fetched) = spool.fetch(lane, number).await {
        number = fetched.number + 1;
        found.push(fetched);
    }
    found
}

async fn numbers(spool: &Spool, lane: Lane) -> Vec<u64> {
    waiting(spool, lane).await.iter().map(|fetched| fetched.number).collect()
}

/// What a coordinator that gets everything would count: results, and losses told.
async fn counted(spool: &Spool) -> (u64, u64) {
    let mut counted = (0, 0);
    let mut ids = BTreeSet::new();
    for lane in [Lane::Live, Lane::Backfill] {
        for fetched in waiting(spool, lane).await {
            assert!(ids.insert(fetched.row.id), "{fetched:?} is in both lanes");
            counted.0 += fetched.row.results;
            counted.1 += fetched.row.losses.iter().map(|lost| lost.results).sum::<u64>();
        }
    }
    counted
}

/// A count that tests look at, and that outlives the spool.
#[derive(Clone, Debug, Default)]
struct SharedCounter(Arc<Mutex<Option<Counted>>>);

/// An incarnation, and how many results were made in it.
type Counted = ([u8; 16], u64);

impl Counter for SharedCounter {
    fn load(&mut self, incarnation: &[u8; 16]) -> Option<u64> {
        let found = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.filter(|(of, _)| of == incarnation).map(|(_, made)| made)
    }

    fn save(&mut self, incarnation: &[u8; 16], made: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((*incarnation, made));
    }
}
