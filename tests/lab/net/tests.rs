//! The emulated internet as real clients see it, healthy and broken.

mod client;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::Scenario;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::*;
use client::{Seen, ask, probe};
use hickory_resolver::proto::rr::RecordType;

/// Ten times the speed of life: a resolver's patience of 3 s is 300 ms here.
fn net() -> Net {
    Net::start(&World::standard(), Clock::emulated(10.0), SEED).expect("a free port")
}

const SEED: u64 = 20_251_029;

fn agent(id: &str) -> Agent {
    World::standard().agent(id).expect("an agent of the standard world").clone()
}

fn target(id: &str) -> Target {
    World::standard().target(id).expect("a target of the standard world").clone()
}

fn on(ids: &[&str], effect: Effect) -> Fault {
    let targets = TargetSelect { ids: ids.iter().copied().map(str::to_owned).collect(), ..TargetSelect::default() };
    Fault { targets, agents: AgentSelect::default(), effect, share: 1.0, share_of: ShareOf::Runs, path: false }
}

async fn saw(net: &Net, agent: &Agent, target: &Target) -> String {
    probe(net, agent, target).await.map_or_else(|failure| failure, |_| "passed".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_world_answers_every_target_from_two_vantages() {
    let net = net();
    for agent in [agent("aws-iad-1"), agent("mtn-jnb-1")] {
        for target in World::standard().targets {
            let seen = probe(&net, &agent, &target).await;
            let Seen { address, body, .. } = seen.unwrap_or_else(|failure| panic!("{} {failure}", target.id));
            let is_dns = matches!(target.probe, Probe::Dns { .. });
            assert_eq!(address, (!is_dns).then(|| target.address_for(&agent).into()), "{}", target.id);
            if let Some(expected) = &target.expects {
                assert!(String::from_utf8_lossy(&body).contains(expected), "{}", target.id);
            }
        }
    }
    net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vantages_get_addresses_of_their_own_and_edges_show_themselves() {
    let net = net();
    let target = target("front-door/fabrikam-food");
    let near = probe(&net, &agent("bt-lon-1"), &target).await.expect("passed");
    let far = probe(&net, &agent("ntt-tyo-1"), &target).await.expect("passed");
    assert_ne!(near.address, far.address);
    assert_eq!(near.cnames, ["fabrikam-food.azurefd.net."]);
    assert!(near.headers["x-azure-ref"].to_str().expect("text").ends_with("FRA"));
    assert!(far.headers["x-azure-ref"].to_str().expect("text").ends_with("NRT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_tell_their_operator() {
    let net = net();
    let agent = agent("hetzner-fsn-1");
    let servers = ask(&agent, net.resolver(&agent), "bird-song.example", RecordType::NS).await.expect("name servers");
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["ns1.p16.dynect.net.", "ns2.p16.dynect.net."]);
    let missing = ask(&agent, net.resolver(&agent), "nobody.invalid", RecordType::A).await;
    assert_eq!(missing, Err("dns nxdomain".into()));
}

const SITE: &str = "front-door/contoso-air";
const QUIC: &str = "front-door/tailspin-video";
const DIRECT: &str = "control/quad9";
const TCP: &str = "app/queue-two";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_effect_of_each_layer_is_seen_as_what_it_is_and_heals() {
    let net = net();
    let agent = agent("comcast-phl-1");
    let rows = [
        (SITE, Effect::Dns(DnsEffect::Nxdomain), "dns nxdomain"),
        (SITE, Effect::Dns(DnsEffect::Servfail), "dns servfail"),
        (SITE, Effect::Dns(DnsEffect::Refused), "dns servfail"),
        (SITE, Effect::Dns(DnsEffect::EmptyAnswer), "dns empty_answer"),
        (SITE, Effect::Dns(DnsEffect::Timeout), "dns servfail"),
        (SITE, Effect::Dns(DnsEffect::WrongAnswer), "connect refused"),
        (DIRECT, Effect::Dns(DnsEffect::Refused), "dns refused"),
        (DIRECT, Effect::Dns(DnsEffect::Timeout), "dns timeout"),
        (SITE, Effect::Connect(ConnectEffect::Refused), "connect refused"),
        (SITE, Effect::Connect(ConnectEffect::Timeout), "connect timeout"),
        (TCP, Effect::Connect(ConnectEffect::Reset), "connect reset"),
        (QUIC, Effect::Connect(ConnectEffect::Refused), "quic refused"),
        (QUIC, Effect::Connect(ConnectEffect::Timeout), "quic timeout"),
        (SITE, Effect::Tls(TlsEffect::Timeout), "tls timeout"),
        (SITE, Effect::Tls(TlsEffect::Reset), "tls reset"),
        (SITE, Effect::Tls(TlsEffect::CertExpired), "tls cert_expired"),
        (SITE, Effect::Tls(TlsEffect::NameMismatch), "tls name_mismatch"),
        (SITE, Effect::Tls(TlsEffect::UnknownIssuer), "tls unknown_issuer"),
        (SITE, Effect::Tls(TlsEffect::SelfSigned), "tls unknown_issuer"),
        (QUIC, Effect::Tls(TlsEffect::Timeout), "quic timeout"),
        (QUIC, Effect::Tls(TlsEffect::CertExpired), "quic cert_expired"),
        (SITE, Effect::Http(HttpEffect::Status(502)), "http 502 x-azure-ref"),
        (SITE, Effect::Http(HttpEffect::Timeout), "http timeout"),
        (SITE, Effect::Http(HttpEffect::Reset), "http reset"),
        (QUIC, Effect::Http(HttpEffect::Status(504)), "http 504 x-azure-ref"),
        (QUIC, Effect::Http(HttpEffect::Timeout), "http timeout"),
        (QUIC, Effect::Http(HttpEffect::Reset), "http reset"),
    ];
    for (id, effect, expected) in rows {
        let fault = net.set(on(&[id], effect)).await.expect("set");
        assert_eq!(saw(&net, &agent, &target(id)).await, expected, "{id} {effect:?}");
        net.heal(fault).await.expect("healed");
        assert_eq!(saw(&net, &agent, &target(id)).await, "passed", "{id} after {effect:?}");
    }
    net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_at_connect_or_in_quic_never_passes() {
    let net = net();
    let agent = agent("comcast-phl-1");
    for (id, effect) in [
        (SITE, Effect::Connect(ConnectEffect::Reset)),
        (QUIC, Effect::Connect(ConnectEffect::Reset)),
        (QUIC, Effect::Tls(TlsEffect::Reset)),
    ] {
        let fault = net.set(on(&[id], effect)).await.expect("set");
        let seen = saw(&net, &agent, &target(id)).await;
        // The client may have connected before the reset reached it; then a later layer meets it.
        assert!(seen.ends_with("reset"), "{id} {effect:?}: {seen}");
        net.heal(fault).await.expect("healed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_passes_late() {
    let net = net();
    let delay = Duration::from_secs(5);
    net.set(on(&[SITE], Effect::Http(HttpEffect::Slow(delay)))).await.expect("set");
    let began = Instant::now();
    assert_eq!(saw(&net, &agent("comcast-phl-1"), &target(SITE)).await, "passed");
    assert!(began.elapsed() >= Clock::emulated(10.0).real(delay));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_seen_from_one_country_is_not_seen_from_another() {
    let net = net();
    let literal = "control/one";
    let agents = AgentSelect { country: vec!["jp".into()], ..AgentSelect::default() };
    let fault = Fault { agents, ..on(&[SITE, literal], Effect::Connect(ConnectEffect::Timeout)) };
    net.set(fault).await.expect("set");
    for id in [SITE, literal] {
        assert_eq!(saw(&net, &agent("ntt-tyo-1"), &target(id)).await, "connect timeout");
        assert_eq!(saw(&net, &agent("bt-lon-1"), &target(id)).await, "passed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_path_silences_targets_resolver_and_relay_until_it_heals() {
    let net = net();
    let (lost, other) = (agent("rogers-yyz-1"), agent("bell-yyz-1"));
    let mut echo = Echo::start(&net).await;
    let mut before = TcpStream::connect(net.agent_uplink(&lost)).await.expect("relayed");
    assert_eq!(echoed(&mut before, b"one").await, Some(*b"one"));
    assert_eq!(echo.peer().await.ip(), lost.address());

    let agents = AgentSelect { isp: vec!["rogers-ca".into()], ..AgentSelect::default() };
    let fault = Fault { agents, path: true, ..on(&[], Effect::Connect(ConnectEffect::Timeout)) };
    let fault = net.set(fault).await.expect("set");
    assert_eq!(saw(&net, &lost, &target(SITE)).await, "dns timeout");
    assert_eq!(saw(&net, &lost, &target("control/one")).await, "connect timeout");
    assert_eq!(saw(&net, &lost, &target(DIRECT)).await, "dns timeout");
    assert_eq!(saw(&net, &other, &target(SITE)).await, "passed");
    assert_eq!(echoed(&mut before, b"two").await, None);
    let mut during = TcpStream::connect(net.agent_uplink(&lost)).await.expect("accepted");
    assert_eq!(echoed(&mut during, b"new").await, None);

    net.heal(fault).await.expect("healed");
    assert_eq!(read(&mut before).await, Some(*b"two"), "what was on the way arrives");
    assert_eq!(read(&mut during).await, Some(*b"new"));
    assert_eq!(saw(&net, &lost, &target(SITE)).await, "passed");
    net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_door_scenario_breaks_the_edge_and_spares_origins_and_aws() {
    let (net, world) = (net(), World::standard());
    let scenario = Scenario::find("2025-10-29-azure-front-door", &world).expect("built in");
    for broken in &scenario.breaks {
        net.apply(broken).await.expect("broken");
    }
    for (id, expected) in [
        ("front-door/portal", 23..=28),
        ("front-door/contoso-air", 23..=28),
        ("front-door/tailspin-video", 23..=28),
        ("origin/contoso-air", 0..=0),
        ("azure/eastus/blob", 0..=0),
        ("aws/us-east-1/dynamodb", 0..=0),
    ] {
        let target = target(id);
        let seen = join_all(world.agents.iter().map(|agent| saw(&net, agent, &target))).await;
        let failed = seen.iter().filter(|seen| *seen != "passed").count();
        assert!(expected.contains(&failed), "seed {SEED}, {id}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nets_run_side_by_side() {
    let (one, two) = (net(), net());
    assert_ne!(one.port(), two.port());
    assert_eq!(saw(&one, &agent("bt-lon-1"), &target(SITE)).await, "passed");
    assert_eq!(saw(&two, &agent("bt-lon-1"), &target(SITE)).await, "passed");
}

async fn echoed(stream: &mut TcpStream, sent: &[u8; 3]) -> Option<[u8; 3]> {
    stream.write_all(sent).await.expect("written");
    read(stream).await
}

async fn read(stream: &mut TcpStream) -> Option<[u8; 3]> {
    let mut read = [0; 3];
    timeout(Duration::from_millis(500), stream.read_exact(&mut read)).await.ok()?.expect("open");
    Some(read)
}

/// Stands for the coordinator: says back what it hears.
struct Echo {
    peers: tokio::sync::mpsc::Receiver<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start(net: &Net) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        net.set_coordinator(listener.local_addr().expect("bound"));
        let (heard, peers) = tokio::sync::mpsc::channel(8);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((mut stream, peer)) = listener.accept().await {
                heard.send(peer).await.expect("the test listens");
                sessions.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.expect("echoed");
                });
            }
        });
        Self { peers, _tasks: tasks }
    }

    async fn peer(&mut self) -> SocketAddr {
        self.peers.recv().await.expect("a connection")
    }
}
