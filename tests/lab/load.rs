//! What the agent costs: CPU a probe beside its peers, and memory, start and punctuality of the daemon.
//!
//! The bench is several processes, so that each pays for its own work alone: [`server`] answers, the probers
//! ([`prober`], [`blackbox`]) ask, and this room's caller reads what they used from `/proc` ([`usage`]). [`part`] is how
//! they talk and end.
//!
//! Rules: only the probing process is on the bill; everybody does a full handshake against the same server; peers take
//! turns within each run, so that a noisy minute is everybody's; a probe that did not pass ends the bench, since failing is
//! cheap; nothing leaves loopback.

pub mod blackbox;
pub mod daemon;
pub mod part;
pub mod prober;
pub mod report;
pub mod server;
pub mod side;
pub mod usage;

use std::net::SocketAddr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A kind of probe that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Kind {
    /// GET of 1 KiB over HTTP/1.1 after a full handshake.
    Https1,
    /// The same over HTTP/2.
    Https2,
    /// A handshake, and nothing else.
    Tls,
    /// A connection, and nothing else.
    Tcp,
    /// A question over UDP.
    Dns,
    /// QUIC's handshake and a GET of 1 KiB.
    Http3,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Https1, Self::Https2, Self::Tls, Self::Tcp, Self::Dns, Self::Http3];

    /// What the table calls it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Https1 => "HTTPS GET, HTTP/1.1",
            Self::Https2 => "HTTPS GET, HTTP/2",
            Self::Tls => "TLS 1.3 handshake",
            Self::Tcp => "TCP connect",
            Self::Dns => "DNS over UDP",
            Self::Http3 => "HTTP/3 GET",
        }
    }
}

/// Where a server of the bench answers, and what its clients need to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Places {
    /// The bench's root.
    pub ca_pem: String,
    /// A certificate for an agent, and its key.
    pub agent_pem: String,
    /// See `agent_pem`.
    pub agent_key: String,
    /// HTTP/1.1 over TLS.
    pub https1: SocketAddr,
    /// HTTP/2 over TLS.
    pub https2: SocketAddr,
    /// TCP: many addresses, as each connection leaves its four-tuple behind for a while.
    pub tcp: Vec<SocketAddr>,
    /// Names of [`ZONE`].
    pub dns: SocketAddr,
    /// HTTP/3.
    pub http3: SocketAddr,
    /// Sessions of agents.
    pub sessions: SocketAddr,
}

/// The zone of every name. Source: `.test` is nobody's, RFC 6761, section 6.2.
pub const ZONE: &str = "bench.test";

/// The host by which all servers are known.
pub const HOST: &str = "127.0.0.1";
