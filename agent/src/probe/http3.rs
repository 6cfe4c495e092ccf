//! The connect and http layers over QUIC: one fresh connection and one request over HTTP/3.
//!
//! Rules: the connect layer is the QUIC handshake; a certificate refused inside it, or a TLS alert, is layer `tls`; an
//! ICMP refusal ends the run at once; a frame that is too long to hold is `http_protocol_error`; interim answers are
//! passed over.

mod bound;
mod socket;

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use faultline_proto::types::v1::{Cause, Layer, Protocol};
use h3::{
    client::RequestStream,
    error::{ConnectionError as H3Error, LocalError, StreamError},
    quic::RecvStream,
};
use http::{Response, StatusCode};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime, TransportConfig,
    TransportErrorCode, VarInt, crypto::rustls::QuicClientConfig,
};
use url::Position;

use self::{
    bound::{Bounded, Full},
    socket::Socket,
};
use super::{
    connect::{Causes, refusal},
    http::{Answered, Ask, Body, MAX_HEADERS, alongside, conclude, failed, judge_head, request},
    outcome::{Budget, Phase, Progress, Stop},
    tls::{Handshakes, Witness},
};

/// A QUIC connection to the host at the address.
pub(crate) async fn connect(
    handshakes: &Handshakes,
    source: Option<IpAddr>,
    address: SocketAddr,
    (host, min_cert_days): (&str, u32),
    progress: &mut Progress,
) -> Result<Connection, Stop> {
    progress.address = Some(address.ip());
    let (config, witness) = handshakes.prepare(&[b"h3"]);
    let opened = open(config, source, address, host, &witness, progress.budget).await;
    progress.end(Phase::Connect);
    witness.testify(&mut progress.facts);
    witness.tell(progress.detail.as_deref_mut());
    let connection = opened?;
    if let Some(detail) = &mut progress.detail {
        detail.tls_version = Some(rustls::ProtocolVersion::TLSv1_3); // RFC 9001, section 4.2
    }
    witness.lasts(min_cert_days, progress.budget.clock.now_micros())?;
    Ok(connection)
}

/// The same without its time and its witness's word.
pub(crate) async fn open(
    config: rustls::ClientConfig,
    source: Option<IpAddr>,
    address: SocketAddr,
    host: &str,
    witness: &Witness,
    budget: Budget,
) -> Result<Connection, Stop> {
    let (socket, refused) = Socket::open(address, source).map_err(|error| refusal(&error, address.ip(), &QUIC))?;
    let crypto = QuicClientConfig::try_from(config).map_err(|_| quic(Cause::QuicProtocolError))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(&budget)));
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, runtime)
        .map_err(|error| refusal(&error, address.ip(), &QUIC))?;
    let connecting = endpoint.connect_with(config, address, host).map_err(|_| quic(Cause::QuicProtocolError))?;
    let either = async {
        tokio::select! {
            connected = connecting => connected.map_err(|error| handshake_stop(&error, witness)),
            error = refused.heard() => Err(refusal(&error, address.ip(), &QUIC)),
        }
    };
    budget.within(either).await.unwrap_or(Err(quic(Cause::QuicHandshakeTimeout)))
}

fn transport(budget: &Budget) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(budget.clock.real(INITIAL_RTT))
        .max_idle_timeout(None)
        .stream_receive_window(WINDOW)
        .receive_window(WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(MAX_UNI_STREAMS)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None);
    transport
}

fn handshake_stop(error: &ConnectionError, witness: &Witness) -> Stop {
    if let Some(cause) = witness.cause() {
        return Stop::Failed(Layer::Tls, cause);
    }
    match error {
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code) => {
            Stop::Failed(Layer::Tls, Cause::TlsAlert)
        }
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => {
            quic(Cause::QuicRefused)
        }
        ConnectionError::TimedOut => quic(Cause::QuicHandshakeTimeout),
        _ => quic(Cause::QuicProtocolError),
    }
}

/// Source: RFC 9001, section 4.8: alerts are the codes 0x0100 to 0x01ff.
fn is_alert(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// Sends the request over the connection and judges the answer.
pub(crate) async fn fetch(connection: Connection, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let budget = progress.budget;
    progress.protocol = Protocol::Http3;
    let exchanged = budget.within(Box::pin(exchange(connection.clone(), ask, progress))).await;
    connection.close(VarInt::from_u32(H3_NO_ERROR), b"");
    conclude(exchanged, progress)
}

async fn exchange(connection: Connection, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let (mut driver, mut sender, full) = client(connection).await.map_err(|error| connection_stop(&error))?;
    let request = request(&ask.url[..Position::AfterQuery], &ask).body(());
    let request = request.map_err(|_| failed(Cause::HttpProtocolError))?;
    let answer = async {
        let mut stream = sender.send_request(request).await.map_err(|error| stream_stop(&error))?;
        if !ask.body.is_empty() {
            stream.send_data(ask.body.clone()).await.map_err(|error| stream_stop(&error))?;
        }
        stream.finish().await.map_err(|error| stream_stop(&error))?;
        let response = head(&mut stream).await.map_err(|error| stream_stop(&error))?;
        if let Some(redirect) = judge_head(&ask, &response, progress)? {
            return Ok(Some(redirect));
        }
        let mut body = Body::new(ask.wanted);
        while let Some(mut chunk) = stream.recv_data().await.map_err(|error| stream_stop(&error))? {
            let chunk = chunk.copy_to_bytes(chunk.remaining());
            if body.is_enough_after(&chunk, progress) {
                break;
            }
        }
        body.judge().map(|()| None)
    };
    let exchanged = full.guard(alongside(poll_fn(|context| driver.poll_close(context)), answer)).await;
    exchanged.unwrap_or(Err(failed(Cause::HttpProtocolError)))
}

type Bound = Bounded<h3_quinn::Connection>;
type Opener = Bounded<h3_quinn::OpenStreams>;
type Client = (h3::client::Connection<Bound, Bytes>, h3::client::SendRequest<Opener, Bytes>, Full);

/// HTTP/3 over the connection: what must be polled beside the requests, what sends them, and what guards both.
pub(crate) async fn client(connection: Connection) -> Result<Client, H3Error> {
    let (connection, full) = Bounded::new(h3_quinn::Connection::new(connection));
    let mut builder = h3::client::builder();
    builder.max_field_section_size(MAX_HEADERS as u64).send_grease(false);
    let (driver, sender) = builder.build(connection).await?;
    Ok((driver, sender, full))
}

/// The head of the answer, past interim ones, which h3 tells as any other. Source: RFC 9110, section 15.2.
pub(crate) async fn head<S: RecvStream>(stream: &mut RequestStream<S, Bytes>) -> Result<Response<()>, StreamError> {
    loop {
        let response = stream.recv_response().await?;
        if !response.status().is_informational() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
    }
}

fn stream_stop(error: &StreamError) -> Stop {
    match error {
        StreamError::ConnectionError { 0: error, .. } => connection_stop(error),
        StreamError::RemoteTerminate { .. } | StreamError::RemoteClosing { .. } => failed(Cause::HttpReset),
        _ => failed(Cause::HttpProtocolError),
    }
}

fn connection_stop(error: &H3Error) -> Stop {
    failed(match error {
        H3Error::Timeout { .. } => Cause::HttpTimeout,
        H3Error::Remote { .. } | H3Error::Local { error: LocalError::Closing { .. }, .. } => Cause::HttpReset,
        _ => Cause::HttpProtocolError,
    })
}

fn quic(cause: Cause) -> Stop {
    Stop::Failed(Layer::Connect, cause)
}

const QUIC: Causes = Causes {
    layer: Layer::Connect,
    refused: Cause::QuicRefused,
    reset: Cause::QuicRefused,
    timeout: Cause::QuicHandshakeTimeout,
    unreachable: Cause::ConnectUnreachable,
};

/// Source: RFC 9002, section 6.2.2.
const INITIAL_RTT: Duration = Duration::from_millis(333);
/// Bytes that a peer may send ahead of what is read. A run may take 256 KiB, and this is held beside what h3 holds.
const WINDOW: VarInt = VarInt::from_u32(48 * 1024);
/// A server's control stream and two of QPACK, and one that nobody knows. Source: RFC 9114, section 6.2.
const MAX_UNI_STREAMS: VarInt = VarInt::from_u32(4);
/// Source: RFC 9114, section 8.1.
const H3_NO_ERROR: u32 = 0x100;
