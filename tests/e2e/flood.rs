//! Both ports under attack: the attacker loses its connection, what the coordinator holds stays bounded, and honest
//! agents notice nothing but time.
//!
//! The coordinator is a process of its own. The limits here tell a defence from none, not a good day from a bad one: figures
//! are `faultline-lab bench attack`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use faultline_coordinator::registry::Place;
use faultline_lab::{
    alone::Alone,
    attack::{self, Attack, Bomb, Door, Idle, Outcome},
    herd,
    honest::Honest,
    scripted::Credentials,
    stage,
};
use faultline_proto::clock::Clock;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Code;

/// Ten times what anything here takes.
const HANG: Duration = Duration::from_mins(5);

/// Below the shortest deadline for idle connections: what is closed sooner was not closed for being idle.
const AT_ONCE: Duration = Duration::from_secs(9);

/// What a coordinator may hold more after an attack, and at the most during it, KiB.
const GROWN: (u64, u64) = (64 << 10, 256 << 10);

/// Steps of an attack that has a length.
const STEPS: usize = 20_000;

struct Stage {
    data: TempDir,
    coordinator: Alone,
    honest: Honest,
}

impl Stage {
    async fn new() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        stage::prepare(data.path()).expect("prepare");
        let coordinator = Alone::start(program(), data.path()).await.expect("the coordinator starts");
        let honest = Honest::start(data.path(), &coordinator, 4, 10, Duration::from_millis(50)).await;
        Self { data, coordinator, honest: honest.expect("honest agents connect") }
    }

    fn issue(&self, name: &str) -> Credentials {
        let now = Clock::system().now_micros();
        Credentials::issue(self.data.path(), name, &Place::default(), self.coordinator.agents, now).expect("issue")
    }

    fn doors(&self) -> [Door; 2] {
        [Door::Agents(self.issue("bad")), Door::Feed(self.coordinator.feed)]
    }

    /// The honest agents kept their sessions, and a new one gets in.
    async fn end(self) {
        let newcomer = tokio::time::timeout(HANG, self.issue("newcomer").open([9; 16])).await;
        assert!(newcomer.expect("in time").is_ok(), "a new agent gets in");
        let pace = self.honest.stop().await.expect("no honest agent is harmed");
        assert!(pace.results > 0 && pace.wait(1.0) < Duration::from_secs(30), "longest wait {:?}", pace.wait(1.0));
        self.coordinator.end().await.expect("ends");
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_faultline-lab"))
}

async fn play(door: &Door, attack: Attack) -> Outcome {
    door.attack(attack, STEPS, HANG).await.expect("the door opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_ended_at_once() {
    let stage = Stage::new().await;
    let before = stage.coordinator.memory().expect("memory");
    let floods = [
        Attack::RapidReset,
        Attack::ProvokedReset,
        Attack::Continuation,
        Attack::EmptyData,
        Attack::TinyData,
        Attack::Ping,
        Attack::Settings,
        Attack::UnknownFrames,
        Attack::HeaderBomb,
        Attack::ManyRequests,
    ];
    for door in stage.doors() {
        for attack in floods {
            let outcome = play(&door, attack).await;
            assert!(outcome.closed.is_some_and(|closed| closed < AT_ONCE), "{attack:?}: {outcome:?}");
        }
    }
    let after = stage.coordinator.memory().expect("memory");
    assert!(after.rss < before.rss + GROWN.0, "{after:?} after {before:?}");
    assert!(after.peak < before.rss + GROWN.1, "{after:?} after {before:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stalls_drips_or_does_not_read_loses_its_connection() {
    let stage = Stage::new().await;
    let slow = [
        Attack::StalledMessage,
        Attack::DrippedMessage,
        Attack::DrippedFrame,
        Attack::Unread,
        Attack::Deaf,
        Attack::Oversize,
        Attack::Recursion,
    ];
    let mut all = JoinSet::new();
    for (n, attack) in slow.into_iter().enumerate() {
        for door in [Door::Agents(stage.issue(&format!("bad-{n}"))), Door::Feed(stage.coordinator.feed)] {
            all.spawn(async move {
                // Two hundred questions: as many as a deaf one may ask before it counts as a flood.
                let outcome = door.attack(attack, 200, HANG).await.expect("the door opens");
                assert!(outcome.closed.is_some(), "{attack:?}: {outcome:?}");
                if matches!(attack, Attack::Oversize | Attack::Recursion) {
                    assert!(outcome.told.answers > 0, "refused with a status: {attack:?}: {outcome:?}");
                }
            });
        }
    }
    let before = stage.coordinator.memory().expect("memory");
    all.join_all().await;
    let after = stage.coordinator.memory().expect("memory");
    assert!(after.peak < before.rss + GROWN.1, "{after:?} after {before:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_sockets_are_closed_and_keep_nobody_out() {
    let stage = Stage::new().await;
    let before = stage.coordinator.memory().expect("memory");
    let mut all = JoinSet::new();
    for n in 0..20 {
        let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 32, 0, 1).to_bits() + n);
        for (port, idle, count) in [
            (stage.coordinator.agents, Idle::Tcp, 40),
            (stage.coordinator.agents, Idle::SlowTls, 10),
            (stage.coordinator.agents, Idle::Hello, 20),
            (stage.coordinator.agents, Idle::Tls, 5),
            (stage.coordinator.agents, Idle::Http2, 5),
            (stage.coordinator.feed, Idle::Tcp, 30),
            (stage.coordinator.feed, Idle::Http2, 10),
        ] {
            let door = door(&stage, port, source.into(), n);
            all.spawn(async move { attack::idle(&door, idle, count, HANG).await });
        }
    }
    // While they are there, somebody new gets in.
    let newcomer = tokio::time::timeout(HANG, stage.issue("early").open([8; 16])).await;
    assert!(newcomer.expect("in time").is_ok(), "a new agent gets in");
    for (held, left) in all.join_all().await {
        assert_eq!(left, 0, "still open after {held:?}");
    }
    let after = stage.coordinator.memory().expect("memory");
    assert!(after.peak < before.rss + GROWN.1, "{after:?} after {before:?}");
    stage.end().await;
}

fn door(stage: &Stage, port: SocketAddr, source: IpAddr, n: u32) -> Door {
    if port == stage.coordinator.feed {
        Door::FeedFrom(port, source)
    } else {
        Door::Agents(stage.issue(&format!("idle-{n}")).at(source))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_swells_is_refused_and_costs_little() {
    let stage = Stage::new().await;
    let before = stage.coordinator.memory().expect("memory");
    let bad = stage.issue("bad");
    for bomb in [Bomb::Gzip, Bomb::Zstd] {
        for bytes in [2 << 20, 256 << 20] {
            let refused = bomb.to_agents(&bad, bytes).await.expect("refused");
            assert_eq!(refused.code, Code::ResourceExhausted, "{bomb:?}: {refused:?}");
            let refused = bomb.to_feed(stage.coordinator.feed, bytes).await.expect("refused");
            // Too large already as it comes, or once it has grown.
            let is_too_large = matches!(refused.code, Code::ResourceExhausted | Code::OutOfRange);
            assert!(is_too_large, "{bomb:?}: {refused:?}");
        }
    }
    let after = stage.coordinator.memory().expect("memory");
    assert!(after.peak < before.rss + GROWN.0, "{after:?} after {before:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_announce_the_same_bounds() {
    let stage = Stage::new().await;
    for door in stage.doors() {
        // One ping, and then silence until the connection is closed: all that the port announces is heard.
        let told = door.attack(Attack::Ping, 1, HANG).await.expect("the door opens").told;
        let settings = told.settings;
        assert_eq!(settings.streams, Some(16));
        assert_eq!(settings.stream_window, Some(256 << 10));
        assert_eq!(settings.connection_window, 1 << 20);
        assert_eq!(settings.header_list, Some(16 << 10));
        assert!(settings.frame.is_none_or(|frame| frame == 16 << 10), "{settings:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_comes_back_whole() {
    let data = tempfile::tempdir().expect("a temporary directory");
    stage::prepare(data.path()).expect("prepare");
    let herd = herd::run(program(), data.path(), 500).await.expect("all come back");
    assert!(herd.after.peak < 512 << 10, "{herd:?}");
}
