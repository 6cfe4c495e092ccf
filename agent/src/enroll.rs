//! Enrolment: how this machine becomes an agent of a coordinator, and asks it for a new certificate.
//!
//! Rules: the coordinator is known by the pin in the join string before anything is said to it; keys are made here and never
//! leave; they are on disk before they are used, so that whoever tries again after a lost answer is the same agent; key and
//! certificate are one file, 0600, replaced whole; who has joined stays what it is, and comes back by its bound key where its
//! certificate is over, whatever the join string: it is used only where that is refused.

mod files;
mod pinned;
mod recovery;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use faultline_proto::{
    bound::{Fingerprint, binding},
    clock::Clock,
    enroll::v1::{
        BoundKey, EnrollRequest, EnrollResponse, RenewRequest, enroll_request::Proof,
        enrollment_service_client::EnrollmentServiceClient,
    },
    join::{ENROLL_NAME, JoinString},
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use self::files::{Files, Keys};
pub(crate) use self::{
    files::{pem, replace},
    pinned::trusting,
    recovery::{RecoverError, recover},
};
use crate::{
    config::{ConfigError, Coordinator},
    machine,
    uplink::{Dialer, chain, valid_until},
};

/// Where and as whom this machine joins.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The coordinator's host.
    pub host: String,
    /// Its port for agents.
    pub port: u16,
    /// From `faultline token create`.
    pub join_string: JoinString,
    /// The agent's configuration file, made where there is none; what is made otherwise lies beside it.
    pub config: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// This machine is an agent of this name.
    As(String),
    /// It was one already, and nothing was changed but a certificate that was over.
    Already,
}

/// Why this machine did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The configuration that is there cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It names two files.
    #[error(
        "{}: the keys certificate and key of [[coordinator]] must name one file to join, as in \"identity.pem\": \
         it is replaced whole when the certificate is renewed", .0.display()
    )]
    TwoFiles(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The coordinator refused the join string.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// Nobody answers, or not now.
    #[error("{host}:{port}: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What happened.
        why: String,
    },
    /// Somebody answers who is not the coordinator of the join string.
    #[error("{host}:{port} is not the coordinator of this join string: {why}")]
    Pin {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What is wrong with its certificate.
        why: String,
    },
    /// The coordinator's answer is no identity.
    #[error("the coordinator's answer cannot be used: {0}")]
    Answer(String),
    /// No key or request could be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

/// Makes this machine an agent, unless it is one.
///
/// # Errors
///
/// When it is refused, the coordinator cannot be reached or is another, or a file cannot be written. It may be tried again.
pub async fn join(joining: &Joining, clock: Clock) -> Result<Joined, JoinError> {
    let files = Files::of(&joining.config)?;
    let now_s = clock.now_micros() / 1_000_000;
    if files.is_usable() && valid_until(&files.coordinator).is_some_and(|until| until > now_s) {
        files.write_config(joining)?;
        return Ok(Joined::Already);
    }
    let fingerprint = machine::recognise(&files.coordinator.certificate, &files.machine, None).fingerprint;
    if files.is_usable() && files.has_bound_key() {
        match recover(&files.at(joining), None, fingerprint, &KeyPair::generate()?).await {
            Ok(()) => {
                files.write_config(joining)?;
                return Ok(Joined::Already);
            }
            Err(RecoverError::Failed(why)) => return Err(joining.unreachable(&why)),
            Err(error) => tracing::warn!(%error, "not recovered: this machine joins anew"),
        }
    }
    let keys = files.pending_keys()?;
    let response = tokio::time::timeout(PATIENCE, ask(joining, &keys, fingerprint)).await;
    let response = response.unwrap_or_else(|_| Err(joining.unreachable("no answer in time")))?;
    let EnrollResponse { agent, certificate_chain_der, trust_bundle_der } = response;
    if !trust_bundle_der.iter().any(|root| pinned::pin(root).as_deref() == Some(&joining.join_string.pin)) {
        return Err(JoinError::Answer("the root that the join string pins is not among those to trust".to_owned()));
    }
    if agent.is_empty() || !agent.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Err(JoinError::Answer("it names no agent".to_owned()));
    }
    let identity = files::identity(&keys.key, &certificate_chain_der).map_err(JoinError::Answer)?;
    files.write_roots(&trust_bundle_der)?;
    files.write_bound_key(&keys.bound)?;
    files.write_identity(&identity)?;
    files.write_config(joining)?;
    files.forget_pending_keys();
    Ok(Joined::As(agent))
}

/// Asks the coordinator for a new certificate, with a fresh key, and puts both in the place of the old ones.
pub(crate) async fn renew(coordinator: &Coordinator, dialer: Dialer) -> Result<(), Box<dyn Error + Send + Sync>> {
    let key = KeyPair::generate()?;
    let csr_der = request(&key)?;
    let asking = async {
        let channel = over(dialer.dial().await?).await?;
        let answer = EnrollmentServiceClient::new(channel).renew(RenewRequest { csr_der }).await;
        Ok::<_, Box<dyn Error + Send + Sync>>(answer.map_err(|status| said(&status))?.into_inner())
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await??;
    let identity = files::identity(&key, &answer.certificate_chain_der)?;
    replace(&coordinator.certificate, &identity)?;
    Ok(())
}

async fn ask(joining: &Joining, keys: &Keys, fingerprint: Option<Fingerprint>) -> Result<EnrollResponse, JoinError> {
    let config = pinned::client(&joining.join_string.pin).map_err(|error| JoinError::Answer(error.to_string()))?;
    let name = ServerName::try_from(ENROLL_NAME).map_err(|error| JoinError::Answer(error.to_string()))?;
    let dialled = Dialer::unknown(&joining.host, joining.port, name, config).dial().await;
    let stream = dialled.map_err(|error| match pinned::wrong_certificate(&error) {
        Some(why) => JoinError::Pin { host: joining.host.clone(), port: joining.port, why },
        None => joining.unreachable(&error),
    })?;
    let channel = over(stream).await.map_err(|error| joining.unreachable(&chain(&error)))?;
    let csr_der = request(&keys.key)?;
    let signature = keys.bound.sign(&binding(&csr_der))?;
    let request = EnrollRequest {
        bound_key: Some(BoundKey { public_key: keys.bound.public_key_raw().to_vec(), signature }),
        csr_der,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: fingerprint.map(Vec::from).unwrap_or_default(),
        proof: Some(Proof::JoinString(joining.join_string.to_string())),
    };
    let answer = EnrollmentServiceClient::new(channel).enroll(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::FailedPrecondition => {
            JoinError::Refused(said(&status))
        }
        _ => joining.unreachable(&said(&status)),
    })
}

impl Joining {
    fn unreachable(&self, why: &(impl ToString + ?Sized)) -> JoinError {
        JoinError::Unreachable { host: self.host.clone(), port: self.port, why: why.to_string() }
    }
}

/// PKCS#10 in DER of this key and nothing else.
fn request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    Ok(CertificateParams::new(Vec::<String>::new())?.serialize_request(key)?.der().to_vec())
}

/// A channel over one connection.
async fn over(stream: TokioIo<TlsStream<TcpStream>>) -> Result<Channel, tonic::transport::Error> {
    let stream = Mutex::new(Some(stream));
    let once = service_fn(move |_: Uri| {
        let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { taken.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    Endpoint::from_static("http://coordinator.faultline.internal").connect_with_connector(once).await
}

/// What a coordinator said, on one line and without what a terminal would act on.
fn said(status: &Status) -> String {
    let text: String = status.message().chars().filter(|c| !c.is_control()).take(MAX_SAID).collect();
    if text.is_empty() { format!("{:?}", status.code()) } else { text }
}

/// The path beside another.
fn beside(config: &Path, name: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(name)
}

/// All of one attempt: addresses, handshake, answer.
const PATIENCE: Duration = Duration::from_secs(30);

const MAX_SAID: usize = 300;

#[cfg(test)]
mod tests;
