//! The coordinator's side of a session: welcomes every agent, gives it the plan, and holds every batch for durable.
//!
//! Rule: limits are the real coordinator's, so that the agent seals and sends as it does in the field.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentPush, BatchAck, Lane, LaneCursor, Limits, SessionRequest, SessionResponse, Welcome,
        session_request::Message as Said,
        session_response::Message as Told,
        session_service_server::{SessionService, SessionServiceServer},
    },
    clock::Clock,
    convert,
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Shared, lock};

type Answers = mpsc::Sender<Result<SessionResponse, Status>>;

/// Serves sessions over mutual TLS.
pub(super) fn sessions(
    config: ServerConfig,
    shared: &Shared,
) -> impl Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let shared = Arc::clone(shared);
    move |stream| {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        Box::pin(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let (talks, mut opened) = mpsc::channel(1);
            let service = TowerToHyperService::new(SessionServiceServer::new(Sessions { talks }));
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            let mut talking = JoinSet::new();
            talking.spawn(async move {
                while let Some((requests, answers)) = opened.recv().await {
                    drop(talk(requests, answers, &shared).await);
                }
            });
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        })
    }
}

struct Sessions {
    talks: mpsc::Sender<(Streaming<SessionRequest>, Answers)>,
}

#[tonic::async_trait]
impl SessionService for Sessions {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        let opened = self.talks.send((request.into_inner(), answers)).await;
        opened.map_err(|_| Status::unavailable("the bench is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn talk(mut requests: Streaming<SessionRequest>, answers: Answers, shared: &Shared) -> anyhow::Result<()> {
    while let Some(request) = requests.message().await? {
        match request.message {
            Some(Said::Hello(_)) => {
                let assignments = lock(shared).joined(Clock::system().now_micros());
                let server_time = Some(convert::timestamp(Clock::system().now_micros()));
                let welcome =
                    Welcome { epoch: 1, protocol: PROTOCOL, limits: Some(limits()), server_time, ..Welcome::default() };
                answers.send(say(Told::Welcome(welcome))).await?;
                let push = AssignmentPush { version: 1, nonce: "bench".into(), assignments };
                answers.send(say(Told::AssignmentPush(push))).await?;
            }
            Some(Said::AssignmentAck(ack)) => lock(shared).refused(ack.refused.len()),
            Some(Said::ResultBatch(batch)) => {
                let durable = vec![LaneCursor { lane: Lane::Live.into(), number: batch.number }];
                lock(shared).reported(&batch);
                answers.send(say(Told::BatchAck(BatchAck { durable, ..BatchAck::default() }))).await?;
            }
            Some(Said::Heartbeat(_) | Said::Goodbye(_)) | None => {}
        }
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a stream of answers holds results")]
fn say(message: Told) -> Result<SessionResponse, Status> {
    Ok(SessionResponse { message: Some(message) })
}

/// Source: what `faultline serve` welcomes agents with.
fn limits() -> Limits {
    Limits {
        max_inflight_batches: 8,
        max_batch_bytes: 256 << 10,
        max_batch_results: 1000,
        max_batch_age: Some(convert::duration(Duration::from_secs(2))),
        heartbeat_interval: Some(convert::duration(Duration::from_secs(15))),
    }
}

/// Answers that wait for a slow agent; beyond, the talk waits with them.
const ANSWERS: usize = 16;
