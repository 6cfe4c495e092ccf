//! Enrolment: how this machine becomes an agent of a coordinator, and asks it for a new certificate.
//!
//! Rules: the coordinator is known by the pin in the join string before anything is said to it; keys are made here and never
//! leave; they are on disk before they are used, so that whoever tries again after a lost answer is the same agent; key and
//! certificate are one file, 0600, replaced whole; who has joined stays what it is, and comes back by its bound key where its
//! certificate is over, whatever the join string: it is used only where that is refused.

mod files;
mod pinned;
mod recovery;
pub(crate) mod step;

use std::{
    error::Error,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use faultline_proto::{
    bound::{Fingerprint, binding},
    clock::Clock,
    convert,
    enroll::v1::{
        BoundKey, EnrollRequest, EnrollResponse, RenewRequest, enroll_request::Proof,
        enrollment_service_client::EnrollmentServiceClient,
    },
    join::{ENROLL_NAME, JoinString},
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::client::TlsStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

pub use self::step::Step;
use self::{
    files::{Files, Keys},
    pinned::Wrong,
};
pub(crate) use self::{
    files::{forget, pem, replace},
    pinned::trusting,
    recovery::{RecoverError, recover},
};
use crate::{
    config::{ConfigError, Coordinator, Setup},
    machine,
    selfcheck::{ClockError, Exchange},
    status::Identity,
    uplink::{
        Dialer, chain,
        reach::{Look, Reached, reach},
    },
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
    /// What becomes of an identity that is there.
    pub existing: Existing,
}

/// What becomes of a good identity that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is done.
    #[default]
    Stays,
    /// It makes way for another once that is on disk.
    IsReplaced,
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
    /// It names another place.
    #[error("{}: its [[coordinator]] is {endpoint}: join that, or take the table out", file.display())]
    Configured {
        /// The configuration.
        file: PathBuf,
        /// What it names.
        endpoint: String,
    },
    /// The host is none.
    #[error("{0:?} cannot be part of an address")]
    Host(String),
    /// There is an identity already, of another coordinator.
    #[error(
        "this machine is an agent of another coordinator, {0}: leave that first (`faultline-agent leave`), or give --replace"
    )]
    Another(String),
    /// A clock is so wrong that certificates mean nothing.
    #[error("the clock of this machine, or the coordinator's, is wrong: {0}")]
    Clock(String),
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

/// Makes this machine an agent, unless it is one, and tells each step.
///
/// # Errors
///
/// When it is refused, the coordinator cannot be reached or is another, or a file cannot be written. It may be tried again.
pub async fn join(
    setup: &Setup,
    joining: &Joining,
    clock: Clock,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<Joined, JoinError> {
    let files = Files::of(setup, joining)?;
    let now = clock.now_micros();
    if let (Some(coordinator), Existing::Stays) = (files.usable(now / 1_000_000), joining.existing) {
        if !is_pinned(&coordinator.ca, &joining.join_string.pin) {
            return Err(JoinError::Another(coordinator.endpoint.to_string().trim_end_matches('/').to_owned()));
        }
        if let Some(identity) = Identity::of(coordinator, now) {
            tell(step::identity(&identity));
        }
        return Ok(Joined::Already);
    }
    if let (Some(coordinator), Existing::Stays) = (files.recoverable(), joining.existing)
        && is_pinned(&coordinator.ca, &joining.join_string.pin)
    {
        let fingerprint = machine::recognise(&coordinator.certificate, &setup.machine, None).fingerprint;
        match recover(coordinator, setup.source_address(), fingerprint, &KeyPair::generate()?).await {
            Ok(()) => {
                if let Some(identity) = Identity::of(coordinator, clock.now_micros()) {
                    tell(step::identity(&identity));
                }
                return Ok(Joined::Already);
            }
            Err(RecoverError::Failed(why)) => return Err(joining.unreachable(&why)),
            Err(error) => tracing::warn!(%error, "not recovered: this machine joins anew"),
        }
    }
    let keys = files.pending_keys()?;
    let fingerprint = machine::recognise(&files.coordinator.certificate, &setup.machine, None).fingerprint;
    let asking = ask(joining, setup.source_address(), (&keys, fingerprint), clock, tell);
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    let asked = asked.unwrap_or_else(|_| Err(joining.unreachable("no answer in time")));
    let (response, clock_error) = asked.inspect_err(|error| match error {
        JoinError::Refused(why) => tell(step::refused(why)),
        JoinError::Clock(why) => tell(step::certificate_of_another_time(why)),
        _ => {}
    })?;
    let EnrollResponse { agent, certificate_chain_der, trust_bundle_der, .. } = response;
    if !trust_bundle_der.iter().any(|root| pinned::pin(root).as_deref() == Some(&joining.join_string.pin)) {
        return Err(JoinError::Answer("the root that the join string pins is not among those to trust".to_owned()));
    }
    if agent.is_empty() || !agent.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Err(JoinError::Answer("it names no agent".to_owned()));
    }
    let identity = files::identity(&keys.key, &certificate_chain_der).map_err(JoinError::Answer)?;
    if let Some(error) = clock_error {
        let from = certificate_chain_der.first().and_then(|leaf| valid_from(leaf));
        if let Some(from) = from.filter(|from| *from > clock.now_micros() / 1_000_000) {
            let told = step::certificate_of_later(error, from);
            let why = told.value.clone();
            tell(told);
            return Err(JoinError::Clock(why));
        }
        tell(step::clock(error));
    }
    tell(step::vantage(setup.vantage()));
    files.write_roots(&trust_bundle_der)?;
    files.write_bound_key(&keys.bound)?;
    files.write_identity(&identity)?;
    files.forget_pending_keys();
    let coordinator = files.settle()?;
    if let Some(identity) = Identity::of(&coordinator, clock.now_micros()) {
        tell(step::identity(&identity));
    }
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

/// Asks for an identity; returns the answer and how far the clock is off, where the coordinator says its own.
async fn ask(
    joining: &Joining,
    source: Option<IpAddr>,
    (keys, fingerprint): (&Keys, Option<Fingerprint>),
    clock: Clock,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<(EnrollResponse, Option<ClockError>), JoinError> {
    let config = pinned::client(&joining.join_string.pin).map_err(|error| JoinError::Answer(error.to_string()))?;
    let name = ServerName::try_from(ENROLL_NAME).map_err(|error| JoinError::Answer(error.to_string()))?;
    let place = joining.place();
    let Reached { attempts, stream } = reach(&joining.host, joining.port, source, Look::Families).await;
    let mut lost = |why: &str| {
        tell(step::no_coordinator(&place, &attempts, why));
        joining.unreachable(why)
    };
    let stream = stream.map_err(|error| lost(&error.to_string()))?;
    let dialer = Dialer::unknown(&joining.host, joining.port, name, config);
    let shaken = tokio::time::timeout(HANDSHAKE, dialer.over(stream)).await;
    let stream = match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match pinned::wrong_certificate(&error) {
                Some(Wrong::Time(why)) => JoinError::Clock(why),
                Some(Wrong::Pin(why)) => {
                    tell(step::another_coordinator(&place, &why));
                    JoinError::Pin { host: joining.host.clone(), port: joining.port, why }
                }
                None => lost(&error.to_string()),
            });
        }
    };
    let channel = match over(stream).await {
        Ok(channel) => channel,
        Err(error) => return Err(lost(&chain(&error))),
    };
    tell(step::coordinator(&place, &attempts));
    let csr_der = request(&keys.key)?;
    let signature = keys.bound.sign(&binding(&csr_der))?;
    let request = EnrollRequest {
        bound_key: Some(BoundKey { public_key: keys.bound.public_key_raw().to_vec(), signature }),
        csr_der,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: fingerprint.map(Vec::from).unwrap_or_default(),
        proof: Some(Proof::JoinString(joining.join_string.to_string())),
    };
    let asked = Instant::now();
    let answer = EnrollmentServiceClient::new(channel).enroll(request).await;
    let answer = answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::FailedPrecondition => {
            JoinError::Refused(said(&status))
        }
        _ => joining.unreachable(&said(&status)),
    })?;
    let their_micros = convert::micros(answer.server_time.as_ref());
    let error = their_micros.map(|their_micros| Exchange { asked, heard: Instant::now(), their_micros }.error(clock));
    Ok((answer, error))
}

impl Joining {
    /// `host:port`.
    fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn endpoint(&self) -> Result<Uri, JoinError> {
        format!("https://{}", self.place()).parse().map_err(|_| JoinError::Host(self.host.clone()))
    }

    /// Whether it joins at this endpoint.
    fn is_at(&self, endpoint: &Uri) -> bool {
        let port = endpoint.port_u16().unwrap_or(443);
        let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        (host, port) == (self.host.as_str(), self.port)
    }

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

/// Whether a file of roots has the one that is pinned.
fn is_pinned(roots: &Path, wanted: &str) -> bool {
    let Ok(mut roots) = CertificateDer::pem_file_iter(roots) else { return false };
    roots.any(|root| root.is_ok_and(|root| pinned::pin(&root).as_deref() == Some(wanted)))
}

/// Seconds since 1970 from which a certificate is valid.
fn valid_from(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_before.timestamp())
}

/// All of one attempt: addresses, handshake, answer.
const PATIENCE: Duration = Duration::from_secs(30);

const HANDSHAKE: Duration = Duration::from_secs(10);

const MAX_SAID: usize = 300;

#[cfg(test)]
mod tests;
