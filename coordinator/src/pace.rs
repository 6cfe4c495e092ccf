//! Pace: ingest runs no further ahead of the fold than memory allows.
//!
//! What is durable and not yet folded is read back by the next tick, all at once. Rule: batches wait while those before them
//! hold `MOST_AHEAD` bytes that are still to be folded; agents then wait for acknowledgements, and keep what they have. Only
//! when the fold takes longer for a tick's results than they took to come does anybody wait.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Notify;

/// Bytes of batches that are durable, or on their way, and not yet folded. Source: a second's worth of a million results of
/// some 70 bytes each, and half as much again.
const MOST_AHEAD: i64 = 96 << 20;

/// How far ingest is ahead of the fold.
#[derive(Debug, Default)]
pub struct Pace {
    ahead: AtomicI64,
    folded: Notify,
}

/// The place of one batch; free again when dropped, unless it was stored ([`Ahead::stored`]): then when it is folded.
#[derive(Debug)]
pub struct Ahead {
    pace: Arc<Pace>,
    bytes: i64,
}

impl Pace {
    /// Waits until there is a place for a batch.
    pub async fn enter(self: &Arc<Self>, bytes: usize) -> Ahead {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let more = |ahead: i64| (ahead < MOST_AHEAD).then(|| ahead.saturating_add(bytes));
        loop {
            let folded = self.folded.notified();
            if self.ahead.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok() {
                return Ahead { pace: Arc::clone(self), bytes };
            }
            folded.await;
        }
    }

    /// Notes that batches were read from the log at start: they are still to be folded.
    pub(crate) fn start(&self, bytes: usize) {
        self.ahead.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Release);
    }

    /// Notes that a batch was folded.
    pub(crate) fn folded(&self, bytes: usize) {
        self.leave(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn leave(&self, bytes: i64) {
        let before = self.ahead.fetch_sub(bytes, Ordering::AcqRel);
        if before >= MOST_AHEAD && before - bytes < MOST_AHEAD {
            self.folded.notify_waiters();
        }
    }
}

impl Ahead {
    /// Notes that the batch is in the log: it leaves once it is folded.
    pub fn stored(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pace.leave(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_until_too_much_is_ahead_and_then_until_it_is_folded() {
        let (pace, most) = (Arc::new(Pace::default()), usize::try_from(MOST_AHEAD).expect("positive"));
        pace.enter(most - 1).await.stored();
        pace.enter(10).await.stored();
        assert!(pace.enter(1).now_or_never().is_none(), "there is no room");
        pace.folded(5);
        assert!(pace.enter(1).now_or_never().is_none(), "nor yet");
        let mut waiting = Box::pin(pace.enter(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        pace.folded(most - 1);
        waiting.await.stored();
        assert_eq!(pace.ahead.load(Ordering::Acquire), 6);
    }

    #[tokio::test]
    async fn what_was_not_stored_leaves_its_place() {
        let (pace, most) = (Arc::new(Pace::default()), usize::try_from(MOST_AHEAD).expect("positive"));
        let refused = pace.enter(most).await;
        let mut waiting = Box::pin(pace.enter(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(refused);
        waiting.await.stored();
        assert_eq!(pace.ahead.load(Ordering::Acquire), 1);
    }
}
