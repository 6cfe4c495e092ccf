//! Whether this machine reaches anything at all: pure, `now` is an argument.
//!
//! Rules: every target is a control of all others. A machine whose runs have met nothing but silence and dead ends for a
//! minute, at five targets or more, has lost its network or its names, whatever those targets do; one word of any target, a
//! refusal or a wrong answer, ends that. It makes the vantage impaired and no result unmeasured: which of them were the
//! network's is for whoever sees other vantages too.

use std::{collections::BTreeSet, time::Duration};

use crate::probe::{Observed, Outcome};

/// What was met since the last word of a target.
#[derive(Debug, Default)]
pub(super) struct Reach {
    since: Option<i64>,
    slots: BTreeSet<u32>,
}

impl Reach {
    /// Takes up how a run of the slot ended.
    pub(super) fn note(&mut self, now: i64, slot: u32, observed: &Observed) {
        match observed.outcome() {
            Some(Outcome::Failed { cause, .. }) if is_nothing(cause.as_str_name()) => {
                self.since.get_or_insert(now);
                if self.slots.len() < TARGETS {
                    self.slots.insert(slot);
                }
            }
            Some(Outcome::Passed | Outcome::Failed { .. }) => *self = Self::default(),
            Some(Outcome::Unmeasured { .. }) | None => {}
        }
    }

    /// How long nothing that was asked has answered, where that is this machine's doing.
    pub(super) fn cut_off_for(&self, now: i64) -> Option<Duration> {
        let span = Duration::from_micros((now - self.since?).max(0).unsigned_abs());
        (self.slots.len() >= TARGETS && span >= SPAN).then_some(span)
    }
}

/// Whether the cause is that nobody answered, neither the target nor a name server nor a machine at its address.
fn is_nothing(cause: &str) -> bool {
    cause.ends_with("_TIMEOUT") || cause.ends_with("_UNREACHABLE")
}

/// Start values: fewer could be one site, and less could be one long loss.
const TARGETS: usize = 5;
const SPAN: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{Cause, Layer, Outcome as WireOutcome, Reason};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn failed(cause: Cause) -> Observed {
        let mut observed = Observed::unmeasured(0, Reason::Unspecified);
        observed.result.set_outcome(WireOutcome::Failed);
        observed.result.set_layer(Layer::Connect);
        observed.result.set_cause(cause);
        observed
    }

    #[test]
    fn silence_everywhere_is_this_machines_and_one_word_ends_it() {
        let mut reach = Reach::default();
        let causes = [Cause::DnsTimeout, Cause::ConnectUnreachable, Cause::QuicHandshakeTimeout];
        for (second, cause) in (0..60).zip(causes.into_iter().cycle()) {
            reach.note(second * SECOND, u32::try_from(second % 6).expect("small"), &failed(cause));
            assert_eq!(reach.cut_off_for(second * SECOND), None, "too soon at {second} s");
        }
        assert_eq!(reach.cut_off_for(60 * SECOND), Some(SPAN));
        reach.note(61 * SECOND, 1, &failed(Cause::ConnectRefused));
        assert_eq!(reach.cut_off_for(120 * SECOND), None, "somebody refused");
    }

    #[test]
    fn a_few_silent_targets_are_silent_targets() {
        let mut reach = Reach::default();
        for second in 0..600 {
            reach.note(second * SECOND, u32::try_from(second % 4).expect("small"), &failed(Cause::ConnectTimeout));
        }
        assert_eq!(reach.cut_off_for(600 * SECOND), None);
    }
}
