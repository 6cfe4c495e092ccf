//! The TLS side of a connection: a good handshake, or the one that a fault asks for.

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::trace;

use super::{
    Visit,
    faults::{HttpEffect, TlsEffect},
    pki::{Leaf, Transport},
    tcp,
};

/// The encrypted stream; `None` where there is nothing more to serve.
pub(super) async fn handshake(mut stream: TcpStream, visit: &Visit) -> Option<TlsStream<TcpStream>> {
    match visit.troubles.tls {
        Some(TlsEffect::Timeout) => {
            tcp::drain(&mut stream).await;
            return None;
        }
        Some(TlsEffect::Reset) => {
            // Not before the `ClientHello`: earlier is a reset at connect. An error is the client's own reset.
            _ = stream.peek(&mut [0]).await;
            tcp::reset_on_close(&stream);
            return None;
        }
        Some(TlsEffect::Slow(delay)) => visit.shared.clock.sleep(delay).await,
        _ => {}
    }
    if visit.troubles.http == Some(HttpEffect::Reset) {
        tcp::reset_on_close(&stream);
    }
    let config = visit.shared.pki.server(visit.target(), leaf(visit.troubles.tls), Transport::Tcp);
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            trace!(target = %visit.target().id, agent = %visit.agent().id, %error, "handshake failed");
            None
        }
    }
}

/// Which certificate that trouble shows.
pub(super) fn leaf(trouble: Option<TlsEffect>) -> Leaf {
    match trouble {
        None | Some(TlsEffect::Timeout | TlsEffect::Reset | TlsEffect::Slow(_)) => Leaf::Good,
        Some(TlsEffect::CertExpired) => Leaf::Expired,
        Some(TlsEffect::NameMismatch) => Leaf::OtherName,
        Some(TlsEffect::UnknownIssuer) => Leaf::OtherIssuer,
        Some(TlsEffect::SelfSigned) => Leaf::SelfSigned,
    }
}
