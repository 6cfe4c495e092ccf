//! A file that is not as it was left: each damage costs what it hit, is counted, and ends nothing.

use bytes::Bytes;
use faultline_proto::agent::v1::{Lane, ResultBatch};
use prost::Message;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    batch::Sealed,
    spool::{Facts, NoCounter, Reason, Spool, Stamp},
};

#[tokio::test]
async fn a_damaged_batch_is_told_as_lost_and_the_rest_comes() {
    for column in [
        "payload = zeroblob(length(payload))",
        "sealed_at = sealed_at + 1",
        "refers = x'01'",
        "losses = x'ff'",
        "since = 'x'",
    ] {
        let file = File::with_batches(5);
        file.alter(&format!("UPDATE batch SET {column} WHERE id = 2"));
        let spool = file.open();
        let next = spool.fetch(Lane::Live, 2).await.expect("the batch after it");
        assert_eq!((next.number, next.row.results), (3, 3), "{column}");
        spool.push(Sealed::default(), Stamp { now: 9, ..Stamp::default() });
        let told = spool.fetch(Lane::Live, 6).await.expect("a batch").row.losses;
        assert_eq!(
            told.iter().map(|lost| (lost.reason, lost.results)).collect::<Vec<_>>(),
            [(Reason::SpoolDamaged, 2)]
        );
        assert_eq!(spool.view().lost.spool_damaged, 2);
    }
}

#[tokio::test]
async fn damaged_facts_cost_no_results() {
    let file = File::with_batches(2);
    file.alter("UPDATE facts SET content = x'00' WHERE number = 1");
    let spool = file.open();
    let fetched = spool.fetch(Lane::Live, 2).await.expect("a batch");
    assert_eq!(ResultBatch::decode(fetched.row.payload).expect("a batch").results.len(), 2);
    assert_eq!(fetched.row.facts.iter().map(|facts| facts.number).collect::<Vec<_>>(), [2]);
    assert_eq!(spool.view().lost.all(), 0);
}

#[test]
fn a_damaged_ledger_is_damage_of_the_whole() {
    let file = File::with_batches(2);
    file.alter("UPDATE ledger SET content = content || ' '");
    let error = SqliteStore::open(&file.path(), 4 << 20).err().expect("damaged");
    assert!(matches!(error, SqliteError::Store { source: StoreError::Broken(_), .. }), "{error}");
}

#[test]
fn facts_go_with_the_last_batch_that_could_refer_to_them() {
    let file = File::with_batches(600);
    let mut store = SqliteStore::open(&file.path(), 64 << 20).expect("a store");
    let facts = |store: &mut SqliteStore| {
        let connection = store.connection().expect("open");
        connection.query_row("SELECT count(*) FROM facts", [], |row| row.get::<_, u32>(0)).expect("a count")
    };
    assert_eq!(facts(&mut store), 6, "two for each of three segments");
    let ledger = store.ledger().expect("readable").expect("a ledger");
    for (remove, left) in [(1..=255, 6), (256..=256, 4), (300..=512, 4), (257..=299, 2), (513..=600, 0)] {
        store.commit(&Change { ledger: &ledger, remove: &[remove], add: &[] }).expect("committed");
        assert_eq!(facts(&mut store), left);
    }
}

#[test]
fn a_new_file_has_a_reserve_and_never_outgrows_its_quota() {
    let file = File(TempDir::new().expect("a folder"));
    let mut store = SqliteStore::open(&file.path(), 4 << 20).expect("a store");
    let ledger = Ledger::default();
    let first = Row { id: 1, ..Row::default() };
    store.commit(&Change { ledger: &ledger, remove: &[], add: &[first] }).expect("committed");
    let room = store.room().expect("room");
    assert!(room.inside > 256 * 1024 && room.inside + room.growth + room.used <= room.all, "{room:?}");
    let row = Row { id: 2, payload: Bytes::from(vec![7; 8 << 20]), ..Row::default() };
    assert_eq!(store.commit(&Change { ledger: &ledger, remove: &[], add: &[row] }), Err(StoreError::Quota));
    assert!(fs::metadata(file.path()).expect("a file").len() <= 4 << 20);
    assert_eq!(store.read(1..=9).expect("readable").map(|row| row.id), Some(1), "the first is still there");
}

struct File(TempDir);

impl File {
    /// Batch n has n results.
    fn with_batches(count: u32) -> Self {
        let file = Self(TempDir::new().expect("a folder"));
        let spool = file.open();
        for results in 1..=count {
            let facts = [1, 2].map(|number| Facts { number, encoded: Bytes::from_static(b"facts") }).into();
            let results = vec![
                faultline_proto::types::v1::ProbeResult::default();
                usize::try_from(results % 100).expect("small")
            ];
            spool.push(Sealed { since: 1, facts, results }, Stamp { now: 2, ..Stamp::default() });
        }
        drop(spool);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool.sqlite")
    }

    fn open(&self) -> Spool {
        let store = SqliteStore::open(&self.path(), 64 << 20).expect("a store");
        Spool::driven(Box::new(store), Box::new(NoCounter), [7; 16], usize::MAX, 0).expect("a spool")
    }

    fn alter(&self, sql: &str) {
        let connection = Connection::open(self.path()).expect("a database");
        connection.execute_batch(sql).expect("altered");
    }
}
