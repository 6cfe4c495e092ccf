//! What a run saw beyond its result, for whoever tells it in full: kept only where it is asked for.

use bytes::Bytes;
use hickory_resolver::proto::op::Message;
use http::{HeaderMap, Version};
use rustls::{CipherSuite, ProtocolVersion};
use rustls_pki_types::CertificateDer;

/// What a run saw; the last of several connections, but for what counts them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    /// Redirects that were followed.
    pub(crate) redirects: u32,
    /// Headers of the answer.
    pub(crate) headers: Option<HeaderMap>,
    /// Version that the answer says.
    pub(crate) version: Option<Version>,
    /// The beginning of its body.
    pub(crate) body: Vec<u8>,
    /// Bytes of its body that were read.
    pub(crate) body_bytes: u64,
    /// How much of a body is wanted.
    pub(crate) limits: BodyLimits,
    /// Certificates that the peer presented, its own first, accepted or not.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Version of TLS that was agreed.
    pub(crate) tls_version: Option<ProtocolVersion>,
    /// Cipher suite that was agreed; over QUIC it is not known.
    pub(crate) cipher: Option<CipherSuite>,
    /// The answer of a name server.
    pub(crate) message: Option<Message>,
}

/// How much of a body is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Bytes that are kept.
    pub(crate) kept: usize,
    /// Bytes after which reading ends.
    pub(crate) read: u64,
}

impl Detail {
    /// Notes another part of the body; true when no more of it is wanted.
    pub(crate) fn is_enough_after(&mut self, chunk: &Bytes) -> bool {
        self.body_bytes += chunk.len() as u64;
        let room = self.limits.kept - self.body.len().min(self.limits.kept);
        self.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.body_bytes > self.limits.read
    }

    /// Goes on to another place, where another answer comes from.
    pub(crate) fn next_hop(&mut self) {
        let Self { redirects, limits, .. } = *self;
        *self = Self { redirects: redirects + 1, limits, ..Self::default() };
    }
}
