//! Obstacles: what stands in the way of an accusation. One rule after the other, the first that holds is told.

use std::collections::{BTreeMap, BTreeSet};

use super::{MINORITY, Scene, common_path, count, customers::Charged};
use crate::{
    change::Probabilities,
    element::{Element, ElementKind},
    evidence::Fail,
    inference::Member,
    known::Place,
    vocabulary::{Layer, Verdict},
};

/// Coincidences a month from which groups in trouble together are no sign of anything that they share. Source: one false
/// alarm a month, as for any verdict (design notes 4.6).
const BY_CHANCE: f64 = 1.0;

/// What is told of who fails no more than what is on neither cloud.
pub(super) const FAILS_ALIKE: &str =
    "what has nothing to do with it fails as much: it may be the vantage groups themselves";

/// What is told of who is accused through customers' endpoints that may fail with something else.
pub(super) const ONLY_CUSTOMERS: &str =
    "only customers' endpoints fail there, and something else that they may depend on has failed";

/// What is told of what both clouds use, where only one of them fails.
pub(super) fn on_one_cloud(cloud: &str) -> String {
    format!("of all that uses it, only what {cloud} hosts fails: it may as well be {cloud}")
}

/// Whether that says that the accused are well, and not only that too little is known.
pub(super) fn is_refuted(obstacle: &str) -> bool {
    [FAILS_ALIKE, ONLY_CUSTOMERS].contains(&obstacle)
}

impl Scene<'_> {
    /// What stands in the way of an accusation.
    pub(super) fn obstacle(
        &self,
        member: &Member,
        element: &Element,
        probabilities: &Probabilities,
        footprint: &BTreeSet<(Place, Layer)>,
        failing: &BTreeSet<String>,
    ) -> Option<String> {
        let verdict = element.verdict();
        let accused = matches!(verdict, Verdict::Aws | Verdict::Azure).then(|| verdict.as_str());
        let is_vantage_side = element.kind.is_vantage_side();
        let is_own_network =
            matches!(element.kind, ElementKind::Isp | ElementKind::Country) && element.ends().is_none();
        let needed = if is_own_network { self.settings.open_vantage_nats } else { self.settings.open_nats };
        if let Some(shortfall) = self.groups.shortfall(self.groups.live().map(|(name, _)| name), accused, self.settings)
        {
            return Some(format!("insufficient vantages: {shortfall}"));
        }
        if member.gain < needed {
            return Some(format!("insufficient data: {:.0} of {needed:.0} nats", member.gain));
        }
        if probabilities.of(verdict) < self.settings.open_probability {
            return Some(format!(
                "competing explanations: aws {:.2}, azure {:.2}, neither {:.2}, nothing {:.2}",
                probabilities.aws, probabilities.azure, probabilities.neither, probabilities.none
            ));
        }
        if is_vantage_side {
            return self.vantage_obstacle(member, element, failing);
        }
        let is_slow = self.are_slow(&[member]);
        let charged = Charged { layer: member.layer(), is_slow, severity: member.severity(), support: &member.support };
        if accused.is_some() && self.may_be_a_hidden_dependency(charged, element, footprint) {
            return Some(ONLY_CUSTOMERS.into());
        }
        if member.robust_margin < self.settings.robust_nats {
            return Some(format!("not robust: {} lying vantage groups could make it", member.liars));
        }
        if accused.is_some() && member.domain_margin < self.settings.robust_nats {
            return Some("not robust: the vantage groups of a single network make it".into());
        }
        // Whom an authority or a client stack fails, the agent's own software decides: those may well be few.
        let is_of_clients = matches!(element.kind, ElementKind::Ca | ElementKind::Stack);
        if let Some((see, look)) = member.disagreement.filter(|(see, look)| !is_of_clients && see * MINORITY <= *look) {
            return Some(format!(
                "vantage groups disagree: {see} of {look} see it fail, and the others, looking at the same, do not"
            ));
        }
        let witnesses = self.witnesses(&member.support, member.liars);
        if let Some(shortfall) = self.groups.shortfall(witnesses.into_iter(), accused, self.settings) {
            return Some(format!("insufficient witnesses without the {} loudest: {shortfall}", member.liars));
        }
        if self.fails_as_much_elsewhere(&[member], &[element]) {
            return Some(FAILS_ALIKE.into());
        }
        if let Some(cloud) = self.fails_on_one_cloud_alone(element, member.layer()) {
            return Some(on_one_cloud(cloud));
        }
        if self.is_seen_through_one_customer(element, footprint) {
            return Some("seen through a single endpoint that is not the provider's own".into());
        }
        (accused.is_some() && self.is_refused_by_few(footprint))
            .then(|| "seen through the refusals of too few endpoints, which may have changed what they ask for".into())
    }

    /// The same on the agents' side: groups in trouble of their own look like a network or a country, if there are few.
    fn vantage_obstacle(&self, member: &Member, element: &Element, failing: &BTreeSet<String>) -> Option<String> {
        // A network that closes a way closes it for everybody in it: two of its groups are as good as more.
        let least = if element.kind == ElementKind::Isp { 2 } else { MINORITY };
        if failing.len() < least {
            return Some(format!("seen by {} of {least} vantage groups that it takes", failing.len()));
        }
        let spans_networks =
            matches!(element.kind, ElementKind::Country | ElementKind::Carrier | ElementKind::Resolver);
        if spans_networks && self.groups.networks(failing.iter()).len() < 2 {
            return Some("seen by the vantage groups of a single network".into());
        }
        if let Some(obstacle) = self.may_be_coincidence(member, element, failing) {
            return Some(obstacle);
        }
        if element.ends().is_none() && self.others_fail_as_much(member, element) {
            return Some("those elsewhere fail as much".into());
        }
        let is_a_way = matches!(element.kind, ElementKind::Isp | ElementKind::Country) && element.ends().is_some();
        if is_a_way && let Some(cloud) = self.also_lose(member, element) {
            return Some(format!("the same vantage groups lose what else {cloud} hosts, and nothing but that"));
        }
        let (see, look) = member.disagreement?;
        (see * 3 < look * 2)
            .then(|| format!("vantage groups disagree: {see} of {look} see it fail, and the others do not"))
    }

    /// Whether groups get into trouble together as often by themselves, or fall silent where only their agents do.
    fn may_be_coincidence(&self, member: &Member, element: &Element, failing: &BTreeSet<String>) -> Option<String> {
        let fails = || self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail));
        let is_in_a_cloud = |name: &String| self.groups.0.get(name).is_some_and(|group| group.in_aws || group.in_azure);
        // A cloud that loses its network loses it for everybody, who would see it in what it hosts.
        let is_silence = || fails().all(|fail| self.known.target_of(fail.place).is_none());
        if failing.iter().all(is_in_a_cloud) && is_silence() {
            return Some("agents in a cloud are silent, and what the cloud hosts is reached".into());
        }
        // A vantage in trouble of its own loses all that it looks at, not one destination.
        if !matches!(element.kind, ElementKind::Isp | ElementKind::Country) || element.ends().is_some() {
            return None;
        }
        let all: Vec<&Fail> = fails().collect();
        if let Some(cloud) = self.only_cloud(&all) {
            return Some(format!("{} vantage groups lose their ways to {cloud} alone", failing.len()));
        }
        let mut by_group: BTreeMap<u32, Vec<&Fail>> = BTreeMap::new();
        fails().for_each(|fail| by_group.entry(fail.group).or_default().push(fail));
        let onsets = || by_group.values().filter_map(|fails| self.onset_of(fails));
        let spread = onsets().max()?.since(onsets().min()?);
        let alike = |other: &&Element| other.kind == element.kind && other.ends().is_none();
        let sets = self.known.map().elements.iter().filter(alike).count();
        let all = self.groups.live().count().max(failing.len());
        let a_month =
            self.spells.coincidences_a_month((failing, all), spread + common_path::TOGETHER * 2, sets, self.now);
        (a_month > BY_CHANCE).then(|| {
            format!("{} vantage groups get into trouble together by chance {a_month:.0} times a month", failing.len())
        })
    }

    /// The cloud at which nearly all of these runs fail, of a fleet that looks elsewhere too: no access network's own trouble. A line
    /// that stumbles fails anywhere once.
    fn only_cloud(&self, fails: &[&Fail]) -> Option<&'static str> {
        let all: f64 = fails.iter().map(|fail| fail.failed).sum();
        ["aws", "azure"].into_iter().find(|cloud| {
            let is_there = |target: u32| self.clouds[target as usize] == Some(cloud);
            let there = fails.iter().filter(|fail| self.known.target_of(fail.place).is_some_and(is_there));
            let known = self.clouds.iter().filter(|of| **of == Some(cloud)).count();
            all > 0.0
                && there.map(|fail| fail.failed).sum::<f64>() >= common_path::OF_ONE_CLOUD * all
                && f64::from(count(known))
                    < common_path::OF_ONE_CLOUD / 2.0 * f64::from(count(self.clouds.len().max(1)))
        })
    }
}
