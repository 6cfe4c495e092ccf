//! Questions over TCP, TLS, HTTP/2, QUIC and HTTP/3, to servers that speak them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use faultline_proto::types::v1::{Cause, DnsSpec, Layer, Protocol, Reason, assignment::Spec};
use hickory_resolver::proto::op::ResponseCode;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::*;
use crate::probe::{Observed, Outcome, testing::*};

const ALL: [Protocol; 5] =
    [Protocol::DnsTcp, Protocol::DnsTls, Protocol::DnsHttps, Protocol::DnsQuic, Protocol::DnsHttp3];

/// A server of one transport, for as long as this value lives.
enum Served {
    Stream(Server),
    Quic(QuicServer),
}

impl Served {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Stream(server) => server.address,
            Self::Quic(server) => server.address,
        }
    }

    async fn new(transport: Protocol, authority: &Authority, answer: Arc<Answerer>) -> Self {
        let identity = authority.issue(HOST, |_| {});
        match transport {
            Protocol::DnsTcp => Self::Stream(
                tcp_server(move |mut stream| {
                    let answer = Arc::clone(&answer);
                    async move { framed(&mut stream, &answer, Protocol::DnsTcp).await }
                })
                .await,
            ),
            Protocol::DnsTls => Self::Stream(
                tls_server(identity.server(&[]), move |mut session| {
                    let answer = Arc::clone(&answer);
                    async move { framed(&mut session, &answer, Protocol::DnsTls).await }
                })
                .await,
            ),
            Protocol::DnsHttps => Self::Stream(
                tls_server(identity.server(&[b"h2"]), move |session| {
                    let answer = Arc::clone(&answer);
                    let service = service_fn(move |request: Request<Incoming>| {
                        let answer = Arc::clone(&answer);
                        async move {
                            let (path, kind) = (request.uri().path().to_owned(), content_type(request.headers()));
                            let question = request.into_body().collect().await.expect("a body").to_bytes();
                            let body = page(&path, &kind, &question, &answer, Protocol::DnsHttps);
                            let status = if body.is_some() { 200 } else { 404 };
                            let body = Full::new(Bytes::from(body.unwrap_or_default()));
                            Response::builder().status(status).body(body)
                        }
                    });
                    async move {
                        let tasks = Tasks::default();
                        let serving =
                            http2::Builder::new(tasks.executor()).serve_connection(TokioIo::new(session), service);
                        serving.await.ok();
                    }
                })
                .await,
            ),
            Protocol::DnsQuic => Self::Quic(QuicServer::speaking(b"doq", identity, move |incoming| {
                let answer = Arc::clone(&answer);
                async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                        let question = receive.read_to_end(4096).await.expect("a question");
                        assert_eq!(&question[2..4], [0, 0], "RFC 9250, section 4.2.1");
                        let Some(bytes) = respond(&*answer, &question[2..], Protocol::DnsQuic) else {
                            return std::future::pending().await;
                        };
                        send.write_all(&u16::try_from(bytes.len()).expect("short").to_be_bytes()).await.ok();
                        send.write_all(&bytes).await.ok();
                        send.finish().ok();
                    }
                }
            })),
            _ => Self::Quic(QuicServer::new(identity, move |incoming| over_http3(incoming, Arc::clone(&answer)))),
        }
    }
}

async fn framed<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S, answer: &Arc<Answerer>, over: Protocol) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.expect("a question");
        if let Some(bytes) = respond(&**answer, &question, over) {
            stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.ok();
            stream.write_all(&bytes).await.ok();
            stream.flush().await.ok();
        }
    }
}

async fn over_http3(incoming: quinn::Incoming, answer: Arc<Answerer>) {
    let Ok(connection) = incoming.await else { return };
    let connection = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await;
    let mut connection = connection.expect("an HTTP/3 connection");
    while let Ok(Some(resolver)) = connection.accept().await {
        let (head, mut stream) = resolver.resolve_request().await.expect("a request");
        let mut question = BytesMut::new();
        while let Some(chunk) = stream.recv_data().await.expect("a body") {
            question.extend_from_slice(chunk.chunk());
        }
        let body = page(head.uri().path(), &content_type(head.headers()), &question, &answer, Protocol::DnsHttp3);
        let status = if body.is_some() { 200 } else { 404 };
        let head = Response::builder().status(status).body(()).expect("a head");
        stream.send_response(head).await.ok();
        stream.send_data(Bytes::from(body.unwrap_or_default())).await.ok();
        stream.finish().await.ok();
    }
}

/// Source: RFC 8484, section 4.1; ids are zero so that answers can be cached.
fn page(path: &str, kind: &str, question: &[u8], answer: &Arc<Answerer>, over: Protocol) -> Option<Vec<u8>> {
    assert_eq!((kind, &question[..2]), ("application/dns-message", [0, 0].as_slice()));
    (path == "/dns-query").then(|| respond(&**answer, question, over)).flatten()
}

fn content_type(headers: &http::HeaderMap) -> String {
    headers["content-type"].to_str().expect("text").to_owned()
}

fn spec(transport: Protocol, server: SocketAddr) -> DnsSpec {
    let Spec::Dns(mut spec) = dns_spec("www.example.test", "A", &server.to_string()) else {
        unreachable!("a dns spec")
    };
    spec.set_transport(transport);
    spec
}

async fn ask(transport: Protocol, answer: impl Fn(Protocol) -> Act + Send + Sync + 'static) -> Observed {
    let authority = Authority::new();
    let answer: Arc<Answerer> = Arc::new(move |query, message, seen| {
        address(message, &query.name);
        answer(seen.transport)
    });
    let served = Served::new(transport, &authority, answer).await;
    run(&prober(&authority), Spec::Dns(spec(transport, served.address()))).await
}

#[tokio::test]
async fn each_transport_passes_and_is_told() {
    for transport in ALL {
        let observed = ask(transport, move |seen| {
            assert_eq!(seen, transport);
            Act::Answer
        })
        .await;
        assert_eq!(observed.outcome(), Some(Outcome::Passed), "{transport:?}");
        assert_eq!((observed.result.protocol(), observed.result.rcode_plus_one), (transport, 1));
        assert_eq!(observed.result.address, [127, 0, 0, 1], "{transport:?}");
        let timings = observed.result.timings.expect("timings");
        assert_eq!((timings.dns_us, timings.connect_us, timings.tls_us), (timings.total_us, 0, 0), "one layer: dns");
        let chain = observed.facts.map_or(0, |facts| facts.chain.len());
        assert_eq!(chain, usize::from(transport != Protocol::DnsTcp), "{transport:?}");
    }
}

#[tokio::test]
async fn what_is_not_dns_is_malformed() {
    for transport in ALL {
        let observed = ask(transport, |_| Act::Raw(b"hello, world")).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsMalformed)), "{transport:?}");
    }
    // A page that is not there, either.
    for transport in [Protocol::DnsHttps, Protocol::DnsHttp3] {
        let authority = Authority::new();
        let served = Served::new(transport, &authority, Arc::new(|_, _, _| Act::Answer)).await;
        let spec = DnsSpec { path: "/other".into(), ..spec(transport, served.address()) };
        let observed = run(&prober(&authority), Spec::Dns(spec)).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsMalformed)), "{transport:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_asked() {
    for transport in &ALL[1..] {
        let served = Served::new(*transport, &Authority::new(), Arc::new(|_, _, _| panic!("asked"))).await;
        let observed = run(&prober(&Authority::new()), Spec::Dns(spec(*transport, served.address()))).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsUnreachable)), "{transport:?}");
        let facts = observed.facts.expect("facts");
        assert_eq!((facts.issuer.as_str(), facts.chain.len()), ("Test Authority", 1), "told, though refused");
    }
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_closed_port_is_not() {
    for transport in ALL {
        let authority = Authority::new();
        let served = Served::new(transport, &authority, Arc::new(|_, _, _| Act::Nothing)).await;
        let spec = spec(transport, served.address());
        if !matches!(transport, Protocol::DnsHttps | Protocol::DnsHttp3) {
            let observed = run_short(&prober(&authority), Spec::Dns(spec.clone())).await;
            assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsTimeout)), "{transport:?}");
        }
        drop(served);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let observed = run(&prober(&authority), Spec::Dns(spec)).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsUnreachable)), "{transport:?}");
    }
}

#[tokio::test]
async fn signatures_are_asked_about_over_the_same_transport() {
    for transport in ALL {
        let authority = Authority::new();
        let answer: Arc<Answerer> = Arc::new(move |query, message, seen| {
            if seen.metadata.checking_disabled {
                address(message, &query.name);
            } else {
                message.metadata.response_code = ResponseCode::ServFail;
            }
            Act::Answer
        });
        let served = Served::new(transport, &authority, answer).await;
        let observed = run(&prober(&authority), Spec::Dns(spec(transport, served.address()))).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Dns, Cause::DnsDnssecBogus)), "{transport:?}");
    }
}

#[tokio::test]
async fn whom_policy_does_not_name_is_not_asked() {
    let spec = DnsSpec { server: "system".into(), ..spec(Protocol::DnsTls, ([127, 0, 0, 1], 853).into()) };
    let observed = run(&prober(&Authority::new()), Spec::Dns(spec)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Unmeasured { reason: Reason::PolicyRefused }));
}
