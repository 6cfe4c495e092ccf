//! One question to one name server over TCP, TLS, HTTP/2, QUIC or HTTP/3, on a fresh connection.
//!
//! Rules: the server must prove its name, or its address, as any other; its certificates are told, accepted or not; a
//! connection or handshake that fails is a server that cannot be reached, and silence is a timeout, at whatever layer;
//! an HTTP answer other than 200 with a DNS message in it is not DNS.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use faultline_proto::types::v1::{Cause, Protocol};
use http::{Request, StatusCode, header};
use quinn::{ReadExactError, ReadToEndError, VarInt};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::ask::{AskError, Question, Read, Reply, encode, framed, read, unreachable};
use crate::probe::{
    connect,
    http::{USER_AGENT, alongside, http2},
    http3,
    outcome::{Budget, Facts, Stop},
    tls::{Handshakes, Witness},
};

/// A name server that is not asked by datagram.
#[derive(Clone, Debug)]
pub(crate) struct Upstream<'a> {
    pub(crate) handshakes: &'a Handshakes,
    pub(crate) source: Option<IpAddr>,
    pub(crate) address: SocketAddr,
    /// Whom its certificate must be for.
    pub(crate) host: &'a str,
    pub(crate) transport: Protocol,
    pub(crate) path: &'a str,
}

impl Upstream<'_> {
    /// The server's answer, within the budget; what its handshake shows goes to the facts.
    pub(crate) async fn ask(&self, question: &Question, budget: Budget, facts: &mut Facts) -> Result<Reply, AskError> {
        let alpn: &[&[u8]] = match self.transport {
            Protocol::DnsHttps => &[b"h2"],
            Protocol::DnsQuic => &[b"doq"],
            Protocol::DnsHttp3 => &[b"h3"],
            _ => &[],
        };
        let (config, witness) = self.handshakes.prepare(alpn);
        // Ids tell datagrams apart; over HTTP and QUIC they are zero (RFC 8484, section 4.1; RFC 9250, section 4.2.1).
        let is_stream = matches!(self.transport, Protocol::DnsTcp | Protocol::DnsTls);
        let id = if is_stream { rand::random() } else { 0 };
        let query = encode(id, question)?;
        let exchanged = budget.within(Box::pin(async {
            match self.transport {
                Protocol::DnsTls => framed(self.session(config).await?, self.address, &query).await,
                Protocol::DnsHttps => Box::pin(self.over_http2(self.session(config).await?, query)).await,
                Protocol::DnsQuic => over_quic(self.quic(config, &witness, budget).await?, &query).await,
                Protocol::DnsHttp3 => {
                    Box::pin(self.over_http3(self.quic(config, &witness, budget).await?, query)).await
                }
                _ => framed(self.connection().await?, self.address, &query).await,
            }
        }));
        let answered = exchanged.await.unwrap_or(Err(AskError::Timeout));
        witness.testify(facts);
        match read(&answered?, id, question) {
            Read::Answer(message) => Ok(Reply { message, transport: self.transport, server: self.address }),
            Read::Malformed | Read::Stranger => Err(AskError::Malformed),
        }
    }

    async fn connection(&self) -> Result<TcpStream, AskError> {
        connect::open(self.address, self.source).await.map_err(|error| unreachable(self.address, error))
    }

    async fn session(&self, config: rustls::ClientConfig) -> Result<TlsStream<TcpStream>, AskError> {
        let name = ServerName::try_from(self.host.to_owned()).map_err(|_| AskError::Malformed)?;
        let stream = self.connection().await?;
        let session = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        session.map_err(|error| unreachable(self.address, error))
    }

    async fn quic(
        &self,
        config: rustls::ClientConfig,
        witness: &Witness,
        budget: Budget,
    ) -> Result<quinn::Connection, AskError> {
        let opened = http3::open(config, self.source, self.address, self.host, witness, budget).await;
        opened.map_err(|stop| match stop {
            Stop::Failed(_, Cause::QuicHandshakeTimeout) => AskError::Timeout,
            Stop::Failed(..) => AskError::Refused,
            Stop::Unmeasured(reason) => AskError::Unmeasured(reason),
        })
    }

    fn request(&self) -> Result<Request<()>, AskError> {
        let path = if self.path.is_empty() { DEFAULT_PATH } else { self.path };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        Request::post(format!("https://{host}:{}{path}", self.address.port()))
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, MESSAGE)
            .header(header::CONTENT_TYPE, MESSAGE)
            .body(())
            .map_err(|_| AskError::Malformed)
    }

    async fn over_http2(&self, session: TlsStream<TcpStream>, query: Vec<u8>) -> Result<Vec<u8>, AskError> {
        let (sender, connection) = http2::open(session).await.map_err(|_| AskError::Refused)?;
        let request = self.request()?;
        let answer = async {
            let response = http2::send(sender, request, query.into()).await.map_err(|_| AskError::Refused)?;
            judge(response.status())?;
            let mut incoming = response.into_body();
            let mut body = Vec::new();
            while let Some(chunk) = http2::chunk(&mut incoming).await.map_err(|_| AskError::Malformed)? {
                if body.len() + chunk.len() > MAX_MESSAGE {
                    return Err(AskError::Malformed);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        alongside(connection, answer).await
    }

    async fn over_http3(&self, connection: quinn::Connection, query: Vec<u8>) -> Result<Vec<u8>, AskError> {
        let (mut driver, mut sender, full) = http3::client(connection).await.map_err(|_| AskError::Refused)?;
        let request = self.request()?;
        let answer = async {
            let mut stream = sender.send_request(request).await.map_err(|_| AskError::Refused)?;
            stream.send_data(Bytes::from(query)).await.map_err(|_| AskError::Refused)?;
            stream.finish().await.map_err(|_| AskError::Refused)?;
            judge(http3::head(&mut stream).await.map_err(|_| AskError::Refused)?.status())?;
            let mut body = Vec::new();
            while let Some(mut chunk) = stream.recv_data().await.map_err(|_| AskError::Malformed)? {
                if body.len() + chunk.remaining() > MAX_MESSAGE {
                    return Err(AskError::Malformed);
                }
                body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
            }
            Ok(body)
        };
        let exchanged = alongside(std::future::poll_fn(|context| driver.poll_close(context)), answer);
        full.guard(exchanged).await.unwrap_or(Err(AskError::Malformed))
    }
}

/// One stream for one question (RFC 9250, section 4.2).
async fn over_quic(connection: quinn::Connection, query: &[u8]) -> Result<Vec<u8>, AskError> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|_| AskError::Refused)?;
    let length = u16::try_from(query.len()).map_err(|_| AskError::Malformed)?;
    send.write_all(&length.to_be_bytes()).await.map_err(|_| AskError::Refused)?;
    send.write_all(query).await.map_err(|_| AskError::Refused)?;
    send.finish().map_err(|_| AskError::Refused)?;
    let cut = |error| match error {
        ReadExactError::FinishedEarly(_) => AskError::Malformed,
        ReadExactError::ReadError(_) => AskError::Refused,
    };
    let mut length = [0; 2];
    receive.read_exact(&mut length).await.map_err(cut)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    receive.read_exact(&mut message).await.map_err(cut)?;
    receive.read_to_end(0).await.map_err(|error| match error {
        ReadToEndError::TooLong => AskError::Malformed,
        ReadToEndError::Read(_) => AskError::Refused,
    })?;
    connection.close(VarInt::from_u32(DOQ_NO_ERROR), b"");
    Ok(message)
}

fn judge(status: StatusCode) -> Result<(), AskError> {
    if status == StatusCode::OK { Ok(()) } else { Err(AskError::Malformed) }
}

const MESSAGE: &str = "application/dns-message";
const DEFAULT_PATH: &str = "/dns-query";
/// Source: a length of two bytes (RFC 1035, section 4.2.2).
const MAX_MESSAGE: usize = 65_535;
/// Source: RFC 9250, section 8.4.
const DOQ_NO_ERROR: u32 = 0;
