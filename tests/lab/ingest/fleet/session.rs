//! One agent: Hello, facts, then batches with all the credit there is, until it is dropped.

use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use faultline_attribution::Timestamp;
use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentAck, BatchAck, Hello, Lane, ResultBatch, SessionRequest, SessionResponse, Welcome,
        session_request::Message as Said, session_response::Message as Heard,
    },
};
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, client::Grpc};

use super::{
    Shared,
    codec::{Encoded, Say},
};
use crate::{
    ingest::{agent, batches, target},
    scripted::Credentials,
};

struct Session {
    number: usize,
    name: String,
    requests: mpsc::Sender<Say>,
    responses: Streaming<SessionResponse>,
    /// Number of the last batch that was sent, and of the last that is durable.
    sent: u64,
    durable: u64,
    credit: u64,
}

/// Requests that wait for the connection. Beyond it the session waits, and its credit is used later.
const WAITING: usize = 2;

/// The agent's whole life: it ends by itself only with an error.
pub(super) async fn run(number: usize, credentials: &Credentials, shared: &Rc<Shared>) -> anyhow::Result<()> {
    let name = agent(number);
    let mut session = {
        let _door = shared.doors.acquire().await?;
        Session::open(number, credentials, shared).await.with_context(|| name.clone())?
    };
    shared.open.set(shared.open.get() + 1);
    session.send(shared).await.with_context(|| name)
}

impl Session {
    async fn open(number: usize, credentials: &Credentials, shared: &Shared) -> anyhow::Result<Self> {
        let name = agent(number);
        let mut client = Grpc::new(credentials.channel().await?);
        client.ready().await?;
        let (requests, receiver) = mpsc::channel(WAITING);
        let mut incarnation = name.clone().into_bytes();
        incarnation.resize(16, b'.');
        let hello = Hello {
            min_protocol: PROTOCOL,
            max_protocol: PROTOCOL,
            incarnation,
            version: "bench".into(),
            ..Hello::default()
        };
        requests.send(message(Said::Hello(hello))).await.ok().context("the session ended")?;
        let path = PathAndQuery::from_static("/faultline.agent.v1.SessionService/Session");
        let request = Request::new(ReceiverStream::new(receiver));
        let responses = client.streaming(request, path, Encoded).await?.into_inner();
        let mut session = Self { number, name, requests, responses, sent: 0, durable: 0, credit: 0 };
        let Heard::Welcome(Welcome { limits: Some(limits), .. }) = session.hear().await? else { bail!("no welcome") };
        ensure!(limits.max_batch_results >= shared.load.batch, "batches of {} at most", limits.max_batch_results);
        session.credit = limits.max_inflight_batches.into();
        let Heard::AssignmentPush(push) = session.hear().await? else { bail!("no assignments") };
        let slots = push.assignments.iter().map(|assignment| (assignment.slot, assignment.target.clone()));
        ensure!(slots.eq((1..=shared.load.targets).map(|slot| (slot, target(slot)))), "other slots than expected");
        let ack = AssignmentAck { version: push.version, nonce: push.nonce, refused: Vec::new() };
        session.say(Said::AssignmentAck(ack)).await?;
        session.sent = 1;
        let head = batches::head(1, Timestamp::from_micros(shared.clock.now_micros()));
        let facts = ResultBatch::decode(shared.batches.facts.as_slice())?.facts;
        session.say(Said::ResultBatch(ResultBatch { facts, ..head })).await?;
        while session.durable < 1 {
            session.listen().await?;
        }
        Ok(session)
    }

    /// Sends once it is time to, for ever.
    async fn send(&mut self, shared: &Shared) -> anyhow::Result<()> {
        shared.sends.clone().wait_for(|sends| *sends).await?;
        loop {
            while self.sent - self.durable < self.credit {
                let now = Timestamp::from_micros(shared.clock.now_micros());
                let batch = Say::Batch(shared.batches.batch(self.number, self.sent + 1, now));
                match self.requests.try_send(batch) {
                    Ok(()) => self.sent += 1,
                    Err(mpsc::error::TrySendError::Full(_)) => break,
                    Err(mpsc::error::TrySendError::Closed(_)) => bail!("the session ended"),
                }
            }
            let has_more = self.sent - self.durable < self.credit;
            let heard = tokio::select! {
                heard = Self::heard(&mut self.responses, &self.name) => Some(heard?),
                room = self.requests.reserve(), if has_more => {
                    drop(room.context("the session ended")?);
                    None
                }
            };
            if let Some(heard) = heard {
                let before = self.durable;
                self.note(&heard)?;
                let now = Timestamp::from_micros(shared.clock.now_micros());
                let results = (self.durable - before) * u64::from(shared.load.batch);
                shared.acked.borrow_mut().add(now, results);
            }
        }
    }

    async fn listen(&mut self) -> anyhow::Result<()> {
        let heard = self.hear().await?;
        self.note(&heard)
    }

    /// Takes in what is durable and how much may follow.
    fn note(&mut self, heard: &Heard) -> anyhow::Result<()> {
        let Heard::BatchAck(BatchAck { durable, rejections, max_inflight_batches }) = heard else { return Ok(()) };
        ensure!(rejections.is_empty(), "refused: {rejections:?}");
        let live = durable.iter().find(|cursor| cursor.lane() == Lane::Live);
        self.durable = live.map_or(0, |cursor| cursor.number).max(self.durable);
        if let Some(credit) = max_inflight_batches {
            self.credit = (*credit).into();
        }
        Ok(())
    }

    async fn hear(&mut self) -> anyhow::Result<Heard> {
        Self::heard(&mut self.responses, &self.name).await
    }

    async fn heard(responses: &mut Streaming<SessionResponse>, name: &str) -> anyhow::Result<Heard> {
        let response = responses.message().await.with_context(|| name.to_owned())?;
        response.and_then(|response| response.message).context("the session ended")
    }

    async fn say(&self, said: Said) -> anyhow::Result<()> {
        self.requests.send(message(said)).await.ok().context("the session ended")
    }
}

fn message(said: Said) -> Say {
    Say::Message(Box::new(SessionRequest { message: Some(said) }))
}
