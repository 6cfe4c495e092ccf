//! How agents stand: put aside, approved, revoked and deleted by operators, over the admin socket, while they are connected.

use faultline_agent::{
    Setup,
    enroll::{self, Existing, Joined, Joining},
};
use faultline_attribution::{IncidentId, State as IncidentState, Timestamp};
use faultline_coordinator::{
    admin::{self, Answer, Call, Done, RevokeToken, Stand, Why, audit::Audit},
    enroll::strings::Wanted,
    registry::{Registry, standing::State},
};
use faultline_lab::stage::{Witnesses, is_behind_front_door};
use faultline_proto::{
    agent::v1::{Standing, StandingNotice},
    join::JoinString,
};

use super::*;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_secs(100);

fn stand(agent: &str, state: State) -> Stand {
    Stand { agent: agent.into(), state, reason: "its disk was found elsewhere".into(), distrust_since: None }
}

async fn say(data: &Path, asked: Stand) -> Result<Done, Why> {
    match admin::ask(data, &Call::Stand(asked)).await.expect("an answer") {
        Answer::Done(done) => Ok(done),
        Answer::Refused(refused) => Err(refused.why),
    }
}

/// What the agent is told next of how it stands.
async fn told(agent: &mut ScriptedAgent) -> StandingNotice {
    loop {
        if let Heard::StandingNotice(notice) = agent.hear().await.expect("no end").expect("a message") {
            return notice;
        }
    }
}

#[tokio::test]
async fn who_is_revoked_is_out_within_a_second_and_gets_neither_session_nor_certificate() {
    let stage = Stage::new().await;
    let (gone, mut kept) = (stage.issue("gone"), stage.issue("kept").open([1; 16]).await.expect("opens"));
    let mut session = gone.open([2; 16]).await.expect("opens");
    let began = Instant::now();
    say(stage.data.path(), stand("gone", State::Revoked)).await.expect("done");
    let status = ends_with(&mut session).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "AGENT_REVOKED"));
    assert!(status.message().contains("its disk was found elsewhere"), "{}", status.message());
    let refused = gone.open([2; 16]).await.err().expect("refused");
    assert_eq!(reason(refused.downcast_ref().expect("a status")), "AGENT_REVOKED");
    for state in [State::Active, State::Quarantined, State::Revoked] {
        assert_eq!(say(stage.data.path(), stand("gone", state)).await, Err(Why::State), "{state:?}");
    }
    still_works(&mut kept).await;
    stage.coordinator.stop().await;

    let coordinator = start(stage.data.path()).await;
    let refused = gone.through(coordinator.agents_address).open([2; 16]).await.err().expect("refused");
    assert_eq!(reason(refused.downcast_ref().expect("a status")), "AGENT_REVOKED", "the same after a restart");
    say(stage.data.path(), stand("gone", State::Deleted)).await.expect("done");
    let refused = gone.through(coordinator.agents_address).open([2; 16]).await.err().expect("refused");
    assert_eq!(reason(refused.downcast_ref().expect("a status")), "AGENT_UNKNOWN", "deleted is another thing");
    assert_eq!(say(stage.data.path(), stand("gone", State::Revoked)).await, Err(Why::Unknown));
    coordinator.stop().await;
}

#[tokio::test]
async fn who_is_quarantined_is_told_so_is_stored_and_does_not_count() {
    let stage = Stage::new().await;
    let place = |group: &str| Place { group: Some(group.into()), ..Place::default() };
    let open = |name: &str, group: &str| {
        let address = stage.coordinator.agents_address;
        let now = Clock::system().now_micros();
        Credentials::issue(stage.data.path(), name, &place(group), address, now).expect("issue")
    };
    let mut one = open("one", "here").open([1; 16]).await.expect("opens");
    let credentials = open("two", "there");
    let mut two = credentials.open([2; 16]).await.expect("opens");
    let live = |wanted: u32| {
        let hub = &stage.coordinator.hub;
        let counted = async move {
            while hub.board().visibility.live_groups != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(HANG, counted)
    };
    for agent in [&mut one, &mut two] {
        still_works(agent).await;
    }
    live(2).await.expect("both count");

    say(stage.data.path(), stand("two", State::Quarantined)).await.expect("done");
    let notice = told(&mut two).await;
    assert_eq!((notice.standing(), notice.reason.as_str()), (Standing::Quarantined, "its disk was found elsewhere"));
    still_works(&mut two).await;
    still_works(&mut one).await;
    live(1).await.expect("one does not count");
    let mut again = credentials.open([2; 16]).await.expect("it may come back");
    assert_eq!(told(&mut again).await.standing(), Standing::Quarantined);
    let feed = stage.coordinator.feed_address.to_string();
    let page = tokio::task::spawn_blocking(move || stage::page(&feed)).await.expect("no panic").expect("the page");
    assert!(page.contains("quarantined: what it measures does not count") && !page.contains("its disk"), "{page}");

    say(stage.data.path(), stand("two", State::Active)).await.expect("done");
    assert_eq!(told(&mut again).await.standing(), Standing::Active);
    still_works(&mut again).await;
    live(2).await.expect("it counts again");
    assert_eq!(say(stage.data.path(), stand("two", State::Active)).await, Err(Why::State));
    let before = Stand { distrust_since: Some(Timestamp::from_micros(1)), ..stand("two", State::Deleted) };
    assert_eq!(say(stage.data.path(), before).await, Err(Why::Malformed));
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_join_string_may_ask_for_approval_and_can_be_taken_back_with_who_joined() {
    let stage = Stage::new().await;
    let data = stage.data.path();
    let wanted = Wanted { label: "fra".into(), uses: 2, life_s: 60, place: Place::default(), needs_approval: true };
    let made = admin::ask(data, &Call::CreateToken(Box::new(wanted))).await.expect("an answer");
    let Answer::Done(Done::Made { join_string, .. }) = made else { panic!("{made:?}") };
    let join_string: JoinString = join_string.parse().expect("a join string");
    let address = stage.coordinator.agents_address;
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut names = Vec::new();
    for folder in &folders {
        let (host, port) = (address.ip().to_string(), address.port());
        let joining = Joining { host, port, join_string: join_string.clone(), existing: Existing::Stays };
        let setup = Setup::read(&folder.path().join("agent.toml")).expect("nothing said");
        match enroll::join(&setup, &joining, Clock::system(), &mut drop).await.expect("joins") {
            Joined::As(agent) => names.push(agent),
            Joined::Already => panic!("had joined"),
        }
    }
    let registry = Registry::of(data);
    let stands = |name: &str| registry.standing(name).expect("tells");
    for name in &names {
        let standing = stands(name);
        assert!(standing.state == State::Pending && standing.reason.contains(&join_string.id), "{standing:?}");
    }
    say(data, stand(&names[0], State::Active)).await.expect("approved");
    assert_eq!((stands(&names[0]).state, stands(&names[1]).state), (State::Active, State::Pending));

    let revoke = Call::RevokeToken(RevokeToken { id: join_string.id.clone(), with_agents: true });
    let revoked = admin::ask(data, &revoke).await.expect("an answer");
    let Answer::Done(Done::Revoked { with_agents, .. }) = revoked else { panic!("{revoked:?}") };
    assert_eq!(with_agents, names);
    assert!(names.iter().all(|name| stands(name).state == State::Revoked));
    stage.coordinator.stop().await;
}

/// What the audit record says of the `n`th time that verdicts were looked at again.
async fn looked_again(data: &Path, n: usize) -> String {
    let done = async {
        loop {
            let mut all = Audit::tail(data, 100).expect("the record");
            all.sort_by_key(|entry| entry.id);
            let looks: Vec<_> = all.into_iter().filter(|entry| entry.call == "look_again").collect();
            if let Some(outcome) = looks.get(n).and_then(|entry| entry.outcome.clone()) {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG, done).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_falls_when_those_who_measured_it_are_not_trusted_any_more() {
    let data = tempfile::tempdir().expect("a temporary directory");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(20.0);
    let coordinator = stage::start(data.path(), clock).await.expect("the coordinator starts");
    let mut witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    let newest = || coordinator.hub.board().incidents().next().cloned();
    let end = async {
        for round in 0.. {
            let resolved = newest().is_some_and(|incident| incident.state == IncidentState::Resolved);
            if resolved {
                return;
            }
            let broken = (10..40).contains(&round);
            witnesses.look(|target| broken && is_behind_front_door(target)).await.expect("look");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(HANG, end).await.expect("an incident that ends");
    let incident = newest().expect("an incident");
    assert!(incident.attributed_at.is_some(), "{incident:?}");

    let before = Timestamp::from_micros(incident.onset_at.micros() - 60_000_000);
    let distrust = |agent: &str, since| Stand { distrust_since: Some(since), ..stand(agent, State::Revoked) };
    say(data.path(), distrust("w-0", before)).await.expect("done");
    let outcome = looked_again(data.path(), 0).await;
    assert!(outcome.starts_with("done: 1 incidents hold, 0 taken back"), "five of six still say so: {outcome}");
    let after = incident.resolved_at.expect("resolved").after(Duration::from_secs(1));
    say(data.path(), distrust("w-1", after)).await.expect("done");
    let outcome = looked_again(data.path(), 1).await;
    assert!(outcome.contains("0 taken back"), "it was over by then: {outcome}");

    for n in 2..6 {
        say(data.path(), distrust(&format!("w-{n}"), before)).await.expect("done");
    }
    looked_again(data.path(), 5).await;
    let newest = newest().expect("an incident");
    assert_eq!((&newest.incident, newest.state), (&incident.incident, IncidentState::Retracted));
    assert!(newest.retraction_reason.contains("not trusted") && !newest.retraction_reason.contains("w-"));
    let id: &IncidentId = &incident.incident;
    let said = outcomes(data.path());
    assert!(said.iter().any(|outcome| outcome.contains(&format!("taken back: {id}"))), "{said:?}");
    coordinator.stop().await;
}

/// Every outcome on record.
fn outcomes(data: &Path) -> Vec<String> {
    let all = Audit::tail(data, 100).expect("the record");
    all.into_iter().filter_map(|entry| entry.outcome).collect()
}
