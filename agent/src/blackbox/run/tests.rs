//! Looks at real servers: what a module makes of what they say, and what is told of it.

use std::{path::Path, time::Duration};

use faultline_proto::types::v1::{Cause, Layer};
use rcgen::date_time_ymd;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::Runner;
use crate::{
    blackbox::{
        metrics::{Failure, Measured, Of, metrics},
        modules::{Lookup, Modules},
    },
    probe::testing::*,
};

/// The module, with the authority's root for TLS.
fn runner(authority: &Authority, module: &str) -> Runner {
    let text = format!("modules:\n  m:\n    timeout: 5s\n    {}\n", module.replace('\n', "\n    "));
    let modules = Modules::parse(&text, Path::new("blackbox.yml")).expect("a good file");
    let Lookup::Module(module) = modules.get("m") else { panic!("{module} is not supported") };
    Runner::new(module.clone(), &settings(authority)).expect("a root")
}

async fn look(authority: &Authority, module: &str, target: &str) -> Measured {
    runner(authority, module).probe(target, None, Duration::from_secs(5)).await
}

/// Answers each request of a connection with this.
async fn answering(answer: &'static str) -> Server {
    tcp_server(move |mut stream: TcpStream| async move {
        let Ok(1..) = stream.read(&mut [0; 4096]).await else { return };
        stream.write_all(answer.as_bytes()).await.ok();
    })
    .await
}

const UP: &str = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nx-state: green\r\nlast-modified: Wed, 29 Oct 2025 15:41:13 GMT\r\n\r\n{\"status\":UP}";

#[tokio::test]
async fn a_page_without_tls_is_judged_as_the_module_has_it() {
    let (authority, server) = (Authority::new(), answering(UP).await);
    let target = server.address.to_string();
    let good = "prober: http\nhttp:\n  fail_if_not_ssl: false\n  fail_if_body_not_matches_regexp: ['\"status\":UP']";
    let measured = look(&authority, good, &target).await;
    assert_eq!(measured.failure, None);
    let text = metrics(&measured).text();
    for line in [
        "probe_success 1",
        "probe_http_status_code 200",
        "probe_http_version 1.1",
        "probe_http_content_length 13",
        "probe_http_uncompressed_body_length 13",
        "probe_http_last_modified_timestamp_seconds 1.761752473e+09",
        "probe_http_ssl 0",
        "probe_ip_protocol 4",
    ] {
        assert!(text.lines().any(|told| told == line), "no {line:?} in\n{text}");
    }
    for (field, failure) in [
        ("fail_if_not_ssl: true", Failure::Encryption),
        ("valid_http_versions: [HTTP/2.0]", Failure::HttpVersion),
        ("valid_status_codes: [204]", Failure::Layer(Layer::Http, Cause::HttpStatus)),
        ("fail_if_body_matches_regexp: [UP]", Failure::Layer(Layer::Http, Cause::BodyMismatch)),
        ("body_size_limit: 5B", Failure::Layer(Layer::Http, Cause::BodyTooLarge)),
        (
            "fail_if_header_not_matches: [{header: X-State, regexp: red}]",
            Failure::Layer(Layer::Http, Cause::HeaderMismatch),
        ),
        (
            "fail_if_header_not_matches: [{header: X-Other, regexp: red}]",
            Failure::Layer(Layer::Http, Cause::HeaderMismatch),
        ),
    ] {
        let measured = look(&authority, &format!("prober: http\nhttp:\n  {field}"), &target).await;
        assert_eq!(measured.failure, Some(failure), "{field}");
    }
    assert_eq!(look(&authority, "prober: http", "http://").await.failure, Some(Failure::Target));
}

#[tokio::test]
async fn a_redirect_leads_from_http_to_another_page_and_not_in_circles() {
    let authority = Authority::new();
    let last = answering(UP).await;
    let place = format!("HTTP/1.1 301 Moved\r\nlocation: http://{}/there\r\ncontent-length: 0\r\n\r\n", last.address);
    let first = answering(place.leak()).await;
    let measured = look(&authority, "prober: http", &first.address.to_string()).await;
    assert_eq!(measured.failure, None);
    assert!(metrics(&measured).text().contains("probe_http_redirects 1\n"));
    let stays = look(&authority, "prober: http\nhttp: {follow_redirects: false}", &first.address.to_string()).await;
    assert_eq!(stays.failure, Some(Failure::Layer(Layer::Http, Cause::HttpStatus)));
    let circle = answering("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let measured = look(&authority, "prober: http", &circle.address.to_string()).await;
    assert_eq!(measured.failure, Some(Failure::Layer(Layer::Http, Cause::HttpRedirect)));
    let Of::Http(http) = measured.of else { panic!("not of http") };
    assert_eq!((http.redirects, http.answer.map(|answer| answer.status.as_u16())), (11, Some(302)));
}

#[tokio::test]
async fn a_redirect_counts_though_it_is_not_followed_and_one_to_nowhere_is_none() {
    let authority = Authority::new();
    let valid =
        |follows: bool| format!("prober: http\nhttp: {{follow_redirects: {follows}, valid_status_codes: [302]}}");
    let somewhere = answering("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let nowhere = answering("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    for (server, follows, redirects) in [(&somewhere, false, 1), (&nowhere, false, 0), (&nowhere, true, 0)] {
        let measured = look(&authority, &valid(follows), &server.address.to_string()).await;
        assert_eq!(measured.failure, None, "{follows} {redirects}");
        let Of::Http(http) = measured.of else { panic!("not of http") };
        assert_eq!(http.redirects, redirects, "{follows}");
    }
}

#[tokio::test]
async fn an_answer_has_the_version_and_length_that_it_says() {
    let authority = Authority::new();
    let large = "HTTP/1.0 200 OK\r\ncontent-length: 13\r\n\r\n{\"status\":UP}";
    for (answer, fields, expected) in [
        (large, "", ["probe_http_version 1", "probe_http_uncompressed_body_length 13"]),
        (large, "http: {body_size_limit: 5B}", ["probe_success 0", "probe_http_uncompressed_body_length 5"]),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nUP\r\n0\r\n\r\n",
            "",
            ["probe_http_uncompressed_body_length 2", "probe_http_content_length -1"],
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", ["probe_http_version 1.1", "probe_http_content_length 0"]),
    ] {
        let server = answering(answer).await;
        let measured = look(&authority, &format!("prober: http\n{fields}"), &server.address.to_string()).await;
        let text = metrics(&measured).text();
        for line in expected {
            assert!(text.lines().any(|told| told == line), "no {line:?} in\n{text}");
        }
    }
}

#[tokio::test]
async fn heads_of_old_servers_are_understood_and_chunks_without_length_are_not() {
    let authority = Authority::new();
    let wanted = "prober: http\nhttp: {fail_if_header_not_matches: [{header: X-State, regexp: 'green and amber'}]}";
    for head in ["x-state: green\r\n and amber", "x-state : green and amber"] {
        let server = answering(format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: 0\r\n\r\n").leak()).await;
        assert_eq!(look(&authority, wanted, &server.address.to_string()).await.failure, None, "{head}");
    }
    let server = answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n").await;
    let measured = look(&authority, "prober: http", &server.address.to_string()).await;
    assert_eq!(measured.failure, Some(Failure::Layer(Layer::Http, Cause::HttpProtocolError)));
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_its_client_refuses_it_by_an_alert() {
    let authority = Authority::new();
    let identity = authority.issue(HOST, |_| {});
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root()).expect("a root");
    let wanting = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(wanting.build().expect("a root"))
        .with_single_cert(vec![identity.certificate], identity.key)
        .expect("an identity");
    let server = tls_server(config, |_session| async {}).await;
    let measured = look(&authority, "prober: http", &format!("https://{}", server.address)).await;
    assert_eq!(measured.failure, Some(Failure::Layer(Layer::Tls, Cause::TlsAlert)));
}

#[tokio::test]
async fn an_expired_certificate_still_tells_when_it_expired() {
    let authority = Authority::new();
    let expired = authority.issue(HOST, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let server = tls_server(expired.server(&[]), |_session| async {}).await;
    let target = format!("https://{}", server.address);
    let measured = look(&authority, "prober: http", &target).await;
    assert_eq!(measured.failure, Some(Failure::Layer(Layer::Tls, Cause::TlsCertExpired)));
    let text = metrics(&measured).text();
    assert!(text.contains("probe_ssl_earliest_cert_expiry 1.6094592e+09\n"), "{text}");
    assert!(text.contains("probe_failure_info{cause=\"tls_cert_expired\",layer=\"tls\"} 1\n"), "{text}");
}

#[tokio::test]
async fn the_chain_expires_with_the_first_on_its_way_to_the_root() {
    let authority = Authority::new();
    let identity = authority.issue(HOST, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
    });
    let server = tls_server(identity.server(&[]), |_session| async {}).await;
    let target = server.address.to_string();
    let measured = look(&authority, "prober: tcp\ntcp: {tls: true}", &target).await;
    assert_eq!(measured.failure, None);
    let session = measured.session.expect("a session");
    assert_eq!((session.version.as_str(), session.chain_expiry), ("TLS 1.3", Some(4_102_444_800)));
    let unverified =
        look(&authority, "prober: tcp\ntcp: {tls: true, tls_config: {insecure_skip_verify: true}}", &target);
    assert_eq!(unverified.await.session.expect("a session").chain_expiry, None);
}

const TALK: &str = "prober: tcp\ntcp:\n  query_response:\n    - expect: '^220.*ESMTP (\\S+)$'\n      labels: [{name: server, value: '${1}'}]\n    - send: EHLO prober\n    - expect: '^250 STARTTLS'\n    - send: STARTTLS\n    - expect: '^220'\n    - starttls: true\n    - send: QUIT\n    - expect: bye";

#[tokio::test]
async fn a_talk_goes_on_over_tls_and_tells_what_it_heard() {
    let authority = Authority::new();
    let identity = authority.issue(HOST, |_| {});
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(identity.server(&[])));
    let server = tcp_server(move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let mut clear = BufReader::new(stream);
            let mut line = String::new();
            clear.write_all(b"220-hello\r\n220 mail ESMTP postfix\r\n").await.expect("sent");
            clear.read_line(&mut line).await.expect("EHLO");
            clear.write_all(b"250-SIZE\r\n250 STARTTLS\r\n").await.expect("sent");
            clear.read_line(&mut line).await.expect("STARTTLS");
            clear.write_all(b"220 go ahead\r\n").await.expect("sent");
            let mut session = acceptor.accept(clear.into_inner()).await.expect("a handshake");
            let Ok(1..) = session.read(&mut [0; 64]).await else { return };
            session.write_all(b"221 bye").await.ok();
            session.shutdown().await.ok();
        }
    })
    .await;
    let measured = look(&authority, TALK, &server.address.to_string()).await;
    assert_eq!(measured.failure, None);
    let text = metrics(&measured).text();
    assert!(text.contains("probe_expect_info{server=\"postfix\"} 1\n"), "{text}");
    assert!(text.contains("probe_tls_version_info{version=\"TLS 1.3\"} 1\n"), "{text}");
}

#[tokio::test]
async fn a_talk_that_stops_says_how() {
    let authority = Authority::new();
    let silent = tcp_server(|stream: TcpStream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let runner = runner(&authority, TALK);
    let measured = runner.probe(&silent.address.to_string(), None, SHORT).await;
    assert_eq!(measured.failure, Some(Failure::Silence));
    let other = tcp_server(|mut stream: TcpStream| async move {
        stream.write_all(b"SSH-2.0-x\r\n").await.ok();
        stream.shutdown().await.ok();
    })
    .await;
    let measured = look(&authority, TALK, &other.address.to_string()).await;
    assert_eq!(measured.failure, Some(Failure::Expect));
    let Of::Tcp(tcp) = measured.of else { panic!("not of tcp") };
    assert!(tcp.failed_due_to_regex && !tcp.failed_due_to_bytes);
    let bytes = "prober: tcp\ntcp:\n  query_response: [{expect_bytes: 'SSH-1.0'}]";
    let measured = look(&authority, bytes, &other.address.to_string()).await;
    let Of::Tcp(tcp) = measured.of else { panic!("not of tcp") };
    assert!(!tcp.failed_due_to_regex && tcp.failed_due_to_bytes);
}

#[tokio::test]
async fn names_in_records_have_the_letters_that_were_asked_for() {
    let socket = tokio::net::UdpSocket::bind((HOST, 0)).await.expect("a port");
    let target = socket.local_addr().expect("an address").to_string();
    let pattern = r"^Letters-Of-A-Long-Name\.example\.\t300\tIN\tNS\tLetters-Of-A-Long-Name\.example\.$";
    let module = format!(
        "prober: dns\ndns:\n  query_name: Letters-Of-A-Long-Name.example\n  query_type: NS\n  \
         validate_answer_rrs: {{fail_if_not_matches_regexp: ['{pattern}']}}"
    );
    let answering = async {
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).await.expect("a query");
        let (id, question) = (&buffer[..2], &buffer[12..length]);
        // Both names of the record point at the question, as servers write them.
        let record = [0xc0, 12, 0, 2, 0, 1, 0, 0, 1, 44, 0, 2, 0xc0, 12];
        let answer = [id, &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], question, &record].concat();
        socket.send_to(&answer, from).await.expect("sent");
    };
    let authority = Authority::new();
    let (measured, ()) = tokio::join!(look(&authority, &module, &target), answering);
    assert_eq!(measured.failure, None);
}

#[tokio::test]
async fn targets_of_tcp_are_a_host_and_a_port() {
    for wrong in ["127.0.0.1", "127.0.0.1:", ":80", "::1:80", "127.0.0.1:70000", "http://a:80"] {
        let measured = look(&Authority::new(), "prober: tcp", wrong).await;
        assert_eq!((measured.failure, measured.lookup), (Some(Failure::Target), None), "{wrong}");
    }
}
