//! Servers of TLS and HTTP/1.1 that mean harm.

use std::time::Duration;

use faultline_agent::probe::Outcome;
use faultline_proto::types::v1::{Cause, HttpSpec, Layer, assignment::Spec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    Bench, http, page,
    servers::{config, tcp, tls},
};

pub(crate) async fn run(bench: &mut Bench) {
    handshakes(bench).await;
    heads(bench).await;
    bodies(bench).await;
}

async fn handshakes(bench: &mut Bench) {
    let protocol_error = Outcome::Failed { layer: Layer::Tls, cause: Cause::TlsProtocolError };
    for (what, others, outcome) in
        [("a chain of 60 KiB", 160, Outcome::Passed), ("a chain beyond 64 KiB", 180, protocol_error)]
    {
        let config = config(&bench.authority, H1, others);
        let server = tls(config, |session| pour(session, OK, b"", Duration::ZERO)).await;
        bench.case(what, Spec::Https(page(&server)), outcome).await;
    }

    let server = tcp(|mut stream| async move {
        let mut sent = stream.write_all(&[22, 3, 3, 64, 0, 2, 0, 63, 252]).await;
        while sent.is_ok() {
            tokio::time::sleep(DRIP).await;
            sent = stream.write_u8(0).await;
        }
    })
    .await;
    let timeout = Outcome::Failed { layer: Layer::Tls, cause: Cause::TlsTimeout };
    bench.case("a dripping handshake", Spec::Https(page(&server)), timeout).await;
}

async fn heads(bench: &mut Bench) {
    let header: &[u8] = b"x-filler: 0123456789\r\n";
    let early: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    for (what, head, filler, cause) in [
        ("ten thousand headers", b"HTTP/1.1 200 OK\r\n".as_slice(), header, Cause::HttpProtocolError),
        ("a status line without end", b"HTTP/1.1 200 ", b"OK", Cause::HttpProtocolError),
        ("interim answers without end", b"", early, Cause::HttpTimeout),
    ] {
        let filler: &[u8] = Vec::leak(filler.repeat(200));
        let config = config(&bench.authority, H1, 0);
        let server = tls(config, move |session| pour(session, head, filler, Duration::ZERO)).await;
        bench.case(what, Spec::Https(page(&server)), http(cause)).await;
    }

    let config = config(&bench.authority, H1, 0);
    let head = b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    let server = tls(config, |session| pour(session, head, b"", Duration::ZERO)).await;
    let spec = HttpSpec { redirects: 10, ..page(&server) };
    bench.case("a loop of redirects", Spec::Https(spec), http(Cause::HttpRedirect)).await;
}

async fn bodies(bench: &mut Bench) {
    let server = tls(config(&bench.authority, H1, 0), |session| pour(session, OK, ZEROS, Duration::ZERO)).await;
    bench.case("an endless body", Spec::Https(page(&server)), Outcome::Passed).await;
    let spec = HttpSpec { body_matches: vec!["healthy".into()], ..page(&server) };
    bench.case("one that is searched", Spec::Https(spec), http(Cause::BodyTooLarge)).await;

    let server = tls(config(&bench.authority, H1, 0), |session| pour(session, OK, b".", DRIP)).await;
    bench.case("a dripping body", Spec::Https(page(&server)), http(Cause::HttpTimeout)).await;

    let packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    let server = tls(config(&bench.authority, H1, 0), |session| pour(session, packed, ZEROS, Duration::ZERO)).await;
    let spec = HttpSpec { body_contains: "healthy".into(), ..page(&server) };
    let what = "a body that would swell if it were unpacked";
    bench.case(what, Spec::Https(spec), http(Cause::BodyTooLarge)).await;

    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;";
    let extension: &[u8] = Vec::leak(b"x=0123456789;".repeat(200));
    let server =
        tls(config(&bench.authority, H1, 0), move |session| pour(session, chunked, extension, Duration::ZERO)).await;
    bench.case("a chunk extension without end", Spec::Https(page(&server)), http(Cause::HttpProtocolError)).await;
}

/// Sends the head, and then the filler for ever, so often.
async fn pour(mut session: TlsStream<TcpStream>, head: &'static [u8], filler: &'static [u8], pause: Duration) {
    let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
    let mut poured = session.write_all(head).await;
    while poured.is_ok() && !filler.is_empty() {
        tokio::time::sleep(pause).await;
        poured = session.write_all(filler).await;
        session.flush().await.ok();
    }
    session.shutdown().await.ok();
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const H1: &[u8] = b"http/1.1";
const ZEROS: &[u8] = &[0; 4096];
const DRIP: Duration = Duration::from_millis(20);
