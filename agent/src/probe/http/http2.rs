//! HTTP/2 as h2 has it: one request on a connection of its own, driven beside whoever asks.
//!
//! Rules: what the peer may have held of it is bounded by small windows, a bound for headers and [`Paced`] reading; it pushes
//! nothing; the host of a `Host` header goes where HTTP/2 has it, into `:authority`.

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, Connection, SendRequest},
};
use http::{HeaderValue, Request, Response, Uri, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Paced;

/// A connection, to be polled beside what is done with it.
pub(crate) type Driver<S> = Connection<Paced<S>, Bytes>;

/// A connection over the stream.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> Result<(SendRequest<Bytes>, Driver<S>), h2::Error> {
    Builder::new()
        .enable_push(false)
        .max_header_list_size(MAX_HEADERS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(Paced::new(stream))
        .await
}

/// The head of the answer to the request.
pub(crate) async fn send(
    sender: SendRequest<Bytes>,
    mut request: Request<()>,
    body: Bytes,
) -> Result<Response<RecvStream>, h2::Error> {
    if let Some(host) = request.headers_mut().remove(header::HOST)
        && let Some(uri) = at_host(request.uri(), &host)
    {
        *request.uri_mut() = uri;
    }
    let (answer, mut sending) = sender.ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sending.send_data(body, true)?;
    }
    answer.await
}

/// The next part of the body; gives the peer leave to send as much again.
pub(crate) async fn chunk(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(chunk) = body.data().await.transpose()? else { return Ok(None) };
    body.flow_control().release_capacity(chunk.len())?;
    Ok(Some(chunk))
}

fn at_host(uri: &Uri, host: &HeaderValue) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(host.as_bytes().try_into().ok()?);
    Uri::from_parts(parts).ok()
}

const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes of bodies that a peer may send ahead. Source: twice what is looked at of a body.
const WINDOW: u32 = 128 * 1024;
