//! Slices: one kind of probe, again and again for a while, and how many there were.
//!
//! [`agent`] and [`bare`] are parts; `blackbox_exporter` is driven from outside ([`blackbox`](super::blackbox)).

pub mod agent;
pub mod bare;

use std::{cell::RefCell, time::Duration};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Kind, Places};

/// What to probe, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// What.
    pub kind: Kind,
    /// Where.
    pub places: Places,
    /// No probe starts after this.
    pub lasts: Duration,
    /// Probes at a time.
    pub concurrency: usize,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Probes that were run.
    pub probes: usize,
    /// Those that did not pass.
    pub failed: usize,
    /// Why the first of these did not.
    pub first_failure: Option<String>,
    /// From the first probe's start to the last one's end.
    pub took: Duration,
}

impl Slice {
    /// Runs the probe until time is up, so many at once; its argument is the worker's number.
    pub async fn run(&self, probe: impl AsyncFn(usize) -> Result<(), String>) -> Counted {
        let began = Instant::now();
        let counted = RefCell::new(Counted::default());
        let worker = async |number: usize| {
            while began.elapsed() < self.lasts {
                let done = probe(number).await;
                let mut counted = counted.borrow_mut();
                counted.probes += 1;
                if let Err(why) = done {
                    counted.failed += 1;
                    counted.first_failure.get_or_insert(why);
                }
            }
        };
        join_all((0..self.concurrency).map(worker)).await;
        Counted { took: began.elapsed(), ..counted.into_inner() }
    }
}

#[cfg(test)]
mod tests;
