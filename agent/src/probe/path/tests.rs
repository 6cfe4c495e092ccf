//! Which hop is told of which failure, and when a walk is due.

use faultline_proto::types::v1::{DnsSpec, HttpSpec, TcpSpec};
use tokio::net::TcpListener;

use super::*;

fn hop(ttl: u8, address: &str) -> Hop {
    Hop { ttl, address: address.parse().expect("an address"), round_trip: Duration::from_millis(1) }
}

fn path(hops: &[Hop]) -> Path {
    let mut path = Path::default();
    for hop in hops {
        path.add(*hop);
    }
    path
}

fn target(last: u8) -> SocketAddr {
    SocketAddr::from(([9, 9, 9, last], 443))
}

const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(4, 4, 4, 4));

#[test]
fn who_answers_at_several_distances_is_at_the_least() {
    let path = path(&[hop(7, "4.4.4.4"), hop(2, "8.8.8.8"), hop(5, "4.4.4.4"), hop(6, "4.4.4.4")]);
    assert_eq!(path.hops(), [hop(2, "8.8.8.8"), hop(5, "4.4.4.4")]);
}

#[test]
fn the_wire_gets_the_last_public_hop() {
    let path = path(&[hop(1, "192.168.0.1"), hop(2, "8.8.8.8"), hop(3, "100.64.0.9"), hop(4, "fd00::1")]);
    assert_eq!(path.last_public(), Some(&hop(2, "8.8.8.8")));
    assert_eq!(path.last(), Some(&hop(4, "fd00::1")));
}

#[test]
fn only_a_way_that_was_lost_is_walked() {
    let result = |cause| ProbeResult { address: vec![9, 9, 9, 9], cause: i32::from(cause), ..ProbeResult::default() };
    let of = |spec| Assignment { spec: Some(spec), ..Assignment::default() };
    let tcp = of(Spec::Tcp(TcpSpec { host: "example.test".into(), port: 8443 }));
    let page = of(Spec::Https(HttpSpec { url: "https://example.test/".into(), ..HttpSpec::default() }));
    let at = |port| Some(SocketAddr::from(([9, 9, 9, 9], port)));
    assert_eq!(towards(&tcp, &result(Cause::ConnectTimeout)), at(8443));
    assert_eq!(towards(&page, &result(Cause::ConnectUnreachable)), at(443));
    assert_eq!(towards(&page, &result(Cause::QuicHandshakeTimeout)), at(443));
    for cause in [Cause::ConnectRefused, Cause::TlsTimeout, Cause::HttpStatus, Cause::DnsTimeout, Cause::Unspecified] {
        assert_eq!(towards(&page, &result(cause)), None, "{cause:?}");
    }
}

#[test]
fn of_questions_only_those_to_a_given_server_are_walked() {
    let asked = |server: &str| {
        let spec = Spec::Dns(DnsSpec { server: server.into(), ..DnsSpec::default() });
        let result = ProbeResult { cause: Cause::DnsTimeout.into(), ..ProbeResult::default() };
        towards(&Assignment { spec: Some(spec), ..Assignment::default() }, &result)
    };
    assert_eq!(asked("9.9.9.9"), Some(SocketAddr::from(([9, 9, 9, 9], 53))));
    assert_eq!(asked("system"), None);
    assert_eq!(asked("authoritative"), None);
}

#[test]
fn an_address_is_walked_every_five_minutes_and_one_at_a_time() {
    let (mut ways, begin) = (Ways::new(), Instant::now());
    let asked = |ways: &mut Ways, after_s: u64, last: u8| {
        ways.failed(begin + Duration::from_secs(after_s), target(last));
        ways.pending.take().is_some()
    };
    assert!(asked(&mut ways, 0, 1));
    assert!(!asked(&mut ways, 20, 2), "the first goes on");
    ways.walked(begin + Duration::from_secs(21), target(1).ip(), Some(ROUTER));
    assert!(asked(&mut ways, 22, 2));
    ways.walked(begin + Duration::from_secs(24), target(2).ip(), None);
    assert!(!asked(&mut ways, 31, 3), "within ten seconds of the one before");
    assert!(asked(&mut ways, 32, 3));
    ways.walked(begin + Duration::from_secs(33), target(3).ip(), None);
    assert!(!asked(&mut ways, 320, 1), "within five minutes");
    assert!(asked(&mut ways, 321, 1));
}

#[test]
fn the_next_failure_carries_the_hop_until_the_target_answers() {
    let (mut ways, now) = (Ways::new(), Instant::now());
    assert_eq!(ways.failed(now, target(1)), None, "the failure that asks waits for nothing");
    ways.walked(now, target(1).ip(), Some(ROUTER));
    assert_eq!(ways.failed(now, target(1)), Some(ROUTER));
    ways.answered(target(1).ip());
    assert_eq!(ways.failed(now, target(1)), None);

    assert_eq!(ways.failed(now + APART, target(2)), None);
    ways.answered(target(2).ip());
    ways.walked(now + APART, target(2).ip(), Some(ROUTER));
    assert_eq!(ways.failed(now + APART, target(2)), None, "it answered while the walk went on");
}

#[test]
fn loopback_is_never_walked_for_a_hint_and_what_is_remembered_is_bounded() {
    let (mut ways, begin) = (Ways::new(), Instant::now());
    ways.failed(begin, SocketAddr::from(([127, 0, 0, 1], 443)));
    assert_eq!(ways.pending, None);
    for number in 0..3000_u32 {
        let target = SocketAddr::from((std::net::Ipv4Addr::from(0x0800_0000 + number), 443));
        ways.failed(begin + APART * number, target);
        ways.walked(begin + APART * number, target.ip(), None);
    }
    assert_eq!(ways.known.len(), MAX_KNOWN.get());
}

#[tokio::test]
async fn a_closed_port_of_this_machine_is_one_hop_away() {
    for address in ["127.0.0.1", "::1"] {
        let target = SocketAddr::new(address.parse().expect("an address"), 9);
        let path = walk(target, None).await.expect("a walk");
        let hops: Vec<_> = path.hops().iter().map(|hop| (hop.ttl, hop.address)).collect();
        assert_eq!(hops, [(1, target.ip())], "{address}");
    }
}

#[tokio::test]
async fn a_port_that_is_open_or_refuses_is_reached_by_a_syn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let open = listener.local_addr().expect("an address");
    for target in [open, SocketAddr::from(([127, 0, 0, 1], 9))] {
        let path = walk::by_syn(target).await.expect("a walk");
        assert_eq!(path.last().map(|hop| (hop.ttl, hop.address)), Some((1, target.ip())), "{target}");
    }
}
