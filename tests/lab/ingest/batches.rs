//! Batches as agents make them, encoded once: what differs from one to the next is put in when it is sent.
//!
//! A body is `repeated` fields of `ResultBatch`, the head its other fields: encoded messages that follow each other are
//! one (protobuf, "Last One Wins"). Of a body only the seconds of its timestamps change, which take five bytes in any year
//! until 3058; the rest of a second stays.
//!
//! Rules: everything follows from [`Load`]; nearly all results pass, one in `FAILING` does not, spread evenly over
//! targets; results began one or two seconds before they are sent.

use std::{ops::Range, sync::Arc, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1::{Cause, Certificate, Facts, Layer, Outcome, ProbeResult, Protocol, Timings},
};
use prost::{Message as _, encoding};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::Load;

/// One result in so many fails. Source: the recorded checks behind this project, 0.1 to 0.5 % without a visible reason.
const FAILING: u32 = 500;

/// Different bodies. Failures fall on other targets in each, so that no target looks broken.
const BODIES: u32 = 64;

/// All batches that are ever sent.
#[derive(Clone, Debug)]
pub struct Batches {
    /// The first batch of a session: facts of every target, and no results.
    pub facts: Vec<u8>,
    bodies: Arc<[Body]>,
}

/// The results of a batch.
#[derive(Clone, Debug)]
struct Body {
    bytes: Vec<u8>,
    /// Where the seconds of each timestamp are.
    seconds: Vec<Range<usize>>,
    results: Vec<ProbeResult>,
}

/// A batch to be sent.
#[derive(Clone, Debug)]
pub struct Batch {
    bodies: Arc<[Body]>,
    place: usize,
    number: u64,
    sealed_at: Timestamp,
}

/// The place of a second: any that takes five bytes and occurs nowhere else.
const MARK: i64 = 0x0007_1234_5678;

impl Batches {
    /// The batches of a load.
    pub fn new(load: Load) -> Self {
        let mut random = StdRng::seed_from_u64(u64::from(load.batch) << 32 | u64::from(load.targets));
        let bodies = (0..BODIES).map(|number| Body::new(number, load, &mut random));
        let facts = ResultBatch { facts: (1..=load.targets).map(facts).collect(), ..ResultBatch::default() };
        Self { facts: facts.encode_to_vec(), bodies: bodies.collect() }
    }

    /// An agent's batch of that number, sealed at that instant. Agents have other results in batches of one number.
    pub fn batch(&self, agent: usize, number: u64, sealed_at: Timestamp) -> Batch {
        let place = (agent + usize::try_from(number).unwrap_or_default()) % self.bodies.len();
        Batch { bodies: Arc::clone(&self.bodies), place, number, sealed_at }
    }

    /// Results as batches hold them, one batch after the other, but for when they began.
    pub fn results(&self) -> impl Iterator<Item = &[ProbeResult]> {
        self.bodies.iter().map(|body| body.results.as_slice())
    }
}

/// The fields of a batch that are no results.
pub fn head(number: u64, sealed_at: Timestamp) -> ResultBatch {
    ResultBatch {
        lane: Lane::Live as i32,
        number,
        first_number: 1,
        sealed_at: Some(convert::timestamp(sealed_at.micros())),
        ..ResultBatch::default()
    }
}

impl Batch {
    /// About how many bytes it takes, and never fewer.
    pub fn size(&self) -> usize {
        self.bodies[self.place].bytes.len() + 64
    }

    /// Appends it, as it goes over the wire and into the log.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let body = &self.bodies[self.place];
        into.extend_from_slice(&head(self.number, self.sealed_at).encode_to_vec());
        let start = into.len();
        into.extend_from_slice(&body.bytes);
        for (count, place) in body.seconds.iter().enumerate() {
            let began = self.sealed_at.micros() / 1_000_000 - 2 + i64::from(count % 2 == 0);
            write_seconds(&mut into[start..][place.clone()], began);
        }
    }
}

impl Body {
    fn new(number: u32, load: Load, random: &mut StdRng) -> Self {
        let results: Vec<ProbeResult> =
            (0..load.batch).map(|place| result(number * load.batch + place, load, random)).collect();
        let mut mark = Vec::new();
        encoding::encode_varint(MARK.cast_unsigned(), &mut mark);
        let (mut bytes, mut seconds) = (Vec::new(), Vec::new());
        for result in &results {
            let one = ResultBatch { results: vec![result.clone()], ..ResultBatch::default() }.encode_to_vec();
            let found = one.windows(mark.len()).position(|window| window == mark).unwrap_or_default();
            let place = bytes.len() + found;
            seconds.push(place..place + mark.len());
            bytes.extend_from_slice(&one);
        }
        Self { bytes, seconds, results }
    }
}

/// A varint of five bytes.
fn write_seconds(place: &mut [u8], seconds: i64) {
    let last = place.len() - 1;
    for (digit, byte) in place.iter_mut().enumerate() {
        let bits = u8::try_from(seconds >> (7 * digit) & 0x7f).unwrap_or_default();
        *byte = bits | if digit < last { 0x80 } else { 0 };
    }
}

fn result(count: u32, load: Load, random: &mut StdRng) -> ProbeResult {
    let slot = count % load.targets + 1;
    // From here on the nanoseconds take five bytes, too.
    let micros = random.random_range(300_000..1_000_000);
    let mut phase = |usual: u32| usual / 2 + random.random_range(0..usual);
    let (dns_us, connect_us, tls_us) = (phase(8_000), phase(20_000), phase(25_000));
    let (first_byte_us, body_us) = (phase(40_000), phase(2_000));
    let total_us = dns_us + connect_us + tls_us + first_byte_us + body_us;
    let passed = ProbeResult {
        slot,
        started_at: Some(convert::timestamp(MARK * 1_000_000 + micros)),
        outcome: Outcome::Passed as i32,
        timings: Some(Timings { dns_us, connect_us, tls_us, first_byte_us, body_us, total_us }),
        address: vec![203, 0, 113, u8::try_from(slot % 250).unwrap_or_default()],
        protocol: Protocol::Http2 as i32,
        status: 200,
        rcode_plus_one: 1,
        facts: slot,
        attempt: 1,
        ..ProbeResult::default()
    };
    // One further in each: else it would be the same targets for ever.
    let fails = count % FAILING == count / FAILING % FAILING;
    match (fails, count / FAILING % 2) {
        (true, 0) => ProbeResult {
            outcome: Outcome::Failed as i32,
            layer: Layer::Http as i32,
            cause: Cause::HttpStatus as i32,
            status: 503,
            ..passed
        },
        (true, _) => ProbeResult {
            outcome: Outcome::Failed as i32,
            layer: Layer::Connect as i32,
            cause: Cause::ConnectTimeout as i32,
            status: 0,
            protocol: 0,
            timings: Some(Timings {
                dns_us,
                connect_us: 5_000_000,
                total_us: dns_us + 5_000_000,
                ..Timings::default()
            }),
            ..passed
        },
        _ => passed,
    }
}

/// What an HTTPS run sees: an alias, three headers and a chain of three.
fn facts(number: u32) -> Facts {
    let headers = [("server", "AmazonS3"), ("x-cache", "Hit from cloudfront"), ("x-amz-cf-id", "<56 characters>")];
    let at =
        |years: u64| Some(convert::timestamp(i64::try_from(years * YEAR.as_secs() * 1_000_000).unwrap_or_default()));
    let certificate = |depth: u32, subject: String| Certificate {
        subject,
        issuer: format!("Example Trust Services CA {depth}"),
        not_before: at(56),
        not_after: at(57 + u64::from(depth)),
        key: "ec-p256".into(),
        fingerprint: vec![u8::try_from(number % 251).unwrap_or_default(); 32],
        ..Certificate::default()
    };
    let name = format!("target-{number:04}.bench.test");
    let leaf = Certificate { names: vec![name.clone(), format!("*.{name}")], ..certificate(0, name) };
    Facts {
        number,
        cnames: vec![format!("d{number:013}.cloudfront.net")],
        edge: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        issuer: "Example Trust Services CA 0".into(),
        resolver: "system".into(),
        chain: vec![leaf, certificate(1, "Example CA 0".into()), certificate(2, "Example CA 1".into())],
        ocsp: "good".into(),
        ..Facts::default()
    }
}

const YEAR: Duration = Duration::from_hours(24 * 365);

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { targets: 50, batch: 500 };

    #[test]
    fn a_batch_reads_as_what_it_was_made_of() {
        let (batches, now) = (Batches::new(LOAD), Timestamp::from_micros(1_790_000_000_400_000));
        let mut bytes = Vec::new();
        batches.batch(3, 300, now).encode(&mut bytes);
        let read = ResultBatch::decode(bytes.as_slice()).expect("a batch");
        assert_eq!((read.number, read.lane(), read.results.len()), (300, Lane::Live, 500));
        let made = batches.results().nth(303 % 64).expect("a body");
        for (result, made) in read.results.iter().zip(made) {
            let began = convert::micros(result.started_at.as_ref()).expect("a time");
            assert!((now.micros() - 2_400_000..now.micros()).contains(&began), "{began}");
            assert_eq!(ProbeResult { started_at: made.started_at, ..result.clone() }, *made);
        }
    }

    #[test]
    fn failures_are_few_and_fall_on_every_target() {
        let batches = Batches::new(LOAD);
        let results = batches.results().flatten();
        let failed: Vec<u32> =
            results.filter(|result| result.outcome() == Outcome::Failed).map(|result| result.slot).collect();
        assert_eq!(failed.len(), 64);
        assert!((1..=LOAD.targets).all(|slot| failed.contains(&slot)), "{failed:?}");
    }
}
