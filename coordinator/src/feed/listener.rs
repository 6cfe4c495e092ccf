//! The accept loop of the feed port: HTTP/1.1 and HTTP/2 on one port, with limits, and an orderly end.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};

use crate::shutdown;

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 4096;

/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 64;

/// A request's headers must come within this.
const HEADERS: Duration = Duration::from_secs(10);

/// HTTP/2 pings: after this silence, and how long they may take. Below every common idle limit of a NAT.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// After shutdown began, open requests have this long to end.
const GRACE: Duration = Duration::from_millis(2500);

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, router: Router, mut shutdown: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = shutdown::begun(&mut shutdown) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Small answers must not wait for acknowledgements; a failure only costs latency.
        drop(stream.set_nodelay(true));
        let (router, mut shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            let builder = builder();
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            tokio::pin!(connection);
            let done = tokio::select! {
                done = connection.as_mut() => Some(done),
                () = shutdown::begun(&mut shutdown) => None,
            };
            let done = if let Some(done) = done {
                done
            } else {
                connection.as_mut().graceful_shutdown();
                time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
            };
            if let Err(error) = done {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(16 << 10)
        .max_local_error_reset_streams(256)
        .max_pending_accept_reset_streams(20)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    builder
}
