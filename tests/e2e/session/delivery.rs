//! Exact delivery as the coordinator keeps it: what is sent twice counts once, what is missing is known, and what was lost is
//! counted.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::SessionState;
use faultline_coordinator::{
    log::{Cursor, RecordLog as _, sqlite::SqliteReader},
    record::RecordKind,
    results::export::{Span, export},
};
use faultline_lab::{
    scripted::{Credentials, hello, passed},
    stage,
};
use faultline_proto::{
    agent::v1::{
        Goodbye, Heartbeat, Lane, Loss, LossReason, ResultBatch, session_request::Message as Say,
        session_response::Message as Heard,
    },
    clock::Clock,
    convert,
    types::v1::{Facts, ProbeResult},
};
use tokio::time::timeout;
use tonic::{Code, codec::CompressionEncoding};

use super::{Stage, ends_with, reason, still_works};

/// A hang guard: nothing here waits for it.
const GUARD: Duration = Duration::from_secs(100);

fn batch(lane: Lane, number: u64, results: Vec<ProbeResult>) -> ResultBatch {
    ResultBatch { lane: lane as i32, number, results, ..ResultBatch::default() }
}

fn now() -> i64 {
    Clock::system().now_micros()
}

/// Results in the log, by incarnation, lane and number.
async fn stored(stage: &Stage) -> BTreeMap<(u8, u8, u64), usize> {
    let records = stage.coordinator.log.next(Cursor::START, usize::MAX).await.expect("reads");
    let batches = records.into_iter().filter(|(_, record)| record.kind == RecordKind::Batch);
    let mut stored = BTreeMap::new();
    for (_, record) in batches {
        let batch: ResultBatch = prost::Message::decode(&*record.payload).expect("a batch");
        let place = (record.incarnation[0], record.lane, record.number);
        assert_eq!(stored.insert(place, batch.results.len()), None, "{place:?} is there twice");
    }
    stored
}

/// Waits until the page says so.
async fn shows(stage: &Stage, what: &str) {
    let feed = stage.coordinator.feed_address.to_string();
    let asked = async {
        loop {
            let feed = feed.clone();
            let page = tokio::task::spawn_blocking(move || stage::page(&feed)).await.expect("no panic");
            if page.expect("the page").contains(what) {
                return;
            }
        }
    };
    timeout(GUARD, asked).await.unwrap_or_else(|_| panic!("the page never says {what:?}"));
}

#[tokio::test]
async fn a_batch_out_of_order_ends_the_session_and_the_next_one_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut agent = credentials.open([1; 16]).await.expect("open");
    let result = || vec![passed(1, now())];
    assert_eq!(agent.report(result()).await.expect("first").durable[0].number, 1);
    agent.say(Say::ResultBatch(batch(Lane::Live, 7, result()))).await.expect("said");
    let status = ends_with(&mut agent).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "BATCH_OUT_OF_ORDER"));
    assert!(status.message().contains("number 7, expected 2"), "{}", status.message());
    let mut agent = credentials.open([1; 16]).await.expect("open again");
    assert_eq!(agent.durable(Lane::Live), 1);
    still_works(&mut agent).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn what_is_sent_again_changes_nothing_in_any_lane_session_or_form() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut agent = credentials.open([1; 16]).await.expect("open");
    let slot = agent.slot("control/one");
    for (lane, number, count) in [(Lane::Live, 1, 2), (Lane::Backfill, 1, 3), (Lane::Live, 2, 1)] {
        agent.send(batch(lane, number, vec![passed(slot, now()); count])).await.expect("stored");
    }
    let before = stored(&stage).await;
    assert_eq!(before, BTreeMap::from([((1, 1, 1), 2), ((1, 2, 1), 3), ((1, 1, 2), 1)]));
    let mut again = credentials.open([1; 16]).await.expect("open again");
    assert_eq!((again.durable(Lane::Live), again.durable(Lane::Backfill)), (2, 1));
    for (lane, number, durable) in [(Lane::Live, 1, 2), (Lane::Live, 2, 2), (Lane::Backfill, 1, 1)] {
        let ack = again.send(batch(lane, number, vec![passed(slot, now()); 9])).await.expect("acknowledged");
        assert_eq!((ack.durable[0].number, ack.rejections.len()), (durable, 0));
    }
    assert_eq!(stored(&stage).await, before);
    // Another spool of the same agent counts for itself.
    let mut reborn = credentials.open([2; 16]).await.expect("a new spool");
    assert_eq!(reborn.durable(Lane::Live), 0);
    still_works(&mut reborn).await;
    assert_eq!(stored(&stage).await.len(), 4);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn numbers_that_moved_to_the_other_lane_are_not_waited_for() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let result = vec![passed(agent.slot("control/one"), now())];
    agent.send(batch(Lane::Live, 1, result.clone())).await.expect("stored");
    let fresh = ResultBatch { first_number: 5, ..batch(Lane::Live, 5, result.clone()) };
    assert_eq!(agent.send(fresh).await.expect("stored").durable[0].number, 5, "2 to 4 are backfill now");
    for number in 1..=3 {
        agent.send(batch(Lane::Backfill, number, result.clone())).await.expect("stored");
    }
    let ack = agent.send(batch(Lane::Live, 3, result)).await.expect("acknowledged");
    assert_eq!(ack.durable[0].number, 5, "what was given up cannot come back");
    assert_eq!(stored(&stage).await.len(), 5);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn losses_are_counted_once_shown_and_remembered() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut agent = credentials.open([1; 16]).await.expect("open");
    let loss = |reason: LossReason, results| Loss { reason: reason as i32, results, ..Loss::default() };
    let losses = vec![loss(LossReason::SpoolFull, 12), loss(LossReason::ProcessDied, 3)];
    let telling = ResultBatch { losses, ..batch(Lane::Live, 1, Vec::new()) };
    agent.send(telling.clone()).await.expect("stored");
    agent.send(telling).await.expect("again");
    shows(&stage, "12 results lost: its spool was full").await;
    shows(&stage, "3 results lost: its process died").await;
    let more = ResultBatch { losses: vec![loss(LossReason::SpoolFull, 30)], ..batch(Lane::Live, 2, Vec::new()) };
    agent.send(more).await.expect("stored");
    shows(&stage, "42 results lost: its spool was full").await;
    stage.coordinator.stop().await;
    let stage = Stage { coordinator: super::start(stage.data.path()).await, data: stage.data };
    shows(&stage, "42 results lost: its spool was full").await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn facts_that_one_lane_announced_are_good_in_the_other() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let slot = agent.slot("control/one");
    let facts = |number, issuer: &str| Facts { number, issuer: issuer.into(), ..Facts::default() };
    let result = |facts| vec![ProbeResult { facts, ..passed(slot, now()) }];
    let live = ResultBatch { facts: vec![facts(1, "R1")], ..batch(Lane::Live, 1, result(1)) };
    agent.send(live).await.expect("stored");
    agent.send(batch(Lane::Backfill, 1, result(1))).await.expect("stored");
    let again = ResultBatch { facts: vec![facts(1, "forged")], ..batch(Lane::Backfill, 2, result(1)) };
    agent.send(again).await.expect("stored");
    let data = stage.data.path().to_owned();
    let exported = tokio::task::spawn_blocking(move || {
        let log = SqliteReader::open(&data).expect("opens");
        let mut issuers = Vec::new();
        export(&log, Span::default(), |line| {
            issuers.push(line.issuer.to_string());
            Ok(())
        })
        .expect("exports");
        issuers
    });
    assert_eq!(exported.await.expect("no panic"), ["R1", "R1", "R1"]);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_heartbeat_is_answered_at_once_with_both_clocks() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let agent_time = Some(convert::timestamp(12_345));
    let before = now();
    agent.say(Say::Heartbeat(Heartbeat { agent_time, ..Heartbeat::default() })).await.expect("said");
    let Ok(Some(Heard::HeartbeatAck(ack))) = agent.hear().await else { panic!("no answer") };
    assert_eq!(ack.agent_time, agent_time);
    let server_time = convert::micros(ack.server_time.as_ref()).expect("set");
    assert!((before..=now()).contains(&server_time));
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn who_was_asked_to_come_back_has_not_left() {
    let stage = Stage::new().await;
    for (said, has_left) in [("drain", false), ("shutdown", true)] {
        let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
        agent.say(Say::Goodbye(Goodbye { reason: said.into() })).await.expect("said");
        while let Ok(Some(_)) = agent.hear().await {}
        let seen = stage.coordinator.ingest.agents()[0].state;
        assert_eq!(seen == SessionState::Goodbye, has_left, "{said}: {seen:?}");
    }
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn compressed_batches_are_taken_and_a_bomb_ends_its_session_alone() {
    let stage = Stage::new().await;
    let mut other = stage.issue("fra-9").open([9; 16]).await.expect("open");
    for (n, encoding) in [CompressionEncoding::Gzip, CompressionEncoding::Zstd].into_iter().enumerate() {
        let credentials = stage.issue(&format!("fra-{n}"));
        let client = credentials.connect().await.expect("connect").send_compressed(encoding);
        let mut agent = Credentials::open_on(client, hello([1; 16])).await.expect("open");
        still_works(&mut agent).await;
        let bomb = ProbeResult { last_hop: vec![0; 64 << 20], ..passed(1, now()) };
        agent.say(Say::ResultBatch(batch(Lane::Live, 2, vec![bomb]))).await.expect("said");
        let status = ends_with(&mut agent).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        still_works(&mut other).await;
    }
    stage.coordinator.stop().await;
}
