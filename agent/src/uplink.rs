//! The agent's one stream to the coordinator, kept up for ever.
//!
//! Rules: probing never waits for the uplink; a lost session is tried again after a random pause of up to 0.5 s, 1 s,
//! 2 s ... 60 s (full jitter, clock time), and a session that lived for a while starts that anew; a dead peer is noticed
//! by HTTP/2 keepalive, 20 s + 10 s; a push is answered with what local policy refused.

mod error;
mod identity;
mod looks;
mod session;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentAck, AssignmentPush, BatchAck, Goodbye, Heartbeat, Hello, Lane, LaneCursor, SessionRequest, Welcome,
        session_request, session_response, session_service_client::SessionServiceClient,
    },
    clock::Clock,
    convert,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

pub use self::identity::IdentityError;
pub(crate) use self::identity::{greet, valid_until};
use self::{error::SessionError, identity::Dialer, looks::TheirClock, session::Session};
use crate::{
    config::{Config, Coordinator},
    run::{LookAgain, Orders, Shared},
    selfcheck::Exchange,
};

/// Whether the identity can be used.
pub(crate) fn check(coordinator: &Coordinator) -> Result<(), IdentityError> {
    Dialer::new(coordinator, None).map(drop)
}

pub(crate) struct Uplink {
    config: Config,
    clock: Clock,
    shared: Arc<Shared>,
    orders: watch::Sender<Orders>,
    ask: mpsc::Sender<LookAgain>,
    leaving: watch::Receiver<bool>,
}

enum End {
    /// The agent is leaving.
    Left,
    /// The coordinator is; come back within this time.
    Drained(Duration),
}

/// What the talk waits for.
enum Event {
    Room,
    Heard(Option<session_response::Message>),
    Filled,
    Beat,
    Leaving,
    Late,
}

type Responses = Streaming<faultline_proto::agent::v1::SessionResponse>;

impl Uplink {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        shared: Arc<Shared>,
        orders: watch::Sender<Orders>,
        ask: mpsc::Sender<LookAgain>,
        leaving: watch::Receiver<bool>,
    ) -> Self {
        Self { config, clock, shared, orders, ask, leaving }
    }

    /// Keeps a session up until the agent leaves.
    pub(crate) async fn run(self) {
        let mut attempt = 0;
        loop {
            let began = Instant::now();
            let mut leaving = self.leaving.clone();
            let opened = tokio::select! {
                opened = self.open() => opened,
                // Without a session there is nobody to say goodbye to.
                _ = leaving.wait_for(|leaving| *leaving) => return,
            };
            let ended = match opened {
                Ok((outgoing, responses, welcome)) => self.talk(outgoing, responses, &welcome).await,
                Err(error) => Err(error),
            };
            if self.clock.since(began) > LONG_SESSION {
                attempt = 0;
            }
            let limit = match ended {
                Ok(End::Left) => return,
                Ok(End::Drained(jitter)) => {
                    self.shared.board().down("drained by the coordinator");
                    jitter
                }
                Err(error) => {
                    self.shared.board().down(&error.to_string());
                    let limit = (FIRST_PAUSE * 2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
                    attempt = (attempt + 1).min(MAX_DOUBLINGS);
                    let waiting = self.shared.spool().state();
                    let waiting = waiting.next_number - waiting.first_number;
                    tracing::warn!(%error, waiting, "uplink lost");
                    limit
                }
            };
            tokio::select! {
                () = self.clock.sleep(limit.mul_f64(rand::random())) => {}
                _ = leaving.wait_for(|leaving| *leaving) => return,
            }
        }
    }

    async fn open(&self) -> Result<(mpsc::Sender<SessionRequest>, Responses, Welcome), SessionError> {
        let opening = async {
            let mut client = SessionServiceClient::new(self.connect().await?);
            let asked = Instant::now();
            // Bounded: when it is full the talk waits for room, and goes on reading meanwhile.
            let (outgoing, requests) = mpsc::channel(OUTGOING);
            outgoing.try_send(request(session_request::Message::Hello(self.hello()))).ok();
            let mut responses = client.session(ReceiverStream::new(requests)).await?.into_inner();
            match responses.message().await?.ok_or(SessionError::Closed)?.message {
                Some(session_response::Message::Welcome(welcome)) if welcome.protocol == PROTOCOL => {
                    if let Some(their_micros) = convert::micros(welcome.server_time.as_ref()) {
                        self.shared.check.heard_time(Exchange { asked, heard: Instant::now(), their_micros });
                    }
                    Ok((outgoing, responses, welcome))
                }
                Some(session_response::Message::Welcome(_)) => Err(SessionError::Unexpected("protocol")),
                _ => Err(SessionError::Unexpected("no welcome")),
            }
        };
        let opened = tokio::time::timeout(self.patience(OPEN_LIMIT), opening).await;
        opened.unwrap_or(Err(SessionError::Silent(OPEN_LIMIT)))
    }

    async fn connect(&self) -> Result<Channel, SessionError> {
        let coordinator = &self.config.coordinator;
        let dialer = Dialer::new(coordinator, self.config.probe.source_address)?;
        // The dialer does the TLS, so that for tonic the connection itself is plain.
        let mut plain = coordinator.endpoint.clone().into_parts();
        plain.scheme = Some(http::uri::Scheme::HTTP);
        let plain = Uri::from_parts(plain).map_err(|error| SessionError::Endpoint(error.into()))?;
        let patience = self.patience(DIAL_LIMIT);
        let dial = service_fn(move |_: Uri| {
            let dialer = dialer.clone();
            async move {
                let dialled = tokio::time::timeout(patience, dialer.dial()).await;
                dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            }
        });
        Endpoint::from(plain)
            .origin(coordinator.endpoint.clone())
            .http2_keep_alive_interval(self.clock.real(KEEPALIVE))
            .keep_alive_timeout(self.patience(KEEPALIVE_LIMIT))
            .keep_alive_while_idle(true)
            .connect_with_connector(dial)
            .await
            .map_err(SessionError::Connect)
    }

    /// The limit in real time, never so short that a fast clock takes a busy machine for a dead peer.
    fn patience(&self, limit: Duration) -> Duration {
        self.clock.real(limit).max(LEAST_PATIENCE)
    }

    fn hello(&self) -> Hello {
        let spool = self.shared.spool();
        Hello {
            min_protocol: PROTOCOL,
            max_protocol: PROTOCOL,
            incarnation: spool.incarnation().to_vec(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vantage: Some(self.config.vantage.clone()),
            assignment_version: self.orders.borrow().version,
            spool: vec![spool.state()],
        }
    }

    async fn talk(
        &self,
        outgoing: mpsc::Sender<SessionRequest>,
        mut responses: Responses,
        welcome: &Welcome,
    ) -> Result<End, SessionError> {
        let limits = welcome.limits.unwrap_or_default();
        let their_clock = TheirClock::new(welcome, self.clock);
        let durable = self.free(&welcome.durable).unwrap_or(0);
        self.orders.send_modify(|orders| orders.limits = (&limits).into());
        let mut session = Session::new(durable, limits.max_inflight_batches);
        let beat = convert::std_duration(limits.heartbeat_interval.as_ref()).filter(|beat| !beat.is_zero());
        let beat = self.clock.real(beat.unwrap_or(DEFAULT_HEARTBEAT));
        self.shared.board().up();
        tracing::info!(endpoint = %self.config.coordinator.endpoint, epoch = welcome.epoch, durable, "uplink up");

        let mut heartbeats = tokio::time::interval(beat);
        heartbeats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_beat_due = false;
        let mut answer: Option<AssignmentAck> = None;
        let mut leave_by: Option<Instant> = None;
        let mut leaving = self.leaving.clone();
        loop {
            let (next, is_spool_empty) = {
                let spool = self.shared.spool();
                (session.next(spool.first_number(), spool.next_number()), spool.is_empty())
            };
            if leave_by.is_some_and(|by| is_spool_empty || Instant::now() >= by) {
                say_goodbye("shutdown", outgoing, responses).await;
                return Ok(End::Left);
            }
            let has_work = answer.is_some() || is_beat_due || next.is_some();
            let event = tokio::select! {
                biased;
                room = outgoing.reserve(), if has_work => room.map(|_| Event::Room).map_err(|_| SessionError::Closed)?,
                response = responses.message() => Event::Heard(response?.ok_or(SessionError::Closed)?.message),
                () = self.shared.filled.notified() => Event::Filled,
                _ = heartbeats.tick() => Event::Beat,
                _ = leaving.wait_for(|leaving| *leaving), if leave_by.is_none() => Event::Leaving,
                () = until(leave_by) => Event::Late,
            };
            match event {
                Event::Room => {
                    let message = if let Some(answer) = answer.take() {
                        Some(session_request::Message::AssignmentAck(answer))
                    } else if is_beat_due {
                        is_beat_due = false;
                        Some(session_request::Message::Heartbeat(self.heartbeat()))
                    } else {
                        next.and_then(|number| {
                            session.sent(number);
                            self.shared.spool().batch(number).map(session_request::Message::ResultBatch)
                        })
                    };
                    // There is room, and nobody else sends.
                    message.map(|message| outgoing.try_send(request(message)).ok());
                }
                Event::Heard(Some(session_response::Message::BatchAck(ack))) => self.take_ack(&ack, &mut session),
                Event::Heard(Some(session_response::Message::AssignmentPush(push))) => {
                    answer = Some(self.take_push(push));
                }
                Event::Heard(Some(session_response::Message::Drain(drain))) => {
                    let jitter = convert::std_duration(drain.reconnect_jitter.as_ref()).unwrap_or_default();
                    tracing::info!(jitter_s = jitter.as_secs(), "uplink drained");
                    say_goodbye("drain", outgoing, responses).await;
                    return Ok(End::Drained(jitter));
                }
                Event::Heard(Some(session_response::Message::Welcome(_))) => {
                    return Err(SessionError::Unexpected("a second welcome"));
                }
                Event::Beat => is_beat_due = true,
                Event::Leaving => leave_by = Some(Instant::now() + LAST_SENDING),
                Event::Heard(Some(session_response::Message::RunNow(run_now))) => {
                    self.take_run_now(run_now, &their_clock);
                }
                // A later coordinator may say more than this build knows.
                Event::Heard(None | Some(session_response::Message::HeartbeatAck(_))) | Event::Filled | Event::Late => {
                }
            }
        }
    }

    fn take_ack(&self, ack: &BatchAck, session: &mut Session) {
        for rejection in &ack.rejections {
            let number = rejection.cursor.map_or(0, |cursor| cursor.number);
            let reason = rejection.status.as_ref().map_or("", |status| status.message.as_str());
            tracing::warn!(number, results = rejection.rejected_results, reason, "batch refused");
        }
        if let Some(number) = self.free(&ack.durable) {
            session.acked(number);
            self.shared.board().acked();
        }
    }

    /// Frees what is durable, and returns up to where that is: never beyond what was made.
    fn free(&self, durable: &[LaneCursor]) -> Option<u64> {
        let mut spool = self.shared.spool();
        let number = live(durable)?.min(spool.next_number() - 1);
        spool.ack(number);
        Some(number)
    }

    fn take_push(&self, push: AssignmentPush) -> AssignmentAck {
        let AssignmentPush { version, nonce, assignments } = push;
        let (accepted, refused) = self.config.policy.judge(assignments);
        tracing::info!(version, accepted = accepted.len(), refused = refused.len(), "assignments");
        for refusal in &refused {
            tracing::debug!(slot = refusal.slot, reason = refusal.reason, "assignment refused");
        }
        self.shared.board().pushed(version, accepted.len(), &refused);
        self.orders.send_modify(|orders| {
            orders.version = version;
            orders.assignments = Arc::new(accepted);
        });
        AssignmentAck { version, nonce, refused }
    }

    fn heartbeat(&self) -> Heartbeat {
        let pulse = self.shared.take_pulse();
        Heartbeat {
            agent_time: Some(convert::timestamp(self.clock.now_micros())),
            scheduler_lag: Some(convert::duration(pulse.worst_lag)),
            probes_in_flight: u32::try_from(pulse.in_flight).unwrap_or(u32::MAX),
            skipped_runs: pulse.skipped_runs,
            spool: vec![self.shared.spool().state()],
            refused_looks: pulse.refused_looks.to_wire(),
            impairments: self.shared.check.snapshot().1.into_iter().map(Into::into).collect(),
            ..Heartbeat::default()
        }
    }
}

/// Says goodbye and waits briefly for the coordinator to close its side, so that nothing is cut off on the way.
async fn say_goodbye(reason: &str, outgoing: mpsc::Sender<SessionRequest>, mut responses: Responses) {
    let farewell = async {
        let goodbye = Goodbye { reason: reason.to_owned() };
        outgoing.send(request(session_request::Message::Goodbye(goodbye))).await.ok();
        drop(outgoing);
        while let Ok(Some(_)) = responses.message().await {}
    };
    tokio::time::timeout(LAST_WORDS, farewell).await.ok();
}

fn request(message: session_request::Message) -> SessionRequest {
    SessionRequest { message: Some(message) }
}

fn live(cursors: &[LaneCursor]) -> Option<u64> {
    cursors.iter().find(|cursor| cursor.lane() == Lane::Live).map(|cursor| cursor.number)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

const OUTGOING: usize = 4;
const DIAL_LIMIT: Duration = Duration::from_secs(5);
const OPEN_LIMIT: Duration = Duration::from_secs(15);
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const MAX_DOUBLINGS: u32 = 7;
/// A session that lived this long was no failed attempt.
const LONG_SESSION: Duration = Duration::from_secs(30);
/// Real time: what is in the spool at shutdown may take this long.
const LAST_SENDING: Duration = Duration::from_secs(2);
/// Real time: goodbye and close may take this long.
const LAST_WORDS: Duration = Duration::from_secs(1);
