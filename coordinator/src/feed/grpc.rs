//! The gRPC feed: a snapshot, then whole objects in order, with bookmarks, one queue for all of it.
//!
//! Rules: `prev_sequence` of a message is the place of the message before it on this stream, so that loss is arithmetic;
//! a resumed stream begins right after the place held; who reads too slowly is told and may resume; nothing is ever
//! dropped in silence.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use faultline_attribution::{IncidentId, Timestamp};
use faultline_proto::{
    convert,
    feed::v1::{
        Bookmark, Closing, GetIncidentRequest, GetIncidentResponse, GetSnapshotRequest, GetSnapshotResponse,
        ListIncidentsRequest, ListIncidentsResponse, ResumeAfter, SubscribeRequest, SubscribeResponse,
        feed_service_server::FeedService, subscribe_request::Start, subscribe_response::Message,
    },
};
use futures::Stream;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::{Hub, convert as wire};
use crate::{log::Entry, refusal};

/// Messages that wait for a subscriber to read them; beyond that its changes wait in the hub's queue.
const QUEUE: usize = 64;

/// Streams at once. Beyond it new ones are refused and old ones kept.
const STREAMS: usize = 1024;

/// Changes read from the log at once while catching up.
const CHUNK: usize = 500;

/// Bookmarks come within these.
const BOOKMARK: (Duration, Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(15), Duration::from_mins(1));

/// Incidents on a page: default and most.
const PAGE: (usize, usize) = (50, 500);

/// The feed service.
pub struct Feed {
    hub: Arc<Hub>,
    shutdown: CancellationToken,
    streams: Arc<AtomicUsize>,
}

type Reply = Result<SubscribeResponse, Status>;

impl Feed {
    /// The feed of a hub, until shutdown.
    pub fn new(hub: Arc<Hub>, shutdown: CancellationToken) -> Self {
        Self { hub, shutdown, streams: Arc::default() }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hub.clock().now_micros())
    }
}

#[tonic::async_trait]
impl FeedService for Feed {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Reply> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let place = Place::take(&self.streams)
            .ok_or_else(|| refusal::status(Code::ResourceExhausted, "STREAM_LIMIT", "too many streams: try again"))?;
        let bookmark = convert::std_duration(request.bookmark_interval.as_ref())
            .map_or(BOOKMARK.1, |asked| asked.clamp(BOOKMARK.0, BOOKMARK.2));
        let now = self.now();
        let ((snapshot, feed_id), live) =
            self.hub.subscribe(|board| (wire::snapshot(board, now), board.feed_id.clone()));
        let latest = snapshot.sequence;
        let (first, held) = match request.start {
            Some(Start::ResumeAfter(after)) => (None, check_resume(&after, &feed_id, latest)?),
            Some(Start::FromNow(_)) => (None, latest),
            Some(Start::FromSnapshot(_)) | None => (Some(snapshot), latest),
        };
        let (replies, receiver) = mpsc::channel(QUEUE);
        let mut subscription =
            Subscription { hub: Arc::clone(&self.hub), replies, held, live, shutdown: self.shutdown.clone(), bookmark };
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Some(snapshot) = first
                && subscription.send(snapshot.sequence, Message::Snapshot(snapshot)).await.is_err()
            {
                return;
            }
            if let Err(status) = subscription.run(latest).await {
                drop(subscription.replies.send(Err(status)).await);
            }
        });
        // The task and the place live as long as the stream does.
        let stream = ReceiverStream::new(receiver).map(move |reply| {
            let _held = (&task, &place);
            reply
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_snapshot(&self, _: Request<GetSnapshotRequest>) -> Result<Response<GetSnapshotResponse>, Status> {
        let snapshot = Some(wire::snapshot(&self.hub.board(), self.now()));
        Ok(Response::new(GetSnapshotResponse { snapshot }))
    }

    async fn list_incidents(
        &self,
        request: Request<ListIncidentsRequest>,
    ) -> Result<Response<ListIncidentsResponse>, Status> {
        let request = request.into_inner();
        let size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE.0,
            Ok(size) => size.min(PAGE.1),
            Err(_) => return Err(refusal::status(Code::InvalidArgument, "PAGE_SIZE_INVALID", "page_size is negative")),
        };
        let after = page_token(&request.page_token)?;
        let board = self.hub.board();
        let mut rest = board.incidents().skip_while(|change| match &after {
            Some((at, id)) => (change.opened_at, change.incident.as_str()) >= (*at, id.as_str()),
            None => false,
        });
        let incidents: Vec<_> = rest.by_ref().take(size).collect();
        let next_page_token = match (rest.next(), incidents.last()) {
            (Some(_), Some(last)) => format!("{}.{}", last.opened_at.micros(), last.incident),
            _ => String::new(),
        };
        let incidents = incidents.into_iter().map(wire::incident).collect();
        Ok(Response::new(ListIncidentsResponse { incidents, next_page_token }))
    }

    async fn get_incident(
        &self,
        request: Request<GetIncidentRequest>,
    ) -> Result<Response<GetIncidentResponse>, Status> {
        let id = IncidentId::from(request.into_inner().incident);
        let board = self.hub.board();
        let Some(revisions) = board.revisions(&id) else {
            return Err(refusal::status(Code::NotFound, "INCIDENT_UNKNOWN", format!("no incident {id}")));
        };
        let mut history: Vec<_> = revisions.iter().map(wire::incident).collect();
        let incident = history.pop();
        Ok(Response::new(GetIncidentResponse { incident, history }))
    }
}

/// One subscriber's stream.
struct Subscription {
    hub: Arc<Hub>,
    replies: mpsc::Sender<Reply>,
    /// Place of the last message sent.
    held: u64,
    live: broadcast::Receiver<Arc<Entry>>,
    shutdown: CancellationToken,
    bookmark: Duration,
}

impl Subscription {
    /// What was missed up to `latest`, then what comes, until somebody leaves.
    async fn run(&mut self, latest: u64) -> Result<(), Status> {
        while self.held < latest {
            let missed = self.hub.changes().published_after(self.held, CHUNK).await.map_err(|error| {
                tracing::error!(%error, "feed cannot read the log");
                refusal::status(Code::Unavailable, "COORDINATOR_BUSY", "the log cannot be read")
            })?;
            if missed.is_empty() {
                break;
            }
            for entry in missed.iter().filter(|entry| entry.sequence <= latest) {
                self.change(entry).await?;
            }
            if missed.last().is_some_and(|entry| entry.sequence > latest) {
                break;
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
                    Ok(entry) if entry.sequence > self.held => self.change(&entry).await?,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        self.close("SLOW_CONSUMER", Duration::from_secs(1)).await?;
                        let message = format!("{missed} changes behind: resume after {}", self.held);
                        let metadata = HashMap::from([("sequence".to_owned(), self.held.to_string())]);
                        return Err(refusal::with(Code::ResourceExhausted, "SLOW_CONSUMER", message, metadata));
                    }
                },
                _ = marks.tick() => self.mark().await?,
            }
        }
    }

    async fn change(&mut self, entry: &Entry) -> Result<(), Status> {
        self.send(entry.sequence, Message::Event(wire::event(entry))).await
    }

    async fn mark(&mut self) -> Result<(), Status> {
        let (feed_id, visibility) = {
            let board = self.hub.board();
            (board.feed_id.clone(), wire::visibility(&board.sight()))
        };
        let server_time = Some(convert::timestamp(self.hub.clock().now_micros()));
        let bookmark = Bookmark { feed_id, server_time, visibility: Some(visibility), oldest_sequence: 0 };
        self.send(self.held, Message::Bookmark(bookmark)).await
    }

    async fn close(&mut self, reason: &str, retry_after: Duration) -> Result<(), Status> {
        let closing = Closing { reason: reason.into(), retry_after: Some(convert::duration(retry_after)) };
        self.send(self.held, Message::Closing(closing)).await
    }

    async fn send(&mut self, sequence: u64, message: Message) -> Result<(), Status> {
        let prev_sequence = if matches!(message, Message::Snapshot(_)) { sequence } else { self.held };
        let response = SubscribeResponse { sequence, prev_sequence, message: Some(message) };
        self.replies.send(Ok(response)).await.map_err(|_| Status::cancelled("the subscriber is gone"))?;
        self.held = sequence;
        Ok(())
    }
}

/// Where a resumed stream begins, or why it cannot.
fn check_resume(after: &ResumeAfter, feed_id: &str, latest: u64) -> Result<u64, Status> {
    if after.feed_id != feed_id {
        let message = format!("this is feed {feed_id}: start over with a snapshot");
        return Err(refusal::status(Code::FailedPrecondition, "FEED_REPLACED", message));
    }
    if after.sequence > latest {
        let message = format!("sequence {} is not out yet, the newest is {latest}", after.sequence);
        return Err(refusal::status(Code::OutOfRange, "SEQUENCE_UNKNOWN", message));
    }
    Ok(after.sequence)
}

fn page_token(token: &str) -> Result<Option<(Timestamp, String)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    match parsed {
        Some((at, id)) => Ok(Some((Timestamp::from_micros(at), id))),
        None => Err(refusal::status(Code::InvalidArgument, "PAGE_TOKEN_INVALID", "page_token is not of this feed")),
    }
}

/// A pause that keeps subscribers from coming back all at once.
fn jitter() -> Duration {
    Duration::from_millis(u64::from(rand::random::<u16>()) % 5000)
}

/// A place among the streams, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(streams: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < STREAMS).then_some(n + 1));
        taken.ok().map(|_| Self(Arc::clone(streams)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
