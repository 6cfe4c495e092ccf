//! Worlds of any size, for scenarios that are played as observations: the standard world, grown by a seed.
//!
//! Rules: the first targets and agents are those of the standard world in its order, so words of scenarios stay valid;
//! growth goes round and round over regions, CDNs and third parties, so that a world cut at any size is balanced; the
//! seed decides operators, zones, issuers and probes, never which elements exist.

mod agents;
mod targets;

use super::{World, operators};

pub(super) fn world(agents: usize, targets: usize, seed: u64) -> World {
    World {
        agents: agents::sized(agents, seed),
        targets: targets::sized(targets, seed),
        operators: operators::standard(),
    }
}
