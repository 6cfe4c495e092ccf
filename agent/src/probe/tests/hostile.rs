//! Servers that mean harm: every run ends by its timeout, within bounds, and is classified.

use faultline_proto::types::v1::{Cause, HttpSpec, Layer, assignment::Spec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::probe::{Observed, Outcome, http::ALPN, testing::*};

#[tokio::test]
async fn endless_headers_are_a_protocol_error() {
    let observed = against("HTTP/1.1 200 OK\r\n", "x-filler: 0123456789012345678901234567890123456789\r\n", "").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpProtocolError)));
}

#[tokio::test]
async fn one_endless_header_is_a_protocol_error() {
    let observed = against("HTTP/1.1 200 OK\r\nx-filler: ", "0123456789", "").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpProtocolError)));
}

#[tokio::test]
async fn endless_interim_answers_end_with_the_timeout() {
    let observed = against("", "HTTP/1.1 103 Early Hints\r\n\r\n", "").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpTimeout)));
}

#[tokio::test]
async fn an_endless_body_is_read_to_its_cap() {
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(against(head, "0123456789", "").await.outcome(), Some(Outcome::Passed));
    let observed = against(head, "0123456789", "healthy").await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::BodyTooLarge)));
}

async fn against(head: &'static str, filler: &'static str, wanted: &str) -> Observed {
    let authority = Authority::new();
    let config = authority.issue(HOST, |_| {}).server(&ALPN[1..]);
    let server = tls_server(config, move |session| pour(session, head, filler)).await;
    let spec = HttpSpec { body_contains: wanted.into(), ..page(server.address) };
    run_short(&prober(&authority), Spec::Https(spec)).await
}

async fn pour(mut session: TlsStream<TcpStream>, head: &'static str, filler: &'static str) {
    let Ok(1..) = session.read(&mut [0; 4096]).await else { return };
    let filler = filler.repeat(64);
    let mut poured = session.write_all(head.as_bytes()).await;
    while poured.is_ok() {
        poured = session.write_all(filler.as_bytes()).await;
    }
}
