//! What a page probe asks and expects: methods, headers, patterns, JSON, versions, redirects, and where it connects.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use faultline_proto::types::v1::{
    Cause, Header, HeaderPattern, HttpSpec, JsonValue, Layer, Protocol, assignment::Spec,
};
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{
    policy::{Policy, Ports},
    probe::{Observed, Outcome, ProbeSettings, Prober, http::ALPN, testing::*},
};

type Answer = Response<Full<Bytes>>;

/// A site over HTTP/1.1, and what it was asked, by method and path, with the value of `x-probe`.
struct Site {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn new(authority: &Authority, name: &str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&asked));
        let server = tls_server(authority.issue(name, |_| {}).server(&ALPN[1..]), move |session| {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
            let service = service_fn(move |request: Request<Incoming>| {
                let own = request.headers().get("x-probe").and_then(|value| value.to_str().ok()).unwrap_or("-");
                let line = format!("{} {} {own}", request.method(), request.uri());
                seen.lock().expect("no panic").push(line);
                let answered = answer(request.uri().path());
                async move { Ok::<_, std::convert::Infallible>(answered) }
            });
            async move { drop(http1::Builder::new().serve_connection(TokioIo::new(session), service).await) }
        })
        .await;
        Self { server, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn text(body: &'static str) -> Answer {
    Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}

fn moved(to: &str) -> Answer {
    Response::builder().status(302).header(header::LOCATION, to).body(Full::default()).expect("an answer")
}

/// One run against a site that always answers the same.
async fn judged(answer: Answer, edit: impl FnOnce(&mut HttpSpec)) -> Option<Outcome> {
    let authority = Authority::new();
    let site = Site::new(&authority, HOST, move |_| answer.clone()).await;
    let mut spec = page(site.server.address);
    edit(&mut spec);
    run(&prober(&authority), Spec::Https(spec)).await.outcome()
}

const PASSED: Option<Outcome> = Some(Outcome::Passed);

fn refused(cause: Cause) -> Outcome {
    failed(Layer::Http, cause)
}

#[tokio::test]
async fn method_and_headers_are_those_of_the_spec() {
    let authority = Authority::new();
    let site = Site::new(&authority, HOST, |_| text("")).await;
    let headers = vec![Header { name: "X-Probe".into(), value: "yes".into() }];
    let spec = HttpSpec { method: "HEAD".into(), headers, ..page(site.server.address) };
    assert_eq!(run(&prober(&authority), Spec::Https(spec)).await.outcome(), PASSED);
    assert_eq!(site.asked(), ["HEAD /ping?x=1 yes"]);
}

#[tokio::test]
async fn headers_must_match_and_must_not() {
    let answer = || Response::builder().header("x-cache", "Hit from edge").body(Full::default()).expect("an answer");
    let pattern = |name: &str, pattern: &str| vec![HeaderPattern { name: name.into(), pattern: pattern.into() }];
    assert_eq!(judged(answer(), |spec| spec.header_matches = pattern("X-Cache", "^Hit")).await, PASSED);
    assert_eq!(judged(answer(), |spec| spec.header_lacks = pattern("x-cache", "^Miss")).await, PASSED);
    let wrong = Some(refused(Cause::HeaderMismatch));
    assert_eq!(judged(answer(), |spec| spec.header_matches = pattern("x-cache", "^Miss")).await, wrong);
    assert_eq!(judged(answer(), |spec| spec.header_matches = pattern("via", ".")).await, wrong);
    assert_eq!(judged(answer(), |spec| spec.header_lacks = pattern("x-cache", "edge")).await, wrong);
}

#[tokio::test]
async fn a_body_must_match_and_must_not() {
    let body = "all 12 shards healthy";
    let matches = |pattern: &'static str| move |spec: &mut HttpSpec| spec.body_matches = vec![pattern.into()];
    assert_eq!(judged(text(body), matches(r"^all \d+ shards")).await, PASSED);
    assert_eq!(judged(text(body), matches(r"^\d+")).await, Some(refused(Cause::BodyMismatch)));
    let lacks = |pattern: &'static str| move |spec: &mut HttpSpec| spec.body_lacks = vec![pattern.into()];
    assert_eq!(judged(text(body), lacks("(?i)DEGRADED")).await, PASSED);
    assert_eq!(judged(text(body), lacks("(?i)HEALTHY")).await, Some(refused(Cause::BodyMismatch)));
}

#[tokio::test]
async fn a_json_body_must_hold_its_values() {
    let body = r#"{"status": {"indicator": "none"}, "open": 0}"#;
    let value = |pointer: &str, value: &str| JsonValue { pointer: pointer.into(), value: value.into() };
    let good = vec![value("/status/indicator", "\"none\""), value("/open", "0")];
    assert_eq!(judged(text(body), |spec| spec.json = good).await, PASSED);
    let wrong = vec![value("/status/indicator", "\"none\""), value("/open", "1")];
    assert_eq!(judged(text(body), |spec| spec.json = wrong).await, Some(refused(Cause::BodyMismatch)));
    assert_eq!(judged(text("down"), |spec| spec.json = vec![value("", "1")]).await, Some(refused(Cause::BodyMismatch)));
}

#[tokio::test]
async fn a_body_may_be_no_larger_than_the_spec_allows() {
    let body = "0123456789";
    assert_eq!(judged(text(body), |spec| spec.max_body_bytes = 10).await, PASSED);
    assert_eq!(judged(text(body), |spec| spec.max_body_bytes = 9).await, Some(refused(Cause::BodyTooLarge)));
}

#[tokio::test]
async fn a_pinned_version_is_the_only_one_offered() {
    let authority = Authority::new();
    let server = tls_server(authority.issue(HOST, |_| {}).server(&ALPN), |session| async {
        let answer = service_fn(|_: Request<Incoming>| async { Ok::<_, std::convert::Infallible>(text("")) });
        drop(http1::Builder::new().serve_connection(TokioIo::new(session), answer).await);
    })
    .await;
    let pinned = |version: Protocol| {
        let mut spec = page(server.address);
        spec.set_version(version);
        spec
    };
    let observed = run(&prober(&authority), Spec::Https(pinned(Protocol::Http1))).await;
    assert_eq!((observed.outcome(), observed.result.protocol()), (PASSED, Protocol::Http1));
    // A server without HTTP/2 says so in the handshake.
    let site = Site::new(&authority, HOST, |_| text("")).await;
    let spec = HttpSpec { url: page(site.server.address).url, ..pinned(Protocol::Http2) };
    let observed = run(&prober(&authority), Spec::Https(spec)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsAlert)));
    // One that never heard of ALPN goes on in HTTP/1.1.
    let deaf = tls_server(authority.issue(HOST, |_| {}).server(&[]), |session| async { drop(session) }).await;
    let spec = HttpSpec { url: page(deaf.address).url, ..pinned(Protocol::Http2) };
    assert_eq!(run(&prober(&authority), Spec::Https(spec)).await.outcome(), Some(refused(Cause::HttpProtocolError)));
}

#[tokio::test]
async fn redirects_are_followed_where_the_spec_wants_it() {
    let follow = |hops: u32| async move {
        let authority = Authority::new();
        let site = Site::new(&authority, HOST, |path| match path {
            "/ping" => moved("/second"),
            "/second" => moved("third?y=2"),
            _ => text("arrived"),
        })
        .await;
        let headers = vec![Header { name: "x-probe".into(), value: "yes".into() }];
        let spec = HttpSpec { redirects: hops, body_contains: "arrived".into(), headers, ..page(site.server.address) };
        let observed = run(&prober(&authority), Spec::Https(spec)).await;
        (observed.outcome(), observed.result.status, site.asked())
    };
    let (outcome, status, asked) = follow(2).await;
    assert_eq!((outcome, status), (PASSED, 200));
    assert_eq!(asked, ["GET /ping?x=1 yes", "GET /second yes", "GET /third?y=2 yes"]);
    let (outcome, status, asked) = follow(1).await;
    assert_eq!((outcome, status, asked.len()), (Some(refused(Cause::HttpRedirect)), 302, 2), "one too many");
    let (outcome, ..) = follow(0).await;
    assert_eq!(outcome, Some(refused(Cause::BodyMismatch)), "a redirect is an answer as any other");
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let authority = Authority::new();
    let site = Site::new(&authority, HOST, |_| moved("/ping?x=1")).await;
    let spec = HttpSpec { redirects: 10, ..page(site.server.address) };
    let observed = run(&prober(&authority), Spec::Https(spec)).await;
    assert_eq!((observed.outcome(), site.asked().len()), (Some(refused(Cause::HttpRedirect)), 11));
}

/// Where a redirect leads, policy and protocol decide; headers stay with their host.
#[tokio::test]
async fn each_hop_is_checked_again() {
    async fn sent(authority: &Authority, ports: Ports, to: String) -> Observed {
        let site = Site::new(authority, HOST, move |_| moved(&to)).await;
        let ports = match ports {
            Ports::Listed(_) => Ports::Listed([site.server.address.port()].into()),
            Ports::Any => Ports::Any,
        };
        let policy = Policy { allow_loopback: true, ports, ..Policy::default() };
        let prober = Prober::new(ProbeSettings { policy, ..settings(authority) }).expect("a prober");
        let headers = vec![Header { name: "x-probe".into(), value: "secret".into() }];
        run(&prober, Spec::Https(HttpSpec { redirects: 3, headers, ..page(site.server.address) })).await
    }
    let authority = Authority::new();
    let other = Site::new(&authority, HOST, |_| text("")).await;
    let to = |address: SocketAddr| format!("https://{address}/other");
    let observed = sent(&authority, Ports::Any, to(other.server.address)).await;
    assert_eq!(observed.outcome(), PASSED);
    assert_eq!(other.asked(), ["GET /other -"], "another origin gets no header of ours");
    let listed = || Ports::Listed([1].into());
    for (ports, to) in [
        (listed(), to(other.server.address)),
        (Ports::Any, "https://169.254.169.254/latest/meta-data".into()),
        (Ports::Any, "http://127.0.0.1/".into()),
        (Ports::Any, "https://user@127.0.0.1/".into()),
        (Ports::Any, format!("https://:password@{}/other", other.server.address)),
        (Ports::Any, "https://".into()),
    ] {
        let observed = sent(&authority, ports, to.clone()).await;
        assert_eq!(observed.outcome(), Some(refused(Cause::HttpRedirect)), "{to}");
    }
    assert_eq!(other.asked().len(), 1, "refused before anything was sent");
}

#[tokio::test]
async fn an_address_to_connect_to_takes_the_name_out_of_the_picture() {
    let authority = Authority::new();
    let site = Site::new(&authority, "www.example.test", |_| text("")).await;
    let url = format!("https://www.example.test:{}/ping", site.server.address.port());
    let spec = HttpSpec { url, connect_to: vec![127, 0, 0, 1], ..HttpSpec::default() };
    let observed = run(&prober(&authority), Spec::Https(spec.clone())).await;
    assert_eq!(observed.outcome(), PASSED, "there is no name server to ask");
    assert_eq!(observed.result.timings.map(|timings| timings.dns_us), Some(0));
    // Another name at the same address has no certificate there.
    let url = spec.url.replace("www", "api");
    let observed = run(&prober(&authority), Spec::Https(HttpSpec { url, ..spec })).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsNameMismatch)));
}
