//! One case, one method: what it said against what was true. Pure.
//!
//! Rules, each from section 5.2 of the benchmark protocol:
//! - The class of a case is who was at fault in it: a cloud before neither, `both` where both clouds were.
//! - A method is judged by the answer that held at the last moment before the (last) fault's end: of the clouds' faults
//!   where a cloud was at fault. It said `both` if it accused both clouds at one moment of the fault. Where nothing
//!   broke, one accusation at any time is what it said.
//! - What the noise of a case broke besides ([`Case::background`]) is no part of its class: an accusation all of whose
//!   elements are of that is left out before anything else is judged.
//! - A *wrong cloud* is one accused at any time, in whose name nothing had broken by then. An accusation that outlives
//!   its fault is late, not wrong: that is [`JudgedIncident::resolve_s`].
//! - The time to the verdict runs from the true onset to the first moment, while the fault lasts, at which its party
//!   (and, for neither, a kind that is right) is accused and no cloud wrongly; infinite where that never comes.
//! - A *flip* is an accusation withdrawn while something that the party did goes on, or while it did nothing.

use std::collections::BTreeSet;

use faultline_attribution::Timestamp;

use super::method::Answer;
use crate::{
    case::{Case, TrueIncident},
    scenario::Verdict,
};

/// Who was at fault, or who is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// AWS.
    Aws,
    /// Azure.
    Azure,
    /// AWS and Azure.
    Both,
    /// Somebody else.
    Neither,
    /// Nobody.
    None,
    /// Somebody, but the method does not say who: never true.
    Undetermined,
}

impl Class {
    /// Those that can be true, in the order of [`Answer::probabilities`].
    pub const TRUE: [Self; 5] = [Self::Aws, Self::Azure, Self::Both, Self::Neither, Self::None];

    /// All that can be said.
    pub const SAID: [Self; 6] = [Self::Aws, Self::Azure, Self::Both, Self::Neither, Self::None, Self::Undetermined];

    /// The word of report and CSV.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Both => "both",
            Self::Neither => "neither",
            Self::None => "none",
            Self::Undetermined => "undetermined",
        }
    }

    fn of(parties: &BTreeSet<Verdict>) -> Self {
        match (parties.contains(&Verdict::Aws), parties.contains(&Verdict::Azure)) {
            (true, true) => Self::Both,
            (true, false) => Self::Aws,
            (false, true) => Self::Azure,
            (false, false) if parties.is_empty() => Self::None,
            (false, false) => Self::Neither,
        }
    }
}

/// How a method did on a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Who was at fault.
    pub truth: Class,
    /// Who the method said was.
    pub said: Class,
    /// Clouds accused at any time that were not at fault.
    pub wrong_clouds: BTreeSet<Verdict>,
    /// `neither` accused at any time without such a fault.
    pub is_neither_wrong: bool,
    /// Accusations begun of parties that were not at fault.
    pub wrong_begun: usize,
    /// Accusations withdrawn before their fault was over.
    pub flips: usize,
    /// One for each thing that broke, in the order of the truth.
    pub incidents: Vec<JudgedIncident>,
    /// Elements named at the moment of judgement that were not at fault; `None` where the truth does not list
    /// them all, or the method accuses without naming any.
    pub strange_elements: Option<usize>,
    /// Probability of each of [`Class::TRUE`] at the moment of judgement.
    pub probabilities: Option<[f64; 5]>,
}

/// How a method did on one thing that broke.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedIncident {
    /// Who was at fault.
    pub verdict: Verdict,
    /// Nothing broke before it.
    pub is_first: bool,
    /// Seconds from the onset to the first right verdict; infinite for never.
    pub seconds: f64,
    /// Its party was accused at its end.
    pub is_accused: bool,
    /// An element that is right was named then; `None` where the party was not accused, no element was named, or the
    /// truth lists none.
    pub is_element_right: Option<bool>,
    /// The same of the kind, for neither.
    pub is_kind_right: Option<bool>,
    /// Seconds between the onset and the nearest estimate of it, at its end.
    pub onset_error_s: Option<f64>,
    /// Seconds from its end until its party was no longer accused; infinite for never, `None` where it was not accused
    /// at the end, or the record stops there.
    pub resolve_s: Option<f64>,
}

impl Judged {
    /// Judges a timeline: changes of answer in time order.
    pub fn of(case: &Case, timeline: &[(Timestamp, Answer)]) -> Self {
        let foreground: Vec<(Timestamp, Answer)> =
            timeline.iter().map(|(at, answer)| (*at, foreground(case, *at, answer))).collect();
        let line = Timeline { case, changes: &foreground };
        let truth = Class::of(&case.truth.iter().map(|incident| incident.verdict).collect());
        let over = line.fault_end();
        let last = line.before(over);
        let (wrong, wrong_begun) = line.wrong();
        Self {
            truth,
            said: line.said(truth, over),
            is_neither_wrong: wrong.contains(&Verdict::Neither),
            wrong_clouds: wrong.into_iter().filter(|party| *party != Verdict::Neither).collect(),
            wrong_begun,
            flips: line.flips(over),
            incidents: case.truth.iter().map(|incident| line.incident(incident)).collect(),
            strange_elements: strange_elements(case, last),
            probabilities: last.probabilities,
        }
    }

    /// Whether the method said who was at fault.
    pub fn is_right(&self) -> bool {
        self.truth == self.said
    }
}

/// Before the first change nobody is accused.
static SILENCE: Answer = Answer {
    verdicts: BTreeSet::new(),
    is_undetermined: false,
    elements: Vec::new(),
    kinds: Vec::new(),
    onsets: Vec::new(),
    probabilities: None,
};

struct Timeline<'a> {
    case: &'a Case,
    changes: &'a [(Timestamp, Answer)],
}

impl<'a> Timeline<'a> {
    /// The answer that held just before `at`.
    fn before(&self, at: Timestamp) -> &'a Answer {
        let next = self.changes.partition_point(|(changed, _)| *changed < at);
        next.checked_sub(1).map_or(&SILENCE, |place| &self.changes[place].1)
    }

    /// Each answer with the time from which and up to which it held.
    fn segments(&self) -> impl Iterator<Item = (Timestamp, Timestamp, &'a Answer)> {
        let end = after(self.case.end);
        self.changes.iter().enumerate().map(move |(place, (from, answer))| {
            let until = self.changes.get(place + 1).map_or(end, |(next, _)| *next);
            (*from, until, answer)
        })
    }

    /// When the fault is over: the clouds' where a cloud is at fault, the record where nothing broke.
    fn fault_end(&self) -> Timestamp {
        let is_cloud = |incident: &&TrueIncident| incident.verdict != Verdict::Neither;
        let ends = |incidents: &mut dyn Iterator<Item = &TrueIncident>| incidents.map(|one| self.end_of(one)).max();
        ends(&mut self.case.truth.iter().filter(is_cloud))
            .or_else(|| ends(&mut self.case.truth.iter()))
            .unwrap_or_else(|| after(self.case.end))
    }

    fn end_of(&self, incident: &TrueIncident) -> Timestamp {
        incident.end.unwrap_or_else(|| after(self.case.end))
    }

    fn said(&self, truth: Class, over: Timestamp) -> Class {
        if truth == Class::None {
            let ever = self.changes.iter().flat_map(|(_, answer)| answer.verdicts.iter().copied()).collect();
            return Class::of(&ever);
        }
        let is_both = |answer: &Answer| Class::of(&answer.verdicts) == Class::Both;
        if truth == Class::Both && self.segments().any(|(from, _, answer)| from < over && is_both(answer)) {
            return Class::Both;
        }
        let last = self.before(over);
        match Class::of(&last.verdicts) {
            Class::None if last.is_undetermined => Class::Undetermined,
            class => class,
        }
    }

    /// Whether something of this party's had broken by then.
    fn has_broken(&self, party: Verdict, by: Timestamp) -> bool {
        self.case.truth.iter().any(|incident| incident.verdict == party && incident.onset <= by)
    }

    /// Parties accused of nothing, and how often that began.
    fn wrong(&self) -> (BTreeSet<Verdict>, usize) {
        let (mut wrong, mut begun, mut held) = (BTreeSet::new(), 0, BTreeSet::new());
        for (at, answer) in self.changes {
            for party in &answer.verdicts {
                if !self.has_broken(*party, *at) {
                    wrong.insert(*party);
                    begun += usize::from(!held.contains(party));
                }
            }
            held.clone_from(&answer.verdicts);
        }
        (wrong, begun)
    }

    fn flips(&self, over: Timestamp) -> usize {
        let is_over = |party: Verdict, at: Timestamp| {
            let mut own = self.case.truth.iter().filter(|incident| incident.verdict == party).peekable();
            own.peek().is_some() && own.all(|incident| self.end_of(incident) <= at)
        };
        self.changes
            .windows(2)
            .filter(|pair| pair[1].0 < over)
            .map(|pair| {
                let withdrawn = pair[0].1.verdicts.difference(&pair[1].1.verdicts);
                withdrawn.filter(|party| !is_over(**party, pair[1].0)).count()
            })
            .sum()
    }

    fn incident(&self, incident: &TrueIncident) -> JudgedIncident {
        let end = self.end_of(incident);
        let last = self.before(end);
        let is_accused = last.verdicts.contains(&incident.verdict);
        let names = |said: &[String], right: &[String]| said.iter().any(|word| right.contains(word));
        let nearest = last.onsets.iter().map(|onset| apart(*onset, incident.onset)).min_by(f64::total_cmp);
        JudgedIncident {
            verdict: incident.verdict,
            is_first: self.case.truth.iter().min_by_key(|one| one.onset) == Some(incident),
            seconds: self.seconds(incident, end),
            is_accused,
            is_element_right: (is_accused && !incident.elements.is_empty() && !last.elements.is_empty())
                .then(|| names(&last.elements, &incident.elements)),
            is_kind_right: (is_accused && !incident.kinds.is_empty()).then(|| names(&last.kinds, &incident.kinds)),
            onset_error_s: nearest.filter(|_| is_accused),
            resolve_s: incident.end.filter(|_| is_accused).and_then(|end| self.resolve(incident, end)),
        }
    }

    fn seconds(&self, incident: &TrueIncident, end: Timestamp) -> f64 {
        let is_right = |from: Timestamp, answer: &Answer| {
            let has_kind = incident.kinds.is_empty()
                || answer.kinds.is_empty()
                || answer.kinds.iter().any(|kind| incident.kinds.contains(kind));
            let wrongs = |party: &Verdict| *party != Verdict::Neither && !self.has_broken(*party, from);
            answer.verdicts.contains(&incident.verdict) && has_kind && !answer.verdicts.iter().any(wrongs)
        };
        let mut held = self.segments().filter(|(from, until, _)| *until > incident.onset && *from < end);
        let first = held.find(|(from, _, answer)| is_right((*from).max(incident.onset), answer));
        first.map_or(f64::INFINITY, |(from, ..)| from.since(incident.onset).as_secs_f64())
    }

    /// `None` while another fault of the same party goes on, or where the record ends with the fault.
    fn resolve(&self, incident: &TrueIncident, end: Timestamp) -> Option<f64> {
        let goes_on = self
            .case
            .truth
            .iter()
            .any(|other| other.verdict == incident.verdict && other.onset <= end && self.end_of(other) > end);
        if goes_on || end >= self.case.end {
            return None;
        }
        let mut rest = self.changes.iter().filter(|(at, _)| *at >= end);
        let gone = rest.find(|(_, answer)| !answer.verdicts.contains(&incident.verdict));
        Some(gone.map_or(f64::INFINITY, |(at, _)| at.since(end).as_secs_f64()))
    }
}

/// The answer without accusations of what the noise broke.
fn foreground(case: &Case, at: Timestamp, answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    let had_neither = answer.verdicts.contains(&Verdict::Neither);
    let broke = |incidents: &[TrueIncident], party| {
        incidents.iter().any(|incident| incident.verdict == party && incident.onset <= at)
    };
    let is_noise = |element: &String| {
        case.background.iter().any(|incident| incident.onset <= at && incident.elements.contains(element))
    };
    let elements = &answer.elements;
    answer.verdicts.retain(|party| {
        let mut own = elements.iter().filter(|element| party_of(element) == *party).peekable();
        // Who names no element may mean what broke in either way.
        let is_named = own.peek().is_some();
        if is_named { !own.all(is_noise) } else { broke(&case.truth, *party) || !broke(&case.background, *party) }
    });
    answer.elements.retain(|element| !is_noise(element));
    // What it believes of `neither` is then of the noise, and nothing is left that would be.
    if had_neither
        && !answer.verdicts.contains(&Verdict::Neither)
        && let Some([_, _, _, neither, none]) = &mut answer.probabilities
    {
        *none += std::mem::take(neither);
    }
    answer
}

/// Whose an element is, by its canonical name.
fn party_of(element: &str) -> Verdict {
    match element.split_once('/') {
        Some(("aws", _)) => Verdict::Aws,
        Some(("azure", _)) => Verdict::Azure,
        _ => Verdict::Neither,
    }
}

fn strange_elements(case: &Case, last: &Answer) -> Option<usize> {
    let names_none = !last.verdicts.is_empty() && last.elements.is_empty();
    if names_none || case.truth.iter().any(|incident| incident.elements.is_empty()) {
        return None;
    }
    let is_known = |element: &&String| case.truth.iter().any(|incident| incident.elements.contains(element));
    Some(last.elements.iter().filter(|element| !is_known(element)).count())
}

/// The first moment after.
fn after(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_add(1))
}

/// Seconds between two instants.
fn apart(one: Timestamp, other: Timestamp) -> f64 {
    one.since(other).max(other.since(one)).as_secs_f64()
}

#[cfg(test)]
mod tests;
