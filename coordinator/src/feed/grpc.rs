//! The gRPC feed: what the board shows, a call each, and `subscription`, what happens from then on.
//!
//! Rules: answers come from one look at the board; a bad request is told which field is wrong; streams are bounded, one too
//! many is refused and those that are open stay.

mod subscription;

use std::{pin::Pin, sync::Arc};

use faultline_attribution::{IncidentId, Timestamp};
use faultline_proto::{
    convert,
    feed::v1::{
        FeedFilter, GetIncidentRequest, GetIncidentResponse, GetSnapshotRequest, GetSnapshotResponse,
        ListIncidentsRequest, ListIncidentsResponse, ResumeAfter, SlowPolicy, SubscribeRequest, SubscribeResponse,
        feed_service_server::FeedService, subscribe_request::Start,
    },
};
use futures::Stream;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

pub(crate) use self::subscription::{BOOKMARK, Slow, jitter};
use self::subscription::{QUEUE, Subscription};
use super::{
    Hub, convert as wire,
    filter::{Filter, Sieve},
};
use crate::{
    access::{self, Access, Caller, Denied},
    refusal,
};

/// Incidents on a page: default and most.
const PAGE: (usize, usize) = (50, 500);

/// The feed service.
pub struct Feed {
    hub: Arc<Hub>,
    access: Arc<Access>,
    shutdown: CancellationToken,
}

/// A message of a stream, or why it ends.
type Reply = Result<SubscribeResponse, Status>;

impl Feed {
    /// The feed of a hub, until shutdown.
    pub fn new(hub: Arc<Hub>, access: Arc<Access>, shutdown: CancellationToken) -> Self {
        Self { hub, access, shutdown }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hub.clock().now_micros())
    }
}

#[tonic::async_trait]
impl FeedService for Feed {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Reply> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = caller(&request)?;
        let place = self.access.stream(&caller).map_err(access::status)?;
        let request = request.into_inner();
        let filter = filter(request.filter.as_ref())?;
        let slow = slow(request.slow_policy)?;
        let bookmark = convert::std_duration(request.bookmark_interval.as_ref())
            .map_or(BOOKMARK.1, |asked| asked.clamp(BOOKMARK.0, BOOKMARK.2));
        let now = self.now();
        let ((snapshot, feed_id), live) =
            self.hub.subscribe(|board| (wire::snapshot(board, &filter, now), board.feed_id.clone()));
        let latest = snapshot.sequence;
        let (first, held) = match request.start {
            Some(Start::ResumeAfter(after)) => (None, check_resume(&after, &feed_id, latest)?),
            Some(Start::FromNow(_)) => (None, latest),
            Some(Start::FromSnapshot(_)) | None => (Some(snapshot), latest),
        };
        let (replies, receiver) = mpsc::channel(QUEUE);
        let subscription = Subscription {
            hub: Arc::clone(&self.hub),
            access: Arc::clone(&self.access),
            caller,
            replies,
            sieve: Sieve::new(filter),
            slow,
            held,
            passed: held,
            live,
            shutdown: self.shutdown.clone(),
            bookmark,
        };
        let mut task = JoinSet::new();
        task.spawn(subscription.run(first, latest));
        // The task and the place live as long as the stream does.
        let stream = ReceiverStream::new(receiver).map(move |reply| {
            let _held = (&task, &place);
            reply
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let filter = filter(request.into_inner().filter.as_ref())?;
        let snapshot = Some(wire::snapshot(&self.hub.board(), &filter, self.now()));
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
            Err(_) => return Err(refusal::field("PAGE_SIZE_INVALID", "page_size", "is negative")),
        };
        let filter = filter(request.filter.as_ref())?;
        let after = page_token(&request.page_token)?;
        let board = self.hub.board();
        let listed = board.incidents().filter(|change| filter.passes_incident(change));
        let mut rest = listed.skip_while(|change| match &after {
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

/// Who asks, as the guard found out.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| access::status(Denied::TokenRequired))
}

fn filter(asked: Option<&FeedFilter>) -> Result<Filter, Status> {
    Filter::of(asked).map_err(|wrong| refusal::field("FILTER_INVALID", &wrong.field, wrong.why))
}

fn slow(policy: i32) -> Result<Slow, Status> {
    match SlowPolicy::try_from(policy) {
        Ok(SlowPolicy::Unspecified | SlowPolicy::Disconnect) => Ok(Slow::Disconnect),
        Ok(SlowPolicy::Coalesce) => Ok(Slow::Coalesce),
        Err(_) => Err(refusal::field("SLOW_POLICY_INVALID", "slow_policy", format!("{policy} is no policy"))),
    }
}

fn page_token(token: &str) -> Result<Option<(Timestamp, String)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    match parsed {
        Some((at, id)) => Ok(Some((Timestamp::from_micros(at), id))),
        None => Err(refusal::field("PAGE_TOKEN_INVALID", "page_token", "is none of this feed's")),
    }
}

#[cfg(test)]
mod tests;
