//! Why a coordinator cannot serve, in words that say what to do.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    access::tls::TlsError,
    admin::{SocketError, audit::AuditError},
    catalog::CatalogError,
    fold::FoldError,
    ingest::StandError,
    local_agent::LocalAgentError,
    log::LogError,
    pki::PkiError,
};

/// Why the coordinator cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The catalog.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The local agent.
    #[error(transparent)]
    LocalAgent(#[from] LocalAgentError),
    /// The admin socket.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// How agents stand.
    #[error(transparent)]
    Stand(#[from] StandError),
    /// The audit record.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A port.
    #[error("cannot listen for {who} on {address}: {source} (choose another with {flag})")]
    Listen {
        /// For whom.
        who: &'static str,
        /// Where.
        address: SocketAddr,
        /// What changes it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The feed's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A feed that others could read on its way.
    #[error(
        "the feed on {0} could be read on its way: give --tls-cert and --tls-key, or listen on loopback \
         (--feed-plaintext where a proxy before it speaks TLS)"
    )]
    Plaintext(SocketAddr),
    /// The data directory.
    #[error("data directory {}: {source}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another coordinator.
    #[error("data directory {}: another coordinator runs on it", .0.display())]
    Locked(PathBuf),
    /// A task that panicked.
    #[error("a task failed: {0}")]
    Task(String),
    /// The local agent ended.
    #[error("the agent beside the coordinator ended: {0}")]
    AgentEnded(String),
}
