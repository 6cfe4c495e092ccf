//! Measure: single results as they come in, for researchers. Ingest shows what it stored at the [`Tap`]; whoever
//! subscribes (`faultline.measure.v1alpha1`) reads there.
//!
//! Rules: only what is durable is shown, each batch once. Showing takes a short lock and a place in a ring, and never waits:
//! a reader that is slow, or gone, costs ingest and the fold nothing; whoever lies behind the ring counts what it missed. A batch
//! is unpacked by the first reader that wants it, and by none while nobody listens. It is told by vantage group who looked: no
//! agent's name and no address goes out.
//!
//! **Memory.** The ring holds `RING` batches and `RING_BYTES` of them, beyond that a batch is counted and not held; a stream has
//! 2,000 results waiting and as many on their way, and there are `grpc::STREAMS` of them: some 100 MiB if every reader stalls.

mod filter;
mod grpc;
mod outbox;
mod subscription;
mod wire;

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use faultline_attribution::{Timestamp, Vantage};
use faultline_proto::measure::v1alpha1::Measurement;
use tokio::sync::broadcast;

pub use self::{filter::Filter, grpc::Measure};
use crate::{catalog::Catalog, record::SlotTable};

/// Batches in the ring.
const RING: usize = 1024;

/// Bytes of them, as they came.
const RING_BYTES: usize = 16 << 20;

/// Where stored results are shown.
#[derive(Debug)]
pub struct Tap {
    ring: broadcast::Sender<Arc<Stored>>,
    /// Results shown so far. Held while a batch takes its place in the ring, so that both have one order.
    shown: Mutex<u64>,
    held: Arc<AtomicUsize>,
}

/// A batch that is durable.
#[derive(Debug)]
pub struct Batch {
    /// When it was received.
    pub received_at: Timestamp,
    /// From where its agent looks.
    pub vantage: Vantage,
    /// What its slots mean.
    pub table: Arc<SlotTable>,
    /// Whether it came with the backlog of an agent that was cut off.
    pub is_backlog: bool,
    /// It, encoded as it was stored.
    pub payload: Bytes,
}

/// A batch in the ring.
#[derive(Debug)]
struct Stored {
    received_at: Timestamp,
    /// Results of it.
    results: u64,
    /// Results shown before it.
    before: u64,
    /// Nothing where the ring had no room for it.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    batch: Batch,
    unpacked: OnceLock<Vec<Measurement>>,
    _room: Room,
}

/// Bytes taken of the ring's; free again when dropped.
#[derive(Debug)]
struct Room {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { ring: broadcast::channel(RING).0, shown: Mutex::default(), held: Arc::default() }
    }
}

impl Tap {
    /// Shows a batch of so many results that is durable, if anybody listens.
    pub fn show(&self, results: usize, batch: impl FnOnce() -> Batch) {
        if self.ring.receiver_count() == 0 || results == 0 {
            return;
        }
        let batch = batch();
        let received_at = batch.received_at;
        let room = Room::take(&self.held, batch.payload.len());
        let held = room.map(|room| Held { batch, unpacked: OnceLock::new(), _room: room });
        let results = u64::try_from(results).unwrap_or_default();
        let mut shown = self.shown();
        let before = *shown;
        *shown += results;
        // An error means that nobody listens any more.
        drop(self.ring.send(Arc::new(Stored { received_at, results, before, held })));
    }

    /// Everything that is shown from now on, and how many results were before it.
    fn listen(&self) -> (u64, broadcast::Receiver<Arc<Stored>>) {
        let shown = self.shown();
        (*shown, self.ring.subscribe())
    }

    fn shown(&self) -> MutexGuard<'_, u64> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// Its results, unpacked once for all readers; none where the ring had no room for it.
    fn measurements(&self, catalog: &Catalog) -> &[Measurement] {
        self.held.as_ref().map_or(&[], |held| held.unpacked.get_or_init(|| wire::unpack(&held.batch, catalog)))
    }
}

impl Room {
    fn take(held: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= RING_BYTES);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self { bytes, held: Arc::clone(held) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch {
            received_at: Timestamp::from_micros(1),
            vantage: Vantage::default(),
            table: Arc::default(),
            is_backlog: false,
            payload: vec![0; bytes].into(),
        }
    }

    #[test]
    fn nothing_is_kept_while_nobody_listens() {
        let tap = Tap::default();
        tap.show(1, || unreachable!("nobody asked for it"));
        let (before, mut ring) = tap.listen();
        tap.show(3, || batch(10));
        assert_eq!((before, ring.try_recv().expect("shown").results), (0, 3));
        drop(ring);
        tap.show(1, || unreachable!("nobody asks for it any more"));
    }

    #[test]
    fn a_ring_that_is_full_counts_what_it_does_not_hold_and_frees_what_was_read() {
        let tap = Tap::default();
        let (_, mut ring) = tap.listen();
        tap.show(1, || batch(RING_BYTES));
        tap.show(5, || batch(1));
        assert!(ring.try_recv().expect("shown").held.is_some());
        let left_out = ring.try_recv().expect("shown");
        assert!(left_out.held.is_none());
        assert_eq!((left_out.before, left_out.results), (1, 5));
        tap.show(1, || batch(RING_BYTES));
        assert!(ring.try_recv().expect("shown").held.is_some(), "there is room again");
    }
}
