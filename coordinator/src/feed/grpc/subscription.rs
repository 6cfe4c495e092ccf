//! One subscriber's stream: a snapshot if asked for, then whole objects in order, with bookmarks, one queue for all of it.
//!
//! Rules: `prev_sequence` of a message is the place of the message before it on this stream, so that loss is arithmetic, also
//! under a filter; a resumed stream begins right after the place held; who reads too slowly is cut off with a place to resume
//! from, or asked to be told the newest state alone, and is told that too; nothing is ever dropped in silence; whose token was
//! revoked hears so by the next bookmark.

use std::{collections::HashMap, sync::Arc, time::Duration};

use faultline_attribution::{Change, Timestamp};
use faultline_proto::{
    convert,
    feed::v1::{Bookmark, Closing, Gap, Snapshot, SubscribeResponse, subscribe_response::Message},
};
use tokio::{
    sync::{broadcast, mpsc},
    time,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::Reply;
use crate::{
    access::{self, Access, Caller, Denied},
    feed::{Hub, Published, convert as wire, filter::Sieve},
    log::Entry,
    refusal,
};

/// Messages that wait for a subscriber to read them; beyond that its changes wait in the hub's queue.
pub(super) const QUEUE: usize = 64;

/// Changes read from the log at once while catching up.
const CHUNK: usize = 500;

/// Bookmarks come within these: at least, unless asked for otherwise, at most.
pub(crate) const BOOKMARK: (Duration, Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(15), Duration::from_mins(1));

/// What becomes of a subscriber that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// Its stream ends.
    Disconnect,
    /// It hears of a gap, and goes on.
    Coalesce,
}

/// One subscriber's stream.
pub(super) struct Subscription {
    pub(super) hub: Arc<Hub>,
    pub(super) access: Arc<Access>,
    pub(super) caller: Caller,
    pub(super) replies: mpsc::Sender<Reply>,
    pub(super) sieve: Sieve,
    pub(super) slow: Slow,
    /// Place of the last message sent.
    pub(super) held: u64,
    /// How far the stream has come, also past what its filter holds back.
    pub(super) passed: u64,
    pub(super) live: broadcast::Receiver<Arc<Entry>>,
    pub(super) shutdown: CancellationToken,
    pub(super) bookmark: Duration,
}

impl Subscription {
    /// Sends the snapshot if there is one, what was missed up to `latest`, and what comes, until somebody leaves.
    pub(super) async fn run(mut self, snapshot: Option<Snapshot>, latest: u64) {
        if let Err(status) = self.tell(snapshot, latest).await {
            // Nobody may be there any more to hear it.
            drop(self.replies.send(Err(status)).await);
        }
    }

    async fn tell(&mut self, snapshot: Option<Snapshot>, latest: u64) -> Result<(), Status> {
        if let Some(snapshot) = snapshot {
            self.send(snapshot.sequence, Message::Snapshot(snapshot)).await?;
        }
        while self.passed < latest {
            let missed = self.hub.changes().published_after(self.passed, CHUNK).await.map_err(|error| {
                tracing::error!(%error, "feed cannot read the log");
                refusal::later("COORDINATOR_BUSY", "the log cannot be read", Duration::from_secs(1))
            })?;
            if missed.is_empty() {
                break;
            }
            for entry in &missed {
                // What the log holds beyond the board comes live.
                if entry.sequence <= latest {
                    self.change(entry.sequence, entry.published_at, &entry.published).await?;
                }
                self.passed = entry.sequence.min(latest);
            }
        }
        self.mark().await?;
        let shutdown = self.shutdown.clone();
        let mut marks = time::interval(self.bookmark);
        marks.reset();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.close("DRAIN", jitter()).await,
                entry = self.live.recv() => match entry {
                    Ok(entry) if entry.sequence > self.passed => {
                        self.change(entry.sequence, entry.published_at, &entry.published).await?;
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    Err(broadcast::error::RecvError::Lagged(missed)) => match self.slow {
                        Slow::Coalesce => self.coalesce().await?,
                        Slow::Disconnect => return self.cut_off(missed).await,
                    },
                },
                _ = marks.tick() => {
                    if !self.access.is_welcome(&self.caller) {
                        return Err(access::status(Denied::TokenUnknown));
                    }
                    self.mark().await?;
                }
            }
        }
    }

    /// Sends a change if it is wanted, and goes past it.
    async fn change(&mut self, sequence: u64, published_at: Timestamp, published: &Published) -> Result<(), Status> {
        let filter = self.sieve.filter().clone();
        let hub = &self.hub;
        let passed_before = |change: &Change| {
            let board = hub.board();
            let revisions = board.revisions(&change.incident).into_iter().flatten();
            let mut before = revisions.take_while(|revision| revision.revision < change.revision);
            before.any(|revision| filter.passes_incident(revision))
        };
        self.passed = sequence;
        if !self.sieve.passes(published, passed_before) {
            return Ok(());
        }
        self.send(sequence, Message::Event(wire::event(published_at, published))).await
    }

    /// Goes on with the newest state of all that changed since.
    async fn coalesce(&mut self) -> Result<(), Status> {
        let passed = self.passed;
        let ((through, newest), live) = self.hub.subscribe(|board| (board.sequence, board.newest_after(passed)));
        self.live = live;
        self.send(passed, Message::Gap(Gap { through })).await?;
        for (sequence, published_at, published) in newest {
            self.change(sequence, published_at, &published).await?;
        }
        self.passed = through;
        Ok(())
    }

    /// Ends the stream of a reader that lies too far behind.
    async fn cut_off(&mut self, missed: u64) -> Result<(), Status> {
        let pause = Duration::from_secs(1);
        self.close("SLOW_CONSUMER", pause).await?;
        let message = format!("{missed} changes behind: resume after {}", self.passed);
        let metadata = HashMap::from([("sequence".to_owned(), self.passed.to_string())]);
        Err(refusal::with_pause(Code::ResourceExhausted, "SLOW_CONSUMER", message, metadata, pause))
    }

    async fn mark(&mut self) -> Result<(), Status> {
        let (feed_id, visibility) = {
            let board = self.hub.board();
            (board.feed_id.clone(), wire::visibility(&board.sight()))
        };
        let server_time = Some(convert::timestamp(self.hub.clock().now_micros()));
        let bookmark = Bookmark { feed_id, server_time, visibility: Some(visibility), oldest_sequence: 0 };
        self.send(self.passed, Message::Bookmark(bookmark)).await
    }

    async fn close(&mut self, reason: &str, retry_after: Duration) -> Result<(), Status> {
        let closing = Closing { reason: reason.into(), retry_after: Some(convert::duration(retry_after)) };
        self.send(self.passed, Message::Closing(closing)).await
    }

    async fn send(&mut self, sequence: u64, message: Message) -> Result<(), Status> {
        let prev_sequence = if matches!(message, Message::Snapshot(_)) { sequence } else { self.held };
        let response = SubscribeResponse { sequence, prev_sequence, message: Some(message) };
        self.replies.send(Ok(response)).await.map_err(|_| Status::cancelled("the subscriber is gone"))?;
        self.held = sequence;
        Ok(())
    }
}

/// A pause that keeps subscribers from coming back all at once.
pub(crate) fn jitter() -> Duration {
    Duration::from_millis(u64::from(rand::random::<u16>()) % 5000)
}
