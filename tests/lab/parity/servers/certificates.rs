//! An authority, and the certificates of the servers, good and bad.
//!
//! Rules: good ones are for 127.0.0.1, localhost and *.parity.test, from 2020 to 2050; the root ends in 2100, so that the earliest
//! of a chain is known.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(super) struct Certificates {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
}

/// A chain, and the key of its first.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Certificates {
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let root = CertifiedIssuer::self_signed(authority("Parity Root", 2100), KeyPair::generate()?)?;
        let between = CertifiedIssuer::signed_by(authority("Parity Intermediate", 2040), KeyPair::generate()?, &root)?;
        let stranger = CertifiedIssuer::self_signed(authority("Somebody Else", 2100), KeyPair::generate()?)?;
        Ok(Self { root, between, stranger })
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    pub(super) fn good(&self) -> Result<Identity, rcgen::Error> {
        self.issued(|_| {})
    }

    pub(super) fn expired(&self) -> Result<Identity, rcgen::Error> {
        self.issued(|params| params.not_after = date_time_ymd(2021, 1, 1))
    }

    pub(super) fn early(&self) -> Result<Identity, rcgen::Error> {
        self.issued(|params| params.not_before = date_time_ymd(2049, 1, 1))
    }

    pub(super) fn other_name(&self) -> Result<Identity, rcgen::Error> {
        self.issued(|params| params.subject_alt_names = vec![dns_name("elsewhere.test")])
    }

    pub(super) fn intermediate(&self) -> Result<Identity, rcgen::Error> {
        let (params, key) = leaf()?;
        let leaf = params.signed_by(&key, &self.between)?;
        Ok(Identity { chain: vec![leaf.der().clone(), self.between.der().clone()], key })
    }

    pub(super) fn stranger(&self) -> Result<Identity, rcgen::Error> {
        let (params, key) = leaf()?;
        Ok(Identity::of(&params.signed_by(&key, &self.stranger)?, key))
    }

    #[expect(clippy::unused_self, reason = "one shape for all")]
    pub(super) fn self_signed(&self) -> Result<Identity, rcgen::Error> {
        let (params, key) = leaf()?;
        Ok(Identity::of(&params.self_signed(&key)?, key))
    }

    fn issued(&self, edit: impl FnOnce(&mut CertificateParams)) -> Result<Identity, rcgen::Error> {
        let (mut params, key) = leaf()?;
        edit(&mut params);
        Ok(Identity::of(&params.signed_by(&key, &self.root)?, key))
    }
}

impl Identity {
    fn of(certificate: &Certificate, key: KeyPair) -> Self {
        Self { chain: vec![certificate.der().clone()], key }
    }

    /// The server's side of TLS 1.2 and 1.3.
    pub(super) fn server(self, alpn: &[&[u8]]) -> ServerConfig {
        self.server_of(rustls::ALL_VERSIONS, alpn)
    }

    pub(super) fn server_of(self, versions: &[&'static SupportedProtocolVersion], alpn: &[&[u8]]) -> ServerConfig {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has a suite for each version")
            .with_no_client_auth()
            .with_single_cert(self.chain, key)
            .expect("the certificate is of this key");
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

impl Identity {
    /// The server's side for clients that have a certificate of the root.
    pub(super) fn server_wanting(self, root: CertificateDer<'static>) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("a root that was just made");
        let provider = Arc::new(ring::default_provider());
        let wanting = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has a suite for each version")
            .with_client_cert_verifier(wanting.expect("one root is enough"))
            .with_single_cert(self.chain, key)
            .expect("the certificate is of this key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn leaf() -> Result<(CertificateParams, KeyPair), rcgen::Error> {
    let mut params = named("Parity Server", 2050);
    params.distinguished_name.push(DnType::OrganizationName, "Faultline, Inc.");
    params.subject_alt_names =
        vec![SanType::IpAddress(IpAddr::from([127, 0, 0, 1])), dns_name("localhost"), dns_name("*.parity.test")];
    Ok((params, KeyPair::generate()?))
}

fn dns_name(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name of ASCII letters"))
}

fn authority(name: &str, until: i32) -> CertificateParams {
    let mut params = named(name, until);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}
