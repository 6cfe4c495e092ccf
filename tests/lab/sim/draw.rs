//! Draws: numbers that seem random and that a key decides, so that none depends on the order in which they are made.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// What is drawn for: keeps the draws of one purpose apart from those of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Start = 1,
    Agent,
    Pair,
    Phase,
    Run,
    Network,
    Access,
    Overload,
    Restart,
    Endpoint,
    Cache,
    Return,
    Liar,
    Dead,
}

/// A source of draws.
#[derive(Clone, Debug)]
pub(super) struct Draw(Xoshiro256PlusPlus);

impl Draw {
    /// The draws of that purpose for `a` and `b`.
    pub(super) fn of(seed: u64, what: For, a: u64, b: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(key(seed, what, a, b)))
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Evenly from `low` to `high`.
    pub(super) fn between(&mut self, (low, high): (f64, f64)) -> f64 {
        low + self.unit() * (high - low)
    }

    /// From `low` to `high`, evenly in the logarithm.
    pub(super) fn scale(&mut self, (low, high): (f64, f64)) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// Whether something of that chance happens.
    pub(super) fn happens(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    /// A waiting time of that mean, without memory.
    pub(super) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// About normal: mean 0, deviation 1, never beyond 3.5. Source: the sum of four even draws (Irwin-Hall).
    pub(super) fn bell(&mut self) -> f64 {
        let bits: u64 = self.0.random();
        let sum: u32 =
            [0, 16, 32, 48].into_iter().map(|at| u32::from(u16::try_from(bits >> at & 0xffff).unwrap_or(0))).sum();
        // Four even draws from 0 to 1: mean 2, variance 4/12.
        (f64::from(sum) / 65_536.0 - 2.0) * 3f64.sqrt()
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())]
    }
}

/// One number for all. Source: the multiplication and shifts of `SplitMix64`'s finaliser, once a part.
pub(super) fn key(seed: u64, what: For, a: u64, b: u64) -> u64 {
    [what as u64, a, b].into_iter().fold(seed, |sum, part| {
        let mixed = (sum ^ part.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (mixed >> 32)
    })
}

/// Seconds as microseconds.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no span here is long")]
pub(super) fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "spans of days are exact in a double")]
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
