//! The gRPC service of single results. Rules: it is for callers whose token has the role `measure-read`, and for nobody else: an
//! anonymous caller has no role, on this machine neither, since loopback may be a proxy with the world behind it. A stream has a
//! place among those of the feed, and one of `STREAMS` of its own.

use std::{pin::Pin, sync::Arc};

use faultline_attribution::Timestamp;
use faultline_proto::{
    convert,
    measure::v1alpha1::{SlowPolicy, SubscribeRequest, SubscribeResponse, measure_service_server::MeasureService},
};
use futures::Stream;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    filter::Filter,
    outbox::Outbox,
    subscription::{QUEUE, Subscription},
};
use crate::{
    access::{self, Access, Caller, Denied, tokens::Role},
    catalog::Catalog,
    feed::{
        Hub,
        grpc::{BOOKMARK, Slow},
    },
    ingest::Ingest,
    refusal,
    rpc::places::{Places, Share},
};

/// Streams at once, all together: each may hold some 2 MiB, and what one wants of each result takes time.
const STREAMS: Share = Share { all: 32, of_one: 32 };

/// Characters of a client's name that are kept.
const NAME: usize = 100;

/// A message of a stream, or why it ends.
pub(super) type Reply = Result<SubscribeResponse, Status>;

/// The service.
pub struct Measure {
    hub: Arc<Hub>,
    ingest: Arc<Ingest>,
    catalog: Arc<Catalog>,
    access: Arc<Access>,
    streams: Places<()>,
    shutdown: CancellationToken,
}

impl Measure {
    /// The results that this ingest stores, until shutdown.
    pub fn new(
        hub: Arc<Hub>,
        ingest: Arc<Ingest>,
        catalog: Arc<Catalog>,
        access: Arc<Access>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { hub, ingest, catalog, access, streams: Places::new(STREAMS), shutdown }
    }
}

#[tonic::async_trait]
impl MeasureService for Measure {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Reply> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| access::status(Denied::TokenRequired))?;
        caller.must_be(Role::MeasureRead).map_err(access::status)?;
        let request = request.into_inner();
        let mut filter = Filter::of(request.filter.as_ref(), &self.catalog)
            .map_err(|wrong| refusal::field("FILTER_INVALID", &wrong.field, wrong.why))?;
        let slow = slow(request.slow_policy)?;
        let places = (
            self.access.stream(&caller).map_err(access::status)?,
            self.streams.take_of((), STREAMS.of_one).ok_or_else(|| access::status(Denied::StreamLimit))?,
        );
        let bookmark = convert::std_duration(request.bookmark_interval.as_ref())
            .map_or(BOOKMARK.1, |asked| asked.clamp(BOOKMARK.0, BOOKMARK.2));
        let name: String = request.client_name.chars().take(NAME).collect();
        tracing::info!(caller = ?caller.key, client = ?name, "measurement stream opened");
        filter.look_up(&self.catalog, &self.hub.learned());
        let (replies, receiver) = mpsc::channel(QUEUE);
        let (seen, ring) = self.ingest.tap().listen();
        let subscription = Subscription {
            hub: Arc::clone(&self.hub),
            catalog: Arc::clone(&self.catalog),
            access: Arc::clone(&self.access),
            caller,
            replies,
            ring,
            seen,
            seen_at: Timestamp::from_micros(self.hub.clock().now_micros()),
            filter,
            slow,
            bookmark,
            outbox: Outbox::default(),
            shutdown: self.shutdown.clone(),
        };
        let mut task = JoinSet::new();
        task.spawn(subscription.run());
        // The task and the places live as long as the stream does.
        let stream = ReceiverStream::new(receiver).map(move |reply| {
            let _held = (&task, &places);
            reply
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

fn slow(policy: i32) -> Result<Slow, Status> {
    match SlowPolicy::try_from(policy) {
        Ok(SlowPolicy::Unspecified | SlowPolicy::Disconnect) => Ok(Slow::Disconnect),
        Ok(SlowPolicy::Coalesce) => Ok(Slow::Coalesce),
        Err(_) => Err(refusal::field("SLOW_POLICY_INVALID", "slow_policy", format!("{policy} is no policy"))),
    }
}
