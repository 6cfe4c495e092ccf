//! What a subscriber wants to hear: which changes of the feed pass, and which do not.
//!
//! Pure. Rules: all fields must agree, of the values of one any will do, an empty one holds nothing back; a field that says
//! nothing of a kind of change does not hold it back either; an incident that passed once is told to its end, so that nobody
//! is left with an accusation that was withdrawn since.

use std::collections::BTreeSet;

use faultline_attribution::{Change, ElementKind, IncidentId, Verdict};
use faultline_proto::{feed::v1 as wire, types::v1 as types};

use super::Published;
use crate::work::PlannedWork;

/// Values of one field, at most.
const VALUES: usize = 100;

/// Bytes of an element, at most.
const ELEMENT: usize = 200;

/// How sure a verdict is, in words. Source: the words that the page has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Below 0.8.
    #[default]
    Low,
    /// From 0.8.
    Medium,
    /// From 0.95.
    High,
}

impl Band {
    /// The band of a confidence, 0 to 1.
    pub fn of(confidence: f64) -> Self {
        if confidence >= 0.95 {
            Self::High
        } else if confidence >= 0.8 {
            Self::Medium
        } else {
            Self::Low
        }
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// What passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    verdicts: Vec<Verdict>,
    elements: Vec<String>,
    min_band: Band,
    kinds: Vec<wire::ChangeKind>,
}

/// A filter that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct FilterError {
    /// Where, as in `filter.elements[2]`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Filter {
    /// The filter of a request; an absent one lets everything pass.
    ///
    /// # Errors
    ///
    /// When a value is unset, unknown, too long, or one too many.
    pub fn of(asked: Option<&wire::FeedFilter>) -> Result<Self, FilterError> {
        let Some(asked) = asked else { return Ok(Self::default()) };
        let fail = |field: &str, why: &str| FilterError { field: format!("filter.{field}"), why: why.into() };
        let lengths =
            [("verdicts", asked.verdicts.len()), ("elements", asked.elements.len()), ("kinds", asked.kinds.len())];
        if let Some((field, _)) = lengths.into_iter().find(|(_, values)| *values > VALUES) {
            return Err(fail(field, "more than 100 values"));
        }
        let verdict = |place: usize, value: i32| match types::Verdict::try_from(value) {
            Ok(types::Verdict::Aws) => Ok(Verdict::Aws),
            Ok(types::Verdict::Azure) => Ok(Verdict::Azure),
            Ok(types::Verdict::Neither) => Ok(Verdict::Neither),
            Ok(types::Verdict::Undetermined) => Ok(Verdict::Undetermined),
            Ok(types::Verdict::Unspecified) | Err(_) => {
                Err(fail(&format!("verdicts[{place}]"), &format!("{value} is no verdict")))
            }
        };
        let kind = |place: usize, value: i32| match wire::ChangeKind::try_from(value) {
            Ok(wire::ChangeKind::Unspecified) | Err(_) => {
                Err(fail(&format!("kinds[{place}]"), &format!("{value} is no kind of change")))
            }
            Ok(kind) => Ok(kind),
        };
        let each = |values: &[i32]| values.iter().copied().enumerate().collect::<Vec<_>>();
        let min_band = match wire::ConfidenceBand::try_from(asked.min_band) {
            Ok(wire::ConfidenceBand::Unspecified | wire::ConfidenceBand::Low) => Band::Low,
            Ok(wire::ConfidenceBand::Medium) => Band::Medium,
            Ok(wire::ConfidenceBand::High) => Band::High,
            Err(_) => return Err(fail("min_band", &format!("{} is no band", asked.min_band))),
        };
        for (place, element) in asked.elements.iter().enumerate() {
            check_element(element).map_err(|why| fail(&format!("elements[{place}]"), why))?;
        }
        Ok(Self {
            verdicts: each(&asked.verdicts).into_iter().map(|(at, it)| verdict(at, it)).collect::<Result<_, _>>()?,
            elements: asked.elements.clone(),
            min_band,
            kinds: each(&asked.kinds).into_iter().map(|(at, it)| kind(at, it)).collect::<Result<_, _>>()?,
        })
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this revision of an incident passes.
    pub fn passes_incident(&self, change: &Change) -> bool {
        self.wants(wire::ChangeKind::Incident)
            && (self.verdicts.is_empty() || self.verdicts.contains(&change.verdict))
            && Band::of(change.confidence) >= self.min_band
            && (self.elements.is_empty() || self.elements.iter().any(|element| touches(element, change)))
    }

    /// Whether a cell of this provider and region passes.
    pub fn passes_cell(&self, provider: &str, region: &str) -> bool {
        let verdict = [Verdict::Aws, Verdict::Azure].into_iter().find(|verdict| verdict.as_str() == provider);
        let element = format!("{provider}/{region}");
        self.wants(wire::ChangeKind::Cell)
            && (self.verdicts.is_empty() || verdict.is_some_and(|verdict| self.verdicts.contains(&verdict)))
            && (self.elements.is_empty() || self.elements.iter().any(|wanted| overlap(wanted, &element)))
    }

    /// Whether planned work passes.
    pub fn passes_work(&self, work: &PlannedWork) -> bool {
        let touches = |element: &String| self.elements.iter().any(|wanted| overlap(wanted, element));
        self.wants(wire::ChangeKind::Work)
            && (self.elements.is_empty() || work.elements.is_empty() || work.elements.iter().any(touches))
    }

    /// Whether changes of this kind are wanted at all.
    pub fn wants(&self, kind: wire::ChangeKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Whether an incident touches an element: it is at fault, or a part of it, or what it is part of; it lies in a region that
/// is touched; or, while nobody is accused, it is suspected. A cloud's network touches all of the cloud. `*` stands for any
/// one part of a name.
pub fn touches(element: &str, change: &Change) -> bool {
    let names = std::iter::once(&change.element)
        .chain(&change.regions)
        .chain(change.suspects.iter().map(|suspect| &suspect.element))
        .filter(|name| !name.is_empty());
    let is_network = change.element_kind == Some(ElementKind::Network);
    let cloud = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    names.into_iter().any(|name| overlap(element, name)) || is_network && cloud(element) == cloud(&change.element)
}

/// Whether one of two elements is the other, or a part of it. Of a way from a network to a place (`as3356~aws/us-east-1`)
/// either end will do.
pub fn overlap(wanted: &str, element: &str) -> bool {
    let within = |wanted: &str, element: &str| {
        let same = |(a, b): (&str, &str)| a == b || a == "*" || b == "*";
        wanted.split('/').zip(element.split('/')).all(same)
    };
    if wanted.contains('~') {
        let (wanted, element): (Vec<_>, Vec<_>) = (wanted.split('~').collect(), element.split('~').collect());
        return wanted.len() == element.len() && wanted.into_iter().zip(element).all(|(a, b)| within(a, b));
    }
    element.split('~').any(|part| within(wanted, part))
}

/// Says what is wrong with an element that somebody asks for.
///
/// # Errors
///
/// When it is empty, longer than 200 bytes, has an empty part, or control characters.
pub fn check_element(element: &str) -> Result<(), &'static str> {
    if element.is_empty() || element.split(['/', '~']).any(str::is_empty) {
        Err("an element has no empty part, as in \"aws/us-east-1\"")
    } else if element.len() > ELEMENT {
        Err("longer than 200 bytes")
    } else if element.chars().any(char::is_control) {
        Err("an element has no control characters")
    } else {
        Ok(())
    }
}

/// A filter at work on one stream: it remembers what it let pass.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    filter: Filter,
    /// Incidents that passed once. Grows with the incidents of the feed alone.
    told: BTreeSet<IncidentId>,
}

impl Sieve {
    /// Of a filter.
    pub fn new(filter: Filter) -> Self {
        Self { filter, told: BTreeSet::new() }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether a change passes. `passed_before` says whether an earlier revision of the incident would have: asked at most
    /// once an incident and revision, for streams that were not there.
    pub fn passes(&mut self, published: &Published, passed_before: impl FnOnce(&Change) -> bool) -> bool {
        match published {
            Published::Incident(change) => {
                if self.filter.is_open() || self.told.contains(&change.incident) {
                    return true;
                }
                let passes = self.filter.passes_incident(change) || passed_before(change);
                if passes {
                    self.told.insert(change.incident.clone());
                }
                passes
            }
            Published::Cell(cell) => self.filter.passes_cell(&cell.provider, &cell.region),
            Published::Visibility(_) => self.filter.wants(wire::ChangeKind::Visibility),
            Published::Claim(_) => self.filter.wants(wire::ChangeKind::Claim),
            Published::Work(work) => self.filter.passes_work(work),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
