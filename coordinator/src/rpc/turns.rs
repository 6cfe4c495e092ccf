//! Turns: how many do something at once, all together and from one place of origin, while the others wait.
//!
//! Rules: who waits for its own origin's turn keeps nobody of another from theirs; within an origin, first come, first served;
//! nothing is kept of origins of which nobody is here.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::places::{Share, origin};

/// Gives out turns.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    share: Share,
    all: Arc<Semaphore>,
    queues: Arc<Mutex<Queues>>,
}

/// Of each origin its turns, and how many are here that wait for one or have one.
type Queues = HashMap<IpAddr, (Arc<Semaphore>, usize)>;

/// A turn, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _turn: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    _queued: Queued,
}

/// Somebody who waits for a turn of its origin, or has one.
#[derive(Debug)]
struct Queued {
    turns: Turns,
    origin: IpAddr,
}

impl Turns {
    pub(crate) fn new(share: Share) -> Self {
        Self { share, all: Arc::new(Semaphore::new(share.all)), queues: Arc::default() }
    }

    /// Waits for the turn of somebody at the address; `None` never comes, since turns are given out for ever.
    pub(crate) async fn take(&self, address: IpAddr) -> Option<Turn> {
        let origin = origin(address);
        let (queue, queued) = self.queue(origin);
        let of_origin = queue.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _turn: (of_all, of_origin), _queued: queued })
    }

    fn queue(&self, origin: IpAddr) -> (Arc<Semaphore>, Queued) {
        let mut queues = self.queues();
        let (queue, here) = queues.entry(origin).or_insert_with(|| (Arc::new(Semaphore::new(self.share.of_one)), 0));
        *here += 1;
        (Arc::clone(queue), Queued { turns: self.clone(), origin })
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Entry::Occupied(mut queue) = self.turns.queues().entry(self.origin) {
            queue.get_mut().1 -= 1;
            if queue.get().1 == 0 {
                queue.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const SHARE: Share = Share { all: 5, of_one: 2 };

    fn at(turns: &Turns, address: &str) -> Option<Turn> {
        turns.take(address.parse().expect("an address")).now_or_never().flatten()
    }

    #[test]
    fn one_origin_takes_no_more_than_its_share_and_those_who_wait_there_hold_nobody_up() {
        let turns = Turns::new(SHARE);
        let (first, _second) = (at(&turns, "192.0.2.1"), at(&turns, "192.0.2.1"));
        assert!(first.is_some());
        let mut third = Box::pin(turns.take("192.0.2.1".parse().expect("an address")));
        assert!((&mut third).now_or_never().is_none(), "the share is taken");
        assert!(at(&turns, "192.0.2.2").is_some(), "another origin has its own");
        drop(first);
        assert!((&mut third).now_or_never().flatten().is_some(), "one has ended");
    }

    #[test]
    fn all_together_take_no_more_than_there_are_and_nothing_is_kept_of_them() {
        let turns = Turns::new(SHARE);
        let held: Vec<_> = (0..9).map(|host| at(&turns, &format!("192.0.2.{host}"))).collect();
        assert_eq!(held.iter().flatten().count(), SHARE.all);
        assert_eq!(turns.queues().len(), SHARE.all, "nothing is kept of who gave up");
        drop(held);
        assert!(turns.queues().is_empty() && at(&turns, "192.0.2.9").is_some());
    }
}
