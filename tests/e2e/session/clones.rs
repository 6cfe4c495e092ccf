//! Machines that pass for one agent: copies of a disk are found, told and put aside; whoever only restarts or reconnects is not.

use std::path::PathBuf;

use faultline_agent::status;
use faultline_coordinator::{
    admin::{self, Answer, Call, Stand},
    enroll::machines::Machines,
    registry::standing::State,
};
use faultline_proto::agent::v1::{Standing, StandingNotice};

use super::{
    joining::{create, join, set_up},
    recovery::{Running, config_in, until, until_up},
    *,
};

const HERE: [u8; 32] = [1; 32];
const THERE: [u8; 32] = [2; 32];

fn hello(incarnation: u8, fingerprint: [u8; 32]) -> Say {
    let Say::Hello(hello) = scripted::hello([incarnation; 16]) else { unreachable!("it is one") };
    Say::Hello(Hello { fingerprint: fingerprint.to_vec(), ..hello })
}

async fn open(credentials: &Credentials, incarnation: u8, fingerprint: [u8; 32]) -> ScriptedAgent {
    credentials.open_with(hello(incarnation, fingerprint)).await.expect("opens")
}

/// What the agent is told next of how it stands.
async fn told(agent: &mut ScriptedAgent) -> StandingNotice {
    loop {
        if let Heard::StandingNotice(notice) = agent.hear().await.expect("no end").expect("a message") {
            return notice;
        }
    }
}

async fn leave(mut agent: ScriptedAgent) {
    agent.say(Say::Goodbye(Goodbye { reason: "shutdown".into() })).await.expect("said");
    while agent.hear().await.expect("an orderly end").is_some() {}
}

fn state(stage: &Stage) -> State {
    let agents = stage.coordinator.ingest.agents();
    agents.iter().find(|view| view.agent.as_str() == "fra-1").expect("known").standing.state
}

async fn approve(stage: &Stage) {
    let stand = Stand { agent: "fra-1".into(), state: State::Active, reason: String::new(), distrust_since: None };
    let answer = admin::ask(stage.data.path(), &Call::Stand(stand)).await.expect("an answer");
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
}

#[tokio::test]
async fn two_machines_with_one_identity_are_both_put_aside_and_told_until_an_operator_approves_one() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut one = open(&credentials, 1, HERE).await;
    let mut copy = open(&credentials, 1, THERE).await;
    let ended = ends_with(&mut one).await;
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::FailedPrecondition, "AGENT_CLONED"));
    let notice = told(&mut copy).await;
    assert_eq!(notice.standing(), Standing::Quarantined);
    assert!(notice.reason.starts_with("AGENT_CLONED: two machines"), "{}", notice.reason);
    still_works(&mut copy).await;
    assert_eq!(state(&stage), State::Quarantined);

    let mut one = open(&credentials, 1, HERE).await;
    assert_eq!(told(&mut one).await.standing(), Standing::Quarantined);
    assert_eq!(reason(&ends_with(&mut copy).await), "AGENT_CLONED");
    approve(&stage).await;
    assert_eq!(told(&mut one).await.standing(), Standing::Active);
    let machines = Machines::of(stage.data.path());
    assert_eq!(machines.of_agent("fra-1").expect("read").accepted(), Some(HERE), "the one that was there last");

    let mut copy = open(&credentials, 1, THERE).await;
    assert_eq!(told(&mut copy).await.standing(), Standing::Quarantined, "it was not wiped");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn two_processes_that_take_turns_are_a_clone_though_their_machines_are_alike() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut before = open(&credentials, 0, HERE).await;
    for turn in 1..6 {
        let next = open(&credentials, turn % 2, HERE).await;
        assert_eq!(reason(&ends_with(&mut before).await), "SESSION_SUPERSEDED", "turn {turn}");
        before = next;
    }
    assert_eq!(state(&stage), State::Active);
    let mut third = open(&credentials, 0, HERE).await;
    assert_eq!(reason(&ends_with(&mut before).await), "AGENT_CLONED");
    let notice = told(&mut third).await;
    assert!(notice.reason.starts_with("AGENT_CLONED: two processes"), "{}", notice.reason);
    assert_eq!(state(&stage), State::Quarantined);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn the_newest_session_of_a_machine_wins_whatever_became_of_its_spool() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    let mut before = open(&credentials, 0, HERE).await;
    // The same process, a restart with another spool in memory, and once in order.
    for (incarnation, is_in_order) in [(0, false), (1, false), (2, true), (2, false), (3, false), (4, true)] {
        if is_in_order {
            leave(before).await;
            before = open(&credentials, incarnation, HERE).await;
            continue;
        }
        let next = open(&credentials, incarnation, HERE).await;
        assert_eq!(reason(&ends_with(&mut before).await), "SESSION_SUPERSEDED", "{incarnation}");
        before = next;
    }
    still_works(&mut before).await;
    assert_eq!(state(&stage), State::Active);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn another_machine_waits_until_it_is_approved_or_the_accepted_one_is_back() {
    let stage = Stage::new().await;
    let credentials = stage.issue("fra-1");
    leave(open(&credentials, 1, HERE).await).await;
    let mut moved = open(&credentials, 1, THERE).await;
    let notice = told(&mut moved).await;
    assert_eq!(notice.standing(), Standing::Pending);
    assert!(notice.reason.starts_with("FINGERPRINT_CHANGED: "), "{}", notice.reason);
    still_works(&mut moved).await;
    leave(moved).await;

    leave(open(&credentials, 1, HERE).await).await;
    assert_eq!(state(&stage), State::Active, "it is back");

    let mut moved = open(&credentials, 1, THERE).await;
    assert_eq!(told(&mut moved).await.standing(), Standing::Pending);
    approve(&stage).await;
    assert_eq!(told(&mut moved).await.standing(), Standing::Active);
    leave(moved).await;
    leave(open(&credentials, 1, THERE).await).await;
    assert_eq!(state(&stage), State::Active);
    leave(open(&credentials, 1, HERE).await).await;
    assert_eq!(state(&stage), State::Pending, "one machine is accepted, not two");
    let Stage { data, coordinator } = stage;
    coordinator.stop().await;
    let coordinator = start(data.path()).await;
    let mut waits = open(&credentials.through(coordinator.agents_address), 1, HERE).await;
    assert_eq!(told(&mut waits).await.standing(), Standing::Pending, "after a restart too");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_fingerprint_of_another_length_is_refused() {
    let stage = Stage::new().await;
    let Say::Hello(short) = hello(1, HERE) else { unreachable!("it is one") };
    let short = Hello { fingerprint: vec![1; 31], ..short };
    let error = stage.issue("fra-1").open_with(Say::Hello(short)).await.err().expect("refused");
    assert_eq!(reason(error.downcast_ref::<Status>().expect("a status")), "MESSAGE_MALFORMED");
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn two_machines_from_one_image_both_say_why_they_do_not_count() {
    let stage = set_up().await;
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let agent = join(&stage, &create(&stage, 1).await, first.path()).await;
    let running = Running::start(first.path(), Clock::system());
    until_up(&stage, &agent).await;
    running.stop().await;
    // The image of its disk, started on other hardware.
    copy(first.path(), second.path());
    let interface = second.path().join("net/eth0");
    std::fs::create_dir_all(interface.join("device")).expect("made");
    std::fs::write(interface.join("address"), "52:54:00:12:34:56\n").expect("written");
    std::fs::write(second.path().join("agent.toml"), "[machine]\ninterfaces = \"net\"\n").expect("written");

    let both = [first.path(), second.path()].map(|folder| Running::start(folder, Clock::system()));
    let began = Instant::now();
    for (n, folder) in [first.path(), second.path()].into_iter().enumerate() {
        let config = config_in(folder);
        let socket: PathBuf = config.status_socket.expect("a socket");
        loop {
            assert!(began.elapsed() < Duration::from_mins(3), "machine {n} does not say why");
            if let Ok(status) = status::ask(&socket).await
                && status.coordinator.standing == "quarantined"
            {
                assert!(status.coordinator.standing_reason.starts_with("AGENT_CLONED: "), "{status:?}");
                assert_eq!(status.is_other_machine, n == 1, "{status:?}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let agents = || stage.coordinator.ingest.agents();
    until("not put aside", || agents().iter().all(|view| view.standing.state == State::Quarantined)).await;
    for running in both {
        running.stop().await;
    }
    stage.coordinator.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
