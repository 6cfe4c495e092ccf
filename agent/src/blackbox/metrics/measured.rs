//! What one probe saw, plainly, for whoever probes to fill in.

use std::{net::IpAddr, time::Duration};

use faultline_proto::{
    convert::word,
    types::v1::{Cause, Layer, Reason},
};
use http::{StatusCode, Version};

use crate::blackbox::certificate::ChainInfo;

/// One probe.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Why it is no success; `None` for a success.
    pub failure: Option<Failure>,
    /// From the request to the end of the probe.
    pub duration: Duration,
    /// What the probe was given: the module's timeout, or the asker's where it is shorter.
    pub timeout: Duration,
    /// How the first address was found; `None` where the target could be none (no URL, no port), so that nothing was looked up.
    pub lookup: Option<Lookup>,
    /// What the last peer presented, accepted or not; `None` without TLS, and where it failed before that.
    pub presented: Option<Presented>,
    /// The last TLS session; `None` unless its handshake was completed. With HTTP, unless an answer was read over it too.
    pub session: Option<Session>,
    /// What is the prober's own.
    pub of: Of,
}

/// What is the prober's own.
#[derive(Clone, Debug)]
pub enum Of {
    /// Of http.
    Http(HttpMeasured),
    /// Of tcp.
    Tcp(TcpMeasured),
    /// Of dns.
    Dns(DnsMeasured),
}

/// Why a probe is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A layer failed.
    Layer(Layer, Cause),
    /// The agent could not look.
    Unmeasured(Reason),
    /// The target is not what the prober takes: no URL, or no `host:port`.
    Target,
    /// The server did not say what a `query_response` expects: of tcp.
    Expect,
    /// The server said nothing more, and a `query_response` waits: of tcp.
    Silence,
    /// The connection broke, or a line was too long, inside a `query_response`: of tcp.
    Broken,
    /// The answer came in a version that is not among `valid_http_versions`.
    HttpVersion,
    /// The last answer came over TLS, or without it, against `fail_if_ssl` or `fail_if_not_ssl`.
    Encryption,
}

impl Failure {
    /// The labels `layer` and `cause`.
    pub(super) fn words(self) -> (String, String) {
        let own = |layer: &str, cause: &str| (layer.to_owned(), cause.to_owned());
        match self {
            Self::Layer(layer, cause) => (word(layer), word(cause)),
            Self::Unmeasured(reason) => ("unmeasured".to_owned(), word(reason)),
            Self::Target => own("target", "target_malformed"),
            Self::Expect => own("tcp", "tcp_expect_mismatch"),
            Self::Silence => own("tcp", "tcp_expect_timeout"),
            Self::Broken => own("tcp", "tcp_expect_reset"),
            Self::HttpVersion => own("http", "http_version"),
            Self::Encryption => own("http", "http_ssl"),
        }
    }
}

/// How the target's address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// How long that took; next to nothing for a literal address.
    pub duration: Duration,
    /// The address that was probed; `None` where none was found.
    pub address: Option<IpAddr>,
}

/// What a peer presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// When the first of all certificates expires, in seconds since 1970; `None` where none could be read.
    pub earliest_expiry: Option<i64>,
    /// The peer's own certificate.
    pub leaf: ChainInfo,
}

/// A TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: String,
    /// As IANA names it (`TLS_AES_128_GCM_SHA256`); `None` where it is not known.
    pub cipher: Option<String>,
    /// When the first certificate of the verified chain expires, or of that which lasts longest, in seconds since 1970; `None`
    /// where nothing was verified.
    pub chain_expiry: Option<i64>,
}

impl Session {
    /// The name of a version: as the metric has it.
    pub fn version_name(version: rustls::ProtocolVersion) -> String {
        match version {
            rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// IANA's name of a cipher suite.
    pub fn cipher_name(suite: rustls::CipherSuite) -> String {
        format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
    }
}

/// Of the http prober.
#[derive(Clone, Debug, Default)]
pub struct HttpMeasured {
    /// How the time was spent, all hops together.
    pub phases: HttpPhases,
    /// The last answer; `None` where the last hop gave none.
    pub answer: Option<Answer>,
    /// Bytes of the last body that were read.
    pub body_bytes: u64,
    /// Redirects that were answered, the one beyond the limit included.
    pub redirects: u32,
    /// Whether a regular expression for the body or a header made it fail.
    pub failed_due_to_regex: bool,
}

/// The phases of all hops; `None` where none was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpPhases {
    /// Finding addresses.
    pub resolve: Option<Duration>,
    /// TCP handshake, or that of QUIC with TLS in it.
    pub connect: Option<Duration>,
    /// TLS handshake over TCP.
    pub tls: Option<Duration>,
    /// From there to the head of the answer.
    pub processing: Option<Duration>,
    /// From there to the end of the body.
    pub transfer: Option<Duration>,
}

/// An answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its version.
    pub version: Version,
    /// Length that it announced; `None` where it did not.
    pub content_length: Option<u64>,
    /// Whether it came over TLS.
    pub is_https: bool,
    /// `Last-Modified` in seconds since 1970, where there is one that can be read.
    pub last_modified: Option<i64>,
}

/// Of the tcp prober.
#[derive(Clone, Debug, Default)]
pub struct TcpMeasured {
    /// Whether there was a connection, with TLS where it begins with that, on which something could be said.
    pub is_open: bool,
    /// Whether what an `expect` looks for did not come.
    pub failed_due_to_regex: bool,
    /// Whether what an `expect_bytes` wants did not come.
    pub failed_due_to_bytes: bool,
    /// The labels, filled in, of each step that has some and whose `expect` matched.
    pub expect_info: Vec<Vec<(String, String)>>,
}

/// Of the dns prober.
#[derive(Clone, Copy, Debug, Default)]
pub struct DnsMeasured {
    /// How the time was spent.
    pub phases: DnsPhases,
    /// Response code, extended bits included; `None` without an answer.
    pub rcode: Option<u16>,
    /// Records in the answer section.
    pub answers: u32,
    /// Records in the authority section.
    pub authorities: u32,
    /// Records in the additional section, OPT included.
    pub additionals: u32,
    /// Of a query for an SOA record that was answered: its serial number, 0 where the answer holds none.
    pub serial: Option<u32>,
}

/// The phases of a query; `None` where one was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsPhases {
    /// Finding the server's address.
    pub resolve: Option<Duration>,
    /// TCP and TLS handshake; a socket for UDP.
    pub connect: Option<Duration>,
    /// From there to the answer.
    pub request: Option<Duration>,
}
