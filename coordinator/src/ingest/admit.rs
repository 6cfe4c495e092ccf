//! Admission of one batch: what is wrong with it as a whole, and which of its results are refused.
//!
//! Rules: whether a batch is too large, or holds too much, is known before anything of it is unpacked, since a few bytes may
//! unpack to many; one that is refused keeps its number, so that what follows does not wait for it for ever; what may be
//! stored is stored as it came, and encoded anew only when something was taken out.

use bytes::Bytes;
use faultline_proto::{
    MAX_FACTS_BYTES,
    agent::v1::{Lane, LaneCursor, Rejection, ResultBatch},
    convert,
    types::v1::{Outcome, ProbeResult},
};
use prost::{
    DecodeError, Message as _,
    encoding::{self, DecodeContext, WireType},
};
use tonic::Code;

use crate::{observe, refusal};

/// Results in a batch, at most.
pub(super) const MAX_RESULTS: usize = 1000;

/// Encoded size of a batch, at most.
pub(super) const MAX_BATCH_BYTES: usize = 256 << 10;

/// Kinds of losses that a batch may tell of: more than there are reasons, and no list without end.
const MAX_LOSSES: usize = 16;

/// A batch that may be stored.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// Its place.
    pub(super) cursor: LaneCursor,
    /// Lowest number that is still to come.
    pub(super) first_number: u64,
    /// The batch: as it came, or without what was refused.
    pub(super) payload: Bytes,
    /// Results that it came with.
    pub(super) results: usize,
    /// Whether any of those that may be stored failed.
    pub(super) has_failure: bool,
    /// What was refused of it.
    pub(super) rejections: Vec<Rejection>,
    /// Runs that the agent skipped so far.
    pub(super) skipped_runs: u64,
}

/// Checks a batch. An error has no place in a lane.
pub(super) fn admit(bytes: Bytes, is_known: impl Fn(u32) -> bool) -> Result<Admitted, Fault> {
    let outline = Outline::of(&bytes)?;
    let Outline { cursor, first_number, results, .. } = outline;
    if cursor.lane() == Lane::Unspecified || cursor.number == 0 {
        return Err(Fault::NoPlace(cursor));
    }
    if let Some(what) = outline.excess(bytes.len()) {
        let empty = ResultBatch { lane: cursor.lane, number: cursor.number, first_number, ..ResultBatch::default() };
        let rejections = vec![rejection(cursor, results, "BATCH_TOO_LARGE", what)];
        let payload = empty.encode_to_vec().into();
        return Ok(Admitted { cursor, first_number, payload, results, rejections, ..Admitted::default() });
    }
    let mut batch = ResultBatch::decode(bytes.clone())?;
    let rejections = sift(&mut batch, cursor, is_known);
    let payload = if rejections.is_empty() { bytes } else { batch.encode_to_vec().into() };
    let has_failure = batch.results.iter().any(|result| result.outcome() == Outcome::Failed);
    Ok(Admitted { cursor, first_number, payload, results, has_failure, rejections, skipped_runs: batch.skipped_runs })
}

/// Why a batch cannot even be refused by its number.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("lane {}, number {}: both must be set", .0.lane, .0.number)]
    NoPlace(LaneCursor),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What is known of a batch before it is unpacked.
#[derive(Debug, Default)]
struct Outline {
    cursor: LaneCursor,
    first_number: u64,
    results: usize,
    facts: usize,
    largest_facts: usize,
    losses: usize,
}

impl Outline {
    fn of(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut outline = Self::default();
        while !bytes.is_empty() {
            let (tag, wire_type) = encoding::decode_key(&mut bytes)?;
            match (tag, wire_type) {
                (1, WireType::Varint) => {
                    let lane = encoding::decode_varint(&mut bytes)?;
                    outline.cursor.lane = i32::try_from(lane).unwrap_or_default();
                }
                (2, WireType::Varint) => outline.cursor.number = encoding::decode_varint(&mut bytes)?,
                (8, WireType::Varint) => outline.first_number = encoding::decode_varint(&mut bytes)?,
                _ => {
                    let before = bytes.len();
                    encoding::skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
                    match tag {
                        3 => {
                            outline.facts += 1;
                            outline.largest_facts = outline.largest_facts.max(before - bytes.len());
                        }
                        4 => outline.results += 1,
                        9 => outline.losses += 1,
                        _ => {}
                    }
                }
            }
        }
        Ok(outline)
    }

    /// What there is too much of.
    fn excess(&self, bytes: usize) -> Option<String> {
        let Self { results, facts, largest_facts, losses, .. } = *self;
        // The length that goes before facts takes two bytes more.
        let bounds = [
            ("bytes", bytes, MAX_BATCH_BYTES),
            ("results", results, MAX_RESULTS),
            ("facts", facts, MAX_RESULTS),
            ("bytes of facts", largest_facts, MAX_FACTS_BYTES + 2),
            ("losses", losses, MAX_LOSSES),
        ];
        bounds
            .iter()
            .find(|(_, count, most)| count > most)
            .map(|(what, count, most)| format!("{count} {what}, {most} at most"))
    }
}

/// Takes out the results that cannot be understood, and says why.
fn sift(batch: &mut ResultBatch, cursor: LaneCursor, is_known: impl Fn(u32) -> bool) -> Vec<Rejection> {
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
        rejections.push(rejection(cursor, unknown, "RESULT_UNKNOWN_SLOT", message));
    }
    if malformed > 0 {
        let message = format!("{malformed} results, as in {example}");
        rejections.push(rejection(cursor, malformed, "RESULT_MALFORMED", message));
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
fn rejection(cursor: LaneCursor, results: usize, reason: &str, message: String) -> Rejection {
    Rejection {
        cursor: Some(cursor),
        rejected_results: u32::try_from(results).unwrap_or(u32::MAX),
        status: Some(refusal::inline(Code::InvalidArgument, reason, message)),
    }
}

#[cfg(test)]
mod tests {
    use faultline_proto::{
        agent::v1::Loss,
        types::v1::{Facts, Outcome},
    };

    use super::*;

    fn batch(results: Vec<ProbeResult>) -> ResultBatch {
        let losses = vec![Loss { reason: 1, results: 4, ..Loss::default() }];
        ResultBatch { lane: 1, number: 3, first_number: 2, results, losses, ..ResultBatch::default() }
    }

    fn passed(slot: u32) -> ProbeResult {
        let started_at = Some(convert::timestamp(1));
        ProbeResult { slot, started_at, outcome: Outcome::Passed as i32, ..ProbeResult::default() }
    }

    fn admitted(bytes: Vec<u8>) -> Admitted {
        admit(bytes.into(), |slot| slot == 1).expect("a batch with a place")
    }

    #[test]
    fn what_may_be_stored_is_stored_as_it_came() {
        let mut bytes = batch(vec![passed(1)]).encode_to_vec();
        // A field that only a newer agent knows.
        encoding::string::encode(900, &"new".to_owned(), &mut bytes);
        let admitted = admitted(bytes.clone());
        assert_eq!((admitted.payload.to_vec(), admitted.rejections.len()), (bytes, 0));
        assert_eq!((admitted.cursor.number, admitted.first_number), (3, 2));
    }

    #[test]
    fn what_is_refused_is_taken_out_and_the_losses_stay() {
        let admitted = admitted(batch(vec![passed(1), passed(2), passed(1)]).encode_to_vec());
        let stored = ResultBatch::decode(admitted.payload).expect("a batch");
        assert_eq!((stored.results.len(), stored.losses[0].results), (2, 4));
        assert_eq!(admitted.rejections[0].rejected_results, 1);
    }

    #[test]
    fn too_much_is_refused_before_it_is_unpacked_and_keeps_its_number() {
        let facts = |bytes: usize| Facts { issuer: "x".repeat(bytes), ..Facts::default() };
        let with = |facts: Vec<Facts>| ResultBatch { facts, ..batch(Vec::new()) }.encode_to_vec();
        let losses = ResultBatch { losses: vec![Loss::default(); 17], ..batch(Vec::new()) }.encode_to_vec();
        // Two bytes each, which would unpack to a hundred times as many.
        let mut bomb = batch(Vec::new()).encode_to_vec();
        bomb.extend([0x22, 0].repeat(100_000));
        for (bytes, what) in [
            (bomb, "100000 results, 1000 at most"),
            (with(vec![facts(1000); 300]), "bytes, 262144 at most"),
            (with(vec![Facts::default(); 1001]), "1001 facts"),
            (with(vec![facts(MAX_FACTS_BYTES)]), "bytes of facts"),
            (losses, "17 losses"),
        ] {
            let admitted = admitted(bytes);
            let status = admitted.rejections[0].status.as_ref().expect("a status");
            assert!(status.message.contains(what), "{}", status.message);
            let stored = ResultBatch::decode(admitted.payload).expect("a batch");
            let empty = ResultBatch { losses: Vec::new(), ..batch(Vec::new()) };
            assert_eq!((stored, admitted.cursor.number), (empty, 3));
        }
        let largest = Facts { issuer: "x".repeat(MAX_FACTS_BYTES - 3), ..Facts::default() };
        assert_eq!(largest.encoded_len(), MAX_FACTS_BYTES);
        assert!(admitted(with(vec![largest])).rejections.is_empty());
    }

    #[test]
    fn what_has_no_place_or_is_no_batch_is_a_fault() {
        let homeless = ResultBatch { lane: 0, ..batch(Vec::new()) }.encode_to_vec();
        assert!(matches!(admit(homeless.into(), |_| true), Err(Fault::NoPlace(_))));
        assert!(matches!(admit(Bytes::from_static(&[0x22, 200]), |_| true), Err(Fault::Decode(_))));
        let mut unreadable = batch(Vec::new()).encode_to_vec();
        unreadable.extend([0x1a, 4, 0x22, 2, 0xff, 0xff]); // facts whose issuer is no text
        assert!(matches!(admit(unreadable.into(), |_| true), Err(Fault::Decode(_))));
    }
}
