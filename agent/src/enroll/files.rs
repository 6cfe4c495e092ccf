//! What joining writes: `ca.pem`, `identity.pem` (key and certificates), `identity.pem.bound` (the bound key) and at last `joined.toml`
//! into the state folder, or what the operator's configuration names in their place; while it joins, `identity.pem.joining` (both
//! keys).
//!
//! Rules: a file that holds a key is 0600 from its first byte; each is replaced whole, or stays as it was; an identity that is
//! replaced stays until the new one counts.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use faultline_proto::join::SERVER_NAME;
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::{crypto::ring::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::{JoinError, Joining};
use crate::{
    config::{Coordinator, JOINED, Setup},
    machine,
    uplink::valid_until,
};

/// Characters of a line of PEM. Source: RFC 7468.
const LINE: usize = 64;

/// Where everything is, or will be.
pub(super) struct Files {
    pub(super) coordinator: Coordinator,
    /// The identity that is there, usable or not.
    before: Option<Coordinator>,
    /// The state folder; `None` where the operator's configuration says where each file is.
    state: Option<PathBuf>,
    pending: PathBuf,
}

/// The keys of an attempt.
pub(super) struct Keys {
    /// The certificate's.
    pub(super) key: KeyPair,
    /// By which the agent comes back.
    pub(super) bound: KeyPair,
}

impl Files {
    /// As the operator's configuration says, or in the state folder.
    pub(super) fn of(setup: &Setup, joining: &Joining) -> Result<Self, JoinError> {
        let before = setup.joined()?;
        if let Some(coordinator) = setup.coordinator.clone() {
            if coordinator.certificate != coordinator.key {
                return Err(JoinError::TwoFiles(setup.file.clone()));
            }
            if !joining.is_at(&coordinator.endpoint) {
                let endpoint = coordinator.endpoint.to_string();
                return Err(JoinError::Configured { file: setup.file.clone(), endpoint });
            }
            let pending = joining_key(&coordinator.certificate);
            return Ok(Self { coordinator, before, state: None, pending });
        }
        let state = setup.state.clone();
        // Beside what is there, so that it stays whole until the new identity is.
        let is_first = |before: &Coordinator| before.certificate == state.join("identity.pem");
        let suffix = if before.as_ref().is_some_and(is_first) { "-00000001" } else { "" };
        let identity = state.join(format!("identity{suffix}.pem"));
        let coordinator = Coordinator {
            endpoint: joining.endpoint()?,
            server_name: SERVER_NAME.to_owned(),
            ca: state.join(format!("ca{suffix}.pem")),
            certificate: identity.clone(),
            key: identity,
        };
        let pending = joining_key(&state.join("identity.pem"));
        Ok(Self { coordinator, before, state: Some(state), pending })
    }

    /// The identity that is there and can be used at this time (seconds since 1970).
    pub(super) fn usable(&self, now_s: i64) -> Option<&Coordinator> {
        let is_usable = |coordinator: &&Coordinator| {
            crate::uplink::check(coordinator).is_ok() && valid_until(coordinator).is_some_and(|until| until > now_s)
        };
        self.before.as_ref().filter(is_usable)
    }

    /// The identity that is there and whose agent can come back by itself, however long its certificate is over.
    pub(super) fn recoverable(&self) -> Option<&Coordinator> {
        let can = |coordinator: &&Coordinator| {
            crate::uplink::check(coordinator).is_ok() && bound_key(&coordinator.certificate).is_some()
        };
        self.before.as_ref().filter(can)
    }

    /// The keys of an attempt before this one, or new ones that are on disk.
    pub(super) fn pending_keys(&self) -> Result<Keys, JoinError> {
        let path = &self.pending;
        if let Some(keys) = fs::read_to_string(path).ok().and_then(|pem| both(&pem)) {
            return Ok(keys);
        }
        let keys = Keys { key: KeyPair::generate()?, bound: KeyPair::generate_for(&PKCS_ED25519)? };
        write(path, &(keys.key.serialize_pem() + &keys.bound.serialize_pem()))?;
        Ok(keys)
    }

    pub(super) fn forget_pending_keys(&self) {
        // Those that stay are of no use to anybody: the next attempt would join with them.
        fs::remove_file(&self.pending).ok();
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

    /// Makes the new identity the one that counts, and removes the one before it.
    pub(super) fn settle(self) -> Result<Coordinator, JoinError> {
        let Some(state) = self.state else { return Ok(self.coordinator) };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (endpoint, ca) = (self.coordinator.endpoint.to_string(), name(&self.coordinator.ca));
        let identity = name(&self.coordinator.certificate);
        let text = format!(
            "# Written by `faultline-agent join`. Paths are relative to this file.\n\n[[coordinator]]\n\
             endpoint = {:?}\nserver_name = {SERVER_NAME:?}\nca = {ca:?}\ncertificate = {identity:?}\n\
             key = {identity:?}\n",
            endpoint.trim_end_matches('/')
        );
        write(&state.join(JOINED), &text)?;
        if let Some(before) = self.before {
            let identity = &before.certificate;
            for old in [&before.ca, identity, &bound(identity), &machine::beside(identity)] {
                // One that stays is of no use to anybody, and goes with `leave`.
                fs::remove_file(old).ok();
            }
        }
        Ok(self.coordinator)
    }
}

/// Removes the identity: what joining wrote, or what the operator's configuration names. Returns whether there was one.
pub(crate) fn forget(setup: &Setup) -> Result<bool, JoinError> {
    if let Some(coordinator) = &setup.coordinator {
        let mut found = false;
        let identity = &coordinator.certificate;
        let beside = [joining_key(identity), bound(identity), machine::beside(identity)];
        for path in beside.iter().chain([identity, &coordinator.key]) {
            found |= remove(path)?;
        }
        return Ok(found);
    }
    let found = remove(&setup.state.join(JOINED))?;
    let entries = match fs::read_dir(&setup.state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(source) => return Err(JoinError::File { path: setup.state.clone(), source }),
    };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_own)) {
        remove(&entry.path())?;
    }
    Ok(found)
}

/// Whether joining made a file of this name: `ca.pem`, `identity.pem`, those of a replacement (`identity-1234abcd.pem`), and what
/// lies beside them while it is written (`identity.pem.joining`).
fn is_own(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("ca").or_else(|| name.strip_prefix("identity")) else { return false };
    let rest = match rest.strip_prefix('-') {
        Some(rest) if rest.len() >= 8 && rest.bytes().take(8).all(|c| c.is_ascii_hexdigit()) => &rest[8..],
        Some(_) => return false,
        None => rest,
    };
    rest == ".pem" || rest.starts_with(".pem.")
}

/// Whether there was something to remove.
fn remove(path: &Path) -> Result<bool, JoinError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(JoinError::File { path: path.to_owned(), source }),
    }
}

fn joining_key(identity: &Path) -> PathBuf {
    with(identity, ".joining")
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
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
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
