//! The whole way, from a change that is durable to a receiver on loopback: order, at least once, giving up, heartbeats.

mod stage;

use std::{sync::PoisonError, time::Duration};

use faultline_attribution::{Change, State, Timestamp};
use tokio::time;

use self::stage::{HANG, NEVER, Receiver, SPEED, Stage, feed};
use super::{
    config::{Filter, Format, Revisions},
    folder::Folder,
};
use crate::{feed::examples::front_door, log::ChangeLog as _};

fn revisions(range: std::ops::RangeInclusive<u64>) -> Vec<Change> {
    range.map(|revision| Change { revision, ..front_door() }).collect()
}

fn id(revision: u64) -> String {
    format!("inc-20251029T154113Z-1-r{revision}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_come_in_order_until_each_is_taken() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[200, 500, 302, 429, 200]).await;
    stage.add("ops", &receiver.url, |_| {});
    stage.publish(revisions(1..=3)).await;
    stage.deliver();
    assert_eq!(receiver.ids_through(&id(3)).await, [id(1), id(2), id(2), id(2), id(2), id(3)]);
    stage.publish(revisions(4..=5)).await;
    assert_eq!(receiver.ids_through(&id(5)).await, [id(4), id(5)]);
    let store = stage.store();
    stage.until("the log has all", || store.attempts("ops", 100).expect("log").len() == 8).await;
    let log = store.attempts("ops", 100).expect("log");
    let told: Vec<(u32, Option<u16>)> = log.iter().rev().map(|attempt| (attempt.attempt, attempt.status)).collect();
    let ok = |n| (n, Some(200));
    assert_eq!(told, [ok(1), (1, Some(500)), (2, Some(302)), (3, Some(429)), ok(4), ok(1), ok(1), ok(1)]);
    assert_eq!(store.stands().expect("stands")["ops"].delivered, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_can_be_checked_by_whoever_has_the_secret() {
    let mut stage = Stage::open(1.0);
    let mut receiver = Receiver::open(&[]).await;
    let secret = stage.add("ops", &receiver.url, |_| {});
    stage.publish(revisions(1..=1)).await;
    stage.deliver();
    let got = receiver.next().await;
    assert_eq!(got.header("content-type"), "application/cloudevents+json");
    let unix_s: i64 = got.header("webhook-timestamp").parse().expect("seconds");
    assert!((stage.clock.now_micros() / 1_000_000 - unix_s).abs() < 60);
    let key = secret.reveal();
    let key = data_encoding::BASE64.decode(key.strip_prefix("whsec_").expect("prefix").as_bytes()).expect("base64");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let signature = got.header("webhook-signature").strip_prefix("v1,").expect("version 1");
    let signature = data_encoding::BASE64.decode(signature.as_bytes()).expect("base64");
    let signed = [got.id().as_bytes(), b".", unix_s.to_string().as_bytes(), b".", got.body.as_ref()].concat();
    ring::hmac::verify(&key, &signed, &signature).expect("our signature");
    let forged = [signed.as_slice(), b" "].concat();
    assert!(ring::hmac::verify(&key, &forged, &signature).is_err());
    assert_eq!(got.json()["source"], format!("urn:faultline:feed:{}", stage.log.feed_id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_coordinator_goes_on_where_it_was() {
    let mut stage = Stage::open(SPEED);
    // The third is never answered: the kill comes while it is under way.
    let mut receiver = Receiver::open(&[200, 200, NEVER]).await;
    stage.add("ops", &receiver.url, |_| {});
    stage.publish(revisions(1..=4)).await;
    stage.deliver();
    assert_eq!(receiver.ids_through(&id(3)).await, [id(1), id(2), id(3)]);
    let store = stage.store();
    stage.until("the second is stored", || store.stands().expect("stands")["ops"].delivered == 2).await;
    stage.kill_and_restart().await;
    stage.publish(revisions(5..=6)).await;
    assert_eq!(
        receiver.ids_through(&id(6)).await,
        [id(3), id(4), id(5), id(6)],
        "the third again, and none is missing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_never_answers_holds_up_no_other() {
    let mut stage = Stage::open(SPEED);
    let mut silent = Receiver::open(&[NEVER; 1000]).await;
    let mut other = Receiver::open(&[]).await;
    stage.add("a-silent", &silent.url, |_| {});
    stage.add("b-other", &other.url, |_| {});
    stage.deliver();
    let began = time::Instant::now();
    stage.publish(revisions(1..=200)).await;
    assert_eq!(other.ids_through(&id(200)).await.len(), 200);
    assert_eq!(silent.next().await.id(), id(1));
    assert!(began.elapsed() < HANG);
    let stand = stage.store().stands().expect("stands")["a-silent"].clone();
    assert_eq!(stand.delivered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_day_of_failures_it_is_disabled_says_so_and_can_be_enabled() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[503; 1000]).await;
    stage.add("ops", &receiver.url, |_| {});
    stage.publish(revisions(1..=2)).await;
    stage.deliver();
    let store = stage.store();
    stage.until("a failure is stored", || store.stands().expect("stands")["ops"].failing.is_some()).await;
    stage.driver.shutdown().await;
    // A day goes by, in which nothing gets through.
    let mut stand = store.stands().expect("stands")["ops"].clone();
    let failing = stand.failing.as_mut().expect("failing");
    (failing.since, failing.attempts) = (failing.since.before(Duration::from_hours(24)), 30);
    let last = store.attempts("ops", 1).expect("log").remove(0);
    store.record("ops", &last, Some(&stand), None).expect("record");
    stage.kill_and_restart().await;
    let notice = || {
        stage
            .hub
            .board()
            .all_notices()
            .iter()
            .any(|notice| notice.contains("webhook ops: disabled: not delivered for 24 h"))
    };
    stage.until("it is given up", notice).await;
    let why = store.stands().expect("stands")["ops"].disabled.clone();
    assert!(why.is_some_and(|why| why.starts_with("not delivered for 24 h")));
    assert_eq!(store.attempts("ops", 1).expect("log")[0].attempt, 31);
    while receiver.got.try_recv().is_ok() {}
    receiver.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    store.enable("ops", None).expect("enable");
    assert_eq!(receiver.ids_through(&id(2)).await, [id(1), id(2)], "nothing was dropped");
    stage.until("the notice goes", || stage.hub.board().webhooks.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_heart_beats_while_nothing_is_seen() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[]).await;
    stage.add("ops", &receiver.url, |webhook| webhook.heartbeat = Some("10s".parse().expect("heartbeat")));
    stage.sees(true);
    stage.deliver();
    let store = stage.store();
    let said = |what: &str| store.attempts("ops", 100).expect("log").iter().any(|attempt| attempt.error.contains(what));
    stage.until("it says what holds it back", || said("not sent: two groups are live")).await;
    assert!(receiver.got.try_recv().is_err(), "no heart beats");
    stage.sees(false);
    let beat = receiver.next().await.json();
    assert_eq!((&beat["type"], &beat["data"]["below_quorum"]), (&"net.faultline.heartbeat.v1".into(), &false.into()));
    assert!(beat["data"]["evaluated_through"].is_string());
    stage.hub.board().full_since = Some(Timestamp::default());
    stage.until("a full log is named", || said("log cannot be written")).await;
    stage.hub.board().full_since = None;
    stage.until("an old picture is named", || said("s old")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sight_is_told_once_it_lasts_and_so_is_its_return() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[]).await;
    stage.add("ops", &receiver.url, |webhook| webhook.filter = Filter::default());
    stage.sees(true);
    stage.deliver();
    assert_eq!(receiver.next().await.json()["type"], "net.faultline.visibility.v1.lost");
    stage.kill_and_restart().await;
    stage.sees(false);
    let mut what = receiver.next().await.json()["type"].clone();
    while what == "net.faultline.visibility.v1.lost" {
        what = receiver.next().await.json()["type"].clone();
    }
    assert_eq!(what, "net.faultline.visibility.v1.regained");
    let store = stage.store();
    stage.until("nothing is waited for", || store.told("ops").expect("told").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_sight_that_was_perhaps_told_is_told_again_or_taken_back() {
    for (is_blind, expected) in [(true, "lost"), (false, "regained")] {
        let mut stage = Stage::open(SPEED);
        let mut receiver = Receiver::open(&[NEVER]).await;
        stage.add("ops", &receiver.url, |webhook| webhook.filter = Filter::default());
        stage.sees(true);
        stage.deliver();
        assert_eq!(receiver.next().await.json()["type"], "net.faultline.visibility.v1.lost");
        stage.driver.shutdown().await;
        (stage.log, stage.hub) = feed(stage.data.path(), stage.clock);
        stage.sees(is_blind);
        stage.deliver();
        let what = receiver.next().await.json()["type"].clone();
        assert_eq!(what, format!("net.faultline.visibility.v1.{expected}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_that_fire_are_sent_again_until_they_end() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[]).await;
    stage.add("alerts", &receiver.url, |webhook| webhook.format = Format::Alertmanager);
    stage.publish(revisions(1..=1)).await;
    stage.deliver();
    let mut ends = Vec::new();
    while ends.len() < 3 {
        let alerts = receiver.next().await.json();
        assert_eq!(alerts[0]["labels"]["incident"], "inc-20251029T154113Z-1");
        ends.push(alerts[0]["endsAt"].as_str().expect("end").to_owned());
    }
    assert!(ends[0] < ends[1] && ends[1] < ends[2], "{ends:?}");
    let resolved_at = Some(Timestamp::from_micros(stage.clock.now_micros()));
    stage.publish([Change { revision: 2, state: State::Resolved, resolved_at, ..front_door() }]).await;
    let store = stage.store();
    stage.until("nothing fires", || store.told("alerts").expect("told").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_asked_the_newest_revision_stands_for_those_that_wait() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[]).await;
    stage.add("ops", &receiver.url, |webhook| webhook.revisions = Revisions::Newest);
    let other = Change { incident: "inc-20251029T160000Z-1".to_owned().into(), revision: 1, ..front_door() };
    stage.publish(revisions(1..=2).into_iter().chain([other]).chain(revisions(3..=3))).await;
    stage.deliver();
    assert_eq!(receiver.ids_through(&id(3)).await, ["inc-20251029T160000Z-1-r1".to_owned(), id(3)]);
    let log = stage.store().attempts("ops", 10).expect("log");
    let left_out = log.iter().filter(|attempt| attempt.error == "left out for revision 3").count();
    assert_eq!(left_out, 2, "the log says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_comes_changes_or_is_wrong_is_noticed() {
    let mut stage = Stage::open(SPEED);
    let mut receiver = Receiver::open(&[]).await;
    stage.deliver();
    let folder = stage.data.path().join("webhooks");
    std::fs::create_dir(&folder).expect("folder");
    std::fs::write(folder.join("ops.toml"), "url = \"https://a.example/\"\nfrmat = \"slack\"\n").expect("write");
    let notice =
        || stage.hub.board().all_notices().iter().any(|notice| notice.contains("ops.toml:2: unknown field `frmat`"));
    stage.until("it is named", notice).await;
    stage.add("ops", &receiver.url, |_| {});
    stage.publish(revisions(1..=1)).await;
    assert_eq!(receiver.next().await.id(), id(1));
    assert!(stage.hub.board().webhooks.is_empty());
    Folder::of(stage.data.path()).remove("ops").expect("removed");
    std::fs::write(folder.join("NOT A NAME.toml"), "").expect("write");
    stage
        .until("a bad name is named", || {
            stage.hub.board().all_notices().iter().any(|notice| notice.contains("NOT A NAME"))
        })
        .await;
    stage.publish(revisions(2..=2)).await;
    stage.add("next", &receiver.url, |webhook| webhook.filter.states = vec![State::Retracted]);
    stage.publish([Change { revision: 3, state: State::Retracted, ..front_door() }]).await;
    assert_eq!(receiver.next().await.id(), id(3), "what was removed is told of nothing");
}
