//! What joining writes: `agent.toml` where there is none, and beside it `ca.pem` and `identity.pem` (key and certificates), or what
//! the configuration names in their place.
//!
//! Rule: a file that holds a key is 0600 from its first byte; each is replaced whole, or stays as it was.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use faultline_proto::join::SERVER_NAME;
use rcgen::KeyPair;
use rustls::{crypto::ring::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{JoinError, Joining, beside};
use crate::config::{Config, Coordinator};

/// Characters of a line of PEM. Source: RFC 7468.
const LINE: usize = 64;

/// Where everything is.
pub(super) struct Files {
    config: PathBuf,
    has_config: bool,
    pub(super) coordinator: Coordinator,
}

impl Files {
    /// As the configuration says, or as the one says that will be made.
    pub(super) fn of(config: &Path) -> Result<Self, JoinError> {
        let has_config = config.exists();
        let coordinator = if has_config {
            Config::read(config)?.coordinator
        } else {
            let identity = beside(config, "identity.pem");
            Coordinator {
                endpoint: tonic::transport::Uri::default(),
                server_name: SERVER_NAME.to_owned(),
                ca: beside(config, "ca.pem"),
                certificate: identity.clone(),
                key: identity,
            }
        };
        if coordinator.certificate != coordinator.key {
            return Err(JoinError::TwoFiles(config.to_owned()));
        }
        Ok(Self { config: config.to_owned(), has_config, coordinator })
    }

    /// Whether an identity is there that can be used.
    pub(super) fn is_usable(&self) -> bool {
        crate::uplink::check(&self.coordinator).is_ok()
    }

    /// The key of an attempt before this one, or a new one that is on disk.
    pub(super) fn pending_key(&self) -> Result<KeyPair, JoinError> {
        let path = self.pending();
        if let Some(key) = fs::read_to_string(&path).ok().and_then(|pem| KeyPair::from_pem(&pem).ok()) {
            return Ok(key);
        }
        let key = KeyPair::generate()?;
        write(&path, &key.serialize_pem())?;
        Ok(key)
    }

    pub(super) fn forget_pending_key(&self) {
        // One that stays is of no use to anybody: the next attempt would join with it.
        fs::remove_file(self.pending()).ok();
    }

    pub(super) fn write_roots(&self, roots: &[Vec<u8>]) -> Result<(), JoinError> {
        write(&self.coordinator.ca, &roots.iter().map(|root| pem(root)).collect::<String>())
    }

    pub(super) fn write_identity(&self, identity: &str) -> Result<(), JoinError> {
        write(&self.coordinator.certificate, identity)
    }

    /// Writes a configuration where there is none.
    pub(super) fn write_config(&self, joining: &Joining) -> Result<(), JoinError> {
        if self.has_config {
            return Ok(());
        }
        let host = if joining.host.contains(':') { format!("[{}]", joining.host) } else { joining.host.clone() };
        let endpoint = format!("https://{host}:{}", joining.port);
        let text = format!(
            "# Written by `faultline-agent join`. Paths are relative to this file.\n\n[[coordinator]]\n\
             endpoint = {endpoint:?}\nserver_name = {SERVER_NAME:?}\nca = \"ca.pem\"\ncertificate = \"identity.pem\"\n\
             key = \"identity.pem\"\n"
        );
        write(&self.config, &text)
    }

    fn pending(&self) -> PathBuf {
        let mut name = self.coordinator.certificate.as_os_str().to_owned();
        name.push(".joining");
        name.into()
    }
}

/// Key and certificates in PEM, if the first certificate is of that key.
pub(super) fn identity(key: &KeyPair, chain: &[Vec<u8>]) -> Result<String, String> {
    let secret = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).map_err(|error| error.to_string())?;
    let signing = any_supported_type(&secret).map_err(|error| error.to_string())?;
    let certificates = chain.iter().cloned().map(CertificateDer::from).collect();
    let certified = CertifiedKey::new(certificates, signing);
    certified.keys_match().map_err(|error| format!("the certificate is not of this agent's key: {error}"))?;
    Ok(key.serialize_pem() + &chain.iter().map(|der| pem(der)).collect::<String>())
}

/// Puts a file in the place of another, 0600.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:08x}", rand::random::<u32>()));
    let fresh = path.with_file_name(name);
    let put = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    if let Err(error) = put() {
        fs::remove_file(&fresh).ok();
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn write(path: &Path, text: &str) -> Result<(), JoinError> {
    let fail = |source| JoinError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    replace(path, text).map_err(fail)
}

fn pem(der: &[u8]) -> String {
    let encoded = BASE64.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
