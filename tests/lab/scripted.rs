//! A scripted agent: speaks the session protocol by hand, for what a real agent never does, and for many agents at once
//! without an emulated internet behind them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use faultline_coordinator::{
    pki::{Authority, SERVER_NAME},
    registry::{Place, Registry},
};
use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        AssignmentPush, BatchAck, Hello, Lane, ResultBatch, RunNow, SessionRequest, SessionResponse, Welcome,
        session_request::Message as Say, session_response::Message as Heard,
        session_service_client::SessionServiceClient,
    },
    convert,
    types::v1::{Cause, Layer, Outcome, ProbeResult},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

/// An issued identity, ready to dial.
#[derive(Clone)]
pub struct Credentials {
    tls: Arc<ClientConfig>,
    address: SocketAddr,
    source: Option<IpAddr>,
}

/// An open session.
pub struct ScriptedAgent {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
    /// The coordinator's welcome.
    pub welcome: Welcome,
    /// What it is to probe.
    pub assignments: AssignmentPush,
    /// What it was asked to look at again while it waited for acknowledgements.
    pub asked: Vec<RunNow>,
    next: u64,
}

impl Credentials {
    /// Issues an agent in a coordinator's data directory.
    pub fn issue(data: &Path, name: &str, place: &Place, address: SocketAddr, now_micros: i64) -> anyhow::Result<Self> {
        let authority = Authority::open(data)?;
        let identity = Registry::of(data).issue(&authority, name, place, now_micros)?;
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let tls = client(authority.root_pem())?.with_client_auth_cert(chain, key)?;
        Ok(Self::new(tls, address))
    }

    /// Somebody without a certificate, who knows the coordinator's root.
    pub fn anonymous(data: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let authority = Authority::open(data)?;
        Ok(Self::new(client(authority.root_pem())?.with_no_client_auth(), address))
    }

    fn new(mut tls: ClientConfig, address: SocketAddr) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: Arc::new(tls), address, source: None }
    }

    /// The same, dialled from this address.
    #[must_use]
    pub fn at(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Where it dials.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From which address, if it matters.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The same identity, dialling `address` from `source`.
    #[must_use]
    pub fn between(self, source: IpAddr, address: SocketAddr) -> Self {
        Self { address, source: Some(source), ..self }
    }

    /// The same identity, which dials another address: a relay's.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// A connection over mutual TLS on which nothing was said yet.
    pub async fn dial(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = connect(self.address, self.source).await?;
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await
    }

    /// What a client says first.
    pub fn client_hello(&self) -> io::Result<Vec<u8>> {
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let mut client = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut said = Vec::new();
        client.write_tls(&mut said)?;
        Ok(said)
    }

    /// Connects over mutual TLS.
    pub async fn connect(&self) -> anyhow::Result<SessionServiceClient<Channel>> {
        Ok(SessionServiceClient::new(self.channel().await?))
    }

    /// A connection for calls, over mutual TLS.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        let credentials = self.clone();
        let dial = move |_: Uri| {
            let credentials = credentials.clone();
            async move { credentials.dial().await.map(TokioIo::new) }
        };
        // The scheme is what tonic is told; TLS is the connector's.
        let endpoint = Endpoint::from_static("http://coordinator");
        Ok(endpoint.connect_with_connector(tower::service_fn(dial)).await?)
    }

    /// Opens a session.
    pub async fn open(&self, incarnation: [u8; 16]) -> anyhow::Result<ScriptedAgent> {
        self.open_with(hello(incarnation)).await
    }

    /// Opens a session with whatever comes first.
    pub async fn open_with(&self, first: Say) -> anyhow::Result<ScriptedAgent> {
        Self::open_on(self.connect().await?, first).await
    }

    /// Opens a session on a connection.
    pub async fn open_on(mut client: SessionServiceClient<Channel>, first: Say) -> anyhow::Result<ScriptedAgent> {
        let (requests, receiver) = mpsc::channel(64);
        requests.send(SessionRequest { message: Some(first) }).await?;
        let mut responses = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let welcome = match responses.message().await?.and_then(|response| response.message) {
            Some(Heard::Welcome(welcome)) => welcome,
            other => anyhow::bail!("no welcome but {other:?}"),
        };
        let assignments = match responses.message().await?.and_then(|response| response.message) {
            Some(Heard::AssignmentPush(push)) => push,
            other => anyhow::bail!("no assignments but {other:?}"),
        };
        let mut agent = ScriptedAgent { requests, responses, welcome, assignments, asked: Vec::new(), next: 0 };
        agent.next = agent.durable(Lane::Live) + 1;
        Ok(agent)
    }
}

impl ScriptedAgent {
    /// The slot of a target.
    pub fn slot(&self, target: &str) -> u32 {
        let found = self.assignments.assignments.iter().find(|assignment| assignment.target == target);
        found.map_or(0, |assignment| assignment.slot)
    }

    /// Sends the results as the next live batch and waits for its acknowledgement.
    pub async fn report(&mut self, results: Vec<ProbeResult>) -> anyhow::Result<BatchAck> {
        let number = self.next;
        self.next += 1;
        self.send_batch(number, results).await
    }

    /// Sends a live batch of this number and waits for the acknowledgement.
    pub async fn send_batch(&mut self, number: u64, results: Vec<ProbeResult>) -> anyhow::Result<BatchAck> {
        self.send(ResultBatch { lane: Lane::Live as i32, number, results, ..ResultBatch::default() }).await
    }

    /// Sends any batch and waits for the acknowledgement of its lane. What only says how much may be in flight is none.
    pub async fn send(&mut self, batch: ResultBatch) -> anyhow::Result<BatchAck> {
        self.say(Say::ResultBatch(batch)).await?;
        loop {
            match self.hear().await?.context("the session ended")? {
                Heard::BatchAck(ack) if ack.durable.is_empty() => {}
                Heard::BatchAck(ack) => return Ok(ack),
                Heard::RunNow(run_now) => self.asked.push(run_now),
                Heard::HeartbeatAck(_) => {}
                other => anyhow::bail!("no acknowledgement but {other:?}"),
            }
        }
    }

    /// Last durable number of a lane, as the coordinator's welcome has it.
    pub fn durable(&self, lane: Lane) -> u64 {
        let cursor = self.welcome.durable.iter().find(|cursor| cursor.lane() == lane);
        cursor.map_or(0, |cursor| cursor.number)
    }

    /// Sends anything.
    pub async fn say(&self, message: Say) -> anyhow::Result<()> {
        Ok(self.requests.send(SessionRequest { message: Some(message) }).await?)
    }

    /// The next message; `None` at the end.
    pub async fn hear(&mut self) -> Result<Option<Heard>, Status> {
        Ok(self.responses.message().await?.and_then(|response| response.message))
    }
}

/// A connection from this address of the machine's, or from whichever.
pub async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind((source, 0).into())?;
    socket.connect(address).await
}

/// What opens the session of a spool.
pub fn hello(incarnation: [u8; 16]) -> Say {
    Say::Hello(Hello {
        min_protocol: PROTOCOL,
        max_protocol: PROTOCOL,
        incarnation: incarnation.to_vec(),
        version: "scripted".into(),
        ..Hello::default()
    })
}

/// A run that passed.
pub fn passed(slot: u32, at_micros: i64) -> ProbeResult {
    let started_at = Some(convert::timestamp(at_micros));
    ProbeResult { slot, started_at, outcome: Outcome::Passed as i32, ..ProbeResult::default() }
}

/// A run that failed.
pub fn failed(slot: u32, at_micros: i64, layer: Layer, cause: Cause) -> ProbeResult {
    ProbeResult { outcome: Outcome::Failed as i32, layer: layer as i32, cause: cause as i32, ..passed(slot, at_micros) }
}

fn client(root_pem: &str) -> anyhow::Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(roots))
}
