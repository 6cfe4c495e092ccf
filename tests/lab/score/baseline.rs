//! The peers: what operators and the literature use to say who is at fault, each with its own parameters, all fed the
//! same cells.
//!
//! Rules: every peer judges at [`TICK`] on the runs that began in the last [`WINDOW`], with the same mapping from runs
//! to components (`path`), the same notion of a failure (`cells`) and the same list of suspects (`matrix`); its answer
//! is in force until the next tick. A peer may be gated: below so many standard deviations of failures above the usual
//! it answers that nothing is wrong. Where a paper leaves a choice open (ties, phases), the choice is the one that
//! helps the peer. Components that a peer accuses become verdicts by the engine's own table (`Element::verdict`).
//!
//! Parameters are chosen by [`calibrate`] on cases that are not judged. The defaults are its choice over every second
//! built-in scenario in the order of names (first, third, ...), those of more than 60 agents left out, with seed 1001;
//! reports use seeds from 1. The objective reached there stands beside each default.

mod blameit;
mod calibrate;
mod cell;
mod cells;
mod cover;
mod flock;
mod majority;
mod matrix;
mod netbouncer;
mod numbers;
mod path;
mod rate;
mod seven;
mod stock;
#[cfg(test)]
mod tests;
mod tomo;
mod trail;

use std::{cell::OnceCell, collections::BTreeSet, fmt, time::Duration};

use faultline_attribution::{Element, Timestamp};

pub use calibrate::Calibration;
pub(crate) use cells::Cells;
use matrix::Matrix;
pub(crate) use trail::{Trail, begun};

use super::method::{Answer, Blind, Method};
use crate::{case::Case, scenario::Verdict};

/// Time between two judgements.
///
/// Source: design notes 5.4, ticks of 10 s.
pub const TICK: Duration = Duration::from_secs(10);

/// Span of runs that a judgement is made on.
///
/// Source: design notes 5.4, judged on 60 s of data; 007 and deTector use 30 s, and find less with two runs a cell.
pub const WINDOW: Duration = Duration::from_mins(1);

/// Names of all peers, in the order of tables.
pub const NAMES: &[&str] = &[
    "majority",
    "rate-alert",
    "rate-alert-fast",
    "stock-alert",
    "007",
    "tomo",
    "score-cover",
    "netbouncer",
    "blameit",
    "flock",
];

/// All peers with their calibrated parameters.
pub fn all() -> Vec<Box<dyn Method>> {
    NAMES.iter().filter_map(|name| named(name)).collect()
}

/// The peer of that name with its calibrated parameters.
pub fn named(name: &str) -> Option<Box<dyn Method>> {
    Some(match name {
        "majority" => Box::new(Peer::<majority::Majority>::default()),
        "rate-alert" => Box::new(Peer::<rate::RateAlert>::default()),
        "rate-alert-fast" => Box::new(Peer { rule: rate::RateAlert::fast(), gate: None }),
        "stock-alert" => Box::new(Peer::<stock::StockAlert>::default()),
        "007" => Box::new(Peer::<seven::Votes>::default()),
        "tomo" => Box::new(Peer::<tomo::Tomo>::default()),
        "score-cover" => Box::new(Peer::<cover::ScoreCover>::default()),
        "netbouncer" => Box::new(Peer::<netbouncer::NetBouncer>::default()),
        "blameit" => Box::new(Peer::<blameit::BlameIt>::default()),
        "flock" => Box::new(Peer::<flock::Flock>::default()),
        _ => return None,
    })
}

/// Chooses the parameters of a peer on these cases: those with the highest macro-F1 less the share of cases in which it
/// blames a cloud that is not at fault. `None` for an unknown name.
pub fn calibrate(name: &str, cases: &[&Case]) -> Option<Calibration> {
    Some(match name {
        "majority" => calibrate::search(majority::Majority::grid(), cases),
        "rate-alert" => calibrate::search(rate::RateAlert::grid(), cases),
        "rate-alert-fast" => calibrate::search(rate::RateAlert::fast_grid(), cases),
        "stock-alert" => calibrate::search(stock::StockAlert::grid(), cases),
        "007" => calibrate::search(seven::Votes::grid(), cases),
        "tomo" => calibrate::search(tomo::Tomo::grid(), cases),
        "score-cover" => calibrate::search(cover::ScoreCover::grid(), cases),
        "netbouncer" => calibrate::search(netbouncer::NetBouncer::grid(), cases),
        "blameit" => calibrate::search(blameit::BlameIt::grid(), cases),
        "flock" => calibrate::search(flock::Flock::grid(), cases),
        _ => return None,
    })
}

/// The peer of that name, calibrated on these cases.
pub fn calibrated(name: &str, cases: &[&Case]) -> Option<Box<dyn Method>> {
    calibrate(name, cases).map(|calibration| calibration.method)
}

/// Someone whom a rule accuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Accused {
    /// A component.
    Component(Element),
    /// A party, of which no component is named.
    Party(Verdict),
    /// Somebody.
    Somebody,
}

/// How a peer decides at one tick.
trait Rule: Clone + fmt::Debug + Default + Send + Sync + 'static {
    /// What it remembers from tick to tick.
    type Memory: Default;

    /// Its name in tables.
    fn name(&self) -> &'static str;

    /// Whom it accuses.
    fn accuse(&self, seen: &Seen<'_>, memory: &mut Self::Memory) -> Vec<Accused>;
}

/// What a rule sees at a tick.
struct Seen<'a> {
    at: Timestamp,
    cells: &'a Cells,
    matrix: &'a OnceCell<Matrix>,
}

impl Seen<'_> {
    /// Suspects and their cells.
    fn matrix(&self) -> &Matrix {
        self.matrix.get_or_init(|| Matrix::of(self.cells))
    }
}

/// A rule behind its gate.
#[derive(Clone, Debug, Default)]
struct Peer<R> {
    rule: R,
    /// Standard deviations of failures above the usual from which the rule is asked at all.
    gate: Option<f64>,
}

impl<R: Rule> Method for Peer<R> {
    fn name(&self) -> &'static str {
        self.rule.name()
    }

    fn judge(&self, case: &Blind<'_>) -> Vec<(Timestamp, Answer)> {
        replay(case, std::slice::from_ref(self)).remove(0)
    }
}

/// Judges a case with several peers at once: what they see is counted only once.
fn replay<R: Rule>(case: &Blind<'_>, peers: &[Peer<R>]) -> Vec<Vec<(Timestamp, Answer)>> {
    let mut cells = Cells::new(case.world);
    let mut told = vec![vec![(case.start, Answer::default())]; peers.len()];
    let mut memories: Vec<R::Memory> = peers.iter().map(|_| R::Memory::default()).collect();
    let mut inputs = case.inputs.iter().peekable();
    let mut at = case.start;
    while at < case.end {
        at = at.after(TICK).min(case.end);
        while let Some((_, input)) = inputs.next_if(|(arrived, _)| *arrived <= at) {
            cells.hear(input);
        }
        cells.forget_before(at.before(WINDOW));
        let (excess, matrix) = (cells.excess(), OnceCell::new());
        let seen = Seen { at, cells: &cells, matrix: &matrix };
        for ((peer, memory), told) in peers.iter().zip(&mut memories).zip(&mut told) {
            let is_open = peer.gate.is_none_or(|sigma| excess >= sigma);
            let answer = if is_open { answer(peer.rule.accuse(&seen, memory)) } else { Answer::default() };
            if !is_open {
                *memory = R::Memory::default();
            }
            if told.last().is_none_or(|(_, before)| *before != answer) {
                told.push((at, answer));
            }
        }
    }
    told
}

/// What the accused amount to.
fn answer(accused: Vec<Accused>) -> Answer {
    let mut answer = Answer::default();
    let mut kinds = BTreeSet::new();
    for accused in accused {
        match accused {
            Accused::Component(element) => {
                let verdict = match element.verdict() {
                    faultline_attribution::Verdict::Aws => Verdict::Aws,
                    faultline_attribution::Verdict::Azure => Verdict::Azure,
                    _ => Verdict::Neither,
                };
                answer.verdicts.insert(verdict);
                kinds.extend(element.neither_kind().map(|kind| kind.to_string()));
                answer.elements.push(element.name);
            }
            Accused::Party(party) => {
                answer.verdicts.insert(party);
            }
            Accused::Somebody => answer.is_undetermined = true,
        }
    }
    answer.is_undetermined &= answer.verdicts.is_empty();
    answer.kinds = kinds.into_iter().collect();
    answer
}

/// Every combination of a rule's parameters, ungated and behind a gate of 4 standard deviations.
///
/// Source for the gate: design notes 5.3.
fn gated<R: Rule>(rules: Vec<R>) -> Vec<Peer<R>> {
    let gates = [None, Some(GATE_SIGMA)];
    rules.into_iter().flat_map(|rule| gates.map(|gate| Peer { rule: rule.clone(), gate })).collect()
}

const GATE_SIGMA: f64 = 4.0;
