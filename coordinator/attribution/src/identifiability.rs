//! Identifiability: which pairs of elements this fleet and this catalog cannot tell apart, and what would separate them.
//!
//! Rules:
//! * The *column* of an element at a layer is the set of (agent, target) cells that exercise it there. A full fault shows
//!   as its column failing at that layer while everything else passes it, so two elements with equal columns at a layer
//!   give equal observations for every fault that shows at that layer. Layers are compared one by one, since a fault
//!   shows at one layer: what two elements do at their other layers is no help then.
//! * A pair is *serious* when its verdicts differ: then the wrong one may be blamed. With equal verdicts it is only the
//!   name of the culprit that is in doubt.
//! * A pair is *weak* when the columns share cells and what tells them apart rests on one target, or on fewer vantage
//!   groups than a verdict needs.
//! * A cloud region that an agent sits in and that holds no target has its agents' rows as its column: their failures
//!   are all that could ever be seen of it.
//! * Additions are tried, not guessed: an addition separates a pair when some cell of the added target or agent
//!   exercises one element of the pair and not the other, at each layer at which they are alike. What an addition brings
//!   along itself, such as its own endpoint, is not looked at.

mod columns;
mod gaps;
mod pairs;
mod separation;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    element::Element,
    engine::Way,
    settings::Settings,
    vocabulary::Layer,
    world::{AgentId, Learned, Target, TargetId, Vantage, World},
};
use columns::Columns;

/// What a fleet and a catalog cannot tell apart, and what would.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Agents.
    pub agents: usize,
    /// Their vantage groups.
    pub groups: usize,
    /// Targets.
    pub targets: usize,
    /// Elements that something observes, by the word of their kind.
    pub elements: BTreeMap<&'static str, usize>,
    /// Sets of elements whose columns are equal at every layer, single ones included.
    pub classes: usize,
    /// Why the fleet as a whole is below quorum; `None` when it is not.
    pub below_quorum: Option<String>,
    /// Pairs of different verdicts with equal columns, by name.
    pub serious: Vec<Pair>,
    /// Pairs of different verdicts with nearly equal columns, by name.
    pub weak: Vec<Weak>,
    /// Sets of elements with one verdict and equal columns, by name.
    pub alike: Vec<Alike>,
    /// Elements that can hardly be accused or not at all, by name.
    pub gaps: Vec<Gap>,
    /// What to add, the most useful first.
    pub additions: Vec<Addition>,
}

/// Two elements of different verdicts that no observation at these layers tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pair {
    /// The element whose name comes first.
    pub one: Element,
    /// The other one.
    pub other: Element,
    /// Layers at which their columns are equal.
    pub layers: Vec<Layer>,
    /// Positions in [`Report::additions`] that together separate them; empty when no single target or agent of the
    /// known forms does.
    pub separated_by: Vec<usize>,
}

/// Two elements of different verdicts that little tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Weak {
    /// The element whose name comes first.
    pub one: Element,
    /// The other one.
    pub other: Element,
    /// Layers at which little tells them apart.
    pub layers: Vec<Layer>,
    /// Targets at which their columns differ, at the layer where these are fewest; counted up to 2.
    pub targets: usize,
    /// Vantage groups in which they differ, where these are fewest; counted up to the quorum.
    pub groups: usize,
}

/// Elements of one verdict that no observation at these layers tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alike {
    /// The elements.
    pub elements: Vec<Element>,
    /// Layers at which their columns are equal.
    pub layers: Vec<Layer>,
}

/// An element that can hardly be accused or not at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// The element.
    pub element: Element,
    /// What is lacking.
    pub lack: Lack,
}

/// What keeps an element from being accused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The catalog names it and no probe reaches it.
    Unobserved,
    /// It is seen through this target alone: not told from that target's own trouble.
    OneTarget(TargetId),
    /// Fewer vantage groups or networks see it than a verdict needs.
    FewWitnesses {
        /// Groups that see it.
        groups: usize,
        /// Networks that they come from.
        networks: usize,
    },
    /// Every group that sees it is inside the cloud that it belongs to.
    InsideOnly,
    /// No vantage outside both clouds in this geography: a carrier's fault there would look like it.
    NoOutsideVantage(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unobserved => f.write_str("declared, and no probe reaches it"),
            Self::OneTarget(target) => write!(f, "seen through {target} alone"),
            Self::FewWitnesses { groups, networks } => {
                write!(f, "seen by {} in {}", plural(*groups, "vantage group"), plural(*networks, "network"))
            }
            Self::InsideOnly => f.write_str("seen from inside its own cloud alone"),
            Self::NoOutsideVantage(geography) => {
                write!(f, "no vantage outside both clouds in {geography}: a carrier's fault there would look like it")
            }
        }
    }
}

/// A count with its noun.
pub(crate) fn plural(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Something to add to the catalog or to the fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Addition {
    /// What it is.
    pub form: Form,
    /// It in words.
    pub text: String,
    /// Serious pairs that it separates, at one layer or more.
    pub separates: usize,
    /// Gaps that it closes.
    pub closes: usize,
    /// What was tried.
    #[serde(skip)]
    trial: Option<Trial>,
}

/// Where an addition goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Into the catalog.
    Target,
    /// Into the fleet.
    Agent,
}

/// What was added in thought.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    Target(Box<Target>, Way),
    Vantage(Box<Vantage>),
}

/// The report of a fleet in which every agent looks at every target, and asks its own resolver for names.
pub fn report(world: &World, learned: &BTreeMap<TargetId, Learned>) -> Report {
    report_where(world, learned, |_, _| Some(Way::System))
}

/// The report of a fleet in which `looks` says how an agent asks for the names of a target; `None` when it does not look
/// at it.
pub fn report_where(
    world: &World,
    learned: &BTreeMap<TargetId, Learned>,
    looks: impl Fn(&AgentId, &TargetId) -> Option<Way>,
) -> Report {
    let (columns, settings) = (Columns::new(world, learned, &looks), Settings::default());
    let (mut serious, alike) = pairs::equal(&columns);
    let weak = pairs::weak(&columns, &serious, settings.quorum_groups);
    let (gaps, below_quorum) = gaps::find(&columns, &settings);
    let mut additions = separation::of(&columns, &mut serious);
    additions.extend(gaps::additions(&gaps, below_quorum.is_some(), &columns, &settings));
    let mut elements = BTreeMap::new();
    for number in columns.observed() {
        *elements.entry(columns.element(number).kind.as_str()).or_default() += 1;
    }
    Report {
        agents: columns.agents.len(),
        groups: columns.group_count,
        targets: columns.targets.len(),
        elements,
        classes: columns.classes(),
        below_quorum,
        serious,
        weak,
        alike,
        gaps,
        additions,
    }
}
