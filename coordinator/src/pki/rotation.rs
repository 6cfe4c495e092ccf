//! Rotation: another root and other intermediates in the place of those that sign, without losing an agent.
//!
//! Three steps, each when all agents are ready for it. *Prepared*: the next authority lies in `ca/next`, and agents are told to
//! trust both roots. *Switched*: it signs, from `ca`, and the former lies in `ca.old`; agents are told to renew, and certificates
//! of both are good. *Steady* again: the former is gone. Rules: which step it is follows from what is there, and a switch is one
//! rename after another, of which the next start completes the second; nobody is told to trust what was not prepared here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use ring::digest;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};

use super::{Authority, PkiError, read, server};

/// Where the next authority lies, in the folder of the one that signs.
const NEXT: &str = "next";

/// Where the former lies.
const OLD: &str = "ca.old";

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// There is one authority.
    Steady,
    /// Agents learn to trust the next one.
    Prepared,
    /// It signs; agents renew.
    Switched,
}

/// The roots that agents are to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// In DER, the one that signs first.
    pub roots: Vec<CertificateDer<'static>>,
    /// SHA-256 of all of them, one after another.
    pub digest: Vec<u8>,
    /// Who signs agents' certificates now, as [`signer_of`] says of what they show.
    pub signer: String,
}

impl Bundle {
    /// What agents of this data directory are to trust.
    ///
    /// # Errors
    ///
    /// Where a root cannot be read.
    pub fn of(data: &Path) -> Result<Self, PkiError> {
        let mut roots = Vec::new();
        for path in files(data) {
            let pem = read(&path)?;
            let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
            roots.extend(found.ok().filter(|found| !found.is_empty()).ok_or(PkiError::Pem(path))?);
        }
        let mut digest = digest::Context::new(&digest::SHA256);
        for root in &roots {
            digest.update(root);
        }
        let digest = digest.finish().as_ref().to_vec();
        let signer = data.join("ca/agents.pem");
        let signer = if signer.exists() { read(&signer)? } else { String::new() };
        let signer =
            CertificateDer::from_pem_slice(signer.as_bytes()).map_or_else(|_| String::new(), |der| name_of(&der));
        Ok(Self { roots, digest, signer })
    }
}

/// The files of the roots that agents are to trust.
fn files(data: &Path) -> Vec<PathBuf> {
    let others = [data.join("ca").join(NEXT), data.join(OLD)].map(|folder| folder.join("root.pem"));
    let present = others.into_iter().filter(|path| path.exists());
    std::iter::once(data.join("ca/root.pem")).chain(present).collect()
}

/// What those files hold.
pub(super) fn trusted_pem(data: &Path) -> Result<String, PkiError> {
    files(data).iter().map(|path| read(path)).collect()
}

/// How far a rotation of this data directory is.
pub fn phase(data: &Path) -> Phase {
    if data.join("ca").join(NEXT).join("root.pem").exists() {
        Phase::Prepared
    } else if data.join(OLD).exists() {
        Phase::Switched
    } else {
        Phase::Steady
    }
}

/// Completes a switch that was cut short.
pub(super) fn settle(data: &Path) -> Result<(), PkiError> {
    let (ca, next) = (data.join("ca"), data.join(OLD).join(NEXT));
    if ca.exists() || !next.join("root.pem").exists() {
        return Ok(());
    }
    rename(&next, &ca)?;
    tracing::warn!("a switch to the next certificate authority was completed that had been cut short");
    sync(data)
}

/// Makes the next authority, for the same domain and with a certificate of the same names for the agent port.
///
/// # Errors
///
/// Where files cannot be read or written.
pub fn prepare(data: &Path, now_micros: i64) -> Result<(), PkiError> {
    let (ca, next) = (data.join("ca"), data.join("ca").join(NEXT));
    // Of an attempt that was cut short: without a root, which is written last, it is none.
    remove(&next)?;
    let domain = read(&ca.join("domain"))?.trim().to_owned();
    let names = server::names(data)?;
    Authority::make(&next, &domain, &names, now_micros)?;
    sync(&ca)
}

/// Lets the next authority sign.
///
/// # Errors
///
/// Where files cannot be renamed.
pub fn switch(data: &Path) -> Result<(), PkiError> {
    let (ca, old) = (data.join("ca"), data.join(OLD));
    rename(&ca, &old)?;
    sync(data)?;
    rename(&old.join(NEXT), &ca)?;
    sync(data)
}

/// Forgets the former authority: its certificates are good no more.
///
/// # Errors
///
/// Where files cannot be removed.
pub fn retire(data: &Path) -> Result<(), PkiError> {
    // Its root first: without it nothing of it is trusted, whatever stays.
    remove(&data.join(OLD).join("root.pem"))?;
    remove(&data.join(OLD))?;
    sync(data)
}

/// Who signed what an agent shows: the digest of the second certificate of a chain, in hexadecimal; empty where there is none.
pub fn signer_of(chain: &[CertificateDer<'_>]) -> String {
    chain.get(1).map_or_else(String::new, name_of)
}

fn name_of(signer: &CertificateDer<'_>) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, signer).as_ref())
}

fn rename(from: &Path, to: &Path) -> Result<(), PkiError> {
    fs::rename(from, to).map_err(|source| PkiError::File { path: from.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), PkiError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PkiError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), PkiError> {
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| PkiError::File { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_761_752_473_000_000;

    fn with_authority() -> tempfile::TempDir {
        let data = tempfile::tempdir().expect("a folder");
        Authority::init(data.path(), "lab.example", &["probe.example.org".to_owned()], NOW).expect("an authority");
        data
    }

    fn pins(data: &Path) -> Vec<Vec<u8>> {
        Bundle::of(data).expect("roots").roots.iter().map(|root| root.to_vec()).collect()
    }

    #[test]
    fn agents_trust_both_roots_from_the_first_step_to_the_last() {
        let data = with_authority();
        let data = data.path();
        let first = pins(data);
        assert_eq!((phase(data), first.len()), (Phase::Steady, 1));
        prepare(data, NOW).expect("prepared");
        let both = pins(data);
        assert_eq!((phase(data), both.len(), &both[0]), (Phase::Prepared, 2, &first[0]));
        assert_eq!(
            Authority::open(data).expect("opens").root_der().expect("a root").to_vec(),
            first[0],
            "it signs still"
        );
        switch(data).expect("switched");
        let turned = pins(data);
        assert_eq!((phase(data), &turned), (Phase::Switched, &vec![both[1].clone(), both[0].clone()]));
        assert_eq!(Authority::open(data).expect("opens").root_der().expect("a root").to_vec(), both[1]);
        assert_eq!(server::names(data).expect("a certificate"), ["probe.example.org", super::super::SERVER_NAME]);
        retire(data).expect("retired");
        assert_eq!((phase(data), pins(data)), (Phase::Steady, vec![both[1].clone()]));
        prepare(data, NOW).expect("and again");
    }

    #[test]
    fn a_switch_that_is_cut_short_is_completed_and_a_preparation_is_begun_anew() {
        let data = with_authority();
        let data = data.path();
        fs::create_dir(data.join("ca/next")).expect("a folder");
        fs::write(data.join("ca/next/agents.pem"), "half").expect("a file");
        assert_eq!(phase(data), Phase::Steady);
        prepare(data, NOW).expect("prepared");
        let both = pins(data);
        rename(&data.join("ca"), &data.join(OLD)).expect("the first half");
        let authority = Authority::open(data).expect("completed");
        assert_eq!((phase(data), authority.root_der().expect("a root").to_vec()), (Phase::Switched, both[1].clone()));
    }
}
