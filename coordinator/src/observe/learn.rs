//! Learn: from what healthy probes saw of a target to what it is put together from, when most agents see it the same way.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use faultline_attribution::{AgentId, Learned, TargetId};
use faultline_proto::types::v1::Facts;

use super::edges;

/// What one healthy run saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// CNAME chain in order, without the name that was asked for.
    pub cnames: Vec<String>,
    /// Name servers of the zone.
    pub name_servers: Vec<String>,
    /// Headers that edges set, by lower-case name.
    pub edge: HashMap<String, String>,
    /// Common name or organisation of the certificate's issuer; empty when none was seen.
    pub issuer: String,
    /// Address that answered.
    pub address: Option<IpAddr>,
}

impl Sighting {
    /// What an agent's facts say.
    pub fn of(facts: &Facts) -> Self {
        Self { cnames: facts.cnames.clone(), edge: facts.edge.clone(), issuer: facts.issuer.clone(), ..Self::default() }
    }
}

/// Remembers what each agent last saw of each target.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    seen: BTreeMap<TargetId, BTreeMap<AgentId, Learned>>,
    learned: BTreeMap<TargetId, Learned>,
}

impl Learner {
    /// What is newly known of the target, if this sighting changes what most agents see.
    pub fn learn(&mut self, agent: &AgentId, target: &TargetId, sighting: &Sighting) -> Option<Learned> {
        let learned = Learned {
            cdn: edges::cdn(sighting).map(str::to_owned),
            issuer: (!sighting.issuer.is_empty()).then(|| sighting.issuer.clone()),
            ..Learned::default()
        };
        let seen = self.seen.entry(target.clone()).or_default();
        if seen.get(agent) == Some(&learned) {
            return None;
        }
        seen.insert(agent.clone(), learned.clone());
        let agreeing = seen.values().filter(|other| **other == learned).count();
        if agreeing * 2 <= seen.len() || self.learned.get(target) == Some(&learned) {
            return None;
        }
        self.learned.insert(target.clone(), learned.clone());
        Some(learned)
    }
}
