//! A whole examination over loopback servers, and what the limits mean as tables.

use std::{net::SocketAddr, path::Path};

use hickory_resolver::proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, rdata::A},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    task::JoinSet,
};

use super::*;
use crate::probe::{ResolverChoice, Roots, testing::*};

#[tokio::test]
async fn a_machine_whose_network_lets_everything_through_is_well() {
    let network = Network::new(&now()).await;
    let findings = network.examine().await;
    for what in ["clock", "dns", "https", "udp 443", "roots", "files", "memory"] {
        let finding = of(&findings, what);
        assert_eq!((finding.grade, &finding.fix), (Grade::Ok, &None), "{finding:?}");
    }
    assert!(text(&findings).contains("ok    dns           www.example.test: passed in"), "{}", text(&findings));
}

#[tokio::test]
async fn each_thing_that_is_shut_is_named_with_its_fix() {
    let mut network = Network::new("Sun, 06 Nov 1994 08:49:37 GMT").await;
    network.quic = None;
    network.dns.shutdown().await;
    let findings = network.examine().await;
    for (what, value, fix) in [
        ("clock", "s ahead of", "Let the system keep the time"),
        ("dns", "dns_", "name servers"),
        ("udp 443", "over QUIC: quic_refused", "Let udp/443 out"),
    ] {
        let finding = of(&findings, what);
        assert_eq!(finding.grade, Grade::Fail, "{finding:?}");
        assert!(finding.value.contains(value), "{finding:?}");
        assert!(finding.fix.as_deref().is_some_and(|told| told.contains(fix)), "{finding:?}");
    }
    assert_eq!(of(&findings, "https").grade, Grade::Ok, "that one is open");
    assert!(!is_fit(&findings));
}

#[tokio::test]
async fn a_name_that_is_denied_is_not_a_silent_resolver() {
    let mut network = Network::new(&now()).await;
    network.name = "nobody.example.test";
    let findings = network.examine().await;
    let dns = of(&findings, "dns");
    assert!(
        dns.value.contains("dns_nxdomain") && dns.fix.as_deref().is_some_and(|fix| fix.contains("--name")),
        "{dns:?}"
    );
}

#[tokio::test]
async fn a_clock_that_nobody_tells_is_unknown_and_not_wrong() {
    let mut network = Network::new(&now()).await;
    network.tcp = None;
    let findings = network.examine().await;
    assert_eq!(of(&findings, "clock").grade, Grade::Warn);
    let https = of(&findings, "https");
    assert!(https.fix.as_deref().is_some_and(|fix| fix.contains("Let tcp/")), "{https:?}");
}

#[test]
fn limits_are_judged_by_what_the_agent_needs() {
    use machine::{families, files, memory};
    let (ok, warn, fail) = (Grade::Ok, Grade::Warn, Grade::Fail);
    for (finding, expected) in [
        (families(true, true), ok),
        (families(true, false), warn),
        (families(false, true), warn),
        (families(false, false), fail),
        (files(None, 64), ok),
        (files(Some(320), 64), ok),
        (files(Some(319), 64), warn),
        (files(Some(127), 64), fail),
        (memory(None, 1 << 24), ok),
        (memory(Some(1 << 25), 1 << 24), ok),
        (memory(Some((1 << 25) - 1), 1 << 24), warn),
    ] {
        assert_eq!((finding.grade, finding.fix.is_none()), (expected, expected == ok), "{finding:?}");
    }
}

#[test]
fn a_date_is_read_from_the_head_alone() {
    let date = network::date;
    let head = "HTTP/1.1 204 No Content\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    assert_eq!(date(head), Some(784_111_777_500_000));
    assert_eq!(date("HTTP/1.1 200 OK\r\n\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), None);
    assert_eq!(date("HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"), None);
}

/// What a machine may find: a resolver, and one address that answers over TCP and over QUIC.
struct Network {
    name: &'static str,
    target: Url,
    resolver: SocketAddr,
    authority: Authority,
    tcp: Option<Server>,
    quic: Option<QuicServer>,
    dns: JoinSet<()>,
}

impl Network {
    /// Whose pages tell this date.
    async fn new(date: &str) -> Self {
        let authority = Authority::new();
        let answer = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\n\r\n");
        let (tcp, quic) = loop {
            let answer = answer.clone();
            let tcp = tls_server(authority.issue(HOST, |_| {}).server(&[b"http/1.1"]), move |mut session| {
                let answer = answer.clone();
                async move {
                    let mut buffer = [0; 4096];
                    if session.read(&mut buffer).await.is_err() {
                        return;
                    }
                    session.write_all(answer.as_bytes()).await.ok();
                    // Open until the other side has read enough.
                    while session.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
                }
            })
            .await;
            // The handshake is all that is asked of it.
            let quic = QuicServer::at(tcp.address, b"h3", authority.issue(HOST, |_| {}), |incoming| async {
                if let Ok(connection) = incoming.await {
                    connection.close(0x100_u32.into(), b"");
                }
            });
            if let Ok(quic) = quic {
                break (tcp, quic);
            }
        };
        let (resolver, dns) = resolver().await;
        let target = format!("https://{}/", tcp.address).parse().expect("a url");
        let (tcp, quic) = (Some(tcp), Some(quic));
        Self { name: "www.example.test", target, resolver, authority, tcp, quic, dns }
    }

    async fn examine(&self) -> Vec<Finding> {
        let text = "[[coordinator]]\nendpoint = \"https://127.0.0.1:9\"\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n[policy]\nallow_loopback = true";
        let mut config = Config::parse(text, Path::new("/nonexistent/agent.toml")).expect("a configuration");
        config.probe.resolver = ResolverChoice::Servers(vec![self.resolver]);
        config.probe.roots = Roots::Only(vec![self.authority.root()]);
        let examination = Examination::new(Some(config), self.target.clone(), self.name.to_owned());
        let findings = examine(&examination, Clock::system()).await;
        assert_eq!(of(&findings, "identity").grade, Grade::Fail, "there are no such files");
        findings
    }
}

/// Knows one name.
async fn resolver() -> (SocketAddr, JoinSet<()>) {
    let socket = UdpSocket::bind((HOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
            answer.add_queries(question.queries.clone());
            let name = question.queries[0].name().clone();
            if name.to_ascii().to_ascii_lowercase().starts_with("www.") {
                answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(127, 0, 0, 1))));
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            socket.send_to(&answer.to_vec().expect("an answer"), peer).await.ok();
        }
    });
    (address, tasks)
}

fn now() -> String {
    let since = Duration::from_micros(Clock::system().now_micros().unsigned_abs());
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}

fn of<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.what == what).expect(what)
}
