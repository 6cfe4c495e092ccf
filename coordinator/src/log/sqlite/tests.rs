//! What every store must keep, on the real one; and what is its own.

use faultline_attribution::Visibility;

use super::*;
use crate::{
    log::{conformance, with_room},
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

    let told = tokio::sync::Notify::new();
    let ask = || log.append(Admission::Batch { first_number: 1 }, large(number));
    let patient = with_room(ask, |_| told.notify_one());
    let room = async {
        told.notified().await;
        log.limit(u64::MAX).await.expect("room");
    };
    let (appended, ()) = tokio::join!(patient, room);
    assert!(matches!(appended, Ok(Appended::At(_))));
    assert_eq!(log.publish(Cursor::nth(1), Timestamp::default(), changes).await.expect("room").len(), 20);
}

#[tokio::test]
async fn a_log_of_the_version_before_is_brought_up_to_date() {
    let data = tempfile::tempdir().expect("dir");
    let log = SqliteLog::open(data.path()).expect("open");
    let epoch = session(&log).await;
    assert!(matches!(admit(&log, batch(epoch, 1), 1).await, Appended::At(_)));
    drop(log);
    let other = Connection::open(data.path().join("log.sqlite")).expect("second connection");
    other.execute_batch("ALTER TABLE admitted DROP COLUMN last; PRAGMA user_version=1").expect("as it was");
    drop(other);
    let log = SqliteLog::open(data.path()).expect("open");
    assert_eq!(admit(&log, batch(epoch, 1), 1).await, Appended::Duplicate { durable: 1 });
    assert!(matches!(admit(&log, batch(epoch, 2), 1).await, Appended::At(_)));
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
