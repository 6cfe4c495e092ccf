//! Admission of one batch: what is wrong with it as a whole, and which of its results are refused.

use faultline_proto::{
    MAX_FACTS_BYTES,
    agent::v1::{Lane, LaneCursor, Rejection, ResultBatch},
    convert,
    types::v1::ProbeResult,
};
use prost::Message as _;
use tonic::Code;

use crate::{observe, refusal};

/// Results in a batch, at most.
pub(super) const MAX_RESULTS: usize = 1000;

/// Encoded size of a batch, at most.
pub(super) const MAX_BATCH_BYTES: usize = 256 << 10;

/// Facts in a batch, at most, and the size of one.
const MAX_FACTS: (usize, usize) = (MAX_RESULTS, MAX_FACTS_BYTES);

/// Why a batch as a whole is refused; `None` when it may be stored.
pub(super) fn fault(batch: &ResultBatch) -> Option<Rejection> {
    let bytes = batch.encoded_len();
    let refuse = |reason: &str, message: String| Some(rejection(batch, batch.results.len(), reason, message));
    if batch.lane() == Lane::Unspecified || batch.number == 0 {
        return refuse("BATCH_MALFORMED", format!("lane {}, number {}: both must be set", batch.lane, batch.number));
    }
    if bytes > MAX_BATCH_BYTES {
        return refuse("BATCH_TOO_LARGE", format!("{bytes} bytes, {MAX_BATCH_BYTES} at most"));
    }
    if batch.results.len() > MAX_RESULTS {
        return refuse("BATCH_TOO_LARGE", format!("{} results, {MAX_RESULTS} at most", batch.results.len()));
    }
    let oversize = batch.facts.iter().any(|facts| facts.encoded_len() > MAX_FACTS.1);
    if batch.facts.len() > MAX_FACTS.0 || oversize {
        return refuse("BATCH_TOO_LARGE", format!("facts: {} of {} bytes at most", MAX_FACTS.0, MAX_FACTS.1));
    }
    None
}

/// Takes out the results that cannot be understood, and says why.
pub(super) fn sift(batch: &mut ResultBatch, is_known: impl Fn(u32) -> bool) -> Vec<Rejection> {
    let (mut unknown, mut malformed) = (0, 0);
    let mut example = String::new();
    batch.results.retain(|result| {
        if !is_known(result.slot) {
            unknown += 1;
            return false;
        }
        let fault = contradiction(result);
        if let Some(fault) = fault {
            malformed += 1;
            example = format!("slot {}: {fault}", result.slot);
        }
        fault.is_none()
    });
    let mut rejections = Vec::new();
    if unknown > 0 {
        let message = format!("{unknown} results of slots that were never assigned");
        rejections.push(rejection(batch, unknown, "RESULT_UNKNOWN_SLOT", message));
    }
    if malformed > 0 {
        rejections.push(rejection(
            batch,
            malformed,
            "RESULT_MALFORMED",
            format!("{malformed} results, as in {example}"),
        ));
    }
    rejections
}

/// What contradicts itself in a result.
fn contradiction(result: &ProbeResult) -> Option<&'static str> {
    if convert::micros(result.started_at.as_ref()).is_none() {
        return Some("started_at is absent or out of range");
    }
    if observe::outcome(result).is_none() {
        return Some("outcome, layer, cause and reason do not fit together");
    }
    if !result.address.is_empty() && observe::address(&result.address).is_none() {
        return Some("address is neither 4 nor 16 bytes");
    }
    if !result.last_hop.is_empty() && observe::address(&result.last_hop).is_none() {
        return Some("last_hop is neither 4 nor 16 bytes");
    }
    (result.status > 999).then_some("status is above 999")
}

/// A refusal of `results` results of the batch.
pub(super) fn rejection(batch: &ResultBatch, results: usize, reason: &str, message: String) -> Rejection {
    Rejection {
        cursor: Some(LaneCursor { lane: batch.lane, number: batch.number }),
        rejected_results: u32::try_from(results).unwrap_or(u32::MAX),
        status: Some(refusal::inline(Code::InvalidArgument, reason, message)),
    }
}
