//! What to send next and what an ack frees: pure, one value for each session.
//!
//! Rules: after a reconnect everything above the coordinator's last durable number is sent again, in order; no more
//! batches are in flight than Welcome allows; batches that were dropped meanwhile are jumped over.

use std::collections::VecDeque;

/// Batches of the live lane in one session.
#[derive(Debug)]
pub(super) struct Session {
    in_flight: VecDeque<u64>,
    last_sent: u64,
    max_in_flight: usize,
}

impl Session {
    /// A session in which everything up to `durable` is already safe.
    pub(super) fn new(durable: u64, max_in_flight: u32) -> Self {
        let max_in_flight = usize::try_from(max_in_flight).unwrap_or(usize::MAX);
        let max_in_flight = if max_in_flight == 0 { DEFAULT_IN_FLIGHT } else { max_in_flight };
        Self { in_flight: VecDeque::new(), last_sent: durable, max_in_flight }
    }

    /// The number to send next from a spool that holds `first..next`; `None` when there is nothing, or no room.
    pub(super) fn next(&self, first: u64, next: u64) -> Option<u64> {
        let number = (self.last_sent + 1).max(first);
        (number < next && self.in_flight.len() < self.max_in_flight).then_some(number)
    }

    /// Notes that the batch is on its way.
    pub(super) fn sent(&mut self, number: u64) {
        self.last_sent = number;
        self.in_flight.push_back(number);
    }

    /// Notes that everything up to the number is durable or refused.
    pub(super) fn acked(&mut self, number: u64) {
        while self.in_flight.front().is_some_and(|sent| *sent <= number) {
            self.in_flight.pop_front();
        }
        self.last_sent = self.last_sent.max(number);
    }
}

const DEFAULT_IN_FLIGHT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_session_resends_from_what_is_durable() {
        let mut session = Session::new(4, 8);
        let mut sent = Vec::new();
        while let Some(number) = session.next(3, 8) {
            session.sent(number);
            sent.push(number);
        }
        assert_eq!(sent, [5, 6, 7]);
    }

    #[test]
    fn no_more_are_in_flight_than_allowed() {
        let mut session = Session::new(0, 2);
        session.sent(session.next(1, 10).expect("first"));
        session.sent(session.next(1, 10).expect("second"));
        assert_eq!(session.next(1, 10), None);
        session.acked(1);
        assert_eq!(session.next(2, 10), Some(3));
    }

    #[test]
    fn what_the_spool_dropped_is_jumped_over() {
        let mut session = Session::new(0, 8);
        session.sent(1);
        assert_eq!(session.next(6, 9), Some(6));
        session.sent(6);
        session.acked(6);
        assert_eq!(session.next(7, 9), Some(7));
        assert_eq!(session.next(9, 9), None);
    }
}
