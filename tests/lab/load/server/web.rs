//! Pages of 1 KiB over HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! Rule: the client closes first, so that what a closed connection leaves behind is left on its side.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use quinn::{Endpoint, Incoming, crypto::rustls::QuicServerConfig};
use rustls::ServerConfig;
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::identity::Authority;

/// Bytes of a page. Source: the task that the figures are quoted for.
const PAGE: usize = 1024;

type Visit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Holds the connection until the client closes it.
pub(super) async fn hold(mut stream: TcpStream) {
    let mut sink = [0; 64];
    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

/// Serves pages in the protocol that the handshake agrees on.
pub(super) fn pages(config: ServerConfig) -> impl Fn(TcpStream) -> Visit {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    move |stream| {
        let acceptor = acceptor.clone();
        Box::pin(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|_request| async { Ok::<_, Infallible>(page().map(Full::new)) });
            let builder = auto::Builder::new(TokioExecutor::new());
            // How a visit ends is told by the prober.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        })
    }
}

/// The place of HTTP/3.
pub(super) fn endpoint(authority: &Authority, at: SocketAddr) -> anyhow::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(authority.server(&[b"h3"])?)?;
    Ok(Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), at)?)
}

/// Serves pages over HTTP/3.
pub(super) async fn serve_http3(endpoint: Endpoint) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => _ = visits.spawn(async move { drop(visit(incoming).await) }),
                None => return,
            },
            Some(_) = visits.join_next() => {}
        }
    }
}

async fn visit(incoming: Incoming) -> anyhow::Result<()> {
    let connection = h3_quinn::Connection::new(incoming.await?);
    let mut connection = h3::server::Connection::<_, Bytes>::new(connection).await?;
    while let Some(request) = connection.accept().await? {
        let (_request, mut stream) = request.resolve_request().await?;
        while stream.recv_data().await?.is_some() {}
        let (parts, body) = page().into_parts();
        stream.send_response(Response::from_parts(parts, ())).await?;
        stream.send_data(body).await?;
        stream.finish().await?;
    }
    Ok(())
}

fn page() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(&[b'.'; PAGE]));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
