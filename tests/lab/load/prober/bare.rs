//! A bare loop: what any prober must do, and nothing else. Nothing is judged, timed, kept or bounded.
//!
//! Rules: one configuration for all probes and no tickets, so that each handshake is a full one; QUIC connections share one
//! socket; an answer that is not the expected one still is a failure.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, Bytes};
use hickory_server::proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Counted, Slice};
use crate::load::{HOST, Kind, Places, ZONE, part};

/// Answers each [`Slice`] with what was [`Counted`], until standard input ends.
pub async fn main() -> anyhow::Result<()> {
    part::answer(async |slice: Slice| Ok(serde_json::to_value(run(&slice).await?)?)).await
}

/// The slice.
pub async fn run(slice: &Slice) -> anyhow::Result<Counted> {
    let loops = Loops::new(slice.kind, &slice.places)?;
    Ok(slice.run(async |_| loops.probe().await.map_err(|error| format!("{error:#}"))).await)
}

struct Loops<'a> {
    kind: Kind,
    places: &'a Places,
    tls: TlsConnector,
    name: ServerName<'static>,
    quic: Option<Endpoint>,
    question: Name,
    next: Cell<usize>,
}

impl<'a> Loops<'a> {
    fn new(kind: Kind, places: &'a Places) -> anyhow::Result<Self> {
        let alpn: &[&[u8]] = match kind {
            Kind::Https1 => &[b"http/1.1"],
            Kind::Https2 => &[b"h2"],
            Kind::Http3 => &[b"h3"],
            Kind::Tls | Kind::Tcp | Kind::Dns => &[],
        };
        let config = client(&places.ca_pem, alpn)?;
        let quic = if kind == Kind::Http3 { Some(endpoint(config.clone())?) } else { None };
        Ok(Self {
            kind,
            places,
            tls: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(HOST)?,
            quic,
            question: Name::from_ascii(format!("www.{ZONE}."))?,
            next: Cell::new(0),
        })
    }

    async fn probe(&self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Https1 => one_get(self.handshake(self.places.https1).await?).await,
            Kind::Https2 => {
                get_over_http2(self.handshake(self.places.https2).await?, &format!("https://{}/", self.places.https2))
                    .await
            }
            Kind::Tls => self.handshake(self.places.https1).await.map(drop),
            Kind::Tcp => {
                self.next.set(self.next.get() + 1);
                let address = self.places.tcp[self.next.get() % self.places.tcp.len()];
                Ok(TcpStream::connect(address).await.map(drop)?)
            }
            Kind::Dns => self.question().await,
            Kind::Http3 => self.get_over_http3().await,
        }
    }

    async fn handshake(&self, address: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(self.name.clone(), stream).await?)
    }

    async fn question(&self) -> anyhow::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.places.dns).await?;
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.question.clone(), RecordType::A));
        socket.send(&message.to_vec()?).await?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(&buffer[..length])?;
        ensure!(answer.metadata.id == message.metadata.id && answer.answers.len() == 1, "{answer:?}");
        Ok(())
    }

    async fn get_over_http3(&self) -> anyhow::Result<()> {
        let endpoint = self.quic.as_ref().context("an endpoint")?;
        let connection = endpoint.connect(self.places.http3, HOST)?.await?;
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
        let request = Request::get(format!("https://{}/", self.places.http3)).body(())?;
        let exchange = async {
            let mut stream = sender.send_request(request).await?;
            stream.finish().await?;
            let response = stream.recv_response().await?;
            let mut length = 0;
            while let Some(chunk) = stream.recv_data().await? {
                length += chunk.remaining();
            }
            ensure!(response.status() == 200 && length == PAGE, "{response:?}, {length} bytes");
            Ok(())
        };
        tokio::select! {
            done = exchange => done,
            closed = driver.wait_idle() => bail!("closed: {closed}"),
        }
    }
}

/// Source: what the bench's servers serve.
const PAGE: usize = 1024;

async fn one_get(mut stream: TlsStream<TcpStream>) -> anyhow::Result<()> {
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::with_capacity(2 * PAGE);
    loop {
        ensure!(stream.read_buf(&mut answer).await? > 0, "cut off after {} bytes", answer.len());
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() == head + 4 + PAGE) {
            ensure!(answer.starts_with(b"HTTP/1.1 200 "), "another status");
            return Ok(());
        }
    }
}

async fn get_over_http2(stream: TlsStream<TcpStream>, url: &str) -> anyhow::Result<()> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let request = Request::get(url).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let length = response.into_body().collect().await?.to_bytes().len();
        ensure!(status == 200 && length == PAGE, "{status}, {length} bytes");
        Ok(())
    };
    tokio::select! {
        done = exchange => done,
        closed = connection => bail!("closed: {closed:?}"),
    }
}

fn client(ca_pem: &str, alpn: &[&[u8]]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn endpoint(config: ClientConfig) -> anyhow::Result<Endpoint> {
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?)));
    Ok(endpoint)
}
