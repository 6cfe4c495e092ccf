//! A log whose callers wait while it is full, and that says so.
//!
//! Rules: what cannot be stored for want of room is asked again every half second, so that everything goes on within seconds
//! after there is room, and nobody is answered before that; all but a tick, which says nothing once it is late: the next one
//! comes. Every other error is its caller's at once. That the log is full is logged once, and shown for as long as it lasts.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use tokio::sync::Notify;

use super::{Admission, Appended, ChangeLog, Cursor, Entry, LogError, RecordLog};
use crate::{
    feed::Published,
    record::{Record, RecordKind},
};

/// How often a log that is full is asked again, in real time. Source: a tenth of the five seconds in which everything must
/// go on.
const AGAIN: Duration = Duration::from_millis(500);

/// Since when nothing can be written. Its watchers wake in the order in which they began to wait: those of a
/// `tokio::sync::watch` wake in one that is drawn, and a simulation's seed would not decide what they do.
#[derive(Clone, Default)]
pub struct FullSince(Arc<Shown>);

#[derive(Default)]
struct Shown {
    since: Mutex<Option<Timestamp>>,
    changed: Notify,
}

impl FullSince {
    /// Since when; `None` while there is room.
    pub fn get(&self) -> Option<Timestamp> {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is another than `known`, and returns it.
    pub async fn other_than(&self, known: Option<Timestamp>) -> Option<Timestamp> {
        loop {
            let changed = self.0.changed.notified();
            let since = self.get();
            if since != known {
                return since;
            }
            changed.await;
        }
    }

    /// `change` returns whether it did.
    fn change(&self, change: impl FnOnce(&mut Option<Timestamp>) -> bool) {
        if change(&mut self.0.since.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.0.changed.notify_waiters();
        }
    }
}

/// A log whose callers wait while it is full.
pub struct Patient {
    records: Arc<dyn RecordLog>,
    changes: Arc<dyn ChangeLog>,
    clock: Clock,
    full_since: FullSince,
    /// Requests that found no room and are asked again.
    waiting: AtomicUsize,
}

impl Patient {
    /// A store of records and changes that fill the same disk.
    pub fn new(records: Arc<dyn RecordLog>, changes: Arc<dyn ChangeLog>, clock: Clock) -> Self {
        Self { records, changes, clock, full_since: FullSince::default(), waiting: AtomicUsize::new(0) }
    }

    /// Since when nothing can be written; `None` while it can.
    pub fn full_since(&self) -> FullSince {
        self.full_since.clone()
    }

    async fn until_stored<T, F: Future<Output = Result<T, LogError>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, LogError> {
        let mut waits = None;
        loop {
            match ask().await {
                Err(error) if error.is_full() => {
                    waits.get_or_insert_with(|| Waits::new(self));
                    self.is_full(&error);
                }
                answer => {
                    drop(waits);
                    self.has_room();
                    return answer;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn is_full(&self, error: &LogError) {
        self.full_since.change(|since| {
            let is_new = since.is_none();
            if is_new {
                tracing::error!(%error, "log cannot be written: nothing is acknowledged until there is room");
                *since = Some(Timestamp::from_micros(self.clock.now_micros()));
            }
            is_new
        });
    }

    /// Something was stored. What is small may still fit where what waits does not.
    fn has_room(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.full_since.change(|since| {
            let began = since.take();
            if let Some(since) = began {
                tracing::info!(%since, "log can be written again");
            }
            began.is_some()
        });
    }
}

/// Counts a request that found no room, until it is stored or nobody wants it any more.
struct Waits<'a>(&'a Patient);

impl<'a> Waits<'a> {
    fn new(log: &'a Patient) -> Self {
        log.waiting.fetch_add(1, Ordering::Relaxed);
        Self(log)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl RecordLog for Patient {
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError> {
        if record.kind == RecordKind::Tick {
            let answer = self.records.append(admission, record).await;
            match &answer {
                Err(error) if error.is_full() => self.is_full(error),
                _ => self.has_room(),
            }
            return answer;
        }
        self.until_stored(|| self.records.append(admission, record.clone())).await
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        self.records.next(after, limit).await
    }

    async fn trim(&self, through: Cursor) -> Result<Cursor, LogError> {
        self.records.trim(through).await
    }

    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError> {
        self.records.admitted(agent, incarnation, lane).await
    }
}

#[async_trait]
impl ChangeLog for Patient {
    fn feed_id(&self) -> String {
        self.changes.feed_id()
    }

    async fn publish(&self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Result<Vec<Entry>, LogError> {
        self.until_stored(|| self.changes.publish(tick, at, changes.clone())).await
    }

    async fn published_after(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.changes.published_after(sequence, limit).await
    }
}
