//! What every port grants its peers, and the loop that serves a port within it. All settings are in this file.
//!
//! A peer may be hostile, also one with a certificate. What stops it, from the socket up:
//!
//! | where | what |
//! |---|---|
//! | `places` | connections at once, all together and of one address; those without a request yet are counted apart |
//! | `turns` | TLS handshakes at once, all together and of one address; the others wait |
//! | [`serve`] | a deadline for the handshake, the first request, and the time between requests; an age at which connections end |
//! | `meter` | HTTP/2 frames as they come off the socket: a budget for those that carry nothing, a deadline for each one begun |
//! | hyper, h2 | streams, windows, header lists, resets, CONTINUATION and empty frames, pings that must be answered |
//! | `life` | requests at once of one connection; answers that the peer does not take |
//! | `message` | a message that was begun must go on; one that is too large never begins |
//! | tonic, prost | size of a message, also once decompressed; depth of nesting |
//!
//! Rules: a peer that breaks one of these loses its connection and nobody else notices; time that the coordinator takes for
//! itself is never held against the peer; a session that says nothing between messages is left alone.

pub mod life;
mod message;
mod meter;
pub mod places;
mod serve;
pub(crate) mod turns;

use std::{io, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::SockRef;
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;

pub use self::serve::{Listener, serve};
use self::{meter::Budget, places::Share};

/// What one port grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Name of the port in logs.
    pub port: &'static str,
    /// Connections at once, from before their handshake until they end. One too many is closed at once.
    pub connections: Share,
    /// Those among them on which nothing was asked for yet. Beyond `all` further ones wait in the kernel's queue.
    pub opening: Share,
    /// A connection without a request for this long ends.
    pub idle: Duration,
    /// A connection ends at this age, or up to a tenth later.
    pub age: Duration,
    /// Frames that carry nothing.
    budget: Budget,
}

/// Connections being opened, at once: a silent one costs a socket and little else, and nobody alone can keep the others from
/// theirs. Source: twice the 2,000 idle sockets of the fault table.
const OPENING: Share = Share { all: 4096, of_one: 128 };

/// The agent port. Source of 10,000: twice the 5,000 agents that a coordinator must bear, since each may reconnect before its
/// last connection is known to be dead. Agents behind one address are one witness, and no site needs more than 128.
pub const AGENTS: Limits = Limits {
    port: "agents",
    connections: Share { all: 10_000, of_one: 128 },
    opening: OPENING,
    idle: Duration::from_secs(10),
    age: AGE,
    budget: Budget { burst: 1000, a_second: 200 },
};

/// The feed port. A quarter of it for one address, since that address may be a proxy with many readers behind it.
pub const FEED: Limits = Limits {
    port: "feed",
    connections: Share { all: 4096, of_one: 1024 },
    opening: OPENING,
    idle: Duration::from_secs(30),
    age: AGE,
    budget: Budget { burst: 4000, a_second: 1000 },
};

/// The metrics port: a few scrapers, whose connections outlast the minute between two scrapes.
pub const METRICS: Limits = Limits {
    port: "metrics",
    connections: Share { all: 64, of_one: 64 },
    opening: Share { all: 64, of_one: 64 },
    idle: Duration::from_mins(5),
    age: AGE,
    budget: Budget { burst: 1000, a_second: 200 },
};

/// Each half of a TLS handshake must be done within this. Source: fault table of the design notes.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// TLS handshakes under way at once, of those that have said hello; the others wait their turn: if thousands were served at
/// once each would take too long for its agent. Whoever stalls keeps a turn for [`HANDSHAKE`], so that each address has a share
/// of them, the same as of the connections being opened.
pub(crate) const HANDSHAKES: Share = Share { all: 256, of_one: 8 };

/// What a handshake waits for, or the error that it took too long.
pub(crate) async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(HANDSHAKE, step).await;
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")))
}

/// The first request must come within this, and so must the head of each HTTP/1 request. Source: fault table of the design
/// notes.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A message that was begun must come on by [`STEP`] bytes, or to its end, within this; a frame, to its end. Source: design
/// notes, settings.
const PROGRESS: Duration = Duration::from_secs(15);

/// 16 KiB in 15 s is 9 kbit/s: slower than any network that could carry an agent's results.
const STEP: usize = 16 << 10;

/// Data that the peer does not take for this long ends its connection: as long as a half-open link may last.
const UNTAKEN: Duration = HALF_OPEN;

/// How often untaken data is looked for.
const LOOK: Duration = Duration::from_secs(10);

/// What an answer hands out at once, so that what waits for a slow reader is bounded.
const PIECE: usize = 64 << 10;

/// Requests at once of one connection.
const REQUESTS: usize = 16;

/// Largest message that a peer may send, also once decompressed. Source: four times the largest batch.
pub const MAX_DECODING: usize = 1 << 20;

/// Largest message that is sent. Source: gRPC clients take no more unless told otherwise.
pub const MAX_ENCODING: usize = 4 << 20;

/// How messages may come compressed.
pub const COMPRESSIONS: [CompressionEncoding; 2] = [CompressionEncoding::Zstd, CompressionEncoding::Gzip];

/// A half-open link is known for one by then. Source: fault table of the design notes.
const HALF_OPEN: Duration = Duration::from_secs(30);

/// HTTP/2 pings: after this silence, and how long they may take. Below every common idle limit of a NAT; together
/// [`HALF_OPEN`].
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// A connection ends at this age, or up to a tenth later so that those of one moment do not end in one moment. Load then
/// spreads anew, and a certificate is looked at again. Source: design notes, settings.
const AGE: Duration = Duration::from_hours(1);

/// What is open at that age has this long to end.
const AGE_GRACE: Duration = Duration::from_mins(1);

/// After shutdown began, open requests have this long to end.
const STOP_GRACE: Duration = Duration::from_millis(2500);

/// An idle or a condemned connection has this long to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);

/// HTTP on every port. hyper's and tonic's defaults are not all safe: tonic's server lifts the bounds on streams and on
/// local resets that hyper sets. Sources: RUSTSEC-2023-0034, RUSTSEC-2024-0003 (resets), RUSTSEC-2024-0332 (CONTINUATION);
/// design notes, settings.
fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(REQUESTS).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(256)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(16 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(PIECE)
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    // Agents speak HTTP/2 alone: their handshake settles it.
    if limits.port == AGENTS.port {
        return builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_REQUEST).max_headers(100).max_buf_size(32 << 10);
    builder
}

/// Sets a connection up: small messages do not wait for acknowledgements, and what a peer does not acknowledge ends it.
///
/// # Errors
///
/// When the connection is gone already.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(HALF_OPEN))
}
