//! One agent's session: Hello and Welcome, assignments out, batches in, acknowledged after the durable write.
//!
//! Rules: what an agent says is heard at once, and a heartbeat answered, also while its batches wait for the log; batches are
//! stored one after another, in the order in which they came, and only what is durable is acknowledged; a batch out of order
//! ends the session, since only the agent knows what comes first; nothing is acknowledged to a session that a newer one has
//! replaced; who was asked to come back has not left; an agent is told how it stands, and loses its session when it may have
//! none.

mod refusals;
mod store;
mod tell;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use faultline_attribution::{AgentId, SessionState, Timestamp};
use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        BatchAck, Drain, Goodbye, Heartbeat, HeartbeatAck, Lane, LaneCursor, Limits, SessionResponse, Welcome,
        session_response::Message as Reply,
    },
    convert,
};
use futures::future;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Status, Streaming};

use self::refusals::{check, malformed, no_standing, not_allowed, superseded, unavailable, unknown};
use super::{
    BUDGET_UNIT, HEARTBEAT, Ingest, MAX_CREDIT, admit,
    clones::Arrival,
    listener::AgentPeer,
    presence::Presence,
    service::{Heard, Said},
};
use crate::{
    log::Admission,
    record::{Record, RecordKind},
    refusal,
    rpc::life::Leaving,
};

/// Hello must come within this.
const HELLO: Duration = Duration::from_secs(10);

/// After Drain an agent has this long to say goodbye.
const DRAIN: Duration = Duration::from_secs(2);

/// Replies that wait for the agent to read them; beyond that its batches wait, and only its.
const REPLIES: usize = 16;

/// Live batches are asked for at least this often.
const BATCH_AGE: Duration = Duration::from_secs(2);

/// How an agent says goodbye that was drained and will be back.
const DRAINED: &str = "drain";

/// What goes out to the agent.
pub(super) type Stream = Pin<Box<dyn futures::Stream<Item = Result<SessionResponse, Status>> + Send>>;

type Replies = mpsc::Sender<Result<SessionResponse, Status>>;

/// Opens a session for whoever asks, if it is an agent.
pub(super) fn open(ingest: Arc<Ingest>, request: Request<Streaming<Heard>>) -> Result<Stream, Status> {
    let peer = request.extensions().get::<AgentPeer>().cloned();
    let peer = peer.ok_or_else(|| refusal::status(Code::Unauthenticated, "AGENT_UNKNOWN", "no certificate"))?;
    let leaving = request.extensions().get::<Leaving>().cloned();
    let (replies, receiver) = mpsc::channel(REPLIES);
    // The task lives as long as the response stream: dropping one ends the other.
    let mut task = JoinSet::new();
    task.spawn(async move {
        let agent = peer.agent.clone();
        if let Err(status) = Session::run(&ingest, peer, request.into_inner(), &replies, leaving).await {
            tracing::info!(%agent, reason = status.message(), "session ended");
            drop(replies.send(Err(status)).await);
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver).map(move |reply| {
        let _task = &task;
        reply
    })))
}

struct Session<'a> {
    ingest: &'a Ingest,
    agent: AgentId,
    incarnation: Vec<u8>,
    epoch: u64,
    replies: &'a Replies,
    _open: Open<'a>,
}

/// Counts a session for as long as it is open.
struct Open<'a>(&'a Ingest);

impl<'a> Open<'a> {
    fn new(ingest: &'a Ingest) -> Self {
        ingest.open.fetch_add(1, Ordering::Relaxed);
        Self(ingest)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is done one after another, in the order in which it was said.
enum Work {
    /// The agent was silent and is heard again.
    Back,
    Batch {
        bytes: Bytes,
        received_at: Timestamp,
        budget: OwnedSemaphorePermit,
    },
    Goodbye(Goodbye),
}

impl<'a> Session<'a> {
    async fn run(
        ingest: &'a Ingest,
        peer: AgentPeer,
        mut requests: Streaming<Heard>,
        replies: &'a Replies,
        leaving: Option<Leaving>,
    ) -> Result<(), Status> {
        let first = time::timeout(ingest.clock.real(HELLO), requests.next()).await;
        let first = first.map_err(|_| refusal::status(Code::DeadlineExceeded, "HELLO_MISSING", "no Hello in time"))?;
        let Some(Said::Hello(hello)) = first.transpose().map_err(malformed)?.and_then(|request| request.message) else {
            return Err(refusal::status(Code::FailedPrecondition, "HELLO_MISSING", "Hello must be the first message"));
        };
        let fingerprint = check(&hello)?;
        let place = ingest.registry.place(peer.agent.as_str()).ok_or_else(|| unknown(&peer.agent))?;
        let standing = ingest.take_standing(&peer.agent).await.map_err(|error| no_standing(&error))?;
        let before = standing.borrow().clone();
        not_allowed(&peer.agent, &before)?;
        let vantage = place.vantage(hello.vantage.as_ref(), peer.address.ip());
        let arrival = Arrival { incarnation: hello.incarnation.clone(), fingerprint };
        let (mine, mut turn, cloned) = ingest.take_turn(&peer.agent, arrival);
        let opened = async {
            let recognised = ingest.recognise(&peer.agent, &before, fingerprint, cloned).await;
            recognised.map_err(|error| no_standing(&error))?;
            let epoch = ingest.open_session(&peer.agent, vantage.clone()).await.map_err(|error| unavailable(&error))?;
            ingest.hear(&peer.agent);
            ingest.note(&peer.agent, |presence| {
                presence.told.trust(&hello.trust_bundle);
                presence.told.signer.clone_from(&peer.signer);
            });
            tracing::info!(agent = %peer.agent, epoch, version = hello.version, "session open");
            let open = Open::new(ingest);
            let (agent, incarnation) = (peer.agent.clone(), hello.incarnation.clone());
            let session = Session { ingest, agent, incarnation, epoch, replies, _open: open };
            session.welcome().await?;
            let (push, table) = ingest.assignments.push(&session.agent, &vantage);
            if let Some(table) = table {
                let record = Record::own(RecordKind::Assignment, ingest.now(), session.agent.as_str(), &table);
                ingest.log.append(Admission::Own, record).await.map_err(|error| unavailable(&error))?;
                ingest.assignments.keep(&session.agent, table);
            }
            session.reply(Reply::AssignmentPush(push)).await?;
            ingest.reach(&session.agent, mine, replies.downgrade());
            Ok::<_, Status>(session)
        };
        let mut replaced = turn.clone();
        let session = tokio::select! {
            biased;
            () = superseded_by(&mut replaced, mine) => return Err(superseded(ingest.cloned(&peer.agent))),
            session = opened => session?,
        };
        let (work, waiting) = mpsc::channel(MAX_CREDIT);
        tokio::select! {
            biased;
            () = superseded_by(&mut turn, mine) => Err(superseded(ingest.cloned(&peer.agent))),
            ended = future::try_join(session.listen(requests, work), session.work(waiting)) => ended.map(|_| ()),
            ended = session.watch_room() => ended,
            ended = session.watch_trust(ingest.trust.subscribe()) => ended,
            ended = session.drain(leaving) => ended,
            ended = session.watch_standing(standing) => ended,
        }
    }

    /// Hears what the agent says, until it has said its last. What takes its turn is handed on; when too much waits there,
    /// nothing further is read.
    async fn listen(&self, mut requests: Streaming<Heard>, work: mpsc::Sender<Work>) -> Result<(), Status> {
        // The other side ends first only with an error, which then ends the session.
        let hand_on = async |next: Work| work.send(next).await.map_err(|_| Status::cancelled("the session ended"));
        while let Some(request) = requests.next().await {
            let request = request.map_err(malformed)?;
            if self.ingest.hear(&self.agent) {
                hand_on(Work::Back).await?;
            }
            match request.message {
                Some(Said::ResultBatch(bytes)) => {
                    let received_at = self.ingest.now();
                    let units = u32::try_from(bytes.len().div_ceil(BUDGET_UNIT)).unwrap_or(u32::MAX).max(1);
                    let budget = Arc::clone(&self.ingest.budget).acquire_many_owned(units).await;
                    let budget = budget.map_err(|_| Status::cancelled("the coordinator ended"))?;
                    hand_on(Work::Batch { bytes, received_at, budget }).await?;
                }
                Some(Said::Heartbeat(heartbeat)) => self.beat(&heartbeat).await?,
                Some(Said::AssignmentAck(ack)) => {
                    let target_of = |slot| self.ingest.assignments.target_of(&self.agent, slot);
                    self.note(|presence| presence.told.refuse(&self.agent, &ack.refused, target_of));
                }
                Some(Said::Goodbye(goodbye)) => {
                    tracing::info!(agent = %self.agent, reason = goodbye.reason, "goodbye");
                    return hand_on(Work::Goodbye(goodbye)).await;
                }
                Some(Said::Hello(_)) => {
                    return Err(refusal::status(
                        Code::FailedPrecondition,
                        "HELLO_REPEATED",
                        "Hello must not come again",
                    ));
                }
                None => {
                    return Err(refusal::status(
                        Code::InvalidArgument,
                        "MESSAGE_MALFORMED",
                        "a message without content",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), Status> {
        let server_time = Some(convert::timestamp(self.ingest.clock.now_micros()));
        self.reply(Reply::HeartbeatAck(HeartbeatAck { agent_time: heartbeat.agent_time, server_time })).await?;
        self.note(|presence| presence.told.beat(&self.agent, heartbeat));
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut Presence)) {
        self.ingest.note(&self.agent, note);
    }

    /// Does what was handed on, until nothing more will come.
    async fn work(&self, mut waiting: mpsc::Receiver<Work>) -> Result<(), Status> {
        while let Some(work) = waiting.recv().await {
            match work {
                Work::Back => self.record(SessionState::Up).await?,
                Work::Batch { bytes, received_at, budget } => {
                    self.store(bytes, received_at).await?;
                    drop(budget);
                }
                Work::Goodbye(goodbye) => self.leave(&goodbye).await?,
            }
        }
        Ok(())
    }

    async fn record(&self, state: SessionState) -> Result<(), Status> {
        let recorded = self.ingest.record_session(&self.agent, state, self.ingest.now()).await;
        recorded.map_err(|error| unavailable(&error))
    }

    async fn leave(&self, goodbye: &Goodbye) -> Result<(), Status> {
        // Who was asked to come back has not left; if it does not, it will be silent.
        if goodbye.reason == DRAINED && !self.ingest.shutdown.is_cancelled() {
            return Ok(());
        }
        self.depart().await
    }

    /// The agent is not here any more, and not silent either.
    async fn depart(&self) -> Result<(), Status> {
        self.note(|presence| presence.state = SessionState::Goodbye);
        self.record(SessionState::Goodbye).await
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
            max_inflight_batches: self.ingest.credit(),
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

    /// Tells the agent to hold while the log is full, and to go on when it is not.
    async fn watch_room(&self) -> Result<(), Status> {
        let (full_since, mut is_held) = (&self.ingest.full_since, false);
        loop {
            let since = full_since.get();
            let is_full = since.is_some();
            if is_full != is_held {
                is_held = is_full;
                let credit = if is_full { 0 } else { self.ingest.credit() };
                let ack = BatchAck { max_inflight_batches: Some(credit), ..BatchAck::default() };
                self.reply(Reply::BatchAck(ack)).await?;
            }
            full_since.other_than(since).await;
        }
    }

    /// Orderly end, with the coordinator or with the connection: the agent sends what it holds and says goodbye.
    async fn drain(&self, mut leaving: Option<Leaving>) -> Result<(), Status> {
        tokio::select! {
            biased;
            () = self.ingest.shutdown.cancelled() => {}
            () = Leaving::begun(&mut leaving) => {}
        }
        let drain = Drain { reconnect_jitter: Some(convert::duration(Duration::from_secs(2))) };
        self.reply(Reply::Drain(drain)).await?;
        time::sleep(DRAIN).await;
        Ok(())
    }
}

/// Waits until a newer session of the agent takes its turn.
async fn superseded_by(turn: &mut watch::Receiver<u64>, mine: u64) {
    drop(turn.wait_for(|turn| *turn > mine).await);
}
