//! The search: which elements to add, swap and drop.
//!
//! The state is the chance of each failure and the log likelihood of each group under the members so far. What every
//! candidate would gain is worked out in one sweep, and remembered for the set of members that it was worked out for.

use super::{
    HIDDEN_DEPENDENCY, MAX_FAR, MAX_NEAR, MIN_GAIN, ONE_MORE_AGENT, ONE_MORE_LAYER, SEVERITIES, Severities,
    UNUSUAL_AGENTS, ln_sum,
};
use crate::{element::ElementKind, evidence::Evidence, settings::Settings, vocabulary::Layer};

/// An honest account that is so many nats better than a liar's leaves the liar no say.
const NO_SAY: f64 = 36.0;

/// A candidate whose best share alone, with every group believed, is so many nats short is not tried any further.
const HOPELESS: f64 = -10.0;

/// What a candidate would gain, prior left out, and the severities that do best.
pub(super) type Gain = (f64, Severities);

/// A candidate that explains nothing.
const NOTHING: Gain = (f64::NEG_INFINITY, [0.0; 4]);

pub(super) struct Search<'a> {
    pub(super) evidence: &'a Evidence,
    /// Per group: nats by which honesty starts ahead of a liar.
    slack: Vec<f64>,
    /// Per failure: its chance under the members, and the logarithm of it.
    chances: Vec<(f64, f64)>,
    /// Per group: log likelihood of the members relative to no fault.
    likelihood: Vec<f64>,
    pub(super) members: Vec<(usize, Severities)>,
    /// What each candidate would gain beside the members, as far as it is worked out.
    gains: Vec<Option<Gain>>,
    scratch: Vec<f64>,
}

impl<'a> Search<'a> {
    pub(super) fn new(evidence: &'a Evidence, settings: &Settings) -> Self {
        let ahead = (1.0 - settings.liar).ln() - settings.liar.ln();
        let groups = evidence.frame.groups.len();
        Self {
            evidence,
            slack: evidence.liar.iter().map(|liar| ahead - liar).collect(),
            chances: evidence.fails.iter().map(|fail| chance(fail.chance(1.0))).collect(),
            likelihood: vec![0.0; groups],
            members: Vec::new(),
            gains: vec![None; evidence.elements().len()],
            scratch: vec![0.0; groups],
        }
    }

    /// What a group's say changes by when its log likelihood does: bounded through the liar branch.
    fn say(&self, group: usize, before: f64, change: f64) -> f64 {
        let honest = self.slack[group] + before;
        if honest + change.min(0.0) > NO_SAY {
            return change;
        }
        ln_sum(honest + change, 0.0) - ln_sum(honest, 0.0)
    }

    /// Nats over "nothing is wrong".
    pub(super) fn score(&self) -> f64 {
        let groups = (0..self.likelihood.len()).map(|group| self.say(group, 0.0, self.likelihood[group]));
        groups.sum::<f64>() + self.prior_of_members()
    }

    /// Log prior of the members together, in the order that favours none.
    fn prior_of_members(&self) -> f64 {
        let elements = self.evidence.elements();
        let is_agent = |element: usize| elements[element].kind == ElementKind::Agent;
        let agents = self.members.iter().filter(|(element, _)| is_agent(*element)).count();
        let others = self.members.iter().filter(|(element, _)| !is_agent(*element));
        let unusual = agents.min(UNUSUAL_AGENTS);
        let common = agents - unusual;
        #[expect(clippy::cast_precision_loss, reason = "a few agents")]
        let of_agents = unusual as f64 * ElementKind::Agent.prior().ln() + common as f64 * ONE_MORE_AGENT.ln();
        of_agents + others.map(|(element, _)| self.ln_prior(*element)).sum::<f64>()
    }

    pub(super) fn ln_prior(&self, element: usize) -> f64 {
        let elements = self.evidence.elements();
        let kind = elements[element].kind;
        if matches!(kind, ElementKind::Endpoint | ElementKind::Owner) && self.holds_a_dependency(element) {
            return HIDDEN_DEPENDENCY.ln();
        }
        if kind == ElementKind::Agent {
            let others = self.members.iter().filter(|(member, _)| *member != element);
            let agents = others.filter(|(member, _)| elements[*member].kind == ElementKind::Agent).count();
            if agents >= UNUSUAL_AGENTS {
                return ONE_MORE_AGENT.ln();
            }
        }
        elements[element].prior().ln()
    }

    pub(super) fn holds_a_dependency(&self, except: usize) -> bool {
        self.members.iter().any(|(member, _)| {
            let kind = self.evidence.elements()[*member].kind;
            *member != except && !kind.is_vantage_side() && !matches!(kind, ElementKind::Endpoint | ElementKind::Owner)
        })
    }

    /// Adds to `shift` the change of each group's log likelihood if the element failed too, at this layer and severity.
    fn shift(&self, element: usize, layer: Layer, severity: f64, shift: &mut [f64]) {
        let passed = (-severity).ln_1p();
        for (shift, passes) in shift.iter_mut().zip(self.evidence.passes(element, layer)) {
            *shift += passes * passed;
        }
        for number in &self.evidence.by_element[element][layer as usize] {
            let fail = &self.evidence.fails[*number as usize];
            let (chance, ln_chance) = self.chances[*number as usize];
            shift[fail.group as usize] += fail.failed * ((chance + severity * (1.0 - chance)).ln() - ln_chance);
        }
    }

    /// Nats of all groups after the shift, over those before it.
    fn advantage(&self, shift: &[f64]) -> f64 {
        let groups = shift.iter().enumerate().filter(|(_, shift)| **shift != 0.0);
        groups.map(|(group, shift)| self.say(group, self.likelihood[group], *shift)).sum()
    }

    /// Nats gained by adding the element, its prior left out, and the severities that do best: its layers one by one, each
    /// with its severity marginalised, while they are worth it.
    pub(super) fn gain(&mut self, element: usize) -> Gain {
        if let Some(gain) = self.gains[element] {
            return gain;
        }
        let gain = self.work_out(element);
        self.gains[element] = Some(gain);
        gain
    }

    fn work_out(&mut self, element: usize) -> Gain {
        let mut layers: Vec<Layer> =
            self.evidence.failing_layers(element).filter(|layer| self.hope(element, *layer) > HOPELESS).collect();
        if layers.is_empty() {
            return NOTHING;
        }
        let mut severities = [0.0; 4];
        let mut held = vec![0.0; self.likelihood.len()];
        let mut of_held = 0.0;
        let mut gain = f64::NEG_INFINITY;
        while !layers.is_empty() {
            let price = if gain == f64::NEG_INFINITY { 0.0 } else { gain + ONE_MORE_LAYER.ln() };
            let mut best: Option<(usize, f64, f64)> = None;
            for (place, layer) in layers.iter().enumerate() {
                let (total, severity) = self.try_layer(element, *layer, &held);
                if best.is_none_or(|(_, held, _)| total > held) {
                    best = Some((place, total, severity));
                }
            }
            let Some((place, total, severity)) = best else { break };
            let gained = price + total - of_held;
            if gained <= gain {
                break;
            }
            gain = gained;
            let layer = layers.remove(place);
            severities[layer as usize] = severity;
            if !layers.is_empty() {
                self.shift(element, layer, severity, &mut held);
                of_held = self.advantage(&held);
            }
        }
        (gain, severities)
    }

    /// What the element could gain at a layer if every group were believed, with the share that fits best, and the most
    /// favourable prior.
    fn hope(&self, element: usize, layer: Layer) -> f64 {
        let (mut failed, mut surprise) = (0.0, 0.0);
        for number in &self.evidence.by_element[element][layer as usize] {
            let fail = &self.evidence.fails[*number as usize];
            failed += fail.failed;
            surprise -= fail.failed * self.chances[*number as usize].1;
        }
        let passed = self.evidence.passed(element, layer);
        let share: f64 = failed / (failed + passed);
        let of_passes = if passed > 0.0 { passed * (-share.min(0.999)).ln_1p() } else { 0.0 };
        surprise + failed * share.ln() + of_passes + ONE_MORE_AGENT.ln()
    }

    /// Nats with the element failing at one more layer, and the severity that does best.
    fn try_layer(&mut self, element: usize, layer: Layer, held: &[f64]) -> (f64, f64) {
        let mut total = f64::NEG_INFINITY;
        let mut best = (f64::NEG_INFINITY, SEVERITIES[0]);
        // The share as it was seen fits however much there is to see; the grid is for what is only part of it.
        for severity in SEVERITIES.into_iter().chain([self.share(element, layer)]) {
            let mut shift = std::mem::take(&mut self.scratch);
            shift.copy_from_slice(held);
            self.shift(element, layer, severity, &mut shift);
            let sum = self.advantage(&shift);
            self.scratch = shift;
            total = ln_sum(total, sum);
            if sum > best.0 {
                best = (sum, severity);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of severities")]
        let equally = (SEVERITIES.len() as f64 + 1.0).ln();
        (total - equally, best.1)
    }

    /// Share of the runs at this layer that failed, of those that exercise the element.
    fn share(&self, element: usize, layer: Layer) -> f64 {
        let numbers = &self.evidence.by_element[element][layer as usize];
        let failed: f64 = numbers.iter().map(|number| self.evidence.fails[*number as usize].failed).sum();
        let passed = self.evidence.passed(element, layer);
        (failed / f64::max(failed + passed, 1.0)).clamp(SEVERITIES[0], SEVERITIES[4])
    }

    pub(super) fn add(&mut self, element: usize, severities: Severities) {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            let severity = severities[*layer as usize];
            self.shift(element, *layer, severity, &mut shift);
            for number in &self.evidence.by_element[element][*layer as usize] {
                let (before, _) = self.chances[*number as usize];
                self.chances[*number as usize] = chance(before + severity * (1.0 - before));
            }
        }
        for (likelihood, shift) in self.likelihood.iter_mut().zip(&shift) {
            *likelihood += shift;
        }
        self.members.push((element, severities));
        self.doubt_related(element);
    }

    /// Takes a member out again.
    pub(super) fn remove(&mut self, place: usize) -> (usize, Severities) {
        let (element, severities) = self.members.remove(place);
        let evidence = self.evidence;
        for number in evidence.by_element[element].iter().flatten() {
            let fail = &evidence.fails[*number as usize];
            let of_member = |(member, severities): &(usize, Severities)| {
                let is_in = fail.set.binary_search(&u32::try_from(*member).unwrap_or(u32::MAX)).is_ok();
                if is_in { 1.0 - severities[fail.layer as usize] } else { 1.0 }
            };
            let healthy: f64 = self.members.iter().map(of_member).product();
            self.chances[*number as usize] = chance(fail.chance(healthy));
        }
        self.likelihood.fill(0.0);
        for (fail, (_, ln_chance)) in evidence.fails.iter().zip(&self.chances) {
            self.likelihood[fail.group as usize] += fail.failed * (ln_chance - fail.chance(1.0).ln());
        }
        for (member, severities) in &self.members {
            for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
                let passed = (-severities[*layer as usize]).ln_1p();
                for (likelihood, passes) in self.likelihood.iter_mut().zip(evidence.passes(*member, *layer)) {
                    *likelihood += passes * passed;
                }
            }
        }
        self.doubt_related(element);
        (element, severities)
    }

    /// What these would gain is to be worked out anew: they are implicated by failures that the element explains.
    fn doubt_related(&mut self, element: usize) {
        for number in self.evidence.by_element[element].iter().flatten() {
            for other in &self.evidence.fails[*number as usize].set {
                self.gains[*other as usize] = None;
            }
        }
    }

    /// Candidates that failures of the element implicate too, itself among them, in order.
    pub(super) fn related(&self, element: usize) -> Vec<usize> {
        let mut seen = vec![false; self.gains.len()];
        for number in self.evidence.by_element[element].iter().flatten() {
            for other in &self.evidence.fails[*number as usize].set {
                seen[*other as usize] = true;
            }
        }
        (0..seen.len()).filter(|other| seen[*other] && !self.is_member(*other)).collect()
    }

    fn is_member(&self, element: usize) -> bool {
        self.members.iter().any(|(member, _)| *member == element)
    }

    /// What a candidate would gain, its prior included.
    pub(super) fn value(&mut self, element: usize) -> f64 {
        self.gain(element).0 + self.ln_prior(element)
    }

    /// The candidate that would gain most among these; the first in order of name where two are equal.
    fn best_of(&mut self, candidates: impl Iterator<Item = usize>) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        for element in candidates {
            let value = self.value(element);
            if best.is_none_or(|(_, held)| value > held) {
                best = Some((element, value));
            }
        }
        best
    }

    fn is_near(&self, element: usize) -> bool {
        self.evidence.elements()[element].kind.is_vantage_side()
    }

    fn near_members(&self) -> usize {
        self.members.iter().filter(|(element, _)| self.is_near(*element)).count()
    }

    /// Adds what gains most, until nothing does. Elements on the agents' side that share no group are added together.
    pub(super) fn grow(&mut self) {
        loop {
            let near = self.near_members();
            let mut ranked: Vec<(usize, f64)> = Vec::new();
            for element in 0..self.gains.len() {
                let is_full =
                    if self.is_near(element) { near >= MAX_NEAR } else { self.members.len() - near >= MAX_FAR };
                if is_full || self.is_member(element) {
                    continue;
                }
                let value = self.value(element);
                if value > MIN_GAIN {
                    ranked.push((element, value));
                }
            }
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let Some((best, _)) = ranked.first().copied() else { break };
            if !self.is_near(best) {
                let severities = self.gain(best).1;
                self.add(best, severities);
                continue;
            }
            let run: Vec<(usize, Severities)> = ranked
                .into_iter()
                .take_while(|(element, _)| self.is_near(*element))
                .take(MAX_NEAR - near)
                .filter_map(|(element, _)| Some((element, self.gains[element]?.1)))
                .collect();
            let mut taken = vec![false; self.likelihood.len()];
            for (element, severities) in run {
                let groups: Vec<usize> = self.evidence.fails_of(element).map(|fail| fail.group as usize).collect();
                if groups.iter().any(|group| taken[*group]) {
                    continue;
                }
                for group in groups {
                    taken[group] = true;
                }
                self.add(element, severities);
            }
        }
    }

    /// Replaces or drops members while that explains better. Ends: each swap raises the score, and rounds are bounded.
    pub(super) fn swap(&mut self) {
        for _ in 0..3 {
            let before = self.members.clone();
            for (element, severities) in before.iter().rev().copied() {
                let Some(place) = self.members.iter().position(|(member, _)| *member == element) else { continue };
                self.remove(place);
                let held = self.value(element);
                if !self.is_near(element) {
                    let related = self.related(element);
                    if let Some((better, value)) = self.best_of(related.into_iter().filter(|other| *other != element))
                        && value > (held + 0.5).max(MIN_GAIN)
                    {
                        let its_severities = self.gain(better).1;
                        self.add(better, its_severities);
                        continue;
                    }
                }
                if held > 0.0 {
                    self.add(element, severities);
                }
            }
            let mut after: Vec<usize> = self.members.iter().map(|(element, _)| *element).collect();
            let mut before: Vec<usize> = before.iter().map(|(element, _)| *element).collect();
            after.sort_unstable();
            before.sort_unstable();
            if after == before {
                break;
            }
        }
    }

    /// Nats that each group would add if the element failed too.
    pub(super) fn support(&self, element: usize, severities: Severities) -> Vec<f64> {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            self.shift(element, *layer, severities[*layer as usize], &mut shift);
        }
        (0..shift.len()).map(|group| self.say(group, self.likelihood[group], shift[group])).collect()
    }
}

/// How much some element stands out in a window: nats of "its share fails" over the base rate, at its worst layer, with all
/// groups taken together. A rough, cheap measure of where to search.
pub(crate) fn promise(evidence: &Evidence) -> f64 {
    let elements = evidence.elements();
    let of = |element: usize, layer: &Layer| {
        let numbers = &evidence.by_element[element][*layer as usize];
        if numbers.is_empty() {
            return f64::NEG_INFINITY;
        }
        let fails = numbers.iter().map(|number| &evidence.fails[*number as usize]);
        let (failed, surprise) =
            fails.fold((0.0, 0.0), |sum, fail| (sum.0 + fail.failed, sum.1 - fail.failed * fail.rate.ln()));
        let passed = evidence.passed(element, *layer);
        let share: f64 = failed / (failed + passed);
        let of_passes = if passed > 0.0 { passed * (-share.min(0.999)).ln_1p() } else { 0.0 };
        surprise + failed * share.ln() + of_passes + elements[element].prior().ln()
    };
    (0..elements.len())
        .filter(|element| elements[*element].kind != ElementKind::Agent)
        .flat_map(|element| Layer::ALL.iter().map(move |layer| of(element, layer)))
        .fold(f64::NEG_INFINITY, f64::max)
}

fn chance(chance: f64) -> (f64, f64) {
    let chance = chance.min(1.0 - 1e-9);
    (chance, chance.ln())
}
