//! Access: who asks the feed port, and what they may do and how much of it.
//!
//! Anonymous callers read, where that is allowed; whoever has a token (`fls1.ID.SECRET`) reads more, and what its roles say.
//! A token comes as `Authorization: Bearer TOKEN`, or from a browser as the password of `Basic`. Rules: a token that came over
//! plaintext from another machine is refused, and so is spent; of a secret only its digest is kept, and it is compared in
//! constant time; what is revoked ends within a minute; one address or token has a share of the streams and the calls, and
//! nobody can take those of the others. Loopback is not counted by address: it may be a proxy with many readers behind it.

mod guard;
pub(crate) mod rows;
pub mod tls;
pub mod tokens;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

pub use self::guard::{guard, operators_only};
pub(crate) use self::guard::{refuse, status};
use self::tokens::{Role, Tokens};
use crate::rpc::places::{Place, Places, Share, origin};

/// What a feed port asks of its callers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether callers without a token may read.
    pub anonymous: bool,
    /// Origins whose pages may read the feed in a visitor's browser; `*` for any.
    pub cors: Vec<String>,
    /// Certificate chain and key, PEM, looked at again when they change.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether a port without TLS may be reached from other machines.
    pub plaintext: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { anonymous: true, cors: Vec::new(), tls: None, plaintext: false }
    }
}

/// The other end of a connection to the feed port.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether nobody between can read: TLS, or this machine.
    pub is_private: bool,
}

/// By what a caller is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An IPv4 address, or a /64 of IPv6.
    Address(IpAddr),
    /// A token.
    Token(String),
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// By what it is counted.
    pub key: Key,
    /// What it may do beside reading the feed.
    pub roles: Vec<Role>,
    /// Streams it may have at once.
    streams: usize,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody reads here without a token.
    #[error("a token is needed here: Authorization: Bearer fls1....")]
    TokenRequired,
    /// Unknown, expired, revoked or malformed: which of them is for the log alone.
    #[error("this token is not good here")]
    TokenUnknown,
    /// Whoever is on the way has read it.
    #[error("a token must not be sent over plaintext: use https, and make a new one (this one may have been read)")]
    TokenOverPlaintext,
    /// Lacks a role.
    #[error("this needs the role {0}")]
    RoleRequired(Role),
    /// Too many calls; when to try again.
    #[error("too many calls: try again in {} s", .0.as_secs().max(1))]
    RateLimit(Duration),
    /// Too many streams of this caller, or of all.
    #[error("too many streams: try again")]
    StreamLimit,
}

impl Denied {
    /// The word that programs go by; never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TokenRequired => "TOKEN_REQUIRED",
            Self::TokenUnknown => "TOKEN_UNKNOWN",
            Self::TokenOverPlaintext => "TOKEN_OVER_PLAINTEXT",
            Self::RoleRequired(_) => "ROLE_REQUIRED",
            Self::RateLimit(_) => "RATE_LIMIT",
            Self::StreamLimit => "STREAM_LIMIT",
        }
    }

    /// When trying again may help.
    pub const fn pause(self) -> Option<Duration> {
        match self {
            Self::RateLimit(pause) => Some(pause),
            Self::StreamLimit => Some(STREAM_PAUSE),
            _ => None,
        }
    }
}

/// Who found no place for a stream comes back after this.
const STREAM_PAUSE: Duration = Duration::from_secs(5);

/// Streams at once: all together, and of one anonymous address. Source: twice the thousand subscribers that a coordinator
/// must bear; an address may be an office.
const STREAMS: Share = Share { all: 2048, of_one: 16 };

/// Streams of one token, unless it says otherwise.
pub const TOKEN_STREAMS: usize = 64;

/// Calls a minute, and at once, of an anonymous address. A page that follows a busy feed makes two a second.
const CALLS: (u32, u32) = (600, 120);

/// The same of a token.
const TOKEN_CALLS: (u32, u32) = (6000, 600);

/// Callers whose calls are remembered, at most: beyond it those that have made none lately are forgotten.
const REMEMBERED: usize = 100_000;

/// Who may ask the feed port, and how much.
pub struct Access {
    anonymous: bool,
    scheme: &'static str,
    tokens: Tokens,
    clock: Clock,
    streams: Places<Key>,
    calls: DefaultKeyedRateLimiter<Key>,
    token_calls: DefaultKeyedRateLimiter<Key>,
}

impl Access {
    /// The access of a data directory, by this policy.
    pub fn new(policy: &Policy, data: &Path, clock: Clock) -> Self {
        let limiter = |(a_minute, burst): (u32, u32)| {
            let quota = Quota::per_minute(NonZeroU32::new(a_minute).unwrap_or(NonZeroU32::MIN));
            RateLimiter::keyed(quota.allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN)))
        };
        Self {
            anonymous: policy.anonymous,
            scheme: if policy.tls.is_some() { "https" } else { "http" },
            tokens: Tokens::of(data),
            clock,
            streams: Places::new(STREAMS),
            calls: limiter(CALLS),
            token_calls: limiter(TOKEN_CALLS),
        }
    }

    /// What the port itself speaks, as in a URL: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Who this is, by what it brought along.
    ///
    /// # Errors
    ///
    /// When it has no token where one is needed, or one that is not good here.
    pub fn admit(&self, peer: Peer, token: Option<&str>) -> Result<Caller, Denied> {
        let Some(token) = token else {
            if !self.anonymous {
                return Err(Denied::TokenRequired);
            }
            let streams = if peer.address.ip().to_canonical().is_loopback() { STREAMS.all } else { STREAMS.of_one };
            return Ok(Caller { key: Key::Address(origin(peer.address.ip())), roles: Vec::new(), streams });
        };
        if !peer.is_private {
            return Err(Denied::TokenOverPlaintext);
        }
        let now = Timestamp::from_micros(self.clock.now_micros());
        let (id, subscriber) = self.tokens.subscriber(token, now).ok_or(Denied::TokenUnknown)?;
        Ok(Caller {
            key: Key::Token(id),
            roles: subscriber.roles,
            streams: subscriber.streams.unwrap_or(TOKEN_STREAMS),
        })
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// When it is one too many.
    pub fn count(&self, caller: &Caller) -> Result<(), Denied> {
        let limiter = match &caller.key {
            Key::Address(address) if address.is_loopback() => return Ok(()),
            Key::Address(_) => &self.calls,
            Key::Token(_) => &self.token_calls,
        };
        if limiter.len() >= REMEMBERED {
            limiter.retain_recent();
        }
        let again = |not_until: governor::NotUntil<_>| not_until.wait_time_from(limiter.clock().now());
        limiter.check_key(&caller.key).map_err(|not_until| Denied::RateLimit(again(not_until)))
    }

    /// A place for one stream of a caller; free again when dropped.
    ///
    /// # Errors
    ///
    /// When the caller has its share, or everybody together has.
    pub fn stream(&self, caller: &Caller) -> Result<StreamPlace, Denied> {
        self.streams
            .take_of(caller.key.clone(), caller.streams)
            .map(|place| StreamPlace { _place: place })
            .ok_or(Denied::StreamLimit)
    }

    /// Whether a caller that was admitted still would be: its token may have been revoked since.
    pub fn is_welcome(&self, caller: &Caller) -> bool {
        match &caller.key {
            Key::Address(_) => self.anonymous,
            Key::Token(id) => self.tokens.is_good(id, Timestamp::from_micros(self.clock.now_micros())),
        }
    }
}

impl Caller {
    /// Whether the caller has this role.
    ///
    /// # Errors
    ///
    /// When it has not.
    pub fn must_be(&self, role: Role) -> Result<(), Denied> {
        if self.roles.contains(&role) { Ok(()) } else { Err(Denied::RoleRequired(role)) }
    }
}

/// One stream's place.
#[derive(Debug)]
pub struct StreamPlace {
    _place: Place<Key>,
}

#[cfg(test)]
mod tests;
