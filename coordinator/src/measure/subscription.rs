//! One researcher's stream. Rules: it always goes on reading the ring, whatever its subscriber does, so that nobody's slowness
//! is felt by others; who reads too slowly is cut off, or hears of a gap; what the ring itself could not hold is a gap for all;
//! whose token was revoked hears so by the next bookmark.

use std::{collections::HashMap, sync::Arc, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::{
    convert,
    measure::v1alpha1::{Closing, SubscribeResponse, subscribe_response::Message},
};
use tokio::{
    sync::{broadcast, mpsc},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    Stored,
    filter::Filter,
    grpc::Reply,
    outbox::{Outbox, WAITING},
};
use crate::{
    access::{self, Access, Caller, Denied},
    catalog::Catalog,
    feed::{
        Hub,
        grpc::{Slow, jitter},
    },
    refusal,
};

/// Messages on their way to a subscriber; beyond that results wait in its outbox.
pub(super) const QUEUE: usize = 4;

/// A reader that was cut off comes back after this.
const PAUSE: Duration = Duration::from_secs(1);

/// One researcher's stream.
pub(super) struct Subscription {
    pub(super) hub: Arc<Hub>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) access: Arc<Access>,
    pub(super) caller: Caller,
    pub(super) replies: mpsc::Sender<Reply>,
    pub(super) ring: broadcast::Receiver<Arc<Stored>>,
    /// Results that were shown before those that are still to be read.
    pub(super) seen: u64,
    /// When the newest of them was received.
    pub(super) seen_at: Timestamp,
    pub(super) filter: Filter,
    pub(super) slow: Slow,
    pub(super) bookmark: Duration,
    pub(super) outbox: Outbox,
    pub(super) shutdown: CancellationToken,
}

/// Why a stream ends.
enum End {
    /// The subscriber is gone.
    Gone,
    /// The coordinator stops.
    Drain,
    /// Too slow.
    Slow,
    /// Its token is good no more.
    Revoked,
}

impl Subscription {
    /// Tells what comes, until somebody leaves.
    pub(super) async fn run(self) {
        let replies = self.replies.clone();
        // The ring is left before the end is told: who does not read must not hold it.
        let end = self.follow().await;
        let closing = |reason: &str, pause| {
            let closing = Closing { reason: reason.into(), retry_after: Some(convert::duration(pause)) };
            Ok(SubscribeResponse { message: Some(Message::Closing(closing)) })
        };
        let last = match end {
            End::Gone => Vec::new(),
            End::Drain => vec![closing("DRAIN", jitter())],
            End::Slow => {
                let message = format!("more than {WAITING} results were waiting to be read");
                let status =
                    refusal::with_pause(Code::ResourceExhausted, "SLOW_CONSUMER", message, HashMap::new(), PAUSE);
                vec![closing("SLOW_CONSUMER", PAUSE), Err(status)]
            }
            End::Revoked => vec![Err(access::status(Denied::TokenUnknown))],
        };
        for reply in last {
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    }

    async fn follow(mut self) -> End {
        self.outbox.mark();
        let (shutdown, replies) = (self.shutdown.clone(), self.replies.clone());
        let mut marks = time::interval(self.bookmark);
        marks.reset();
        loop {
            let now = Instant::now();
            let is_due = self.outbox.is_due(now.into_std());
            let flush_at = self.outbox.flush_at().map(Instant::from_std);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain().await,
                place = replies.reserve(), if is_due => {
                    let Ok(place) = place else { return End::Gone };
                    if let Some(message) = self.outbox.next(Timestamp::from_micros(self.hub.clock().now_micros())) {
                        place.send(Ok(SubscribeResponse { message: Some(message) }));
                    }
                }
                _ = marks.tick() => {
                    if !self.access.is_welcome(&self.caller) {
                        return End::Revoked;
                    }
                    self.filter.look_up(&self.catalog, &self.hub.learned());
                    self.outbox.mark();
                }
                stored = self.ring.recv() => match stored {
                    Ok(stored) => if !self.take(&stored) { return End::Slow },
                    // What was missed is counted by the next one.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return End::Gone,
                },
                () = time::sleep_until(flush_at.unwrap_or(now)), if flush_at.is_some() && !is_due => {}
                () = replies.closed() => return End::Gone,
            }
        }
    }

    /// Takes what was stored; `false` when the subscriber lies too far behind.
    fn take(&mut self, stored: &Stored) -> bool {
        let now = Instant::now().into_std();
        let missed = stored.before.saturating_sub(self.seen);
        if missed > 0 {
            self.outbox.count(missed);
            self.outbox.miss(missed, (self.seen_at, stored.received_at), now);
        }
        self.seen = stored.before + stored.results;
        self.seen_at = stored.received_at;
        self.outbox.count(stored.results);
        let measured = stored.measurements(&self.catalog);
        let unread = stored.results.saturating_sub(u64::try_from(measured.len()).unwrap_or_default());
        if unread > 0 {
            self.outbox.miss(unread, (stored.received_at, stored.received_at), now);
        }
        for measured in measured.iter().filter(|measured| self.filter.passes(measured)) {
            while !self.outbox.push(measured, now) {
                match self.slow {
                    Slow::Disconnect => return false,
                    Slow::Coalesce => self.outbox.drop_oldest(now),
                }
            }
        }
        true
    }

    /// Sends what waits, and how much it was.
    async fn drain(mut self) -> End {
        self.outbox.mark();
        while let Some(message) = self.outbox.next(Timestamp::from_micros(self.hub.clock().now_micros())) {
            if self.replies.send(Ok(SubscribeResponse { message: Some(message) })).await.is_err() {
                return End::Gone;
            }
        }
        End::Drain
    }
}
