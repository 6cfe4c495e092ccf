//! The bench's own authority, one leaf for all servers and one for the agent.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::load::{HOST, ZONE};

/// Who signs, and what was signed.
pub(super) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    server: (Certificate, KeyPair),
    agent: (Certificate, KeyPair),
}

impl Authority {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Faultline bench CA");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut server = CertificateParams::new(vec![ZONE.to_owned(), format!("*.{ZONE}")])?;
        server.subject_alt_names.push(SanType::IpAddress(HOST.parse::<IpAddr>()?));
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut agent = CertificateParams::new(vec!["bench".to_owned()])?;
        agent.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (server_key, agent_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let server = (server.signed_by(&server_key, &root)?, server_key);
        let agent = (agent.signed_by(&agent_key, &root)?, agent_key);
        Ok(Self { root, server, agent })
    }

    pub(super) fn ca_pem(&self) -> String {
        self.root.pem()
    }

    pub(super) fn agent_pem(&self) -> String {
        self.agent.0.pem()
    }

    pub(super) fn agent_key(&self) -> String {
        self.agent.1.serialize_pem()
    }

    /// The server's side of TLS 1.3 with these protocols, without tickets.
    pub(super) fn server(&self, alpn: &[&[u8]]) -> anyhow::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let (chain, key) = self.leaf();
        Ok(finish(builder.with_no_client_auth().with_single_cert(chain, key)?, alpn))
    }

    /// The coordinator's side: clients must show a certificate.
    pub(super) fn mutual(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let (chain, key) = self.leaf();
        Ok(finish(builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?, &[b"h2"]))
    }

    fn leaf(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.server.0.der().clone()], PrivateKeyDer::Pkcs8(self.server.1.serialize_der().into()))
    }
}

fn finish(mut config: ServerConfig, alpn: &[&[u8]]) -> ServerConfig {
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}
