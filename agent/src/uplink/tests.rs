//! Whole agents against a coordinator that the test plays itself, over mutual TLS on loopback.

mod health;
mod lanes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentPush, BatchAck, Drain, Hello, Lane, LaneCursor, Limits, LookRefusal, RefusedLooks, ResultBatch,
        RunNow, SessionRequest, SessionResponse, Welcome,
        session_request::Message as Said,
        session_response::Message as Told,
        session_service_server::{SessionService, SessionServiceServer},
    },
    clock::Clock,
    convert::{duration, timestamp},
    types::v1::{Assignment, Outcome, TcpSpec, Vantage, assignment::Spec},
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    AgentError, Config,
    config::{Coordinator, Probe, Spool, SpoolPlace},
    policy::{Policy, Ports},
    probe::testing::{Authority, HOST, Server, tcp_server, tls_server},
};

#[tokio::test]
async fn an_agent_joins_refuses_what_its_policy_forbids_and_reports_the_rest() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let hello = talk.welcome(0).await;
    assert_eq!((hello.incarnation.len(), hello.assignment_version), (16, 0));
    assert_eq!(hello.vantage.expect("a vantage").region, "eu-central-1");

    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
    talk.push(7, [assignment(1, target.address), assignment(2, metadata)]).await;
    let Said::AssignmentAck(ack) = talk.heard(|said| matches!(said, Said::AssignmentAck(_))).await else {
        unreachable!()
    };
    assert_eq!((ack.version, ack.nonce.as_str()), (7, "nonce-7"));
    assert_eq!(ack.refused.iter().map(|refusal| refusal.slot).collect::<Vec<_>>(), [2]);
    assert!(ack.refused[0].reason.contains("metadata"), "{}", ack.refused[0].reason);

    let batch = talk.batch().await;
    assert_eq!((batch.lane(), batch.number, batch.first_number), (Lane::Live, 1, 1));
    assert!(batch.results.iter().all(|result| result.slot == 1 && result.outcome() == Outcome::Passed), "{batch:?}");
    talk.ack(1).await;
    let Said::Heartbeat(beat) =
        talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.spool[0].first_number > 1)).await
    else {
        unreachable!()
    };
    assert_eq!(beat.spool[0].dropped_results, 0);
}

#[tokio::test]
async fn a_cut_session_loses_no_batch() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let first = talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    assert_eq!(talk.batch().await.number, 1);
    assert_eq!(talk.batch().await.number, 2);
    drop(talk);

    let mut talk = stage.session().await;
    let second = talk.welcome(1).await;
    assert_eq!((second.assignment_version, &second.incarnation), (1, &first.incarnation));
    assert_eq!(second.spool[0].first_number, 1);
    // Two is sent again, and probing went on without a push.
    for number in 2..=4 {
        let batch = talk.batch().await;
        assert_eq!(batch.number, number);
        assert!(!batch.results.is_empty());
    }
}

#[tokio::test]
async fn no_more_batches_are_in_flight_than_welcome_allows() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.hello().await;
    talk.tell(Told::Welcome(Welcome {
        limits: Some(Limits { max_inflight_batches: 1, ..limits() }),
        protocol: PROTOCOL,
        ..Welcome::default()
    }))
    .await;
    talk.push(1, [assignment(1, target.address)]).await;
    assert_eq!(talk.batch().await.number, 1);
    // Wait until the spool is known to hold a second one.
    let next = |said: &Said| {
        matches!(said, Said::ResultBatch(_)) || matches!(said, Said::Heartbeat(beat) if beat.spool[0].next_number > 2)
    };
    assert!(matches!(talk.heard(next).await, Said::Heartbeat(_)), "a second batch in flight");
    talk.ack(1).await;
    assert_eq!(talk.batch().await.number, 2);
}

#[tokio::test]
async fn a_shutdown_sends_what_is_there_and_says_goodbye() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let batch = talk.batch().await;
    let began = Instant::now();
    stage.stop();
    talk.ack(batch.number).await;
    let Said::Goodbye(goodbye) = talk.heard_acking(|said| matches!(said, Said::Goodbye(_))).await else {
        unreachable!()
    };
    assert_eq!(goodbye.reason, "shutdown");
    drop(talk);
    assert!(stage.ended().await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_shutdown_without_a_coordinator_does_not_wait() {
    let mut stage = Stage::new().await;
    let began = Instant::now();
    stage.stop();
    assert!(stage.ended().await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_drained_agent_leaves_and_comes_back() {
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.tell(Told::Drain(Drain { reconnect_jitter: Some(duration(Duration::from_millis(10))) })).await;
    let Said::Goodbye(goodbye) = talk.heard(|said| matches!(said, Said::Goodbye(_))).await else { unreachable!() };
    assert_eq!(goodbye.reason, "drain");
    drop(talk);
    stage.session().await.welcome(0).await;
}

#[tokio::test]
async fn an_identity_that_cannot_be_used_is_named_at_once() {
    let stage = Stage::new().await;
    let mut config = stage.config.clone();
    config.coordinator.key = config.coordinator.ca.clone();
    let error = crate::run(config, Clock::system(), std::future::pending()).await.expect_err("no key").to_string();
    assert!(error.contains("ca.pem"), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_asked_looks_again_at_once() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let now = Clock::system().now_micros();
    // The coordinator's clock is a day ahead, and it seals batches late: neither matters.
    let theirs = |after| Some(timestamp(now + DAY + after));
    talk.hello().await;
    let limits = Limits { max_batch_age: Some(duration(Duration::from_hours(1))), ..limits() };
    let welcome = Welcome { protocol: PROTOCOL, limits: Some(limits), server_time: theirs(0), ..Welcome::default() };
    talk.tell(Told::Welcome(welcome)).await;
    // Due once a day, twelve hours from here.
    let due = Duration::from_micros((now + DAY / 2).rem_euclid(DAY).unsigned_abs());
    let daily = Assignment {
        interval: Some(duration(Duration::from_hours(24))),
        phase: Some(duration(due)),
        ..assignment(1, target.address)
    };
    talk.push(1, [daily]).await;
    talk.heard(|said| matches!(said, Said::AssignmentAck(_))).await;
    let asked = Instant::now();
    talk.tell(Told::RunNow(RunNow { slots: vec![1, 9], deadline: theirs(60_000_000) })).await;
    let batch = talk.batch().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let [result] = batch.results.as_slice() else { panic!("{batch:?}") };
    assert_eq!((result.slot, result.outcome(), result.on_demand), (1, Outcome::Passed, true));

    talk.tell(Told::RunNow(RunNow { slots: vec![1], deadline: theirs(-1) })).await;
    talk.tell(Told::RunNow(RunNow { slots: vec![1; 10_000], deadline: None })).await;
    let refused = |reason: LookRefusal, runs| RefusedLooks { reason: reason.into(), runs };
    let expected = [refused(LookRefusal::NotInForce, 1), refused(LookRefusal::Expired, 10_001)];
    talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.refused_looks == expected)).await;
}

/// A coordinator that does what the test says, and one agent.
struct Stage {
    config: Config,
    clock: Clock,
    talks: mpsc::Receiver<Talk>,
    stop: Option<oneshot::Sender<()>>,
    agent: JoinSet<Result<(), AgentError>>,
    _links: JoinSet<()>,
    _server: Server,
    _files: TempDir,
}

impl Stage {
    async fn new() -> Self {
        Self::at(Clock::system()).await
    }

    async fn at(clock: Clock) -> Self {
        Self::behind(clock, None).await
    }

    /// One whose first connection carries nothing more once that is said, and is not closed.
    async fn behind(clock: Clock, silent: Option<watch::Receiver<bool>>) -> Self {
        let authority = Authority::new();
        let (opened, talks) = mpsc::channel(8);
        let server = tls_server(mutual(&authority), move |session| {
            let service = SessionServiceServer::new(Play { opened: opened.clone() });
            async move {
                let service = TowerToHyperService::new(service);
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(session), service).await.ok();
            }
        })
        .await;
        let files = TempDir::new().expect("a directory");
        let mut links = JoinSet::new();
        let address = match silent {
            Some(silent) => relay(server.address, silent, &mut links).await,
            None => server.address,
        };
        let config = config(&authority, &files, address);
        let agent = JoinSet::new();
        let mut stage = Self { config, clock, talks, stop: None, agent, _links: links, _server: server, _files: files };
        stage.begin();
        stage
    }

    /// Starts the agent, again if need be.
    fn begin(&mut self) {
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.agent.spawn(crate::run(self.config.clone(), self.clock, async move {
            stopped.await.ok();
        }));
    }

    async fn session(&mut self) -> Talk {
        within(self.talks.recv()).await.expect("a session")
    }

    fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    async fn ended(&mut self) -> Result<(), AgentError> {
        within(self.agent.join_next()).await.expect("an agent").expect("no panic")
    }
}

/// Carries connections; the first one falls silent when told to.
async fn relay(to: SocketAddr, silent: watch::Receiver<bool>, links: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    links.spawn(async move {
        let (mut carried, mut held) = (JoinSet::new(), Vec::new());
        let mut is_first = true;
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(to).await.expect("a server");
            if std::mem::take(&mut is_first) {
                let mut silent = silent.clone();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = silent.wait_for(|silent| *silent) => {}
                }
                held.push((near, far));
            } else {
                carried
                    .spawn(async move { copy_bidirectional(&mut near, &mut far).await.map(drop).unwrap_or_default() });
            }
        }
    });
    address
}

/// One session as the coordinator sees it.
struct Talk {
    requests: Streaming<SessionRequest>,
    /// Batches of the backfill lane that were not seen yet, as far as heartbeats told.
    backfill_left: Option<u64>,
    responses: mpsc::Sender<Result<SessionResponse, Status>>,
}

impl Talk {
    async fn tell(&self, message: Told) {
        self.responses.send(Ok(SessionResponse { message: Some(message) })).await.expect("a session");
    }

    async fn hello(&mut self) -> Hello {
        let first = within(self.requests.message()).await.expect("a session").expect("a message");
        let Some(Said::Hello(hello)) = first.message else { panic!("{first:?} came first") };
        hello
    }

    async fn welcome(&mut self, durable: u64) -> Hello {
        let hello = self.hello().await;
        let durable = vec![LaneCursor { lane: Lane::Live.into(), number: durable }];
        let welcome = Welcome { epoch: 1, protocol: PROTOCOL, durable, limits: Some(limits()), ..Welcome::default() };
        self.tell(Told::Welcome(welcome)).await;
        hello
    }

    async fn push(&self, version: u64, assignments: impl Into<Vec<Assignment>>) {
        let (nonce, assignments) = (format!("nonce-{version}"), assignments.into());
        self.tell(Told::AssignmentPush(AssignmentPush { version, nonce, assignments })).await;
    }

    async fn ack(&self, number: u64) {
        self.ack_in(Lane::Live, number).await;
    }

    async fn ack_in(&self, lane: Lane, number: u64) {
        let durable = vec![LaneCursor { lane: lane.into(), number }];
        self.tell(Told::BatchAck(BatchAck { durable, ..BatchAck::default() })).await;
    }

    async fn heard(&mut self, is_wanted: impl Fn(&Said) -> bool) -> Said {
        loop {
            let request = within(self.requests.message()).await.expect("a session").expect("a message");
            let said = request.message.expect("a message");
            if is_wanted(&said) {
                return said;
            }
        }
    }

    async fn heard_acking(&mut self, is_wanted: impl Fn(&Said) -> bool) -> Said {
        loop {
            let said = self.heard(|said| is_wanted(said) || matches!(said, Said::ResultBatch(_))).await;
            match said {
                Said::ResultBatch(batch) => self.ack(batch.number).await,
                said => return said,
            }
        }
    }

    /// The next batch of either lane; what is left in backfill is noted on the way.
    async fn next_batch(&mut self) -> ResultBatch {
        loop {
            match self.heard(|said| matches!(said, Said::ResultBatch(_) | Said::Heartbeat(_))).await {
                Said::Heartbeat(beat) => {
                    self.backfill_left = Some(beat.spool[1].next_number - beat.spool[1].first_number);
                }
                Said::ResultBatch(batch) => return batch,
                _ => unreachable!(),
            }
        }
    }

    async fn batch(&mut self) -> ResultBatch {
        match self.heard(|said| matches!(said, Said::ResultBatch(_))).await {
            Said::ResultBatch(batch) => batch,
            _ => unreachable!(),
        }
    }
}

struct Play {
    opened: mpsc::Sender<Talk>,
}

#[tonic::async_trait]
impl SessionService for Play {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (responses, stream) = mpsc::channel(16);
        self.opened.send(Talk { requests: request.into_inner(), backfill_left: None, responses }).await.ok();
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn mutual(authority: &Authority) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.root()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let identity = authority.issue(HOST, |_| {});
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(vec![identity.certificate], identity.key)
        .expect("an identity");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn config(authority: &Authority, files: &TempDir, coordinator: SocketAddr) -> Config {
    let identity = authority.issue("agent-1", |_| {});
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    Config {
        coordinator: Coordinator {
            endpoint: format!("https://{coordinator}").parse().expect("a uri"),
            server_name: HOST.to_owned(),
            ca: file("ca.pem", &authority.root_pem()),
            certificate: file("agent.pem", &identity.certificate_pem),
            key: file("agent.key", &identity.key_pem),
        },
        vantage: Vantage { region: "eu-central-1".to_owned(), ..Vantage::default() },
        probe: Probe { roots: crate::probe::Roots::Only(vec![authority.root()]), ..Probe::default() },
        policy: Policy {
            min_interval: Duration::from_secs(1),
            allow_loopback: true,
            ports: Ports::Any,
            ..Policy::default()
        },
        spool: Spool { place: SpoolPlace::Folder(files.path().join("spool")), ..Spool::in_memory() },
        status_socket: Some(files.path().join("status.sock")),
        prometheus: None,
    }
}

fn limits() -> Limits {
    Limits {
        max_inflight_batches: 8,
        max_batch_age: Some(duration(Duration::from_millis(100))),
        heartbeat_interval: Some(duration(Duration::from_millis(100))),
        ..Limits::default()
    }
}

fn assignment(slot: u32, to: SocketAddr) -> Assignment {
    Assignment {
        slot,
        target: format!("test/{slot}"),
        interval: Some(duration(Duration::from_secs(1))),
        phase: None,
        timeout: Some(duration(Duration::from_secs(1))),
        spec: Some(Spec::Tcp(TcpSpec { host: to.ip().to_string(), port: to.port().into() })),
        ..Assignment::default()
    }
}

const DAY: i64 = 86_400_000_000;

/// A wait that fails the test instead of hanging it.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}
