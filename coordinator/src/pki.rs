//! The embedded certificate authority: who may speak on the agent port.
//!
//! `faultline init` makes a root in the data directory (keys 0600). Agents get certificates with one URI SAN,
//! `spiffe://<domain>/agent/<id>`; the coordinator gets one for the names that agents dial. Rule: an agent's name comes
//! from its certificate alone ([`agent_of`]); no field can override it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Server name that agents ask for when their configuration names none: the coordinator's certificate always has it.
pub const SERVER_NAME: &str = "coordinator.faultline.internal";

/// Certificates are valid from this long before they are made: clocks of young machines run behind.
const BACKDATED: Duration = Duration::hours(1);

/// Life of agent and server certificates. Renewal is not automatic yet, so that a year is left to do it by hand.
const LEAF_LIFE: Duration = Duration::days(365);

/// Life of the root.
const ROOT_LIFE: Duration = Duration::days(3650);

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A data directory that has one already.
    #[error("{} has a certificate authority already: a second one would lock every agent out", .0.display())]
    Exists(PathBuf),
    /// A data directory without one.
    #[error("{} has no certificate authority: run `faultline init --data-dir {}` first", .0.display(), .0.display())]
    Missing(PathBuf),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that holds no key or certificate.
    #[error("{}: not a PEM key or certificate", .0.display())]
    Pem(PathBuf),
    /// A name that cannot stand in a certificate.
    #[error("{0:?} cannot be an agent's name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit")]
    Name(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// TLS settings that do not fit together.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
    /// The verifier of agent certificates could not be built.
    #[error("cannot verify agents against the certificate authority")]
    Verifier(#[from] VerifierBuilderError),
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS#8.
    pub key: String,
}

/// The certificate authority of one data directory.
pub struct Authority {
    domain: String,
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a root for the trust domain and a server certificate for `names`, in a data directory without one.
    pub fn init(data: &Path, domain: &str, names: &[String], now_micros: i64) -> Result<Self, PkiError> {
        let folder = data.join("ca");
        if folder.join("root.pem").exists() {
            return Err(PkiError::Exists(data.to_owned()));
        }
        fs::create_dir_all(&folder).map_err(|source| PkiError::File { path: folder.clone(), source })?;
        let now = instant(now_micros);
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("Faultline root of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - BACKDATED, now + ROOT_LIFE);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write(&folder.join("root.key"), &root.key().serialize_pem(), 0o600)?;
        write(&folder.join("domain"), domain, 0o644)?;
        let server = server(&root, names, now)?;
        write(&folder.join("server.key"), &server.key, 0o600)?;
        write(&folder.join("server.pem"), &server.certificate, 0o644)?;
        // Last: its presence says that the rest is whole.
        write(&folder.join("root.pem"), &root.pem(), 0o644)?;
        Self::open(data)
    }

    /// The authority of a data directory that has one.
    pub fn open(data: &Path) -> Result<Self, PkiError> {
        let folder = data.join("ca");
        if !folder.join("root.pem").exists() {
            return Err(PkiError::Missing(data.to_owned()));
        }
        let key = read(&folder.join("root.key"))?;
        let root = read(&folder.join("root.pem"))?;
        let domain = read(&folder.join("domain"))?.trim().to_owned();
        let key = KeyPair::from_pem(&key).map_err(|_| PkiError::Pem(folder.join("root.key")))?;
        let issuer = Issuer::from_ca_cert_pem(&root, key).map_err(|_| PkiError::Pem(folder.join("root.pem")))?;
        Ok(Self { domain, root, issuer })
    }

    /// The root, in PEM: what agents pin.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// A certificate for an agent. `serverAuth` is left out, so that no agent can pose as the coordinator.
    pub fn agent(&self, name: &str, now_micros: i64) -> Result<Identity, PkiError> {
        check_name(name)?;
        let uri = format!("spiffe://{}/agent/{name}", self.domain);
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf(params, &self.issuer, instant(now_micros))
    }
}

/// A certificate for the coordinator under these names.
fn server(issuer: &Issuer<'_, KeyPair>, names: &[String], now: OffsetDateTime) -> Result<Identity, PkiError> {
    let mut names: Vec<String> = names.to_vec();
    names.push(SERVER_NAME.to_owned());
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Faultline coordinator");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf(params, issuer, now)
}

fn leaf(
    mut params: CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    now: OffsetDateTime,
) -> Result<Identity, PkiError> {
    (params.not_before, params.not_after) = (now - BACKDATED, now + LEAF_LIFE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(SerialNumber::from(rand::random::<[u8; 16]>().map(|byte| byte & 0x7f).to_vec()));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// TLS of the agent port: TLS 1.3, HTTP/2, and nobody without a certificate of this authority.
pub fn agent_port(data: &Path) -> Result<ServerConfig, PkiError> {
    let folder = data.join("ca");
    let certificate = |name: &str| {
        let path = folder.join(name);
        CertificateDer::from_pem_slice(read(&path)?.as_bytes()).map_err(|_| PkiError::Pem(path))
    };
    let key_path = folder.join("server.key");
    let key = PrivateKeyDer::from_pem_slice(read(&key_path)?.as_bytes()).map_err(|_| PkiError::Pem(key_path))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate("root.pem")?)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate("server.pem")?], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the look at the agent's certificate, and thousands of tickets would be held for nothing.
    config.session_storage = std::sync::Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The agent that a verified certificate names; `None` unless it has exactly one URI SAN of our form.
pub fn agent_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let (_, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let name = path.strip_prefix("agent/")?;
    check_name(name).ok()?;
    Some(name.to_owned())
}

/// Agents' names are DNS labels in lower case: they stand in file names, URIs and logs.
pub fn check_name(name: &str) -> Result<(), PkiError> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&name.len())
        && name.chars().all(|c| letters(c) || c == '-')
        && name.chars().next().is_some_and(letters);
    if fits { Ok(()) } else { Err(PkiError::Name(name.to_owned())) }
}

/// Writes a new file with this mode, in place of an old one.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { path: path.to_owned(), source };
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn instant(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_761_752_473_000_000;

    #[test]
    fn an_agents_name_is_in_its_certificate() {
        let data = tempfile::tempdir().expect("dir");
        Authority::init(data.path(), "lab.example", &["127.0.0.1".into()], NOW).expect("init");
        let identity = Authority::open(data.path()).expect("open").agent("fra-1", NOW).expect("issue");
        let der = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("pem");
        assert_eq!(agent_of(&der).as_deref(), Some("fra-1"));
        let server = fs::read(data.path().join("ca/server.pem")).expect("server");
        assert_eq!(agent_of(&CertificateDer::from_pem_slice(&server).expect("pem")), None);
    }

    #[test]
    fn keys_are_for_the_owner_only_and_a_second_root_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().expect("dir");
        Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
        for key in ["ca/root.key", "ca/server.key"] {
            let mode = fs::metadata(data.path().join(key)).expect("key").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        assert!(matches!(Authority::init(data.path(), "lab.example", &[], NOW), Err(PkiError::Exists(_))));
    }

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for name in ["", "../x", "a/b", "A", "-a", &"a".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
