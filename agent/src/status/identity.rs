//! Who the agent is, as its certificate says it.

use std::time::{Duration, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::config::Coordinator;

/// An agent's identity.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The agent's name; empty where the certificate has none.
    pub name: String,
    /// Where it joined, `https://host:port`.
    pub coordinator: String,
    /// When its certificate is renewed, at the earliest, as RFC 3339 has it; absent where that is not for the agent to do.
    pub renews_at: Option<String>,
    /// When its certificate ends, as RFC 3339 has it.
    pub expires_at: String,
    /// Whether it has ended.
    pub is_expired: bool,
}

impl Identity {
    /// The identity on disk; `None` where there is none that can be read. `now` is in microseconds since the Unix epoch.
    pub fn of(coordinator: &Coordinator, now: i64) -> Option<Self> {
        let der = CertificateDer::pem_file_iter(&coordinator.certificate).ok()?.next()?.ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let is_renewed = coordinator.certificate == coordinator.key;
        Some(Self {
            name: name(&certificate).unwrap_or_default(),
            coordinator: place(coordinator),
            // Renewal begins between half and six tenths of its life.
            renews_at: is_renewed.then(|| time(from + (until - from) / 2)),
            expires_at: time(until),
            is_expired: until <= now / 1_000_000,
        })
    }
}

/// `https://host:port`.
pub(super) fn place(coordinator: &Coordinator) -> String {
    coordinator.endpoint.to_string().trim_end_matches('/').to_owned()
}

/// The last step of the path in the URI that names the agent.
fn name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.rsplit_once("/agent/").map(|(_, name)| name.to_owned()),
        _ => None,
    })
}

fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LATEST);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// What can be written down: the year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_799);
