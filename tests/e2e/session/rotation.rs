//! Another certificate authority in the place of the one that signs, under agents that are connected.

use faultline_agent::enroll;
use faultline_coordinator::{
    admin::{self, Answer, Ca, Call, Done, Rotation},
    pki::rotation::Phase,
};
use faultline_proto::join::SERVER_NAME;

use super::{
    joining::{attempt, create, dial, join, set_up},
    recovery::config_in,
    *,
};

async fn ca(data: &Path, asked: Ca) -> Rotation {
    match admin::ask(data, &Call::Ca(asked)).await.expect("an answer") {
        Answer::Done(Done::Ca(rotation)) => rotation,
        other => panic!("{other:?}"),
    }
}

/// Goes on when everybody is ready.
async fn go_on(data: &Path) -> Rotation {
    let asking = async {
        loop {
            let rotation = ca(data, Ca { go_on: true, force: false }).await;
            if rotation.has_gone_on {
                return rotation;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(200), asking).await.expect("everybody is ready in time")
}

#[tokio::test]
async fn the_authority_rotates_under_an_agent_that_notices_nothing_and_old_certificates_end() {
    let stage = set_up().await;
    let data = stage.data.path();
    let (folder, former) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let join_string = create(&stage, 2).await;
    let agent = join(&stage, &join_string, folder.path()).await;
    // A second one never comes: it is waited for, and named.
    let absent = join(&stage, &join_string, former.path()).await;
    let config = config_in(folder.path());
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let mut tasks = JoinSet::new();
    tasks.spawn(faultline_agent::run(config, Clock::system(), async move { drop(left.await) }));
    let old = std::fs::read(folder.path().join("identity.pem")).expect("an identity");

    assert_eq!(go_on(data).await.phase, Phase::Prepared);
    let waiting = async {
        loop {
            let rotation = ca(data, Ca { go_on: true, force: false }).await;
            assert!(!rotation.has_gone_on, "one is not ready");
            if rotation.ready == [agent.clone()] {
                return rotation;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let rotation = tokio::time::timeout(Duration::from_secs(100), waiting).await.expect("it is told over its session");
    assert_eq!(rotation.waiting.iter().map(|(agent, _)| agent).collect::<Vec<_>>(), [&absent]);
    std::fs::remove_file(data.join(format!("agents/{absent}.toml"))).expect("deleted");

    assert_eq!(go_on(data).await.phase, Phase::Switched);
    let late = tempfile::tempdir().expect("a folder");
    let pinned = attempt(&stage, &join_string, late.path(), Clock::system()).await;
    assert!(matches!(pinned, Err(enroll::JoinError::Pin { .. })), "it pins the former root: {pinned:?}");
    let fresh = create(&stage, 1).await;
    let newcomer = join(&stage, &fresh, late.path()).await;
    std::fs::remove_file(data.join(format!("agents/{newcomer}.toml"))).expect("deleted");

    assert_eq!(go_on(data).await.phase, Phase::Steady);
    assert!(std::fs::read(folder.path().join("identity.pem")).expect("an identity") != old, "it was renewed");
    let kept = former.path().join("old.pem");
    std::fs::write(&kept, &old).expect("written");
    let renewed = folder.path().join("identity.pem");
    // In TLS 1.3 the client learns of the refusal at its first read.
    let may = async |identity: &Path| match dial(&stage, SERVER_NAME, Some(identity)).await {
        Ok(channel) => Credentials::open_on(
            faultline_proto::agent::v1::session_service_client::SessionServiceClient::new(channel),
            scripted::hello([9; 16]),
        )
        .await
        .is_ok(),
        Err(_) => false,
    };
    assert!(!may(&kept).await, "certificates of the former are good no more");
    assert!(may(&renewed).await);
    leave.send(()).ok();
    tasks.join_next().await.expect("a task").expect("no panic").expect("an orderly end");
    stage.coordinator.stop().await;
}
