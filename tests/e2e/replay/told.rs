//! What was told live, exported and replayed, is told again byte for byte.

use std::{fs, process::Command, sync::Arc};

use bytes::Bytes;
use faultline_attribution::{Settings, TargetId, Timestamp};
use faultline_coordinator::{
    catalog::Catalog,
    feed::Published,
    fold::Fold,
    log::{Admission, Appended, ChangeLog as _, Cursor, RecordLog as _, sqlite::SqliteLog},
    record::{CatalogRecord, Record, RecordKind, SlotTable},
    world_file,
};
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1 as wire,
};
use parquet::file::{reader::FileReader as _, serialized_reader::SerializedFileReader};
use prost::Message as _;

use super::{Recording, START_S, changes, faultline, text};

/// An agent's batches go out each so many seconds.
const BATCH_S: i64 = 2;

/// A log as a coordinator with ticks at whole seconds would have written it.
struct Written {
    log: Arc<SqliteLog>,
    slots: Vec<TargetId>,
}

impl Written {
    async fn append(&self, admission: Admission, record: Record) {
        let appended = self.log.append(admission, record).await.expect("appended");
        assert!(matches!(appended, Appended::At(_)), "{appended:?}");
    }

    fn result(&self, line: &serde_json::Value) -> wire::ProbeResult {
        let word = |field: &str| line[field].as_str().unwrap_or_default();
        let at: Timestamp = serde_json::from_value(line["at"].clone()).expect("at");
        let slot = self.slots.iter().position(|target| target.as_str() == word("target")).expect("a target");
        let failed = word("outcome") == "failed";
        let us = |name: &str| u32::try_from(line["timings_us"][name].as_u64().unwrap_or_default()).expect("small");
        wire::ProbeResult {
            slot: u32::try_from(slot).expect("few"),
            started_at: Some(convert::timestamp(at.micros())),
            outcome: if failed { wire::Outcome::Failed } else { wire::Outcome::Passed } as i32,
            layer: if failed { wire::Layer::Connect as i32 } else { 0 },
            cause: if failed { wire::Cause::ConnectTimeout as i32 } else { 0 },
            timings: Some(wire::Timings {
                dns_us: us("dns"),
                connect_us: us("connect"),
                total_us: us("total"),
                ..wire::Timings::default()
            }),
            address: vec![192, 0, 2, u8::try_from(slot).expect("few")],
            status: if failed { 0 } else { 200 },
            facts: 1,
            attempt: 1,
            ..wire::ProbeResult::default()
        }
    }
}

#[test]
fn what_was_told_live_is_told_again() {
    let recording = Recording::new(START_S);
    let data = tempfile::tempdir().expect("folder");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let live = runtime.block_on(live(&recording, data.path()));
    assert!(live.iter().any(|line| line.contains(r#""state":"attributed""#)), "{live:#?}");

    let world = data.path().join("world.toml");
    let exported = Command::new(faultline())
        .args(["results", "export", "--write-world"])
        .arg(&world)
        .arg("--data")
        .arg(data.path())
        .output()
        .expect("runs");
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let first = text(&exported.stdout).lines().next().expect("a line").to_owned();
    assert!(first.contains(r#""received_at":"#) && first.contains(r#""cnames":["edge.example"]"#), "{first}");

    let again = Recording {
        world: fs::read_to_string(&world).expect("world"),
        lines: text(&exported.stdout).lines().map(str::to_owned).collect(),
        ..recording
    };
    assert_eq!(again.lines.len(), super::lines(START_S).len(), "every result is there once");
    let told = again.told();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told, live, "{:#?}", changes(&told.join("\n")));

    let table = Command::new(faultline())
        .args(["results", "export", "-o", "parquet", "--data"])
        .arg(data.path())
        .output()
        .expect("runs");
    assert!(table.status.success(), "{}", text(&table.stderr));
    let table = SerializedFileReader::new(Bytes::from(table.stdout)).expect("a Parquet file");
    let rows = usize::try_from(table.metadata().file_metadata().num_rows()).expect("a number");
    assert_eq!(rows, again.lines.len());
    let row = table.get_row_iter(None).expect("rows").next().expect("a row").expect("whole").to_string();
    assert!(row.contains(r#"cnames: ["edge.example"]"#), "{row}");

    let span = Command::new(faultline())
        .args(["results", "export", "--from", "2025-10-20T06:01:00Z", "--to", "2025-10-20T06:02:00Z", "--data"])
        .arg(data.path())
        .output()
        .expect("runs");
    assert!((500..700).contains(&text(&span.stdout).lines().count()), "a minute of it");
}

/// Writes the log, folds it, and returns the changes as they were published.
async fn live(recording: &Recording, data: &std::path::Path) -> Vec<String> {
    let catalog = Catalog::parse("catalog.toml", &recording.catalog).expect("catalog").world();
    let world = world_file::parse("world.toml", &recording.world).expect("world");
    let slots: Vec<TargetId> = catalog.keys().cloned().collect();
    let written = Written { log: Arc::new(SqliteLog::open(data).expect("log")), slots };
    let begin = Timestamp::from_micros(START_S * 1_000_000);
    let catalog = Record::own(RecordKind::Catalog, begin, "", &CatalogRecord { targets: catalog });
    written.append(Admission::Own, catalog).await;
    let table = SlotTable { version: 1, digest: 0, slots: (0..).zip(written.slots.iter().cloned()).collect() };
    for (agent, vantage) in &world {
        let assignment = Record::own(RecordKind::Assignment, begin, agent.as_str(), &table);
        written.append(Admission::Own, assignment).await;
        // A session's own record would make its uplink an observation too, which result lines do not carry.
        let vantage = Record::own(RecordKind::Vantage, begin, agent.as_str(), vantage);
        written.append(Admission::Session, vantage).await;
    }
    let lines: Vec<serde_json::Value> =
        recording.lines.iter().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let opened = written.log.next(Cursor::START, 1000).await.expect("reads");
    let epoch_of = |agent: &str| {
        let place = opened.iter().position(|(_, record)| record.kind == RecordKind::Vantage && record.agent == agent);
        u64::try_from(place.expect("a session") + 1).expect("small")
    };
    let mut number = 0;
    let end_s = START_S + super::RUN_S;
    let mut last_s = start_of(&lines);
    for second in START_S..=end_s + 180 {
        let now = Timestamp::from_micros(second * 1_000_000);
        if (second - START_S) % BATCH_S == 0 && last_s < second {
            number += 1;
            for agent in world.keys() {
                // Sealed half a second before it is received; what ends later waits for the next.
                let received_at = Timestamp::from_micros(second * 1_000_000 - 250_000);
                let starts_at = |line: &serde_json::Value| {
                    let at: Timestamp = serde_json::from_value(line["at"].clone()).expect("at");
                    at.micros() / 1_000_000
                };
                let mine = |line: &&serde_json::Value| {
                    line["agent"] == agent.as_str() && (last_s..second - 1).contains(&starts_at(line))
                };
                let results = lines.iter().filter(mine).map(|line| written.result(line)).collect();
                let facts = wire::Facts {
                    number: 1,
                    cnames: vec!["edge.example".into()],
                    issuer: "R3".into(),
                    resolver: "system".into(),
                    ..wire::Facts::default()
                };
                let facts = if number == 1 { vec![facts] } else { Vec::new() };
                let batch = ResultBatch { lane: Lane::Live as i32, number, facts, results, ..ResultBatch::default() };
                let record = Record {
                    kind: RecordKind::Batch,
                    received_at,
                    agent: agent.to_string(),
                    incarnation: vec![1; 16],
                    epoch: epoch_of(agent.as_str()),
                    lane: 1,
                    number,
                    payload: batch.encode_to_vec().into(),
                };
                written.append(Admission::Batch { first_number: number }, record).await;
            }
            last_s = second - 1;
        }
        written.append(Admission::Own, Record::tick(now)).await;
    }
    let (log, changes) = (Arc::clone(&written.log), Arc::clone(&written.log));
    let now = Timestamp::from_micros((end_s + 180) * 1_000_000);
    Fold::rebuild(log, changes, Settings::default(), now).await.expect("folds");
    let entries = written.log.published_after(0, usize::MAX).await.expect("reads");
    let told = entries.into_iter().filter_map(|entry| match entry.published {
        Published::Incident(change) => Some(serde_json::to_string(&change).expect("json")),
        _ => None,
    });
    told.collect()
}

fn start_of(lines: &[serde_json::Value]) -> i64 {
    let at: Timestamp = serde_json::from_value(lines[0]["at"].clone()).expect("at");
    at.micros() / 1_000_000
}
