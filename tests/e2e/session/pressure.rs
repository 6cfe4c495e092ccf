//! The agent port under pressure: a log that is full, a link that is dead, a fleet that is large.

use std::time::Duration;

use faultline_attribution::SessionState;
use faultline_coordinator::{
    log::{Cursor, RecordLog as _},
    record::RecordKind,
};
use faultline_lab::{
    scripted::{ScriptedAgent, passed},
    stage,
};
use faultline_proto::{
    agent::v1::{
        BatchAck, Heartbeat, Lane, ResultBatch, session_request::Message as Say, session_response::Message as Heard,
    },
    clock::Clock,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{Stage, still_works};

/// A hang guard: nothing here waits for it.
const GUARD: Duration = Duration::from_secs(100);

/// The next acknowledgement of any kind.
async fn ack(agent: &mut ScriptedAgent) -> BatchAck {
    let heard = async {
        loop {
            if let Heard::BatchAck(ack) = agent.hear().await.expect("lives").expect("goes on") {
                return ack;
            }
        }
    };
    timeout(GUARD, heard).await.expect("an acknowledgement")
}

#[tokio::test]
async fn a_full_log_holds_its_agents_and_goes_on_within_seconds_after_there_is_room() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let mut other = stage.issue("fra-2").open([2; 16]).await.expect("open");
    still_works(&mut agent).await;
    stage.coordinator.log.limit(0).await.expect("limited");
    // Fill what is left of the file.
    let (slot, now) = (agent.slot("control/one"), Clock::system().now_micros());
    let batch = |number| ResultBatch {
        lane: Lane::Live as i32,
        number,
        results: vec![passed(slot, now); 1000],
        ..ResultBatch::default()
    };
    let mut acked = 1;
    let credit = loop {
        agent.say(Say::ResultBatch(batch(acked + 1))).await.expect("said");
        let ack = ack(&mut agent).await;
        match ack.durable.first() {
            Some(durable) => acked = durable.number,
            None => break ack.max_inflight_batches,
        }
    };
    assert_eq!(credit, Some(0), "hold");
    assert_eq!(ack(&mut other).await.max_inflight_batches, Some(0), "everybody");
    // The session lives on.
    other.say(Say::Heartbeat(Heartbeat::default())).await.expect("said");
    assert!(matches!(other.hear().await, Ok(Some(Heard::HeartbeatAck(_)))));
    agent.say(Say::Heartbeat(Heartbeat::default())).await.expect("said");
    assert!(matches!(agent.hear().await, Ok(Some(Heard::HeartbeatAck(_)))), "though its batch waits");
    let page = page(&stage).await;
    assert!(page.contains("log cannot be written since"), "{page}");

    stage.coordinator.log.limit(u64::MAX).await.expect("room");
    let room = Instant::now();
    let (mut durable, mut credit) = (acked, 0);
    while durable == acked || credit == 0 {
        let ack = ack(&mut agent).await;
        durable = ack.durable.first().map_or(durable, |cursor| cursor.number);
        credit = ack.max_inflight_batches.expect("told");
    }
    assert_eq!(durable, acked + 1);
    assert!(ack(&mut other).await.max_inflight_batches > Some(0));
    assert!(room.elapsed() < Duration::from_secs(5), "{:?}", room.elapsed());
    let records = stage.coordinator.log.next(Cursor::START, usize::MAX).await.expect("reads");
    let live = records.iter().filter(|(_, record)| record.kind == RecordKind::Batch && record.agent == "fra-1");
    assert!(live.map(|(_, record)| record.number).eq(1..=durable), "what was acknowledged is there, once");
    still_works(&mut other).await;
    let shown = async { while self::page(&stage).await.contains("log cannot be written") {} };
    timeout(GUARD, shown).await.expect("it is taken back");
    stage.coordinator.stop().await;
}

async fn page(stage: &Stage) -> String {
    let feed = stage.coordinator.feed_address.to_string();
    tokio::task::spawn_blocking(move || stage::page(&feed)).await.expect("no panic").expect("the page")
}

#[tokio::test]
async fn a_session_whose_link_is_dead_ends_within_half_a_minute() {
    let stage = Stage::new().await;
    // A link that stops to carry anything, and is never closed.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let (relay, target) = (listener.local_addr().expect("bound"), stage.coordinator.agents_address);
    let (cut, dead) = tokio::sync::watch::channel(false);
    let carrying = tokio::task::JoinSet::from_iter([async move {
        let (client, _) = listener.accept().await.expect("accept");
        let server = TcpStream::connect(target).await.expect("connect");
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let mut waits = dead.clone();
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            _ = waits.wait_for(|dead| *dead) => {}
        }
        // Held until the coordinator hangs up: what it still sends is read by its kernel's peer and answered by nobody.
        let cut_at = Instant::now();
        let mut rest = Vec::new();
        drop(from_server.read_to_end(&mut rest).await);
        drop(to_server);
        cut_at.elapsed()
    }]);
    let mut agent = stage.issue("fra-1").through(relay).open([1; 16]).await.expect("open");
    still_works(&mut agent).await;
    cut.send_replace(true);
    let lasted = timeout(GUARD, carrying.join_all()).await.expect("the coordinator hung up")[0];
    assert!(lasted < Duration::from_secs(35), "{lasted:?}");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn the_more_sessions_there_are_the_less_each_may_have_in_flight() {
    let stage = Stage::new().await;
    let mut first = stage.issue("fra-0").open([1; 16]).await.expect("open");
    let credit = |agent: &ScriptedAgent| agent.welcome.limits.expect("limits").max_inflight_batches;
    assert_eq!(credit(&first), 8);
    let mut others = Vec::new();
    for n in 1..64 {
        others.push(stage.issue(&format!("fra-{n}")).open([1; 16]).await.expect("open"));
    }
    assert_eq!(others.last().map(credit), Some(4));
    let result = passed(first.slot("control/one"), Clock::system().now_micros());
    let ack = first.report(vec![result]).await.expect("acknowledged");
    assert_eq!(ack.max_inflight_batches, Some(4), "the older ones learn of it");
    assert!(stage.coordinator.ingest.agents().iter().all(|agent| agent.state == SessionState::Up));
    stage.coordinator.stop().await;
}
