//! TLS 1.3 with a coordinator, by a machine without a certificate: one that knows no more than the digest of its root, or one that
//! trusts its roots already.
//!
//! Rule: its certificate must chain up to a root that is trusted, or shown and of the pinned key, and carry the name which only the
//! coordinator's has; the name that was asked for, which says what is wanted, plays no part.

use std::{io, sync::Arc};

use data_encoding::BASE64URL_NOPAD;
use faultline_proto::join::SERVER_NAME;
use ring::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// This side of TLS, for who knows the digest of its root.
pub(super) fn client(pin: &str) -> Result<ClientConfig, Error> {
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| Error::General(error.to_string()))?;
    config(Anchor::Pin(pin.to_owned()), name)
}

/// This side of TLS, for who trusts these roots, and knows the coordinator by this name.
pub(crate) fn trusting(roots: RootCertStore, name: ServerName<'static>) -> Result<ClientConfig, Error> {
    config(Anchor::Roots(Arc::new(roots)), name)
}

fn config(anchor: Anchor, name: ServerName<'static>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Coordinators { anchor, name, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The pin of a certificate in DER: SHA-256 of its `SubjectPublicKeyInfo` in base64url.
pub(super) fn pin(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, parsed.public_key().raw).as_ref()))
}

/// What a handshake ended with that the certificate of the other side was the reason for.
pub(super) enum Wrong {
    /// It is of another time than this machine's clock shows.
    Time(String),
    /// It is another's.
    Pin(String),
}

/// What was wrong with the certificate that a handshake ended with; `None` where it ended with something else.
pub(super) fn wrong_certificate(error: &io::Error) -> Option<Wrong> {
    let tls = error.get_ref()?;
    let found = tls.downcast_ref::<Error>().or_else(|| tls.source()?.downcast_ref::<Error>())?;
    if let Error::InvalidCertificate(
        why @ (CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. }
        | CertificateError::Expired
        | CertificateError::ExpiredContext { .. }),
    ) = found
    {
        return Some(Wrong::Time(why.to_string()));
    }
    let why = match found {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("its certificate does not end at the pinned root".to_owned())
        }
        Error::InvalidCertificate(why) => Some(why.to_string()),
        Error::NoCertificatesPresented => Some("it shows no certificate".to_owned()),
        _ => None,
    };
    why.map(Wrong::Pin)
}

/// What the coordinator's certificate must end at.
#[derive(Debug)]
enum Anchor {
    /// A root of which this is the pin, which it shows.
    Pin(String),
    /// One of these.
    Roots(Arc<RootCertStore>),
}

#[derive(Debug)]
struct Coordinators {
    anchor: Anchor,
    name: ServerName<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Coordinators {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = match &self.anchor {
            Anchor::Roots(roots) => Arc::clone(roots),
            Anchor::Pin(pinned) => {
                let root = intermediates.iter().find(|shown| pin(shown).as_ref() == Some(pinned));
                let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into_owned())?;
                Arc::new(roots)
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
