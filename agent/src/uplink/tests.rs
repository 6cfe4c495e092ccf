//! Whole agents against a coordinator that the test plays itself, over mutual TLS on loopback.

mod health;
mod lanes;
mod stage;

use std::{net::SocketAddr, time::Duration};

use faultline_proto::{
    PROTOCOL,
    agent::v1::{
        BatchAck, Drain, Lane, Limits, LookRefusal, RefusedLooks, ResultBatch, RunNow, Welcome,
        session_request::Message as Said, session_response::Message as Told,
    },
    clock::Clock,
    convert::{duration, timestamp},
    types::v1::{Assignment, Outcome, assignment::Spec},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::stage::{DAY, Stage, assignment, limits, within};
use crate::{
    Config,
    probe::testing::{Authority, HOST, tcp_server},
};

#[tokio::test]
async fn an_agent_joins_refuses_what_its_policy_forbids_and_reports_the_rest() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let hello = talk.welcome(0).await;
    assert_eq!((hello.incarnation.len(), hello.assignment_version), (16, 0));
    assert_eq!(hello.vantage.expect("a vantage").region, "eu-central-1");

    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
    talk.push(7, [assignment(1, target.address), assignment(2, metadata)]).await;
    let Said::AssignmentAck(ack) = talk.heard(|said| matches!(said, Said::AssignmentAck(_))).await else {
        unreachable!()
    };
    assert_eq!((ack.version, ack.nonce.as_str()), (7, "nonce-7"));
    assert_eq!(ack.refused.iter().map(|refusal| refusal.slot).collect::<Vec<_>>(), [2]);
    assert!(ack.refused[0].reason.contains("metadata"), "{}", ack.refused[0].reason);

    let batch = talk.batch().await;
    assert_eq!((batch.lane(), batch.number, batch.first_number), (Lane::Live, 1, 1));
    assert!(batch.results.iter().all(|result| result.slot == 1 && result.outcome() == Outcome::Passed), "{batch:?}");
    talk.ack(1).await;
    let Said::Heartbeat(beat) =
        talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.spool[0].first_number > 1)).await
    else {
        unreachable!()
    };
    assert_eq!(beat.spool[0].dropped_results, 0);
}

#[tokio::test]
async fn a_cut_session_loses_no_batch() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let first = talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    assert_eq!(talk.batch().await.number, 1);
    assert_eq!(talk.batch().await.number, 2);
    drop(talk);

    let mut talk = stage.session().await;
    let second = talk.welcome(1).await;
    assert_eq!((second.assignment_version, &second.incarnation), (1, &first.incarnation));
    assert_eq!(second.spool[0].first_number, 1);
    // Two is sent again, and probing went on without a push.
    for number in 2..=4 {
        let batch = talk.batch().await;
        assert_eq!(batch.number, number);
        assert!(!batch.results.is_empty());
    }
}

#[tokio::test]
async fn no_more_batches_are_in_flight_than_welcome_allows() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.hello().await;
    talk.tell(Told::Welcome(Welcome {
        limits: Some(Limits { max_inflight_batches: 1, ..limits() }),
        protocol: PROTOCOL,
        ..Welcome::default()
    }))
    .await;
    talk.push(1, [assignment(1, target.address)]).await;
    assert_eq!(talk.batch().await.number, 1);
    // Wait until the spool is known to hold a second one.
    let next = |said: &Said| {
        matches!(said, Said::ResultBatch(_)) || matches!(said, Said::Heartbeat(beat) if beat.spool[0].next_number > 2)
    };
    assert!(matches!(talk.heard(next).await, Said::Heartbeat(_)), "a second batch in flight");
    talk.ack(1).await;
    assert_eq!(talk.batch().await.number, 2);
}

#[tokio::test]
async fn a_shutdown_sends_what_is_there_and_says_goodbye() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.push(1, [assignment(1, target.address)]).await;
    let batch = talk.batch().await;
    let began = Instant::now();
    stage.stop();
    talk.ack(batch.number).await;
    let Said::Goodbye(goodbye) = talk.heard_acking(|said| matches!(said, Said::Goodbye(_))).await else {
        unreachable!()
    };
    assert_eq!(goodbye.reason, "shutdown");
    drop(talk);
    assert!(stage.ended().await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_shutdown_without_a_coordinator_does_not_wait() {
    let mut stage = Stage::new().await;
    let began = Instant::now();
    stage.stop();
    assert!(stage.ended().await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_drained_agent_leaves_and_comes_back() {
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    talk.tell(Told::Drain(Drain { reconnect_jitter: Some(duration(Duration::from_millis(10))) })).await;
    let Said::Goodbye(goodbye) = talk.heard(|said| matches!(said, Said::Goodbye(_))).await else { unreachable!() };
    assert_eq!(goodbye.reason, "drain");
    drop(talk);
    stage.session().await.welcome(0).await;
}

#[tokio::test]
async fn an_identity_that_cannot_be_used_is_named_at_once() {
    let stage = Stage::new().await;
    let mut config = stage.config.clone();
    config.coordinator.key = config.coordinator.ca.clone();
    let error = crate::run(config, Clock::system(), std::future::pending()).await.expect_err("no key").to_string();
    assert!(error.contains("ca.pem"), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_asked_looks_again_at_once() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    let now = Clock::system().now_micros();
    // The coordinator's clock is a day ahead, and it seals batches late: neither matters.
    let theirs = |after| Some(timestamp(now + DAY + after));
    talk.hello().await;
    let limits = Limits { max_batch_age: Some(duration(Duration::from_hours(1))), ..limits() };
    let welcome = Welcome { protocol: PROTOCOL, limits: Some(limits), server_time: theirs(0), ..Welcome::default() };
    talk.tell(Told::Welcome(welcome)).await;
    // Due once a day, twelve hours from here.
    let due = Duration::from_micros((now + DAY / 2).rem_euclid(DAY).unsigned_abs());
    let daily = Assignment {
        interval: Some(duration(Duration::from_hours(24))),
        phase: Some(duration(due)),
        ..assignment(1, target.address)
    };
    talk.push(1, [daily]).await;
    talk.heard(|said| matches!(said, Said::AssignmentAck(_))).await;
    let asked = Instant::now();
    talk.tell(Told::RunNow(RunNow { slots: vec![1, 9], deadline: theirs(60_000_000) })).await;
    let batch = talk.batch().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let [result] = batch.results.as_slice() else { panic!("{batch:?}") };
    assert_eq!((result.slot, result.outcome(), result.on_demand), (1, Outcome::Passed, true));

    talk.tell(Told::RunNow(RunNow { slots: vec![1], deadline: theirs(-1) })).await;
    talk.tell(Told::RunNow(RunNow { slots: vec![1; 10_000], deadline: None })).await;
    let refused = |reason: LookRefusal, runs| RefusedLooks { reason: reason.into(), runs };
    let expected = [refused(LookRefusal::NotInForce, 1), refused(LookRefusal::Expired, 10_001)];
    talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.refused_looks == expected)).await;
}
