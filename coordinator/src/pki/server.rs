//! The coordinator's own certificate on the agent port: made by `init`, renewed by the coordinator itself.
//!
//! Rules: it is renewed in the second half of its life, for the same key and the same names, so that one file is replaced
//! whole and nothing in between can part key and certificate; agents trust the root and notice nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{LONG_LIFE, PkiError, SERVER_NAME, Signer, instant, read, replace, write};

const KEY: &str = "server.key";
const CHAIN: &str = "server.pem";

/// Makes key and certificate for the coordinator under these names, in the folder of its authority.
pub(super) fn make(folder: &Path, servers: &Signer, names: &[String], now: OffsetDateTime) -> Result<(), PkiError> {
    let key = KeyPair::generate()?;
    let chain = chain(servers, &key, names, now)?;
    write(&folder.join(KEY), &key.serialize_pem(), 0o600)?;
    write(&folder.join(CHAIN), &chain, 0o644)
}

/// The names in the certificate of a data directory.
///
/// # Errors
///
/// Where it cannot be read.
pub fn names(data: &Path) -> Result<Vec<String>, PkiError> {
    Held::read(&data.join("ca").join(CHAIN)).map(|held| held.names)
}

/// Renews the certificate of a data directory if more than half of its life is over. Returns whether it was.
///
/// # Errors
///
/// Where what is there cannot be read, or the new one cannot be written: then the old one stays.
pub fn renew(data: &Path, now_micros: i64) -> Result<bool, PkiError> {
    let folder = data.join("ca");
    let held = Held::read(&folder.join(CHAIN))?;
    let now = instant(now_micros);
    if now.unix_timestamp() < held.half_life_s {
        return Ok(false);
    }
    let key = folder.join(KEY);
    let key = KeyPair::from_pem(&read(&key)?).map_err(|_| PkiError::Pem(key))?;
    let has_intermediates = folder.join("servers.pem").exists();
    let servers = Signer::open(&folder, if has_intermediates { "servers" } else { "root" })?;
    replace(&folder.join(CHAIN), &chain(&servers, &key, &held.names, now)?, 0o644)?;
    Ok(true)
}

/// What is known of the certificate that is there.
struct Held {
    names: Vec<String>,
    /// When half of its life is over, seconds since 1970.
    half_life_s: i64,
}

impl Held {
    fn read(path: &Path) -> Result<Self, PkiError> {
        let wrong = || PkiError::Pem(path.to_owned());
        let der = CertificateDer::from_pem_slice(read(path)?.as_bytes()).map_err(|_| wrong())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| wrong())?;
        let names = parsed.subject_alternative_name().map_err(|_| wrong())?.ok_or_else(wrong)?;
        let names = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        });
        let (from, until) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        Ok(Self { names: names.collect(), half_life_s: from + (until - from) / 2 })
    }
}

/// An address as it stands in a certificate. Source: RFC 5280, section 4.2.1.6: in network byte order.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}

/// The certificate of a key under these names, and those between it and the root, in PEM.
fn chain(servers: &Signer, key: &KeyPair, names: &[String], now: OffsetDateTime) -> Result<String, PkiError> {
    let mut names = names.to_vec();
    if !names.iter().any(|name| name == SERVER_NAME) {
        names.push(SERVER_NAME.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Faultline coordinator");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = servers.leaf(params, key, LONG_LIFE, now)?;
    Ok(certificate.pem() + &servers.chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    const NOW: i64 = 1_761_752_473_000_000;
    const DAY: i64 = 86_400_000_000;

    #[test]
    fn it_is_renewed_in_the_second_half_of_its_life_for_the_same_key_and_names() {
        let data = tempfile::tempdir().expect("dir");
        let names = ["probe.example.org", "192.0.2.1", "2001:db8::1"].map(str::to_owned);
        Authority::init(data.path(), "lab.example", &names, NOW).expect("init");
        let folder = data.path().join("ca");
        let [first, key] = [CHAIN, KEY].map(|file| read(&folder.join(file)).expect("there"));
        assert!(!renew(data.path(), NOW + 182 * DAY).expect("read"));
        assert_eq!(read(&folder.join(CHAIN)).expect("there"), first);
        // Also one that has run out.
        for day in [183, 183 + 400] {
            assert!(renew(data.path(), NOW + day * DAY).expect("renewed"), "day {day}");
            let held = Held::read(&folder.join(CHAIN)).expect("a certificate");
            let (mut has, mut had) = (held.names, [&names[..], &[SERVER_NAME.to_owned()]].concat());
            has.sort();
            had.sort();
            assert_eq!(has, had);
            assert!(!renew(data.path(), NOW + (day + 182) * DAY).expect("read"), "it is young");
        }
        assert_eq!(read(&folder.join(KEY)).expect("there"), key);
        let port = crate::pki::port::AgentPort::open(data.path(), faultline_proto::clock::Clock::system());
        assert!(port.is_ok(), "they belong together");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_stays() {
        let data = tempfile::tempdir().expect("dir");
        Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
        let path = data.path().join("ca").join(CHAIN);
        std::fs::write(&path, "no certificate").expect("written");
        let error = renew(data.path(), NOW + 300 * DAY).expect_err("unreadable");
        assert!(error.to_string().contains("server.pem"), "{error}");
        assert_eq!(read(&path).expect("there"), "no certificate");
    }
}
