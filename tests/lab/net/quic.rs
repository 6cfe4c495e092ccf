//! The QUIC side of an HTTP/3 target.
//!
//! Rules: QUIC has its handshake and TLS in one, so a reset of either is a connection that closes with an error as soon
//! as it is up. Refused is a `CONNECTION_REFUSED` close: a closed UDP port is silence to most clients.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use h3::error::Code;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, VarInt, crypto::rustls::QuicServerConfig};
use tokio::task::JoinSet;
use tracing::{trace, warn};

use super::{
    Place, Shared, Visit,
    faults::{HttpEffect, Standing, TlsEffect},
    http,
    pki::Transport,
    tcp, tls,
};

/// Serves that place until the net stops.
pub(super) fn open(socket: UdpSocket, place: Place, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    let shared = Arc::clone(shared);
    tasks.spawn(async move {
        let good = Arc::new(config(&shared, place.target, None));
        let config = Some(ServerConfig::clone(&good));
        match Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime)) {
            Ok(endpoint) => keep(endpoint, place, shared).await,
            Err(error) => warn!(target = %shared.world.targets[place.target].id, %error, "no QUIC endpoint"),
        }
    });
}

async fn keep(endpoint: Endpoint, place: Place, shared: Arc<Shared>) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let Some(agent) = place.agent.or_else(|| tcp::visitor(incoming.remote_address(), &shared)) else {
                    incoming.ignore();
                    continue;
                };
                match shared.board.standing(&shared.world.agents[agent], &shared.world.targets[place.target]) {
                    Standing::Silent => incoming.ignore(),
                    Standing::Refusing => incoming.refuse(),
                    Standing::Open => _ = visits.spawn(receive(incoming, Visit::new(&shared, agent, place.target))),
                }
            }
            Some(visited) = visits.join_next() => {
                if let Err(error) = visited && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

async fn receive(incoming: Incoming, visit: Visit) {
    if visit.troubles.tls == Some(TlsEffect::Timeout) {
        // Held, not ignored: an ignored client's next packet would be a new connection with a new draw.
        visit.shared.clock.sleep(SILENCE).await;
        incoming.ignore();
        return;
    }
    let clock = visit.shared.clock;
    if let Some(TlsEffect::Slow(delay)) = visit.troubles.tls {
        clock.sleep(delay).await;
    }
    match clock.timeout(tcp::LONGEST_VISIT, serve(incoming, &visit)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            trace!(target = %visit.target().id, agent = %visit.agent().id, %error, "QUIC visit failed");
        }
        Err(_) => trace!(target = %visit.target().id, agent = %visit.agent().id, "QUIC visit cut off at its longest"),
    }
}

const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Handshake(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Connection(#[from] h3::error::ConnectionError),
    #[error(transparent)]
    Stream(#[from] h3::error::StreamError),
}

async fn serve(incoming: Incoming, visit: &Visit) -> Result<(), Broken> {
    let config = Arc::new(config(&visit.shared, visit.target, visit.troubles.tls));
    let connection = incoming.accept_with(config)?.await?;
    if visit.troubles.is_reset || visit.troubles.tls == Some(TlsEffect::Reset) {
        connection.close(INTERNAL_ERROR, b"");
        return Ok(());
    }
    let mut connection = h3::server::Connection::<_, bytes::Bytes>::new(h3_quinn::Connection::new(connection)).await?;
    while let Some(request) = connection.accept().await? {
        let (_request, mut stream) = request.resolve_request().await?;
        // A request stream that is let go unread tells the client to stop sending.
        while stream.recv_data().await?.is_some() {}
        if visit.troubles.http == Some(HttpEffect::Reset) {
            stream.stop_stream(Code::H3_INTERNAL_ERROR);
            continue;
        }
        http::hold(visit).await;
        let (parts, body) = http::answer(visit).into_parts();
        stream.send_response(::http::Response::from_parts(parts, ())).await?;
        stream.send_data(body).await?;
        stream.finish().await?;
    }
    Ok(())
}

/// `H3_INTERNAL_ERROR`. Source: RFC 9114, section 8.1.
const INTERNAL_ERROR: VarInt = VarInt::from_u32(0x102);

fn config(shared: &Shared, target: usize, trouble: Option<TlsEffect>) -> ServerConfig {
    let crypto = shared.pki.server(&shared.world.targets[target], tls::leaf(trouble), Transport::Quic);
    let crypto = QuicServerConfig::try_from(crypto).expect("ring has the initial cipher suite");
    ServerConfig::with_crypto(Arc::new(crypto))
}
