//! Single results as a researcher reads them: only with the role, filtered, batched, without a name or address of anybody; and a
//! reader that stalls costs ingest nothing, and hears what it missed.

#[path = "measure/command.rs"]
mod command;

use std::{net::SocketAddr, path::Path, time::Duration};

use faultline_coordinator::{
    access::tokens::{Role, Tokens},
    registry::Place,
    serve::Coordinator,
};
use faultline_lab::{
    scripted::{Credentials, ScriptedAgent, failed, passed},
    stage,
};
use faultline_proto::{
    clock::Clock,
    convert,
    measure::v1alpha1::{
        Bookmark, MeasureFilter, Measurement, SlowPolicy, SubscribeRequest, SubscribeResponse,
        measure_service_client::MeasureServiceClient, subscribe_response::Message,
    },
    types::v1::{Cause, Layer, Outcome},
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::time;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};
use tonic_types::StatusExt as _;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(1);

/// Results of a batch, and batches, of a flood: some 6 MB on the wire, beyond every buffer between here and there.
const FLOOD: (usize, u64) = (1000, 60);

async fn stage() -> (TempDir, Coordinator, ScriptedAgent) {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let coordinator = stage::start(data.path(), Clock::system()).await.expect("start");
    let place = Place { group: Some("network-7".into()), asn: Some(64_507), ..Place::default() };
    let now = Clock::system().now_micros();
    let agent = Credentials::issue(data.path(), "secret-host", &place, coordinator.agents_address, now);
    let agent = agent.expect("issued").open([7; 16]).await.expect("a session");
    (data, coordinator, agent)
}

fn token(data: &Path, roles: Vec<Role>) -> String {
    let id = format!("reader-{}", roles.len());
    let expires_at = faultline_attribution::Timestamp::from_micros(Clock::system().now_micros() + 600_000_000);
    Tokens::of(data).create(&id, roles, None, expires_at).expect("made")
}

/// Subscribes with a window so small that the coordinator soon notices who does not read.
async fn subscribe(
    feed: SocketAddr,
    token: Option<&str>,
    request: SubscribeRequest,
) -> Result<Streaming<SubscribeResponse>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{feed}")).expect("url").initial_stream_window_size(65_535);
    let mut client = MeasureServiceClient::new(endpoint.connect().await.expect("connect"));
    let mut request = Request::new(request);
    if let Some(token) = token {
        let bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse().expect("ascii");
        request.metadata_mut().insert("authorization", bearer);
    }
    Ok(time::timeout(HANG, client.subscribe(request)).await.expect("in time")?.into_inner())
}

async fn next(stream: &mut Streaming<SubscribeResponse>) -> Result<Message, Status> {
    let answer = time::timeout(HANG, stream.message()).await.expect("in time")?;
    Ok(answer.expect("not the end").message.expect("content"))
}

async fn mark(stream: &mut Streaming<SubscribeResponse>) -> Bookmark {
    match next(stream).await.expect("a message") {
        Message::Bookmark(mark) => mark,
        other => panic!("{other:?}"),
    }
}

/// The next results, at least so many.
async fn results(stream: &mut Streaming<SubscribeResponse>, least: usize) -> Vec<Measurement> {
    let mut results = Vec::new();
    while results.len() < least {
        match next(stream).await.expect("a message") {
            Message::Measurements(several) => results.extend(several.measurements),
            Message::Bookmark(_) => {}
            other => panic!("{other:?}"),
        }
    }
    results
}

fn everything() -> SubscribeRequest {
    SubscribeRequest {
        bookmark_interval: Some(convert::duration(Duration::from_mins(1))),
        ..SubscribeRequest::default()
    }
}

#[tokio::test]
async fn results_are_for_those_who_have_the_role_on_this_machine_too() {
    let (data, coordinator, _agent) = stage().await;
    let feed = coordinator.feed_address;
    let reason = async |token: Option<&str>, request| {
        let refused = subscribe(feed, token, request).await.expect_err("refused");
        (refused.code(), refused.get_details_error_info().expect("one ErrorInfo").reason)
    };
    let denied = (Code::PermissionDenied, "ROLE_REQUIRED".to_owned());
    assert_eq!(reason(None, everything()).await, denied, "who reads the feed without a token has no role");
    assert_eq!(reason(Some(&token(data.path(), Vec::new())), everything()).await, denied);
    let good = token(data.path(), vec![Role::MeasureRead]);
    let filter = MeasureFilter { elements: vec!["aws//x".into()], ..MeasureFilter::default() };
    let wrong = SubscribeRequest { filter: Some(filter), ..everything() };
    assert_eq!(reason(Some(&good), wrong).await, (Code::InvalidArgument, "FILTER_INVALID".to_owned()));
    let wrong = SubscribeRequest { slow_policy: 9, ..everything() };
    assert_eq!(reason(Some(&good), wrong).await, (Code::InvalidArgument, "SLOW_POLICY_INVALID".to_owned()));
    assert!(subscribe(feed, Some(&good), everything()).await.is_ok());
    coordinator.stop().await;
}

#[tokio::test]
async fn a_researcher_reads_what_it_asked_for_by_vantage_group_and_no_more() {
    let (data, coordinator, mut agent) = stage().await;
    let good = token(data.path(), vec![Role::MeasureRead]);
    let filter = MeasureFilter {
        elements: vec!["azure/front-door".into()],
        outcomes: vec![Outcome::Failed as i32],
        vantage_groups: vec!["network-7".into()],
        ..MeasureFilter::default()
    };
    let narrow = SubscribeRequest { filter: Some(filter), ..everything() };
    let mut narrow = subscribe(coordinator.feed_address, Some(&good), narrow).await.expect("subscribed");
    let mut wide = subscribe(coordinator.feed_address, Some(&good), everything()).await.expect("subscribed");
    assert_eq!((mark(&mut narrow).await.stored, mark(&mut wide).await.stored), (0, 0));
    let now = Clock::system().now_micros();
    let fails = |target: &str| failed(agent.slot(target), now, Layer::Connect, Cause::ConnectTimeout);
    let results_of = vec![passed(agent.slot("air"), now), fails("bank"), fails("aws/us-east-1/s3")];
    agent.report(results_of).await.expect("acknowledged");
    let all = results(&mut wide, 3).await;
    assert_eq!(all.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(), ["air", "bank", "aws/us-east-1/s3"]);
    let some = results(&mut narrow, 1).await;
    assert_eq!(some, all[1..2], "both see the same");
    let bank = &some[0];
    assert_eq!((bank.vantage_group.as_str(), bank.vantage_network.as_str()), ("network-7", "as64507"));
    assert_eq!((bank.layer(), bank.cause(), bank.probe.as_str()), (Layer::Connect, Cause::ConnectTimeout, "https"));
    assert!(!all.iter().any(|one| String::from_utf8_lossy(&one.encode_to_vec()).contains("secret-host")), "{all:?}");
    assert!(Tokens::of(data.path()).revoke("reader-1").expect("revoked"));
    coordinator.stop().await;
    let last = next(&mut narrow).await;
    assert!(matches!(last, Ok(Message::Bookmark(Bookmark { stored: 3, sent: 1, left_out: 0, .. }))), "{last:?}");
    let last = next(&mut narrow).await;
    assert!(matches!(&last, Ok(Message::Closing(closing)) if closing.reason == "DRAIN"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_cost_ingest_nothing_and_hear_what_they_missed() {
    let (data, coordinator, mut agent) = stage().await;
    let (feed, good) = (coordinator.feed_address, token(data.path(), vec![Role::MeasureRead]));
    let coalesce = SubscribeRequest { slow_policy: SlowPolicy::Coalesce as i32, ..everything() };
    let mut told = subscribe(feed, Some(&good), coalesce).await.expect("subscribed");
    let mut cut_off = subscribe(feed, Some(&good), everything()).await.expect("subscribed");
    let mut reader = subscribe(feed, Some(&good), everything()).await.expect("subscribed");
    for stream in [&mut told, &mut cut_off, &mut reader] {
        assert_eq!(mark(stream).await.stored, 0);
    }
    let now = Clock::system().now_micros();
    let batch = vec![passed(agent.slot("air"), now); FLOOD.0];
    let all = u64::try_from(FLOOD.0).expect("a number") * FLOOD.1;
    for _ in 0..FLOOD.1 {
        // Acknowledged while two readers do not read, and read by the third.
        time::timeout(HANG, agent.report(batch.clone())).await.expect("not held up").expect("acknowledged");
        assert_eq!(results(&mut reader, FLOOD.0).await.len(), FLOOD.0);
    }
    let (mut sent, mut gaps) = (0, 0);
    while sent + gaps < all {
        match next(&mut told).await.expect("a message") {
            Message::Measurements(several) => sent += u64::try_from(several.measurements.len()).expect("a number"),
            Message::Gap(gap) => {
                assert!(gap.results > 0 && gap.from.is_some() && gap.to.is_some());
                gaps += gap.results;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(sent > 0 && gaps > 0 && sent + gaps == all, "{sent} sent, {gaps} told as missing, of {all}");
    let refused = loop {
        match next(&mut cut_off).await {
            Ok(Message::Measurements(_)) => {}
            Ok(Message::Closing(closing)) => assert_eq!(closing.reason, "SLOW_CONSUMER"),
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_details_error_info().expect("info").reason, "SLOW_CONSUMER");
    coordinator.stop().await;
}
