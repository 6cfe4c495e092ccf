//! Certificates, servers and assignments for the tests of the layers, all on loopback and port 0.

mod tasks;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use faultline_proto::{
    clock::Clock,
    convert::duration,
    types::v1::{Assignment, Cause, HttpSpec, Layer, TcpSpec, TlsSpec, assignment::Spec},
};
use quinn::{Endpoint, crypto::rustls::QuicServerConfig};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) use self::tasks::Tasks;
use super::{Observed, Outcome, ProbeSettings, Prober, ResolverChoice, Roots};
use crate::policy::{Policy, Ports};

pub(crate) const HOST: &str = "127.0.0.1";

/// A certificate authority of one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's chain and key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test Authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root"))
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn root_pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (params, key) = leaf(name, edit);
        Identity::of(&params.signed_by(&key, &self.0).expect("a leaf"), key)
    }
}

pub(crate) fn self_signed(name: &str) -> Identity {
    self_signed_as(name, |_| {})
}

pub(crate) fn self_signed_as(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Identity {
    let (params, key) = leaf(name, edit);
    Identity::of(&params.self_signed(&key).expect("a leaf"), key)
}

fn leaf(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    edit(&mut params);
    (params, KeyPair::generate().expect("a key"))
}

impl Identity {
    fn of(certificate: &Certificate, key: KeyPair) -> Self {
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Self { certificate: certificate.der().clone(), key: key.into(), certificate_pem, key_pem }
    }

    pub(crate) fn server(self, alpn: &[&[u8]]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .expect("an identity");
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// A server that lives as long as this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Serves each connection with `serve`.
pub(crate) async fn tcp_server<F, S>(serve: F) -> Server
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            serving.spawn(serve(stream));
        }
    });
    Server { address, _tasks: tasks }
}

/// Serves each TLS session with `serve`; handshakes that fail are the client's business.
pub(crate) async fn tls_server<F, S>(config: ServerConfig, serve: F) -> Server
where
    F: Fn(TlsStream<TcpStream>) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tcp_server(move |stream| {
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        async move {
            if let Ok(session) = acceptor.accept(stream).await {
                serve(session).await;
            }
        }
    })
    .await
}

/// A QUIC server that lives as long as this value.
pub(crate) struct QuicServer {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl QuicServer {
    /// Of HTTP/3.
    pub(crate) fn new<F, S>(identity: Identity, serve: F) -> Self
    where
        F: Fn(quinn::Incoming) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self::speaking(b"h3", identity, serve)
    }

    pub(crate) fn speaking<F, S>(protocol: &[u8], identity: Identity, serve: F) -> Self
    where
        F: Fn(quinn::Incoming) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self::at(([127, 0, 0, 1], 0).into(), protocol, identity, serve).expect("a port")
    }

    pub(crate) fn at<F, S>(address: SocketAddr, protocol: &[u8], identity: Identity, serve: F) -> std::io::Result<Self>
    where
        F: Fn(quinn::Incoming) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let crypto = QuicServerConfig::try_from(identity.server(&[protocol])).expect("TLS 1.3");
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, address)?;
        let address = endpoint.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                serving.spawn(serve(incoming));
            }
        });
        Ok(Self { address, _tasks: tasks })
    }
}

pub(crate) fn settings(authority: &Authority) -> ProbeSettings {
    ProbeSettings {
        roots: Roots::Only(vec![authority.root()]),
        policy: Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() },
        resolver: ResolverChoice::Servers(Vec::new()),
        ..ProbeSettings::new(Clock::system())
    }
}

pub(crate) fn prober(authority: &Authority) -> Prober {
    Prober::new(settings(authority)).expect("a prober")
}

pub(crate) fn tcp(address: SocketAddr) -> Spec {
    Spec::Tcp(TcpSpec { host: address.ip().to_string(), port: address.port().into() })
}

pub(crate) fn tls(address: SocketAddr) -> Spec {
    Spec::Tls(TlsSpec { host: address.ip().to_string(), port: address.port().into(), ..TlsSpec::default() })
}

pub(crate) fn page(address: SocketAddr) -> HttpSpec {
    HttpSpec { url: format!("https://{address}/ping?x=1"), ..HttpSpec::default() }
}

/// One run that may take five seconds: for outcomes that do not depend on time.
pub(crate) async fn run(prober: &Prober, spec: Spec) -> Observed {
    accounted(one(prober.run(&assignment(spec, Duration::from_secs(5))).await))
}

/// One run that may take 300 ms: for outcomes that are made of silence.
pub(crate) async fn run_short(prober: &Prober, spec: Spec) -> Observed {
    let began = tokio::time::Instant::now();
    let observed = one(prober.run(&assignment(spec, SHORT)).await);
    let over = began.elapsed().saturating_sub(SHORT);
    assert!(over < Duration::from_millis(200), "ended {over:?} after its timeout");
    accounted(observed)
}

/// The only result of a run.
pub(crate) fn one(mut observed: Vec<Observed>) -> Observed {
    assert_eq!(observed.len(), 1, "{observed:?}");
    observed.remove(0)
}

/// The run, whose phases add up to its total: within a hundredth, and the rounding of each to a microsecond.
fn accounted(observed: Observed) -> Observed {
    let timings = observed.result.timings.expect("timings");
    let phases = [timings.dns_us, timings.connect_us, timings.tls_us, timings.first_byte_us, timings.body_us];
    let sum: u32 = phases.iter().sum();
    assert!(sum == 0 || sum.abs_diff(timings.total_us) <= timings.total_us / 100 + 5, "{timings:?}");
    observed
}

pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn assignment(spec: Spec, timeout: Duration) -> Assignment {
    Assignment {
        slot: 1,
        target: "test".into(),
        timeout: Some(duration(timeout)),
        spec: Some(spec),
        ..Assignment::default()
    }
}

pub(crate) fn failed(layer: Layer, cause: Cause) -> Outcome {
    Outcome::Failed { layer, cause }
}
