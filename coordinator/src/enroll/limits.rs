//! How often somebody may try to join, or ask for a certificate.
//!
//! Rules: attempts of one address never take from another's; what is counted by join string or by agent is counted after it is
//! known whose it is, so that nobody uses up what is another's; attempts without a secret cannot push what operators did out of
//! the audit record.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::Denied;
use crate::rpc::places::origin;

/// Attempts a minute of one IPv4 address or /64, and at once. Source: the design notes.
const OF_ADDRESS: u32 = 10;

/// Attempts a minute with one join string, by whoever has its secret. Source: the design notes.
const OF_STRING: u32 = 5;

/// Certificates an hour of one agent. Source: the design notes say one; a crash between two of them needs another.
const OF_AGENT: u32 = 4;

/// Attempts without a secret that are put on record an hour, and at once: the record's 100,000 entries then last for a month.
const RECORDED: u32 = 120;

/// Addresses, join strings or agents whose attempts are remembered, at most: beyond it those without any lately are forgotten.
const REMEMBERED: usize = 100_000;

/// Everything that is counted.
pub(super) struct Limits {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    strings: DefaultKeyedRateLimiter<String>,
    agents: DefaultKeyedRateLimiter<String>,
    recorded: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            addresses: RateLimiter::keyed(Quota::per_minute(count(OF_ADDRESS))),
            strings: RateLimiter::keyed(Quota::per_minute(count(OF_STRING))),
            agents: RateLimiter::keyed(Quota::per_hour(count(OF_AGENT))),
            recorded: RateLimiter::direct(Quota::per_hour(count(RECORDED))),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Limits {
    /// Counts an attempt from an address.
    pub(super) fn count_address(&self, address: IpAddr) -> Result<(), Denied> {
        check(&self.addresses, &origin(address))
    }

    /// Counts an attempt with a join string whose secret was shown.
    pub(super) fn count_string(&self, id: &str) -> Result<(), Denied> {
        check(&self.strings, &id.to_owned())
    }

    /// Counts a certificate of an agent.
    pub(super) fn count_renewal(&self, agent: &str) -> Result<(), Denied> {
        check(&self.agents, &agent.to_owned())
    }

    /// Whether an attempt without a secret may be put on record.
    pub(super) fn may_record(&self) -> bool {
        self.recorded.check().is_ok()
    }

    /// Notes an attempt that is not put on record.
    pub(super) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were left out since this was asked.
    pub(super) fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

fn check<K: Clone + Eq + std::hash::Hash>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), Denied> {
    if limiter.len() >= REMEMBERED {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|until| {
        let pause = until.wait_time_from(DefaultClock::default().now());
        Denied::RateLimit(pause.max(Duration::from_secs(1)))
    })
}

fn count(of: u32) -> NonZeroU32 {
    NonZeroU32::new(of).unwrap_or(NonZeroU32::MIN)
}
