//! Chains that were found sound: what verifying the same bytes for the same name would say again.
//!
//! Rules: only what verified is kept, never a refusal; it holds while every presented certificate is valid, so that time
//! cannot change what it says; whoever shows the chain still has to sign the handshake with its key, each time; a chain of which
//! a part is not known in full is verified each time.

use std::{
    num::NonZeroUsize,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use ring::digest::{Context, SHA256};
use rustls_pki_types::{ServerName, UnixTime};

use crate::probe::certificate::Certificate;

/// The chains that were used last. Of one set of roots: each prober has its own.
#[derive(Debug)]
pub(super) struct Sound(Mutex<LruCache<Key, RangeInclusive<i64>>>);

/// SHA-256 of the name and the chain's fingerprints.
type Key = [u8; 32];

/// A chain as it was presented for a name.
pub(super) struct Presented {
    key: Key,
    /// When all of it is valid, seconds since 1970.
    valid: RangeInclusive<i64>,
}

impl Presented {
    /// `None` where a certificate of the `length` that were presented could not be read.
    pub(super) fn new(chain: &[Arc<Certificate>], length: usize, name: &ServerName<'_>) -> Option<Self> {
        if chain.len() != length || !chain.iter().all(|certificate| certificate.is_read()) {
            return None;
        }
        let name = name.to_str();
        let mut context = Context::new(&SHA256);
        context.update(&name.len().to_be_bytes());
        context.update(name.as_bytes());
        for certificate in chain {
            context.update(&certificate.fingerprint);
        }
        let key = context.finish().as_ref().try_into().ok()?;
        let from = chain.iter().map(|certificate| certificate.not_before).max()?;
        let until = chain.iter().map(|certificate| certificate.not_after).min()?;
        Some(Self { key, valid: from..=until })
    }
}

impl Sound {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }

    /// Whether the chain verified before, and would now.
    pub(super) fn holds(&self, presented: &Presented, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&presented.key).is_some_and(|valid| valid.contains(&now))
    }

    /// Keeps a chain that has verified.
    pub(super) fn keep(&self, presented: Presented) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(presented.key, presented.valid);
    }
}

/// Source: a thousand targets, some with a few edges that differ; about a hundred bytes each.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(2048).expect("not zero");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn certificate(number: u8, valid: RangeInclusive<i64>) -> Arc<Certificate> {
        Arc::new(Certificate {
            fingerprint: [number; 32],
            not_before: *valid.start(),
            not_after: *valid.end(),
            key: "ec-p256".into(),
            ..Certificate::default()
        })
    }

    fn presented(chain: &[Arc<Certificate>], name: &'static str) -> Option<Presented> {
        Presented::new(chain, chain.len(), &ServerName::try_from(name).expect("a name"))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_chain_is_sound_for_its_name_while_all_of_it_is_valid() {
        let chain = [certificate(1, 100..=200), certificate(2, 0..=150)];
        let sound = Sound::new();
        let of = |chain: &[Arc<Certificate>], name| presented(chain, name).expect("all is read");
        assert!(!sound.holds(&of(&chain, "a.test"), at(120)), "nobody has verified it");
        sound.keep(of(&chain, "a.test"));
        let holds = [99, 100, 150, 151].map(|now| sound.holds(&of(&chain, "a.test"), at(now)));
        assert_eq!(holds, [false, true, true, false]);
        assert!(!sound.holds(&of(&chain, "b.test"), at(120)), "for another name");
        assert!(!sound.holds(&of(&chain[..1], "a.test"), at(120)), "without what signed it");
        let swapped = [certificate(3, 100..=200), Arc::clone(&chain[1])];
        assert!(!sound.holds(&of(&swapped, "a.test"), at(120)), "another leaf");
    }

    #[test]
    fn a_chain_that_is_not_known_in_full_is_never_kept() {
        let unread = Arc::new(Certificate { fingerprint: [9; 32], ..Certificate::default() });
        assert!(presented(&[certificate(1, 100..=200), unread], "a.test").is_none());
        let name = ServerName::try_from("a.test").expect("a name");
        assert!(Presented::new(&[certificate(1, 100..=200)], 2, &name).is_none(), "one was left out");
    }
}
