//! The http layer over TCP: one request on a fresh connection, HTTP/2 or HTTP/1.1 as the handshake agreed.
//!
//! Rules: methods that change nothing, with an honest User-Agent; a redirect is followed only where the spec wants it, each hop
//! over a connection of its own to an address that policy has seen; at most 64 KiB of body are looked at and 16 KiB of headers
//! read, and an answer that has not ended by the deadline is `http_timeout`. What an edge says of itself is kept only as far as
//! it stays the same from run to run.

mod answer;
pub(crate) mod http2;
mod json;
mod paced;
mod wanted;

use std::{error::Error as StdError, future::Future, io, pin::pin};

use bytes::Bytes;
use faultline_proto::types::v1::{Cause, Layer, Protocol};
use futures::future::{Either, select};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use url::{Position, Url};

pub(crate) use self::{
    answer::{Body, MAX_HEADERS, REDIRECTS, Redirect, judge_head},
    paced::Paced,
    wanted::Wanted,
};
use super::outcome::{Phase, Progress, Stop};

/// One request of a run.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    pub(crate) method: &'a Method,
    /// Headers besides those of every probe.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    /// Redirects that may still be followed; `None` where a redirect is a status as any other.
    pub(crate) hops_left: Option<u32>,
    /// Version that is wanted and no other; unspecified where any will do.
    pub(crate) version: Protocol,
    /// What the answer must be; any will do without it.
    pub(crate) wanted: Option<&'a Wanted<'a>>,
}

/// What came of a request: where the answer sends the client, if that is to be followed.
pub(crate) type Answered = Result<Option<Redirect>, Stop>;

/// Sends the request over the session and judges the answer.
pub(crate) async fn fetch(stream: TlsStream<TcpStream>, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let budget = progress.budget;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    if !is_http2 && ask.version == Protocol::Http2 {
        return Err(failed(Cause::HttpProtocolError)); // it went on as if it had agreed
    }
    progress.protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    let exchanged = if is_http2 {
        budget.within(Box::pin(over_http2(stream, ask, progress))).await
    } else {
        budget.within(Box::pin(over_http1(stream, ask, progress))).await
    };
    conclude(exchanged, progress)
}

/// Sends the request over the connection, without TLS, and judges the answer.
pub(crate) async fn fetch_clear(stream: TcpStream, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let budget = progress.budget;
    progress.protocol = Protocol::Http1;
    let exchanged = budget.within(Box::pin(over_http1(stream, ask, progress))).await;
    conclude(exchanged, progress)
}

/// Books the time of a finished or interrupted exchange.
pub(crate) fn conclude<E>(exchanged: Result<Answered, E>, progress: &mut Progress) -> Answered {
    progress.end(if progress.has_first_byte() { Phase::Body } else { Phase::FirstByte });
    exchanged.unwrap_or(Err(failed(Cause::HttpTimeout)))
}

async fn over_http1(stream: impl AsyncRead + AsyncWrite + Unpin, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let url = ask.url;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEADERS);
    // Old servers write so, and clients bear with them. Source: RFC 9112, sections 5.1 and 5.2.
    builder.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    let opened = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| stop(&error))?;
    let mut request = request(&url[Position::BeforePath..Position::AfterQuery], &ask);
    if !ask.headers.contains_key(header::HOST) {
        request = request.header(header::HOST, &url[Position::BeforeHost..Position::AfterPort]);
    }
    let answer = async {
        let request = request.body(Full::new(ask.body.clone())).map_err(|_| failed(Cause::HttpProtocolError))?;
        let response = sender.send_request(request).await.map_err(|error| stop(&error))?;
        read(response, &ask, progress).await
    };
    alongside(connection, answer).await
}

async fn over_http2(stream: TlsStream<TcpStream>, ask: Ask<'_>, progress: &mut Progress) -> Answered {
    let (sender, connection) = http2::open(stream).await.map_err(|error| stop_http2(&error))?;
    let request = request(&ask.url[..Position::AfterQuery], &ask).body(());
    let request = request.map_err(|_| failed(Cause::HttpProtocolError))?;
    let answer = async {
        let sent = http2::send(sender, request, ask.body.clone()).await;
        let response = sent.map_err(|error| stop_http2(&error))?;
        if let Some(redirect) = judge_head(&ask, &response, progress)? {
            return Ok(Some(redirect));
        }
        let mut incoming = response.into_body();
        let mut body = Body::new(ask.wanted);
        while let Some(chunk) = http2::chunk(&mut incoming).await.map_err(|error| stop_http2(&error))? {
            if body.is_enough_after(&chunk, progress) {
                break;
            }
        }
        body.judge().map(|()| None)
    };
    alongside(connection, answer).await
}

/// The request, without what its version adds. The spec's own headers take the place of those of every probe.
pub(crate) fn request(target: &str, ask: &Ask<'_>) -> http::request::Builder {
    let mut request = Request::builder().method(ask.method).uri(target).header(header::ACCEPT_ENCODING, "identity");
    for (name, value) in [(header::USER_AGENT, USER_AGENT), (header::ACCEPT, "*/*")] {
        if !ask.headers.contains_key(&name) {
            request = request.header(name, value);
        }
    }
    ask.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// The work's value, with the connection's driver polled beside it.
pub(crate) async fn alongside<T>(driver: impl Future, work: impl Future<Output = T>) -> T {
    match select(pin!(work), pin!(driver)).await {
        Either::Left((value, _)) => value,
        Either::Right((_, work)) => work.await,
    }
}

async fn read(response: Response<Incoming>, ask: &Ask<'_>, progress: &mut Progress) -> Answered {
    if let Some(redirect) = judge_head(ask, &response, progress)? {
        return Ok(Some(redirect));
    }
    let mut incoming = response.into_body();
    let mut body = Body::new(ask.wanted);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| stop(&error))?;
        if frame.data_ref().is_some_and(|chunk| body.is_enough_after(chunk, progress)) {
            break;
        }
    }
    body.judge().map(|()| None)
}

/// What hyper's refusal means. Source: its error carries the connection's or the peer's as a source.
fn stop(error: &hyper::Error) -> Stop {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let told = io.get_ref().and_then(|told| told.downcast_ref());
            if let Some(rustls::Error::AlertReceived(_)) = told {
                return Stop::Failed(Layer::Tls, Cause::TlsAlert); // TLS 1.3: a client's certificate is judged late
            }
            // The latter is a chunk's length.
            let is_garbled = matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
            return failed(if is_garbled { Cause::HttpProtocolError } else { Cause::HttpReset });
        }
        source = inner.source();
    }
    let is_cut = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    failed(if is_cut { Cause::HttpReset } else { Cause::HttpProtocolError })
}

/// What h2's refusal means: whether the peer spoke wrongly, or ended the connection or the stream.
fn stop_http2(error: &h2::Error) -> Stop {
    let is_ours = !error.is_remote() && !error.is_io();
    failed(if is_ours { Cause::HttpProtocolError } else { Cause::HttpReset })
}

pub(crate) fn failed(cause: Cause) -> Stop {
    Stop::Failed(Layer::Http, cause)
}

/// Protocols to offer for the version that the spec pins, or all of them.
pub(crate) fn alpn(version: Protocol) -> &'static [&'static [u8]] {
    match version {
        Protocol::Http1 => &ALPN[1..],
        Protocol::Http2 => &ALPN[..1],
        _ => &ALPN,
    }
}

/// Protocols that the https kind offers, best first.
pub(crate) const ALPN: [&[u8]; 2] = [ALPN_HTTP2, b"http/1.1"];
const ALPN_HTTP2: &[u8] = b"h2";
pub(crate) const USER_AGENT: &str =
    concat!("faultline-agent/", env!("CARGO_PKG_VERSION"), " (+https://faultline.example/probes)");
