//! HTTP/3 against a real QUIC server, a closed port, a silent one, and a server that refuses.

use bytes::Bytes;
use faultline_proto::types::v1::{Cause, HttpSpec, Layer, Protocol, assignment::Spec};
use http::Response;
use quinn::Incoming;
use tokio::{net::UdpSocket, task::JoinSet};

use crate::probe::{Outcome, testing::*};

#[tokio::test]
async fn http3_passes_over_a_real_server() {
    let authority = Authority::new();
    let server = QuicServer::new(authority.issue(HOST, |_| {}), serve);
    let spec = HttpSpec { body_contains: "healthy".into(), ..page(server.address) };
    let observed = run(&prober(&authority), Spec::Http3(spec)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!((observed.result.status, observed.result.protocol()), (200, Protocol::Http3));
    let timings = observed.result.timings.expect("timings");
    assert!(timings.connect_us > 0 && timings.tls_us == 0 && timings.first_byte_us > 0, "{timings:?}");
    let facts = observed.facts.expect("facts");
    assert_eq!((facts.issuer.as_str(), facts.edge["server"].as_str()), ("Test Authority", "edge"));
}

#[tokio::test]
async fn http3_judges_status_and_body_too() {
    let authority = Authority::new();
    let server = QuicServer::new(authority.issue(HOST, |_| {}), serve);
    let spec = HttpSpec { status: vec![204], ..page(server.address) };
    let observed = run(&prober(&authority), Spec::Http3(spec)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpStatus)));
    let spec = HttpSpec { body_contains: "green".into(), ..page(server.address) };
    let observed = run(&prober(&authority), Spec::Http3(spec)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::BodyMismatch)));
}

#[tokio::test]
async fn a_certificate_refused_inside_quic_is_the_tls_layer() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = QuicServer::new(other.issue(HOST, |_| {}), serve);
    let observed = run(&prober(&authority), Spec::Http3(page(server.address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsUnknownIssuer)));
    let facts = observed.facts.expect("facts");
    assert_eq!((facts.issuer.as_str(), facts.chain.len()), ("Test Authority", 1), "told, though refused");
}

#[tokio::test]
async fn a_certificate_that_ends_before_it_may_is_the_tls_layer_too() {
    let authority = Authority::new();
    let server =
        QuicServer::new(authority.issue(HOST, |params| params.not_after = rcgen::date_time_ymd(2100, 1, 1)), serve);
    let spec = HttpSpec { min_cert_days: 365_000, ..page(server.address) };
    let observed = run(&prober(&authority), Spec::Http3(spec)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsCertExpiresSoon)));
}

#[tokio::test]
async fn a_closed_udp_port_is_refused_at_once() {
    let closed = {
        let socket = UdpSocket::bind((HOST, 0)).await.expect("a port");
        socket.local_addr().expect("an address")
    };
    let observed = run(&prober(&Authority::new()), Spec::Http3(page(closed))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::QuicRefused)));
    let connect_us = observed.result.timings.map(|timings| timings.connect_us);
    // The second datagram, which would hear of it at the latest, goes out after a second (RFC 9002, section 6.2.2).
    assert!(connect_us.is_some_and(|micros| micros < 900_000), "{connect_us:?}");
}

#[tokio::test]
async fn a_server_that_refuses_the_connection_is_refused() {
    let authority = Authority::new();
    let server = QuicServer::new(authority.issue(HOST, |_| {}), |incoming| async { incoming.refuse() });
    let observed = run(&prober(&authority), Spec::Http3(page(server.address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::QuicRefused)));
}

#[tokio::test]
async fn a_silent_udp_port_is_a_handshake_timeout() {
    let socket = UdpSocket::bind((HOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let observed = run_short(&prober(&Authority::new()), Spec::Http3(page(address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::QuicHandshakeTimeout)));
}

#[tokio::test]
async fn an_alert_inside_quic_is_the_tls_layer() {
    let authority = Authority::new();
    let server = QuicServer::speaking(b"other", authority.issue(HOST, |_| {}), serve);
    let observed = run(&prober(&authority), Spec::Http3(page(server.address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Tls, Cause::TlsAlert)));
}

#[tokio::test]
async fn a_server_of_other_versions_is_a_protocol_error() {
    let socket = UdpSocket::bind((HOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut packet).await {
            socket.send_to(&version_negotiation(&packet), peer).await.ok();
        }
    });
    let observed = run(&prober(&Authority::new()), Spec::Http3(page(address))).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::QuicProtocolError)));
}

#[tokio::test]
async fn a_reset_stream_and_a_closed_connection_are_resets() {
    let authority = Authority::new();
    let resetting = QuicServer::new(authority.issue(HOST, |_| {}), |incoming| async {
        let Ok(connection) = incoming.await else { return };
        while let Ok((mut stream, _)) = connection.accept_bi().await {
            stream.reset(0x102_u32.into()).ok();
        }
    });
    let closing = QuicServer::new(authority.issue(HOST, |_| {}), |incoming| async {
        let Ok(connection) = incoming.await else { return };
        connection.accept_bi().await.ok();
        connection.close(0x102_u32.into(), b"");
    });
    for server in [resetting, closing] {
        let observed = run(&prober(&authority), Spec::Http3(page(server.address))).await;
        assert_eq!(observed.outcome(), Some(failed(Layer::Http, Cause::HttpReset)));
    }
}

/// The answer of a server that knows only a version nobody speaks. Source: RFC 9000, section 17.2.1.
fn version_negotiation(initial: &[u8]) -> Vec<u8> {
    let destination_end = 6 + usize::from(initial[5]);
    let source_end = destination_end + 1 + usize::from(initial[destination_end]);
    let mut answer = vec![0x80, 0, 0, 0, 0];
    answer.extend_from_slice(&initial[destination_end..source_end]);
    answer.extend_from_slice(&initial[5..destination_end]);
    answer.extend_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
    answer
}

async fn serve(incoming: Incoming) {
    let Ok(connection) = incoming.await else { return };
    let connection = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await;
    let mut connection = connection.expect("an HTTP/3 connection");
    while let Ok(Some(resolver)) = connection.accept().await {
        let (_, mut stream) = resolver.resolve_request().await.expect("a request");
        let head = Response::builder().header("server", "edge").body(()).expect("a head");
        stream.send_response(head).await.ok();
        stream.send_data(Bytes::from("all healthy")).await.ok();
        stream.finish().await.ok();
    }
}
