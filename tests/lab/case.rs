//! A case: what one fleet saw of one piece of history, and the truth of it. Whoever is judged gets [`Case::world`] and
//! [`Case::inputs`] and nothing else: no id, no name, no truth.

use faultline_attribution::{Input, Timestamp, World};

use crate::scenario::Verdict;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Names the scenario it was made from.
    pub id: String,
    /// The family it is counted under.
    pub family: String,
    /// The seed it was made with.
    pub seed: u64,
    /// Targets and agents as a coordinator is told of them, stale and missing facts included.
    pub world: World,
    /// What arrived, with the instant of its arrival, in that order.
    pub inputs: Vec<(Timestamp, Input)>,
    /// First second of the record.
    pub start: Timestamp,
    /// Last second of the record.
    pub end: Timestamp,
    /// What was true; empty when nothing visible broke.
    pub truth: Vec<TrueIncident>,
    /// What the case's noise did besides: naming it is right and not naming it is no miss.
    pub background: Vec<TrueIncident>,
}

/// One thing that broke.
#[derive(Clone, Debug, PartialEq)]
pub struct TrueIncident {
    /// Who.
    pub verdict: Verdict,
    /// Kinds that are right, for neither; empty for a cloud.
    pub kinds: Vec<String>,
    /// Elements that are right; empty where any of the verdict's is.
    pub elements: Vec<String>,
    /// When it began.
    pub onset: Timestamp,
    /// When it ended; `None` with the record.
    pub end: Option<Timestamp>,
}
