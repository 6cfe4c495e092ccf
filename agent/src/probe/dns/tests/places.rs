//! All addresses of a host, all servers of a zone, and more than one attempt.

use std::sync::atomic::{AtomicUsize, Ordering};

use faultline_proto::{
    convert,
    types::v1::{Addresses, Assignment, Cause, Layer, TcpSpec, assignment::Spec},
};
use hickory_resolver::proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{
            A, AAAA, NS,
            opt::{EdnsOption, NSIDPayload},
        },
    },
};
use tokio::net::TcpListener;

use super::{
    super::{AUTHORITATIVE, SYSTEM},
    server::*,
};
use crate::probe::{Observed, Outcome, ProbeSettings, Prober, ResolverChoice, testing::*};

async fn run_all(prober: &Prober, spec: Spec) -> Vec<Observed> {
    let all = Addresses::All.into();
    prober.run(&Assignment { addresses: all, ..assignment(spec, std::time::Duration::from_secs(5)) }).await
}

fn record(answer: &mut Message, query: &Query, data: RData) {
    answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
}

#[tokio::test]
async fn each_address_of_a_host_is_its_own_result() {
    let names = DnsServer::new(|query, answer, _| {
        match query.query_type {
            RecordType::A => [1, 2].map(|last| record(answer, query, RData::A(A::new(127, 0, 0, last)))).len(),
            _ => [record(answer, query, RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1)))].len(),
        };
        Act::Answer
    })
    .await;
    let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port().into();
    let spec = TcpSpec { host: "front.example.test".into(), port };
    let results = run_all(&system_prober(&names), Spec::Tcp(spec.clone())).await;
    let addresses: Vec<Vec<u8>> = results.iter().map(|observed| observed.result.address.clone()).collect();
    assert_eq!(addresses[..2], [vec![127, 0, 0, 1], vec![127, 0, 0, 2]]);
    assert_eq!((addresses.len(), addresses[2].len()), (3, 16));
    let refused = Some(failed(Layer::Connect, Cause::ConnectRefused));
    assert_eq!((results[0].outcome(), results[1].outcome()), (Some(Outcome::Passed), refused));
    for observed in &results[..2] {
        let timings = observed.result.timings.expect("timings");
        assert!(timings.dns_us > 0 && timings.total_us >= timings.dns_us + timings.connect_us, "{timings:?}");
    }
    let first = run(&system_prober(&names), Spec::Tcp(spec)).await;
    assert_eq!(first.result.address, [127, 0, 0, 1], "the first alone");
}

#[tokio::test]
async fn a_family_that_cannot_be_resolved_is_a_result_too() {
    let names = DnsServer::new(|query, answer, _| {
        if query.query_type == RecordType::A {
            address(answer, &query.name);
        } else {
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        Act::Answer
    })
    .await;
    let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port().into();
    let spec = Spec::Tcp(TcpSpec { host: "front.example.test".into(), port });
    let outcomes: Vec<_> = run_all(&system_prober(&names), spec).await.iter().map(Observed::outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Passed), Some(failed(Layer::Dns, Cause::DnsServfail))]);
}

#[tokio::test]
async fn each_name_server_of_a_zone_is_its_own_result() {
    let server = DnsServer::new(|query, answer, _| {
        let (name, kind) = (query.name.to_string(), query.query_type);
        match (name.to_ascii_lowercase().as_str(), kind) {
            ("example.test.", RecordType::NS) => {
                for server in ["b.ns.test.", "a.ns.test.", "lost.ns.test."] {
                    record(answer, query, RData::NS(NS(super::server::name(server))));
                }
            }
            ("a.ns.test.", RecordType::A) => record(answer, query, RData::A(A::new(127, 0, 0, 1))),
            ("b.ns.test.", RecordType::A) => record(answer, query, RData::A(A::new(127, 0, 0, 9))),
            ("example.test.", RecordType::A) => address(answer, &query.name),
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        Act::Answer
    })
    .await;
    let resolver = ResolverChoice::Servers(vec![server.address]);
    let settings = ProbeSettings { resolver, authority_port: server.address.port(), ..settings(&Authority::new()) };
    let results =
        run_all(&Prober::new(settings).expect("a prober"), dns_spec("example.test", "A", AUTHORITATIVE)).await;
    let told: Vec<_> = results
        .iter()
        .map(|observed| (observed.facts.as_ref().expect("facts").resolver.as_str(), observed.outcome()))
        .collect();
    assert_eq!(
        told,
        [
            ("authority:a.ns.test", Some(Outcome::Passed)),
            ("authority:b.ns.test", Some(failed(Layer::Dns, Cause::DnsUnreachable))),
            ("authority:lost.ns.test", Some(failed(Layer::Dns, Cause::DnsEmptyAnswer))),
        ]
    );
}

#[tokio::test]
async fn a_retry_hides_no_failure() {
    let asked = AtomicUsize::new(0);
    let server = DnsServer::new(move |query, answer, _| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            answer.metadata.response_code = ResponseCode::Refused;
        } else {
            address(answer, &query.name);
        }
        Act::Answer
    })
    .await;
    let assignment = assignment(dns_spec("www.example.test", "A", SYSTEM), std::time::Duration::from_secs(5));
    let results = system_prober(&server).run(&Assignment { retries: 2, ..assignment }).await;
    let told: Vec<_> = results.iter().map(|observed| (observed.result.attempt, observed.outcome())).collect();
    assert_eq!(told, [(1, Some(failed(Layer::Dns, Cause::DnsRefused))), (2, Some(Outcome::Passed))]);
    let [first, second] = [0, 1].map(|at| convert::micros(results[at].result.started_at.as_ref()));
    assert!(first < second, "{first:?} and {second:?}");
}

#[tokio::test]
async fn a_server_that_names_itself_is_told() {
    for (given, told) in [(b"fra3.dns".as_slice(), "fra3.dns"), (&[0, 0xff], "0x00ff")] {
        let server = DnsServer::new(move |query, answer, seen| {
            address(answer, &query.name);
            if seen.wants_name {
                let mut edns = Edns::new();
                edns.options_mut().insert(EdnsOption::NSID(NSIDPayload::new(given).expect("short")));
                answer.set_edns(edns);
            }
            Act::Answer
        })
        .await;
        let facts = ask(&server, "www.example.test").await.facts.expect("facts");
        assert_eq!(facts.nsid, told);
    }
}
