//! Witnesses: what each agent sees, which groups are live, and whose word counts against a target.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{Known, NONE, Slot};
use crate::{
    settings::Settings,
    time::Timestamp,
    visibility::{Groups, Sight},
    world::Target,
};

/// One in so many of the groups that look must be refused. Source: up to 4 % of pairs are refused in the noise profiles.
const REFUSED_BY: usize = 3;

impl Known {
    /// Whether failures of the target count: it is verified, or has passed from enough groups.
    pub(crate) fn is_proven(&self, target: u32, settings: &Settings) -> bool {
        let known = &self.targets[target as usize];
        known.target.as_ref().is_some_and(|target| target.verified) || {
            let groups: BTreeSet<&str> =
                known.proof.iter().filter_map(|agent| Some(self.vantage(*agent)?.group.as_str())).collect();
            groups.len() >= settings.proof_groups
        }
    }

    /// By slot: whether what an endpoint says for itself (a 4xx answer) counts against it. Robots and quotas meet a few agents;
    /// an endpoint that refuses many is out of order.
    pub(crate) fn refuses_many(&self, from: Timestamp) -> Vec<bool> {
        let mut refused: FxHashMap<u32, BTreeSet<u32>> = FxHashMap::default();
        for place in &self.troubled {
            let entry = &self.cells[*place as usize];
            if entry.cell.troubles_since(from).any(|sample| sample.own_fault) {
                refused.entry(entry.slot).or_default().insert(self.map.near[entry.agent as usize].group);
            }
        }
        let looking = |slot: &Slot| {
            let agents = (0..).zip(&slot.cells).filter(|(_, cell)| **cell != NONE);
            let groups: BTreeSet<u32> = agents.map(|(agent, _): (usize, _)| self.map.near[agent].group).collect();
            groups.len()
        };
        let is_many = |(number, slot): (u32, &Slot)| {
            refused.get(&number).is_some_and(|groups| groups.len() * REFUSED_BY >= looking(slot))
        };
        (0..).zip(&self.slots).map(is_many).collect()
    }

    /// What each agent saw since `from`, by its number.
    pub(crate) fn sights(&self, from: Timestamp) -> Vec<Sight> {
        let mut sights = vec![Sight::default(); self.agents.len()];
        let is_control: Vec<bool> =
            self.targets.iter().map(|known| known.target.as_ref().is_some_and(Target::is_control)).collect();
        for (entry, target) in self.looks() {
            let (runs, passed) = entry.cell.count_since(from);
            let sight = &mut sights[entry.agent as usize];
            sight.runs += runs;
            sight.passed += passed;
            if is_control[target as usize] {
                sight.control_runs += runs;
                sight.control_passed += passed;
            }
        }
        for (agent, sight) in self.agents.iter().zip(&mut sights) {
            sight.blocked = agent.blocked.filter(|(at, _)| *at >= from).map(|(_, reason)| reason);
        }
        sights
    }

    /// Vantage groups as witnesses, from what their agents saw.
    pub(crate) fn groups(&self, sights: &[Sight]) -> Groups {
        let has_controls = self.targets.iter().filter_map(|known| known.target.as_ref()).any(Target::is_control);
        let agents =
            self.agents.iter().zip(sights).filter_map(|(agent, sight)| Some((agent.vantage.as_ref()?, *sight)));
        Groups::gather(agents, has_controls)
    }
}
