//! The long answer to "how do we know?", from the same numbers as the verdict.

use serde::{Deserialize, Serialize};

use crate::change::{Alibi, EvidenceRow, Suspect};

/// Why an incident says what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Nats by which the explanation is better with the culprit than without.
    pub gain: f64,
    /// Share of runs that the culprit makes fail.
    pub severity: f64,
    /// Nats left without the vantage groups that support it most.
    pub robust_margin: f64,
    /// What else could be the culprit, likeliest first.
    pub suspects: Vec<Suspect>,
    /// Strongest rows first.
    pub evidence: Vec<EvidenceRow>,
    /// Who is cleared, and by what.
    pub alibis: Vec<Alibi>,
    /// What would change our mind.
    pub caveats: Vec<String>,
}
