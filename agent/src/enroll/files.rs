//! What joining writes: `agent.toml` where there is none, and beside it `ca.pem` and `identity.pem` (key and certificates), or what
//! the configuration names in their place; beside the identity `identity.pem.bound` (the bound key), and while it joins
//! `identity.pem.joining` (both keys).
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
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::{crypto::ring::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::{JoinError, Joining, beside};
use crate::{
    config::{Config, Coordinator},
    machine::Places,
};

/// Characters of a line of PEM. Source: RFC 7468.
const LINE: usize = 64;

/// Where everything is.
pub(super) struct Files {
    config: PathBuf,
    has_config: bool,
    pub(super) coordinator: Coordinator,
    pub(super) machine: Places,
}

/// The keys of an attempt.
pub(super) struct Keys {
    /// The certificate's.
    pub(super) key: KeyPair,
    /// By which the agent comes back.
    pub(super) bound: KeyPair,
}

impl Files {
    /// As the configuration says, or as the one says that will be made.
    pub(super) fn of(config: &Path) -> Result<Self, JoinError> {
        let has_config = config.exists();
        let (coordinator, machine) = if has_config {
            let config = Config::read(config)?;
            (config.coordinator, config.machine)
        } else {
            let identity = beside(config, "identity.pem");
            let coordinator = Coordinator {
                endpoint: tonic::transport::Uri::default(),
                server_name: SERVER_NAME.to_owned(),
                ca: beside(config, "ca.pem"),
                certificate: identity.clone(),
                key: identity,
            };
            (coordinator, Places::default())
        };
        if coordinator.certificate != coordinator.key {
            return Err(JoinError::TwoFiles(config.to_owned()));
        }
        Ok(Self { config: config.to_owned(), has_config, coordinator, machine })
    }

    /// Whether an identity is there that can be used.
    pub(super) fn is_usable(&self) -> bool {
        crate::uplink::check(&self.coordinator).is_ok()
    }

    /// Whether the agent can come back by itself.
    pub(super) fn has_bound_key(&self) -> bool {
        bound_key(&self.coordinator.certificate).is_some()
    }

    /// The coordinator, where it is to be found for this attempt.
    pub(super) fn at(&self, joining: &Joining) -> Coordinator {
        if self.has_config {
            return self.coordinator.clone();
        }
        Coordinator { endpoint: endpoint(joining).parse().unwrap_or_default(), ..self.coordinator.clone() }
    }

    /// The keys of an attempt before this one, or new ones that are on disk.
    pub(super) fn pending_keys(&self) -> Result<Keys, JoinError> {
        let path = self.pending();
        if let Some(keys) = fs::read_to_string(&path).ok().and_then(|pem| both(&pem)) {
            return Ok(keys);
        }
        let keys = Keys { key: KeyPair::generate()?, bound: KeyPair::generate_for(&PKCS_ED25519)? };
        write(&path, &(keys.key.serialize_pem() + &keys.bound.serialize_pem()))?;
        Ok(keys)
    }

    pub(super) fn forget_pending_keys(&self) {
        // Those that stay are of no use to anybody: the next attempt would join with them.
        fs::remove_file(self.pending()).ok();
    }

    pub(super) fn write_bound_key(&self, key: &KeyPair) -> Result<(), JoinError> {
        write(&bound(&self.coordinator.certificate), &key.serialize_pem())
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
        let endpoint = endpoint(joining);
        let text = format!(
            "# Written by `faultline-agent join`. Paths are relative to this file.\n\n[[coordinator]]\n\
             endpoint = {endpoint:?}\nserver_name = {SERVER_NAME:?}\nca = \"ca.pem\"\ncertificate = \"identity.pem\"\n\
             key = \"identity.pem\"\n"
        );
        write(&self.config, &text)
    }

    fn pending(&self) -> PathBuf {
        with(&self.coordinator.certificate, ".joining")
    }
}

fn endpoint(joining: &Joining) -> String {
    let host = if joining.host.contains(':') { format!("[{}]", joining.host) } else { joining.host.clone() };
    format!("https://{host}:{}", joining.port)
}

/// The bound key of the agent with this certificate; `None` for one that has none.
pub(super) fn bound_key(certificate: &Path) -> Option<KeyPair> {
    KeyPair::from_pem(&fs::read_to_string(bound(certificate)).ok()?).ok()
}

fn bound(certificate: &Path) -> PathBuf {
    with(certificate, ".bound")
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Two keys, one behind the other, in PEM.
fn both(pem: &str) -> Option<Keys> {
    let mut keys = PrivatePkcs8KeyDer::pem_slice_iter(pem.as_bytes());
    let mut next = || KeyPair::try_from(&keys.next()?.ok()?).ok();
    let keys = Keys { key: next()?, bound: next()? };
    (keys.bound.algorithm() == &PKCS_ED25519).then_some(keys)
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
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
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

/// A certificate in PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    let encoded = BASE64.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
