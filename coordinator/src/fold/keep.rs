//! Keep: when a snapshot is taken, and that no tick waits for its disk.
//!
//! The state is put into bytes between two ticks, on the fold's own thread; the bytes are written on another. Rules: one is
//! written at a time; a disk that refuses is said once a time and tried again, and never stops the fold. A fleet so large
//! that its bytes take long has them taken the more rarely: at most one part in [`SHARE`] of the fold's time.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{Fold, snapshot::Snapshot, snapshots::Snapshots};

/// Time between snapshots. Source: the records of a minute are folded in less than a second.
const EVERY: Duration = Duration::from_mins(1);

/// Start value: one part in a thousand is 60 ms a minute.
const SHARE: u32 = 1000;

/// Takes snapshots of a fold.
#[derive(Debug)]
pub struct Keep {
    snapshots: Arc<Snapshots>,
    writing: JoinSet<()>,
    due_at: Instant,
}

impl Keep {
    /// Takes the first one at once: the log may just have been folded whole.
    pub fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots, writing: JoinSet::new(), due_at: Instant::now() }
    }

    /// Takes one if it is time.
    pub fn after_tick(&mut self, fold: &Fold) {
        while self.writing.try_join_next().is_some() {}
        if Instant::now() >= self.due_at && self.writing.is_empty() {
            self.take(fold);
        }
    }

    /// Waits until what was taken is on disk.
    pub async fn written(&mut self) {
        while self.writing.join_next().await.is_some() {}
    }

    /// Takes the last one, and waits until it is on disk.
    pub async fn end(mut self, fold: &Fold) {
        self.written().await;
        self.take(fold);
        self.written().await;
    }

    fn take(&mut self, fold: &Fold) {
        let began = Instant::now();
        let Some(snapshot) = fold.snapshot() else { return };
        let took = began.elapsed();
        self.due_at = began + EVERY.max(took * SHARE);
        let snapshots = Arc::clone(&self.snapshots);
        self.writing.spawn_blocking(move || write(&snapshots, &snapshot, took));
    }
}

fn write(snapshots: &Snapshots, snapshot: &Snapshot, took: Duration) {
    let began = Instant::now();
    match snapshots.write(snapshot) {
        Ok(bytes) => {
            let written = began.elapsed();
            tracing::debug!(cursor = snapshot.cursor.0, bytes, ?took, ?written, "snapshot written");
        }
        Err(error) => tracing::warn!(%error, "snapshot not written"),
    }
}
