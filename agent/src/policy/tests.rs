//! Each limit refuses what is beyond it, says which key moves it, and lets the rest through.

use faultline_proto::{
    convert::duration,
    types::v1::{DnsSpec, TcpSpec},
};

use super::*;

#[test]
fn a_literal_address_meets_the_policy_at_assignment() {
    for (host, expected) in [
        ("127.0.0.1", "allow_loopback"),
        ("::1", "allow_loopback"),
        ("::ffff:127.0.0.1", "allow_loopback"),
        ("10.1.2.3", "allow_private"),
        ("100.64.0.1", "allow_private"),
        ("169.254.1.1", "allow_private"),
        ("fd12::1", "allow_private"),
        ("64:ff9b::a00:1", "allow_private"),
        ("64:ff9b::a9fe:a9fe", "never"),
        ("169.254.169.254", "never"),
        ("0.0.0.0", "never"),
        ("224.0.0.1", "never"),
    ] {
        let refusal = Policy::default().check(&tcp(1, host, 443)).expect_err(host).to_string();
        assert!(refusal.contains(expected), "{host}: {refusal}");
    }
    assert_eq!(Policy::default().check(&tcp(1, "192.0.2.1", 443)), Ok(()));
    assert_eq!(Policy::default().check(&tcp(1, "example.com", 443)), Ok(()));
}

#[test]
fn metadata_stays_closed_when_all_else_is_open() {
    let open = Policy { allow_loopback: true, allow_private: true, ports: Ports::Any, ..Policy::default() };
    assert_eq!(open.check(&tcp(1, "10.0.0.1", 9000)), Ok(()));
    assert_eq!(open.check(&tcp(1, "127.0.0.1", 9000)), Ok(()));
    assert!(matches!(open.check(&tcp(1, "169.254.169.254", 80)), Err(PolicyError::Never(..))));
    assert!(matches!(open.check(&tcp(1, "fd00:ec2::254", 80)), Err(PolicyError::Never(..))));
}

#[test]
fn a_port_outside_the_list_names_the_list() {
    let refusal = Policy::default().check(&tcp(1, "example.com", 25)).expect_err("port 25").to_string();
    assert_eq!(refusal, "port 25 is not allowed here: [policy] ports = [53, 80, 443, 853]");
}

#[test]
fn an_interval_below_the_floor_names_the_floor() {
    let mut assignment = tcp(1, "example.com", 443);
    assignment.interval = Some(duration(Duration::from_secs(2)));
    let refusal = Policy::default().check(&assignment).expect_err("2 s").to_string();
    assert_eq!(refusal, "interval 2s is below the 10s floor: [policy] min_interval");
    let eager = Policy { min_interval: Duration::ZERO, ..Policy::default() };
    assignment.interval = Some(duration(Duration::from_millis(500)));
    assert!(matches!(eager.check(&assignment), Err(PolicyError::Interval(_, INTERVAL_FLOOR))));
}

#[test]
fn what_is_too_many_is_refused_and_the_rest_runs() {
    let policy = Policy { max_assignments: 2, ..Policy::default() };
    let push = (1..=4).map(|slot| tcp(slot, "example.com", 443)).collect();
    let (accepted, refused) = policy.judge(push);
    assert_eq!(accepted.len(), 2);
    assert_eq!(refused.iter().map(|refusal| refusal.slot).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn an_assignment_that_cannot_be_run_is_refused_by_name() {
    let none = Assignment { spec: None, ..tcp(1, "example.com", 443) };
    assert!(matches!(Policy::default().check(&none), Err(PolicyError::Malformed(_))));
    let dns = |server: &str, kind: &str, rcode: &str| Assignment {
        spec: Some(Spec::Dns(DnsSpec {
            name: "example.com".into(),
            record_type: kind.into(),
            server: server.into(),
            rcodes: vec![rcode.into()],
            ..DnsSpec::default()
        })),
        ..tcp(1, "", 0)
    };
    assert_eq!(Policy::default().check(&dns("system", "A", "NOERROR")), Ok(()));
    assert_eq!(Policy::default().check(&dns("192.0.2.53", "AAAA", "refused")), Ok(()));
    assert!(Policy::default().check(&dns("system", "BOGUS", "NOERROR")).is_err());
    assert!(Policy::default().check(&dns("system", "A", "MAYBE")).is_err());
    assert!(matches!(Policy::default().check(&dns("127.0.0.1:53", "A", "NOERROR")), Err(PolicyError::Loopback(_))));
    assert!(matches!(Policy::default().check(&dns("192.0.2.53:5300", "A", "NOERROR")), Err(PolicyError::Port(..))));
}

fn tcp(slot: u32, host: &str, port: u32) -> Assignment {
    Assignment {
        slot,
        target: format!("test/{slot}"),
        interval: Some(duration(Duration::from_secs(30))),
        phase: None,
        timeout: Some(duration(Duration::from_secs(5))),
        spec: Some(Spec::Tcp(TcpSpec { host: host.into(), port })),
        ..Assignment::default()
    }
}
