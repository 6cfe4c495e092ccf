//! Troubles: vantage groups that fail by themselves, and whether that is the same for every destination.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Scene, commonest};
use crate::{
    element::ElementKind, evidence::Fail, inference::Member, known::Place, spells::InTrouble, time::Timestamp,
    vocabulary::Layer,
};

/// Nats of trouble from which a group counts. Source: 400 to 1; four times the 100 to 1 of a verdict (design notes 4.4).
const TROUBLE_NATS: f64 = 6.0;

/// A group that gets through to next to nobody in such a stretch of time is cut off, which is trouble of its own network.
/// Source: the shortest window.
const STRETCH: Duration = Duration::from_secs(8);

/// Runs in the stretch from which that is known, and the share of them that pass. Source: where as many fail
/// as pass, nine of ten or more fail in one stretch of a hundred.
const CUT_OFF: (u32, f64) = (10, 0.1);

/// A vantage group in trouble of its own.
#[derive(Debug)]
pub(crate) struct Trouble<'a> {
    pub(super) layer: Layer,
    pub(super) onset: Timestamp,
    pub(super) fails: Vec<&'a Fail>,
    /// Nats by which it is selective.
    nats_selective: f64,
}

impl Trouble<'_> {
    pub(super) fn is_selective(&self) -> bool {
        self.nats_selective >= TROUBLE_NATS
    }
}

impl<'a> Scene<'a> {
    /// Members that are a group's, a network's or a country's own trouble.
    pub(super) fn single(&self) -> impl Iterator<Item = &Member> {
        self.hypothesis.members.iter().filter(|member| {
            let kind = self.evidence.elements()[member.element].kind;
            let is_own = matches!(
                kind,
                ElementKind::Agent | ElementKind::Isp | ElementKind::Interconnect | ElementKind::Country
            );
            is_own && member.gain >= TROUBLE_NATS
        })
    }

    /// Vantage groups that are in trouble of their own, with what spells note of them.
    pub(crate) fn in_trouble(&self) -> Vec<InTrouble> {
        let of = |group: u32| {
            let name = self.group(group);
            let network = self.groups.0.get(&name)?.networks.first()?.clone();
            let is_selective = self.troubles().get(&group).is_some_and(Trouble::is_selective);
            Some(InTrouble { group: name, network, is_selective })
        };
        self.numbers_in_trouble().into_iter().filter_map(of).collect()
    }

    /// Their names.
    pub(super) fn groups_in_trouble(&self) -> Vec<String> {
        self.numbers_in_trouble().into_iter().map(|group| self.group(group)).collect()
    }

    fn numbers_in_trouble(&self) -> BTreeSet<u32> {
        self.single().flat_map(|member| self.evidence.fails_of(member.element)).map(|fail| fail.group).collect()
    }

    /// Vantage groups in trouble that only they themselves explain.
    pub(super) fn troubles(&self) -> &BTreeMap<u32, Trouble<'a>> {
        self.troubles.get_or_init(|| self.find_troubles())
    }

    fn find_troubles(&self) -> BTreeMap<u32, Trouble<'a>> {
        let mut troubled: BTreeMap<u32, BTreeMap<(Place, Layer), &'a Fail>> = BTreeMap::new();
        for member in self.single() {
            let explained = self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail));
            for fail in explained.filter(|fail| fail.layer != Layer::Http) {
                troubled.entry(fail.group).or_default().insert((fail.place, fail.layer), fail);
            }
        }
        let trouble = |(group, fails): (u32, BTreeMap<(Place, Layer), &'a Fail>)| {
            let (layer, _) = commonest(&fails.values().copied().collect::<Vec<_>>())?;
            // Who cannot resolve names and who cannot connect have different troubles.
            let is_alike = |fail: &&Fail| (fail.layer == Layer::Dns) == (layer == Layer::Dns);
            let fails: Vec<&'a Fail> = fails.into_values().filter(is_alike).collect();
            Some((group, (layer, self.onset_of(&fails)?, fails)))
        };
        let mut found: BTreeMap<u32, _> = troubled.into_iter().filter_map(trouble).collect();
        // Whoever gets through to nobody for a while is cut off, however well it resolves names.
        let cut_off = self.cut_off(&found.keys().copied().collect());
        found.retain(|group, (.., fails)| fails.len() >= 2 && !cut_off.contains(group));
        let selective =
            self.selective(&found.iter().map(|(group, (layer, onset, _))| (*group, (*onset, *layer))).collect());
        let trouble = |(group, (layer, onset, fails))| {
            let nats_selective = selective.get(&group).copied().unwrap_or_default();
            (group, Trouble { layer, onset, fails, nats_selective })
        };
        found.into_iter().map(trouble).collect()
    }

    /// Those of the groups that got through to next to nobody for a while.
    fn cut_off(&self, groups: &BTreeSet<u32>) -> BTreeSet<u32> {
        let horizon = self.now.before(self.settings.horizon);
        let mut stretches: BTreeMap<(u32, u128), (u32, u32)> = BTreeMap::new();
        for (entry, _) in self.known.looks() {
            let group = self.known.map().near[entry.agent as usize].group;
            if groups.contains(&group) {
                for sample in entry.cell.since(horizon) {
                    let Some(failed) = sample.failed_at(Layer::Connect) else { continue };
                    let stretch = self.now.since(sample.at).as_micros() / STRETCH.as_micros();
                    let sum = stretches.entry((group, stretch)).or_default();
                    *sum = (sum.0 + 1, sum.1 + u32::from(!failed));
                }
            }
        }
        let is_cut_off =
            |(runs, passed): &(u32, u32)| *runs >= CUT_OFF.0 && f64::from(*passed) < CUT_OFF.1 * f64::from(*runs);
        stretches.iter().filter(|(_, sum)| is_cut_off(sum)).map(|((group, _), _)| *group).collect()
    }
}
