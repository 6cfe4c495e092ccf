//! Trust: the roots by which the agent knows its coordinator, in the file `ca` of its configuration.
//!
//! Rules: only a coordinator that is known by them may name others, in its session; one of those must be known already, so that no
//! mistake parts the two; all of it is checked before the file is replaced whole.

use std::{io, path::Path};

use ring::digest;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::enroll::{pem, replace};

/// Why roots are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// None, or too many.
    #[error("{0} roots: 1 to {MAX_ROOTS} are allowed")]
    Count(usize),
    /// One is no certificate of an authority.
    #[error("root {0} is no certificate of an authority, of {MAX_ROOT_BYTES} bytes at most")]
    Root(usize),
    /// None is known.
    #[error("none of them is known already")]
    Strange,
    /// The file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// SHA-256 of the roots in this file, one after another; nothing where they cannot be read.
pub(crate) fn digest(ca: &Path) -> Vec<u8> {
    let Some(roots) = read(ca) else { return Vec::new() };
    let mut all = digest::Context::new(&digest::SHA256);
    for root in &roots {
        all.update(root);
    }
    all.finish().as_ref().to_vec()
}

/// Trusts these roots from now on; `false` where they are those that it trusts.
pub(crate) fn take(ca: &Path, roots_der: &[Vec<u8>]) -> Result<bool, TrustError> {
    if !(1..=MAX_ROOTS).contains(&roots_der.len()) {
        return Err(TrustError::Count(roots_der.len()));
    }
    if let Some(wrong) = roots_der.iter().position(|der| !is_root(der)) {
        return Err(TrustError::Root(wrong + 1));
    }
    let held = read(ca).unwrap_or_default();
    if held.iter().map(AsRef::as_ref).eq(roots_der.iter().map(Vec::as_slice)) {
        return Ok(false);
    }
    if !held.iter().any(|held| roots_der.iter().any(|der| der == held.as_ref())) {
        return Err(TrustError::Strange);
    }
    let text: String = roots_der.iter().map(|der| pem(der)).collect();
    replace(ca, &text).map_err(|source| TrustError::File { path: ca.display().to_string(), source })?;
    Ok(true)
}

fn read(ca: &Path) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(ca).ok()?.collect::<Result<Vec<_>, _>>().ok()
}

fn is_root(der: &[u8]) -> bool {
    der.len() <= MAX_ROOT_BYTES
        && X509Certificate::from_der(der).is_ok_and(|(left, root)| left.is_empty() && root.is_ca())
}

/// Roots at once: a rotation has two.
const MAX_ROOTS: usize = 4;

/// Bytes of one. Source: the coordinator's own have some 500.
const MAX_ROOT_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn certificate(is_ca: IsCa) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = is_ca;
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    fn root() -> Vec<u8> {
        certificate(IsCa::Ca(BasicConstraints::Unconstrained))
    }

    #[test]
    fn roots_are_taken_from_whoever_is_known_and_never_all_of_them_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        let (first, next) = (root(), root());
        std::fs::write(&ca, pem(&first)).expect("written");
        let before = digest(&ca);
        assert!(take(&ca, &[first.clone(), next.clone()]).expect("taken"));
        assert!(!take(&ca, &[first.clone(), next.clone()]).expect("known"));
        let both = digest(&ca);
        assert!(before != both && both.len() == 32);
        assert!(take(&ca, &[next.clone(), first.clone()]).expect("another order"));
        assert!(digest(&ca) != both);
        assert!(take(&ca, std::slice::from_ref(&next)).expect("taken"));
        assert!(matches!(take(&ca, std::slice::from_ref(&first)), Err(TrustError::Strange)));
        assert_eq!(read(&ca).expect("roots"), [CertificateDer::from(next)]);
    }

    #[test]
    fn what_is_no_root_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        let first = root();
        std::fs::write(&ca, pem(&first)).expect("written");
        let before = digest(&ca);
        assert!(matches!(take(&ca, &[]), Err(TrustError::Count(0))));
        assert!(matches!(take(&ca, &vec![first.clone(); 5]), Err(TrustError::Count(5))));
        for wrong in [certificate(IsCa::NoCa), vec![0; 40], [first.clone(), vec![0]].concat()] {
            assert!(matches!(take(&ca, &[first.clone(), wrong]), Err(TrustError::Root(2))));
        }
        assert_eq!(digest(&ca), before);
        assert!(digest(&folder.path().join("none")).is_empty());
    }
}
