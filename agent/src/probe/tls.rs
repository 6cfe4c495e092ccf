//! The tls layer: a full handshake against the host's name, with each way a certificate can be wrong told apart.
//!
//! Rules: every run does a full handshake (no resumption), so that a broken chain cannot hide behind a ticket; the
//! chain that the peer presented is reported even when it is refused; the roots and the crypto
//! provider are the prober's own, never a process-wide default; a chain that verified is not verified again while it
//! cannot have become worse ([`sound`]), which is a fifth of what a handshake takes with one signature, and more with more.

mod sound;

use std::{
    collections::HashSet,
    io,
    sync::{Arc, OnceLock},
};

use faultline_proto::types::v1::{Cause, Layer, Protocol};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::sound::{Presented, Sound};
use super::{
    certificate::{Certificate, Certificates, fingerprint},
    detail::Detail,
    ocsp,
    outcome::{Facts, Phase, Progress, Stop},
};

/// Which roots a certificate may end at.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// The system's store, or Mozilla's where the system has none.
    #[default]
    System,
    /// The system's and these.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
}

/// What handshakes do otherwise than those of the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether certificates must be good.
    pub verification: Verification,
    /// Versions that are offered.
    pub versions: TlsVersions,
    /// Whether the encodings of certificates are kept, to be told in full.
    pub keeps_encodings: bool,
}

/// Whether certificates must be good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// They must end at a root, be valid now, and be for the host.
    #[default]
    Full,
    /// Whatever they are.
    Off,
}

/// Versions of TLS that are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    #[default]
    Both,
    /// TLS 1.2 alone.
    Only12,
    /// TLS 1.3 alone.
    Only13,
}

/// A root, or all of them, could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// One of the given roots is no certificate that can anchor a chain.
    #[error("extra root {position}: {source}")]
    Root {
        /// Place in the file, from 1.
        position: usize,
        /// What rustls says.
        source: Error,
    },
    /// The PEM file holds something else.
    #[error("not a PEM certificate: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// There is nothing to trust.
    #[error("no root to trust: {0}")]
    Empty(rustls::server::VerifierBuilderError),
    /// The provider lacks a protocol version.
    #[error("TLS: {0}")]
    Provider(Error),
}

/// Certificates of a PEM file, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(RootsError::Pem)?;
    if certificates.is_empty() {
        return Err(RootsError::Pem(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Makes the TLS configuration of each run.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    base: ClientConfig,
    verifier: Arc<WebPkiServerVerifier>,
    known: Arc<Certificates>,
    sound: Arc<Sound>,
    /// Fingerprints of the roots that were given.
    given: Arc<HashSet<[u8; 32]>>,
    options: TlsOptions,
}

/// The presented chain and what was wrong with it, kept for one run.
#[derive(Debug)]
pub(crate) struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    known: Arc<Certificates>,
    sound: Arc<Sound>,
    given: Arc<HashSet<[u8; 32]>>,
    chain: OnceLock<Vec<Arc<Certificate>>>,
    verification: Verification,
    refusal: OnceLock<Error>,
    ocsp: OnceLock<&'static str>,
    /// The chain's encodings, where they are kept.
    ders: Option<OnceLock<Vec<CertificateDer<'static>>>>,
}

impl Handshakes {
    pub(crate) fn new(roots: &Roots, options: TlsOptions) -> Result<Self, RootsError> {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != FIRST);
        let provider = Arc::new(provider);
        let store = Arc::new(root_store(roots)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider))
            .build()
            .map_err(RootsError::Empty)?;
        let mut base = builder(provider, options.versions)
            .map_err(RootsError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<WebPkiServerVerifier>::clone(&verifier))
            .with_no_client_auth();
        base.resumption = Resumption::disabled();
        let given = match roots {
            Roots::System => HashSet::new(),
            Roots::SystemAnd(given) | Roots::Only(given) => given.iter().map(|root| fingerprint(root)).collect(),
        };
        let (known, sound) = (Arc::new(Certificates::new()), Arc::new(Sound::new()));
        Ok(Self { base, verifier, known, sound, given: Arc::new(given), options })
    }

    /// A configuration for one run that offers these protocols, and its witness.
    pub(crate) fn prepare(&self, alpn: &[&[u8]]) -> (ClientConfig, Arc<Witness>) {
        let witness = Arc::new(Witness {
            inner: Arc::clone(&self.verifier),
            known: Arc::clone(&self.known),
            sound: Arc::clone(&self.sound),
            given: Arc::clone(&self.given),
            chain: OnceLock::new(),
            refusal: OnceLock::new(),
            ocsp: OnceLock::new(),
            ders: self.options.keeps_encodings.then(OnceLock::new),
            verification: self.options.verification,
        });
        let mut config = self.base.clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.dangerous().set_certificate_verifier(Arc::<Witness>::clone(&witness));
        (config, witness)
    }
}

/// The suite that is offered first. Source: the one that every implementation has (RFC 8446, section 9.1); machines have
/// instructions for its hash, and few for the SHA-384 of rustls's own first.
const FIRST: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// Seconds of a day.
const DAY: i64 = 86_400;

type Unverified = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(provider: Arc<CryptoProvider>, versions: TlsVersions) -> Result<Unverified, Error> {
    let versions: &[&SupportedProtocolVersion] = match versions {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Only12 => &[&TLS12],
        TlsVersions::Only13 => &[&TLS13],
    };
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)
}

fn root_store(roots: &Roots) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    if !matches!(roots, Roots::Only(_)) {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    if let Roots::SystemAnd(extra) | Roots::Only(extra) = roots {
        for (index, root) in extra.iter().enumerate() {
            store.add(root.clone()).map_err(|source| RootsError::Root { position: index + 1, source })?;
        }
    }
    Ok(store)
}

/// A TLS session with the host over the connection, whose certificates are good for so many days more.
pub(crate) async fn handshake(
    handshakes: &Handshakes,
    host: ServerName<'static>,
    (alpn, min_cert_days): (&[&[u8]], u32),
    stream: TcpStream,
    progress: &mut Progress,
) -> Result<TlsStream<TcpStream>, Stop> {
    let (config, witness) = handshakes.prepare(alpn);
    let done = progress.budget.within(TlsConnector::from(Arc::new(config)).connect(host, stream)).await;
    progress.end(Phase::Tls);
    witness.testify(&mut progress.facts);
    witness.tell(progress.detail.as_deref_mut());
    match done {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            if let Some(detail) = &mut progress.detail {
                detail.tls_version = session.protocol_version();
                detail.cipher = session.negotiated_cipher_suite().map(|suite| suite.suite());
            }
            progress.protocol = match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Protocol::Tls13,
                Some(ProtocolVersion::TLSv1_2) => Protocol::Tls12,
                _ => Protocol::Unspecified,
            };
            witness.lasts(min_cert_days, progress.budget.clock.now_micros())?;
            Ok(stream)
        }
        Ok(Err(error)) => Err(Stop::Failed(Layer::Tls, witness.cause().unwrap_or_else(|| cause_of(&error)))),
        Err(_) => Err(Stop::Failed(Layer::Tls, Cause::TlsTimeout)),
    }
}

fn cause_of(error: &io::Error) -> Cause {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(_)) => Cause::TlsAlert,
        Some(_) => Cause::TlsProtocolError,
        None => Cause::TlsReset,
    }
}

impl Witness {
    /// Why the certificate was refused; `None` when it was not.
    pub(crate) fn cause(&self) -> Option<Cause> {
        let Error::InvalidCertificate(refusal) = self.refusal.get()? else { return Some(Cause::TlsProtocolError) };
        Some(match refusal {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Cause::TlsCertExpired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Cause::TlsCertNotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Cause::TlsNameMismatch
            }
            CertificateError::BadEncoding => Cause::TlsProtocolError,
            _ if self.is_self_signed() => Cause::TlsSelfSigned,
            _ => Cause::TlsUnknownIssuer,
        })
    }

    /// Tells what was presented.
    pub(crate) fn testify(&self, facts: &mut Facts) {
        facts.chain = self.chain.get().cloned().unwrap_or_default();
        self.ocsp.get().copied().unwrap_or_default().clone_into(&mut facts.ocsp);
        facts.issuer = facts.chain.first().map(|leaf| leaf.issuer.clone()).unwrap_or_default();
    }

    /// Tells the chain's encodings, where they are kept.
    pub(crate) fn tell(&self, detail: Option<&mut Detail>) {
        if let (Some(detail), Some(ders)) = (detail, self.ders.as_ref().and_then(OnceLock::get)) {
            detail.chain.clone_from(ders);
        }
    }

    /// Whether every certificate that can be read is valid for so many days after `now`, microseconds since 1970.
    pub(crate) fn lasts(&self, days: u32, now: i64) -> Result<(), Stop> {
        let chain = self.chain.get().into_iter().flatten().filter(|certificate| certificate.is_read());
        let ends = chain.map(|certificate| certificate.not_after).min();
        let is_soon = days > 0 && ends.is_some_and(|end| end.saturating_sub(now / 1_000_000) < i64::from(days) * DAY);
        if is_soon { Err(Stop::Failed(Layer::Tls, Cause::TlsCertExpiresSoon)) } else { Ok(()) }
    }

    fn is_self_signed(&self) -> bool {
        self.chain.get().and_then(|chain| chain.first()).is_some_and(|leaf| leaf.is_self_issued)
    }
}

/// A root that was given and that a peer presents as its own is trusted for its names while it is valid, whatever it may sign:
/// as Go's `crypto/x509` has it, and what whoever gives a self-signed certificate expects.
fn verify_given(
    leaf: &Certificate,
    der: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < leaf.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > leaf.not_after {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(der)?, name)?;
    Ok(ServerCertVerified::assertion())
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = self.chain.get_or_init(|| self.known.chain(end_entity, intermediates));
        if let Some(ders) = &self.ders {
            ders.get_or_init(|| {
                std::iter::once(end_entity).chain(intermediates).cloned().map(CertificateDer::into_owned).collect()
            });
        }
        if !ocsp_response.is_empty() {
            self.ocsp.get_or_init(|| ocsp::status(ocsp_response));
        }
        let given = chain.first().filter(|leaf| self.given.contains(&leaf.fingerprint));
        let presented = Presented::new(chain, 1 + intermediates.len(), server_name);
        let verified = match given {
            Some(leaf) => verify_given(leaf, end_entity, server_name, now),
            None if presented.as_ref().is_some_and(|presented| self.sound.holds(presented, now)) => {
                Ok(ServerCertVerified::assertion())
            }
            None => self
                .inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .inspect(|_| presented.into_iter().for_each(|presented| self.sound.keep(presented))),
        };
        if self.verification == Verification::Off {
            return Ok(ServerCertVerified::assertion());
        }
        verified.inspect_err(|error| {
            self.refusal.get_or_init(|| error.clone());
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
