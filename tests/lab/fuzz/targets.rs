//! What is fuzzed, and what must hold whatever the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use faultline_attribution::Timestamp;
use faultline_coordinator::{
    catalog::Catalog,
    claims::{
        Stance,
        parse::{self, Format},
    },
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
    Target { name: "claims", shape: Shape::Text, words: CLAIMS_WORDS, run: claims },
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

const CLAIMS_WORDS: &[&str] = &[
    "<item>",
    "</item>",
    "<title><![CDATA[Service disruption: x]]></title>",
    "<title>[RESOLVED] x</title>",
    "<guid>#ec2-us-east-1_1</guid>",
    "<pubDate>Wed, 29 Oct 2025 10:11:00 PDT</pubDate>",
    "<pubDate>Sat, 31 Dec 9999 23:59:60 +2359</pubDate>",
    "<!DOCTYPE rss [<!ENTITY a \"b\">]>",
    "&a;",
    "&#0;",
    "&#x202e;",
    "&lt;b&gt;",
    "]]>",
    "West US 3, East US 2",
    "Mitigated",
];

/// A record payload of a batch, read by what reads the log.
fn batch(bytes: &[u8]) {
    observe(RecordKind::Batch, bytes);
}

/// A record of any kind: the first byte says which.
fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    if let Some(kind) = RecordKind::of(kind % 10) {
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

/// A feed is no feed, or its posts are short and plain and come to one stance.
fn claims(bytes: &[u8]) {
    let feed = String::from_utf8_lossy(bytes);
    let now = Timestamp::from_micros(1_761_760_800_000_000);
    for (format, cloud) in [(Format::AwsRss, "aws"), (Format::AzureRss, "azure")] {
        let Ok(posts) = parse::posts(format, cloud, &feed) else { continue };
        assert!(posts.len() <= 500, "{} posts", posts.len());
        let said = parse::stance(&posts, now);
        assert!(said.stance != Stance::Unreachable, "a feed that is there");
        assert!(said.stance != Stance::ReportsProblem || !posts.is_empty(), "a problem that nobody posted");
        assert!(said.since.is_none_or(|since| since <= now), "since a moment that is still to come");
        assert!(said.regions.len() <= 32 && said.regions.iter().all(|region| region.starts_with(cloud)), "{said:?}");
        for text in posts.iter().map(|post| &post.text).chain([&said.text, &said.reason]) {
            assert!(text.chars().count() <= 701, "a text of {} characters", text.chars().count());
            assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "not plain: {text:?}");
        }
        let is_web = |link: &str| link.is_empty() || link.starts_with("http://") || link.starts_with("https://");
        assert!(is_web(&said.link.to_ascii_lowercase()), "{}", said.link);
        assert_eq!(said, parse::stance(&parse::posts(format, cloud, &feed).expect("read before"), now));
    }
}
