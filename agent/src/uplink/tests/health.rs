//! What a whole agent finds wrong with itself, it says, and accuses nobody for.

use faultline_proto::types::v1::{Cause, Reason, TlsSpec};

use super::*;
use crate::{
    doctor::{Examination, Grade, examine},
    probe::ResolverChoice,
    status::{Session, ask},
};

#[tokio::test]
async fn an_agent_whose_clock_is_off_says_so() {
    let mut stage = Stage::new().await;
    for (offset, expected) in [(-DAY, true), (0, false)] {
        let mut talk = stage.session().await;
        talk.hello().await;
        let server_time = Some(timestamp(Clock::system().now_micros() + offset));
        let welcome = Welcome { protocol: PROTOCOL, limits: Some(limits()), server_time, ..Welcome::default() };
        talk.tell(Told::Welcome(welcome)).await;
        let Said::Heartbeat(beat) = talk.heard(|said| matches!(said, Said::Heartbeat(_))).await else { unreachable!() };
        let is_suspect = beat.impairments().any(|reason| reason == Reason::ClockSuspect);
        assert_eq!(is_suspect, expected, "{offset} us: {:?}", beat.impairments);
    }
}

#[tokio::test]
async fn a_running_agent_tells_the_operator_how_it_is() {
    let target = tcp_server(|_stream| async {}).await;
    let mut stage = Stage::new().await;
    let socket = stage.config.status_socket.clone().expect("a socket");
    let mut talk = stage.session().await;
    let before = ask(&socket).await.expect("a status");
    assert_eq!((before.coordinator.session, before.runs.made), (Session::Connecting, 0));
    talk.welcome(0).await;
    talk.push(7, [assignment(1, target.address), assignment(2, ([169, 254, 169, 254], 80).into())]).await;
    let batch = talk.batch().await;
    let status = ask(&socket).await.expect("a status");
    let spool = &status.spool;
    assert!(spool.live_batches > 0 && spool.bytes > 0 && spool.oldest_s == Some(0), "{status:?}");
    assert!(spool.is_durable && spool.folder.is_some() && spool.made_results > 0, "{status:?}");
    talk.ack(batch.number).await;
    talk.heard(|said| matches!(said, Said::Heartbeat(beat) if beat.spool[0].first_number > batch.number)).await;
    let status = ask(&socket).await.expect("a status");
    assert_eq!((status.coordinator.session, status.coordinator.last_ack_s), (Session::Up, Some(0)));
    let assignments = &status.assignments;
    assert_eq!((assignments.version, assignments.in_force, assignments.refused), (7, 1, 1));
    assert!(assignments.refusals[0].reason.contains("metadata"), "{assignments:?}");
    assert!(status.runs.made > 0, "{status:?}");
    drop(talk);
    let again = stage.session().await;
    let status = ask(&socket).await.expect("a status");
    assert_eq!((status.coordinator.session, status.is_fine()), (Session::Down, false));
    assert!(status.coordinator.error.is_some());
    drop(again);
}

#[tokio::test]
async fn the_doctor_sees_whether_the_coordinator_accepts_this_agent_and_disturbs_nobody() {
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    let target: url::Url = "https://127.0.0.1:1/".parse().expect("a url");
    let examine = async |config: &Config| {
        let examination = Examination::new(Some(config.clone()), target.clone(), "example.test".to_owned());
        let findings = examine(&examination, Clock::system()).await;
        let of = |what| findings.iter().find(|finding| finding.what == what).expect(what).clone();
        (of("identity"), of("coordinator"))
    };
    let mut config = stage.config.clone();
    config.probe.resolver = ResolverChoice::Servers(vec![([127, 0, 0, 1], 1).into()]);
    let (identity, coordinator) = examine(&config).await;
    assert_eq!((identity.grade, coordinator.grade), (Grade::Ok, Grade::Ok), "{identity:?} {coordinator:?}");
    talk.heard(|said| matches!(said, Said::Heartbeat(_))).await;

    let (files, stranger) = (TempDir::new().expect("a directory"), Authority::new().issue("agent-1", |_| {}));
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    config.coordinator.certificate = file("agent.pem", &stranger.certificate_pem);
    config.coordinator.key = file("agent.key", &stranger.key_pem);
    let (_, coordinator) = examine(&config).await;
    assert_eq!(coordinator.grade, Grade::Fail, "{coordinator:?}");
    assert!(coordinator.fix.is_some_and(|fix| fix.contains("ca.pem")), "{}", coordinator.value);
}

#[tokio::test]
async fn a_silence_that_the_agent_slept_through_is_not_the_targets() {
    let (accepted, mut accepting) = mpsc::channel(1);
    let target = tcp_server(move |stream| {
        accepted.try_send(()).ok();
        async move {
            std::future::pending::<()>().await;
            drop(stream);
        }
    })
    .await;
    let mut stage = Stage::new().await;
    let mut talk = stage.session().await;
    talk.welcome(0).await;
    let spec = TlsSpec { host: HOST.to_owned(), port: target.address.port().into(), ..TlsSpec::default() };
    let silent = Assignment {
        timeout: Some(duration(Duration::from_millis(400))),
        spec: Some(Spec::Tls(spec)),
        ..assignment(1, target.address)
    };
    talk.push(1, [silent]).await;
    within(accepting.recv()).await.expect("a run");
    // One thread runs this test and the agent.
    let held_up = std::time::Instant::now();
    while held_up.elapsed() < Duration::from_millis(300) {
        std::hint::spin_loop();
    }
    let batch = talk.batch().await;
    let result = &batch.results[0];
    assert_eq!((result.outcome(), result.reason()), (Outcome::Unmeasured, Reason::Overloaded), "{result:?}");
    let batch = talk.batch().await;
    assert_eq!(batch.results[0].cause(), Cause::TlsTimeout, "the next one was not starved");
}
