//! What waited comes after the present, each once, across links, holds and restarts of either side.

use std::collections::BTreeSet;

use faultline_proto::agent::v1::HeartbeatAck;

use super::*;

/// Fast enough that ten seconds are one.
const SPEED: f64 = 10.0;

#[tokio::test]
async fn what_waited_long_comes_after_the_present_and_each_result_once() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::at(Clock::emulated(SPEED)).await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let mut seen = BTreeSet::new();
    for number in 1..=2 {
        let batch = talk.batch().await;
        assert_eq!((batch.lane(), batch.number), (Lane::Live, number));
        seen.extend(starts(&batch));
    }
    talk.ack(2).await;
    // Until more than ten seconds of batches wait.
    talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.spool[0].next_number > 16)).await;
    drop(talk);

    let mut talk = stage.session().await;
    talk.welcome(2).await;
    let mut moved = 0;
    let mut live = 0;
    let mut results = seen.len();
    while moved == 0 || live < 3 || talk.backfill_left != Some(0) {
        let batch = talk.next_batch().await;
        if batch.lane() == Lane::Backfill {
            moved += 1;
            assert_eq!(batch.number, moved);
        } else {
            assert!(live > 0 || moved == 0, "the present comes first");
            live += 1;
        }
        assert!(batch.first_number <= batch.number);
        results += batch.results.len();
        seen.extend(starts(&batch));
        talk.ack_in(batch.lane(), batch.number).await;
    }
    assert_eq!(seen.len(), results, "one came twice");
    assert!(moved >= 4, "{moved} batches were older than ten seconds");
}

#[tokio::test]
async fn a_hold_stops_batches_until_it_is_lifted_and_probing_goes_on() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    let credit = |batches| Told::BatchAck(BatchAck { max_inflight_batches: Some(batches), ..BatchAck::default() });
    talk.tell(credit(0)).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let next = |said: &Said| {
        matches!(said, Said::ResultBatch(_)) || matches!(said, Said::Heartbeat(beat) if beat.spool[0].next_number > 2)
    };
    assert!(matches!(talk.heard(next).await, Said::Heartbeat(_)), "a batch in spite of the hold");
    talk.tell(credit(1)).await;
    assert_eq!(talk.batch().await.number, 1);
    talk.ack(1).await;
    assert_eq!(talk.batch().await.number, 2);
}

#[tokio::test]
async fn a_restart_delivers_what_was_left_under_the_same_numbers() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let before = talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let first = talk.batch().await;
    talk.ack(first.number).await;
    let second = talk.batch().await;
    assert!(second.facts.is_empty(), "a session announces facts once");
    stage.stop();
    talk.heard(|said| matches!(said, Said::Goodbye(_))).await;
    drop(talk);
    stage.ended().await.expect("in order");
    stage.begin();
    let mut talk = stage.session().await;
    let after = talk.welcome(1).await;
    assert_eq!(after.incarnation, before.incarnation);
    let again = talk.batch().await;
    assert_eq!((again.number, &again.results), (2, &second.results));
    assert_eq!(again.facts, first.facts, "another session does not know them");
}

#[tokio::test]
async fn a_coordinator_that_was_restored_gets_again_what_it_lost() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let mut sent = Vec::new();
    for number in 1..=3 {
        sent.push(talk.batch().await);
        talk.ack(number).await;
    }
    talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.spool[0].first_number > 3)).await;
    drop(talk);
    let mut talk = stage.session().await;
    talk.welcome(1).await;
    for lost in &sent[1..] {
        let batch = talk.batch().await;
        assert_eq!((batch.number, &batch.results), (lost.number, &lost.results));
    }
}

#[tokio::test]
async fn heartbeats_and_batches_tell_the_clock_once_it_was_measured() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    let Said::Heartbeat(beat) = talk.heard(|said| matches!(said, Said::Heartbeat(_))).await else { unreachable!() };
    assert!(beat.is_spool_durable && beat.clock_offset.is_none() && beat.clock_bound.is_none());
    let ahead = Some(timestamp(Clock::system().now_micros() - 60_000_000));
    talk.tell(Told::HeartbeatAck(HeartbeatAck { agent_time: beat.agent_time, server_time: ahead })).await;
    talk.heard(
        |said| matches!(said, Said::Heartbeat(beat) if beat.clock_offset.is_some_and(|offset| offset.seconds >= 50)),
    )
    .await;
    talk.push(1, [assignment(1, target.address)]).await;
    let batch = talk.batch().await;
    assert!(batch.clock_offset.is_some_and(|offset| offset.seconds >= 50) && batch.clock_bound.is_some());
    // An answer to something else says nothing.
    let behind = HeartbeatAck { agent_time: Some(timestamp(5)), server_time: Some(timestamp(5)) };
    talk.tell(Told::HeartbeatAck(behind)).await;
    talk.heard(
        |said| matches!(said, Said::Heartbeat(beat) if beat.clock_offset.is_some_and(|offset| offset.seconds < 100)),
    )
    .await;
}

#[tokio::test]
async fn a_coordinator_that_falls_silent_is_left_within_thirty_seconds() {
    let clock = Clock::emulated(SPEED);
    let mut stage = Stage::at(clock).await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    let Said::Heartbeat(beat) = talk.heard(|said| matches!(said, Said::Heartbeat(_))).await else { unreachable!() };
    let answer = HeartbeatAck { agent_time: beat.agent_time, server_time: None };
    talk.tell(Told::HeartbeatAck(answer)).await;
    let silent = Instant::now();
    // HTTP/2 lives on underneath: the connection answers pings.
    stage.session().await;
    let took = clock.since(silent);
    assert!(
        (25..90).contains(&took.as_secs()),
        "{took:?}: 30 s, half a second's pause, and what the machine makes of it"
    );
}

#[tokio::test]
async fn a_link_that_falls_silent_is_left_within_thirty_seconds() {
    let clock = Clock::emulated(SPEED);
    let (silence, silent) = watch::channel(false);
    let mut stage = Stage::behind(clock, Some(silent)).await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.heard(|said| matches!(said, Said::Heartbeat(_))).await;
    silence.send_replace(true);
    let began = Instant::now();
    stage.session().await;
    let took = clock.since(began);
    assert!((15..90).contains(&took.as_secs()), "{took:?}");
}

fn starts(batch: &ResultBatch) -> Vec<i64> {
    batch.results.iter().filter_map(|result| faultline_proto::convert::micros(result.started_at.as_ref())).collect()
}
