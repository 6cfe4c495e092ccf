//! When chains expire: the presented one, and the one that ends at a root.

use std::collections::HashMap;

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::probe::Roots;

/// When roots expire, by their subject, in seconds since 1970; of several of one name, the last.
#[derive(Debug, Default)]
pub(super) struct RootExpiries(HashMap<Vec<u8>, i64>);

impl RootExpiries {
    pub(super) fn of(roots: &Roots) -> Self {
        let mut expiries = Self::default();
        if !matches!(roots, Roots::Only(_)) {
            expiries.extend(&rustls_native_certs::load_native_certs().certs);
        }
        if let Roots::SystemAnd(given) | Roots::Only(given) = roots {
            expiries.extend(given);
        }
        expiries
    }

    fn extend(&mut self, roots: &[CertificateDer<'_>]) {
        for root in roots.iter().filter_map(read) {
            let expiry = self.0.entry(root.subject().as_raw().to_vec()).or_insert(i64::MIN);
            *expiry = (*expiry).max(not_after(&root));
        }
    }

    /// When the first certificate of the way from the peer's own to a root expires; `None` where none leads there.
    pub(super) fn chain_expiry(&self, chain: &[CertificateDer<'_>]) -> Option<i64> {
        let chain: Vec<_> = chain.iter().filter_map(read).collect();
        let mut at = chain.first()?;
        let mut earliest = not_after(at);
        for _ in 0..chain.len() {
            if let Some(root) = self.0.get(at.subject().as_raw()).or_else(|| self.0.get(at.issuer().as_raw())) {
                return Some(earliest.min(*root));
            }
            at = chain.iter().skip(1).find(|next| next.subject().as_raw() == at.issuer().as_raw())?;
            earliest = earliest.min(not_after(at));
        }
        None
    }
}

/// When the first of the certificates that can be read expires.
pub(super) fn earliest(chain: &[CertificateDer<'_>]) -> Option<i64> {
    chain.iter().filter_map(read).map(|certificate| not_after(&certificate)).min()
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn not_after(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}
