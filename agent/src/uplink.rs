//! The agent's one stream to the coordinator, kept up for ever.
//!
//! Rules: probing never waits for the uplink; a lost session is tried again after a random pause of up to 0.5 s, 1 s,
//! 2 s ... 60 s (full jitter, clock time), and a session that lived for a while starts that anew; a dead peer is noticed
//! within 30 s, by HTTP/2 keepalive (20 s + 10 s), or by its silence once it was heard to answer heartbeats; an identity that was
//! replaced is tried at once.

mod error;
mod identity;
mod looks;
mod outgoing;
pub(crate) mod reach;
mod session;
mod talk;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        Goodbye, Hello, SessionRequest, Standing, StandingNotice, TrustBundle, Welcome, session_request,
        session_response, session_service_client::SessionServiceClient,
    },
    clock::Clock,
    convert,
};
use hyper_util::rt::TokioIo;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
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

use self::error::SessionError;
pub use self::identity::{Connect, Connecting, Connection, IdentityError};
pub(crate) use self::{
    error::chain,
    identity::{Dialer, agent_of, greet, is_over, valid_until, validity},
};
use crate::{
    config::{Config, Coordinator},
    run::{LookAgain, Orders, Shared},
    selfcheck::Exchange,
    trust,
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
    /// In the place of TCP and TLS.
    connect: Option<Connect>,
    /// Decides the pauses between attempts.
    seed: u64,
}

enum End {
    /// The agent is leaving.
    Left,
    /// The coordinator is; come back within this time.
    Drained(Duration),
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
        Self { config, clock, shared, orders, ask, leaving, connect: None, seed: rand::random() }
    }

    /// The same over connections of another kind, with pauses that a seed decides.
    pub(crate) fn over(self, connect: Connect, seed: u64) -> Self {
        Self { connect: Some(connect), seed, ..self }
    }

    /// Keeps a session up until the agent leaves.
    pub(crate) async fn run(self) {
        let mut attempt = 0;
        let mut jitter = StdRng::seed_from_u64(self.seed);
        loop {
            let began = Instant::now();
            let mut leaving = self.leaving.clone();
            let opened = tokio::select! {
                biased;
                opened = self.open() => opened,
                // Without a session there is nobody to say goodbye to.
                _ = leaving.wait_for(|leaving| *leaving) => return,
            };
            let ended = match opened {
                Ok((outgoing, responses, welcome)) => self.talk(outgoing, responses, &welcome).await,
                Err(error) => {
                    if error.is_unexplained() {
                        self.shared.identity.refused();
                    }
                    Err(error)
                }
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
                Err(error) if error.is_revoked() => {
                    tracing::error!(%error, "revoked: nothing is probed and nothing is tried any more");
                    self.retire(&error.to_string());
                    drop(leaving.wait_for(|leaving| *leaving).await);
                    return;
                }
                Err(error) => {
                    self.shared.board().down(&error.to_string());
                    let limit = (FIRST_PAUSE * 2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
                    attempt = (attempt + 1).min(MAX_DOUBLINGS);
                    let spool = self.shared.spool.view();
                    let (live, backfill) = (spool.live.waiting(), spool.backfill.waiting());
                    tracing::warn!(%error, live, backfill, "uplink lost");
                    limit
                }
            };
            tokio::select! {
                biased;
                () = self.clock.sleep(limit.mul_f64(jitter.random())) => {}
                () = self.shared.identity.replaced() => attempt = 0,
                _ = leaving.wait_for(|leaving| *leaving) => return,
            }
        }
    }

    /// Ends probing for an agent that may not come back. What it has stays on its disk.
    fn retire(&self, why: &str) {
        let mut board = self.shared.board();
        board.down(why);
        board.stands("revoked", why);
        drop(board);
        self.orders.send_modify(|orders| orders.assignments = Arc::default());
    }

    fn take_standing(&self, notice: &StandingNotice) {
        let (standing, says) = match notice.standing() {
            Standing::Active => ("active", "what it measures counts"),
            Standing::Pending => ("pending", "what it measures does not count before an operator approves it"),
            // What a later coordinator may say is no reason to believe that it counts.
            Standing::Quarantined | Standing::Unspecified => ("quarantined", "what it measures does not count"),
        };
        tracing::warn!(standing, reason = notice.reason, says, "the coordinator says how this agent stands");
        self.shared.board().stands(standing, &notice.reason);
    }

    fn take_trust(&self, told: &TrustBundle) {
        match trust::take(&self.config.coordinator.ca, &told.roots_der) {
            Ok(true) => tracing::info!(roots = told.roots_der.len(), "the coordinator says which roots to trust"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the roots that the coordinator named are not taken"),
        }
        if told.renew {
            self.shared.identity.want();
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
        let connect = match &self.connect {
            Some(connect) => Arc::clone(connect),
            None => Dialer::new(coordinator, self.config.probe.source_address)?.connect(),
        };
        // The dialer does the TLS, so that for tonic the connection itself is plain.
        let mut plain = coordinator.endpoint.clone().into_parts();
        plain.scheme = Some(http::uri::Scheme::HTTP);
        let plain = Uri::from_parts(plain).map_err(|error| SessionError::Endpoint(error.into()))?;
        let patience = self.patience(DIAL_LIMIT);
        let dial = service_fn(move |_: Uri| {
            let connecting = connect();
            async move {
                let dialled = tokio::time::timeout(patience, connecting).await;
                dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map(TokioIo::new)
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
        let spool = self.shared.spool.view();
        Hello {
            min_protocol: PROTOCOL,
            max_protocol: PROTOCOL,
            incarnation: spool.incarnation.to_vec(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vantage: Some(self.config.vantage.clone()),
            assignment_version: self.orders.borrow().version,
            spool: outgoing::states(&spool),
            fingerprint: self.shared.machine().fingerprint.map(Vec::from).unwrap_or_default(),
            trust_bundle: trust::digest(&self.config.coordinator.ca),
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

const OUTGOING: usize = 4;
const DIAL_LIMIT: Duration = Duration::from_secs(5);
const OPEN_LIMIT: Duration = Duration::from_secs(15);
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const MAX_DOUBLINGS: u32 = 7;
/// A session that lived this long was no failed attempt.
const LONG_SESSION: Duration = Duration::from_secs(30);
/// Real time: goodbye and close may take this long.
const LAST_WORDS: Duration = Duration::from_secs(1);
