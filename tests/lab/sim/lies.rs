//! Agents that do not report what they see.

use faultline_attribution::{Cause, Layer};

use super::{
    absence::span,
    draw::{Draw, For, key},
};
use crate::{
    scenario::{Liars, Scenario, Strategy, Who},
    world::{Agent, World},
};

/// What one agent does instead of telling the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It claims this of those targets.
    Fabricate(Vec<bool>, Layer, Cause),
    /// It claims that all is well.
    Mask,
    /// It reports what that agent sees.
    Mirror(usize),
    /// It reports late.
    Delay,
}

/// How late a delayed report is, seconds: within what still counts.
pub(super) const DELAY: (f64, f64) = (60.0, 110.0);

/// Who lies, by agent, with the time in microseconds of the scenario.
#[derive(Clone, Debug)]
pub(super) struct Lies(Vec<Option<(Lie, i64, i64)>>);

impl Lies {
    pub(super) fn new(world: &World, scenario: &Scenario, seed: u64) -> Self {
        let mut lies = vec![None; world.agents.len()];
        for (place, liars) in (0..).zip(&scenario.liars) {
            let until = liars.until.map_or(i64::MAX, span);
            for agent in chosen(world, liars, &lies, key(seed, For::Liar, place, 0)) {
                let lie = match &liars.strategy {
                    Strategy::Fabricate(select, layer, cause) => {
                        let targets = world.targets.iter().map(|target| select.matches(target));
                        Lie::Fabricate(targets.collect(), *layer, *cause)
                    }
                    Strategy::Mask => Lie::Mask,
                    Strategy::Mirror => Lie::Mirror(another(world, agent, seed)),
                    Strategy::Delay => Lie::Delay,
                };
                lies[agent] = Some((lie, span(liars.at), until));
            }
        }
        Self(lies)
    }

    /// What that agent does at that time of the scenario.
    pub(super) fn of(&self, agent: usize, at: i64) -> Option<&Lie> {
        self.0[agent].as_ref().filter(|(_, from, until)| (*from..*until).contains(&at)).map(|(lie, ..)| lie)
    }

    /// Everybody who ever lies.
    #[cfg(test)]
    pub(super) fn liars(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|agent| self.0[*agent].is_some()).collect()
    }
}

fn group(agent: &Agent) -> &str {
    agent.group.as_deref().unwrap_or(&agent.id)
}

/// Agents who lie so and in no other way yet.
fn chosen(world: &World, liars: &Liars, taken: &[Option<(Lie, i64, i64)>], seed: u64) -> Vec<usize> {
    let free = (0..world.agents.len()).filter(|agent| taken[*agent].is_none());
    match &liars.who {
        Who::Agents(select) => free.filter(|agent| select.matches(&world.agents[*agent])).collect(),
        Who::Share(share) => {
            let mut all: Vec<&str> = world.agents.iter().map(group).collect();
            all.sort_unstable();
            all.dedup();
            let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
            // Rounded down, one at least: of K groups never more than the share says.
            let is_free =
                |name: &&str| world.agents.iter().zip(taken).all(|(agent, lie)| group(agent) != *name || lie.is_none());
            let mut ranked: Vec<(u64, &str)> = (0..)
                .zip(all)
                .filter(|(_, name)| is_free(name))
                .map(|(place, name)| (key(seed, For::Liar, place, 1), name))
                .collect();
            ranked.sort_unstable();
            let wanted = (1..=count).take_while(|n| f64::from(*n) <= share * f64::from(count) + 1e-9).count().max(1);
            let drawn: Vec<&str> = ranked.into_iter().take(wanted).map(|(_, name)| name).collect();
            free.filter(|agent| drawn.contains(&group(&world.agents[*agent]))).collect()
        }
    }
}

/// An agent of another group, whom that one mirrors.
fn another(world: &World, agent: usize, seed: u64) -> usize {
    let own = group(&world.agents[agent]);
    let others: Vec<usize> = (0..world.agents.len()).filter(|other| group(&world.agents[*other]) != own).collect();
    if others.is_empty() { agent } else { Draw::of(seed, For::Liar, agent as u64, 2).one_of(&others) }
}
