//! Fuzzing: bytes that nobody sends by accident, into everything that reads what others wrote.
//!
//! A target is a function of bytes that panics when it finds a bug. Its inputs are mutations of a corpus (`tests/corpus`, a
//! folder a target): of bytes, and of what the bytes mean (fields of protobuf, values of JSON, lines of text), so that most
//! get past the first check. Rules: target, seed and case number decide an input, byte for byte; an input that once found a
//! bug becomes a file of the corpus, which is tried whole before any mutation. It is not guided by coverage: that needs a
//! nightly toolchain.

mod corpus;
mod mutate;
mod session;
mod targets;
mod wire;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

pub use self::corpus::CorpusError;
use self::{corpus::Corpus, mutate::Shape};

/// Longest input. Source: twice what an agent may send in one message would only be cut off by the same check.
const LONGEST: usize = 1 << 20;

/// What is fuzzed.
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    shape: Shape,
    /// Words that its inputs are made of.
    words: &'static [&'static str],
    run: fn(&[u8]),
}

/// A bug, and how to see it again.
#[derive(Debug, thiserror::Error)]
#[error("{target}: {message}\nseed {seed}, {case}; as a file of tests/corpus/{target}:\n{hex}")]
pub struct Bug {
    target: &'static str,
    seed: u64,
    case: String,
    message: String,
    hex: String,
}

thread_local! {
    static NOW: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What this thread tries: where a panic ends the process, its hook can still say so.
pub fn now() -> String {
    NOW.with_borrow(String::clone)
}

/// Every target.
pub fn targets() -> &'static [Target] {
    targets::ALL
}

impl Target {
    /// Tries the corpus in `folder`, then mutations of it from case `first` on while `goes_on` says so. Returns how many
    /// inputs were tried.
    ///
    /// # Panics
    /// Never by itself; what a target panics with is caught and becomes the bug.
    pub fn fuzz(
        &self,
        folder: &Path,
        seed: u64,
        first: u64,
        mut goes_on: impl FnMut(u64) -> bool,
    ) -> Result<u64, FuzzError> {
        let corpus = Corpus::read(&folder.join(self.name))?;
        let mut tried = 0;
        for (name, bytes) in corpus.files() {
            self.one(seed, &format!("file {name}"), bytes)?;
            tried += 1;
        }
        let mut case = first;
        while goes_on(case) {
            let bytes = self.input(&corpus, seed, case);
            self.one(seed, &format!("case {case}"), &bytes)?;
            case += 1;
            tried += 1;
        }
        Ok(tried)
    }

    /// The input of a case.
    fn input(&self, corpus: &Corpus, seed: u64, case: u64) -> Vec<u8> {
        let key = format!("{}\0{seed}\0{case}", self.name);
        let state = u64::from(crc32c::crc32c(key.as_bytes())) << 32 | (seed ^ case) & 0xffff_ffff;
        let mut draw = Xoshiro256PlusPlus::seed_from_u64(state);
        let mut bytes = mutate::mutate(&mut draw, corpus, self.shape, self.words);
        bytes.truncate(LONGEST);
        bytes
    }

    fn one(&self, seed: u64, case: &str, bytes: &[u8]) -> Result<(), Box<Bug>> {
        NOW.with_borrow_mut(|now| *now = format!("{}, seed {seed}, {case}", self.name));
        catch_unwind(AssertUnwindSafe(|| (self.run)(bytes))).map_err(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let (message, case) = (said.to_owned(), case.to_owned());
            Box::new(Bug { target: self.name, seed, case, message, hex: corpus::to_hex(bytes) })
        })
    }
}

/// Why fuzzing ended early.
#[derive(Debug, thiserror::Error)]
pub enum FuzzError {
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A bug.
    #[error(transparent)]
    Bug(#[from] Box<Bug>),
}
