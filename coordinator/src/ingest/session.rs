//! One agent's session: Hello and Welcome, assignments out, batches in, acknowledged after the durable write.

use std::{pin::Pin, sync::Arc, time::Duration};

use faultline_attribution::{AgentId, SessionState};
use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        BatchAck, Drain, Hello, Lane, LaneCursor, Limits, RefusedLooks, ResultBatch, SessionRequest, SessionResponse,
        Welcome, session_request::Message as Said, session_response::Message as Reply,
        session_service_server::SessionService,
    },
    convert,
};
use futures::Stream;
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{HEARTBEAT, Ingest, Losses, admit, listener::AgentPeer};
use crate::{
    log::{Admission, Appended, LogError},
    record::{Record, RecordKind},
    refusal,
    rpc::life::Leaving,
    shutdown,
};

/// Hello must come within this.
const HELLO: Duration = Duration::from_secs(10);

/// After Drain an agent has this long to say goodbye.
const DRAIN: Duration = Duration::from_secs(2);

/// Replies that wait for the agent to read them; beyond that its batches wait, and only its.
const REPLIES: usize = 16;

/// Live batches are asked for at least this often.
const BATCH_AGE: Duration = Duration::from_secs(2);

/// The gRPC service of sessions.
pub struct Sessions(pub(super) Arc<Ingest>);

type Replies = mpsc::Sender<Result<SessionResponse, Status>>;

#[tonic::async_trait]
impl SessionService for Sessions {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = request.extensions().get::<AgentPeer>().cloned();
        let peer = peer.ok_or_else(|| refusal::status(Code::Unauthenticated, "AGENT_UNKNOWN", "no certificate"))?;
        let leaving = request.extensions().get::<Leaving>().cloned();
        let (replies, receiver) = mpsc::channel(REPLIES);
        let ingest = Arc::clone(&self.0);
        // The task lives as long as the response stream: dropping one ends the other.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let agent = peer.agent.clone();
            if let Err(status) = Session::run(&ingest, peer, request.into_inner(), &replies, leaving).await {
                tracing::info!(%agent, reason = status.message(), "session ended");
                drop(replies.send(Err(status)).await);
            }
        });
        let stream = ReceiverStream::new(receiver).map(move |reply| {
            let _task = &task;
            reply
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

struct Session<'a> {
    ingest: &'a Ingest,
    agent: AgentId,
    incarnation: Vec<u8>,
    epoch: u64,
    replies: &'a Replies,
}

impl<'a> Session<'a> {
    async fn run(
        ingest: &'a Ingest,
        peer: AgentPeer,
        mut requests: Streaming<SessionRequest>,
        replies: &'a Replies,
        mut leaving: Option<Leaving>,
    ) -> Result<(), Status> {
        let first = time::timeout(ingest.clock.real(HELLO), requests.next()).await;
        let first = first.map_err(|_| refusal::status(Code::DeadlineExceeded, "HELLO_MISSING", "no Hello in time"))?;
        let Some(Said::Hello(hello)) = first.transpose().map_err(malformed)?.and_then(|request| request.message) else {
            return Err(refusal::status(Code::FailedPrecondition, "HELLO_MISSING", "Hello must be the first message"));
        };
        check(&hello)?;
        let place = ingest.registry.place(peer.agent.as_str()).ok_or_else(|| {
            let message = format!("agent {} was not issued by this coordinator, or was deleted", peer.agent);
            refusal::status(Code::PermissionDenied, "AGENT_UNKNOWN", message)
        })?;
        let vantage = place.vantage(hello.vantage.as_ref(), peer.address.ip());
        let (mine, mut turn) = ingest.take_turn(&peer.agent);
        let epoch = ingest.open_session(&peer.agent, vantage.clone()).await.map_err(|error| unavailable(&error))?;
        ingest.hear(&peer.agent);
        tracing::info!(agent = %peer.agent, epoch, version = hello.version, "session open");
        let session = Session { ingest, agent: peer.agent, incarnation: hello.incarnation, epoch, replies };
        session.welcome().await?;
        let (push, table) = ingest.assignments.push(&session.agent, &vantage);
        if let Some(table) = table {
            let record = Record::own(RecordKind::Assignment, ingest.now(), session.agent.as_str(), &table);
            ingest.log.append(Admission::Own, record).await.map_err(|error| unavailable(&error))?;
            ingest.assignments.keep(&session.agent, table);
        }
        session.reply(Reply::AssignmentPush(push)).await?;
        ingest.reach(&session.agent, mine, replies.downgrade());
        let mut stopped = ingest.shutdown.clone();
        loop {
            let request = tokio::select! {
                request = requests.next() => request,
                () = superseded(&mut turn, mine) => {
                    return Err(refusal::status(Code::Aborted, "SESSION_SUPERSEDED", "a newer session of this agent began"));
                }
                () = shutdown::begun(&mut stopped) => return session.drain(&mut requests).await,
                () = Leaving::begun(&mut leaving) => return session.drain(&mut requests).await,
            };
            let Some(request) = request else { return Ok(()) };
            if !session.take(request.map_err(malformed)?).await? {
                return Ok(());
            }
        }
    }

    /// Takes a message; `false` when it was the last.
    async fn take(&self, request: SessionRequest) -> Result<bool, Status> {
        if self.ingest.hear(&self.agent) {
            let recorded = self.ingest.record_session(&self.agent, SessionState::Up, self.ingest.now()).await;
            recorded.map_err(|error| unavailable(&error))?;
        }
        match request.message {
            Some(Said::ResultBatch(batch)) => self.store(batch).await.map(|()| true),
            Some(Said::AssignmentAck(ack)) => {
                for refused in &ack.refused {
                    let (slot, reason) = (refused.slot, &refused.reason);
                    tracing::warn!(agent = %self.agent, slot, reason, "assignment refused by local policy");
                }
                let refused = u64::try_from(ack.refused.len()).unwrap_or(u64::MAX);
                self.ingest.note_losses(&self.agent, |losses| losses.refused_assignments = refused);
                Ok(true)
            }
            Some(Said::Heartbeat(heartbeat)) => {
                let dropped = heartbeat.spool.iter().map(|lane| lane.dropped_results).fold(0, u64::saturating_add);
                self.ingest.note_losses(&self.agent, |losses| {
                    losses.dropped_results = losses.dropped_results.max(dropped);
                    losses.skipped_runs = losses.skipped_runs.max(heartbeat.skipped_runs);
                    self.note_refused_looks(losses, &heartbeat.refused_looks);
                });
                Ok(true)
            }
            Some(Said::Goodbye(goodbye)) => {
                tracing::info!(agent = %self.agent, reason = goodbye.reason, "goodbye");
                self.leave().await?;
                Ok(false)
            }
            Some(Said::Hello(_)) => {
                Err(refusal::status(Code::FailedPrecondition, "HELLO_REPEATED", "Hello must not come again"))
            }
            None => Err(refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", "a message without content")),
        }
    }

    /// Takes over how many looks the agent did not make, and traces why when it is more than before.
    fn note_refused_looks(&self, losses: &mut Losses, refused: &[RefusedLooks]) {
        let all = refused.iter().map(|refused| refused.runs).fold(0, u64::saturating_add);
        if all > losses.refused_looks {
            losses.refused_looks = all;
            let reasons: Vec<_> =
                refused.iter().map(|refused| (convert::word(refused.reason()), refused.runs)).collect();
            tracing::debug!(agent = %self.agent, ?reasons, "looks refused by the agent");
        }
    }

    async fn leave(&self) -> Result<(), Status> {
        if let Some(presence) = self.ingest.presences().get_mut(&self.agent) {
            presence.state = SessionState::Goodbye;
        }
        let recorded = self.ingest.record_session(&self.agent, SessionState::Goodbye, self.ingest.now()).await;
        recorded.map_err(|error| unavailable(&error))
    }

    async fn store(&self, mut batch: ResultBatch) -> Result<(), Status> {
        self.ingest.note_losses(&self.agent, |losses| {
            losses.dropped_results = losses.dropped_results.max(batch.dropped_results);
            losses.skipped_runs = losses.skipped_runs.max(batch.skipped_runs);
        });
        let is_placed = batch.lane() != Lane::Unspecified && batch.number != 0;
        let mut rejections = match admit::fault(&batch) {
            Some(rejection) if !is_placed => return self.ack(&batch, vec![rejection]).await,
            Some(rejection) => {
                // Refused as a whole, it keeps its number: what follows must not wait for it for ever.
                batch.results.clear();
                batch.facts.clear();
                vec![rejection]
            }
            None => {
                let table = self.ingest.assignments.table(&self.agent);
                admit::sift(&mut batch, |slot| table.slots.contains_key(&slot))
            }
        };
        let record = Record {
            kind: RecordKind::Batch,
            received_at: self.ingest.now(),
            agent: self.agent.to_string(),
            incarnation: self.incarnation.clone(),
            epoch: self.epoch,
            lane: u8::try_from(batch.lane).unwrap_or_default(),
            number: batch.number,
            payload: batch.encode_to_vec().into(),
        };
        let admission = Admission::Batch { first_number: batch.first_number };
        let ahead = self.ingest.pace.enter(record.payload.len()).await;
        match self.ingest.log.append(admission, record).await.map_err(|error| unavailable(&error))? {
            Appended::At(_) => ahead.stored(),
            Appended::Duplicate { .. } => {}
            Appended::Gap { expected } => {
                let message = format!("number {}, expected {expected}", batch.number);
                let results = batch.results.len();
                rejections = vec![admit::rejection(&batch, results, "BATCH_OUT_OF_ORDER", message)];
            }
            Appended::Fenced => {
                return Err(refusal::status(
                    Code::Aborted,
                    "SESSION_SUPERSEDED",
                    "a newer session of this agent began",
                ));
            }
        }
        self.ack(&batch, rejections).await
    }

    /// Acknowledges what is durable in the batch's lane.
    async fn ack(
        &self,
        batch: &ResultBatch,
        rejections: Vec<faultline_proto::agent::v1::Rejection>,
    ) -> Result<(), Status> {
        let durable = vec![self.durable(batch.lane).await?];
        self.reply(Reply::BatchAck(BatchAck { durable, rejections, ..BatchAck::default() })).await
    }

    async fn durable(&self, lane: i32) -> Result<LaneCursor, Status> {
        let stored = u8::try_from(lane).unwrap_or_default();
        let number = self.ingest.log.admitted(self.agent.as_str(), &self.incarnation, stored).await;
        Ok(LaneCursor { lane, number: number.map_err(|error| unavailable(&error))? })
    }

    async fn welcome(&self) -> Result<(), Status> {
        let mut durable = Vec::new();
        for lane in [Lane::Live, Lane::Backfill] {
            durable.push(self.durable(lane as i32).await?);
        }
        let limits = Limits {
            max_inflight_batches: 8,
            max_batch_bytes: u32::try_from(admit::MAX_BATCH_BYTES).unwrap_or(u32::MAX),
            max_batch_results: u32::try_from(admit::MAX_RESULTS).unwrap_or(u32::MAX),
            max_batch_age: Some(convert::duration(BATCH_AGE)),
            heartbeat_interval: Some(convert::duration(HEARTBEAT)),
        };
        let server_time = Some(convert::timestamp(self.ingest.clock.now_micros()));
        let welcome = Welcome { epoch: self.epoch, protocol: PROTOCOL, durable, limits: Some(limits), server_time };
        self.reply(Reply::Welcome(welcome)).await
    }

    async fn reply(&self, message: Reply) -> Result<(), Status> {
        let sent = self.replies.send(Ok(SessionResponse { message: Some(message) })).await;
        sent.map_err(|_| Status::cancelled("the agent is gone"))
    }

    /// Orderly end: the agent sends what it holds and says goodbye.
    async fn drain(&self, requests: &mut Streaming<SessionRequest>) -> Result<(), Status> {
        let drain = Drain { reconnect_jitter: Some(convert::duration(Duration::from_secs(2))) };
        self.reply(Reply::Drain(drain)).await?;
        let said_goodbye = async {
            while let Some(request) = requests.next().await {
                if !self.take(request.map_err(malformed)?).await? {
                    break;
                }
            }
            Ok(())
        };
        time::timeout(DRAIN, said_goodbye).await.unwrap_or(Ok(()))
    }
}

/// Waits until a newer session of the agent takes its turn.
async fn superseded(turn: &mut watch::Receiver<u64>, mine: u64) {
    drop(turn.wait_for(|turn| *turn > mine).await);
}

fn check(hello: &Hello) -> Result<(), Status> {
    if !(hello.min_protocol..=hello.max_protocol).contains(&PROTOCOL) {
        let message = format!(
            "this coordinator speaks protocol {PROTOCOL}, the agent {} to {}",
            hello.min_protocol, hello.max_protocol
        );
        return Err(refusal::status(Code::FailedPrecondition, "PROTOCOL_UNSUPPORTED", message));
    }
    if hello.incarnation.len() != 16 {
        let message = format!("incarnation has {} bytes, not 16", hello.incarnation.len());
        return Err(refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", message));
    }
    Ok(())
}

/// What the codec says of a message that cannot be read, as a typed refusal. A broken connection stays what it is.
fn malformed(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => refusal::status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", status.message()),
        Code::Internal => refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", status.message()),
        _ => status,
    }
}

fn unavailable(error: &LogError) -> Status {
    tracing::error!(%error, "log refused");
    refusal::status(Code::Unavailable, "COORDINATOR_BUSY", "the log cannot be written")
}
