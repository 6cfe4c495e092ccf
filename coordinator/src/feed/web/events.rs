//! Server-sent events: what is published, as it is published, for pages and programs.
//!
//! `id` is the place in the feed's sequence. `change` carries an incident's revision (the Change object),
//! `cell`, `visibility`, `claim` and `work` theirs; `tick` comes every five seconds with the moment evaluated through, also when nothing
//! changes. A reader that comes back with `Last-Event-ID` (or first with `?after=`) sees every change after that place
//! once, then the live ones. `reset` says that the place is not of this feed: look again from the start. Rules: a
//! reader that is too slow is ended and resumes by itself; streams are bounded, one too many is told to come back; a stream
//! whose token was revoked ends with the next tick.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures::stream;
use serde::Deserialize;
use tokio::{
    sync::broadcast,
    time::{self, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::Site;
use crate::{
    access::{self, Access, Caller, StreamPlace},
    feed::{Hub, Published},
    log::{Entry, LogError},
};

/// Spacing of ticks. In real time: a person waits for them.
const TICK: Duration = Duration::from_secs(5);

/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Changes read from the log at once while catching up.
const CHUNK: usize = 500;

pub(super) fn router() -> Router<Site> {
    Router::new().route(
        "/events",
        get(async |State(site): State<Site>, caller: Extension<Caller>, start: Query<Start>, headers: HeaderMap| {
            events(&site, caller.0, &start, &headers)
        }),
    )
}

/// Where a reader that has no `Last-Event-ID` yet goes on from.
#[derive(Deserialize)]
struct Start {
    after: Option<String>,
}

fn events(site: &Site, caller: Caller, start: &Start, headers: &HeaderMap) -> Response {
    let place = match site.access.stream(&caller) {
        Ok(place) => place,
        Err(denied) => return access::refuse(denied, false),
    };
    let held = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(start.after.as_deref());
    let reader = Reader::new(site, caller, held, place);
    let events = stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    // Proxies that gather answers would hold events back.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], Sse::new(events)).into_response()
}

/// One reader of events.
struct Reader {
    hub: Arc<Hub>,
    live: broadcast::Receiver<Arc<Entry>>,
    shutdown: CancellationToken,
    /// What is said before all else.
    opening: VecDeque<Event>,
    /// Place of the last change sent.
    held: u64,
    /// Changes up to here come from the log, later ones live.
    latest: u64,
    missed: VecDeque<Entry>,
    ticks: Interval,
    access: Arc<Access>,
    caller: Caller,
    /// The reader's place among the streams, given back when it leaves.
    _place: StreamPlace,
}

/// Why a stream ends before its reader leaves.
#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("a change has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

impl Reader {
    fn new(site: &Site, caller: Caller, held: Option<&str>, place: StreamPlace) -> Self {
        let (latest, live) = site.hub.subscribe(|board| board.sequence);
        let mut opening = VecDeque::from([Event::default().retry(RETRY)]);
        let held = match held.map(str::parse) {
            None => latest,
            Some(Ok(held)) if held <= latest => held,
            Some(_) => {
                opening.push_back(Event::default().id(latest.to_string()).event("reset").data("{}"));
                latest
            }
        };
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            hub: Arc::clone(&site.hub),
            live,
            shutdown: site.shutdown.clone(),
            opening,
            held,
            latest,
            missed: VecDeque::new(),
            ticks,
            access: Arc::clone(&site.access),
            caller,
            _place: place,
        }
    }

    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.opening.pop_front() {
            return Some(event);
        }
        match self.change_or_tick().await {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "event stream ended");
                None
            }
        }
    }

    async fn change_or_tick(&mut self) -> Result<Option<Event>, EventError> {
        if self.shutdown.is_cancelled() {
            return Ok(None);
        }
        if let Some(entry) = self.next_missed().await? {
            return self.take(&entry).map(Some);
        }
        loop {
            let entry = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                entry = self.live.recv() => Some(entry),
                _ = self.ticks.tick() => None,
            };
            match entry {
                None if !self.access.is_welcome(&self.caller) => return Ok(None),
                None => return self.tick().map(Some),
                Some(Ok(entry)) if entry.sequence > self.held => return self.take(&entry).map(Some),
                Some(Ok(_)) => {}
                // Too slow, or nothing more to come: the reader resumes by itself.
                Some(Err(_)) => return Ok(None),
            }
        }
    }

    /// The next change that was out before this reader came.
    async fn next_missed(&mut self) -> Result<Option<Entry>, LogError> {
        if self.held < self.latest && self.missed.is_empty() {
            self.missed = self.hub.changes().published_after(self.held, CHUNK).await?.into();
        }
        let latest = self.latest;
        let entry = self.missed.pop_front().filter(|entry| entry.sequence <= latest);
        if entry.is_none() {
            // The log is ahead of the board by what is about to be sent live.
            self.missed.clear();
            self.held = self.held.max(latest);
        }
        Ok(entry)
    }

    fn take(&mut self, entry: &Entry) -> Result<Event, EventError> {
        self.held = entry.sequence;
        let (kind, data) = match &entry.published {
            Published::Incident(change) => ("change", serde_json::to_string(change)?),
            Published::Cell(cell) => ("cell", serde_json::to_string(cell)?),
            Published::Visibility(visibility) => ("visibility", serde_json::to_string(visibility)?),
            Published::Claim(claim) => ("claim", serde_json::to_string(claim)?),
            Published::Work(work) => ("work", serde_json::to_string(work)?),
        };
        Ok(self.event(kind, &data))
    }

    fn tick(&self) -> Result<Event, EventError> {
        let through = self.hub.board().visibility.evaluated_through;
        Ok(self.event("tick", &serde_json::to_string(&BTreeMap::from([("evaluated_through", through)]))?))
    }

    fn event(&self, kind: &str, data: &str) -> Event {
        Event::default().id(self.held.to_string()).event(kind).data(data)
    }
}
