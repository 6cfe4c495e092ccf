//! HTTP/1.1 and HTTP/2 over TLS: what passes, what does not, and what is remembered.

use bytes::Bytes;
use faultline_proto::types::v1::{Cause, HttpSpec, Layer, Protocol, assignment::Spec};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::server::TlsStream;

use crate::probe::{Outcome, http::ALPN, testing::*};

const HEALTHY: &str = "HTTP/1.1 200 OK\r\nserver: edge\r\ncontent-length: 12\r\n\r\nall healthy\n";

#[tokio::test]
async fn http1_passes_and_its_answer_is_remembered() {
    let observed = fetch(HEALTHY, |_| {}).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!((observed.result.status, observed.result.protocol()), (200, Protocol::Http1));
    assert_eq!(observed.facts.expect("facts").edge["server"], "edge");
    let timings = observed.result.timings.expect("timings");
    assert!(timings.tls_us > 0 && timings.first_byte_us > 0 && timings.body_us > 0, "{timings:?}");
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_can() {
    let authority = Authority::new();
    let (seen, mut requests) = mpsc::channel(1);
    let config = authority.issue(HOST, |_| {}).server(&ALPN);
    let server = tls_server(config, move |session| {
        let seen = seen.clone();
        async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                seen.try_send(request.map(drop)).ok();
                async { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("all healthy")))) }
            });
            let spawner = Tasks::default();
            http2::Builder::new(spawner.executor()).serve_connection(TokioIo::new(session), answer).await.ok();
        }
    })
    .await;
    let spec = HttpSpec { body_contains: "healthy".into(), ..page(server.address) };
    let observed = run(&prober(&authority), Spec::Https(spec)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!((observed.result.status, observed.result.protocol()), (200, Protocol::Http2));
    let request = requests.recv().await.expect("a request");
    assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/ping"));
    let agent = request.headers()["user-agent"].to_str().expect("text");
    assert!(agent.starts_with("faultline-agent/") && agent.ends_with("(+https://faultline.example/probes)"), "{agent}");
}

#[tokio::test]
async fn a_status_is_judged_by_the_spec_alone() {
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://192.0.2.1/\r\ncontent-length: 0\r\n\r\n";
    let observed = fetch(unavailable, |_| {}).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpStatus)));
    assert_eq!(observed.result.status, 503);
    assert_eq!(fetch(missing, |spec| spec.status = vec![404]).await.outcome(), Some(Outcome::Passed));
    assert_eq!(fetch(moved, |_| {}).await.outcome(), Some(Outcome::Passed));
}

#[tokio::test]
async fn a_body_must_hold_what_the_spec_asks_for() {
    let spec = |wanted: &'static str| move |spec: &mut HttpSpec| wanted.clone_into(&mut spec.body_contains);
    assert_eq!(fetch(HEALTHY, spec("healthy")).await.outcome(), Some(Outcome::Passed));
    assert_eq!(fetch(HEALTHY, spec("green")).await.outcome(), Some(failed(Layer::Http, Cause::BodyMismatch)));
}

#[tokio::test]
async fn an_answer_cut_short_is_a_reset_and_nonsense_is_not() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nall";
    assert_eq!(fetch(cut, |_| {}).await.outcome(), Some(failed(Layer::Http, Cause::HttpReset)));
    assert_eq!(fetch("", |_| {}).await.outcome(), Some(failed(Layer::Http, Cause::HttpReset)));
    assert_eq!(
        fetch("220 smtp ready\r\n\r\n", |_| {}).await.outcome(),
        Some(failed(Layer::Http, Cause::HttpProtocolError))
    );
}

#[tokio::test]
async fn http2_nonsense_is_a_protocol_error() {
    let authority = Authority::new();
    let config = authority.issue(HOST, |_| {}).server(&[b"h2"]);
    let server = tls_server(config, |session| answer(session, HEALTHY)).await;
    let observed = run(&prober(&authority), Spec::Https(page(server.address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpProtocolError)));
}

#[tokio::test]
async fn an_http2_stream_or_connection_that_the_peer_ends_is_a_reset() {
    let authority = Authority::new();
    let resetting = tls_server(authority.issue(HOST, |_| {}).server(&ALPN), |session| async {
        let mut connection = h2::server::handshake(session).await.expect("a connection");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let leaving = tls_server(authority.issue(HOST, |_| {}).server(&ALPN), |session| async {
        let mut connection = h2::server::handshake(session).await.expect("a connection");
        if let Some(Ok(_)) = connection.accept().await {
            connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
            std::future::poll_fn(|context| connection.poll_closed(context)).await.ok();
        }
    })
    .await;
    for server in [resetting, leaving] {
        let observed = run(&prober(&authority), Spec::Https(page(server.address))).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpReset)));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_http_timeout() {
    let authority = Authority::new();
    let config = authority.issue(HOST, |_| {}).server(&ALPN[1..]);
    let server = tls_server(config, |mut session| async move {
        session.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let observed = run_short(&prober(&authority), Spec::Https(page(server.address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpTimeout)));
}

/// Runs against a server whose answer is this text, followed by the end of the connection.
async fn fetch(text: &'static str, edit: impl FnOnce(&mut HttpSpec)) -> crate::probe::Observed {
    let authority = Authority::new();
    let config = authority.issue(HOST, |_| {}).server(&ALPN[1..]);
    let server = tls_server(config, move |session| answer(session, text)).await;
    let mut spec = page(server.address);
    edit(&mut spec);
    run(&prober(&authority), Spec::Https(spec)).await
}

async fn answer(mut session: TlsStream<TcpStream>, text: &'static str) {
    let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
    session.write_all(text.as_bytes()).await.ok();
    session.shutdown().await.ok();
}
