//! The embedded certificate authority: who may speak on the agent port.
//!
//! `faultline init` makes, in the folder `ca` of the data directory (keys 0600), a root and two intermediates that it signs:
//! `agents` for agents' certificates, of one URI SAN `spiffe://<domain>/agent/<id>` each, and `servers` for the coordinator's, of the
//! names that agents dial. Agents pin the root. A data directory from before there were intermediates signs with its root.
//!
//! Rules: an agent's name comes from its certificate alone ([`agent_of`]); no field can override it. An intermediate is for one use
//! (`extendedKeyUsage`), and so is what it signs: no agent can pose as the coordinator.

pub mod port;
pub mod rotation;
pub mod server;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
pub use faultline_proto::join::SERVER_NAME;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use ring::digest;
use rustls::server::VerifierBuilderError;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Certificates are valid from this long before they are made: clocks of young machines run behind.
const BACKDATED: Duration = Duration::hours(1);

/// Life of certificates that nothing renews: the coordinator's, and those of `faultline agent issue`.
const LONG_LIFE: Duration = Duration::days(365);

/// Life of certificates that agents renew by themselves. Source: the design notes; the registry is asked at each session, so that
/// this is a backstop.
const AGENT_LIFE: Duration = Duration::days(7);

/// Life of the root and of the intermediates.
const ROOT_LIFE: Duration = Duration::days(3650);

/// Bytes of a request for a certificate. Source: one with a P-256 key and nothing else has some 300.
const MAX_REQUEST: usize = 2048;

/// Bytes of an uncompressed point of P-256.
const P256_POINT: usize = 65;

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
    /// What asks for a certificate and is no sound request.
    #[error(
        "a request for a certificate is PKCS#10 in DER, at most {MAX_REQUEST} bytes, of a P-256 key and signed with it"
    )]
    Request,
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
    /// The certificate, and those between it and the root.
    pub certificate: String,
    /// The key, PKCS#8.
    pub key: String,
}

/// The certificate authority of one data directory.
pub struct Authority {
    domain: String,
    root: String,
    trusted: String,
    pin: String,
    agents: Signer,
}

/// Who signs, and what stands between its certificates and the root, in PEM.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    chain: String,
}

impl Authority {
    /// Makes a root for the trust domain, its intermediates and a server certificate for `names`, in a data directory without
    /// one.
    pub fn init(data: &Path, domain: &str, names: &[String], now_micros: i64) -> Result<Self, PkiError> {
        let folder = data.join("ca");
        if folder.join("root.pem").exists() {
            return Err(PkiError::Exists(data.to_owned()));
        }
        Self::make(&folder, domain, names, now_micros)?;
        Self::open(data)
    }

    /// Makes one in a folder of its own.
    fn make(folder: &Path, domain: &str, names: &[String], now_micros: i64) -> Result<(), PkiError> {
        fs::create_dir_all(folder).map_err(|source| PkiError::File { path: folder.to_owned(), source })?;
        let now = instant(now_micros);
        let root =
            CertifiedIssuer::self_signed(ca(&format!("Faultline root of {domain}"), 1, now)?, KeyPair::generate()?)?;
        write(&folder.join("root.key"), &root.key().serialize_pem(), 0o600)?;
        write(&folder.join("domain"), domain, 0o644)?;
        intermediate(folder, &root, "agents", domain, ExtendedKeyUsagePurpose::ClientAuth, now)?;
        let servers = intermediate(folder, &root, "servers", domain, ExtendedKeyUsagePurpose::ServerAuth, now)?;
        server::make(folder, &servers, names, now)?;
        // Last: its presence says that the rest is whole.
        write(&folder.join("root.pem"), &root.pem(), 0o644)
    }

    /// The authority of a data directory that has one.
    pub fn open(data: &Path) -> Result<Self, PkiError> {
        rotation::settle(data)?;
        let folder = data.join("ca");
        let root_path = folder.join("root.pem");
        if !root_path.exists() {
            return Err(PkiError::Missing(data.to_owned()));
        }
        let root = read(&root_path)?;
        let pin = pin(&root).ok_or(PkiError::Pem(root_path))?;
        let domain = read(&folder.join("domain"))?.trim().to_owned();
        let has_intermediates = folder.join("agents.pem").exists();
        let agents = Signer::open(&folder, if has_intermediates { "agents" } else { "root" })?;
        let trusted = rotation::trusted_pem(data)?;
        Ok(Self { domain, root, trusted, pin, agents })
    }

    /// Every root that agents are to trust, in PEM, the one that signs first: two while a rotation goes on.
    pub fn trusted_pem(&self) -> &str {
        &self.trusted
    }

    /// The root, in PEM: what agents pin.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// The SHA-256 of the root's `SubjectPublicKeyInfo`, in base64url without padding: the last part of a join string.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// A key and a certificate for an agent. `serverAuth` is left out, so that no agent can pose as the coordinator.
    pub fn agent(&self, name: &str, now_micros: i64) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = self.agents.leaf(self.agent_params(name)?, &key, LONG_LIFE, instant(now_micros))?;
        Ok(Identity { certificate: certificate.pem() + &self.agents.chain, key: key.serialize_pem() })
    }

    /// A certificate for an agent that made its own key, and those between it and the root; good for seven days.
    ///
    /// # Errors
    ///
    /// Where the name cannot be an agent's.
    pub fn certify(
        &self,
        name: &str,
        asked: &Request,
        now_micros: i64,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let params = self.agent_params(name)?;
        let certificate = self.agents.leaf(params, &asked.key, AGENT_LIFE, instant(now_micros))?;
        let mut chain = vec![certificate.der().clone()];
        // The root alone may stand for itself: it is never sent along.
        chain.extend(CertificateDer::pem_slice_iter(self.agents.chain.as_bytes()).filter_map(Result::ok));
        Ok(chain)
    }

    /// The root, in DER.
    ///
    /// # Errors
    ///
    /// Where its file holds no certificate.
    pub fn root_der(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.root.as_bytes()).map_err(|_| PkiError::Pem("root.pem".into()))
    }

    fn agent_params(&self, name: &str) -> Result<CertificateParams, PkiError> {
        check_name(name)?;
        let uri = format!("spiffe://{}/agent/{name}", self.domain);
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }
}

/// What an agent asks for: a certificate for this key, of which it has shown that it holds the other half.
pub struct Request {
    key: rcgen::PublicKey,
}

impl Request {
    /// Reads PKCS#10 in DER, and checks that it is signed with the key in it.
    ///
    /// # Errors
    ///
    /// Where it is anything else, too large, or of another kind of key than P-256.
    pub fn read(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > MAX_REQUEST {
            return Err(PkiError::Request);
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der));
        let key = request.map_err(|_| PkiError::Request)?.public_key;
        let is_p256 = *key.algorithm() == PKCS_ECDSA_P256_SHA256 && key.der_bytes().len() == P256_POINT;
        if is_p256 { Ok(Self { key }) } else { Err(PkiError::Request) }
    }

    /// The SHA-256 of the key, hexadecimal: by what an agent that asks again is known.
    pub fn key_digest(&self) -> String {
        HEXLOWER.encode(digest::digest(&digest::SHA256, self.key.der_bytes()).as_ref())
    }
}

impl Signer {
    /// Who signs with the key of this name; the root signs without anything in between.
    fn open(folder: &Path, name: &str) -> Result<Self, PkiError> {
        let (pem, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        let certificate = read(&pem)?;
        let pair = KeyPair::from_pem(&read(&key)?).map_err(|_| PkiError::Pem(key))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair).map_err(|_| PkiError::Pem(pem))?;
        Ok(Self { issuer, chain: if name == "root" { String::new() } else { certificate } })
    }

    fn leaf(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<rcgen::Certificate, PkiError> {
        (params.not_before, params.not_after) = (now - BACKDATED, now + life);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(rand::random::<[u8; 16]>().map(|byte| byte & 0x7f).to_vec()));
        Ok(params.signed_by(key, &self.issuer)?)
    }
}

/// What a certificate authority may do, with so many more beneath it.
fn ca(name: &str, beneath: u8, now: OffsetDateTime) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(beneath));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (now - BACKDATED, now + ROOT_LIFE);
    Ok(params)
}

/// Makes an intermediate that signs for this use alone.
fn intermediate(
    folder: &Path,
    root: &Issuer<'_, KeyPair>,
    name: &str,
    domain: &str,
    usage: ExtendedKeyUsagePurpose,
    now: OffsetDateTime,
) -> Result<Signer, PkiError> {
    let mut params = ca(&format!("Faultline {name} of {domain}"), 0, now)?;
    params.extended_key_usages = vec![usage];
    let made = CertifiedIssuer::signed_by(params, KeyPair::generate()?, root)?;
    write(&folder.join(format!("{name}.key")), &made.key().serialize_pem(), 0o600)?;
    write(&folder.join(format!("{name}.pem")), &made.pem(), 0o644)?;
    Signer::open(folder, name)
}

/// The pin of a root in PEM.
fn pin(root: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(root.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, parsed.public_key().raw).as_ref()))
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

/// Writes a file with this mode in place of an old one, or leaves the old one as it was.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{:08x}", rand::random::<u32>()));
    let replaced = write(&fresh, text, mode).and_then(|()| fs::rename(&fresh, path).map_err(fail));
    if replaced.is_err() {
        fs::remove_file(&fresh).ok();
        return replaced;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// Writes a new file with this mode, in place of an old one.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { path: path.to_owned(), source };
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)
}

pub(crate) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn instant(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
