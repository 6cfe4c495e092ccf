//! Dice for property tests: the same seed rolls the same numbers, so a seed that a failing test prints repeats the case.
//!
//! Source: splitmix64, Steele, Lea and Flood 2014, with the constants of its reference implementation.

/// One sequence of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n as u64).expect("below a usize")
    }

    /// Whether something of this chance, 0 to 1, happens.
    pub(crate) fn happens(&mut self, chance: f64) -> bool {
        const STEPS: u32 = 1 << 31;
        let rolled = u32::try_from(self.bits() % u64::from(STEPS)).expect("below 2^31");
        f64::from(rolled) < chance * f64::from(STEPS)
    }

    /// One of them.
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Puts them in a random order.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

/// A number that stands for these words and numbers: the same for the same ones.
pub(crate) fn hash(seed: u64, words: &[&str], number: u64) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    let mixed =
        bytes.fold(seed ^ number.rotate_left(32), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Dice::new(mixed).bits()
}
