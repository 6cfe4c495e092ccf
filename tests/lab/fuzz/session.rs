//! The agent port behind its TLS: a body as it comes off a connection, whatever is in it.
//!
//! What must hold: the session ends; its end is well, or a typed refusal with one `ErrorInfo`; every answer can be read;
//! nothing is acknowledged that the log does not hold, and what the log holds keeps its limits and stands there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock, atomic::AtomicI64},
};

use bytes::{Buf as _, Bytes};
use faultline_attribution::{Timestamp, Vantage};
use faultline_coordinator::{
    assignment::Assignments,
    catalog::Catalog,
    ingest::{Ingest, listener::AgentPeer},
    log::patient::FullSince,
    observe::Observer,
    record::{CatalogRecord, Record, RecordKind},
    registry::Registry,
};
use faultline_proto::{
    ERROR_DOMAIN,
    agent::v1::{ResultBatch, SessionResponse, session_response::Message as Told},
    clock::Clock,
};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::Service as _;

use crate::simulation::log::{Disk, ModelLog};

/// The agent that every body comes from.
pub(super) const AGENT: &str = "fuzz-1";

const CATALOG: &str = r#"
[[target]]
id = "a/one"
probe = "https"
url = "https://one.example/"
hosted_on = "aws"

[[target]]
id = "b/two"
probe = "tcp"
url = "tcp://two.example:443"
hosted_on = "azure"
"#;

const BEGAN: i64 = 1_700_000_000_000_000;

static NEVER_SET: AtomicI64 = AtomicI64::new(0);

static WORLD: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(Catalog::parse("fuzz", CATALOG).expect("a catalog")));

static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let data = tempfile::tempdir().expect("a temporary directory");
    crate::simulation::coordinator::register(data.path(), &[AGENT]).expect("registered");
    data
});

static OBSERVER: LazyLock<Observer> = LazyLock::new(|| {
    let mut observer = Observer::default();
    let at = Timestamp::from_micros(BEGAN);
    let assignments = Assignments::new(Arc::clone(&WORLD), BTreeMap::new());
    let (_, table) = assignments.push(&AGENT.into(), &Vantage::default());
    let records = [
        Record::own(RecordKind::Catalog, at, "", &CatalogRecord { targets: WORLD.world() }),
        Record::own(RecordKind::Vantage, at, AGENT, &Vantage::default()),
        Record::own(RecordKind::Assignment, at, AGENT, &table.expect("a first table")),
    ];
    for record in &records {
        observer.observe(record).expect("a record of its own");
    }
    observer
});

/// An observer that knows the agent and its slots.
pub(super) fn observer() -> Observer {
    OBSERVER.clone()
}

/// Plays a body: its first byte says how it is said to be compressed.
pub(super) fn run(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    let Some((tag, frames)) = bytes.split_first() else { return };
    RUNTIME.with(|runtime| runtime.block_on(play(PLACE.path(), *tag, frames)));
}

async fn play(data: &Path, tag: u8, frames: &[u8]) {
    let disk = Arc::new(Disk::new(1));
    let (log, writing) = ModelLog::start(&disk);
    let assignments = Assignments::new(Arc::clone(&WORLD), BTreeMap::new());
    let clock = Clock::starting_at(BEGAN, &NEVER_SET);
    let (registry, observer) = (Registry::of(data), Observer::default());
    let ingest = Ingest::new(
        Arc::new(log),
        registry,
        assignments,
        clock,
        &observer,
        FullSince::default(),
        CancellationToken::new(),
    );
    let ingest = Arc::new(ingest);

    let mut request = http::Request::post("/faultline.agent.v1.SessionService/Session")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    request = match tag % 3 {
        1 => request.header("grpc-encoding", "gzip"),
        2 => request.header("grpc-encoding", "zstd"),
        _ => request,
    };
    let peer =
        AgentPeer { agent: AGENT.into(), address: SocketAddr::from(([192, 0, 2, 9], 40_000)), signer: String::new() };
    let body = Body::new(Full::new(Bytes::copy_from_slice(frames)));
    let request = request.extension(peer).body(body).expect("a request");
    let mut service = ingest.service();
    let session = async {
        let Ok(answer) = service.call(request).await;
        let (head, body) = answer.into_parts();
        (head.headers, body.collect().await.expect("an answer"))
    };
    let (headers, answer) = tokio::select! {
        answered = session => answered,
        () = writing => unreachable!("the writer goes on"),
    };
    let trailers = answer.trailers().unwrap_or(&headers).clone();
    let status = Status::from_header_map(&trailers).expect("a session ends with a status");
    check_end(&status);
    check_log(&disk, answer.to_bytes());
}

fn check_end(status: &Status) {
    match status.code() {
        Code::Ok => {}
        // tonic's own word for a compression that it was not told to take.
        Code::Unimplemented => assert!(status.message().contains("compressed"), "{status:?}"),
        _ => {
            let info = status.get_details_error_info();
            let info = info.unwrap_or_else(|| panic!("a refusal without an ErrorInfo: {status:?}"));
            assert_eq!(info.domain, ERROR_DOMAIN);
            assert_ne!(status.code(), Code::Internal, "{status:?}");
        }
    }
}

fn check_log(disk: &Disk, mut answers: Bytes) {
    let mut stored: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
    for record in disk.batches() {
        let batch = ResultBatch::decode(record.payload.as_ref()).expect("what was stored can be read");
        assert!(batch.results.len() <= 1000 && record.payload.len() <= 256 << 10, "stored beyond the limits");
        assert_eq!((u8::try_from(batch.lane), batch.number), (Ok(record.lane), record.number), "stored as another");
        assert!(stored.entry(batch.lane).or_default().insert(batch.number), "stored twice: {}", batch.number);
    }
    let mut durable: BTreeMap<i32, u64> = BTreeMap::new();
    while answers.has_remaining() {
        assert_eq!(answers.get_u8(), 0, "an answer that nobody asked to be compressed");
        let length = usize::try_from(answers.get_u32()).expect("small");
        let answer = SessionResponse::decode(answers.split_to(length)).expect("an answer can be read");
        let cursors = match answer.message.expect("an answer says something") {
            Told::BatchAck(ack) => ack.durable,
            Told::Welcome(welcome) => welcome.durable,
            _ => Vec::new(),
        };
        for cursor in cursors {
            let before = durable.insert(cursor.lane, cursor.number).unwrap_or(0);
            assert!(cursor.number >= before, "an acknowledgement that was taken back");
            let last = stored.get(&cursor.lane).and_then(BTreeSet::last).copied().unwrap_or(0);
            assert!(cursor.number <= last, "acknowledged {}, and the log ends with {last}", cursor.number);
        }
    }
}
