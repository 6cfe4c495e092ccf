//! TLS 1.3 with a coordinator of which no more is known than the digest of its root.
//!
//! Rule: what it shows must hold a certificate with the pinned key, and its own must chain up to that one and carry the name
//! which only the coordinator's has; the name that was asked for plays no part.

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

/// This side of TLS.
pub(super) fn client(pin: &str) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Pinned { pin: pin.to_owned(), provider: Arc::clone(&provider) });
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

/// What was wrong with the certificate that a handshake ended with; `None` where it ended with something else.
pub(super) fn wrong_certificate(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?;
    let found = tls.downcast_ref::<Error>().or_else(|| tls.source()?.downcast_ref::<Error>())?;
    match found {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("its certificate does not end at the pinned root".to_owned())
        }
        Error::InvalidCertificate(why) => Some(why.to_string()),
        Error::NoCertificatesPresented => Some("it shows no certificate".to_owned()),
        _ => None,
    }
}

#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates.iter().find(|shown| pin(shown).as_deref() == Some(&self.pin));
        let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp, now)
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
