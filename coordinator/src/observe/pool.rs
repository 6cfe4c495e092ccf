//! Pool: facts that many agents announce alike are held once.
//!
//! A fleet looks at the same targets and sees nearly the same of them. Rules: alike is equal in all but the number; what
//! nobody refers to any more goes with the next sweep, which comes when there is twice as much as after the last one; what is
//! told of facts does not depend on who announced them first.
//!
//! Source: `faultline-lab bench ingest --agents 5000`: a copy for each of 5,000 agents with 100 targets took 1.7 GiB.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use faultline_proto::types::v1::Facts;

use super::learn::{Reading, Sighting};

/// Facts without their number, and what they were read as.
pub(super) type Held = Arc<(Facts, Reading)>;

/// Everything that is held, by hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    held: HashMap<u64, Vec<Held>>,
    count: usize,
    sweep_at: usize,
    /// Keyed, so that nobody can make facts that are slow to tell apart.
    hash: RandomState,
}

/// Nothing is swept before there are so many.
const FEW: usize = 1024;

impl Pool {
    /// The facts as they are held: those that were there already, or these.
    pub(super) fn hold(&mut self, facts: Facts) -> Held {
        let facts = Facts { number: 0, ..facts };
        let alike = self.held.entry(key(&facts, &self.hash)).or_default();
        if let Some(held) = alike.iter().find(|held| held.0 == facts) {
            return Arc::clone(held);
        }
        let reading = Reading::of(&Sighting::of(&facts));
        let held = Arc::new((facts, reading));
        alike.push(Arc::clone(&held));
        self.count += 1;
        if self.count > self.sweep_at.max(FEW) {
            self.sweep();
        }
        held
    }

    fn sweep(&mut self) {
        self.held.retain(|_, alike| {
            alike.retain(|held| Arc::strong_count(held) > 1);
            !alike.is_empty()
        });
        self.count = self.held.values().map(Vec::len).sum();
        self.sweep_at = self.count * 2;
    }
}

/// A hash of what tells facts apart. Headers have no order.
fn key(facts: &Facts, hash: &RandomState) -> u64 {
    let headers = facts.edge.iter().map(|header| hash.hash_one(header)).fold(0, u64::wrapping_add);
    let leaf = facts.chain.first().map(|certificate| &certificate.fingerprint);
    hash.hash_one((&facts.cnames, headers, &facts.issuer, &facts.resolver, leaf, &facts.nsid, &facts.ocsp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u32, server: &str) -> Facts {
        let edge = [("server", server), ("x-cache", "hit"), ("cf-ray", "<16>")];
        let edge = edge.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        Facts { number, cnames: vec!["a.example".into()], edge, ..Facts::default() }
    }

    #[test]
    fn facts_that_are_alike_are_held_once_whatever_their_number() {
        let mut pool = Pool::default();
        let (one, two, other) = (pool.hold(facts(1, "s")), pool.hold(facts(7, "s")), pool.hold(facts(1, "t")));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        assert_eq!((one.0.edge["server"].as_str(), other.0.edge["server"].as_str()), ("s", "t"));
    }

    #[test]
    fn what_nobody_refers_to_goes() {
        let mut pool = Pool::default();
        let kept = pool.hold(facts(1, "kept"));
        for number in 0..10 * FEW {
            drop(pool.hold(facts(1, &number.to_string())));
        }
        assert!(pool.count <= FEW + 1, "{}", pool.count);
        assert!(Arc::ptr_eq(&kept, &pool.hold(facts(2, "kept"))), "what is referred to stays");
    }
}
