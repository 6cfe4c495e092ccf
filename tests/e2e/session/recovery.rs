//! Certificates that are over, over real TLS and with clocks that the test moves: agents come back by themselves, and only who may.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicI64, AtomicU8, Ordering},
};

use faultline_agent::{Config, Setup, enroll::Joined, status};
use faultline_attribution::{SessionState, Timestamp};
use faultline_coordinator::{
    admin::{self, Answer, Call, RevokeToken, Stand, audit::Audit},
    enroll::machines::{Machine, Machines},
    pki::agent_of,
    registry::{Registry, standing::State},
};
use faultline_proto::{
    agent::v1::{SessionRequest, session_service_client::SessionServiceClient},
    bound::recovering,
    enroll::v1::{
        GetChallengeRequest, RecoverRequest, RecoverResponse, RenewRequest,
        enrollment_service_client::EnrollmentServiceClient,
    },
    join::{ENROLL_NAME, SERVER_NAME},
};
use rcgen::{KeyPair, SigningKey as _};
use rustls_pki_types::CertificateDer;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::{
    joining::{attempt, bare, create, csr, dial_from, join, set_up_at},
    *,
};

const DAY: Duration = Duration::from_hours(24);

/// A clock that the test sets.
#[derive(Clone, Copy)]
struct Time {
    clock: Clock,
    jumped: &'static AtomicI64,
}

impl Time {
    fn new() -> Self {
        let jumped: &'static AtomicI64 = Box::leak(Box::default());
        Self { clock: Clock::starting_at(Clock::system().now_micros(), jumped), jumped }
    }

    fn pass(self, span: Duration) {
        self.jumped.fetch_add(i64::try_from(span.as_micros()).expect("short"), Ordering::Relaxed);
    }

    fn now(self) -> Timestamp {
        Timestamp::from_micros(self.clock.now_micros())
    }
}

/// The configuration of the agent that joined in this folder.
pub(super) fn config_in(folder: &Path) -> Config {
    let setup = Setup::read(&folder.join("agent.toml")).expect("a configuration, or none");
    setup.of(setup.joined().expect("reads").expect("it has joined"))
}

/// An agent that runs in this process.
pub(super) struct Running {
    tasks: JoinSet<Result<(), faultline_agent::AgentError>>,
    leave: oneshot::Sender<()>,
}

impl Running {
    pub(super) fn start(folder: &Path, clock: Clock) -> Self {
        let config = config_in(folder);
        let (leave, left) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(faultline_agent::run(config, clock, async move {
            left.await.ok();
        }));
        Self { tasks, leave }
    }

    pub(super) async fn stop(mut self) {
        self.leave.send(()).expect("running");
        self.tasks.join_next().await.expect("a task").expect("no panic").expect("an orderly end");
    }
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(3), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn until_up(stage: &Stage, agent: &str) {
    let is_up = |view: &faultline_coordinator::ingest::AgentView| {
        view.agent.as_str() == agent && view.state == SessionState::Up
    };
    until("no session", || stage.coordinator.ingest.agents().iter().any(is_up)).await;
}

fn recoveries(stage: &Stage, agent: &str) -> usize {
    Machines::of(stage.data.path()).of_agent(agent).expect("read").recoveries.len()
}

/// A machine without a certificate, at an address of its own: how often one address may ask is limited.
async fn newcomer(stage: &Stage) -> EnrollmentServiceClient<Channel> {
    static ADDRESSES: AtomicU8 = AtomicU8::new(10);
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 7, ADDRESSES.fetch_add(1, Ordering::Relaxed)));
    let dialled = dial_from(stage, ENROLL_NAME, None, Some(source), &rustls::version::TLS13).await;
    EnrollmentServiceClient::new(dialled.expect("a newcomer's connection"))
}

/// Who asks to come back, and with what.
struct Asking {
    agent: String,
    bound: KeyPair,
    fingerprint: Vec<u8>,
}

impl Asking {
    fn of(stage: &Stage, folder: &Path, agent: &str) -> Self {
        let bound = std::fs::read_to_string(folder.join("identity.pem.bound")).expect("a bound key");
        let machine = Machines::of(stage.data.path()).of_agent(agent).expect("read");
        let fingerprint = machine.accepted().expect("a fingerprint").to_vec();
        Self { agent: agent.to_owned(), bound: KeyPair::from_pem(&bound).expect("PEM"), fingerprint }
    }

    fn sign(&self, nonce: Vec<u8>) -> RecoverRequest {
        let (csr_der, fingerprint) = (csr(&bare()), self.fingerprint.clone());
        let message = recovering(&self.agent, &nonce, &csr_der, &fingerprint);
        let signature = self.bound.sign(&message).expect("signed");
        RecoverRequest { agent: self.agent.clone(), nonce, csr_der, fingerprint, signature }
    }

    async fn recover(&self, stage: &Stage) -> Result<RecoverResponse, Status> {
        let mut client = newcomer(stage).await;
        let challenge = client.get_challenge(GetChallengeRequest { agent: self.agent.clone() }).await?;
        client.recover(self.sign(challenge.into_inner().nonce)).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn after_ten_days_without_a_coordinator_an_agent_comes_back_by_itself() {
    let time = Time::new();
    let stage = set_up_at(time.clock).await;
    let folder = tempfile::tempdir().expect("a folder");
    let agent = join(&stage, &create(&stage, 1).await, folder.path()).await;
    let running = Running::start(folder.path(), time.clock);
    until_up(&stage, &agent).await;
    let Stage { data, coordinator } = stage;
    let port = coordinator.agents_address.port();
    coordinator.stop().await;
    time.pass(DAY * 10);
    let coordinator = stage::start_at(data.path(), time.clock, port).await.expect("the coordinator starts");
    let stage = Stage { data, coordinator };
    until("not recovered", || recoveries(&stage, &agent) == 1).await;
    until_up(&stage, &agent).await;
    running.stop().await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn an_agent_that_was_off_for_a_year_comes_back_at_its_next_start_and_its_join_string_is_not_asked_for() {
    let time = Time::new();
    let stage = set_up_at(time.clock).await;
    let (folder, join_string) = (tempfile::tempdir().expect("a folder"), create(&stage, 1).await);
    let agent = join(&stage, &join_string, folder.path()).await;
    admin::ask(stage.data.path(), &Call::RevokeToken(RevokeToken { id: join_string.id.clone(), with_agents: false }))
        .await
        .expect("revoked");
    let again = attempt(&stage, &join_string, folder.path(), time.clock).await;
    assert_eq!(again.expect("an identity beats a join string"), Joined::Already);
    time.pass(DAY * 300);
    let again = attempt(&stage, &join_string, folder.path(), time.clock).await;
    assert_eq!((again.expect("recovers"), recoveries(&stage, &agent)), (Joined::Already, 1));
    time.pass(DAY * 40);
    let running = Running::start(folder.path(), time.clock);
    until_up(&stage, &agent).await;
    assert_eq!(recoveries(&stage, &agent), 2);
    running.stop().await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn an_agent_whose_clock_is_days_ahead_renews_and_recovers_nothing() {
    let (time, ahead) = (Time::new(), Time::new());
    let stage = set_up_at(time.clock).await;
    let folder = tempfile::tempdir().expect("a folder");
    let agent = join(&stage, &create(&stage, 1).await, folder.path()).await;
    let identity = folder.path().join("identity.pem");
    let before = std::fs::read(&identity).expect("an identity");
    ahead.pass(DAY * 10);
    let running = Running::start(folder.path(), ahead.clock);
    until_up(&stage, &agent).await;
    until("not renewed", || std::fs::read(&identity).expect("an identity") != before).await;
    assert_eq!(recoveries(&stage, &agent), 0);
    running.stop().await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn an_agent_that_may_not_recover_says_why_and_comes_back_once_it_is_approved() {
    let time = Time::new();
    let stage = set_up_at(time.clock).await;
    let folder = tempfile::tempdir().expect("a folder");
    let agent = join(&stage, &create(&stage, 1).await, folder.path()).await;
    let (machines, now) = (Machines::of(stage.data.path()), time.now());
    let recover = |machine: &mut Machine| (0..5).all(|n| machine.recover(&format!("key-{n}"), now));
    assert!(machines.change(&agent, recover).expect("kept"), "as often as it may");
    time.pass(DAY * 10);
    let running = Running::start(folder.path(), time.clock);
    let config = config_in(folder.path());
    let socket = config.status_socket.expect("a socket");
    let began = Instant::now();
    let trouble = loop {
        assert!(began.elapsed() < Duration::from_mins(3), "nothing is said");
        if let Ok(status) = status::ask(&socket).await
            && let Some(trouble) = status.identity_trouble
        {
            break trouble;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(trouble.contains(&format!("faultline agent approve {agent}")), "{trouble}");
    let stand = Stand { agent: agent.clone(), state: State::Active, reason: String::new(), distrust_since: None };
    let answer = admin::ask(stage.data.path(), &Call::Stand(stand)).await.expect("an answer");
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    until_up(&stage, &agent).await;
    assert!(status::ask(&socket).await.expect("a status").identity_trouble.is_none());
    running.stop().await;
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_over_opens_nothing_and_the_bound_key_brings_another() {
    let time = Time::new();
    let stage = set_up_at(time.clock).await;
    let folder = tempfile::tempdir().expect("a folder");
    let agent = join(&stage, &create(&stage, 1).await, folder.path()).await;
    let identity = folder.path().join("identity.pem");
    time.pass(DAY * 8);
    if let Ok(channel) = dial_from(&stage, SERVER_NAME, Some(&identity), None, &rustls::version::TLS13).await {
        let session = SessionServiceClient::new(channel.clone()).session(tokio_stream::empty::<SessionRequest>()).await;
        assert!(session.expect_err("over").details().is_empty(), "nobody answered");
        let renewed = EnrollmentServiceClient::new(channel).renew(RenewRequest { csr_der: csr(&bare()) }).await;
        assert!(renewed.expect_err("over").details().is_empty(), "nobody answered");
    }
    let asking = Asking::of(&stage, folder.path(), &agent);
    let response = asking.recover(&stage).await.expect("recovers");
    assert_eq!(agent_of(&CertificateDer::from(response.certificate_chain_der[0].clone())), Some(agent));
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn who_may_not_come_back_does_not_and_the_record_says_why() {
    let time = Time::new();
    let stage = set_up_at(time.clock).await;
    let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let join_string = create(&stage, 2).await;
    let agent = join(&stage, &join_string, folder.path()).await;
    let other = join(&stage, &join_string, elsewhere.path()).await;
    time.pass(DAY * 10);
    let of_agent = |fingerprint: Option<Vec<u8>>| {
        let asking = Asking::of(&stage, folder.path(), &agent);
        Asking { fingerprint: fingerprint.unwrap_or(asking.fingerprint), ..asking }
    };
    let refused = async |asking: &Asking, told: &str, recorded: &str| {
        let status = asking.recover(&stage).await.expect_err(recorded);
        assert_eq!(reason(&status), told, "{recorded}: {status}");
        let entry = Audit::tail(stage.data.path(), 1).expect("the record").pop().expect("an entry");
        let outcome = entry.outcome.expect("an outcome");
        assert!(entry.call == "recover" && outcome.starts_with(&format!("refused: {recorded}: ")), "{outcome}");
    };

    // Another agent's key, and the name of nobody.
    let thief = Asking { agent: agent.clone(), ..Asking::of(&stage, elsewhere.path(), &other) };
    refused(&thief, "RECOVERY_REFUSED", "BOUND_KEY_WRONG").await;
    let stranger = Asking { agent: "nobody".into(), ..of_agent(None) };
    refused(&stranger, "RECOVERY_REFUSED", "AGENT_UNKNOWN").await;
    // Another machine.
    refused(&of_agent(Some(vec![9; 32])), "FINGERPRINT_CHANGED", "FINGERPRINT_CHANGED").await;
    let standing = Registry::of(stage.data.path()).standing(&agent).expect("tells");
    assert!(standing.state == State::Pending && standing.reason.contains("another machine"), "{standing:?}");

    // A challenge that was used.
    let (asking, mut client) = (of_agent(None), newcomer(&stage).await);
    let challenge = client.get_challenge(GetChallengeRequest { agent: agent.clone() }).await.expect("a challenge");
    let request = asking.sign(challenge.into_inner().nonce);
    client.recover(request.clone()).await.expect("recovers");
    let replayed = client.recover(request).await.expect_err("replayed");
    assert_eq!(reason(&replayed), "CHALLENGE_INVALID");

    // The sixth time.
    let (machines, now) = (Machines::of(stage.data.path()), time.now());
    let recover = |machine: &mut Machine| (0..4).all(|n| machine.recover(&format!("key-{n}"), now));
    assert!(machines.change(&agent, recover).expect("kept"), "four more");
    refused(&of_agent(None), "RECOVERIES_USED_UP", "RECOVERIES_USED_UP").await;

    // Who was revoked, and who was deleted.
    let revoked = Stand { agent: other.clone(), state: State::Revoked, reason: "stolen".into(), distrust_since: None };
    admin::ask(stage.data.path(), &Call::Stand(revoked)).await.expect("revoked");
    refused(&Asking::of(&stage, elsewhere.path(), &other), "AGENT_REVOKED", "AGENT_REVOKED").await;
    std::fs::remove_file(stage.data.path().join(format!("agents/{agent}.toml"))).expect("deleted");
    refused(&of_agent(None), "RECOVERY_REFUSED", "AGENT_UNKNOWN").await;
    stage.coordinator.stop().await;
}
