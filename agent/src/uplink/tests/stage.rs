//! The stage: an agent as it ships, and a coordinator that does what the test says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentPush, BatchAck, Hello, Lane, LaneCursor, Limits, ResultBatch, SessionRequest, SessionResponse,
        Welcome,
        session_request::Message as Said,
        session_response::Message as Told,
        session_service_server::{SessionService, SessionServiceServer},
    },
    clock::Clock,
    convert::duration,
    types::v1::{Assignment, TcpSpec, Vantage, assignment::Spec},
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
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    AgentError, Config,
    config::{Coordinator, Probe, Spool, SpoolPlace},
    policy::{Policy, Ports},
    probe::testing::{Authority, HOST, Server, tls_server},
};

/// A coordinator that does what the test says, and one agent.
pub(super) struct Stage {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) talks: mpsc::Receiver<Talk>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) agent: JoinSet<Result<(), AgentError>>,
    pub(super) _links: JoinSet<()>,
    pub(super) _server: Server,
    pub(super) _files: TempDir,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::at(Clock::system()).await
    }

    pub(super) async fn at(clock: Clock) -> Self {
        Self::behind(clock, None).await
    }

    /// One whose first connection carries nothing more once that is said, and is not closed.
    pub(super) async fn behind(clock: Clock, silent: Option<watch::Receiver<bool>>) -> Self {
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
    pub(super) fn begin(&mut self) {
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.agent.spawn(crate::run(self.config.clone(), self.clock, async move {
            stopped.await.ok();
        }));
    }

    pub(super) async fn session(&mut self) -> Talk {
        within(self.talks.recv()).await.expect("a session")
    }

    pub(super) fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    pub(super) async fn ended(&mut self) -> Result<(), AgentError> {
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
pub(super) struct Talk {
    pub(super) requests: Streaming<SessionRequest>,
    /// Batches of the backfill lane that were not seen yet, as far as heartbeats told.
    pub(super) backfill_left: Option<u64>,
    pub(super) responses: mpsc::Sender<Result<SessionResponse, Status>>,
}

impl Talk {
    pub(super) async fn tell(&self, message: Told) {
        self.responses.send(Ok(SessionResponse { message: Some(message) })).await.expect("a session");
    }

    pub(super) async fn hello(&mut self) -> Hello {
        let first = within(self.requests.message()).await.expect("a session").expect("a message");
        let Some(Said::Hello(hello)) = first.message else { panic!("{first:?} came first") };
        hello
    }

    pub(super) async fn welcome(&mut self, durable: u64) -> Hello {
        let hello = self.hello().await;
        let durable = vec![LaneCursor { lane: Lane::Live.into(), number: durable }];
        let welcome = Welcome { epoch: 1, protocol: PROTOCOL, durable, limits: Some(limits()), ..Welcome::default() };
        self.tell(Told::Welcome(welcome)).await;
        hello
    }

    pub(super) async fn push(&self, version: u64, assignments: impl Into<Vec<Assignment>>) {
        let (nonce, assignments) = (format!("nonce-{version}"), assignments.into());
        self.tell(Told::AssignmentPush(AssignmentPush { version, nonce, assignments })).await;
    }

    pub(super) async fn ack(&self, number: u64) {
        self.ack_in(Lane::Live, number).await;
    }

    pub(super) async fn ack_in(&self, lane: Lane, number: u64) {
        let durable = vec![LaneCursor { lane: lane.into(), number }];
        self.tell(Told::BatchAck(BatchAck { durable, ..BatchAck::default() })).await;
    }

    pub(super) async fn heard(&mut self, is_wanted: impl Fn(&Said) -> bool) -> Said {
        loop {
            let request = within(self.requests.message()).await.expect("a session").expect("a message");
            let said = request.message.expect("a message");
            if is_wanted(&said) {
                return said;
            }
        }
    }

    pub(super) async fn heard_acking(&mut self, is_wanted: impl Fn(&Said) -> bool) -> Said {
        loop {
            let said = self.heard(|said| is_wanted(said) || matches!(said, Said::ResultBatch(_))).await;
            match said {
                Said::ResultBatch(batch) => self.ack(batch.number).await,
                said => return said,
            }
        }
    }

    /// The next batch of either lane; what is left in backfill is noted on the way.
    pub(super) async fn next_batch(&mut self) -> ResultBatch {
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

    pub(super) async fn batch(&mut self) -> ResultBatch {
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
        machine: crate::machine::Places::default(),
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        max_inflight_batches: 8,
        max_batch_age: Some(duration(Duration::from_millis(100))),
        heartbeat_interval: Some(duration(Duration::from_millis(100))),
        ..Limits::default()
    }
}

pub(super) fn assignment(slot: u32, to: SocketAddr) -> Assignment {
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

pub(super) const DAY: i64 = 86_400_000_000;

/// A wait that fails the test instead of hanging it.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}
