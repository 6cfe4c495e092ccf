//! Who the agent is and whom it trusts: mutual TLS 1.3 with pinned roots, over TCP from the agent's source address.
//!
//! Rules: the files are read again for each connection, so that a renewed certificate needs no restart; the only roots
//! are those of the configuration; the crypto provider is explicit.

#[cfg(target_os = "linux")]
use std::time::Duration;
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use faultline_proto::join::ENROLL_NAME;
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, ClientConfig, RootCertStore, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer, GeneralName},
};

use super::reach::{Look, reach};
use crate::config::Coordinator;

/// The agent's certificate, its key or the coordinator's roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or holds something else.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// The parts do not make an identity.
    #[error("{}: {source}", path.display())]
    Tls {
        /// The file that names the trouble best.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The coordinator's name is none.
    #[error("server_name {0:?} is neither a host name nor an address")]
    ServerName(String),
}

/// Bytes to and from the coordinator, who is known to be that and knows whose they are.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Makes a connection to the coordinator, by whatever network there is.
pub type Connect = Arc<dyn Fn() -> Connecting + Send + Sync>;

/// A connection on its way.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// Dials the coordinator.
#[derive(Clone)]
pub(crate) struct Dialer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    source: Option<IpAddr>,
}

impl Dialer {
    /// Reads the identity.
    pub(crate) fn new(coordinator: &Coordinator, source: Option<IpAddr>) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&coordinator.ca)? {
            roots.add(root).map_err(tls(&coordinator.ca))?;
        }
        let key = PrivateKeyDer::from_pem_file(&coordinator.key).map_err(file(&coordinator.key))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(tls(&coordinator.ca))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&coordinator.certificate)?, key)
            .map_err(tls(&coordinator.certificate))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self::at(coordinator, server_name(&coordinator.server_name)?, config, source))
    }

    /// Dials the same coordinator as a machine that has no certificate, or none that is good.
    pub(crate) fn newcomer(coordinator: &Coordinator, source: Option<IpAddr>) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&coordinator.ca)? {
            roots.add(root).map_err(tls(&coordinator.ca))?;
        }
        let known = server_name(&coordinator.server_name)?;
        let config = crate::enroll::trusting(roots, known).map_err(tls(&coordinator.ca))?;
        Ok(Self::at(coordinator, server_name(ENROLL_NAME)?, config, source))
    }

    fn at(coordinator: &Coordinator, name: ServerName<'static>, config: ClientConfig, source: Option<IpAddr>) -> Self {
        let host = coordinator.endpoint.host().unwrap_or_default();
        Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: coordinator.endpoint.port_u16().unwrap_or(443),
            name,
            config: Arc::new(config),
            source,
        }
    }

    /// Dials a coordinator of which no more is known yet, and asks it for this server name.
    pub(crate) fn unknown(host: &str, port: u16, name: ServerName<'static>, config: ClientConfig) -> Self {
        Self { host: host.to_owned(), port, name, config: Arc::new(config), source: None }
    }

    /// The same as what others may bring in its place.
    pub(super) fn connect(self) -> Connect {
        Arc::new(move || {
            let dialer = self.clone();
            Box::pin(async move { Ok(Box::new(dialer.dial().await?.into_inner()) as Box<dyn Connection>) })
        })
    }

    /// A session with the coordinator, at the first of its addresses that accepts.
    pub(crate) async fn dial(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = reach(&self.host, self.port, self.source, Look::First).await.stream?;
        self.over(stream).await
    }

    /// A session over this connection.
    pub(crate) async fn over(self, stream: TcpStream) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(HALF_OPEN))?;
        let session = TlsConnector::from(self.config).connect(self.name, stream).await?;
        Ok(TokioIo::new(session))
    }
}

/// Whether the coordinator is there and accepts this identity, short of a session: what a server has against a client's
/// certificate it says only after the handshake (TLS 1.3), so that its first word is waited for.
pub(crate) async fn greet(coordinator: &Coordinator, source: Option<IpAddr>) -> io::Result<()> {
    let dialer = Dialer::new(coordinator, source).map_err(io::Error::other)?;
    let mut session = dialer.dial().await?.into_inner();
    session.write_all(PREFACE).await?;
    match session.read(&mut [0; 64]).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a word")),
        _ => Ok(()),
    }
}

/// Whether a coordinator ended the connection because the agent's certificate is over, by its clock.
pub(crate) fn is_over(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)))
}

/// The name in the agent's certificate, by which the coordinator knows it; `None` where it cannot be read.
pub(crate) fn agent_of(coordinator: &Coordinator) -> Option<String> {
    let chain = certificates(&coordinator.certificate).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let (_, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    Some(path.strip_prefix("agent/")?.to_owned())
}

/// Seconds since 1970 after which the agent's certificate is not valid; `None` where it cannot be read.
pub(crate) fn valid_until(coordinator: &Coordinator) -> Option<i64> {
    validity(coordinator).map(|(_, until)| until)
}

/// Seconds since 1970 from and until which the agent's certificate is valid; `None` where it cannot be read.
pub(crate) fn validity(coordinator: &Coordinator) -> Option<(i64, i64)> {
    let chain = certificates(&coordinator.certificate).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// What was sent and is not acknowledged for this long ends the connection, as keepalive does when nothing is sent.
#[cfg(target_os = "linux")]
const HALF_OPEN: Duration = Duration::from_secs(30);

/// Source: RFC 9113, section 3.4: the preface, and a SETTINGS frame that sets nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(file(path)(rustls_pki_types::pem::Error::NoItemsFound)),
        read => read.map_err(file(path)),
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, IdentityError> {
    ServerName::try_from(name.to_owned()).map_err(|_| IdentityError::ServerName(name.to_owned()))
}

fn file(path: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> IdentityError {
    move |source| IdentityError::File { path: path.to_owned(), source }
}

fn tls(path: &Path) -> impl Fn(rustls::Error) -> IdentityError {
    move |source| IdentityError::Tls { path: path.to_owned(), source }
}
