//! What a coordinator keeps, and what it comes back with: backup under load, restore elsewhere, damage that stops nothing.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use faultline_attribution::Timestamp;
use faultline_coordinator::{
    backup::{self, Feed},
    registry::Place,
    serve::Coordinator,
};
use faultline_lab::{
    scripted::{Credentials, passed},
    stage,
};
use faultline_proto::{
    agent::v1::Lane,
    clock::Clock,
    feed::v1::{
        GetSnapshotRequest, ResumeAfter, SubscribeRequest, feed_service_client::FeedServiceClient,
        subscribe_request::Start,
    },
};
use tokio::time;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(2);

const SPOOL: [u8; 16] = [1; 16];

async fn start(data: &Path) -> Coordinator {
    stage::start(data, Clock::system()).await.expect("the coordinator starts")
}

fn issue(data: &Path, address: SocketAddr) -> Credentials {
    Credentials::issue(data, "fra-1", &Place::default(), address, Clock::system().now_micros()).expect("issue")
}

async fn feed(coordinator: &Coordinator) -> FeedServiceClient<Channel> {
    let url = format!("http://{}", coordinator.feed_address);
    FeedServiceClient::new(Endpoint::from_shared(url).expect("url").connect().await.expect("connect"))
}

fn resume(feed_id: &str, sequence: u64) -> SubscribeRequest {
    let start = Start::ResumeAfter(ResumeAfter { feed_id: feed_id.to_owned(), sequence });
    SubscribeRequest { start: Some(start), ..SubscribeRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_to_a_coordinator_that_agents_and_subscribers_know() {
    let folder = tempfile::tempdir().expect("dir");
    let (data, copy) = (folder.path().join("data"), folder.path().join("backup"));
    std::fs::create_dir(&data).expect("dir");
    stage::prepare(&data).expect("prepare");
    let coordinator = start(&data).await;
    let credentials = issue(&data, coordinator.agents_address);
    let mut agent = credentials.open(SPOOL).await.expect("open");
    let slot = agent.slot("control/one");
    let report = || vec![passed(slot, Clock::system().now_micros()); 100];
    // Until something is published, so that there is a feed to go on with.
    let mut sent = 0_u64;
    let some_changes = async {
        while coordinator.hub.board().sequence == 0 {
            agent.report(report()).await.expect("acknowledged");
            sent += 1;
        }
    };
    time::timeout(HANG, some_changes).await.expect("something is published");
    let at_least = sent;
    let (from, to) = (data.clone(), copy.clone());
    let mut copying = tokio::task::spawn_blocking(move || {
        backup::backup(&from, &to, Timestamp::from_micros(Clock::system().now_micros()), |_, _| {})
    });
    let manifest = loop {
        tokio::select! {
            copied = &mut copying => break copied.expect("ends").expect("backs up"),
            acknowledged = agent.report(report()) => {
                acknowledged.expect("acknowledged");
                sent += 1;
            }
        }
    };
    let feed_id = coordinator.hub.board().feed_id.clone();
    drop(agent);
    coordinator.stop().await;

    for (name, kind) in [("same", Feed::Same), ("new", Feed::New)] {
        let restored = folder.path().join(name);
        backup::restore(&copy, &restored, kind).expect("restores");
        std::fs::copy(data.join("catalog.toml"), restored.join("catalog.toml")).expect("catalog");
        let coordinator = start(&restored).await;
        // The same certificate; what it has is less than was acknowledged, and says so.
        let mut agent = credentials
            .clone()
            .between(Ipv4Addr::LOCALHOST.into(), coordinator.agents_address)
            .open(SPOOL)
            .await
            .expect("open");
        let durable = agent.welcome.durable.iter().find(|cursor| cursor.lane() == Lane::Live).expect("a lane").number;
        assert!((at_least..=sent).contains(&durable), "{at_least} <= {durable} <= {sent}");
        for number in durable + 1..=sent + 1 {
            let ack = agent.send_batch(number, report()).await.expect("acknowledged");
            assert!(ack.rejections.is_empty(), "{ack:?}");
        }
        let mut client = feed(&coordinator).await;
        let last = u64::try_from(manifest.last_change).expect("a sequence");
        assert!(last > 0);
        let resumed = client.subscribe(resume(&feed_id, last)).await;
        match kind {
            Feed::Same => {
                resumed.expect("goes on");
            }
            Feed::New => {
                let refused = resumed.expect_err("another feed").get_details_error_info().expect("info");
                assert_eq!(refused.reason, "FEED_REPLACED");
            }
        }
        coordinator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_shown_and_stops_nothing() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let coordinator = start(data.path()).await;
    let mut agent = issue(data.path(), coordinator.agents_address).open(SPOOL).await.expect("open");
    let slot = agent.slot("control/one");
    for _ in 0..3 {
        agent.report(vec![passed(slot, Clock::system().now_micros())]).await.expect("acknowledged");
    }
    drop(agent);
    coordinator.stop().await;
    let log = rusqlite::Connection::open(data.path().join("log.sqlite")).expect("log");
    let damage =
        "UPDATE record SET payload = x'ff' WHERE cursor = (SELECT cursor FROM record WHERE kind = 1 AND number = 2)";
    assert_eq!(log.execute(damage, []).expect("flip"), 1);
    drop(log);
    for _ in 0..2 {
        let coordinator = start(data.path()).await;
        let snapshot = feed(&coordinator).await.get_snapshot(GetSnapshotRequest::default()).await.expect("a snapshot");
        let notices = snapshot.into_inner().snapshot.expect("a snapshot").notices;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("damaged and left out: 1, "), "{}", notices[0]);
        let page = stage::page(&format!("http://{}", coordinator.feed_address)).expect("the page");
        assert!(page.contains("damaged and left out"), "{page}");
        let mut agent = issue(data.path(), coordinator.agents_address).open(SPOOL).await.expect("open");
        agent.report(vec![passed(slot, Clock::system().now_micros())]).await.expect("goes on");
        drop(agent);
        coordinator.stop().await;
    }
}
