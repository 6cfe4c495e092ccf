//! What is judged: a method sees a case blind and says, moment by moment, who is at fault.
//!
//! Rule: a method gets [`Blind`] and nothing else. It has no field for id, name, family, seed or truth of a case, so a
//! method that could look them up does not compile.

use std::collections::BTreeSet;

use faultline_attribution::{Input, Timestamp, World};

use crate::{case::Case, scenario::Verdict};

/// What a method says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Accused parties (aws, azure, neither); empty while nobody is.
    pub verdicts: BTreeSet<Verdict>,
    /// It sees something but will not say who.
    pub is_undetermined: bool,
    /// Elements named, canonical.
    pub elements: Vec<String>,
    /// Kinds named, for neither.
    pub kinds: Vec<String>,
    /// Estimated onsets, one per incident named, where the method has them.
    pub onsets: Vec<Timestamp>,
    /// Probability of [aws, azure, both, neither, none], where the method has them.
    pub probabilities: Option<[f64; 5]>,
}

/// Someone who judges a case from what arrived: never sees id, name or truth.
pub trait Method: Send + Sync {
    /// How the method is called in tables and in `--method`.
    fn name(&self) -> &'static str;
    /// Changes of answer in time order; the first is at the start.
    fn judge(&self, case: &Blind<'_>) -> Vec<(Timestamp, Answer)>;
}

/// The part of a case that a method may see.
#[derive(Clone, Copy, Debug)]
pub struct Blind<'a> {
    /// Targets and agents as a coordinator is told of them.
    pub world: &'a World,
    /// What arrived, with the instant of its arrival, in that order.
    pub inputs: &'a [(Timestamp, Input)],
    /// First second of the record.
    pub start: Timestamp,
    /// Last second of the record.
    pub end: Timestamp,
}

impl<'a> Blind<'a> {
    /// The case without its id, name and truth.
    pub fn of(case: &'a Case) -> Self {
        Self { world: &case.world, inputs: &case.inputs, start: case.start, end: case.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_sees_no_id_no_family_no_seed_and_no_truth() {
        let case = Case {
            id: "2025-10-29-azure-front-door".into(),
            family: "provider-cdn".into(),
            seed: 1,
            world: World::default(),
            inputs: Vec::new(),
            start: Timestamp::from_micros(1),
            end: Timestamp::from_micros(2),
            truth: Vec::new(),
            background: Vec::new(),
        };
        // Without `..`: a further field does not compile before somebody has thought about it here.
        let Blind { world, inputs, start, end } = Blind::of(&case);
        assert!(*world == World::default() && inputs.is_empty() && start < end);
    }
}
