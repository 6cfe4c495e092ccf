//! What to send next and what an ack frees: pure, one value for each session.
//!
//! Rules: live batches go first; those of the backfill take half of what may be in flight, and one at least; in a lane
//! everything above the coordinator's last durable number is sent, in order; numbers that the spool does not hold were
//! dropped or moved, and the next batch says so (`first_number`), which is right because all before it were sent in order;
//! facts are announced once in each session, by the first batch of either lane that refers to them.

use std::collections::{HashSet, VecDeque};

use faultline_proto::agent::v1::Lane;

use crate::spool::{LaneView, View};

/// Batches in one session.
#[derive(Debug)]
pub(super) struct Session {
    live: Progress,
    backfill: Progress,
    max_in_flight: usize,
    /// Live batches wait until none is in flight: those that are due are old, and may then be moved.
    is_settling: bool,
    announced: HashSet<u32>,
}

/// How far a lane is.
#[derive(Debug)]
struct Progress {
    in_flight: VecDeque<u64>,
    last_sent: u64,
    /// Where the numbers that were sent without a gap begin.
    run_begin: u64,
}

impl Progress {
    fn new(durable: u64) -> Self {
        Self { in_flight: VecDeque::new(), last_sent: durable, run_begin: durable + 1 }
    }

    fn next(&self, view: LaneView) -> Option<u64> {
        let number = (self.last_sent + 1).max(view.first);
        (number < view.next).then_some(number)
    }
}

impl Session {
    /// A session in which everything up to these numbers is already safe.
    pub(super) fn new(live: u64, backfill: u64, max_in_flight: u32) -> Self {
        let max_in_flight = usize::try_from(max_in_flight).unwrap_or(usize::MAX);
        Self {
            live: Progress::new(live),
            backfill: Progress::new(backfill),
            max_in_flight: if max_in_flight == 0 { DEFAULT_IN_FLIGHT } else { max_in_flight },
            is_settling: false,
            announced: HashSet::new(),
        }
    }

    fn progress(&mut self, lane: Lane) -> &mut Progress {
        if lane == Lane::Backfill { &mut self.backfill } else { &mut self.live }
    }

    /// Whether a batch of the lane may go out.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        let (live, backfill) = (self.live.in_flight.len(), self.backfill.in_flight.len());
        if live + backfill >= self.max_in_flight {
            return false;
        }
        if lane == Lane::Backfill { backfill < (self.max_in_flight / 2).max(1) } else { !self.is_settling || live == 0 }
    }

    /// The lane and the lowest number to send next; `None` when there is nothing, or no room.
    pub(super) fn next(&self, spool: &View) -> Option<(Lane, u64)> {
        let live = self.live.next(spool.live).filter(|_| self.has_room(Lane::Live)).map(|number| (Lane::Live, number));
        live.or_else(|| {
            let number = self.backfill.next(spool.backfill).filter(|_| self.has_room(Lane::Backfill))?;
            Some((Lane::Backfill, number))
        })
    }

    /// Whether nothing of the live lane is on its way, so that what waits there may be moved. If not, the lane waits for that.
    pub(super) fn settle(&mut self) -> bool {
        self.is_settling = !self.live.in_flight.is_empty();
        !self.is_settling
    }

    /// Notes that the batch goes out, and returns the lowest number that is still to come in its lane.
    pub(super) fn sent(&mut self, lane: Lane, number: u64) -> u64 {
        let progress = self.progress(lane);
        if number != progress.last_sent + 1 {
            progress.run_begin = number;
        }
        progress.last_sent = number;
        progress.in_flight.push_back(number);
        progress.run_begin
    }

    /// Notes that everything up to the number is durable or refused.
    pub(super) fn acked(&mut self, lane: Lane, number: u64) {
        let progress = self.progress(lane);
        while progress.in_flight.front().is_some_and(|sent| *sent <= number) {
            progress.in_flight.pop_front();
        }
        progress.last_sent = progress.last_sent.max(number);
        self.is_settling &= !self.live.in_flight.is_empty();
    }

    /// Changes how many may be in flight; zero holds.
    pub(super) fn set_credit(&mut self, max_in_flight: u32) {
        self.max_in_flight = usize::try_from(max_in_flight).unwrap_or(usize::MAX);
    }

    /// Whether facts of this number are yet to be announced in this session; from here on they are.
    pub(super) fn announce(&mut self, number: u32) -> bool {
        if self.announced.len() >= MOST_ANNOUNCED {
            self.announced.clear();
        }
        self.announced.insert(number)
    }
}

const DEFAULT_IN_FLIGHT: usize = 8;
/// Beyond it they are announced again, so that a long session takes no more and more memory.
const MOST_ANNOUNCED: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_session_resends_from_what_is_durable() {
        let mut session = Session::new(4, 0, 8);
        let spool = view((3, 8), (1, 1));
        let mut sent = Vec::new();
        while let Some((lane, number)) = session.next(&spool) {
            assert_eq!(session.sent(lane, number), 5);
            sent.push((lane, number));
        }
        assert_eq!(sent, [(Lane::Live, 5), (Lane::Live, 6), (Lane::Live, 7)]);
    }

    #[test]
    fn live_goes_first_and_backfill_takes_half() {
        let mut session = Session::new(0, 0, 4);
        let spool = view((1, 2), (1, 100));
        let mut sent = Vec::new();
        while let Some((lane, number)) = session.next(&spool) {
            session.sent(lane, number);
            sent.push((lane, number));
        }
        assert_eq!(sent, [(Lane::Live, 1), (Lane::Backfill, 1), (Lane::Backfill, 2)]);
        let spool = view((1, 100), (1, 100));
        assert_eq!(session.next(&spool), Some((Lane::Live, 2)), "its half was kept free");
        session.sent(Lane::Live, 2);
        assert_eq!(session.next(&spool), None);
        session.acked(Lane::Backfill, 1);
        assert_eq!(session.next(&spool), Some((Lane::Live, 3)));
    }

    #[test]
    fn backfill_gets_one_at_least() {
        let mut session = Session::new(0, 0, 1);
        let spool = view((1, 1), (1, 100));
        assert_eq!(session.next(&spool), Some((Lane::Backfill, 1)));
        session.sent(Lane::Backfill, 1);
        assert_eq!(session.next(&view((1, 2), (1, 100))), None);
    }

    #[test]
    fn credit_changes_and_zero_holds() {
        let mut session = Session::new(0, 0, 2);
        let spool = view((1, 100), (1, 1));
        session.set_credit(0);
        assert_eq!(session.next(&spool), None);
        session.set_credit(3);
        for number in 1..=3 {
            assert_eq!(session.next(&spool), Some((Lane::Live, number)));
            session.sent(Lane::Live, number);
        }
        assert_eq!(session.next(&spool), None);
        session.set_credit(1);
        session.acked(Lane::Live, 2);
        assert_eq!(session.next(&spool), None, "one is in flight still");
        session.acked(Lane::Live, 3);
        assert_eq!(session.next(&spool), Some((Lane::Live, 4)));
    }

    #[test]
    fn what_the_spool_does_not_hold_is_jumped_over_and_said() {
        let mut session = Session::new(0, 0, 8);
        assert_eq!(session.sent(Lane::Live, 1), 1);
        assert_eq!(session.next(&view((6, 9), (1, 1))), Some((Lane::Live, 6)));
        assert_eq!(session.sent(Lane::Live, 6), 6);
        assert_eq!(session.sent(Lane::Live, 7), 6);
        session.acked(Lane::Live, 7);
        assert_eq!(session.next(&view((8, 9), (1, 1))), Some((Lane::Live, 8)));
        assert_eq!(session.next(&view((9, 9), (1, 1))), None);
    }

    #[test]
    fn what_is_on_its_way_settles_before_the_rest_may_be_moved() {
        let mut session = Session::new(0, 0, 8);
        let spool = view((1, 100), (1, 100));
        session.sent(Lane::Live, 1);
        session.sent(Lane::Live, 2);
        assert!(!session.settle());
        assert_eq!(session.next(&spool), Some((Lane::Backfill, 1)), "the live lane waits");
        session.acked(Lane::Live, 1);
        assert_eq!(session.next(&spool), Some((Lane::Backfill, 1)));
        session.acked(Lane::Live, 2);
        assert_eq!(session.next(&spool), Some((Lane::Live, 3)));
        assert!(session.settle());
    }

    #[test]
    fn facts_are_announced_once_in_a_session() {
        let mut session = Session::new(0, 0, 8);
        assert!(session.announce(7));
        assert!(!session.announce(7));
        assert!(Session::new(0, 0, 8).announce(7));
    }

    fn view(live: (u64, u64), backfill: (u64, u64)) -> View {
        let lane = |(first, next)| LaneView { first, next };
        View { live: lane(live), backfill: lane(backfill), ..View::default() }
    }
}
