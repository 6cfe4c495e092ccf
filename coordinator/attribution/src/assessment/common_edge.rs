//! A common edge: the ways of several unrelated carriers to one cloud that fail at once.
//!
//! Each carrier's way may fail by itself; that three of them do, all to the same cloud, while they reach everybody else,
//! is likelier one event at that cloud's edge. Rule: below the witnesses that a verdict takes, nobody is accused, neither
//! the cloud nor its carriers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Assessment, MINORITY, REFUTED, Scene, TOLD_NATS, count,
    customers::Charged,
    obstacle::{FAILS_ALIKE, ONLY_CUSTOMERS, is_refuted},
    rounded,
};
use crate::{
    change::Probabilities,
    element::{Element, ElementKind},
    inference::{self, Member},
};

/// Carriers that must lose their ways for it to be a coincidence at all. Source: it takes two.
const SEVERAL: usize = 2;

/// Share of the vantage groups behind a carrier that must see it. Source: where three in ten lie, all of three do for one carrier in 37,
/// four of five for one in 33, two of three for one in five.
const NEARLY_ALL: (usize, usize) = (4, 5);

impl Scene<'_> {
    /// Tells the ways of several carriers to this cloud as its edge, where they fail together.
    pub(super) fn tell_common_edge(&self, cloud: &str, assessed: &mut Vec<Assessment>) {
        let elements = self.evidence.elements();
        let goes_there = |element: &Element| {
            element.kind == ElementKind::Interconnect
                && element.ends().and_then(|(_, far)| far.split_once('/')).is_some_and(|(to, _)| to == cloud)
        };
        let near = |element: &Element| element.ends().map(|(near, _)| near.to_owned());
        let told = |member: &&Member| member.gain >= TOLD_NATS.get() && goes_there(&elements[member.element]);
        let ways: Vec<&Member> = self.hypothesis.members.iter().filter(told).collect();
        let carriers: BTreeSet<String> = ways.iter().filter_map(|way| near(&elements[way.element])).collect();
        if carriers.len() < SEVERAL {
            return;
        }
        let (mut ours, theirs): (Vec<Assessment>, Vec<Assessment>) =
            std::mem::take(assessed).into_iter().partition(|assessment| goes_there(&assessment.element));
        *assessed = theirs;
        ours.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.element.name.cmp(&b.element.name)));
        if ours.is_empty() {
            return;
        }
        let mut edge = ours.remove(0);
        // How unlikely it is that an edge hits just these carriers, and that as many ways fail by themselves.
        let all: BTreeSet<String> =
            self.known.map().elements.iter().filter(|element| goes_there(element)).filter_map(near).collect();
        let element = self.edge(cloud, &ways);
        let choice = ln_choose(all.len(), carriers.len());
        let separate: f64 = ways.iter().map(|way| elements[way.element].prior().ln()).sum();
        let odds = element.prior().ln() - choice - separate;
        if odds < 0.0 && carriers.len() < MINORITY {
            assessed.push(edge);
            assessed.extend(ours);
            return;
        }
        let probability = 1.0 / (1.0 + (-odds).exp());
        for other in ours {
            edge.footprint.extend(other.footprint);
            edge.failing_groups.extend(other.failing_groups);
            edge.evidence.extend(other.evidence);
            edge.onset = if other.onset.at < edge.onset.at { other.onset } else { edge.onset };
            edge.total_groups = edge.total_groups.max(other.total_groups);
        }
        edge.evidence.truncate(super::ROWS);
        let support = self.support(&ways);
        edge.gain = ways.iter().map(|way| way.gain).sum::<f64>() + odds.max(0.0);
        edge.total_groups = edge.total_groups.max(count(self.looking_at(&element)));
        let behind = self.known.groups_at(ways.iter().map(|way| &elements[way.element]));
        let liars = inference::liars_among(behind, self.liars, self.groups.live().count());
        edge.robust_margin = inference::without_loudest(&support, liars);
        edge.domain_margin = inference::without_domain(&support, self.domains);
        let rest = rounded((1.0 - probability) / 2.0);
        let (aws, azure) = if cloud == "aws" { (probability, 0.0) } else { (0.0, probability) };
        edge.probabilities =
            Probabilities { aws: rounded(aws), azure: rounded(azure), neither: rest, none: rounded(rest / 2.0) };
        edge.confidence = rounded(probability);
        edge.obstacle = self.edge_obstacle(&element, &edge, &ways, (carriers.len(), behind, liars));
        if edge.obstacle.as_deref().is_some_and(is_refuted) {
            edge.probabilities = edge.probabilities.trusted(REFUTED);
            edge.confidence = edge.probabilities.of(element.verdict());
        }
        edge.suspects = Vec::new();
        edge.alibis.retain(|alibi| alibi.party != cloud);
        edge.is_consequence = false;
        edge.element = element;
        assessed.push(edge);
    }

    /// The narrowest element of the cloud that all these ways lead to.
    fn edge(&self, cloud: &str, ways: &[&Member]) -> Element {
        let elements = self.evidence.elements();
        let far: BTreeSet<&str> = ways.iter().filter_map(|way| Some(elements[way.element].ends()?.1)).collect();
        if let (1, Some(only)) = (far.len(), far.first())
            && let Some(element) = Element::named(only)
        {
            return element;
        }
        let targets = ways.iter().flat_map(|way| self.evidence.fails_of(way.element));
        let geographies: BTreeSet<Option<&String>> = targets
            .filter_map(|fail| self.known.target(self.known.target_of(fail.place)?))
            .map(|target| target.geography.as_ref())
            .collect();
        match (geographies.len(), geographies.first()) {
            (1, Some(Some(geography))) => Element::new(ElementKind::Network, format!("{cloud}/network/{geography}")),
            _ => Element::new(ElementKind::Network, format!("{cloud}/network")),
        }
    }

    /// Carriers behind which several vantage groups are, nearly all of whom see it. Carriers are chosen by who reports it: one group
    /// behind each says no more than as many groups anywhere, who may lie.
    fn agreeing_carriers(&self, ways: &[&Member]) -> usize {
        let elements = self.evidence.elements();
        let mut of_carrier: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
        for way in ways {
            if let Some((near, _)) = elements[way.element].ends() {
                of_carrier.entry(near).or_default().push(way);
            }
        }
        let agree = |ways: &Vec<&Member>| {
            let see = self.support(ways).into_iter().filter(|nats| *nats > 0.0).count();
            let behind = self.known.groups_at(ways.iter().map(|way| &elements[way.element]));
            behind >= SEVERAL && see * NEARLY_ALL.1 >= behind * NEARLY_ALL.0
        };
        of_carrier.values().filter(|ways| agree(ways)).count()
    }

    /// Nats of each group for all the ways together.
    pub(super) fn support(&self, ways: &[&Member]) -> Vec<f64> {
        let mut support = vec![0.0; self.evidence.frame.groups.len()];
        for way in ways {
            for (sum, nats) in support.iter_mut().zip(&way.support) {
                *sum += nats;
            }
        }
        support
    }

    /// Groups that look at the element at a layer where it fails.
    fn looking_at(&self, element: &Element) -> usize {
        let Some(place) = self.evidence.elements().iter().position(|other| other == element) else { return 0 };
        let mut looked = vec![false; self.evidence.frame.groups.len()];
        for layer in self.evidence.failing_layers(place) {
            for (looked, passes) in looked.iter_mut().zip(self.evidence.passes(place, layer)) {
                *looked |= *passes > 0.0;
            }
        }
        self.evidence.fails_of(place).for_each(|fail| looked[fail.group as usize] = true);
        looked.into_iter().filter(|looked| *looked).count()
    }

    fn edge_obstacle(
        &self,
        element: &Element,
        edge: &Assessment,
        ways: &[&Member],
        (carriers, behind, liars): (usize, usize, usize),
    ) -> Option<String> {
        let doubt = || format!("{carriers} networks lose their ways to one cloud at once: its edge or theirs");
        if edge.confidence < self.settings.open_probability || edge.gain < self.settings.open_nats {
            return Some(doubt());
        }
        // Those behind other carriers say nothing of these ways.
        if edge.failing_groups.len() * MINORITY <= behind {
            return Some(format!("{}, and few vantage groups see it", doubt()));
        }
        if self.agreeing_carriers(ways) < MINORITY {
            return Some(format!("{}, and too few of them have several vantage groups that agree", doubt()));
        }
        if edge.robust_margin < self.settings.robust_nats {
            return Some(format!("not robust: {liars} lying vantage groups could make it"));
        }
        let elements: Vec<&Element> = ways.iter().map(|way| &self.evidence.elements()[way.element]).collect();
        if self.fails_as_much_elsewhere(ways, &elements) {
            return Some(FAILS_ALIKE.into());
        }
        let support = self.support(ways);
        let is_slow = self.are_slow(ways);
        let charged = Charged { layer: edge.layer, is_slow, severity: edge.severity, support: &support };
        if self.may_be_a_hidden_dependency(charged, element, &edge.footprint) {
            return Some(ONLY_CUSTOMERS.into());
        }
        let witnesses = self.witnesses(&support, liars);
        let shortfall =
            self.groups.shortfall(witnesses.into_iter(), Some(element.verdict().as_str()), self.settings)?;
        Some(format!("insufficient witnesses without the {liars} loudest: {shortfall}"))
    }
}

/// Nats of choosing so many of `n`.
pub(super) fn ln_choose(n: usize, chosen: usize) -> f64 {
    let factor = |k: usize| f64::from(count(n - k)) / f64::from(count(k + 1));
    (0..chosen.min(n)).map(|k| factor(k).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choosing_is_counted_in_nats() {
        assert!((ln_choose(5, 2) - 10.0_f64.ln()).abs() < 1e-12);
        assert!(ln_choose(4, 4).abs() < 1e-12);
    }

    #[test]
    fn an_edge_is_likelier_than_three_carriers_by_chance() {
        let odds = |carriers: usize, ways: f64| {
            let separate = ElementKind::Interconnect.prior().ln() * ways;
            ElementKind::Network.prior().ln() - ln_choose(8, carriers) - separate
        };
        assert!(odds(3, 6.0) > 40.0);
        assert!(odds(1, 1.0) < 0.0, "one way alone is that way's own");
    }
}
