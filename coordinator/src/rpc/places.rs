//! Places: how many of something there may be at once, all together and from one place of origin.
//!
//! Rule: a place is free again when it is dropped, and nothing is kept of origins that hold none.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// All together.
    pub all: usize,
    /// From one IPv4 address, or from one /64 of IPv6.
    pub of_one: usize,
}

/// Places, counted by origin.
#[derive(Debug)]
pub(crate) struct Places<Origin = IpAddr> {
    share: Share,
    taken: Arc<Mutex<Taken<Origin>>>,
}

#[derive(Debug)]
struct Taken<Origin> {
    all: usize,
    of: HashMap<Origin, usize>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place<Origin: Eq + Hash = IpAddr> {
    of: Places<Origin>,
    origin: Origin,
}

impl Places {
    /// A place for somebody at the address, if there is one.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        self.take_of(origin(address), self.share.of_one)
    }
}

impl<Origin> Clone for Places<Origin> {
    fn clone(&self) -> Self {
        Self { share: self.share, taken: Arc::clone(&self.taken) }
    }
}

impl<Origin: Eq + Hash + Clone> Places<Origin> {
    pub(crate) fn new(share: Share) -> Self {
        Self { share, taken: Arc::new(Mutex::new(Taken { all: 0, of: HashMap::new() })) }
    }

    /// A place for this origin, which may have so many, if there is one.
    pub(crate) fn take_of(&self, origin: Origin, of_one: usize) -> Option<Place<Origin>> {
        let mut taken = self.taken();
        let here = taken.of.get(&origin).copied().unwrap_or_default();
        if taken.all >= self.share.all || here >= of_one {
            return None;
        }
        taken.all += 1;
        taken.of.insert(origin.clone(), here + 1);
        Some(Place { of: self.clone(), origin })
    }
}

impl<Origin> Places<Origin> {
    fn taken(&self) -> MutexGuard<'_, Taken<Origin>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Origin: Eq + Hash> Drop for Place<Origin> {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        let is_last = taken.of.get_mut(&self.origin).is_some_and(|here| {
            *here -= 1;
            *here == 0
        });
        if is_last {
            taken.of.remove(&self.origin);
        }
    }
}

/// What counts as one place of origin.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SHARE: Share = Share { all: 40, of_one: 8 };

    #[test]
    fn one_place_of_origin_takes_no_more_than_its_share() {
        let places = Places::new(SHARE);
        let mut held: Vec<_> = (0..SHARE.of_one)
            .map(|host| {
                let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::try_from(host).expect("small"));
                places.take(address.into()).expect("a place")
            })
            .collect();
        let (same, other) = (["2001:db8::ffff"], ["2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.2"]);
        let is_free = |address: &str| places.take(address.parse().expect("an address")).is_some();
        assert!(!same.into_iter().any(is_free) && other.into_iter().all(is_free));
        held.pop();
        assert!(same.into_iter().all(is_free), "one has ended");
        drop(held);
        assert!(places.taken().of.is_empty(), "nothing is kept of those that are gone");
    }

    #[test]
    fn all_together_are_bounded() {
        let places = Places::new(SHARE);
        let place = |host: usize| places.take(Ipv4Addr::from_bits(u32::try_from(host).expect("small")).into());
        let held: Vec<_> = (0..SHARE.all).map(|host| place(host).expect("a place")).collect();
        assert!(place(SHARE.all).is_none());
        drop(held);
        assert!(place(SHARE.all).is_some());
    }
}
