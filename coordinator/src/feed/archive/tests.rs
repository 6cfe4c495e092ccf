//! What is found of an incident that the board does not tell.

use faultline_attribution::Vantage;
use faultline_proto::{
    agent::v1::ResultBatch,
    convert,
    types::v1::{Cause, Layer, Outcome, ProbeResult},
};
use prost::Message as _;
use tempfile::TempDir;

use super::*;
use crate::{
    feed::Published,
    log::{Admission, Appended, ChangeLog as _, RecordLog as _, sqlite::SqliteLog},
    record::{Record, RecordKind, SlotTable},
};

const ONSET: Timestamp = Timestamp::from_micros(1_761_752_464_000_000);

fn at(second: u64) -> Timestamp {
    ONSET.after(Duration::from_secs(second))
}

#[tokio::test]
async fn every_revision_is_found_and_an_id_that_was_never_published_is_none() {
    let house = House::new().await;
    let other = Change { incident: IncidentId::from("inc-20251029T154113Z-2".to_owned()), ..change(1) };
    house.publish(vec![change(1), other, change(2)]).await;
    let found = house.archive.revisions(&change(1).incident).await.expect("it reads");
    assert_eq!(found, [change(1), change(2)]);
    for id in ["inc-20251029T154113Z-3", "inc-20201029T154113Z-1", "inc-", "nonsense", "\"}", ""] {
        let found = house.archive.revisions(&IncidentId::from(id.to_owned())).await.expect("it reads");
        assert_eq!(found, [], "{id}");
    }
}

#[tokio::test]
async fn while_it_goes_on_the_pictures_come_from_the_log_and_a_look_goes_on_where_the_last_one_ended() {
    let mut house = House::new().await;
    house.batch(at(5), 3).await;
    let first = house.archive.past(vec![change(1)]).await.expect("there are results");
    assert_eq!((failed(&first), first.figures.len()), (3, 1));
    house.batch(at(65), 4).await;
    let again = house.archive.past(vec![change(1), change(2)]).await.expect("there are results");
    assert_eq!(failed(&again), 7, "a new revision is a reason to look again");
    let kept = house.archive.past(vec![change(1), change(2)]).await.expect("there are results");
    assert!(Arc::ptr_eq(&kept, &again) || failed(&kept) == 7);
}

#[tokio::test]
async fn an_onset_that_moved_is_counted_anew() {
    let mut house = House::new().await;
    house.batch(at(5), 3).await;
    house.archive.past(vec![change(1)]).await.expect("there are results");
    let moved = Change { onset_at: at(3600), ..change(2) };
    let past = house.archive.past(vec![change(1), moved]).await.expect("it was looked at");
    assert_eq!(failed(&past), 0, "ten minutes before that onset nothing had failed");
}

#[tokio::test]
async fn once_a_history_is_kept_it_is_the_answer() {
    let house = House::new().await;
    let ended = Change { resolved_at: Some(at(240)), ..change(2) };
    let kept = History::of(&[change(1), ended.clone()]).expect("it has ended");
    house.log.keep_history(kept.clone()).await.expect("kept");
    let past = house.archive.past(vec![change(1), ended.clone()]).await.expect("a history");
    assert_eq!(past.history, kept);
    let log = SqliteReader::open(house.data.path()).expect("log");
    assert_eq!(history(&log, &[ended], at(300)).expect("reads"), Some(kept));
}

#[tokio::test]
async fn the_log_is_read_for_one_reader_at_a_time() {
    let house = House::new().await;
    let held = house.archive.permit().await.expect("nobody reads");
    time::pause();
    assert!(matches!(house.archive.revisions(&change(1).incident).await, Err(ArchiveError::Busy)));
    assert!(house.archive.past(vec![change(1)]).await.is_none());
    drop(held);
}

fn failed(past: &Past) -> u32 {
    past.history.curve.values().flat_map(BTreeMap::values).map(|minute| minute.at_layer[1]).sum()
}

/// A log with one agent that looks at one target.
struct House {
    data: TempDir,
    log: Arc<SqliteLog>,
    archive: Archive,
    epoch: u64,
    number: u64,
}

impl House {
    async fn new() -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        let archive = Archive::of(data.path().to_owned(), Clock::system());
        let mut house = Self { data, log, archive, epoch: 0, number: 0 };
        let record = |kind, content: &_| Record::own(kind, at(0), "fra-1", content);
        let session = record(RecordKind::Session, &serde_json::json!({"state": "up", "since": at(0)}));
        let Ok(Appended::At(epoch)) = house.log.append(Admission::Session, session).await else { panic!("no session") };
        house.epoch = epoch.epoch();
        let vantage =
            Record::own(RecordKind::Vantage, at(0), "fra-1", &Vantage { group: "fra".into(), ..Vantage::default() });
        let table = SlotTable { version: 1, digest: 0, slots: [(1, "shop".into())].into() };
        let table = Record::own(RecordKind::Assignment, at(0), "fra-1", &table);
        for record in [vantage, table] {
            assert!(matches!(house.log.append(Admission::Own, record).await, Ok(Appended::At(_))));
        }
        house
    }

    /// So many runs that fail to connect.
    async fn batch(&mut self, at: Timestamp, runs: usize) {
        self.number += 1;
        let result = ProbeResult {
            slot: 1,
            started_at: Some(convert::timestamp(at.micros())),
            outcome: Outcome::Failed as i32,
            layer: Layer::Connect as i32,
            cause: Cause::ConnectTimeout as i32,
            ..ProbeResult::default()
        };
        let batch = ResultBatch { lane: 1, number: self.number, results: vec![result; runs], ..ResultBatch::default() };
        let record = Record {
            incarnation: vec![7; 16],
            epoch: self.epoch,
            lane: 1,
            number: self.number,
            payload: batch.encode_to_vec().into(),
            ..Record::own(RecordKind::Batch, at, "fra-1", &())
        };
        let appended = self.log.append(Admission::Batch { first_number: 1 }, record).await;
        assert!(matches!(appended, Ok(Appended::At(_))), "{appended:?}");
    }

    async fn publish(&self, changes: Vec<Change>) {
        let changes = changes.into_iter().map(|change| Published::Incident(Box::new(change))).collect();
        self.log.publish(Cursor::START, at(9), changes).await.expect("durable");
    }
}

fn change(revision: u64) -> Change {
    let json = r#"{"type":"incident","at":"2025-10-29T15:42:20Z","incident":"inc-20251029T154113Z-1","revision":1,
        "state":"attributed","verdict":"azure","kind":"","element":"azure/front-door","element_kind":"cdn",
        "confidence":0.98,"probabilities":{"aws":0.0,"azure":0.98,"neither":0.01,"none":0.01},
        "onset_at":"2025-10-29T15:41:04Z","onset_uncertainty_s":20.0,"regions":[],"layer":"connect","failing_groups":4,
        "total_groups":4,"control_failing_groups":0,"headline":"","suspects":[],
        "evidence":[{"group":"fra","target":"shop","layer":"connect","cause":"connect_timeout","failed":1,"runs":1,"weight":1.0}],
        "alibis":[],"undetermined_reason":"","superseded_by":"","caveats":[],"opened_at":"2025-10-29T15:41:13Z",
        "attributed_at":null,"resolved_at":null,"engine":1}"#;
    let change: Change = serde_json::from_str(json).expect("a change");
    Change { revision, ..change }
}
