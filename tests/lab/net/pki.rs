//! The lab's certificate authority and the leaves of every target, good and bad.
//!
//! Rules: P-256, valid from 2000 to 2100, so that no emulated clock outruns them; one key for all leaves, since nobody
//! attacks a lab; no session tickets, so that every handshake is a full one. Leaves are made when first asked for.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{Target, World};

/// Which certificate a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Good,
    Expired,
    OtherName,
    OtherIssuer,
    SelfSigned,
}

/// What runs inside the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Quic,
}

pub(super) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    ca_pem: String,
    literal: Vec<Option<Ipv4Addr>>,
    configs: Vec<[OnceLock<Arc<ServerConfig>>; LEAVES * TRANSPORTS]>,
}

const LEAVES: usize = 5;
const TRANSPORTS: usize = 2;

impl Pki {
    pub(super) fn new(world: &World) -> Result<Self, rcgen::Error> {
        let authority = authority("Faultline lab CA")?;
        let literal = world.targets.iter().map(|target| {
            let agent = world.agents.first().filter(|_| target.names.is_empty())?;
            Some(target.address_for(agent))
        });
        Ok(Self {
            ca_pem: authority.pem(),
            authority,
            stranger: self::authority("Somebody else's CA")?,
            key: KeyPair::generate()?,
            literal: literal.collect(),
            configs: world.targets.iter().map(|_| Default::default()).collect(),
        })
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's side of a handshake at that target.
    pub(super) fn server(&self, target: &Target, leaf: Leaf, transport: Transport) -> Arc<ServerConfig> {
        let number = usize::from(target.number);
        let slot = &self.configs[number][leaf as usize * TRANSPORTS + transport as usize];
        let config = slot.get_or_init(|| {
            let name = target.host().map(str::to_owned);
            let name = name.or_else(|| self.literal[number].map(|address| address.to_string())).unwrap_or_default();
            let certificate = self.certificate(&name, leaf).expect("host names of a sound world fit a certificate");
            Arc::new(server_config(certificate, &self.key, transport))
        });
        Arc::clone(config)
    }

    fn certificate(&self, name: &str, leaf: Leaf) -> Result<CertificateDer<'static>, rcgen::Error> {
        let name = if leaf == Leaf::OtherName { "other.invalid" } else { name };
        let mut params = params(name, vec![name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if leaf == Leaf::Expired {
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = match leaf {
            Leaf::Good | Leaf::Expired | Leaf::OtherName => params.signed_by(&self.key, &self.authority)?,
            Leaf::OtherIssuer => params.signed_by(&self.key, &self.stranger)?,
            Leaf::SelfSigned => params.self_signed(&self.key)?,
        };
        Ok(certificate.der().clone())
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = params(name, Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    Ok(params)
}

fn server_config(certificate: CertificateDer<'static>, key: &KeyPair, transport: Transport) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = match transport {
        Transport::Tcp => builder.with_safe_default_protocol_versions(),
        Transport::Quic => builder.with_protocol_versions(&[&rustls::version::TLS13]),
    };
    let builder = builder.expect("ring has a suite for each version");
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.expect("the certificate is of this key");
    config.send_tls13_tickets = 0;
    config.alpn_protocols = match transport {
        Transport::Tcp => vec![b"h2".into(), b"http/1.1".into()],
        Transport::Quic => vec![b"h3".into()],
    };
    config
}
