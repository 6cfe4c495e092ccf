//! The search: which elements to add, swap and drop.
//!
//! The state is the chance of each failure and the log likelihood of each group under the members so far. What every
//! candidate would gain is worked out in one sweep, and remembered for the set of members that it was worked out for.

mod grow;
mod swap;

use std::collections::BTreeMap;

use super::{HIDDEN_DEPENDENCY, ONE_MORE_AGENT, ONE_MORE_LAYER, SEVERITIES, Severities, UNUSUAL_AGENTS, ln_sum};
use crate::{element::ElementKind, evidence::Evidence, settings::Settings, vocabulary::Layer};

/// Beyond so many nats one of two branches has no say: `e^-36` is lost in a double's rounding. Source: IEEE 754, 2^-52.
const NO_SAY: f64 = 36.0;

/// A candidate whose best share, with every group believed and the most favourable prior, falls short of nothing by so
/// many nats is not tried: it could neither be a member nor stand in the place of one. Source: beside a member that is
/// told, which gains five or more, it would be one in 3,000.
const HOPELESS: f64 = -3.0;

/// What a candidate would gain, prior left out, and the severities that do best.
pub(super) type Gain = (f64, Severities);

/// A candidate that explains nothing.
const NOTHING: Gain = (f64::NEG_INFINITY, [0.0; 4]);

/// The chance of a failure under the members.
#[derive(Clone, Copy)]
struct Chance {
    value: f64,
    ln: f64,
    /// Nats a failure, were one more element to fail with each of [`SEVERITIES`].
    gains: [f64; SEVERITIES.len()],
}

impl Chance {
    fn new(chance: f64) -> Self {
        let chance = chance.min(1.0 - 1e-9);
        let ln = chance.ln();
        Self { value: chance, ln, gains: SEVERITIES.map(|severity| (chance + severity * (1.0 - chance)).ln() - ln) }
    }

    /// Nats a failure, were one more element to fail with this severity.
    fn gain(&self, severity: f64) -> f64 {
        (self.value + severity * (1.0 - self.value)).ln() - self.ln
    }
}

#[derive(Clone)]
pub(super) struct Search<'a> {
    pub(super) evidence: &'a Evidence,
    /// Per group: nats by which honesty starts ahead of a liar.
    slack: Vec<f64>,
    /// Per failure: its chance under the members.
    chances: Vec<Chance>,
    /// Per group: what it says under the members.
    said: Vec<f64>,
    /// Per group: log likelihood of the members relative to no fault.
    likelihood: Vec<f64>,
    pub(super) members: Vec<(usize, Severities)>,
    /// What each candidate would gain beside the members, as far as it is worked out.
    gains: Vec<Option<Gain>>,
    /// What could stand in each member's place, as the last round of swaps found it; empty after a change of members.
    in_place_of: BTreeMap<usize, Vec<(usize, f64)>>,
    /// A candidate that may not be added.
    barred: Option<usize>,
    scratch: Vec<f64>,
}

impl<'a> Search<'a> {
    pub(super) fn new(evidence: &'a Evidence, settings: &Settings) -> Self {
        let ahead = (1.0 - settings.liar).ln() - settings.liar.ln();
        let groups = evidence.frame.groups.len();
        let slack: Vec<f64> = evidence.liar.iter().map(|liar| ahead - liar).collect();
        Self {
            evidence,
            said: slack.iter().map(|slack| softplus(*slack)).collect(),
            slack,
            chances: evidence.fails.iter().map(|fail| Chance::new(fail.chance(1.0))).collect(),
            likelihood: vec![0.0; groups],
            members: Vec::new(),
            gains: vec![None; evidence.elements().len()],
            in_place_of: BTreeMap::new(),
            barred: None,
            scratch: vec![0.0; groups],
        }
    }

    /// What a group's say changes by when its log likelihood does: bounded through the liar branch.
    fn say(&self, group: usize, change: f64) -> f64 {
        softplus(self.slack[group] + self.likelihood[group] + change) - self.said[group]
    }

    /// Nats over "nothing is wrong".
    pub(super) fn score(&self) -> f64 {
        let groups = self.said.iter().zip(&self.slack).map(|(said, slack)| said - softplus(*slack));
        groups.sum::<f64>() + self.prior_of_members()
    }

    /// Works out anew what groups say. Where one that may be a liar says something else, what anybody would gain changes.
    fn listen(&mut self) {
        let mut any_in_doubt = false;
        for ((said, slack), likelihood) in self.said.iter_mut().zip(&self.slack).zip(&self.likelihood) {
            let honest = slack + likelihood;
            let now = softplus(honest);
            any_in_doubt |= (now - *said).abs() > 1e-9 && said.min(honest) < NO_SAY;
            *said = now;
        }
        if any_in_doubt {
            self.gains.fill(None);
        }
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
            *shift += f64::from(*passes) * passed;
        }
        let tabled = SEVERITIES.iter().position(|tabled| tabled.to_bits() == severity.to_bits());
        for number in self.evidence.numbers_at(element, layer) {
            let fail = &self.evidence.fails[*number as usize];
            let chance = &self.chances[*number as usize];
            let gain = tabled.map_or_else(|| chance.gain(severity), |place| chance.gains[place]);
            shift[fail.group as usize] += fail.failed * gain;
        }
    }

    /// Nats of all groups after the shift, over those before it.
    fn advantage(&self, shift: &[f64]) -> f64 {
        let groups = shift.iter().enumerate().filter(|(_, shift)| **shift != 0.0);
        groups.map(|(group, shift)| self.say(group, *shift)).sum()
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
            let price = if gain == f64::NEG_INFINITY { 0.0 } else { gain + ONE_MORE_LAYER.get().ln() };
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
        for number in self.evidence.numbers_at(element, layer) {
            let fail = &self.evidence.fails[*number as usize];
            failed += fail.failed;
            surprise -= fail.failed * self.chances[*number as usize].ln;
        }
        let passed = self.evidence.passed(element, layer);
        let share: f64 = failed / (failed + passed);
        let of_passes = if passed > 0.0 { passed * (-share.min(0.999)).ln_1p() } else { 0.0 };
        let own = &self.evidence.elements()[element];
        let prior = match own.kind {
            ElementKind::Agent => ONE_MORE_AGENT,
            ElementKind::Endpoint | ElementKind::Owner => HIDDEN_DEPENDENCY,
            _ => own.prior(),
        };
        surprise + failed * share.ln() + of_passes + prior.ln()
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
        let failed: f64 = self.evidence.fails_at(element, layer).map(|fail| fail.failed).sum();
        let passed = self.evidence.passed(element, layer);
        (failed / f64::max(failed + passed, 1.0)).clamp(SEVERITIES[0], SEVERITIES[4])
    }

    pub(super) fn add(&mut self, element: usize, severities: Severities) {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            let severity = severities[*layer as usize];
            self.shift(element, *layer, severity, &mut shift);
            for number in self.evidence.numbers_at(element, *layer) {
                let before = self.chances[*number as usize].value;
                self.chances[*number as usize] = Chance::new(before + severity * (1.0 - before));
            }
        }
        for (likelihood, shift) in self.likelihood.iter_mut().zip(&shift) {
            *likelihood += shift;
        }
        self.listen();
        self.members.push((element, severities));
        self.doubt_related(element);
    }

    /// Takes a member out again.
    fn remove(&mut self, place: usize) -> (usize, Severities) {
        let (element, severities) = self.members.remove(place);
        let evidence = self.evidence;
        for number in evidence.numbers_of(element) {
            let fail = &evidence.fails[*number as usize];
            let of_member = |(member, severities): &(usize, Severities)| {
                if fail.implicates(*member) { 1.0 - severities[fail.layer as usize] } else { 1.0 }
            };
            let healthy: f64 = self.members.iter().map(of_member).product();
            let chance = Chance::new(fail.chance(healthy));
            let before = std::mem::replace(&mut self.chances[*number as usize], chance);
            self.likelihood[fail.group as usize] += fail.failed * (chance.ln - before.ln);
        }
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            let passed = (-severities[*layer as usize]).ln_1p();
            for (likelihood, passes) in self.likelihood.iter_mut().zip(evidence.passes(element, *layer)) {
                *likelihood -= f64::from(*passes) * passed;
            }
        }
        self.listen();
        self.doubt_related(element);
        (element, severities)
    }

    /// What these would gain is to be worked out anew: they are implicated by failures that the element explains.
    fn doubt_related(&mut self, element: usize) {
        self.in_place_of.clear();
        for fail in self.evidence.fails_of(element) {
            for other in &*fail.set {
                self.gains[*other as usize] = None;
            }
        }
    }

    /// Candidates that failures of the element implicate too, itself among them, in order.
    pub(super) fn related(&self, element: usize) -> Vec<usize> {
        let mut seen = vec![false; self.gains.len()];
        for fail in self.evidence.fails_of(element) {
            for other in &*fail.set {
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

    fn kind(&self, element: usize) -> ElementKind {
        self.evidence.elements()[element].kind
    }

    /// Whether it is somebody's own and nothing that others depend on.
    fn is_own(&self, element: usize) -> bool {
        matches!(self.kind(element), ElementKind::Endpoint | ElementKind::Owner)
    }

    fn is_near(&self, element: usize) -> bool {
        self.kind(element).is_vantage_side()
    }

    fn near_members(&self) -> usize {
        self.members.iter().filter(|(element, _)| self.is_near(*element)).count()
    }

    /// Whether others depend on it.
    fn is_shared(&self, element: usize) -> bool {
        !self.is_near(element) && !self.is_own(element)
    }

    /// Nats that each group would add if the element failed too.
    pub(super) fn support(&self, element: usize, severities: Severities) -> Vec<f64> {
        let mut shift = vec![0.0; self.likelihood.len()];
        for layer in Layer::ALL.iter().filter(|layer| severities[**layer as usize] > 0.0) {
            self.shift(element, *layer, severities[*layer as usize], &mut shift);
        }
        (0..shift.len()).map(|group| self.say(group, shift[group])).collect()
    }
}

/// ln(e^x + 1).
fn softplus(x: f64) -> f64 {
    if x > NO_SAY {
        x
    } else if x < -NO_SAY {
        0.0
    } else {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
}

#[cfg(test)]
mod tests;
