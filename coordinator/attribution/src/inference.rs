//! Inference: the set of failed elements that best explains what fails *and* what passes in a window.
//!
//! Model: a run fails if its base rate or any failed element that it exercises makes it fail (noisy-OR). A failed element
//! shows at one layer, seldom at more: passing name resolution does not clear a CDN whose connections time out. Each
//! vantage group may, with a small chance, report anything whatever; what the most supportive groups say is set aside when
//! the margin is taken. Few and common culprits are favoured by priors. A greedy search with removals and swaps finds the
//! best set; its one-swap neighbours give the posterior of each member. Source: design notes 4.3 to 4.5.
//!
//! Cost: passes enter the score as a sum for each group, so an element costs its failures and the groups, not its looks.

mod judge;
mod search;

pub(crate) use self::judge::{
    DISAGREE_NATS, MODEL_ERROR, explain, explains, verdicts, without_domain, without_loudest,
};
use crate::{assumption::Assumption, element::Element, vocabulary::Layer};

/// Failing shares that are tried for each element, equally likely. Source: design notes 4.3; the last one added, since
/// many looks at a fault that spares nothing would otherwise fit worse and worse.
const SEVERITIES: [f64; 5] = [0.06, 0.2, 0.5, 0.95, 0.995];

/// Gain below which an element is not worth its place. Calibrated: `faultline-lab calibrate min-gain`.
pub(crate) static MIN_GAIN: Assumption = Assumption::new("min-gain", 2.0);

/// Chance that a failed element shows at one more layer. Calibrated: `faultline-lab calibrate one-more-layer`.
pub(crate) static ONE_MORE_LAYER: Assumption = Assumption::new("one-more-layer", 0.1);

/// Elements that others depend on in one explanation, at most: more means that nothing is understood. Source: four times two
/// causes at once.
const MAX_FAR: usize = 8;

/// Endpoints and owners in one explanation, at most: some are always down, and one that finds no place would be told as
/// something else. Source: a quarter of a catalog of 250.
const MAX_LOCAL: usize = 64;

/// Elements on the agents' side in one explanation, at most: a fleet may be noisy as a whole. Source: a fleet of 48 agents.
const MAX_NEAR: usize = 48;

/// Prior of an endpoint while something that others depend on has failed: its owner may depend on it too, unseen.
/// Source: design notes 4.3 (hidden dependency).
const HIDDEN_DEPENDENCY: f64 = 0.02;

/// Agents in trouble that cost their full prior; where there are more, trouble is common today. Source: design notes 4.3
/// (exchangeable vantages).
const UNUSUAL_AGENTS: usize = 2;

/// Prior of one more agent in trouble when there are several. Source: the same.
const ONE_MORE_AGENT: f64 = 0.1;

/// Failing share by layer; zero where the element does not show.
pub(crate) type Severities = [f64; 4];

/// One element of an explanation.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Index into the candidates.
    pub(crate) element: usize,
    /// Failing share by layer; zero where it does not show.
    pub(crate) severities: Severities,
    /// Nats by which the explanation is better with it than without.
    pub(crate) gain: f64,
    /// What else could stand in its place, with its probability; `None` is "nothing".
    pub(crate) alternatives: Vec<(Option<usize>, f64)>,
    /// Nats that each group adds over having nothing in its place.
    pub(crate) support: Vec<f64>,
    /// What is left of the gain, over nothing and over the best other verdict, without the most supportive groups.
    pub(crate) robust_margin: f64,
    /// The same without the network whose groups support it most.
    pub(crate) domain_margin: f64,
    /// It fails because something it depends on has failed, as far as can be told.
    pub(crate) is_consequence: bool,
    /// Groups that see it fail while others, looking at the same, do not; `None` when they agree.
    pub(crate) disagreement: Option<(usize, usize)>,
    /// Groups that are assumed to lie, of those who exercise it.
    pub(crate) liars: usize,
}

impl Member {
    /// The highest failing share of any layer.
    pub(crate) fn severity(&self) -> f64 {
        self.severities.iter().copied().fold(0.0, f64::max)
    }

    /// The layer at which most of it fails.
    pub(crate) fn layer(&self) -> Layer {
        let worst = |layer: &&Layer| self.severities[**layer as usize];
        Layer::ALL.iter().max_by(|a, b| worst(a).total_cmp(&worst(b))).copied().unwrap_or(Layer::Http)
    }
}

/// The best explanation of a window.
#[derive(Clone, Debug)]
pub(crate) struct Hypothesis {
    /// Nats over "nothing is wrong".
    pub(crate) score: f64,
    pub(crate) members: Vec<Member>,
}

/// Who is assumed to lie, and which groups fail together.
#[derive(Clone, Copy)]
pub(crate) struct Doubt<'a> {
    /// Groups that are assumed to lie, of all.
    pub(crate) liars: usize,
    /// All groups.
    pub(crate) groups: usize,
    /// How many groups exercise an element.
    pub(crate) exercise: &'a dyn Fn(&Element) -> usize,
    /// Network of each group.
    pub(crate) domains: &'a [u32],
}

impl Doubt<'_> {
    /// How many of those who exercise the element are assumed to lie.
    pub(crate) fn liars_at(&self, element: &Element) -> usize {
        liars_among((self.exercise)(element), self.liars, self.groups)
    }
}

/// Chance that more of some groups lie than is assumed. Source: one in a hundred, as for what a verdict must keep without
/// them (design notes 4.4).
const MORE_LIARS: f64 = 0.01;

/// How many of `some` groups lie, at most, where `liars` of `all` do and nobody chose whose they are: the least number that
/// a binomial count exceeds in one case of a hundred.
pub(crate) fn liars_among(some: usize, liars: usize, all: usize) -> usize {
    if some >= all || liars == 0 {
        return liars;
    }
    let real = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let share = real(liars) / real(all);
    let mut chance = (1.0 - share).powf(real(some));
    let (mut most, mut more) = (0, 1.0 - chance);
    while more > MORE_LIARS && most < liars {
        chance *= real(some - most) / real(most + 1) * share / (1.0 - share);
        most += 1;
        more -= chance;
    }
    most
}

/// ln(e^a + e^b).
pub(crate) fn ln_sum(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests;
