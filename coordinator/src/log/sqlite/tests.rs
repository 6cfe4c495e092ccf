//! What every store must keep, on the real one.

use super::*;
use crate::record::RecordKind;

fn batch(epoch: u64, number: u64) -> Record {
    Record {
        kind: RecordKind::Batch,
        received_at: Timestamp::from_micros(1),
        agent: "fra-1".into(),
        incarnation: vec![7; 16],
        epoch,
        lane: 1,
        number,
        payload: vec![1, 2, 3],
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
async fn a_batch_counts_once_in_order_and_only_in_the_newest_session() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let old = session(&log).await;
    assert!(matches!(admit(&log, batch(old, 1), 1).await, Appended::At(_)));
    assert_eq!(admit(&log, batch(old, 1), 1).await, Appended::Duplicate);
    assert_eq!(admit(&log, batch(old, 4), 1).await, Appended::Gap { expected: 2 });
    assert!(matches!(admit(&log, batch(old, 4), 4).await, Appended::At(_)), "2 and 3 were said to be dropped");
    let new = session(&log).await;
    assert_eq!(admit(&log, batch(old, 5), 1).await, Appended::Fenced);
    assert!(matches!(admit(&log, batch(new, 5), 1).await, Appended::At(_)));
    assert_eq!(log.admitted("fra-1", &[7; 16], 1).await.expect("admitted"), 5);
    assert_eq!(log.admitted("fra-1", &[8; 16], 1).await.expect("admitted"), 0, "another spool counts for itself");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    for number in 1..=100 {
        admit(&log, batch(epoch, number), 1).await;
    }
    let feed_id = log.feed_id();
    drop(log);
    let log = SqliteLog::open(data.path()).expect("reopen");
    let records = log.next(Cursor::START, 1000).await.expect("next");
    let numbers: Vec<u64> =
        records.iter().filter(|(_, r)| r.kind == RecordKind::Batch).map(|(_, r)| r.number).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    assert_eq!(log.feed_id(), feed_id);
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_named() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    admit(&log, batch(epoch, 1), 1).await;
    let other = Connection::open(data.path().join("log.sqlite")).expect("second connection");
    other.execute("UPDATE record SET payload = x'010203ff' WHERE kind = 1", []).expect("flip");
    let error = log.next(Cursor::START, 10).await.expect_err("damaged");
    assert!(error.to_string().contains("record 2 is damaged"), "{error}");
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
