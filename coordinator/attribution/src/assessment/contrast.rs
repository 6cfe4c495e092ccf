//! Contrast: whether an element fails more than what has nothing to do with it, for those who look at both.
//!
//! Agents that are out of breath, or a filter in front of them, fail a share of whatever they look at. Told by its layers,
//! that is each cloud's network, each operator's names, each protocol. Rule: who fails no more than what is on neither cloud
//! is not at fault.

use std::collections::BTreeMap;

use super::{Scene, count};
use crate::{
    assumption::Assumption,
    element::{Element, ElementKind},
    inference::Member,
    known::Entry,
    vocabulary::Layer,
};

/// Runs elsewhere that say something. Source: 20 passes without a failure bound the failing share at 14 % (95 %).
const ENOUGH: u32 = 20;

/// No two sets of targets fail quite alike: up to so many times what those elsewhere fail, it is the same. Calibrated:
/// `faultline-lab calibrate alike`.
pub(crate) static ALIKE: Assumption = Assumption::new("alike", 1.5);

/// Runs, and those of them that failed or were slow.
type Runs = (u32, u32);

/// The same by the cloud that the target is of, if any.
pub(super) type ByCloud = BTreeMap<Option<&'static str>, Runs>;

/// Times as often as others that one cloud's endpoints fail from which they are not the same trouble. Source: the engine's widest
/// step between severities.
const FAR_MORE: f64 = 3.0;

/// Which runs are bad: failed at the layer, or slow; and whether those count that the endpoint answered with a client error.
#[derive(Clone, Copy)]
struct Bad {
    layer: Layer,
    is_slow: bool,
    own_faults: bool,
}

impl Scene<'_> {
    /// Whether what exercises these elements fails no more than what is on neither cloud and does not, beyond chance: by fewer nats
    /// than a verdict takes, at the layer where the members fail most. Says no where nothing else walks that layer.
    pub(super) fn fails_as_much_elsewhere(&self, members: &[&Member], elements: &[&Element]) -> bool {
        let map = self.known.map();
        let number = |element: &&Element| u32::try_from(map.elements.binary_search(element).ok()?).ok();
        let numbers: Vec<u32> = elements.iter().filter_map(number).collect();
        if numbers.is_empty() {
            return false;
        }
        let Some((layer, is_slow)) = self.hit_layer(members) else { return false };
        let outside = self.outside(&numbers);
        let all = vec![true; map.groups.len()];
        // What a client error says, it says of its endpoint and of whose that is.
        let of_endpoints = elements.iter().all(|element| {
            use ElementKind::{Api, Endpoint, Identity, Owner, Service, ServiceEverywhere};
            matches!(element.kind, Api | Endpoint | Identity | Owner | Service | ServiceEverywhere)
        });
        // Groups whose own trouble is known explain what they fail; unless they are nearly all, or it is their ways that fail.
        let are_ways = elements.iter().all(|element| element.kind == ElementKind::Interconnect);
        let troubled = if are_ways { Vec::new() } else { self.groups_in_trouble() };
        let calm: Vec<bool> = map.groups.iter().map(|group| !troubled.contains(group)).collect();
        let bad = Bad { layer, is_slow, own_faults: false };
        let elsewhere = self.elsewhere(&outside, &calm, bad);
        let (groups, elsewhere) =
            if elsewhere.0 >= ENOUGH { (calm, elsewhere) } else { (all.clone(), self.elsewhere(&outside, &all, bad)) };
        if elsewhere.0 == 0 {
            return self.is_looked_at(&outside, layer);
        }
        let (mut own, bad) = ((0, 0), Bad { own_faults: of_endpoints, ..bad });
        for number in &numbers {
            self.known.each_holder(*number, layer, |_, entry| self.add_runs(entry, &groups, bad, &mut own));
        }
        self.are_alike(own, elsewhere)
    }

    /// Whether it is chance, or too little is known, that the first fail more than the second.
    fn are_alike(&self, own: Runs, elsewhere: Runs) -> bool {
        nats_between(own, elsewhere) < self.settings.robust_nats
            || (elsewhere.0 >= ENOUGH && nats_apart(own, elsewhere, ALIKE.get()) < self.settings.open_nats)
    }

    /// Whether the agents of a network or a country fail no more than everybody else, beyond chance.
    pub(super) fn others_fail_as_much(&self, member: &Member, element: &Element) -> bool {
        let map = self.known.map();
        let number = map.elements.binary_search(element).ok().and_then(|number| u32::try_from(number).ok());
        let (Some(number), Some((layer, is_slow))) = (number, self.hit_layer(&[member])) else { return false };
        let bad = Bad { layer, is_slow, own_faults: false };
        let mut inside = vec![false; map.groups.len()];
        self.known.each_holder(number, layer, |_, entry| {
            inside[map.near[entry.agent as usize].group as usize] = true;
        });
        let outside: Vec<bool> = inside.iter().map(|is_inside| !is_inside).collect();
        let (mut own, mut elsewhere) = ((0, 0), (0, 0));
        for (entry, _) in self.known.looks() {
            self.add_runs(entry, &inside, bad, &mut own);
            self.add_runs(entry, &outside, bad, &mut elsewhere);
        }
        // Silence is heard of nobody's looks.
        own.1 > 0 && elsewhere.0 > 0 && self.are_alike(own, elsewhere)
    }

    /// The cloud whose endpoints those who fail here fail elsewhere too, far more than all others: then it is no single way to it.
    pub(super) fn also_lose(&self, member: &Member, element: &Element) -> Option<&'static str> {
        let map = self.known.map();
        let number = u32::try_from(map.elements.binary_search(element).ok()?).ok()?;
        let (layer, is_slow) = self.hit_layer(&[member])?;
        let bad = Bad { layer, is_slow, own_faults: false };
        let mut groups = vec![false; map.groups.len()];
        self.evidence.fails_of(member.element).for_each(|fail| groups[fail.group as usize] = true);
        let mut holds = vec![false; self.known.target_count()];
        self.known.each_holder(number, layer, |place, _| {
            self.known.target_of(place).into_iter().for_each(|target| holds[target as usize] = true);
        });
        let mut runs = ByCloud::default();
        for (entry, target) in self.known.looks().filter(|(_, target)| !holds[*target as usize]) {
            self.add_runs(entry, &groups, bad, runs.entry(self.clouds[target as usize]).or_default());
        }
        self.one_that_fails_alone(&runs)
    }

    /// The cloud whose endpoints alone fail, of all that exercise what both clouds use: an authority, a protocol, a registry.
    pub(super) fn fails_on_one_cloud_alone(&self, element: &Element, layer: Layer) -> Option<&'static str> {
        if !matches!(element.kind, ElementKind::Ca | ElementKind::Stack | ElementKind::Tld) {
            return None;
        }
        let number = u32::try_from(self.known.map().elements.binary_search(element).ok()?).ok()?;
        let bad = Bad { layer, is_slow: true, own_faults: false };
        let all = vec![true; self.known.map().groups.len()];
        let mut runs = ByCloud::default();
        self.known.each_holder(number, layer, |place, entry| {
            if let Some(target) = self.known.target_of(place) {
                self.add_runs(entry, &all, bad, runs.entry(self.clouds[target as usize]).or_default());
            }
        });
        self.one_that_fails_alone(&runs)
    }

    /// The cloud that fails [`FAR_MORE`] than all else, by the nats of a verdict.
    pub(super) fn one_that_fails_alone(&self, runs: &ByCloud) -> Option<&'static str> {
        let all = runs.values().fold((0, 0), |sum, runs| (sum.0 + runs.0, sum.1 + runs.1));
        let is_apart =
            |own: &Runs| nats_apart(*own, (all.0 - own.0, all.1 - own.1), FAR_MORE) >= self.settings.open_nats;
        runs.iter().find(|(cloud, own)| cloud.is_some() && is_apart(own)).and_then(|(cloud, _)| *cloud)
    }

    /// The layer at which these fail most, and whether being slow is what they do most.
    fn hit_layer(&self, members: &[&Member]) -> Option<(Layer, bool)> {
        let fails = || members.iter().flat_map(|member| self.evidence.fails_of(member.element));
        let failed_at = |layer: Layer| fails().filter(|fail| fail.layer == layer).map(|fail| fail.failed).sum::<f64>();
        let is_hit = |layer: &&Layer| members.iter().any(|member| member.severities[**layer as usize] > 0.0);
        let hit = Layer::ALL.iter().filter(is_hit).max_by(|a, b| failed_at(**a).total_cmp(&failed_at(**b)));
        hit.map(|layer| (*layer, self.are_slow(members)))
    }

    /// Whether being slow is most of what these do. It counts only where it is the trouble.
    pub(super) fn are_slow(&self, members: &[&Member]) -> bool {
        let fails = || members.iter().flat_map(|member| self.evidence.fails_of(member.element));
        fails().map(|fail| fail.slow).sum::<f64>() > fails().map(|fail| fail.failed).sum::<f64>()
    }

    /// Targets on neither cloud, controls among them, that exercise none of the elements at any layer. One that fails for most of
    /// all who look is down itself, and says nothing.
    fn outside(&self, elements: &[u32]) -> Vec<bool> {
        let mut holds = vec![false; self.known.target_count()];
        for (element, layer) in
            elements.iter().flat_map(|element| Layer::ALL.iter().map(move |layer| (*element, *layer)))
        {
            self.known.each_holder(element, layer, |place, _| {
                self.known.target_of(place).into_iter().for_each(|target| holds[target as usize] = true);
            });
        }
        let seen = self.seen.get_or_init(|| self.runs_and_passes());
        let is_outside = |target: u32| {
            let (runs, passed) = seen[target as usize];
            !holds[target as usize] && passed * 2 > runs && self.clouds[target as usize].is_none()
        };
        (0..count(holds.len())).map(is_outside).collect()
    }

    pub(super) fn runs_and_passes(&self) -> Vec<(u32, u32)> {
        let mut seen = vec![(0, 0); self.known.target_count()];
        for (entry, target) in self.known.looks() {
            let sums: &mut (u32, u32) = &mut seen[target as usize];
            for sample in entry.cell.all_since(self.evidence.from) {
                *sums = (sums.0 + 1, sums.1 + u32::from(sample.failed.is_none() || sample.own_fault));
            }
        }
        seen
    }

    /// Whether anybody looks at one of these targets with a probe that has the layer.
    fn is_looked_at(&self, targets: &[bool], layer: Layer) -> bool {
        let walks = |entry: &Entry| self.known.map().far[entry.slot as usize].layers[layer as usize].is_some();
        self.known.looks().any(|(entry, target)| targets[target as usize] && walks(entry))
    }

    /// What fails at these targets at the layer, for these groups.
    fn elsewhere(&self, outside: &[bool], groups: &[bool], bad: Bad) -> Runs {
        let mut sum = (0, 0);
        for (entry, _) in self.known.looks().filter(|(_, target)| outside[*target as usize]) {
            self.add_runs(entry, groups, bad, &mut sum);
        }
        sum
    }

    /// Adds the cell's runs in the window that reached the layer, if it is of one of the groups; slow ones are bad if that is
    /// what is asked. Those count too that an incident has explained, or the cells that passed would speak for all.
    fn add_runs(&self, entry: &Entry, groups: &[bool], bad: Bad, sum: &mut Runs) {
        let Bad { layer, is_slow, own_faults } = bad;
        let map = self.known.map();
        let far = &map.far[entry.slot as usize];
        let is_one = groups[map.near[entry.agent as usize].group as usize];
        if !is_one || far.layers[layer as usize].is_none() {
            return; // its probe has no such layer
        }
        for sample in entry.cell.all_since(self.evidence.from) {
            let of_stage = |at: Layer| stage(at) == stage(layer);
            let (failed, is_before) = match sample.failed {
                Some((at, _)) => (of_stage(at), stage(at) < stage(layer)),
                None => (is_slow && sample.slow.is_some_and(of_stage), false),
            };
            if !is_before {
                *sum = (sum.0 + 1, sum.1 + u32::from(failed && (own_faults || !sample.own_fault)));
            }
        }
    }
}

/// Layers that compare between protocols: QUIC's handshake carries that of TLS (RFC 9001), so one fails where the other of two
/// would.
fn stage(layer: Layer) -> u8 {
    match layer {
        Layer::Dns => 0,
        Layer::Connect | Layer::Tls => 1,
        Layer::Http => 2,
    }
}

/// Nats by which the first runs fail more than so many times as often as the second.
fn nats_apart(own: Runs, elsewhere: Runs, times: f64) -> f64 {
    // As if half of one more run had failed: what was not seen yet may come (Jeffreys).
    let usual = (times * (f64::from(elsewhere.1) + 0.5) / (f64::from(elsewhere.0) + 1.0)).min(0.999);
    let (failed, passed) = (f64::from(own.1), f64::from(own.0 - own.1));
    let share = failed / f64::from(own.0.max(1));
    if share <= usual {
        return 0.0;
    }
    let of_rest = if passed > 0.0 { passed * ((1.0 - share) / (1.0 - usual)).ln() } else { 0.0 };
    failed * (share / usual).ln() + of_rest
}

/// Nats by which the first runs fail more than [`ALIKE`] times as often as the second, both being known by what was seen alone: how
/// much likelier they are with a share each than with the likeliest shares that are so many times apart. Source: the
/// generalised likelihood ratio of two binomials; few runs elsewhere say little, however many of one's own there are.
fn nats_between(own: Runs, elsewhere: Runs) -> f64 {
    let share = |runs: Runs| f64::from(runs.1) / f64::from(runs.0.max(1));
    let (low, high) = (share(elsewhere).max(1e-9), (share(own) / ALIKE.get()).min(0.999 / ALIKE.get()));
    if low >= high {
        return 0.0;
    }
    let nats = |runs: Runs, share: f64| {
        let term = |count: u32, share: f64| if count == 0 { 0.0 } else { f64::from(count) * share.ln() };
        term(runs.1, share) + term(runs.0 - runs.1, 1.0 - share)
    };
    let joint = |usual: f64| nats(own, (ALIKE.get() * usual).min(0.999)) + nats(elsewhere, usual);
    // Concave between the two shares: a third of the way is dropped at a time.
    let (mut low, mut high) = (low, high);
    for _ in 0..40 {
        let (third, other) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if joint(third) < joint(other) {
            low = third;
        } else {
            high = other;
        }
    }
    let apart = nats(own, share(own)) + nats(elsewhere, share(elsewhere));
    f64::max(apart - joint(low.midpoint(high)), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_runs_elsewhere_say_little() {
        // None of 45 fails by chance in a third of the cases where a fortieth of all do.
        assert!(nats_between((1500, 60), (45, 0)) < 2.0, "{}", nats_between((1500, 60), (45, 0)));
        assert!(nats_between((1500, 60), (1000, 1)) > 10.0, "{}", nats_between((1500, 60), (1000, 1)));
        assert!(nats_between((20, 20), (5, 0)) > 4.6, "five passes beside a fault that spares nothing");
        assert!(nats_between((40, 22), (3, 0)) < 4.6, "half of the runs may be anybody's");
        assert!(nats_between((300, 60), (20, 5)).abs() < 1e-12, "those elsewhere fail more");
    }

    #[test]
    fn what_fails_as_often_is_not_apart() {
        assert!(nats_apart((30_000, 3_500), (30_000, 3_000), 1.5).abs() < 1e-12, "much alike, however much was seen");
        assert!(nats_apart((100, 10), (300, 60), 1.5).abs() < 1e-12, "fails less");
        assert!(nats_apart((40, 40), (300, 60), 1.5) > 40.0, "all fail where a fifth does elsewhere");
        assert!(nats_apart((1000, 100), (1000, 10), 1.5) > 100.0, "a tenth, and a hundredth elsewhere");
    }
}
