//! What a stapled OCSP response (RFC 6960) says of the peer's certificate.
//!
//! Rule: it is told and never judged: nobody has checked who signed it, and clients do not fail for it either.

use der::Decode;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

/// The status of the first certificate that the response speaks of; `malformed` where it cannot be read or speaks of none.
pub(crate) fn status(response: &[u8]) -> &'static str {
    let read = || {
        let outer = OcspResponse::from_der(response).ok()?;
        let basic = BasicOcspResponse::from_der(outer.response_bytes?.response.as_bytes()).ok()?;
        Some(match basic.tbs_response_data.responses.first()?.cert_status {
            CertStatus::Good(_) => "good",
            CertStatus::Revoked(_) => "revoked",
            CertStatus::Unknown(_) => "unknown",
        })
    };
    if response.len() > MAX_BYTES { "malformed" } else { read().unwrap_or("malformed") }
}

/// Source: a response with its signer's certificate is 2 KB; the rest is a bound on what reading one may cost.
const MAX_BYTES: usize = 16 * 1024;
