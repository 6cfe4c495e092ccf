//! Decisive looks: cells that exercise a suspect and not its rival, or the other way round.

use super::Scene;
use crate::{element::ElementKind, engine::LookAgain, inference::Member, known::Place, vocabulary::Layer};

/// Looks named for one assessment, at most. Source: the looks of one tick.
const LOOKS: usize = 8;

/// Looks of one agent among them, at most. Source: one more than a single look, since other witnesses are worth more.
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
        let mut holding: Vec<Place> = Vec::new();
        self.known.each_holder(own, layer, |place, _| holding.push(place));
        if let Some(rival) = rival {
            self.known.each_holder(rival, layer, |place, _| holding.push(place));
        }
        // Those that exercise both stand twice.
        holding.sort_unstable();
        let alone = holding.chunk_by(|a, b| a == b).filter(|same| same.len() == 1).flatten();
        let mut looks: Vec<_> = alone
            .filter_map(|place| {
                let entry = self.known.entry(*place);
                let target = self.known.target_of(*place)?;
                let group = &self.known.vantage(entry.agent)?.group;
                self.groups.0.get(group).filter(|group| group.live)?;
                Some((entry.cell.newest_at(), *place, entry.agent, target))
            })
            .collect();
        // By name where two are as old: nothing depends on who was seen first.
        looks.sort_unstable_by(|a, b| {
            let name = |(_, _, agent, target): &(_, Place, u32, u32)| {
                (&self.known.agents[*agent as usize].id, self.known.target_id(*target))
            };
            a.0.cmp(&b.0).then_with(|| name(a).cmp(&name(b))).then(a.1.cmp(&b.1))
        });
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
