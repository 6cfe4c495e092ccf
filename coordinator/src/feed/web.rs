//! The page's server: HTML, the stylesheet, the script, and server-sent events.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/incidents/<id>` | the page, rendered from the board as it is at that moment |
//! | `/events` | server-sent events, below |
//! | `/style.css`, `/app.js`, `/favicon.svg` | what the page needs; nothing comes from another host |
//! | `/healthz` | `ok` while the server answers |
//!
//! **Events.** `id` is the place in the feed's sequence. `change` carries an incident's revision (the Change object),
//! `cell`, `visibility` and `claim` theirs; `tick` comes every five seconds with the moment evaluated through, also when nothing
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
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use faultline_attribution::{IncidentId, Timestamp};
use futures::stream;
use serde::Deserialize;
use tokio::{
    sync::broadcast,
    time::{self, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Hub, Published,
    page::{self, View},
};
use crate::{
    access::{self, Access, Caller, StreamPlace},
    ingest::AgentView,
    log::{Entry, LogError},
};

/// Spacing of ticks. In real time: a person waits for them.
const TICK: Duration = Duration::from_secs(5);

/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Changes read from the log at once while catching up.
const CHUNK: usize = 500;

/// Sent with every answer. No inline script or style, nothing from elsewhere, no frame around it.
const POLICY: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Who looks, as of now.
type Agents = Arc<dyn Fn() -> Vec<AgentView> + Send + Sync>;

/// The page and its events, until shutdown.
pub fn router(hub: Arc<Hub>, agents: Agents, access: Arc<Access>, shutdown: CancellationToken) -> Router {
    let site = Site { hub, agents, access, shutdown };
    Router::new()
        .route("/", get(async |State(site): State<Site>| site.front()))
        .route("/incidents/{id}", get(async |State(site): State<Site>, Path(id): Path<String>| site.incident(&id)))
        .route(
            "/events",
            get(
                async |State(site): State<Site>, caller: Extension<Caller>, start: Query<Start>, headers: HeaderMap| {
                    site.events(caller.0, &start, &headers)
                },
            ),
        )
        .route("/favicon.svg", get(async |State(site): State<Site>| site.icon()))
        .route(
            "/style.css",
            get(async || {
                asset("text/css; charset=utf-8", concat!(include_str!("style.css"), include_str!("page/lanes.css")))
            }),
        )
        .route("/app.js", get(async || asset("text/javascript; charset=utf-8", include_str!("app.js"))))
        .route("/healthz", get(async || asset("text/plain; charset=utf-8", "ok\n")))
        .layer(middleware::map_response(async |mut response: Response| {
            response.headers_mut().extend(POLICY);
            response
        }))
        .with_state(site)
}

#[derive(Clone)]
struct Site {
    hub: Arc<Hub>,
    agents: Agents,
    access: Arc<Access>,
    shutdown: CancellationToken,
}

/// Where a reader that has no `Last-Event-ID` yet goes on from.
#[derive(Deserialize)]
struct Start {
    after: Option<String>,
}

impl Site {
    fn front(&self) -> Response {
        self.look(|view| (StatusCode::OK, page::front(view).into_string()))
    }

    fn incident(&self, id: &str) -> Response {
        self.look(|view| match view.board.revisions(&IncidentId::from(id.to_owned())) {
            Some(revisions) => (StatusCode::OK, page::incident(view, revisions).into_string()),
            None => (StatusCode::NOT_FOUND, page::missing(view, id).into_string()),
        })
    }

    fn icon(&self) -> Response {
        let icon = self.view(page::icon);
        ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")], icon).into_response()
    }

    fn look(&self, render: impl FnOnce(&View<'_>) -> (StatusCode, String)) -> Response {
        let (status, html) = self.view(render);
        (status, [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response()
    }

    fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let agents = (self.agents)();
        let now = Timestamp::from_micros(self.hub.clock().now_micros());
        look(&View { board: &self.hub.board(), agents: &agents, now })
    }

    fn events(&self, caller: Caller, start: &Start, headers: &HeaderMap) -> Response {
        let place = match self.access.stream(&caller) {
            Ok(place) => place,
            Err(denied) => return access::refuse(denied, false),
        };
        let held = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(start.after.as_deref());
        let reader = Reader::new(self, caller, held, place);
        let events = stream::unfold(reader, async |mut reader| {
            let event = reader.next().await?;
            Some((Ok::<_, Infallible>(event), reader))
        });
        // Proxies that gather answers would hold events back.
        ([(HeaderName::from_static("x-accel-buffering"), "no")], Sse::new(events)).into_response()
    }
}

fn asset(content_type: &'static str, content: &'static str) -> Response {
    // Asked for again on each visit: a newer build may have changed it.
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], content).into_response()
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

#[cfg(test)]
mod tests;
