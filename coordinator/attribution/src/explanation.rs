//! The long answer to "how do we know?", from the same numbers as the verdict.
//!
//! [`Explanation::members`] and [`Explanation::residuals`] speak of the whole search that the newest assessment of the
//! incident came from, so that incidents of one search share them; everything else speaks of the incident's culprit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    change::{Alibi, EvidenceRow, Suspect},
    element::ElementKind,
    time::Timestamp,
    vocabulary::Layer,
};

/// Why an incident says what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Nats by which the explanation is better with the culprit than without.
    pub gain: f64,
    /// Share of runs that the culprit makes fail.
    pub severity: f64,
    /// Vantage groups that are assumed to lie.
    pub assumed_liars: u32,
    /// Nats left, over nothing and over the best other verdict, without that many vantage groups: those that support the
    /// culprit most.
    pub robust_margin: f64,
    /// The same without any one network: the one whose groups support the culprit most.
    pub domain_margin: f64,
    /// What else could be the culprit, likeliest first.
    pub suspects: Vec<Suspect>,
    /// Everything that is held to have failed, most gain first: the members of the best explanation, but for troubles of
    /// one agent alone, and what several of them are told as (a common path).
    pub members: Vec<Member>,
    /// Strongest rows first.
    pub evidence: Vec<EvidenceRow>,
    /// Who is cleared, and by what.
    pub alibis: Vec<Alibi>,
    /// What all members together do not explain.
    pub residuals: Residuals,
    /// What would change our mind.
    pub caveats: Vec<String>,
}

/// One element that is held to have failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Canonical name.
    pub element: String,
    /// What it is.
    pub element_kind: ElementKind,
    /// Share of runs that it makes fail, 0 to 1, by layer; layers at which it does not show are left out.
    pub severities: BTreeMap<Layer, f64>,
    /// Vantage groups that see it fail.
    pub failing_groups: u32,
    /// Vantage groups that looked at it at a layer where it fails.
    pub total_groups: u32,
    /// Targets that it makes fail.
    pub targets: u32,
    /// Nats by which the explanation is better with it than without.
    pub gain: f64,
    /// It fails because something that it depends on has failed, as far as can be told.
    pub is_consequence: bool,
}

/// What an explanation leaves over: failures that it does not expect, and passes where it expects failures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// Start of the window that was explained; it ends when it was searched.
    pub from: Timestamp,
    /// Runs in the window that failed or were slow, as far as they can speak of an element.
    pub failed: u32,
    /// Those of them that no member explains: all members together make them less than twice as likely as usual.
    pub unexplained: u32,
    /// Where they are, the most surprising first; a few.
    pub failures: Vec<Residual>,
    /// Where runs pass although members say that they should fail, the most surprising first; a few, and none that chance
    /// brings about once in twenty.
    pub passes: Vec<Residual>,
}

/// A vantage group's agent looking at a target, with another result than the explanation expects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Vantage group.
    pub group: String,
    /// Target; `uplink` for the agents' own sessions.
    pub target: String,
    /// Layer.
    pub layer: Layer,
    /// Runs in the window that failed or were slow there.
    pub failed: u32,
    /// Runs in the window that got so far.
    pub runs: u32,
    /// Share of runs that the explanation expects to fail, 0 to 1.
    pub expected: f64,
    /// Nats by which the share that does fail explains the runs better than the expected one; half the deviance.
    pub nats: f64,
}
