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

/// Groups outside every data centre from which their word is asked besides. Source: two of them may be liars or have a quota.
const ENOUGH_OUTSIDE: usize = 3;

/// Groups that look at something, and those of them that are in no data centre.
#[derive(Debug, Default)]
struct Callers {
    all: BTreeSet<u32>,
    outside: BTreeSet<u32>,
}

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

    /// By slot: whether what an endpoint says for itself (a 4xx answer) counts against it. Robots and quotas meet a few agents, and
    /// rules against robots those in data centres; an endpoint that refuses many, elsewhere too, is out of order.
    pub(crate) fn refuses_many(&self, from: Timestamp) -> Vec<bool> {
        let mut refused: FxHashMap<u32, Callers> = FxHashMap::default();
        for place in &self.troubled {
            let entry = &self.cells[*place as usize];
            if entry.cell.troubles_since(from).any(|sample| sample.own_fault) {
                self.add_group(entry.agent, refused.entry(entry.slot).or_default());
            }
        }
        let is_many = |(number, slot): (u32, &Slot)| {
            refused.get(&number).is_some_and(|refused| {
                let mut looking = Callers::default();
                let agents = (0..).zip(&slot.cells).filter(|(_, cell)| **cell != NONE);
                agents.for_each(|(agent, _)| self.add_group(agent, &mut looking));
                let share =
                    |refused: &BTreeSet<u32>, looking: &BTreeSet<u32>| refused.len() * REFUSED_BY >= looking.len();
                let is_known_outside = looking.outside.len() >= ENOUGH_OUTSIDE;
                share(&refused.all, &looking.all) && (!is_known_outside || share(&refused.outside, &looking.outside))
            })
        };
        (0..).zip(&self.slots).map(is_many).collect()
    }

    fn add_group(&self, agent: u32, groups: &mut Callers) {
        let group = self.map.near[agent as usize].group;
        groups.all.insert(group);
        if self.agents[agent as usize].vantage.as_ref().is_some_and(|vantage| !vantage.is_in_a_cloud()) {
            groups.outside.insert(group);
        }
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
