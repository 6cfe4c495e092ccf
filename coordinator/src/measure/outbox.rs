//! What waits for one subscriber: results, what is missing among them, and the next bookmark. Pure: time is an argument.
//!
//! Rules: it holds `WAITING` results and no more; what does not fit is told in a gap, which is in the count of the next bookmark;
//! a gap goes out before what waits, and a bookmark after it, so that everything stored up to a bookmark was sent, was held back by
//! the filter, or was told as missing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use faultline_attribution::Timestamp;
use faultline_proto::{
    convert,
    measure::v1alpha1::{Bookmark, Gap, Measurement, Measurements, subscribe_response::Message},
};

/// Results that wait, at most.
pub(super) const WAITING: usize = 2000;

/// Results of one message, at most.
pub(super) const BATCH: usize = 500;

/// A result waits for so long for others to go with it.
pub(super) const FLUSH: Duration = Duration::from_millis(200);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Measurement>,
    missing: Option<Missing>,
    is_mark_due: bool,
    since: Option<Instant>,
    stored: u64,
    sent: u64,
    left_out: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    results: u64,
    from: Timestamp,
    to: Timestamp,
}

impl Outbox {
    /// Counts results that were stored.
    pub(super) fn count(&mut self, stored: u64) {
        self.stored += stored;
    }

    /// Takes a result. `false` when it cannot without leaving out the oldest, and has not.
    #[must_use]
    pub(super) fn push(&mut self, measured: &Measurement, now: Instant) -> bool {
        if self.waiting.len() >= WAITING {
            return false;
        }
        self.waiting.push_back(measured.clone());
        self.since.get_or_insert(now);
        true
    }

    /// Leaves out the oldest result that waits.
    pub(super) fn drop_oldest(&mut self, now: Instant) {
        if let Some(oldest) = self.waiting.pop_front() {
            let at = Timestamp::from_micros(convert::micros(oldest.received_at.as_ref()).unwrap_or_default());
            self.miss(1, (at, at), now);
        }
    }

    /// Notes that so many results are missing, received in that time.
    pub(super) fn miss(&mut self, results: u64, (from, to): (Timestamp, Timestamp), now: Instant) {
        let before = self.missing.unwrap_or(Missing { results: 0, from, to });
        self.missing =
            Some(Missing { results: before.results + results, from: before.from.min(from), to: before.to.max(to) });
        self.since.get_or_insert(now);
    }

    /// Asks for a bookmark.
    pub(super) fn mark(&mut self) {
        self.is_mark_due = true;
    }

    /// Whether something is to be sent.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_mark_due || self.waiting.len() >= BATCH || self.flush_at().is_some_and(|at| at <= now)
    }

    /// When what waits is to be sent, if anything does.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.since.map(|since| since + FLUSH)
    }

    /// The next message: a gap, then results, then the bookmark; `None` when nothing is left.
    pub(super) fn next(&mut self, server_time: Timestamp) -> Option<Message> {
        let at = |at: Timestamp| Some(convert::timestamp(at.micros()));
        if let Some(Missing { results, from, to }) = self.missing.take() {
            self.left_out += results;
            if self.waiting.is_empty() {
                self.since = None;
            }
            return Some(Message::Gap(Gap { results, from: at(from), to: at(to) }));
        }
        if !self.waiting.is_empty() {
            let measurements: Vec<_> = self.waiting.drain(..BATCH.min(self.waiting.len())).collect();
            self.sent += u64::try_from(measurements.len()).unwrap_or_default();
            if self.waiting.is_empty() {
                self.since = None;
            }
            return Some(Message::Measurements(Measurements { measurements }));
        }
        let (stored, sent, left_out) = (self.stored, self.sent, self.left_out);
        std::mem::take(&mut self.is_mark_due)
            .then(|| Message::Bookmark(Bookmark { server_time: at(server_time), stored, sent, left_out }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(9_000_000);

    fn at(second: i64) -> Measurement {
        Measurement { received_at: Some(convert::timestamp(second * 1_000_000)), ..Measurement::default() }
    }

    fn fill(outbox: &mut Outbox, results: usize, now: Instant) {
        for _ in 0..results {
            outbox.count(1);
            if !outbox.push(&at(2), now) {
                outbox.drop_oldest(now);
                assert!(outbox.push(&at(2), now));
            }
        }
    }

    #[test]
    fn results_wait_for_others_until_there_are_enough_or_time_is_up() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        fill(&mut outbox, BATCH - 1, now);
        assert!(!outbox.is_due(now));
        assert!(outbox.is_due(now + FLUSH));
        fill(&mut outbox, 1, now);
        assert!(outbox.is_due(now));
        let Some(Message::Measurements(sent)) = outbox.next(NOW) else { panic!("results") };
        assert_eq!((sent.measurements.len(), outbox.flush_at()), (BATCH, None));
        assert!(outbox.next(NOW).is_none());
    }

    #[test]
    fn everything_stored_was_sent_or_told_as_missing_by_the_bookmark() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.count(7);
        outbox.miss(7, (Timestamp::from_micros(1), Timestamp::from_micros(2)), now);
        fill(&mut outbox, WAITING + 3, now);
        outbox.mark();
        let Some(Message::Gap(gap)) = outbox.next(NOW) else { panic!("a gap first") };
        assert_eq!((gap.results, convert::micros(gap.to.as_ref())), (10, Some(2_000_000)));
        assert_eq!(convert::micros(gap.from.as_ref()), Some(1));
        let mut sent = 0;
        let mark = loop {
            match outbox.next(NOW) {
                Some(Message::Measurements(some)) => sent += some.measurements.len(),
                Some(Message::Bookmark(mark)) => break mark,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(sent, WAITING);
        assert_eq!(mark.stored, mark.sent + mark.left_out);
        assert!(outbox.next(NOW).is_none() && !outbox.is_due(now + FLUSH));
    }
}
