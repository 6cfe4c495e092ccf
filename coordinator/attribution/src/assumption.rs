//! Assumptions: numbers of the model that no paper gives.
//!
//! Each stands beside the rule that it serves. They were chosen, and `faultline-lab calibrate` tells what half and twice of
//! each would do; the table, with what has not been tried yet, is in `tests/benches`. Rule: outside of that, they are constants.

use std::sync::OnceLock;

use crate::{assessment, evidence, incident, inference, known, spells, window};

/// A number that the model assumes.
#[derive(Debug)]
pub struct Assumption {
    /// The name it is called by, `slow-weight`.
    pub name: &'static str,
    /// What the engine assumes.
    pub value: f64,
}

/// What is assumed instead, in this process.
static INSTEAD: OnceLock<(&'static str, f64)> = OnceLock::new();

impl Assumption {
    pub(crate) const fn new(name: &'static str, value: f64) -> Self {
        Self { name, value }
    }

    /// The number.
    #[inline]
    pub(crate) fn get(&self) -> f64 {
        match INSTEAD.get() {
            Some((name, value)) if *name == self.name => *value,
            _ => self.value,
        }
    }
}

/// Why something else cannot be assumed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AssumeError {
    /// No assumption has that name.
    #[error("{0:?} is no assumption of the engine: it has {names}", names = names())]
    Unknown(String),
    /// Not a number above zero.
    #[error("{0}: must be above zero")]
    Value(f64),
    /// It has been called before: engines of one process assume the same.
    #[error("something else is assumed already")]
    Twice,
}

/// All of them, in order of their names.
pub fn all() -> [&'static Assumption; 19] {
    let mut all = [
        &assessment::ALIKE,
        &inference::DISAGREE_NATS,
        &incident::LOCAL_WAIT_S,
        &assessment::MINORITY_TRUST,
        &inference::MIN_GAIN,
        &inference::MODEL_ERROR,
        &inference::ONE_MORE_LAYER,
        &incident::RECOVERED,
        &incident::RECOVERED_OF_ALL,
        &assessment::RELAPSE,
        &assessment::REPAIR_S,
        &window::SLOW_TIMES,
        &evidence::SLOW_WEIGHT,
        &known::SUSPICIOUS_NATS,
        &assessment::TOLD_NATS,
        &spells::TROUBLE_S,
        &spells::UNHEARD_S,
        &assessment::UNNAMED,
        &assessment::WELL_FAILING,
    ];
    all.sort_unstable_by_key(|assumption| assumption.name);
    all
}

fn names() -> String {
    all().map(|assumption| assumption.name).join(", ")
}

/// Assumes another number in all engines of this process, once, before the first of them is made: for calibration alone.
///
/// # Errors
///
/// An unknown name, a number that is not above zero, or a second call.
pub fn assume(name: &str, value: f64) -> Result<(), AssumeError> {
    let Some(known) = all().into_iter().find(|assumption| assumption.name == name) else {
        return Err(AssumeError::Unknown(name.to_owned()));
    };
    if !(value > 0.0 && value.is_finite()) {
        return Err(AssumeError::Value(value));
    }
    INSTEAD.set((known.name, value)).map_err(|_| AssumeError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_what_is_no_assumption_is_refused_by_name() {
        let all = all();
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(assume("slow", 1.0).is_err_and(|error| error.to_string().contains("slow-weight")));
        assert_eq!(assume("slow-weight", -1.0), Err(AssumeError::Value(-1.0)));
    }
}
