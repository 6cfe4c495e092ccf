//! Servers of QUIC and HTTP/3 that mean harm, frame by frame (RFC 9114, section 7.1; RFC 9204, section 4.5).

use std::{future::Future, sync::Arc};

use faultline_agent::probe::Outcome;
use faultline_proto::types::v1::{Cause, HttpSpec, Layer, assignment::Spec};
use quinn::{Connection, Endpoint, ServerConfig, TransportConfig, crypto::rustls::QuicServerConfig};
use tokio::{net::UdpSocket, task::JoinSet};

use crate::{
    Bench, http, page,
    servers::{Server, config},
};

pub(crate) async fn run(bench: &mut Bench) {
    heads(bench).await;
    bodies(bench).await;
    other_streams(bench).await;

    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = Server { address: socket.local_addr().expect("an address"), _tasks: JoinSet::new() };
    let timeout = Outcome::Failed { layer: Layer::Connect, cause: Cause::QuicHandshakeTimeout };
    bench.case("a silent QUIC server", Spec::Http3(page(&server)), timeout).await;
}

async fn heads(bench: &mut Bench) {
    let fields = |count: usize| [&[0, 0, STATUS_200][..], &[ACCEPT_ANY].repeat(count)].concat();
    for (what, head, filler, cause) in [
        ("a header frame without end", endless(HEADERS), vec![0; 1024], Cause::HttpProtocolError),
        ("an unknown frame without end", endless(UNKNOWN), vec![0; 1024], Cause::HttpProtocolError),
        ("one of a byte a packet", endless(HEADERS), vec![0], Cause::HttpProtocolError),
        ("ten thousand headers over HTTP/3", frame(HEADERS, &fields(10_000)), Vec::new(), Cause::HttpProtocolError),
        ("unknown frames without end", Vec::new(), frame(UNKNOWN, &[0; 100]), Cause::HttpTimeout),
        // 103, as a name from the static table with a value (index 24).
        ("interim answers without end over HTTP/3", Vec::new(), frame(HEADERS, &[0, 0, 0xd8]), Cause::HttpTimeout),
        ("promises without end", Vec::new(), frame(PUSH_PROMISE, &fields(0)), Cause::HttpProtocolError),
    ] {
        let server = pouring(bench, head, filler);
        bench.case(what, Spec::Http3(page(&server)), http(cause)).await;
    }
}

async fn bodies(bench: &mut Bench) {
    let ok = frame(HEADERS, &[0, 0, STATUS_200]);
    let whole = |body: Vec<u8>| [ok.clone(), body].concat();
    for (what, head, filler) in [
        ("an endless body over HTTP/3", whole(endless(DATA)), vec![0; 1024]),
        ("one in frames of a byte", ok.clone(), frame(DATA, &[0]).repeat(300)),
    ] {
        let server = pouring(bench, head, filler);
        bench.case(what, Spec::Http3(page(&server)), Outcome::Passed).await;
    }

    // What a spec may ask for at most, to its last byte and no further.
    let server = pouring(bench, whole(frame(DATA, &vec![0; 512 * 1024])), Vec::new());
    for (what, max_body_bytes, outcome) in [
        ("a body of 512 KiB", 512 * 1024, Outcome::Passed),
        ("one byte more than is wanted", 512 * 1024 - 1, http(Cause::BodyTooLarge)),
    ] {
        let spec = HttpSpec { max_body_bytes, ..page(&server) };
        bench.case(what, Spec::Http3(spec), outcome).await;
    }

    let server = pouring(bench, [ok.clone(), frame(DATA, b"."), endless(HEADERS)].concat(), vec![0; 1024]);
    let what = "a trailer without end";
    bench.case(what, Spec::Http3(page(&server)), http(Cause::HttpProtocolError)).await;
}

async fn other_streams(bench: &mut Bench) {
    for (what, head, cause) in [
        ("settings without end over HTTP/3", [vec![0], endless(SETTINGS)].concat(), Cause::HttpProtocolError),
        ("a QPACK encoder without end", vec![2], Cause::HttpTimeout),
        ("a stream of an unknown kind without end", vec![0x21], Cause::HttpTimeout),
    ] {
        let server = quic(config(&bench.authority, b"h3", 0), move |connection| {
            let head = head.clone();
            async move {
                let Ok(mut send) = connection.open_uni().await else { return };
                let mut poured = send.write_all(&head).await;
                while poured.is_ok() {
                    poured = send.write_all(&[0; 1024]).await;
                }
                connection.closed().await;
            }
        });
        bench.case(what, Spec::Http3(page(&server)), http(cause)).await;
    }
}

/// Answers with the head, and then the filler for ever; ends the stream where there is none.
fn pouring(bench: &Bench, head: Vec<u8>, filler: Vec<u8>) -> Server {
    let (head, filler): (&[u8], &[u8]) = (Vec::leak(head), Vec::leak(filler));
    quic(config(&bench.authority, b"h3", 0), move |connection| async move {
        let Ok((mut send, _receive)) = connection.accept_bi().await else { return };
        let mut poured = send.write_all(head).await;
        while poured.is_ok() && !filler.is_empty() {
            poured = send.write_all(filler).await;
            tokio::task::yield_now().await;
        }
        send.finish().ok();
        connection.closed().await;
    })
}

/// A QUIC server that keeps little to send, since it is counted too.
pub(crate) fn quic<F, S>(config: rustls::ServerConfig, serve: F) -> Server
where
    F: Fn(Connection) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let crypto = QuicServerConfig::try_from(config).expect("TLS 1.3");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.send_window(8 * 1024).mtu_discovery_config(None);
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("a port");
    let address = endpoint.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(connection) = incoming.await {
                serve(connection).await;
            }
        }
    });
    Server { address, _tasks: tasks }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (u32::try_from(payload.len()).expect("short") | 0x8000_0000).to_be_bytes();
    [&[kind], length.as_slice(), payload].concat()
}

/// The beginning of a frame of 2^62 - 1 bytes.
fn endless(kind: u8) -> Vec<u8> {
    [&[kind][..], &[0xff; 8]].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const UNKNOWN: u8 = 0x21;
/// Source: RFC 9204, appendix A: indexes 25 and 29.
const STATUS_200: u8 = 0xd9;
const ACCEPT_ANY: u8 = 0xdd;
