//! The agent port against agents that do what they should not: typed refusals, and nobody else is harmed.

#[path = "session/clones.rs"]
mod clones;
#[path = "session/delivery.rs"]
mod delivery;
#[path = "session/joining.rs"]
mod joining;
#[path = "session/looks.rs"]
mod looks;
#[path = "session/pressure.rs"]
mod pressure;
#[path = "session/recovery.rs"]
mod recovery;
#[path = "session/rotation.rs"]
mod rotation;
#[path = "session/standing.rs"]
mod standing;

use std::{path::Path, time::Duration};

use faultline_coordinator::{pki::Authority, registry::Place, serve::Coordinator};
use faultline_lab::{
    scripted::{self, Credentials, ScriptedAgent, passed},
    stage,
};
use faultline_proto::{
    ERROR_DOMAIN,
    agent::v1::{
        AssignmentAck, Goodbye, Heartbeat, Hello, Lane, LookRefusal, Refusal, RefusedLooks, ResultBatch,
        session_request::Message as Say, session_response::Message as Heard,
    },
    clock::Clock,
    convert,
    types::v1::{ProbeResult, Reason},
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet, time::Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

struct Stage {
    data: TempDir,
    coordinator: Coordinator,
}

impl Stage {
    async fn new() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        stage::prepare(data.path()).expect("prepare");
        let coordinator = start(data.path()).await;
        Self { data, coordinator }
    }

    fn issue(&self, name: &str) -> Credentials {
        let (data, address) = (self.data.path(), self.coordinator.agents_address);
        Credentials::issue(data, name, &Place::default(), address, Clock::system().now_micros()).expect("issue")
    }
}

async fn start(data: &Path) -> Coordinator {
    stage::start(data, Clock::system()).await.expect("the coordinator starts")
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("one ErrorInfo");
    assert_eq!(info.domain, ERROR_DOMAIN);
    info.reason
}

async fn still_works(agent: &mut ScriptedAgent) {
    let slot = agent.slot("control/one");
    let ack = agent.report(vec![passed(slot, Clock::system().now_micros())]).await.expect("acknowledged");
    assert!(ack.rejections.is_empty(), "{ack:?}");
}

async fn ends_with(agent: &mut ScriptedAgent) -> Status {
    loop {
        match agent.hear().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a status"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn nobody_without_a_certificate_gets_past_the_handshake() {
    let stage = Stage::new().await;
    let anonymous = Credentials::anonymous(stage.data.path(), stage.coordinator.agents_address).expect("credentials");
    // In TLS 1.3 the client learns of the refusal at its first read: the connection, or the call on it, fails.
    assert!(anonymous.open([1; 16]).await.is_err());
    let stranger = tempfile::tempdir().expect("dir");
    Authority::init(stranger.path(), "test.internal", &[], Clock::system().now_micros()).expect("another root");
    let now = Clock::system().now_micros();
    let forged = Credentials::issue(stranger.path(), "fra-1", &Place::default(), stage.coordinator.agents_address, now);
    assert!(forged.expect("credentials").open([1; 16]).await.is_err(), "a certificate of another authority");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_connection_on_which_no_session_begins_is_closed_and_one_with_a_session_is_not() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let mut idle = stage.issue("fra-2").dial().await.expect("a handshake");
    // What the server says first may be its own settings; then it hangs up.
    while let Ok(1..) = tokio::time::timeout(Duration::from_secs(100), idle.read(&mut [0; 1024])).await.expect("closed")
    {
    }
    still_works(&mut agent).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn one_address_holds_no_more_than_its_share_of_connections() {
    let stage = Stage::new().await;
    let address = stage.coordinator.agents_address;
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(TcpStream::connect(address).await.expect("connected"));
    }
    let mut beyond = TcpStream::connect(address).await.expect("connected");
    let read = tokio::time::timeout(Duration::from_secs(4), beyond.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "closed before any handshake would time out: {read:?}");
    drop(held);
    let credentials = stage.issue("fra-1");
    let open = async {
        loop {
            if let Ok(agent) = credentials.open([1; 16]).await {
                return agent;
            }
        }
    };
    let mut agent = tokio::time::timeout(Duration::from_secs(50), open).await.expect("room again");
    still_works(&mut agent).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_result_of_an_unknown_slot_is_refused_and_the_rest_is_stored() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let now = Clock::system().now_micros();
    let ack = agent.report(vec![passed(agent.slot("control/one"), now), passed(999, now)]).await.expect("ack");
    assert_eq!(ack.durable[0].number, 1);
    let [rejection] = ack.rejections.as_slice() else { panic!("{ack:?}") };
    assert_eq!(rejection.rejected_results, 1);
    let status = rejection.status.as_ref().expect("status");
    assert!(status.details[0].type_url.ends_with("google.rpc.ErrorInfo"));
    assert!(String::from_utf8_lossy(&status.details[0].value).contains("RESULT_UNKNOWN_SLOT"));
    still_works(&mut agent).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_result_that_contradicts_itself_is_refused() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let slot = agent.slot("control/one");
    let blank = ProbeResult { slot, ..ProbeResult::default() };
    let ack = agent.report(vec![blank]).await.expect("ack");
    let status = ack.rejections[0].status.as_ref().expect("status");
    assert!(String::from_utf8_lossy(&status.details[0].value).contains("RESULT_MALFORMED"));
    still_works(&mut agent).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn an_oversized_batch_is_refused_in_the_session_and_an_oversized_message_ends_only_it() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let mut other = stage.issue("fra-2").open([2; 16]).await.expect("open");
    let now = Clock::system().now_micros();
    let ack = agent.report(vec![passed(1, now); 2000]).await.expect("ack");
    let status = ack.rejections[0].status.as_ref().expect("status");
    assert!(String::from_utf8_lossy(&status.details[0].value).contains("BATCH_TOO_LARGE"));
    assert_eq!(ack.durable[0].number, 1, "refused for good: what follows does not wait for it");
    still_works(&mut agent).await;
    let batch = ResultBatch {
        lane: Lane::Live as i32,
        number: 3,
        results: vec![passed(1, now); 100_000],
        ..ResultBatch::default()
    };
    agent.say(Say::ResultBatch(batch)).await.expect("sent");
    let status = ends_with(&mut agent).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    still_works(&mut other).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn what_an_agent_says_of_itself_is_shown() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let looks = RefusedLooks { reason: LookRefusal::Budget as i32, runs: 4 };
    let heartbeat = Heartbeat {
        skipped_runs: 3,
        refused_looks: vec![looks],
        impairments: vec![Reason::UdpBlocked as i32],
        clock_offset: Some(convert::duration(Duration::from_millis(4_500))),
        clock_bound: Some(convert::duration(Duration::from_millis(100))),
        ..Heartbeat::default()
    };
    agent.say(Say::Heartbeat(heartbeat)).await.expect("said");
    let refused = vec![Refusal { slot: 1, reason: "port 25 is not allowed here".into() }];
    agent.say(Say::AssignmentAck(AssignmentAck { refused, ..AssignmentAck::default() })).await.expect("said");
    still_works(&mut agent).await; // messages are taken in order: both are in
    let feed = stage.coordinator.feed_address.to_string();
    let page = tokio::task::spawn_blocking(move || stage::page(&feed)).await.expect("no panic").expect("the page");
    for told in [
        "3 runs skipped",
        "1 targets refused",
        "<code>air</code> (slot 1): port 25 is not allowed here",
        "4 extra looks refused",
        "impaired: udp_blocked",
        "its clock is off by 4.4 s or more",
        "its spool is in memory",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn the_newest_session_ends_the_older_one() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut old = credentials.open([1; 16]).await.expect("open");
    let mut new = credentials.open([1; 16]).await.expect("open again");
    assert!(new.welcome.epoch > old.welcome.epoch);
    let status = ends_with(&mut old).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "SESSION_SUPERSEDED"));
    still_works(&mut new).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_deleted_loses_its_session_within_a_minute_and_gets_no_other() {
    let data = tempfile::tempdir().expect("a temporary directory");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(10.0);
    let coordinator = stage::start(data.path(), clock).await.expect("the coordinator starts");
    let stage = Stage { data, coordinator };
    let (gone, kept) = (stage.issue("gone"), stage.issue("kept"));
    let mut kept = kept.open([1; 16]).await.expect("opens");
    let mut session = gone.open([2; 16]).await.expect("opens");
    let began = Instant::now();
    std::fs::remove_file(stage.data.path().join("agents/gone.toml")).expect("deleted");
    assert_eq!(reason(&ends_with(&mut session).await), "AGENT_UNKNOWN");
    assert!(clock.since(began) < Duration::from_mins(1), "{:?}", clock.since(began));
    let refused = gone.open([2; 16]).await.err().expect("refused");
    assert_eq!(reason(refused.downcast_ref().expect("a status")), "AGENT_UNKNOWN");
    still_works(&mut kept).await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn hello_must_come_first_be_spoken_in_a_known_protocol_and_by_an_issued_agent() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let refusal = |first: Say| {
        let credentials = credentials.clone();
        async move {
            let error = credentials.open_with(first).await.err().expect("refused");
            reason(error.downcast_ref::<Status>().expect("a status"))
        }
    };
    assert_eq!(refusal(Say::Goodbye(Goodbye::default())).await, "HELLO_MISSING");
    let future = Hello { min_protocol: 7, max_protocol: 9, incarnation: vec![0; 16], ..Hello::default() };
    assert_eq!(refusal(Say::Hello(future)).await, "PROTOCOL_UNSUPPORTED");
    let short = Hello { min_protocol: 1, max_protocol: 1, incarnation: vec![0; 3], ..Hello::default() };
    assert_eq!(refusal(Say::Hello(short)).await, "MESSAGE_MALFORMED");
    std::fs::remove_file(stage.data.path().join("agents/fra-1.toml")).expect("delete");
    let good = Hello { min_protocol: 1, max_protocol: 1, incarnation: vec![0; 16], ..Hello::default() };
    assert_eq!(refusal(Say::Hello(good)).await, "AGENT_UNKNOWN");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_stops_drains_its_sessions_and_remembers_what_was_durable() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut agent = credentials.open([1; 16]).await.expect("open");
    still_works(&mut agent).await;
    let stopping = JoinSet::from_iter([async { stage.coordinator.stop().await }]);
    assert!(matches!(agent.hear().await.expect("told"), Some(Heard::Drain(_))));
    agent.say(Say::Goodbye(Goodbye { reason: "drain".into() })).await.expect("said");
    stopping.join_all().await;

    let coordinator = start(stage.data.path()).await;
    let now = Clock::system().now_micros();
    let again = Credentials::issue(stage.data.path(), "fra-1", &Place::default(), coordinator.agents_address, now);
    let agent = again.expect("issue").open([1; 16]).await.expect("open");
    assert_eq!(agent.welcome.durable[0].number, 1, "numbering goes on");
    coordinator.stop().await;
}
