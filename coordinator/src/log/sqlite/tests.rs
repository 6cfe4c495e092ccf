//! What every store must keep, on the real one; and what is its own.

use faultline_attribution::Visibility;
use faultline_proto::clock::Clock;
use rusqlite::params;

use super::*;
use crate::{
    counts::By,
    log::{conformance, patient::Patient},
    record::RecordKind,
};

fn batch(epoch: u64, number: u64) -> Record {
    Record {
        kind: RecordKind::Batch,
        received_at: Timestamp::from_micros(1),
        agent: "fra-1".into(),
        incarnation: vec![7; 16],
        epoch,
        lane: 1,
        number,
        payload: vec![1, 2, 3].into(),
    }
}

async fn session(log: &SqliteLog) -> u64 {
    let record = Record::own(RecordKind::Session, Timestamp::from_micros(1), "fra-1", &());
    match log.append(Admission::Session, record).await.expect("append") {
        Appended::At(cursor) => cursor.0.cast_unsigned(),
        other => panic!("{other:?}"),
    }
}

async fn admit(log: &SqliteLog, record: Record, first_number: u64) -> Appended {
    log.append(Admission::Batch { first_number }, record).await.expect("append")
}

#[tokio::test]
async fn it_keeps_what_every_store_must_keep() {
    let data = tempfile::tempdir().expect("dir");
    let open = async |name: &str| {
        let folder = data.path().join(name);
        std::fs::create_dir_all(&folder).expect("folder");
        // One that was dropped lets go of its file when its writer has ended.
        loop {
            match SqliteLog::open(&folder) {
                Err(LogError::Locked(_)) => {}
                opened => return opened.expect("open"),
            }
        }
    };
    conformance::check(open, rand::random()).await;
}

#[tokio::test]
async fn a_full_log_refuses_whole_and_goes_on_when_there_is_room() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    log.limit(0).await.expect("limited");
    let large = |number| Record { payload: vec![7; 100_000].into(), ..batch(epoch, number) };
    let (mut number, mut asked) = (1, Vec::new());
    while asked.is_empty() {
        match log.append(Admission::Batch { first_number: 1 }, large(number)).await {
            Ok(appended) => assert!(matches!(appended, Appended::At(_))),
            Err(error) => asked.push(error),
        }
        number += 1;
    }
    number -= 1;
    assert!(asked[0].is_full(), "{}", asked[0]);
    // Changes that come together are stored together or not at all.
    let reason = "x".repeat(50_000);
    let visibility = Visibility { reason, ..Visibility::default() };
    let changes = vec![Published::Visibility(visibility); 20];
    let refused = log.publish(Cursor::nth(1), Timestamp::default(), changes.clone()).await.expect_err("no room");
    assert!(refused.is_full(), "{refused}");
    assert!(log.published_after(0, 100).await.expect("read").is_empty());
    assert_eq!(log.admitted("fra-1", &[7; 16], 1).await.expect("admitted"), number - 1, "what was refused is not here");

    let log = Arc::new(log);
    let patient = Patient::new(Arc::clone(&log) as _, Arc::clone(&log) as _, Clock::system());
    let full_since = patient.full_since();
    let room = async {
        let since = full_since.other_than(None).await;
        log.limit(u64::MAX).await.expect("room");
        since
    };
    let (appended, since) = tokio::join!(patient.append(Admission::Batch { first_number: 1 }, large(number)), room);
    assert!(matches!(appended, Ok(Appended::At(_))));
    assert!(since.is_some() && full_since.get().is_none(), "it is said, and taken back");
    assert_eq!(log.publish(Cursor::nth(1), Timestamp::default(), changes).await.expect("room").len(), 20);

    log.limit(0).await.expect("limited");
    // Some still fit where what is large does not.
    let tick = async || patient.append(Admission::Own, Record::tick(Timestamp::default())).await;
    let refused = loop {
        if let Err(error) = tick().await {
            break error;
        }
    };
    assert!(refused.is_full(), "a tick does not wait: {refused}");
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_record_is_found_and_named_and_the_rest_is_read() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    for number in 1..=2 {
        admit(&log, batch(epoch, number), 1).await;
    }
    let other = Connection::open(data.path().join("log.sqlite")).expect("second connection");
    let flips = [
        "format = 3",
        "kind = 9",
        "kind = 5",
        "received_at = received_at | 4",
        "agent = 'fra-3'",
        "incarnation = x'070707'",
        "epoch = epoch | 16",
        "lane = 3",
        "number = 3",
        "crc32c = crc32c | 1 << 33",
        "payload = x'010203ff'",
        "payload = 'abc'",
    ];
    for flip in flips {
        other.execute_batch(&format!("BEGIN; UPDATE record SET {flip} WHERE cursor = 2")).expect("flip");
        other.execute_batch("COMMIT").expect("kept");
        let records = log.next(Cursor::START, 10).await.expect("reads on");
        let kinds: Vec<_> = records.iter().map(|(cursor, record)| (cursor.0, record.kind)).collect();
        let wanted = [(1, RecordKind::Session), (2, RecordKind::Damaged), (3, RecordKind::Batch)];
        assert_eq!(kinds, wanted, "{flip}");
        other.execute_batch("DELETE FROM record WHERE cursor = 2").expect("gone");
        other
            .execute_batch(
                "INSERT INTO record SELECT 2, format, kind, received_at, agent, incarnation, epoch, lane, number, \
                 crc32c, payload FROM record WHERE cursor = 3",
            )
            .expect("whole again");
        assert_eq!(log.next(Cursor(1), 1).await.expect("reads")[0].1.kind, RecordKind::Batch);
    }
}

#[tokio::test]
async fn a_page_that_the_store_cannot_read_costs_what_lies_on_it() {
    let data = tempfile::tempdir().expect("dir");
    let path = data.path().join("log.sqlite");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    for number in 1..=200 {
        admit(&log, Record { payload: vec![9; 2000].into(), ..batch(epoch, number) }, 1).await;
    }
    drop(log);
    Connection::open(&path).expect("open").execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoint");
    let mut bytes = std::fs::read(&path).expect("file");
    // A leaf of the table of records, from the middle of the file: its type becomes none that there is.
    let page = (5..bytes.len() / 16384)
        .find(|page| bytes[page * 16384] == 13 && bytes[page * 16384 + 3..][..2] != [0, 0])
        .expect("a leaf");
    bytes[page * 16384] = 77;
    std::fs::write(&path, bytes).expect("damage");
    let log = SqliteLog::open(data.path()).expect("opens");
    let (mut whole, mut damaged, mut after) = (0, 0, Cursor::START);
    loop {
        let read = log.next(after, 64).await.expect("reads on");
        let Some((last, _)) = read.last() else { break };
        assert!(*last > after, "no loop");
        after = *last;
        damaged += read.iter().filter(|(_, record)| record.kind == RecordKind::Damaged).count();
        whole += read.iter().filter(|(_, record)| record.kind == RecordKind::Batch).count();
    }
    assert_eq!(damaged, 1, "one stretch, said once");
    assert!((180..200).contains(&whole), "{whole} of 200 are left");
}

#[tokio::test]
async fn a_damaged_change_is_left_out_and_the_others_are_read() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let sight = || Published::Visibility(Visibility::default());
    log.publish(Cursor(1), Timestamp::from_micros(1), vec![sight(), sight(), sight()]).await.expect("published");
    let other = Connection::open(data.path().join("log.sqlite")).expect("second connection");
    other.execute("UPDATE change SET payload = x'7b7d' WHERE sequence = 2", []).expect("flip");
    let entries = log.published_after(0, 10).await.expect("reads on");
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn a_newer_file_is_refused_by_name() {
    let data = tempfile::tempdir().expect("dir");
    drop(SqliteLog::open(data.path()).expect("open"));
    let other = Connection::open(data.path().join("log.sqlite")).expect("second connection");
    other.execute_batch("PRAGMA user_version=99").expect("bump");
    drop(other);
    let error = SqliteLog::open(data.path()).err().expect("refused");
    assert!(error.to_string().contains("schema 99 is newer"), "{error}");
}

/// The tables as the first builds made them.
const FIRST_TABLES: &str = "
CREATE TABLE record (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, format INTEGER NOT NULL, kind INTEGER NOT NULL, received_at INTEGER NOT NULL,
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE admitted (
  agent TEXT NOT NULL, incarnation BLOB NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (agent, incarnation, lane)) WITHOUT ROWID;
CREATE TABLE session (agent TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE change (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, tick INTEGER NOT NULL, published_at INTEGER NOT NULL,
  crc32c INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

#[tokio::test]
async fn a_file_of_the_first_build_opens_reads_and_takes_more() {
    let data = tempfile::tempdir().expect("dir");
    let old = Connection::open(data.path().join("log.sqlite")).expect("file");
    old.execute_batch("PRAGMA page_size=16384; PRAGMA journal_mode=WAL;").expect("pragmas");
    old.execute_batch(FIRST_TABLES).expect("tables");
    let payload = [1_u8, 2, 3];
    let rows = "INSERT INTO record (format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload) \
                VALUES (1, ?1, 7, 'fra-1', x'07070707070707070707070707070707', ?2, ?3, ?3, ?4, ?5)";
    old.execute(rows, params![6, 0, 0, crc32c::crc32c(&payload), payload]).expect("a session");
    old.execute(rows, params![1, 1, 1, crc32c::crc32c(&payload), payload]).expect("a batch");
    old.execute_batch(
        "INSERT INTO admitted VALUES ('fra-1', x'07070707070707070707070707070707', 1, 1); \
         INSERT INTO session VALUES ('fra-1', 1); INSERT INTO meta VALUES ('feed_id', 'fee1'); PRAGMA user_version=1;",
    )
    .expect("the rest");
    drop(old);
    let counts = |by| {
        let reader = SqliteReader::open(data.path()).expect("reads");
        reader.counts::<LogError>(by, (i64::MIN, i64::MAX), |_, _, _| Ok(())).map_err(|error| error.to_string())
    };
    for by in [By::Target, By::Element] {
        let error = counts(by).expect_err("it has none");
        assert!(error.contains("schema 1") && error.contains("start a coordinator"), "{error}");
    }
    for _ in 0..2 {
        let log = SqliteLog::open(data.path()).expect("opens");
        assert_eq!((counts(By::Target), counts(By::Element)), (Ok(0), Ok(0)));
        assert_eq!(log.feed_id(), "fee1");
        let kinds: Vec<_> =
            log.next(Cursor::START, 2).await.expect("reads").into_iter().map(|(_, record)| record.kind).collect();
        assert_eq!(kinds, [RecordKind::Session, RecordKind::Batch]);
        assert_eq!(admit(&log, batch(1, 1), 1).await, Appended::Duplicate { durable: 1 });
    }
    let log = SqliteLog::open(data.path()).expect("opens");
    assert!(matches!(admit(&log, batch(1, 2), 1).await, Appended::At(_)));
    assert_eq!(log.next(Cursor(2), 1).await.expect("reads")[0].1, batch(1, 2));
}
