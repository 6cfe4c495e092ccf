//! HTTP/3 servers: each path answers as [`super::pages`] does where that has a status and a body, and no more.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use quinn::{Endpoint, Incoming, crypto::rustls::QuicServerConfig};
use rustls::ServerConfig;
use tokio::task::JoinSet;

use super::LOOPBACK;

/// Serves until the tasks end.
pub(super) fn serve(config: ServerConfig, tasks: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let crypto = QuicServerConfig::try_from(config).map_err(io::Error::other)?;
    let endpoint = Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), LOOPBACK)?;
    let address = endpoint.local_addr()?;
    tasks.spawn(async move {
        let mut serving = JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            // What a client does not like is its own business.
            serving.spawn(async move { drop(receive(incoming).await) });
        }
    });
    Ok(address)
}

async fn receive(incoming: Incoming) -> anyhow::Result<()> {
    let connection = h3_quinn::Connection::new(incoming.accept()?.await?);
    let mut connection = h3::server::Connection::<_, Bytes>::new(connection).await?;
    while let Some(request) = connection.accept().await? {
        let (request, mut stream) = request.resolve_request().await?;
        while stream.recv_data().await?.is_some() {}
        let status = request.uri().path().trim_start_matches('/').parse().unwrap_or(200_u16);
        let answer = http::Response::builder().status(status).header("content-length", BODY.len()).body(())?;
        stream.send_response(answer).await?;
        stream.send_data(Bytes::from_static(BODY)).await?;
        stream.finish().await?;
    }
    Ok(())
}

const BODY: &[u8] = b"{\"status\":\"UP\"}";
