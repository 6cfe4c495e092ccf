//! What was taken in since the process began: counted when it is durable, so that nothing counts that was not stored.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was taken in since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenCounts {
    /// Batches stored.
    pub batches: u64,
    /// Batches that came again after they were stored.
    pub repeated_batches: u64,
    /// Results stored.
    pub results: u64,
    /// Results of stored batches that could not be understood.
    pub refused_results: u64,
}

/// The counts as they grow.
#[derive(Debug, Default)]
pub(super) struct Taken {
    batches: AtomicU64,
    repeated_batches: AtomicU64,
    results: AtomicU64,
    refused_results: AtomicU64,
}

impl Taken {
    /// Counts a batch that is durable.
    pub(super) fn stored(&self, results: usize, refused_results: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.results.fetch_add(u64::try_from(results).unwrap_or_default(), Ordering::Relaxed);
        self.refused_results.fetch_add(u64::try_from(refused_results).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Counts a batch that was durable already.
    pub(super) fn repeated(&self) {
        self.repeated_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> TakenCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TakenCounts {
            batches: read(&self.batches),
            repeated_batches: read(&self.repeated_batches),
            results: read(&self.results),
            refused_results: read(&self.refused_results),
        }
    }
}
