//! A client as plain as can be, with a word for each way to fail: `dns servfail`, `connect timeout`, `http 503`.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{io::AsyncReadExt, net::TcpSocket, task::JoinSet, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::Net;
use crate::world::{Agent, Probe, Target};

/// What a probe that reached its end saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) address: Option<IpAddr>,
    pub(super) cnames: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Layer and cause of a failure.
pub(super) type Failure = String;

/// No server of a healthy lab takes as long, and every silence lasts longer.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(super) async fn probe(net: &Net, agent: &Agent, target: &Target) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let own = |address| -> SocketAddr { (address, net.port()).into() };
    if let Probe::Dns { record, is_direct } = target.probe {
        let kind: RecordType = record.parse().expect("a record type");
        let operator = net.shared.world.operator(target.dns_operator().expect("named")).expect("operator");
        let server = if is_direct { own(operator.address.into()) } else { net.resolver(agent) };
        let answer = ask(agent, server, target.host().expect("named"), kind).await?;
        return if answer.is_empty() { Err("dns empty_answer".into()) } else { Ok(seen) };
    }
    let address = match target.host() {
        None => target.address_for(agent).into(),
        Some(host) => {
            let answer = ask(agent, net.resolver(agent), host, RecordType::A).await?;
            seen.cnames =
                answer.iter().filter(|data| matches!(data, RData::CNAME(_))).map(ToString::to_string).collect();
            answer.iter().find_map(RData::ip_addr).ok_or("dns empty_answer")?
        }
    };
    seen.address = Some(address);
    let host = target.host().map_or_else(|| address.to_string(), str::to_owned);
    if target.probe == Probe::Http3 {
        return over_quic(net, agent, own(address), &host, seen).await;
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((agent.address(), 0).into()).expect("the agent's address");
    let mut stream = match timeout(PATIENCE, socket.connect(own(address))).await {
        Err(_) => return Err("connect timeout".into()),
        Ok(connected) => connected.map_err(|error| format!("connect {}", word(&error)))?,
    };
    if target.probe == Probe::Tcp {
        return match timeout(PATIENCE / 10, stream.read_u8()).await {
            Err(_) => Ok(seen),
            Ok(ended) => Err(format!("connect {}", word(&ended.expect_err("nothing to read")))),
        };
    }
    let config = client_config(net, &[b"h2", b"http/1.1"]);
    let name = ServerName::try_from(host.clone()).expect("a name");
    let stream = match timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Err(_) => return Err("tls timeout".into()),
        Ok(shaken) => shaken.map_err(|error| format!("tls {}", word(&error)))?,
    };
    if target.probe == Probe::Tls {
        return Ok(seen);
    }
    match timeout(PATIENCE, over_tls(stream, &host, &target.path)).await {
        Err(_) => Err("http timeout".into()),
        Ok(answered) => finish(answered?, seen),
    }
}

type Answered = (u16, HeaderMap, Bytes);

fn finish((status, headers, body): Answered, seen: Seen) -> Result<Seen, Failure> {
    if status == 200 { Ok(Seen { headers, body, ..seen }) } else { Err(format!("http {status} {}", edge(&headers))) }
}

fn edge(headers: &HeaderMap) -> &'static str {
    let marks = ["x-azure-ref", "x-amz-cf-id", "cf-ray", "x-served-by"];
    marks.into_iter().find(|mark| headers.contains_key(*mark)).unwrap_or("no-edge")
}

pub(super) async fn ask(
    agent: &Agent,
    server: SocketAddr,
    name: &str,
    kind: RecordType,
) -> Result<Vec<RData>, Failure> {
    let mut udp = ConnectionConfig::udp();
    udp.port = server.port();
    udp.bind_addr = Some((agent.address(), 0).into());
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(server.ip(), true, vec![udp])]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().timeout = PATIENCE;
    builder.options_mut().attempts = 0;
    builder.options_mut().try_tcp_on_error = false;
    let resolver = builder.build().expect("a resolver");
    let name = format!("{}.", name.trim_end_matches('.'));
    match resolver.lookup(name, kind).await {
        Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
        Err(NetError::Timeout) => Err("dns timeout".into()),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Err(format!("dns {}", rcode(none.response_code))),
        Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(format!("dns {}", rcode(code))),
        Err(other) => Err(format!("dns {other}")),
    }
}

fn rcode(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "empty_answer",
        ResponseCode::NXDomain => "nxdomain",
        ResponseCode::ServFail => "servfail",
        ResponseCode::Refused => "refused",
        _ => "malformed",
    }
}

fn client_config(net: &Net, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(net.ca_pem().as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn over_tls(stream: TlsStream<tokio::net::TcpStream>, host: &str, path: &str) -> Result<Answered, Failure> {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    assert!(is_h2, "the lab speaks HTTP/2 to who can");
    let failed = |error: &hyper::Error| format!("http {}", word(error));
    let (mut requests, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get(format!("https://{host}{path}")).body(Empty::<Bytes>::new()).expect("a request");
    let answer = requests.send_request(request).await.map_err(|error| failed(&error))?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
    Ok((parts.status.as_u16(), parts.headers, body))
}

async fn over_quic(net: &Net, agent: &Agent, server: SocketAddr, host: &str, seen: Seen) -> Result<Seen, Failure> {
    let endpoint = quinn::Endpoint::client((agent.address(), 0).into()).expect("an endpoint");
    let crypto = QuicClientConfig::try_from(client_config(net, &[b"h3"])).expect("a suite");
    let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(crypto)), server, host).expect("a name");
    let connection = match timeout(PATIENCE, connecting).await {
        Err(_) => return Err("quic timeout".into()),
        Ok(connected) => connected.map_err(|error| format!("quic {}", word(&error)))?,
    };
    let fetch = async {
        let failed = |error: &(dyn Error + 'static)| format!("http {}", word(error));
        let (mut driver, mut requests) =
            h3::client::new(h3_quinn::Connection::new(connection)).await.map_err(|error| failed(&error))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { driver.wait_idle().await });
        let request = Request::get(format!("https://{host}/")).body(()).expect("a request");
        let mut stream = requests.send_request(request).await.map_err(|error| failed(&error))?;
        stream.finish().await.map_err(|error| failed(&error))?;
        let answer = stream.recv_response().await.map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        while let Some(mut part) = stream.recv_data().await.map_err(|error| failed(&error))? {
            body.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
        Ok::<Answered, Failure>((answer.status().as_u16(), answer.headers().clone(), body.into()))
    };
    match timeout(PATIENCE, fetch).await {
        Err(_) => Err("http timeout".into()),
        Ok(answered) => finish(answered?, seen),
    }
}

/// The cause at the bottom of an error.
fn word(error: &(dyn Error + 'static)) -> String {
    let mut at = Some(error);
    let mut text = String::new();
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return "refused".into(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return "reset".into(),
                _ => {}
            }
        }
        text = error.to_string();
        at = error.source();
    }
    let known = [
        ("expired", "cert_expired"),
        ("not valid for name", "name_mismatch"),
        ("UnknownIssuer", "unknown_issuer"),
        ("refused", "refused"),
        ("Internal", "reset"),
        ("INTERNAL", "reset"),
        ("stream was reset", "reset"),
    ];
    known.into_iter().find(|(part, _)| text.contains(part)).map_or(text, |(_, word)| word.to_owned())
}
