//! Certificates as peers present them, whether or not they are accepted.
//!
//! Rules: a certificate that nobody can read is reported by its fingerprint; texts of a peer are cut, so that what a run saw
//! always fits into what a coordinator takes; equal certificates are read once and shared.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use faultline_proto::{convert, types::v1 as wire};
use lru::LruCache;
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo, x509::X509Name,
};

/// One certificate of the chain that a peer presented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// Common name of whom it is for, else the organisation; at most 128 bytes. Empty where it could not be read.
    pub subject: String,
    /// Common name of who signed it, else the organisation; at most 128 bytes.
    pub issuer: String,
    /// DNS names and addresses that it is good for, as many as fit into 768 bytes; of the first of a chain alone.
    pub names: Vec<String>,
    /// Further names that were left out.
    pub names_left_out: u32,
    /// Seconds since 1970 from which it is valid.
    pub not_before: i64,
    /// Seconds since 1970 after which it is not.
    pub not_after: i64,
    /// Kind and size of its public key: `rsa-2048`, `ec-p256`, `ed25519`, or the object identifier of what is none of these.
    pub key: String,
    /// SHA-256 of its encoding.
    pub fingerprint: [u8; 32],
    /// Whether subject and issuer are the same, as in roots and in what signed itself.
    pub is_self_issued: bool,
}

impl Certificate {
    fn read(fingerprint: [u8; 32], der: &[u8], with_names: bool) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self { fingerprint, ..Self::default() };
        };
        let (names, names_left_out) = if with_names { names(&certificate) } else { (Vec::new(), 0) };
        let validity = certificate.validity();
        Self {
            subject: name_of(certificate.subject()),
            issuer: name_of(certificate.issuer()),
            names,
            names_left_out,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            key: key_of(certificate.public_key()),
            fingerprint,
            is_self_issued: certificate.issuer().as_raw() == certificate.subject().as_raw(),
        }
    }

    /// Whether it could be read: else its fingerprint is all that is known.
    pub fn is_read(&self) -> bool {
        !self.key.is_empty()
    }

    /// The certificate on the wire.
    pub fn to_wire(&self) -> wire::Certificate {
        let instant = |seconds: i64| Some(convert::timestamp(seconds.saturating_mul(1_000_000)));
        wire::Certificate {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            names: self.names.clone(),
            names_left_out: self.names_left_out,
            not_before: instant(self.not_before).filter(|_| self.is_read()),
            not_after: instant(self.not_after).filter(|_| self.is_read()),
            key: self.key.clone(),
            fingerprint: self.fingerprint.to_vec(),
        }
    }
}

/// SHA-256 of a certificate's encoding.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
    fingerprint
}

/// Common name of somebody, else the organisation.
fn name_of(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().chain(name.iter_organization()).find_map(|part| part.as_str().ok());
    let text = common.unwrap_or_default();
    text[..text.floor_char_boundary(MAX_NAME)].to_owned()
}

/// The names that fit, and how many did not.
fn names(certificate: &X509Certificate<'_>) -> (Vec<String>, u32) {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return (Vec::new(), 0) };
    let (mut names, mut left_out, mut room) = (Vec::new(), 0, MAX_NAMES);
    for general in &alternatives.value.general_names {
        let name = match general {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => match convert::address(bytes).ok().flatten() {
                Some(address) => address.to_string(),
                None => continue,
            },
            _ => continue,
        };
        match room.checked_sub(name.len() + FRAME) {
            Some(rest) if left_out == 0 => {
                room = rest;
                names.push(name);
            }
            _ => left_out += 1,
        }
    }
    (names, left_out)
}

fn key_of(key: &SubjectPublicKeyInfo<'_>) -> String {
    let text = kind_of(key);
    text[..text.floor_char_boundary(MAX_NAME)].to_owned()
}

fn kind_of(key: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = || key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("rsa-{}", rsa.key_size()),
        Ok(PublicKey::EC(_)) => match curve() {
            Some(curve) if curve == oid_registry::OID_EC_P256 => "ec-p256".to_owned(),
            Some(curve) if curve == oid_registry::OID_NIST_EC_P384 => "ec-p384".to_owned(),
            Some(curve) if curve == oid_registry::OID_NIST_EC_P521 => "ec-p521".to_owned(),
            curve => format!("ec-{}", curve.map_or_else(String::new, |curve| curve.to_id_string())),
        },
        _ if key.algorithm.algorithm == oid_registry::OID_SIG_ED25519 => "ed25519".to_owned(),
        _ => key.algorithm.algorithm.to_id_string(),
    }
}

/// Certificates that were read lately, by fingerprint. Reading one costs tens of microseconds, its digest a few.
#[derive(Debug)]
pub(crate) struct Certificates(Mutex<LruCache<Known, Arc<Certificate>>>);

/// The fingerprint, and whether names are read: a peer's own that is above another one has none there.
type Known = ([u8; 32], bool);

impl Certificates {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KNOWN)))
    }

    /// The chain as it was presented, from the peer's own certificate up.
    pub(crate) fn chain(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Vec<Arc<Certificate>> {
        let presented = std::iter::once(leaf).chain(others).take(MAX_CHAIN);
        presented.enumerate().map(|(place, der)| self.read(der, place == 0)).collect()
    }

    fn read(&self, der: &CertificateDer<'_>, is_leaf: bool) -> Arc<Certificate> {
        let fingerprint = fingerprint(der);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Arc::new(Certificate::read(fingerprint, der, is_leaf));
        Arc::clone(known.get_or_insert((fingerprint, is_leaf), read))
    }
}

/// Certificates of a chain that are reported. Source: chains of public sites hold two to four; browsers follow ten at most.
const MAX_CHAIN: usize = 6;

/// Bytes of a name. Source: 64 characters bound a common name (RFC 5280, appendix A.1), of up to four bytes each, but few need
/// more than two.
const MAX_NAME: usize = 128;

/// Bytes of all alternative names of a certificate, [`FRAME`] for each included.
const MAX_NAMES: usize = 768;

/// Bytes that a text takes on the wire beside itself. Source: tag and length of at most 255 bytes.
const FRAME: usize = 3;

/// Certificates that are remembered. Source: a thousand targets with their own, and some hundred authorities; a few hundred
/// bytes each.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(2048).expect("not zero");

#[cfg(test)]
mod tests {
    use faultline_proto::MAX_FACTS_BYTES;
    use prost::Message;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;
    use crate::probe::Facts;

    fn signed(
        names: &[String],
        common: &str,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(names.to_vec()).expect("names");
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 7].into()));
        let key = KeyPair::generate_for(algorithm).expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn everything_of_a_certificate_is_read() {
        let der = signed(&["a.example".into(), "*.b.example".into()], "Site", &rcgen::PKCS_ECDSA_P256_SHA256);
        let chain = Certificates::new().chain(&der, &[]);
        let [leaf] = chain.as_slice() else { panic!("{chain:?}") };
        assert_eq!((leaf.subject.as_str(), leaf.issuer.as_str(), leaf.is_self_issued), ("Site", "Site", true));
        assert_eq!(leaf.names, ["a.example", "*.b.example", "192.0.2.7"]);
        assert_eq!(leaf.key, "ec-p256");
        assert!(leaf.not_before < leaf.not_after);
        assert_eq!(leaf.fingerprint.as_slice(), digest(&SHA256, &der).as_ref());
        let wire = leaf.to_wire();
        assert_eq!(wire.not_after.map(|at| at.seconds), Some(leaf.not_after));
        for (algorithm, key) in [(&rcgen::PKCS_ED25519, "ed25519"), (&rcgen::PKCS_ECDSA_P384_SHA384, "ec-p384")] {
            let der = signed(&[], "Site", algorithm);
            assert_eq!(Certificates::new().chain(&der, &[])[0].key, key);
        }
    }

    #[test]
    fn what_cannot_be_read_has_its_fingerprint() {
        let chain = Certificates::new().chain(&CertificateDer::from(vec![0x30, 0x82, 0xff]), &[]);
        assert_eq!(chain[0].subject, "");
        assert_eq!(chain[0].fingerprint.as_slice(), digest(&SHA256, &[0x30, 0x82, 0xff]).as_ref());
        assert_eq!(chain[0].to_wire().not_after, None);
    }

    #[test]
    fn an_authority_that_is_a_peer_too_shows_its_names() {
        let known = Certificates::new();
        let der = signed(&["a.example".into()], "Site", &rcgen::PKCS_ED25519);
        let first = known.chain(&CertificateDer::from(vec![1]), std::slice::from_ref(&der));
        assert!(first[1].names.is_empty(), "{first:?}");
        assert!(!known.chain(&der, &[])[0].names.is_empty());
        // And the other way round, or a chain of peers' own certificates would be more than a coordinator takes.
        let later = known.chain(&CertificateDer::from(vec![1]), std::slice::from_ref(&der));
        assert!(later[1].names.is_empty(), "{later:?}");
        let (again, once_more) = (known.chain(&der, &[]), known.chain(&der, &[]));
        assert!(Arc::ptr_eq(&again[0], &once_more[0]), "read twice");
    }

    #[test]
    fn the_largest_chain_fits_into_what_a_coordinator_takes() {
        let names: Vec<String> = (0..400).map(|number| format!("host-{number}.{}.example", "x".repeat(60))).collect();
        let common = "\u{fd}".repeat(200);
        let ders: Vec<_> = (0..9).map(|_| signed(&names, &common, &rcgen::PKCS_ED25519)).collect();
        let chain = Certificates::new().chain(&ders[0], &ders[1..]);
        assert_eq!(chain.len(), MAX_CHAIN);
        assert!(chain[0].names_left_out > 300 && chain[0].names.len() + chain[0].names_left_out as usize == 401);
        let text = |length: usize| "x".repeat(length);
        let facts = Facts {
            cnames: vec![text(255); 8],
            edge: (0..6).map(|header| (format!("x-{header:012}"), text(128))).collect(),
            issuer: text(128),
            resolver: text(64),
            chain,
            nsid: text(64),
            ocsp: "malformed".into(),
        };
        assert!(facts.to_wire(u32::MAX).encoded_len() <= MAX_FACTS_BYTES);
    }
}
