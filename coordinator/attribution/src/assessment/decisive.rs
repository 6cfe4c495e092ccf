//! Decisive looks: cells that exercise a suspect and not its rival, or the other way round.

use super::Scene;
use crate::{element::ElementKind, engine::LookAgain, inference::Member, vocabulary::Layer};

/// Looks named for one assessment, at most.
const LOOKS: usize = 8;

/// Looks of one agent among them, at most: other witnesses are worth more.
const OF_AGENT: usize = 2;

impl Scene<'_> {
    /// The looks that would best tell the member from what else it could be, oldest look first.
    pub(super) fn decisive(&self, member: &Member, layer: Layer) -> Vec<LookAgain> {
        let elements = self.evidence.elements();
        let own = &elements[member.element];
        let rival = member.alternatives.iter().find_map(|(other, _)| {
            let other = &elements[(*other)?];
            (other.verdict() != own.verdict() && other.kind != ElementKind::Agent).then_some(other)
        });
        let map = self.known.map();
        let number = |element| map.elements.binary_search(element).ok().and_then(|place| u32::try_from(place).ok());
        let Some(own) = number(own) else { return Vec::new() };
        let rival = rival.and_then(number);
        let own_holders = map.holders(own, layer);
        let rival_holders = rival.map(|rival| (rival, map.holders(rival, layer)));
        let mut looks: Vec<_> = (0..)
            .zip(&self.known.cells)
            .filter_map(|(place, entry)| {
                let target = self.known.target_of(place)?;
                let with_own = map.holds(&own_holders, entry, layer, own);
                let with_rival =
                    rival_holders.as_ref().is_some_and(|(rival, holders)| map.holds(holders, entry, layer, *rival));
                let group = &self.known.vantage(entry.agent)?.group;
                self.groups.0.get(group).filter(|group| group.live)?;
                (with_own != with_rival).then_some((entry.cell.newest_at(), place, entry.agent, target))
            })
            .collect();
        looks.sort_unstable();
        let mut of_agent = vec![0; self.known.agents.len()];
        looks.retain(|(_, _, agent, _)| {
            of_agent[*agent as usize] += 1;
            of_agent[*agent as usize] <= OF_AGENT
        });
        looks.truncate(LOOKS);
        let name = |(_, _, agent, target): (_, _, u32, u32)| LookAgain {
            agent: self.known.agents[agent as usize].id.clone(),
            target: self.known.target_id(target).clone(),
        };
        looks.into_iter().map(name).collect()
    }
}
