//! Names: every code and every silence has its cause, chains are followed, and cut answers are asked for over TCP.

mod encrypted;
mod places;
mod server;

use faultline_proto::types::v1::{Cause, DnsSpec, HttpSpec, Layer, Protocol, Reason, TcpSpec, assignment::Spec};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{
        RData, Record, RecordType,
        rdata::{A, AAAA, NS, SOA, TXT},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::server::*;
use super::{AUTHORITATIVE, SYSTEM, split_server};
use crate::{
    policy::Policy,
    probe::{Outcome, ProbeSettings, Prober, ResolverChoice, testing::*},
};

#[tokio::test]
async fn an_answer_passes_and_tells_its_chain() {
    let server = DnsServer::new(|query, answer, _| {
        alias_to(answer, &query.name, "edge.cdn.test.");
        alias_to(answer, &name("edge.cdn.test."), "site-1.cdn.test.");
        address(answer, &name("site-1.cdn.test."));
        Act::Answer
    })
    .await;
    let observed = ask(&server, "www.example.test").await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!((observed.result.rcode_plus_one, observed.result.protocol()), (1, Protocol::DnsUdp));
    let facts = observed.facts.expect("facts");
    assert_eq!(facts.cnames, ["edge.cdn.test", "site-1.cdn.test"]);
    assert_eq!(facts.resolver, server.address.to_string());
}

#[tokio::test]
async fn each_code_has_its_cause() {
    for (code, cause) in [
        (ResponseCode::NXDomain, Cause::DnsNxdomain),
        (ResponseCode::ServFail, Cause::DnsServfail),
        (ResponseCode::Refused, Cause::DnsRefused),
        (ResponseCode::NoError, Cause::DnsEmptyAnswer),
        (ResponseCode::NotImp, Cause::DnsWrongAnswer),
    ] {
        let server = DnsServer::new(move |_, answer, _| {
            answer.metadata.response_code = code;
            Act::Answer
        })
        .await;
        let observed = ask(&server, "www.example.test").await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, cause)), "dns kind");
        assert_eq!(observed.result.rcode_plus_one, u32::from(u16::from(code)) + 1);
        let observed = connect_to(&server, "www.example.test", 80).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, cause)), "below connect");
    }
}

#[tokio::test]
async fn answers_must_be_as_many_and_such_as_the_spec_wants() {
    let server = DnsServer::new(|query, answer, _| {
        address(answer, &query.name);
        let other = RData::A(A::new(192, 0, 2, 7));
        answer.add_answer(Record::from_rdata(query.name.clone(), 60, other));
        Act::Answer
    })
    .await;
    let judged = async |min_answers: u32, patterns: &[&str]| {
        let Spec::Dns(spec) = dns_spec("www.example.test", "A", SYSTEM) else { unreachable!("a dns spec") };
        let answer_matches = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        run(&system_prober(&server), Spec::Dns(DnsSpec { min_answers, answer_matches, ..spec })).await.outcome()
    };
    let wrong = Some(failed(Layer::Dns, Cause::DnsWrongAnswer));
    assert_eq!(judged(2, &[r"^192\.0\.2\.7$", r"^127\."]).await, Some(Outcome::Passed));
    assert_eq!(judged(3, &[]).await, wrong);
    assert_eq!(judged(0, &[r"^192\.0\.2\.7$", r"^10\."]).await, wrong);
}

#[tokio::test]
async fn a_failure_that_goes_without_checking_is_bogus() {
    let server = DnsServer::new(|query, answer, seen| {
        if seen.metadata.checking_disabled {
            address(answer, &query.name);
        } else {
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        Act::Answer
    })
    .await;
    let observed = ask(&server, "www.example.test").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsDnssecBogus)));
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_closed_port_is_not() {
    let server = DnsServer::new(|_, _, _| Act::Nothing).await;
    let observed = run_short(&system_prober(&server), dns_spec("www.example.test", "A", SYSTEM)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsTimeout)));
    let closed = server.address;
    drop(server);
    let observed = run(&prober_of(vec![closed]), dns_spec("www.example.test", "A", SYSTEM)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsUnreachable)));
}

#[tokio::test]
async fn what_is_not_dns_is_malformed() {
    let garbled = DnsServer::new(|_, _, _| Act::Garbled).await;
    let observed = ask(&garbled, "www.example.test").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsMalformed)));
    let stranger = DnsServer::new(|_, _, _| Act::Raw(b"hello, world")).await;
    let observed = run_short(&system_prober(&stranger), dns_spec("www.example.test", "A", SYSTEM)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsMalformed)));
}

#[tokio::test]
async fn a_loop_and_an_endless_chain_are_malformed() {
    let looped = DnsServer::new(|query, answer, _| {
        alias_to(answer, &query.name, "a.test.");
        alias_to(answer, &name("a.test."), "b.test.");
        alias_to(answer, &name("b.test."), "a.test.");
        Act::Answer
    })
    .await;
    // A new alias at each question, for ever.
    let endless = DnsServer::new(|query, answer, _| {
        alias_to(answer, &query.name, &format!("x{}", query.name));
        Act::Answer
    })
    .await;
    for server in [looped, endless] {
        let observed = connect_to(&server, "www.example.test", 80).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsMalformed)));
        assert!(observed.facts.is_some_and(|facts| facts.cnames.len() <= 8));
    }
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_over_tcp() {
    let server = DnsServer::new(|query, answer, seen| {
        if seen.transport == Protocol::DnsUdp {
            answer.metadata.truncation = true;
        } else {
            address(answer, &query.name);
        }
        Act::Answer
    })
    .await;
    let observed = ask(&server, "www.example.test").await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.result.protocol(), Protocol::DnsTcp);
}

#[tokio::test]
async fn aaaa_is_asked_for_only_when_there_is_no_a() {
    let target = tcp_server(|_stream| async {}).await;
    let port = target.address.port();
    let only_v6 = DnsServer::new(|query, answer, _| {
        if query.query_type == RecordType::AAAA {
            let loopback = AAAA(std::net::Ipv6Addr::LOCALHOST);
            answer.add_answer(Record::from_rdata(query.name.clone(), 60, RData::AAAA(loopback)));
        }
        Act::Answer
    })
    .await;
    let observed = connect_to(&only_v6, "www.example.test", port).await;
    assert_eq!(observed.result.address.len(), 16);

    let both = DnsServer::new(|query, answer, _| {
        assert_eq!(query.query_type, RecordType::A);
        address(answer, &query.name);
        Act::Answer
    })
    .await;
    let observed = connect_to(&both, "www.example.test", port).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.result.address, [127, 0, 0, 1]);
    assert!(observed.result.timings.is_some_and(|timings| timings.dns_us > 0 && timings.connect_us > 0));
}

#[tokio::test]
async fn a_page_by_name_passes_all_four_layers() {
    let dns = DnsServer::new(|query, answer, _| {
        address(answer, &query.name);
        Act::Answer
    })
    .await;
    let authority = Authority::new();
    let config = authority.issue("www.example.test", |_| {}).server(&[b"http/1.1"]);
    let server = tls_server(config, |mut session| async move {
        let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
        session.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
    })
    .await;
    let resolver = ResolverChoice::Servers(vec![dns.address]);
    let prober = Prober::new(ProbeSettings { resolver, ..settings(&authority) }).expect("a prober");
    let url = format!("https://www.example.test:{}/", server.address.port());
    let observed = run(&prober, Spec::Https(HttpSpec { url, ..HttpSpec::default() })).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    let timings = observed.result.timings.expect("timings");
    let layers = [timings.dns_us, timings.connect_us, timings.tls_us, timings.first_byte_us, timings.body_us];
    assert!(layers.iter().all(|layer| *layer > 0), "{timings:?}");
}

#[tokio::test]
async fn another_server_is_asked_when_the_first_fails() {
    let failing = DnsServer::new(|_, answer, _| {
        answer.metadata.response_code = ResponseCode::ServFail;
        Act::Answer
    })
    .await;
    let good = DnsServer::new(|query, answer, _| {
        address(answer, &query.name);
        Act::Answer
    })
    .await;
    let prober = prober_of(vec![failing.address, good.address]);
    let observed = run(&prober, dns_spec("www.example.test", "A", SYSTEM)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.facts.expect("facts").resolver, good.address.to_string());
}

#[tokio::test]
async fn a_listed_code_passes_and_others_do_not() {
    let server = DnsServer::new(|_, answer, _| {
        answer.metadata.response_code = ResponseCode::Refused;
        Act::Answer
    })
    .await;
    let prober = prober_of(Vec::new());
    for (rcodes, expected) in [
        (vec!["REFUSED"], Some(Outcome::Passed)),
        (vec!["NOERROR", "NXDOMAIN"], Some(failed(Layer::Dns, Cause::DnsRefused))),
    ] {
        let Spec::Dns(spec) = dns_spec("www.example.test", "TXT", &server.address.to_string()) else { unreachable!() };
        let rcodes = rcodes.into_iter().map(str::to_owned).collect();
        let observed = run(&prober, Spec::Dns(DnsSpec { rcodes, ..spec })).await;
        assert_eq!(observed.outcome(), expected);
        assert_eq!(observed.facts.expect("facts").resolver, server.address.to_string());
    }
}

#[tokio::test]
async fn the_authority_is_found_and_asked_without_recursion() {
    let authority = DnsServer::new(|query, answer, seen| {
        assert!(!seen.metadata.recursion_desired);
        answer.add_answer(Record::from_rdata(query.name.clone(), 60, RData::TXT(TXT::new(vec!["yes".into()]))));
        Act::Answer
    })
    .await;
    let resolver = DnsServer::new(|query, answer, seen| {
        assert!(seen.metadata.recursion_desired);
        match (query.query_type, query.name.to_lowercase().to_ascii().as_str()) {
            (RecordType::NS, "example.test.") => {
                let server = RData::NS(NS(name("ns1.example.test.")));
                answer.add_answer(Record::from_rdata(query.name.clone(), 60, server));
            }
            (RecordType::NS, _) => {
                let (zone, ns) = (name("example.test."), name("ns1.example.test."));
                let soa = SOA::new(ns.clone(), ns, 1, 1, 1, 1, 1);
                answer.add_authority(Record::from_rdata(zone, 60, RData::SOA(soa)));
            }
            (RecordType::A, "ns1.example.test.") => address(answer, &query.name),
            other => panic!("asked for {other:?}"),
        }
        Act::Answer
    })
    .await;
    let settings = ProbeSettings {
        resolver: ResolverChoice::Servers(vec![resolver.address]),
        authority_port: authority.address.port(),
        ..settings(&Authority::new())
    };
    let prober = Prober::new(settings).expect("a prober");
    let observed = run(&prober, dns_spec("a.b.www.example.test", "TXT", AUTHORITATIVE)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.facts.expect("facts").resolver, "authority:ns1.example.test");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_after_resolution() {
    let server = DnsServer::new(|query, answer, _| {
        let inside = RData::A(A::new(169, 254, 169, 254));
        answer.add_answer(Record::from_rdata(query.name.clone(), 60, inside));
        Act::Answer
    })
    .await;
    let settings = ProbeSettings {
        resolver: ResolverChoice::Servers(vec![server.address]),
        policy: Policy::default(),
        ..settings(&Authority::new())
    };
    let prober = Prober::new(settings).expect("a prober");
    let spec = Spec::Tcp(TcpSpec { host: "www.example.test".into(), port: 80 });
    let observed = run(&prober, spec).await;
    assert_eq!(observed.outcome(), Some(Outcome::Unmeasured { reason: Reason::PolicyRefused }));
}

#[test]
fn servers_are_hosts_with_an_optional_port() {
    assert_eq!(split_server("192.0.2.1"), Some(("192.0.2.1", None)));
    assert_eq!(split_server("dns.example:5300"), Some(("dns.example", Some(5300))));
    assert_eq!(split_server("2001:db8::1"), Some(("2001:db8::1", None)));
    assert_eq!(split_server("[2001:db8::1]"), Some(("2001:db8::1", None)));
    assert_eq!(split_server("[2001:db8::1]:5300"), Some(("2001:db8::1", Some(5300))));
    assert_eq!(split_server("dns.example:0"), None);
    assert_eq!(split_server("dns.example:port"), None);
}
