//! What a module wants of TLS.

use std::path::Path;

use rustls_pki_types::{CertificateDer, ServerName};
use serde_saphyr::Spanned;

use super::{
    file::TlsFile,
    reading::{NO_STORE, Reading, read_bounded},
};
use crate::probe::certificates;

/// `tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Take any certificate.
    pub skip_verify: bool,
    /// The only roots that a certificate may end at; `None` for the agent's own. Read with the module file, and again with it.
    pub roots: Option<Vec<CertificateDer<'static>>>,
    /// Name that the certificate must carry and that is asked for, in place of the target's.
    pub server_name: Option<String>,
    /// Lowest version that is offered; `None` for TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// Highest version that is offered; `None` for TLS 1.3.
    pub max_version: Option<TlsVersion>,
}

/// Versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

pub(super) fn tls(file: Option<TlsFile>, reading: &mut Reading<'_>) -> Tls {
    let Some(file) = file else { return Tls::default() };
    let client = "the agent presents no certificate of its own to targets";
    for (field, value) in [("cert", &file.cert), ("cert_file", &file.cert_file), ("key", &file.key)] {
        reading.refuse_text(&format!("tls_config.{field}"), value.as_ref(), client);
    }
    reading.refuse_text("tls_config.key_file", file.key_file.as_ref(), client);
    for (field, value) in [("ca_ref", &file.ca_ref), ("cert_ref", &file.cert_ref), ("key_ref", &file.key_ref)] {
        reading.refuse_text(&format!("tls_config.{field}"), value.as_ref(), NO_STORE);
    }
    let roots = match (file.ca.filter(is_given), file.ca_file.filter(is_given)) {
        (Some(pem), None) => reading.usable("tls_config.ca", &pem, roots(pem.value.as_bytes())),
        (None, Some(path)) => {
            let pem = read(&reading.base.join(&path.value));
            reading.usable("tls_config.ca_file", &path, pem.and_then(|pem| roots(&pem)))
        }
        (Some(pem), Some(_)) => {
            reading.wrong(&pem, "tls_config.ca and tls_config.ca_file exclude each other");
            None
        }
        (None, None) => None,
    };
    let server_name = file.server_name.filter(is_given);
    if let Some(name) = server_name.as_ref().filter(|name| ServerName::try_from(name.value.as_str()).is_err()) {
        reading.wrong(name, &format!("tls_config.server_name {:?} is neither a name nor an address", name.value));
    }
    let min_version = version("min_version", file.min_version.as_ref(), reading);
    let max_version = version("max_version", file.max_version.as_ref(), reading);
    if let (Some(min), Some(max), Some(at)) = (min_version, max_version, &file.min_version)
        && min > max
    {
        reading.wrong(at, "tls_config.min_version is above max_version");
    }
    Tls {
        skip_verify: file.insecure_skip_verify.unwrap_or(false),
        roots,
        server_name: server_name.map(|name| name.value),
        min_version,
        max_version,
    }
}

fn is_given(text: &Spanned<String>) -> bool {
    !text.value.is_empty()
}

fn version(field: &str, value: Option<&Spanned<String>>, reading: &mut Reading<'_>) -> Option<TlsVersion> {
    let at = value?;
    match at.value.as_str() {
        "TLS12" => return Some(TlsVersion::V1_2),
        "TLS13" => return Some(TlsVersion::V1_3),
        "TLS10" | "TLS11" => {
            reading.refuse(&format!("tls_config.{field}"), at, "TLS 1.0 and 1.1 are not spoken; use TLS12 or TLS13");
        }
        "" => {}
        other => reading.wrong(at, &format!("tls_config.{field} {other:?} is none of TLS10, TLS11, TLS12 and TLS13")),
    }
    None
}

/// The file, unless it is larger than any set of roots.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_bounded(path, MAX_ROOTS_BYTES).map_err(|error| format!("{}: {error}", path.display()))
}

fn roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(pem).map_err(|error| error.to_string())
}

/// Source: Debian's `/etc/ssl/certs/ca-certificates.crt`, which holds all public roots, has 0.2 MiB.
const MAX_ROOTS_BYTES: u64 = 1024 * 1024;
