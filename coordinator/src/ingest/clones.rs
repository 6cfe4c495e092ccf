//! Clones: whether two machines pass for one agent, as they do that were made from one disk. Pure: what came before, and the time,
//! are arguments.
//!
//! Rules:
//! * An agent that comes back, by whatever way, ends its own older session, and is no clone: its machine is the same, and so is the
//!   incarnation of its spool, or one that nobody had before.
//! * Two machines at once are clones: another fingerprint arrives while a session is open that was heard of lately ([`LIVE`]). One
//!   that is open and silent may be what a dead machine left, so that its successor waits for an operator, and is no clone; if the
//!   dead one comes back, it arrives while the other is live.
//! * An incarnation is fenced when a session of another one ends an open session of it. One process never goes back to an
//!   incarnation that it has given up, so that a fenced one which arrives [`RETURNS`] times within [`WITHIN`] is a second process
//!   with the same identity, whatever fingerprints say: two containers without hardware of their own have the same. Fewer may be
//!   a spool that was put aside and back.
//! * Two that have fingerprint and incarnation in common, as snapshots of one running machine may, cannot be told apart here: they
//!   end each other's sessions, as one would that reconnects.

use std::{collections::VecDeque, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::bound::Fingerprint;

/// A session is live that was heard of within this. Source: agents speak every 15 s at least.
const LIVE: Duration = Duration::from_secs(20);

/// A fenced incarnation that returns so often is a clone's. Source: the design notes.
const RETURNS: usize = 3;

/// Within this. Source: the design notes.
const WITHIN: Duration = Duration::from_mins(10);

/// Fenced incarnations that are remembered of an agent; the oldest are forgotten.
const FENCED: usize = 32;

/// Who arrives under an agent's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Of its spool.
    pub(super) incarnation: Vec<u8>,
    /// Of its machine, where it can be told.
    pub(super) fingerprint: Option<Fingerprint>,
}

/// Why an agent is more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloned {
    /// Two machines are connected at once.
    Machines,
    /// Two processes take turns.
    Processes,
}

impl Cloned {
    /// Why, for people, behind the word that never changes.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Machines => {
                "AGENT_CLONED: two machines connect with this identity at once: wipe the copy, let it join by itself, and \
                 approve this one"
            }
            Self::Processes => {
                "AGENT_CLONED: two processes connect with this identity by turns: stop the copy, or let it join by itself, \
                 and approve this one"
            }
        }
    }
}

/// The arrivals of one agent, since the coordinator started.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    last: Option<Arrival>,
    fenced: VecDeque<Fenced>,
}

#[derive(Debug)]
struct Fenced {
    incarnation: Vec<u8>,
    /// The last few times.
    returned: VecDeque<Timestamp>,
}

impl Arrivals {
    /// Takes up an arrival. `open` is when the agent was last heard of, if a session of it is open that has not said goodbye.
    pub(super) fn arrive(&mut self, arrival: Arrival, open: Option<Timestamp>, now: Timestamp) -> Option<Cloned> {
        let last = self.last.take();
        let found = last.and_then(|last| {
            let takes_turns = last.incarnation != arrival.incarnation && self.returns(&arrival.incarnation, now);
            let is_live = open.is_some_and(|heard_at| now.since(heard_at) <= LIVE);
            let is_other = last.fingerprint != arrival.fingerprint;
            if open.is_some() && last.incarnation != arrival.incarnation {
                self.fence(last.incarnation);
            }
            if is_live && is_other { Some(Cloned::Machines) } else { takes_turns.then_some(Cloned::Processes) }
        });
        self.last = Some(arrival);
        found
    }

    /// Forgets what spoke against the agent, but not who is here.
    pub(super) fn forgive(&mut self) {
        self.fenced.clear();
    }

    /// Notes that this incarnation is here again, if it was fenced; `true` where that was too often.
    fn returns(&mut self, incarnation: &[u8], now: Timestamp) -> bool {
        let Some(fenced) = self.fenced.iter_mut().find(|fenced| fenced.incarnation == incarnation) else {
            return false;
        };
        fenced.returned.retain(|at| now.since(*at) < WITHIN);
        fenced.returned.push_back(now);
        let is_too_often = fenced.returned.len() >= RETURNS;
        fenced.returned.truncate(RETURNS);
        is_too_often
    }

    fn fence(&mut self, incarnation: Vec<u8>) {
        if self.fenced.iter().any(|fenced| fenced.incarnation == incarnation) {
            return;
        }
        if self.fenced.len() >= FENCED {
            self.fenced.pop_front();
        }
        self.fenced.push_back(Fenced { incarnation, returned: VecDeque::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<Fingerprint> = Some([1; 32]);
    const THERE: Option<Fingerprint> = Some([2; 32]);

    /// One agent's arrivals, one a call: who, whether the session before is open and how long it was silent, and how much later.
    #[derive(Default)]
    struct Line {
        arrivals: Arrivals,
        now_s: u64,
    }

    impl Line {
        fn arrive(&mut self, who: (u8, Option<Fingerprint>), silent_s: Option<u64>, later_s: u64) -> Option<Cloned> {
            self.now_s += later_s;
            let at = |seconds| Timestamp::from_micros(1_761_752_473_000_000).after(Duration::from_secs(seconds));
            let arrival = Arrival { incarnation: vec![who.0; 16], fingerprint: who.1 };
            self.arrivals.arrive(arrival, silent_s.map(|silent| at(self.now_s - silent)), at(self.now_s))
        }
    }

    #[test]
    fn an_agent_that_reconnects_is_no_clone_however_often() {
        let mut line = Line::default();
        for _ in 0..1000 {
            assert_eq!(line.arrive((1, HERE), Some(1), 1), None, "its own half-open session");
        }
    }

    #[test]
    fn a_machine_that_restarts_is_no_clone_with_a_spool_on_disk_or_in_memory() {
        let mut line = Line::default();
        for start in 0..200 {
            assert_eq!(
                line.arrive((start, HERE), Some(1), 1),
                None,
                "a new incarnation each time, before the old was missed"
            );
            assert_eq!(line.arrive((start, HERE), None, 1), None);
        }
    }

    #[test]
    fn two_machines_at_once_are_clones_at_the_second_arrival() {
        let mut line = Line::default();
        assert_eq!(line.arrive((1, HERE), None, 0), None);
        assert_eq!(
            line.arrive((1, THERE), Some(20), 60),
            Some(Cloned::Machines),
            "one spool's incarnation on two machines"
        );
        let mut line = Line::default();
        line.arrive((1, HERE), None, 0);
        assert_eq!(line.arrive((2, None), Some(0), 60), Some(Cloned::Machines), "silence is no way around it");
    }

    #[test]
    fn a_machine_that_takes_the_place_of_a_dead_one_is_no_clone_unless_that_returns() {
        let mut line = Line::default();
        line.arrive((1, HERE), None, 0);
        assert_eq!(line.arrive((1, THERE), Some(21), 60), None, "half-open: nobody was heard");
        assert_eq!(line.arrive((1, HERE), Some(3), 60), Some(Cloned::Machines), "it was not dead");
        let mut line = Line::default();
        line.arrive((1, HERE), None, 0);
        assert_eq!(line.arrive((1, THERE), None, 1), None, "it had left");
        assert_eq!(line.arrive((1, HERE), None, 1), None, "and so had this one");
    }

    #[test]
    fn a_fenced_incarnation_that_returns_a_third_time_is_a_clone() {
        let mut line = Line::default();
        let found: Vec<_> = (0..7).map(|n| line.arrive((n % 2, HERE), Some(1), 5)).collect();
        assert_eq!(found, [None, None, None, None, None, None, Some(Cloned::Processes)], "A B A B A B A");
        assert_eq!(line.arrive((1, HERE), Some(1), 5), Some(Cloned::Processes), "and so is the other");
    }

    #[test]
    fn returns_that_are_far_apart_are_no_clone() {
        let mut line = Line::default();
        for n in 0..100 {
            assert_eq!(line.arrive((n % 2, HERE), Some(1), 151), None, "three returns of one take over ten minutes");
        }
    }

    #[test]
    fn an_incarnation_that_ended_in_order_is_not_fenced() {
        let mut line = Line::default();
        for n in 0..100 {
            assert_eq!(line.arrive((n % 2, HERE), None, 1), None, "the disk of the spool comes and goes");
        }
    }

    #[test]
    fn who_was_forgiven_is_a_clone_again_when_the_copy_is_still_there() {
        let mut line = Line::default();
        line.arrive((1, HERE), None, 0);
        line.arrivals.forgive();
        assert_eq!(line.arrive((1, THERE), Some(1), 5), Some(Cloned::Machines));
        let mut line = Line::default();
        for n in 0..7 {
            line.arrive((n % 2, HERE), Some(1), 5);
        }
        line.arrivals.forgive();
        let found: Vec<_> = (1..7).map(|n| line.arrive((n % 2, HERE), Some(1), 5)).collect();
        assert_eq!(found[..5], [None; 5], "it is counted anew");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut line = Line::default();
        for n in 0..=255 {
            line.arrive((n, HERE), Some(1), 1);
            line.arrive((0, HERE), Some(1), 0);
        }
        assert!(line.arrivals.fenced.len() <= FENCED);
        assert!(line.arrivals.fenced.iter().all(|fenced| fenced.returned.len() <= RETURNS));
    }
}
