//! Entries: what is judged, with what the report counts it under.

use std::{path::Path, sync::Arc};

use glob::Pattern;

use super::{
    baseline,
    engine::EngineMethod,
    method::Method,
    run::{Contender, Entry},
};
use crate::{
    scenario::{self, Noise, Scenario, ScenarioError, Way, Who},
    sim,
    world::World,
};

/// A scenario that is judged, and whether its family was held out.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The scenario.
    pub scenario: Scenario,
    /// Its family was never calibrated on.
    pub is_held_out: bool,
}

/// Which scenarios are judged.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only ids that this matches.
    pub only: Option<Pattern>,
    /// Only these families; empty is all.
    pub families: Vec<String>,
}

impl Choice {
    fn takes(&self, scenario: &Scenario) -> bool {
        let is_named = self.only.as_ref().is_none_or(|only| only.matches(&scenario.id));
        let is_of_family = self.families.is_empty() || self.families.contains(&scenario.family);
        is_named && is_of_family && scenario.plays.contains(&Way::Observations)
    }

    /// The built-in scenarios that are chosen.
    pub fn built_in(&self) -> Result<Vec<Chosen>, ScenarioError> {
        let all = scenario::built_in(&World::standard())?;
        Ok(self.of(all, false))
    }

    /// The scenarios of a directory that are chosen, by file name.
    pub fn directory(&self, directory: &Path, is_held_out: bool) -> Result<Vec<Chosen>, ScenarioError> {
        let unreadable = |source| ScenarioError::Unreadable { file: directory.display().to_string(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        let world = World::standard();
        let all = files.iter().map(|path| Scenario::find(&path.display().to_string(), &world));
        Ok(self.of(all.collect::<Result<Vec<_>, _>>()?, is_held_out))
    }

    fn of(&self, all: Vec<Scenario>, is_held_out: bool) -> Vec<Chosen> {
        let chosen = all.into_iter().filter(|scenario| self.takes(scenario));
        chosen.map(|scenario| Chosen { scenario, is_held_out }).collect()
    }
}

impl Chosen {
    /// The case of that seed: the seed decides topology, noise and who is hit.
    pub fn entry(&self, seed: u64) -> Entry {
        let scenario = &self.scenario;
        let world = world(scenario, seed);
        Entry {
            case: sim::case(&world, scenario, seed),
            liars: liars(scenario, &world),
            is_hard: is_hard(scenario),
            is_held_out: self.is_held_out,
        }
    }
}

/// The lab's own fleet has 28 agents; every other size is generated.
fn world(scenario: &Scenario, seed: u64) -> World {
    let standard = World::standard();
    if scenario.agents == standard.agents.len() {
        return standard;
    }
    World::sized(scenario.agents, scenario.targets, seed)
}

/// Share of the fleet that lies at one time or another.
fn liars(scenario: &Scenario, world: &World) -> f64 {
    let each = scenario.liars.iter().map(|liars| match &liars.who {
        Who::Share(share) => *share,
        Who::Agents(select) => {
            let hit = world.agents.iter().filter(|agent| select.matches(agent)).count();
            super::stats::share(hit, world.agents.len()).unwrap_or_default()
        }
    });
    each.fold(0.0, f64::max)
}

/// Whether simple methods get such a scenario wrong: two things break, a fault is grey (less than a quarter of runs, or
/// of whom it could hit), or comes and goes, agents lie or fall silent, the catalog is wrong, the noise is worse than
/// usual, or what breaks is somebody's own endpoint on a cloud that is fine.
///
/// Source: design notes, section 3.
pub fn is_hard(scenario: &Scenario) -> bool {
    const GREY: f64 = 0.25;
    scenario.truth.len() > 1
        || scenario.breaks.iter().any(|broken| broken.fault.share < GREY || broken.rhythm.is_some())
        || !(scenario.liars.is_empty() && scenario.silences.is_empty() && scenario.stale.is_empty())
        || matches!(scenario.noise, Noise::Bursty | Noise::Hostile)
        || scenario.truth.iter().any(|truth| truth.kind == "endpoint-app")
}

/// What `--method` accepts beside `all`.
pub fn method_names() -> impl Iterator<Item = &'static str> {
    std::iter::once("engine").chain(baseline::NAMES.iter().copied())
}

/// The method of that name.
pub fn contender(name: &str) -> Option<Contender> {
    if name == EngineMethod::default().name() {
        return Some(Contender::Engine(EngineMethod::default()));
    }
    baseline::named(name).map(|method| Contender::Other(Arc::from(method)))
}
