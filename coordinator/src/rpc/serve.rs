//! The loop that serves one port: it accepts, greets (TLS and the peer's name, where a port has them), and ends each
//! connection that has had its time.
//!
//! Rules: every connection is a task of this loop; one that breaks a limit ends alone; at shutdown the port closes at once, and
//! what is open has `STOP_GRACE` to end.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use axum::{Router, body::Body, response::IntoResponse as _};
use http::{Extensions, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tower::ServiceExt as _;

use super::{
    AGE_GRACE, FIRST_REQUEST, LAST_WORD, LOOK, Limits, STOP_GRACE, UNTAKEN, http as builder,
    life::{Answer, Life, Requests},
    message::Watched,
    meter::Metered,
    places::{Place, Places},
    prepare,
};
use crate::refusal;

/// Pause after the kernel refused to hand a connection over: out of descriptors, or it died in the queue.
const ACCEPT_AGAIN: time::Duration = time::Duration::from_millis(50);

/// Where connections come from.
pub trait Listener {
    /// A connection.
    type Stream;

    /// The next one, and where it comes from.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Sets it up. Fails when it is gone already.
    fn prepare(stream: &Self::Stream) -> io::Result<()>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }

    fn prepare(stream: &TcpStream) -> io::Result<()> {
        prepare(stream)
    }
}

/// Serves the port until shutdown. `greet` makes of a connection what is spoken over it, and what each request on it is to
/// know, within `in_time`.
pub async fn serve<L, G, F, I>(listener: L, limits: Limits, router: Router, greet: G, shutdown: CancellationToken)
where
    L: Listener,
    G: Fn(L::Stream, SocketAddr) -> F,
    F: Future<Output = io::Result<(I, Extensions)>> + Send + 'static,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (places, opening) = (Places::new(limits.connections), Places::new(limits.opening));
    let turns = Arc::new(Semaphore::new(limits.opening.all));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &turns) => accepted,
        };
        let (stream, peer, turn) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, port = limits.port, "accept failed");
                time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (Some(place), Some(opening)) = (places.take(peer.ip()), opening.take(peer.ip())) else {
            tracing::debug!(%peer, port = limits.port, "too many connections");
            continue;
        };
        if L::prepare(&stream).is_err() {
            continue;
        }
        let (greeted, router, shutdown) = (greet(stream, peer), router.clone(), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            match greeted.await {
                Ok((stream, known)) => {
                    let connection = Connection { limits, router, known, opening: (turn, opening), shutdown };
                    let why = connection.run(stream).await;
                    tracing::debug!(%peer, port = limits.port, why, "connection ended");
                }
                Err(error) => tracing::info!(%peer, port = limits.port, %error, "handshake refused"),
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept<L: Listener>(
    listener: &L,
    turns: &Arc<Semaphore>,
) -> io::Result<(L::Stream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    // Never closed: it lives as long as the loop.
    let turn = Arc::clone(turns).acquire_owned().await.ok();
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, turn))
}

/// One connection that was greeted.
struct Connection {
    limits: Limits,
    router: Router,
    known: Extensions,
    /// Held until the first request.
    opening: (Option<OwnedSemaphorePermit>, Place),
    shutdown: CancellationToken,
}

impl Connection {
    /// Serves it to its end; returns why it ended.
    async fn run<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: I) -> &'static str {
        let Self { limits, router, mut known, opening, shutdown } = self;
        let life = Life::new();
        known.insert(life.leaving());
        let requests = life.requests();
        let service = {
            let life = Arc::clone(&life);
            hyper::service::service_fn(move |request| answer(&life, &router, &known, request))
        };
        let builder = builder(&limits);
        let connection = builder.serve_connection(TokioIo::new(Metered::new(stream, limits.budget)), service);
        tokio::pin!(connection);
        let (why, grace) = tokio::select! {
            biased;
            done = connection.as_mut() => return if done.is_ok() { "closed" } else { "broken" },
            why = first_request(requests.clone(), opening) => (why, None),
            () = idle(requests, limits.idle) => ("idle", Some(LAST_WORD)),
            why = life.condemned() => (why, Some(LAST_WORD)),
            () = untaken(&life) => ("what was sent is not taken", None),
            () = time::sleep(limits.age.mul_f64(1.0 + rand::random::<f64>() / 10.0)) => ("old", Some(AGE_GRACE)),
            () = shutdown.cancelled() => ("shutdown", Some(STOP_GRACE)),
        };
        let Some(grace) = grace else { return why };
        life.leave();
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = time::timeout(grace, connection.as_mut()) => {}
            () = untaken(&life) => {}
            () = shutdown.cancelled(), if why != "shutdown" => {
                drop(time::timeout(STOP_GRACE, connection.as_mut()).await);
            }
        }
        why
    }
}

/// Returns when the first request has not come in time, else never. The place among those being opened is given back with
/// it.
async fn first_request<T>(mut requests: watch::Receiver<Requests>, opening: T) -> &'static str {
    if time::timeout(FIRST_REQUEST, requests.wait_for(|requests| requests.has_begun)).await.is_err() {
        return "no request in time";
    }
    drop(opening);
    std::future::pending().await
}

/// Returns when no request was under way for the time.
async fn idle(mut requests: watch::Receiver<Requests>, limit: time::Duration) {
    loop {
        let is_idle = |requests: &Requests| requests.has_begun && requests.open == 0;
        if requests.wait_for(is_idle).await.is_err() {
            std::future::pending::<()>().await;
        }
        if time::timeout(limit, requests.wait_for(|requests| requests.open > 0)).await.is_err() {
            return;
        }
    }
}

/// Returns when the peer has not taken what it was sent.
async fn untaken(life: &Life) {
    loop {
        time::sleep(LOOK).await;
        if life.is_untaken(UNTAKEN, Instant::now()) {
            return;
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

/// Answers a request, unless too many of the connection are under way.
fn answer(life: &Arc<Life>, router: &Router, known: &Extensions, mut request: Request<Incoming>) -> Answering {
    let content = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_grpc = content.starts_with(b"application/grpc");
    // Of gRPC-Web, the text form is base64 and no row of messages.
    let is_row = is_grpc && !content.starts_with(b"application/grpc-web-text");
    let Some(open) = life.begin() else {
        return Box::pin(async move { Ok(busy(is_grpc)) });
    };
    request.extensions_mut().extend(known.clone());
    let request = request.map(|body| Body::new(Watched::new(body, is_row, Arc::clone(life))));
    let router = router.clone();
    Box::pin(async move {
        let answer = match router.oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        Ok(answer.map(|body| Answer::new(body, Some(open))))
    })
}

/// What a request is told that is one too many.
fn busy(is_grpc: bool) -> Response<Answer> {
    const WHY: &str = "too many requests of this connection are under way";
    let response = if is_grpc {
        refusal::status(Code::ResourceExhausted, "CONNECTION_BUSY", WHY).into_http::<Body>()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], WHY).into_response()
    };
    response.map(|body| Answer::new(body, None))
}

#[cfg(test)]
mod tests;
