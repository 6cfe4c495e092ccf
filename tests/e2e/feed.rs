//! The feed as subscribers know it: health, reflection, a snapshot, and every revision exactly once, whatever happens to
//! the subscriber or the coordinator.

#[path = "feed/access.rs"]
mod access;
#[path = "feed/claims.rs"]
mod claims;
#[path = "feed/measure.rs"]
mod measure;
#[path = "feed/recorded.rs"]
mod recorded;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use faultline_coordinator::serve::Coordinator;
use faultline_lab::stage::{self, Witnesses, front_door_breaks};
use faultline_proto::{
    clock::Clock,
    feed::v1::{
        FromSnapshot, GetIncidentRequest, GetSnapshotRequest, ListIncidentsRequest, ResumeAfter, SubscribeRequest,
        SubscribeResponse, feed_event::Change, feed_service_client::FeedServiceClient, subscribe_request::Start,
        subscribe_response::Message,
    },
    types::v1::{Incident, IncidentState, Verdict},
};
use tempfile::TempDir;
use tokio::time;
use tonic::{
    Code, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(1);

/// Minutes of the emulated clock pass in seconds.
const SPEED: f64 = 20.0;

async fn stage() -> (TempDir, Coordinator, Clock) {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(SPEED);
    let coordinator = stage::start(data.path(), clock).await.expect("start");
    (data, coordinator, clock)
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("url").connect().await.expect("connect")
}

fn subscribe(start: Start) -> SubscribeRequest {
    SubscribeRequest { start: Some(start), ..SubscribeRequest::default() }
}

async fn next(stream: &mut Streaming<SubscribeResponse>) -> SubscribeResponse {
    time::timeout(HANG, stream.message()).await.expect("in time").expect("a message").expect("not the end")
}

/// A subscriber who checks the arithmetic of every message and keeps every revision with how often it came.
#[derive(Default)]
struct Keeper {
    feed_id: String,
    held: u64,
    revisions: BTreeMap<(String, u64), u32>,
}

impl Keeper {
    fn take(&mut self, response: SubscribeResponse) -> Option<Incident> {
        match response.message.expect("content") {
            Message::Snapshot(snapshot) => {
                self.feed_id = snapshot.feed_id;
                self.held = response.sequence;
                None
            }
            Message::Event(event) => {
                assert_eq!(response.prev_sequence, self.held, "nothing was lost");
                assert!(response.sequence > self.held);
                self.held = response.sequence;
                let Some(Change::Incident(incident)) = event.change else { return None };
                *self.revisions.entry((incident.incident.clone(), incident.revision)).or_default() += 1;
                Some(incident)
            }
            Message::Bookmark(_) | Message::Closing(_) | Message::Gap(_) => {
                assert_eq!((response.sequence, response.prev_sequence), (self.held, self.held));
                None
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_killed_and_resumed_sees_every_revision_once() {
    let (data, coordinator, clock) = stage().await;
    let mut witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    let feed = coordinator.feed_address;
    let follow = async {
        // One who stays, and one who is killed after every message.
        let mut stayer = Keeper::default();
        let mut killed = Keeper::default();
        let mut whole = FeedServiceClient::new(channel(feed).await)
            .subscribe(subscribe(Start::FromSnapshot(FromSnapshot {})))
            .await
            .expect("subscribe")
            .into_inner();
        stayer.take(next(&mut whole).await);
        (killed.feed_id, killed.held) = (stayer.feed_id.clone(), stayer.held);
        loop {
            let incident = stayer.take(next(&mut whole).await);
            while killed.held < stayer.held {
                let after = ResumeAfter { feed_id: killed.feed_id.clone(), sequence: killed.held };
                let mut client = FeedServiceClient::new(channel(feed).await);
                let answer = client.subscribe(subscribe(Start::ResumeAfter(after))).await;
                let mut stream = answer.expect("resume").into_inner();
                killed.take(next(&mut stream).await);
            }
            if incident.is_some_and(|incident| incident.state() == IncidentState::Resolved) {
                return (stayer, killed);
            }
        }
    };
    let (stayer, killed) = tokio::select! {
        both = time::timeout(HANG, follow) => both.expect("an incident in time"),
        () = front_door_breaks(&mut witnesses, 20) => unreachable!("it goes on for ever"),
    };
    assert!(stayer.revisions.len() >= 3, "{:?}", stayer.revisions);
    assert!(stayer.revisions.values().all(|times| *times == 1), "{:?}", stayer.revisions);
    assert_eq!(stayer.revisions, killed.revisions);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unary_calls_tell_the_same_and_a_restart_changes_nothing() {
    let (data, coordinator, clock) = stage().await;
    let mut witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let named = async {
        loop {
            let list = client.list_incidents(ListIncidentsRequest::default()).await.expect("list").into_inner();
            if let Some(incident) = list.incidents.first().filter(|incident| incident.verdict() == Verdict::Azure) {
                return incident.clone();
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    let incident = tokio::select! {
        incident = time::timeout(HANG, named) => incident.expect("an incident in time"),
        () = front_door_breaks(&mut witnesses, u32::MAX - 10) => unreachable!("it goes on for ever"),
    };
    assert_eq!(incident.element, "azure/front-door");
    assert!(incident.alibis.iter().any(|alibi| alibi.party == "aws"), "{incident:?}");
    let request = GetIncidentRequest { incident: incident.incident.clone() };
    let answer = client.get_incident(request).await.expect("get").into_inner();
    let newest = answer.incident.expect("newest");
    assert_eq!(answer.history.len() as u64 + 1, newest.revision);
    let unknown = client.get_incident(GetIncidentRequest { incident: "inc-none".into() }).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(unknown.get_details_error_info().expect("info").reason, "INCIDENT_UNKNOWN");

    let before = snapshot(&mut client).await;
    coordinator.stop().await;
    let coordinator = stage::start(data.path(), clock).await.expect("restart");
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let after = snapshot(&mut client).await;
    assert_eq!(before.0, after.0, "the same feed");
    assert_eq!(before.1, after.1, "the same incidents, revision for revision");
    coordinator.stop().await;
}

async fn snapshot(client: &mut FeedServiceClient<Channel>) -> (String, Vec<Incident>) {
    let snapshot = client.get_snapshot(GetSnapshotRequest::default()).await.expect("snapshot").into_inner().snapshot;
    let snapshot = snapshot.expect("snapshot");
    (snapshot.feed_id, snapshot.incidents)
}

#[tokio::test]
async fn health_and_reflection_answer_on_the_feed_port() {
    let (_data, coordinator, _) = stage().await;
    let channel = channel(coordinator.feed_address).await;
    let service = "faultline.feed.v1.FeedService".to_owned();
    let request = HealthCheckRequest { service: service.clone() };
    let health = HealthClient::new(channel.clone()).check(request).await.expect("health").into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let asked = [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(service.clone())];
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter(asked.map(ask)))
        .await
        .expect("reflection")
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.expect("answer").and_then(|answer| answer.message_response)
    else {
        panic!("no list of services")
    };
    assert!(list.service.iter().any(|found| found.name == service), "{list:?}");
    let file = answers.message().await.expect("answer").and_then(|answer| answer.message_response);
    assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_place_that_means_nothing_here_is_refused_with_a_reason() {
    let (_data, coordinator, _) = stage().await;
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let feed_id = snapshot(&mut client).await.0;
    let rows = [
        (ResumeAfter { feed_id: "another".into(), sequence: 0 }, Code::FailedPrecondition, "FEED_REPLACED"),
        (ResumeAfter { feed_id, sequence: u64::MAX }, Code::OutOfRange, "SEQUENCE_UNKNOWN"),
    ];
    for (after, code, reason) in rows {
        let refused = client.subscribe(subscribe(Start::ResumeAfter(after))).await.expect_err("refused");
        assert_eq!(refused.code(), code);
        assert_eq!(refused.get_details_error_info().expect("info").reason, reason);
    }
    let page = ListIncidentsRequest { page_token: "nonsense".into(), ..ListIncidentsRequest::default() };
    let refused = client.list_incidents(page).await.expect_err("refused");
    assert_eq!(refused.get_details_error_info().expect("info").reason, "PAGE_TOKEN_INVALID");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_stops_closes_streams_with_a_place_to_resume_from() {
    let (_data, coordinator, _) = stage().await;
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let mut stream =
        client.subscribe(subscribe(Start::FromSnapshot(FromSnapshot {}))).await.expect("subscribe").into_inner();
    let mut keeper = Keeper::default();
    keeper.take(next(&mut stream).await);
    let began = time::Instant::now();
    let stopping = tokio::task::JoinSet::from_iter([async move { coordinator.stop().await }]);
    let closing = loop {
        let response = next(&mut stream).await;
        let closing = matches!(response.message, Some(Message::Closing(_))).then_some(response.sequence);
        keeper.take(response);
        if let Some(sequence) = closing {
            break sequence;
        }
    };
    assert_eq!(closing, keeper.held);
    assert!(stream.message().await.expect("an orderly end").is_none());
    stopping.join_all().await;
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}
