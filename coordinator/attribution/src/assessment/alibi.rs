//! Alibis: what clears a cloud. The same vantages reached it, at the same layer, in the same minutes.

use std::collections::BTreeSet;

use super::Scene;
use crate::{
    change::Alibi,
    element::Element,
    known::Place,
    time::Timestamp,
    visibility::count,
    vocabulary::{Layer, Verdict},
};

/// Share of passing runs from which a party is cleared, and the least number of runs.
pub(super) const ALIBI: (f64, u32) = (0.97, 10);

impl Scene<'_> {
    /// What clears each cloud that no member accuses, and the rival elements: the same groups, the same layer, since the
    /// onset.
    pub(super) fn alibis(
        &self,
        element: &Element,
        layer: Layer,
        onset: Timestamp,
        failing: &BTreeSet<String>,
    ) -> Vec<Alibi> {
        let accused: BTreeSet<Verdict> =
            self.hypothesis.members.iter().map(|member| self.evidence.elements()[member.element].verdict()).collect();
        let clouds = [("aws", Verdict::Aws), ("azure", Verdict::Azure)]
            .into_iter()
            .filter(|(_, verdict)| !accused.contains(verdict))
            .map(|(cloud, _)| cloud);
        // A vantage-side fault leaves its own groups unable to clear anybody: the others do.
        let speaks_if_failing = !element.kind.is_vantage_side();
        let names = &self.known.map().groups;
        let may_speak: Vec<bool> = names.iter().map(|name| failing.contains(name) == speaks_if_failing).collect();
        let explained: BTreeSet<Place> = self
            .hypothesis
            .members
            .iter()
            .flat_map(|member| self.evidence.fails_of(member.element).filter(|fail| self.explains(member, fail)))
            .map(|fail| fail.place)
            .collect();
        clouds.filter_map(|cloud| self.alibi(cloud, layer, onset, &explained, &may_speak)).collect()
    }

    /// What the cloud's targets say, but for looks whose failures another culprit explains.
    fn alibi(
        &self,
        cloud: &str,
        layer: Layer,
        since: Timestamp,
        explained: &BTreeSet<Place>,
        may_speak: &[bool],
    ) -> Option<Alibi> {
        let map = self.known.map();
        let (mut passed, mut runs, mut groups) = (0, 0, vec![false; may_speak.len()]);
        let is_of = |slot: &crate::known::Slot| {
            slot.target.is_some_and(|t| self.clouds[t as usize] == Some(cloud))
                && self.known.layers(slot).contains(&layer)
        };
        let is_of: Vec<bool> = self.known.slots.iter().map(is_of).collect();
        for (place, entry) in (0..).zip(&self.known.cells) {
            let near = &map.near[entry.agent as usize];
            let may_count = is_of[entry.slot as usize] && near.is_there && may_speak[near.group as usize];
            if !may_count || explained.contains(&place) {
                continue;
            }
            for sample in entry.cell.since(since) {
                if let Some(failed) = sample.failed_at(layer) {
                    runs += 1;
                    passed += u32::from(!failed || sample.own_fault);
                    groups[near.group as usize] = true;
                }
            }
        }
        let clear = runs >= ALIBI.1 && f64::from(passed) >= ALIBI.0 * f64::from(runs);
        let groups = count(groups.into_iter().filter(|looked| *looked).count());
        clear.then(|| Alibi { party: cloud.to_owned(), layer, passed, runs, groups })
    }
}
