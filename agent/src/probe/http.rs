//! The http layer over TCP: one GET on a fresh connection, HTTP/2 or HTTP/1.1 as the handshake agreed.
//!
//! Rules: GET only, with an honest User-Agent; redirects are never followed, a status is judged as it is; at most
//! 64 KiB of body and 16 KiB of headers are read, and an answer that has not ended by the deadline is `http_timeout`.
//! What an edge says of itself is kept only as far as it stays the same from run to run.

mod answer;
mod tasks;

use std::{error::Error as StdError, future::Future, io, pin::pin};

use bytes::Bytes;
use faultline_proto::types::v1::{Cause, HttpSpec, Layer, Protocol};
use futures::future::{Either, select};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::{Position, Url};

pub(crate) use self::answer::{Body, MAX_HEADERS, edges, judge_status};
#[cfg(test)]
pub(crate) use self::tasks::Tasks as Spawner;
use self::tasks::Tasks;
use super::outcome::{Phase, Progress, Stop};

/// Fetches the URL over the session and judges the answer.
pub(crate) async fn fetch(
    stream: TlsStream<TcpStream>,
    url: &Url,
    spec: &HttpSpec,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let budget = progress.budget;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    progress.protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    let exchanged = if is_http2 {
        budget.within(Box::pin(over_http2(stream, url, spec, progress))).await
    } else {
        budget.within(Box::pin(over_http1(stream, url, spec, progress))).await
    };
    conclude(exchanged, progress)
}

/// Books the time of a finished or interrupted exchange.
pub(crate) fn conclude<E>(exchanged: Result<Result<(), Stop>, E>, progress: &mut Progress) -> Result<(), Stop> {
    progress.end(if progress.has_first_byte() { Phase::Body } else { Phase::FirstByte });
    exchanged.unwrap_or(Err(failed(Cause::HttpTimeout)))
}

async fn over_http1(
    stream: TlsStream<TcpStream>,
    url: &Url,
    spec: &HttpSpec,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEADERS);
    let opened = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| stop(&error))?;
    let request = request(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort]);
    let answer = async {
        let request = request.body(Empty::new()).map_err(|_| failed(Cause::HttpProtocolError))?;
        let response = sender.send_request(request).await.map_err(|error| stop(&error))?;
        read(response, spec, progress).await
    };
    alongside(connection, answer).await
}

async fn over_http2(
    stream: TlsStream<TcpStream>,
    url: &Url,
    spec: &HttpSpec,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.executor());
    builder.max_header_list_size(MAX_HEADERS_HTTP2).initial_stream_window_size(WINDOW);
    let opened = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| stop(&error))?;
    let request = request(&url[..Position::AfterQuery]);
    let answer = async {
        let request = request.body(Empty::new()).map_err(|_| failed(Cause::HttpProtocolError))?;
        let response = sender.send_request(request).await.map_err(|error| stop(&error))?;
        read(response, spec, progress).await
    };
    alongside(connection, answer).await
}

/// The request that every probe sends.
pub(crate) fn request(target: &str) -> http::request::Builder {
    Request::get(target)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
}

/// The work's value, with the connection's driver polled beside it.
pub(crate) async fn alongside<T>(driver: impl Future, work: impl Future<Output = T>) -> T {
    match select(pin!(work), pin!(driver)).await {
        Either::Left((value, _)) => value,
        Either::Right((_, work)) => work.await,
    }
}

async fn read(response: Response<Incoming>, spec: &HttpSpec, progress: &mut Progress) -> Result<(), Stop> {
    progress.end(Phase::FirstByte);
    progress.status = Some(response.status().as_u16());
    progress.facts.edge = edges(response.headers());
    judge_status(spec, response.status())?;
    let mut incoming = response.into_body();
    let mut body = Body::new(&spec.body_contains);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| stop(&error))?;
        if frame.data_ref().is_some_and(|chunk| body.is_enough_after(chunk)) {
            break;
        }
    }
    body.judge()
}

/// What hyper's refusal means. Source: its error carries the connection's or the peer's as a source.
fn stop(error: &hyper::Error) -> Stop {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            let is_ours = !h2.is_remote() && !h2.is_io();
            return failed(if is_ours { Cause::HttpProtocolError } else { Cause::HttpReset });
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let is_garbled = io.kind() == io::ErrorKind::InvalidData;
            return failed(if is_garbled { Cause::HttpProtocolError } else { Cause::HttpReset });
        }
        source = inner.source();
    }
    let is_cut = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    failed(if is_cut { Cause::HttpReset } else { Cause::HttpProtocolError })
}

pub(crate) fn failed(cause: Cause) -> Stop {
    Stop::Failed(Layer::Http, cause)
}

/// Protocols that the https kind offers, best first.
pub(crate) const ALPN: [&[u8]; 2] = [ALPN_HTTP2, b"http/1.1"];
const ALPN_HTTP2: &[u8] = b"h2";
const MAX_HEADERS_HTTP2: u32 = 16 * 1024;
const WINDOW: u32 = 128 * 1024;
const USER_AGENT: &str = concat!("faultline-agent/", env!("CARGO_PKG_VERSION"), " (+https://faultline.example/probes)");
