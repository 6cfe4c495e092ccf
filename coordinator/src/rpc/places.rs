//! Places: how many of something there may be at once, all together and from one place of origin.
//!
//! Rule: a place is free again when it is dropped, and nothing is kept of origins that hold none.

use std::{
    collections::{HashMap, hash_map::Entry},
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

/// The places of one port.
#[derive(Clone, Debug)]
pub(super) struct Places {
    share: Share,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Places,
    origin: IpAddr,
}

impl Places {
    pub(super) fn new(share: Share) -> Self {
        Self { share, taken: Arc::default() }
    }

    /// A place for somebody at the address, if there is one.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        let mut taken = self.taken();
        let here = taken.of.get(&origin).copied().unwrap_or_default();
        if taken.all >= self.share.all || here >= self.share.of_one {
            return None;
        }
        taken.all += 1;
        taken.of.insert(origin, here + 1);
        Some(Place { of: self.clone(), origin })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        if let Entry::Occupied(mut here) = taken.of.entry(self.origin) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// What counts as one place of origin.
pub(super) fn origin(address: IpAddr) -> IpAddr {
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
