//! Looking again, from a suspicion to the result: who is asked for what, and real agents that do it within their own
//! limits.

use std::{collections::BTreeSet, time::Duration};

use faultline_agent::{
    AgentError, Config,
    policy::{Policy, Ports},
    schedule::{LookLimits, looks::MOST_LOOKS},
};
use faultline_attribution::LookAgain;
use faultline_coordinator::{
    ingest::LOOKS_A_SECOND,
    log::sqlite::SqliteReader,
    pki::Authority,
    registry::{Place, Registry, bundle},
    results::export::{self, Span},
    serve::Coordinator,
};
use faultline_lab::{
    scripted::{Credentials, failed, passed},
    stage,
};
use faultline_proto::{
    agent::v1::session_response::Message as Heard,
    clock::Clock,
    convert,
    types::v1::{Cause, Layer},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{self, Instant},
};

use super::{Stage, still_works};

#[tokio::test]
async fn an_agent_is_asked_for_what_it_was_assigned_and_the_fleet_within_its_bound() {
    let stage = Stage::new().await;
    let mut agent = stage.issue("fra-1").open([1; 16]).await.expect("open");
    let ingest = &stage.coordinator.ingest;
    ingest.look_again(&[look("fra-1", "nobody/knows"), look("fra-9", "air")]);
    assert_eq!((ingest.look_counts().asked, ingest.look_counts().not_assigned), (0, 2));
    still_works(&mut agent).await; // the session is past its assignments: it can be asked
    ingest.look_again(&vec![look("fra-1", "air"); 100]);
    let counts = ingest.look_counts();
    let bound = u64::try_from(LOOKS_A_SECOND).expect("small");
    assert_eq!((counts.asked, counts.over_limit), (bound, 100 - bound));
    let Some(Heard::RunNow(run_now)) = agent.hear().await.expect("told") else { panic!("not asked") };
    assert!(run_now.slots.iter().all(|slot| *slot == agent.slot("air")), "{run_now:?}");
    assert!(convert::micros(run_now.deadline.as_ref()) > convert::micros(agent.welcome.server_time.as_ref()));
    drop(agent);
    stage.coordinator.stop().await;
}

#[tokio::test]
async fn a_real_agent_that_is_asked_looks_within_a_second_and_says_so() {
    let mut watch = Watch::new(Clock::system(), |_| {}).await;
    watch.ask().await;
    let asked = Instant::now();
    until(|| watch.looks() == 1).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    watch.stop().await;
}

#[tokio::test]
async fn the_sixteenth_look_in_ten_minutes_is_refused_and_counted() {
    let clock = Clock::emulated(10.0);
    let mut watch = Watch::new(clock, |_| {}).await;
    let patience = clock.real(Duration::from_secs(4));
    while watch.looks() < MOST_LOOKS {
        let before = watch.looks();
        watch.ask().await;
        // Where this machine was too slow for the deadline, or the schedule came in between, it is asked again.
        time::timeout(patience, until(|| watch.looks() > before)).await.ok();
        clock.sleep(LookLimits::default().spacing).await;
    }
    watch.ask().await;
    until(|| watch.asked() == watch.refused() + watch.looks()).await;
    assert_eq!(watch.looks(), MOST_LOOKS);
    assert!(watch.refused() > 0);
    watch.stop().await;
}

#[tokio::test]
async fn a_policy_that_forbids_is_obeyed() {
    let no_looks: fn(&mut Policy) = |policy| policy.looks.of_target = 0;
    let no_such_port: fn(&mut Policy) = |policy| policy.ports = Ports::Listed(BTreeSet::from([1]));
    for forbid in [no_looks, no_such_port] {
        let mut watch = Watch::new(Clock::emulated(10.0), forbid).await;
        watch.ask().await;
        until(|| watch.refused() == watch.asked()).await;
        assert_eq!(watch.looks(), 0);
        watch.stop().await;
    }
}

#[tokio::test]
async fn a_suspicion_makes_the_coordinator_ask() {
    let data = tempfile::tempdir().expect("a temporary directory");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(20.0);
    let coordinator = stage::start(data.path(), clock).await.expect("the coordinator starts");
    // Two groups are too few for a verdict: who would tell more is worth asking.
    let (began, mut agents) = (Instant::now(), Vec::new());
    for name in ["fra-1", "mad-1"] {
        let place = Place { group: Some(name.into()), isp: Some(name.into()), ..Place::default() };
        let issued = Credentials::issue(data.path(), name, &place, coordinator.agents_address, clock.now_micros())
            .expect("issue");
        agents.push(issued.open([1; 16]).await.expect("open"));
    }
    while agents.iter().any(|agent| agent.asked.is_empty()) {
        assert!(clock.since(began) < Duration::from_mins(10), "nobody was asked");
        for agent in &mut agents {
            let now = clock.now_micros();
            let run = |slot, target: &str| {
                if stage::is_behind_front_door(target) {
                    failed(slot, now, Layer::Connect, Cause::ConnectTimeout)
                } else {
                    passed(slot, now)
                }
            };
            let results = agent.assignments.assignments.iter().map(|it| run(it.slot, &it.target)).collect();
            agent.report(results).await.expect("acknowledged");
        }
        clock.sleep(Duration::from_secs(5)).await;
    }
    drop(agents);
    coordinator.stop().await;
}

fn look(agent: &str, target: &str) -> LookAgain {
    LookAgain { agent: agent.into(), target: target.into() }
}

/// A real agent that watches one port of the test, once a day, and its coordinator.
struct Watch {
    data: TempDir,
    coordinator: Coordinator,
    agent: JoinSet<Result<(), AgentError>>,
    leave: oneshot::Sender<()>,
    _target: TcpListener,
}

impl Watch {
    async fn new(clock: Clock, restrict: impl FnOnce(&mut Policy)) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        stage::prepare(data.path()).expect("prepare");
        let target = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("tcp://{}", target.local_addr().expect("an address"));
        let row = format!("id = \"it\"\nprobe = \"tcp\"\nurl = \"{url}\"\nhosted_on = \"other\"\ninterval = \"24h\"\n");
        std::fs::write(data.path().join("catalog.toml"), format!("[[target]]\n{row}")).expect("a catalog");
        let coordinator = stage::start(data.path(), clock).await.expect("the coordinator starts");

        let authority = Authority::open(data.path()).expect("an authority");
        let (place, folder) = (Place::default(), data.path().join("agent"));
        let identity = Registry::of(data.path()).issue(&authority, "fra-1", &place, clock.now_micros()).expect("issue");
        let endpoint = format!("https://{}", coordinator.agents_address);
        bundle::write(&folder, &authority, &identity, &endpoint, &place).expect("a bundle");
        let mut config = Config::read(&folder.join("agent.toml")).expect("a configuration");
        config.policy = Policy { allow_loopback: true, ports: Ports::Any, ..Policy::default() };
        restrict(&mut config.policy);
        let (leave, left) = oneshot::channel::<()>();
        let mut agent = JoinSet::new();
        agent.spawn(faultline_agent::run(config, clock, async move { drop(left.await) }));
        Self { data, coordinator, agent, leave, _target: target }
    }

    /// Has the agent asked to look once more, as soon as it can be.
    async fn ask(&mut self) {
        let before = self.asked();
        until(|| {
            self.coordinator.ingest.look_again(&[look("fra-1", "it")]);
            self.asked() > before
        })
        .await;
    }

    /// Looks that the agent was asked for.
    fn asked(&self) -> usize {
        usize::try_from(self.coordinator.ingest.look_counts().asked).expect("small")
    }

    /// Looks whose results are in the log.
    fn looks(&self) -> usize {
        let log = SqliteReader::open(self.data.path()).expect("a log");
        let mut looks = 0;
        export::export(&log, Span::default(), |line| {
            looks += usize::from(line.on_demand);
            Ok(())
        })
        .expect("an export");
        looks
    }

    /// Looks that the agent says it did not make.
    fn refused(&self) -> usize {
        let agents = self.coordinator.ingest.agents();
        usize::try_from(agents.iter().map(|agent| agent.told.refused_looks).sum::<u64>()).expect("small")
    }

    async fn stop(mut self) {
        self.leave.send(()).expect("the agent runs");
        self.agent.join_next().await.expect("an agent").expect("no panic").expect("no error");
        self.coordinator.stop().await;
    }
}

/// Asks until it is so; fails where that takes longer than anything here should.
async fn until(mut is_so: impl FnMut() -> bool) {
    let asking = async {
        let mut polls = time::interval(Duration::from_millis(10));
        while !is_so() {
            polls.tick().await;
        }
    };
    time::timeout(Duration::from_secs(30), asking).await.expect("in time");
}
