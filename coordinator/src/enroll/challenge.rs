//! Challenges: what an agent must sign to recover, so that a signature that somebody saw is good for nothing.
//!
//! A challenge is the time (8 bytes, big-endian microseconds), 16 random bytes, and their HMAC-SHA256 together with name and address
//! of whoever asked, with a key that lives as long as the process. Rules: nothing is kept of challenges that are out, however many
//! ask; one is good for [`LIFE`], and once: only those that a right signature was made for are remembered, and no longer than they
//! would be good.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use faultline_attribution::Timestamp;
use ring::hmac;

use crate::rpc::places::origin;

/// For so long a challenge is good.
const LIFE: Duration = Duration::from_mins(1);

/// Those that are remembered at once, at most. Source: more than agents that one coordinator is made for.
const SPENT: usize = 1 << 16;

const TIME: usize = 8;
const RANDOM: usize = 16;
const TAG: usize = 32;

/// The challenges of a process.
pub(super) struct Challenges {
    key: hmac::Key,
    /// By tag, until when each would be good.
    spent: Mutex<HashMap<[u8; TAG], Timestamp>>,
}

impl Default for Challenges {
    fn default() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; TAG]>()), spent: Mutex::default() }
    }
}

impl Challenges {
    /// A challenge for whoever says to be this agent.
    pub(super) fn make(&self, peer: IpAddr, agent: &str, now: Timestamp) -> Vec<u8> {
        let mut challenge = now.micros().to_be_bytes().to_vec();
        challenge.extend(rand::random::<[u8; RANDOM]>());
        let tag = hmac::sign(&self.key, &covered(&challenge, peer, agent));
        challenge.extend(tag.as_ref());
        challenge
    }

    /// Whether it is one that was made for this agent at this address, lately, and is not spent.
    pub(super) fn is_good(&self, challenge: &[u8], peer: IpAddr, agent: &str, now: Timestamp) -> bool {
        let Some((made, tag)) = parts(challenge) else { return false };
        let micros = made.first_chunk::<TIME>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let at = Timestamp::from_micros(micros);
        now >= at
            && now.since(at) < LIFE
            && hmac::verify(&self.key, &covered(made, peer, agent), &tag).is_ok()
            && !self.spent().contains_key(&tag)
    }

    /// Spends a good one. `false` where it is spent already, or too many are remembered.
    pub(super) fn spend(&self, challenge: &[u8], now: Timestamp) -> bool {
        let Some((_, tag)) = parts(challenge) else { return false };
        let mut spent = self.spent();
        spent.retain(|_, until| *until > now);
        spent.len() < SPENT && spent.insert(tag, now.after(LIFE)).is_none()
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; TAG], Timestamp>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts(challenge: &[u8]) -> Option<(&[u8], [u8; TAG])> {
    let (made, tag) = challenge.split_at_checked(TIME + RANDOM)?;
    Some((made, tag.try_into().ok()?))
}

/// What the tag covers. The first part has one length, and an address one of two.
fn covered(made: &[u8], peer: IpAddr, agent: &str) -> Vec<u8> {
    let mut covered = made.to_vec();
    match origin(peer) {
        IpAddr::V4(v4) => covered.extend([&[4_u8][..], &v4.octets()].concat()),
        IpAddr::V6(v6) => covered.extend([&[6_u8][..], &v6.octets()].concat()),
    }
    covered.extend(agent.as_bytes());
    covered
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));

    #[test]
    fn a_challenge_is_good_once_for_a_minute_for_one_name_at_one_address_of_one_process() {
        let (challenges, now) = (Challenges::default(), Timestamp::from_micros(1_761_752_473_000_000));
        let challenge = challenges.make(HERE, "fra-1", now);
        assert!(challenge.len() <= faultline_proto::bound::MAX_NONCE_BYTES);
        let is_good = |challenge: &[u8], peer, agent, after| {
            challenges.is_good(challenge, peer, agent, now.after(Duration::from_secs(after)))
        };
        assert!(is_good(&challenge, HERE, "fra-1", 0) && is_good(&challenge, HERE, "fra-1", 59));
        assert!(!is_good(&challenge, HERE, "fra-1", 60), "over");
        assert!(!is_good(&challenge, HERE, "fra-2", 0) && !is_good(&challenge, ELSEWHERE, "fra-1", 0));
        assert!(!Challenges::default().is_good(&challenge, HERE, "fra-1", now), "of another process");
        for n in 0..challenge.len() {
            let mut forged = challenge.clone();
            forged[n] ^= 1;
            assert!(!is_good(&forged, HERE, "fra-1", 0), "byte {n}");
        }
        for wrong in [&[][..], &challenge[1..], &[0; 200]] {
            assert!(!is_good(wrong, HERE, "fra-1", 0));
        }
        assert!(challenges.spend(&challenge, now) && !challenges.spend(&challenge, now));
        assert!(!is_good(&challenge, HERE, "fra-1", 1), "spent");
    }

    #[test]
    fn what_is_spent_is_forgotten_when_it_would_not_be_good_any_more() {
        let (challenges, now) = (Challenges::default(), Timestamp::from_micros(1_761_752_473_000_000));
        for second in 0..600 {
            let now = now.after(Duration::from_secs(second));
            assert!(challenges.spend(&challenges.make(HERE, "fra-1", now), now));
        }
        assert!(challenges.spent().len() <= 60);
    }
}
