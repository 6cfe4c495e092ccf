//! Who suffers where a fault is partial: shares of runs, of targets, of agents, or of pairs of both.
//!
//! Rules: who is drawn depends on the seed, the fault's place and who draws, never on the order of draws; a share of
//! targets or agents is the nearest whole number of those selected, one at least, and the same ones for the whole time.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use serde::Deserialize;

use super::Fault;
use crate::world::World;

/// Of what a share is a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareOf {
    /// Each run draws.
    #[default]
    Runs,
    /// Some targets fail wholly.
    Targets,
    /// Some agents see everything fail.
    Agents,
    /// Some agents see some targets fail wholly.
    Pairs,
}

/// The drawing of one fault.
#[derive(Clone, Debug)]
pub struct Lot {
    seed: (u64, u64),
    share: f64,
    among: Among,
}

#[derive(Clone, Debug)]
enum Among {
    Runs,
    Pairs,
    Targets(BTreeSet<u16>),
    Agents(BTreeSet<u16>),
}

impl Lot {
    /// The drawing of that fault, the `place`-th of its scenario or board.
    pub fn new(fault: &Fault, world: &World, seed: u64, place: u64) -> Self {
        let seed = (seed, place);
        let among = match fault.share_of {
            ShareOf::Runs => Among::Runs,
            ShareOf::Pairs => Among::Pairs,
            ShareOf::Targets => {
                let concerned = world.targets.iter().filter(|target| fault.targets.matches(target));
                Among::Targets(some_of(seed, concerned.map(|target| target.number), fault.share))
            }
            ShareOf::Agents => {
                let concerned = world.agents.iter().filter(|agent| fault.agents.matches(agent));
                Among::Agents(some_of(seed, concerned.map(|agent| agent.number), fault.share))
            }
        };
        Self { seed, share: fault.share, among }
    }

    /// Whether this run of that agent at that target suffers; `draw` tells the pair's runs apart.
    pub fn is_drawn(&self, agent: u16, target: Option<u16>, draw: u64) -> bool {
        match &self.among {
            Among::Runs => self.share >= 1.0 || fraction((self.seed, agent, target, draw)) < self.share,
            Among::Pairs => self.share >= 1.0 || fraction((self.seed, agent, target)) < self.share,
            Among::Targets(drawn) => target.is_some_and(|target| drawn.contains(&target)),
            Among::Agents(drawn) => drawn.contains(&agent),
        }
    }
}

/// That share of them, one at least, drawn by the seed.
pub(crate) fn some_of(seed: (u64, u64), all: impl Iterator<Item = u16>, share: f64) -> BTreeSet<u16> {
    let mut ranked: Vec<(u64, u16)> = all.map(|number| (hash((seed, number)), number)).collect();
    ranked.sort_unstable();
    let wanted = share * f64::from(u32::try_from(ranked.len()).unwrap_or(u32::MAX));
    let count = (1..ranked.len()).take_while(|n| wanted >= f64::from(u32::try_from(*n).unwrap_or(u32::MAX)) + 0.5);
    let count = count.count() + 1;
    ranked.into_iter().take(count).map(|(_, number)| number).collect()
}

/// A number from 0 to 1, without 1, that the key decides.
fn fraction(key: impl Hash) -> f64 {
    // 32 bits are exact in a double.
    f64::from(u32::try_from(hash(key) >> 32).unwrap_or(u32::MAX)) / 2f64.powi(32)
}

fn hash(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
