//! The closed lists of words: layers, causes, reasons, verdicts, kinds, states. The same words stand in TOML, JSON,
//! logs and the wire contract.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word that is not in a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a {list}")]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The list.
    pub list: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $list:literal { $($(#[$value_doc:meta])* $value:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $word)] $value,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word { $($word => Ok(Self::$value),)+ _ => Err(UnknownWord { word: word.into(), list: $list }) }
            }
        }
    };
}

words! {
    /// A layer of a probe. Ordered: a failure at one hides those after it.
    Layer, "layer" {
        /// Name resolution.
        Dns = "dns",
        /// TCP or QUIC handshake.
        Connect = "connect",
        /// TLS handshake.
        Tls = "tls",
        /// HTTP exchange.
        Http = "http",
    }
}

words! {
    /// What a probe does.
    ProbeKind, "probe" {
        /// Resolves a name.
        Dns = "dns",
        /// Opens a TCP connection.
        Tcp = "tcp",
        /// Completes a TLS handshake.
        Tls = "tls",
        /// Fetches over HTTP/1.1 or HTTP/2.
        Https = "https",
        /// Fetches over HTTP/3.
        Http3 = "http3",
    }
}

words! {
    /// Why a layer failed.
    #[allow(missing_docs, reason = "each value is explained in probe.proto, and its word says it")]
    Cause, "cause" {
        DnsNxdomain = "dns_nxdomain",
        DnsServfail = "dns_servfail",
        DnsDnssecBogus = "dns_dnssec_bogus",
        DnsRefused = "dns_refused",
        DnsEmptyAnswer = "dns_empty_answer",
        DnsWrongAnswer = "dns_wrong_answer",
        DnsTimeout = "dns_timeout",
        DnsUnreachable = "dns_unreachable",
        DnsMalformed = "dns_malformed",
        ConnectRefused = "connect_refused",
        ConnectTimeout = "connect_timeout",
        ConnectUnreachable = "connect_unreachable",
        ConnectReset = "connect_reset",
        QuicHandshakeTimeout = "quic_handshake_timeout",
        QuicRefused = "quic_refused",
        QuicProtocolError = "quic_protocol_error",
        TlsTimeout = "tls_timeout",
        TlsReset = "tls_reset",
        TlsAlert = "tls_alert",
        TlsCertExpired = "tls_cert_expired",
        TlsCertNotYetValid = "tls_cert_not_yet_valid",
        TlsCertExpiresSoon = "tls_cert_expires_soon",
        TlsNameMismatch = "tls_name_mismatch",
        TlsUnknownIssuer = "tls_unknown_issuer",
        TlsSelfSigned = "tls_self_signed",
        TlsProtocolError = "tls_protocol_error",
        HttpStatus = "http_status",
        HttpTimeout = "http_timeout",
        HttpReset = "http_reset",
        HttpProtocolError = "http_protocol_error",
        HttpRedirect = "http_redirect",
        BodyMismatch = "body_mismatch",
        HeaderMismatch = "header_mismatch",
        BodyTooLarge = "body_too_large",
    }
}

words! {
    /// Why a run was not measured: it says nothing of the target.
    #[allow(missing_docs, reason = "each value is explained in probe.proto, and its word says it")]
    Reason, "reason" {
        NoIpv4 = "no_ipv4",
        NoIpv6 = "no_ipv6",
        UdpBlocked = "udp_blocked",
        Overloaded = "overloaded",
        OutOfSockets = "out_of_sockets",
        ClockSuspect = "clock_suspect",
        PolicyRefused = "policy_refused",
        NoNetwork = "no_network",
    }
}

words! {
    /// Who is at fault.
    Verdict, "verdict" {
        /// AWS.
        Aws = "aws",
        /// Azure.
        Azure = "azure",
        /// Something outside both clouds; [`Kind`] says what.
        Neither = "neither",
        /// The evidence cannot say.
        Undetermined = "undetermined",
    }
}

words! {
    /// What is at fault when it is neither cloud.
    Kind, "kind" {
        /// A DNS operator, a TLD or a public resolver.
        ThirdPartyDns = "third-party-dns",
        /// A CDN of neither cloud.
        ThirdPartyCdn = "third-party-cdn",
        /// Another cloud.
        OtherCloud = "other-cloud",
        /// A carrier or an interconnect.
        Transit = "transit",
        /// The agents' own access network or country.
        VantageIsp = "vantage-isp",
        /// A certificate authority or root store.
        TlsEcosystem = "tls-ecosystem",
        /// One owner or one endpoint.
        EndpointApp = "endpoint-app",
        /// A client stack.
        ClientSoftware = "client-software",
    }
}

words! {
    /// Where an incident is in its life. A cloud is accused only from `attributed` on.
    State, "state" {
        /// Something fails; nobody is accused.
        Suspected = "suspected",
        /// A culprit is named.
        Attributed = "attributed",
        /// Failures are falling towards the baseline.
        Recovering = "recovering",
        /// Back at the baseline.
        Resolved = "resolved",
        /// We were wrong.
        Retracted = "retracted",
    }
}

impl State {
    /// Whether the incident goes on.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Suspected | Self::Attributed | Self::Recovering)
    }
}

/// How one run of one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every layer of the kind passed.
    Passed,
    /// Earlier layers passed, this one failed, later ones were not tried.
    Failed {
        /// The layer.
        layer: Layer,
        /// Why.
        cause: Cause,
    },
    /// The agent could not look.
    Unmeasured {
        /// Why.
        reason: Reason,
    },
}

impl Layer {
    /// That it is slow, in words that fit "… from 12 of 14 vantage groups".
    pub const fn slow_phrase(self) -> &'static str {
        match self {
            Self::Dns => "names take many times as long to resolve as usual",
            Self::Connect => "connections take many times as long as usual",
            Self::Tls => "TLS handshakes take many times as long as usual",
            Self::Http => "answers take many times as long as usual",
        }
    }
}

impl Cause {
    /// Whether a party between agent and target can bring it about: it can lose, reset and forge, and has no part in when the
    /// target's certificate ends.
    pub const fn may_be_of_the_way(self) -> bool {
        !matches!(self, Self::TlsCertExpired | Self::TlsCertNotYetValid | Self::TlsCertExpiresSoon)
    }

    /// The cause in words that fit "… from 12 of 14 vantage groups".
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::DnsNxdomain => "names do not exist",
            Self::DnsServfail => "name servers fail to answer",
            Self::DnsDnssecBogus => "DNSSEC validation fails",
            Self::DnsRefused => "name servers refuse to answer",
            Self::DnsEmptyAnswer => "names resolve to no address",
            Self::DnsWrongAnswer => "names resolve wrongly",
            Self::DnsTimeout => "name lookups time out",
            Self::DnsUnreachable => "name servers cannot be reached",
            Self::DnsMalformed => "name servers answer with garbage",
            Self::ConnectRefused => "connections are refused",
            Self::ConnectTimeout => "connections time out",
            Self::ConnectUnreachable => "addresses cannot be reached",
            Self::ConnectReset => "connections are reset",
            Self::QuicHandshakeTimeout => "QUIC handshakes time out",
            Self::QuicRefused => "QUIC is refused",
            Self::QuicProtocolError => "QUIC breaks",
            Self::TlsTimeout => "TLS handshakes time out",
            Self::TlsReset => "TLS handshakes are reset",
            Self::TlsAlert => "TLS handshakes are refused",
            Self::TlsCertExpired => "certificates have expired",
            Self::TlsCertNotYetValid => "certificates are not yet valid",
            Self::TlsCertExpiresSoon => "certificates are about to expire",
            Self::TlsNameMismatch => "certificates are for other names",
            Self::TlsUnknownIssuer => "certificates come from unknown issuers",
            Self::TlsSelfSigned => "certificates are self-signed",
            Self::TlsProtocolError => "TLS breaks",
            Self::HttpStatus => "requests answer with errors",
            Self::HttpTimeout => "requests time out",
            Self::HttpReset => "requests are cut off",
            Self::HttpProtocolError => "HTTP breaks",
            Self::HttpRedirect => "requests are redirected away",
            Self::BodyMismatch | Self::HeaderMismatch => "answers are not what they should be",
            Self::BodyTooLarge => "answers are too large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse::<Cause>(), Ok(*cause));
        }
        for layer in Layer::ALL {
            assert_eq!(layer.as_str().parse::<Layer>(), Ok(*layer));
        }
        let unknown = "dns_nope".parse::<Cause>().expect_err("unknown");
        assert_eq!(unknown.to_string(), "\"dns_nope\" is not a cause");
    }
}
