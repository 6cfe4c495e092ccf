//! What is fuzzed, and what must hold whatever the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use faultline_attribution::Timestamp;
use faultline_coordinator::{
    catalog::Catalog,
    observe::Observer,
    ranges::{Document, Ranges},
    record::{Record, RecordKind},
};

use super::{Target, mutate::Shape, session};

/// Every target.
pub(super) const ALL: &[Target] = &[
    Target { name: "session", shape: Shape::Frames, words: &[], run: session::run },
    Target { name: "batch", shape: Shape::Message, words: &[], run: batch },
    Target { name: "record", shape: Shape::Tagged, words: RECORD_WORDS, run: record },
    Target { name: "catalog", shape: Shape::Text, words: CATALOG_WORDS, run: catalog },
    Target { name: "ranges-aws", shape: Shape::Json, words: RANGES_WORDS, run: |bytes| ranges(Document::Aws, bytes) },
    Target {
        name: "ranges-azure",
        shape: Shape::Json,
        words: RANGES_WORDS,
        run: |bytes| ranges(Document::Azure, bytes),
    },
    Target { name: "ranges-gcp", shape: Shape::Json, words: RANGES_WORDS, run: |bytes| ranges(Document::Gcp, bytes) },
    Target { name: "ranges-cloudflare", shape: Shape::Text, words: RANGES_WORDS, run: cloudflare },
    Target {
        name: "ranges-fastly",
        shape: Shape::Json,
        words: RANGES_WORDS,
        run: |bytes| ranges(Document::Fastly, bytes),
    },
];

const RECORD_WORDS: &[&str] =
    &["targets", "slots", "version", "digest", "state", "since", "up", "silent", "group", "layers"];

const CATALOG_WORDS: &[&str] = &[
    "[[target]]",
    "\"dns\"",
    "\"tcp\"",
    "\"tls\"",
    "\"https\"",
    "\"http3\"",
    "\"dns://system/example.com?type=A\"",
    "\"doq://192.0.2.1/example.com?type=A\"",
    "\"dns://authoritative/example.com?transport=tcp\"",
    "\"https://[2001:db8::1]:443/a?b#c\"",
    "\"30s\"",
    "\"1ms\"",
    "\"99999999999d\"",
    "{ status = [200, 99999], body_matches = [\"(a{1000}){1000}\"] }",
    "{ json = { \"/a\" = [[1]] }, min_cert_days = 4294967295 }",
    "{ method = \"HEAD\", redirects = 6, headers = { \"a b\" = \"c\" } }",
    "verified = false",
    "depends_on = [\"a\", \"a\"]",
    "agents = { region = \"x\" }",
];

const RANGES_WORDS: &[&str] = &[
    "0.0.0.0/0",
    "10.0.0.0/33",
    "::/0",
    "2600::/128",
    "1.2.3.4",
    "255.255.255.255/32",
    "GLOBAL",
    "AMAZON",
    "AzureCloud",
    "ip_prefix",
    "ipv6_prefix",
    "addressPrefixes",
    "ipv4Prefix",
];

/// A record payload of a batch, read by what reads the log.
fn batch(bytes: &[u8]) {
    observe(RecordKind::Batch, bytes);
}

/// A record of any kind: the first byte says which.
fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    if let Some(kind) = RecordKind::of(kind % 8) {
        observe(kind, payload);
    }
}

/// What is read once is read the same again, by an observer that knows a catalog, a place and slots.
fn observe(kind: RecordKind, payload: &[u8]) {
    let record = Record { kind, payload: payload.to_vec().into(), ..of_agent() };
    let read = |mut observer: Observer| {
        let first = observer.observe(&record).map_err(|error| error.to_string());
        // Once more: facts are known by now, and nothing of it may break what follows.
        let second = observer.observe(&record).map_err(|error| error.to_string());
        (format!("{first:?}"), format!("{second:?}"))
    };
    let observer = session::observer();
    assert_eq!(read(observer.clone()), read(observer), "two readings of one record differ");
}

fn of_agent() -> Record {
    Record {
        agent: session::AGENT.to_owned(),
        incarnation: vec![7; 16],
        epoch: 1,
        lane: 1,
        number: 1,
        ..Record::tick(Timestamp::from_micros(1_700_000_000_000_000))
    }
}

/// A catalog is refused with reasons, or is a world.
fn catalog(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Catalog::parse("fuzz", &text) {
        Ok(catalog) => assert_eq!(catalog.world().len(), catalog.targets.len(), "a target is missing from the world"),
        Err(error) => {
            assert!(!error.faults.is_empty(), "refused without a reason");
            let lines = text.lines().count() + 1;
            let fault = error.faults.iter().find(|fault| fault.line > lines || fault.message.is_empty());
            assert!(fault.is_none(), "a fault beyond the file, or without words: {fault:?}");
        }
    }
}

fn cloudflare(bytes: &[u8]) {
    ranges(Document::CloudflareV4, bytes);
    ranges(Document::CloudflareV6, bytes);
}

/// Ranges that are read can be kept, read back, and asked.
fn ranges(document: Document, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(ranges) = Ranges::parse([(document, "fuzz", &*text)]) else { return };
    assert!(!ranges.is_empty(), "read, and nothing in it");
    let kept = Ranges::from_bytes(&ranges.to_bytes()).expect("what was kept is read");
    assert!(ranges.says_the_same(&kept) && ranges.digest() == kept.digest(), "kept, it says something else");
    for bits in [0, 0x0102_0304, 0x3f00_0001, u32::MAX] {
        let (v4, v6) = (Ipv4Addr::from_bits(bits), Ipv6Addr::from_bits(u128::from(bits) << 96));
        for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
            assert_eq!(ranges.says(address), kept.says(address));
        }
    }
}
