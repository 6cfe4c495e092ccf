//! One run as the window remembers it, and the eight bytes it is kept in.

use serde::{Deserialize, Serialize};

use crate::{
    engine::Maker,
    time::Timestamp,
    vocabulary::{Cause, Layer},
};

/// One run, as far as the window remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Start of the run, to the millisecond.
    pub(crate) at: Timestamp,
    /// Layer and cause of the failure; `None` when all layers passed.
    pub(crate) failed: Option<(Layer, Cause)>,
    /// The failure speaks of the endpoint alone (a 4xx answer).
    pub(crate) own_fault: bool,
    /// It passed, but took many times as long as usual, most of that at this layer.
    pub(crate) slow: Option<Layer>,
    /// Who wrote the answer that failed.
    pub(crate) maker: Option<Maker>,
    /// Asked for because something was suspected: evidence like any other, but no sample of what is usual.
    pub(crate) is_on_demand: bool,
}

impl Sample {
    /// A run that passed, or failed for reasons that its layer and cause say.
    pub(crate) fn new(at: Timestamp, failed: Option<(Layer, Cause)>) -> Self {
        Self { at, failed, own_fault: false, slow: None, maker: None, is_on_demand: false }
    }

    /// Whether the sample says anything about the layer, and if so, whether it failed there.
    pub(crate) fn failed_at(&self, layer: Layer) -> Option<bool> {
        match self.failed {
            None => Some(false),
            Some((failed, _)) if layer < failed => Some(false),
            Some((failed, _)) if layer == failed => Some(true),
            Some(_) => None,
        }
    }
}

impl Sample {
    /// The same, where a slow pass is a failure of the layer at which it was slow.
    pub(crate) fn is_bad_at(&self, layer: Layer) -> Option<bool> {
        self.failed_at(layer).map(|failed| failed || self.slow == Some(layer))
    }
}

/// A sample in eight bytes: milliseconds since 1970 in the upper 48 bits, so that order is order of time; then one bit of
/// on demand, two of maker, slow, own fault, two bits of the layer that failed or was slow, six bits of cause (0: passed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Packed(pub(super) u64);

const CAUSE_BITS: u64 = 0x3f;
const OWN_FAULT: u64 = 1 << 8;
const SLOW: u64 = 1 << 9;
const ON_DEMAND: u64 = 1 << 12;

/// An instant as packed samples are ordered by.
pub(super) fn stamp(at: Timestamp) -> u64 {
    u64::try_from(at.micros() / 1000).unwrap_or(0) << 16
}

impl From<Sample> for Packed {
    fn from(sample: Sample) -> Self {
        let layer = sample.failed.map(|(layer, _)| layer).or(sample.slow).map_or(0, |layer| (layer as u64) << 6);
        let failed = layer | sample.failed.map_or(0, |(_, cause)| cause as u64 + 1);
        let maker = match sample.maker {
            None => 0,
            Some(Maker::Edge) => 1 << 10,
            Some(Maker::Origin) => 2 << 10,
        };
        let flags = u64::from(sample.own_fault) * OWN_FAULT
            + u64::from(sample.slow.is_some()) * SLOW
            + u64::from(sample.is_on_demand) * ON_DEMAND;
        Self(stamp(sample.at) | failed | flags | maker)
    }
}

impl Packed {
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.0 >> 16).unwrap_or(0) * 1000)
    }

    pub(super) fn passed(self) -> bool {
        self.0 & CAUSE_BITS == 0
    }

    pub(super) fn is_own_fault(self) -> bool {
        self.0 & OWN_FAULT != 0
    }

    pub(super) fn is_on_demand(self) -> bool {
        self.0 & ON_DEMAND != 0
    }

    pub(super) fn is_plain_pass(self) -> bool {
        self.0 & (CAUSE_BITS | SLOW) == 0
    }

    pub(super) fn sample(self) -> Sample {
        let cause = usize::try_from(self.0 & CAUSE_BITS).unwrap_or(0);
        let layer = Layer::ALL[usize::try_from((self.0 >> 6) & 3).unwrap_or(0)];
        Sample {
            at: self.at(),
            failed: cause.checked_sub(1).and_then(|cause| Some((layer, *Cause::ALL.get(cause)?))),
            own_fault: self.is_own_fault(),
            slow: (self.0 & SLOW != 0).then_some(layer),
            maker: match (self.0 >> 10) & 3 {
                1 => Some(Maker::Edge),
                2 => Some(Maker::Origin),
                _ => None,
            },
            is_on_demand: self.is_on_demand(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_failure_says_nothing_of_later_layers() {
        let sample = Sample::new(at(0), Some((Layer::Connect, Cause::ConnectTimeout)));
        assert_eq!(sample.failed_at(Layer::Dns), Some(false));
        assert_eq!(sample.failed_at(Layer::Connect), Some(true));
        assert_eq!(sample.failed_at(Layer::Http), None);
    }

    #[test]
    fn a_packed_sample_is_the_sample() {
        for (number, cause) in Cause::ALL.iter().enumerate() {
            for layer in Layer::ALL {
                let sample = Sample {
                    at: at(1_761_752_473),
                    failed: Some((*layer, *cause)),
                    own_fault: number % 2 == 0,
                    slow: (number % 3 == 0).then_some(*layer),
                    maker: [None, Some(Maker::Edge), Some(Maker::Origin)][number % 3],
                    is_on_demand: number % 5 == 0,
                };
                assert_eq!(Packed::from(sample).sample(), sample);
            }
        }
    }
}
