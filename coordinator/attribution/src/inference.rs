//! Inference: the set of failed elements that best explains what fails *and* what passes in a window.
//!
//! Model: a run fails if its base rate or any failed element that it exercises makes it fail (noisy-OR). A failed element
//! shows at one layer, seldom at more: passing name resolution does not clear a CDN whose connections time out. Each
//! vantage group may, with a small chance, report anything whatever; what the most supportive groups say is set aside when
//! the margin is taken. Few and common
//! culprits are favoured by priors. A greedy search with removals and swaps finds the best set; its one-swap
//! neighbours give the posterior of each member. Source: design notes 4.3 to 4.5.

use crate::{
    element::ElementKind,
    evidence::Evidence,
    settings::Settings,
    vocabulary::{Layer, Verdict},
};

/// Failing shares that are tried for each element, equally likely. Source: design notes 4.3; the last one added, since
/// many looks at a fault that spares nothing would otherwise fit worse and worse.
const SEVERITIES: [f64; 5] = [0.06, 0.2, 0.5, 0.95, 0.995];

/// Gain below which an element is not worth its place.
const MIN_GAIN: f64 = 2.0;

/// Chance that a failed element shows at one more layer. Start value.
const ONE_MORE_LAYER: f64 = 0.1;

/// Elements in one explanation, at most: more means that nothing is understood.
const MAX_MEMBERS: usize = 8;

/// Prior of an endpoint while something that others depend on has failed: its owner may depend on it too, unseen.
/// Source: design notes 4.3 (hidden dependency).
const HIDDEN_DEPENDENCY: f64 = 0.02;

/// Failing share by layer; zero where the element does not show.
pub(crate) type Severities = [f64; 4];

/// One element of an explanation.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Index into [`Evidence::elements`].
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
    /// It fails because something it depends on has failed, as far as can be told.
    pub(crate) is_consequence: bool,
}

impl Member {
    /// The highest failing share of any layer.
    pub(crate) fn severity(&self) -> f64 {
        self.severities.iter().copied().fold(0.0, f64::max)
    }
}

/// The best explanation of a window.
#[derive(Clone, Debug)]
pub(crate) struct Hypothesis {
    /// Nats over "nothing is wrong".
    pub(crate) score: f64,
    pub(crate) members: Vec<Member>,
}

/// The best explanation of the evidence. `liars` groups are assumed to lie when the margin is taken.
pub(crate) fn explain(evidence: &Evidence, settings: &Settings, liars: usize) -> Hypothesis {
    let mut search = Search::new(evidence, settings);
    search.grow();
    search.swap();
    let members: Vec<Member> = (0..search.members.len()).map(|place| search.judge(place, liars)).collect();
    Hypothesis { score: search.score(), members }
}

struct Search<'a> {
    evidence: &'a Evidence,
    /// ln(1 - liar) and ln(liar).
    honest: f64,
    liar: f64,
    /// Per group: log likelihood of the counts, relative to no fault, if it reports anything whatever.
    liar_likelihood: Vec<f64>,
    /// Per count: share of runs that the members let through.
    healthy: Vec<f64>,
    /// Per group: log likelihood of the members relative to no fault.
    likelihood: Vec<f64>,
    members: Vec<(usize, Severities)>,
}

impl<'a> Search<'a> {
    fn new(evidence: &'a Evidence, settings: &Settings) -> Self {
        let mut liar_likelihood = vec![0.0; evidence.groups.len()];
        for count in &evidence.counts {
            liar_likelihood[count.group] += ln_any(count.failed, count.passed) - count.log_likelihood(1.0);
        }
        Self {
            evidence,
            honest: (1.0 - settings.liar).ln(),
            liar: settings.liar.ln(),
            liar_likelihood,
            healthy: vec![1.0; evidence.counts.len()],
            likelihood: vec![0.0; evidence.groups.len()],
            members: Vec::new(),
        }
    }

    /// A group's contribution to the score, given its log likelihood: bounded through the liar branch.
    fn bounded(&self, group: usize, likelihood: f64) -> f64 {
        let liar = self.liar + self.liar_likelihood[group];
        ln_sum(self.honest + likelihood, liar) - ln_sum(self.honest, liar)
    }

    fn score(&self) -> f64 {
        let groups: f64 = (0..self.likelihood.len()).map(|group| self.bounded(group, self.likelihood[group])).sum();
        groups + self.members.iter().map(|(element, _)| self.ln_prior(*element)).sum::<f64>()
    }

    fn ln_prior(&self, element: usize) -> f64 {
        let kind = self.evidence.elements[element].kind;
        if matches!(kind, ElementKind::Endpoint | ElementKind::Owner) && self.holds_a_dependency(element) {
            return HIDDEN_DEPENDENCY.ln();
        }
        kind.prior().ln()
    }

    fn holds_a_dependency(&self, except: usize) -> bool {
        self.members.iter().any(|(member, _)| {
            let kind = self.evidence.elements[*member].kind;
            *member != except && !kind.is_vantage_side() && !matches!(kind, ElementKind::Endpoint | ElementKind::Owner)
        })
    }

    /// Adds to `shift` the change of each group's log likelihood if the element failed too, at this layer and severity.
    fn shift(&self, element: usize, layer: Layer, severity: f64, shift: &mut [f64]) {
        for number in &self.evidence.by_element[element][layer as usize] {
            let count = &self.evidence.counts[*number as usize];
            let healthy = self.healthy[*number as usize];
            shift[count.group] += count.log_likelihood(healthy * (1.0 - severity)) - count.log_likelihood(healthy);
        }
    }

    /// Nats of all groups after the shift, over those before it.
    fn advantage(&self, shift: &[f64]) -> f64 {
        let touched = (0..shift.len()).filter(|group| shift[*group] != 0.0);
        touched
            .map(|group| {
                let before = self.likelihood[group];
                self.bounded(group, before + shift[group]) - self.bounded(group, before)
            })
            .sum()
    }

    /// Nats gained by adding the element, and the severities that do best: its layers one by one, each with its severity
    /// marginalised, while they are worth it.
    fn gain(&self, element: usize) -> (f64, Severities) {
        let mut severities = [0.0; 4];
        let mut layers: Vec<Layer> = self.evidence.failing_layers(element).collect();
        let mut held = vec![0.0; self.likelihood.len()];
        let mut gain = f64::NEG_INFINITY;
        while !layers.is_empty() {
            let price = if gain == f64::NEG_INFINITY { self.ln_prior(element) } else { gain + ONE_MORE_LAYER.ln() };
            let before = self.advantage(&held);
            let tried = layers.iter().map(|layer| self.try_layer(element, *layer, &held));
            let Some((place, (total, severity, shift))) =
                tried.enumerate().reduce(|best, next| if next.1.0 > best.1.0 { next } else { best })
            else {
                break;
            };
            let gained = price + total - before;
            if gained <= gain {
                break;
            }
            gain = gained;
            held = shift;
            severities[layers.remove(place) as usize] = severity;
        }
        (gain, severities)
    }

    /// Nats with the element failing at one more layer, the severity that does best, and the shift it makes.
    fn try_layer(&self, element: usize, layer: Layer, held: &[f64]) -> (f64, f64, Vec<f64>) {
        let mut total = f64::NEG_INFINITY;
        let mut best = (f64::NEG_INFINITY, SEVERITIES[0], held.to_vec());
        // The share as it was seen fits however much there is to see; the grid is for what is only part of it.
        for severity in SEVERITIES.into_iter().chain([self.share(element, layer)]) {
            let mut shift = held.to_vec();
            self.shift(element, layer, severity, &mut shift);
            let sum = self.advantage(&shift);
            total = ln_sum(total, sum);
            if sum > best.0 {
                best = (sum, severity, shift);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of severities")]
        let equally = (SEVERITIES.len() as f64 + 1.0).ln();
        (total - equally, best.1, best.2)
    }

    /// Share of the runs at this layer that failed, of those that exercise the element.
    fn share(&self, element: usize, layer: Layer) -> f64 {
        let (mut failed, mut runs) = (0.0, 0.0);
        for number in &self.evidence.by_element[element][layer as usize] {
            let count = &self.evidence.counts[*number as usize];
            failed += count.failed;
            runs += count.failed + count.passed;
        }
        (failed / f64::max(runs, 1.0)).clamp(SEVERITIES[0], SEVERITIES[4])
    }

    fn add(&mut self, element: usize, severities: Severities) {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            let severity = severities[*layer as usize];
            self.shift(element, *layer, severity, &mut shift);
            for number in &self.evidence.by_element[element][*layer as usize] {
                self.healthy[*number as usize] *= 1.0 - severity;
            }
        }
        for (likelihood, shift) in self.likelihood.iter_mut().zip(&shift) {
            *likelihood += shift;
        }
        self.members.push((element, severities));
    }

    fn remove(&mut self, place: usize) -> (usize, Severities) {
        let removed = self.members.remove(place);
        let rest = std::mem::take(&mut self.members);
        self.healthy.fill(1.0);
        self.likelihood.fill(0.0);
        for (element, severities) in rest {
            self.add(element, severities);
        }
        removed
    }

    fn is_member(&self, element: usize) -> bool {
        self.members.iter().any(|(member, _)| *member == element)
    }

    fn best_addition(&self) -> Option<(usize, Severities, f64)> {
        (0..self.evidence.elements.len())
            .filter(|element| !self.is_member(*element))
            .map(|element| {
                let (gain, severity) = self.gain(element);
                (element, severity, gain)
            })
            .reduce(|best, next| if next.2 > best.2 { next } else { best })
    }

    fn grow(&mut self) {
        while self.members.len() < MAX_MEMBERS {
            match self.best_addition() {
                Some((element, severity, gain)) if gain > MIN_GAIN => self.add(element, severity),
                _ => break,
            }
        }
    }

    /// Replaces or drops members while that explains better. Ends: each swap raises the score, and rounds are bounded.
    fn swap(&mut self) {
        for _ in 0..3 {
            let mut changed = false;
            for place in (0..self.members.len()).rev() {
                let (element, severities) = self.remove(place);
                let held = self.gain(element).0;
                match self.best_addition() {
                    Some((better, its_severities, gain)) if gain > held + 0.5 && gain > MIN_GAIN => {
                        self.add(better, its_severities);
                        changed = true;
                    }
                    _ if held > 0.0 => self.add(element, severities),
                    _ => changed = true,
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// The member's weight: what it gains, what else could stand in its place, who supports it. Leaves the search as
    /// it was, but for the order of members.
    fn judge(&mut self, place: usize, liars: usize) -> Member {
        let (element, severities) = self.members[place];
        let members = self.members.clone();
        self.remove(place);
        let gains: Vec<(usize, f64, Severities)> = (0..self.evidence.elements.len())
            .filter(|other| !self.is_member(*other))
            .map(|other| {
                let (gain, severity) = self.gain(other);
                (other, gain, severity)
            })
            .collect();
        let own = gains.iter().find(|(other, ..)| *other == element).map_or(0.0, |(_, gain, _)| *gain);
        let total = gains.iter().fold(0.0, |total, (_, gain, _)| ln_sum(total, *gain));
        let mut alternatives: Vec<(Option<usize>, f64)> =
            gains.iter().map(|(other, gain, _)| (Some(*other), (gain - total).exp())).collect();
        alternatives.push((None, (-total).exp()));
        alternatives.retain(|(other, probability)| *probability > 1e-6 || other.is_none());
        alternatives.sort_by(|a, b| b.1.total_cmp(&a.1));

        let support = self.support(element, severities);
        let verdict = self.evidence.elements[element].verdict();
        let rival = gains
            .iter()
            .filter(|(other, ..)| self.evidence.elements[*other].verdict() != verdict)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let mut robust_margin = margin(&support, None, self.ln_prior(element), liars);
        if let Some((rival, _, its_severities)) = rival {
            let theirs = self.support(*rival, *its_severities);
            let prior = self.ln_prior(element) - self.ln_prior(*rival);
            robust_margin = robust_margin.min(margin(&support, Some(&theirs), prior, liars));
        }
        let kind = self.evidence.elements[element].kind;
        let is_consequence =
            matches!(kind, ElementKind::Endpoint | ElementKind::Owner) && self.holds_a_dependency(element);
        self.members.clear();
        self.healthy.fill(1.0);
        self.likelihood.fill(0.0);
        for (member, severities) in members {
            self.add(member, severities);
        }
        Member { element, severities, gain: own, alternatives, support, robust_margin, is_consequence }
    }

    /// Nats that each group would add if the element failed too.
    fn support(&self, element: usize, severities: Severities) -> Vec<f64> {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            self.shift(element, *layer, severities[*layer as usize], &mut shift);
        }
        let before = &self.likelihood;
        (0..shift.len())
            .map(|group| self.bounded(group, before[group] + shift[group]) - self.bounded(group, before[group]))
            .collect()
    }
}

/// What is left of the advantage over a rival (or over nothing) without the `liars` groups that give most of it.
fn margin(ours: &[f64], theirs: Option<&[f64]>, prior: f64, liars: usize) -> f64 {
    let mut advantage: Vec<f64> =
        ours.iter().enumerate().map(|(group, nats)| nats - theirs.map_or(0.0, |theirs| theirs[group])).collect();
    advantage.sort_by(|a, b| b.total_cmp(a));
    advantage.iter().skip(liars).sum::<f64>() + prior
}

/// Chance that the model itself is wrong, shared evenly by the answers: no answer is ever certain. Start value, to be
/// measured.
const MODEL_ERROR: f64 = 0.002;

/// Probability of each verdict, and of nothing, in the member's place: aws, azure, neither, none.
pub(crate) fn verdicts(evidence: &Evidence, member: &Member) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for (element, probability) in &member.alternatives {
        let place = match element.map(|element| evidence.elements[element].verdict()) {
            Some(Verdict::Aws) => 0,
            Some(Verdict::Azure) => 1,
            Some(_) => 2,
            None => 3,
        };
        sums[place] += probability;
    }
    let total: f64 = sums.iter().sum();
    sums.map(|sum| if total > 0.0 { (1.0 - MODEL_ERROR) * sum / total + MODEL_ERROR / 4.0 } else { 0.25 })
}

/// ln(e^a + e^b).
fn ln_sum(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// Log probability of a sequence with so many failures and passes from somebody who may report anything whatever:
/// beta-binomial with both parameters 1/2 (Jeffreys), without the binomial coefficient. A liar who could fit each count
/// for nothing would outdo every honest account of a partial fault, the more so the more there is to see.
fn ln_any(failed: f64, passed: f64) -> f64 {
    let mut sum = 0.0;
    let mut seen = 0.0;
    for count in [failed, passed] {
        let mut done = 0.0;
        while done < count {
            sum += ((done + 0.5) / (seen + 1.0)).ln();
            done += 1.0;
            seen += 1.0;
        }
    }
    sum
}

#[cfg(test)]
mod tests;
