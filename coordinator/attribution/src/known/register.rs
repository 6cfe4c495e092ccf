//! The register: who gets which number when the world changes, and which numbers fall free.

use super::{Agent, Entry, Known, KnownTarget, NONE, Place, Slot, lately::Lately};
use crate::{
    engine::Way,
    window::{Cell, Past},
    world::{AgentId, TargetId, WorldChange},
};

impl Known {
    /// Finds names again after a restore.
    pub(crate) fn index(&mut self) {
        let number = |place: usize| u32::try_from(place).unwrap_or(NONE);
        self.index.agents =
            self.agents.iter().enumerate().map(|(place, agent)| (agent.id.clone(), number(place))).collect();
        self.index.targets =
            self.targets.iter().enumerate().map(|(place, target)| (target.id.clone(), number(place))).collect();
        let slots = self.slots.iter().enumerate();
        self.index.ways =
            slots.filter_map(|(place, slot)| Some(((slot.target?, slot.way.clone()), number(place)))).collect();
        self.map.is_stale = true;
    }

    /// Applies a change of the world. Windows of what did not change go on.
    pub(crate) fn change(&mut self, change: &WorldChange) {
        match change {
            WorldChange::Target(id, target) => {
                let number = self.enter_target(id);
                self.targets[number as usize].target = Some((**target).clone());
            }
            WorldChange::TargetRemoved(id) => {
                if let Some(number) = self.index.targets.get(id).copied() {
                    let known = &mut self.targets[number as usize];
                    (known.target, known.learned) = (None, None);
                    known.proof.clear();
                    let of_it = |slot: &Slot| slot.target == Some(number);
                    let slots: Vec<bool> = self.slots.iter().map(of_it).collect();
                    self.forget_cells(|entry| slots[entry.slot as usize]);
                }
            }
            WorldChange::Vantage(id, vantage) => {
                let number = self.enter_agent(id);
                self.agents[number as usize].vantage = Some((**vantage).clone());
            }
            WorldChange::VantageRemoved(id) => {
                if let Some(number) = self.index.agents.get(id).copied() {
                    self.agents[number as usize].vantage = None;
                    self.forget_cells(|entry| entry.agent == number);
                }
            }
            WorldChange::Learned(id, learned) => {
                if let Some(number) = self.index.targets.get(id).copied() {
                    self.targets[number as usize].learned = Some(learned.clone());
                }
            }
        }
        self.map.is_stale = true;
    }

    fn forget_cells(&mut self, gone: impl Fn(&Entry) -> bool) {
        for place in 0..self.cells.len() {
            if gone(&self.cells[place]) {
                self.cells[place].cell = Cell::default();
            }
        }
    }

    fn enter_agent(&mut self, id: &AgentId) -> u32 {
        if let Some(number) = self.index.agents.get(id) {
            return *number;
        }
        let number = u32::try_from(self.agents.len()).unwrap_or(NONE);
        self.agents.push(Agent {
            id: id.clone(),
            vantage: None,
            blocked: None,
            past: Past::default(),
            lately: Lately::default(),
        });
        self.index.agents.insert(id.clone(), number);
        number
    }

    fn enter_target(&mut self, id: &TargetId) -> u32 {
        if let Some(number) = self.index.targets.get(id) {
            return *number;
        }
        let number = u32::try_from(self.targets.len()).unwrap_or(NONE);
        let slot = self.enter_slot(number, Way::System);
        self.targets.push(KnownTarget { id: id.clone(), target: None, learned: None, proof: Vec::new(), slot });
        self.index.targets.insert(id.clone(), number);
        number
    }

    pub(super) fn enter_slot(&mut self, target: u32, way: Way) -> u32 {
        let number = u32::try_from(self.slots.len()).unwrap_or(NONE);
        self.slots.push(Slot { target: Some(target), way: way.clone(), cells: Vec::new() });
        self.index.ways.insert((target, way), number);
        self.map.is_stale = true;
        number
    }

    pub(super) fn enter_cell(&mut self, agent: u32, slot: u32) -> Place {
        let cells = &mut self.slots[slot as usize].cells;
        if cells.len() <= agent as usize {
            cells.resize(agent as usize + 1, NONE);
        }
        if cells[agent as usize] == NONE {
            cells[agent as usize] = u32::try_from(self.cells.len()).unwrap_or(NONE);
            let entry = Entry { agent, slot, cell: Cell::default() };
            if !self.map.is_stale {
                self.map.count_cell(&entry, &self.slots[slot as usize]);
            }
            self.cells.push(entry);
        }
        self.slots[slot as usize].cells[agent as usize]
    }
}
