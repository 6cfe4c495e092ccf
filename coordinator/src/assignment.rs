//! Assignments: which agent probes what, when, and by which small number its results name it.
//!
//! Rules: a slot is never used twice for another target, so that a late result cannot change its meaning; phases are
//! seeded by agent and target, so that a fleet never fires in step, and the same fleet always fires the same way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_attribution::{AgentId, TargetId, Vantage};
use faultline_proto::{agent::v1::AssignmentPush, convert, types::v1::Assignment};
use prost::Message as _;

use crate::{
    catalog::{Catalog, CatalogTarget},
    record::SlotTable,
};

/// Slot tables of all agents, and the catalog they come from.
pub struct Assignments {
    catalog: Arc<Catalog>,
    tables: Mutex<BTreeMap<AgentId, Arc<SlotTable>>>,
}

impl Assignments {
    /// Assignments from a catalog, going on from the tables of the log.
    pub fn new(catalog: Arc<Catalog>, tables: BTreeMap<AgentId, SlotTable>) -> Self {
        let tables = tables.into_iter().map(|(agent, table)| (agent, Arc::new(table))).collect();
        Self { catalog, tables: Mutex::new(tables) }
    }

    /// What an agent at this place must run. The second value is its new slot table, if that changed: once it is in the
    /// log it must be kept ([`Assignments::keep`]), and only then may the push go out.
    pub fn push(&self, agent: &AgentId, vantage: &Vantage) -> (AssignmentPush, Option<SlotTable>) {
        let before = self.table(agent);
        let mut table = (*before).clone();
        let mut assignments = Vec::new();
        for (id, target) in self.catalog.targets.iter().filter(|(_, target)| runs_at(target, vantage)) {
            let slot = table.slot(id);
            assignments.push(Assignment {
                slot,
                target: id.to_string(),
                interval: Some(convert::duration(target.interval)),
                phase: Some(convert::duration(phase(agent, id, target.interval))),
                timeout: Some(convert::duration(target.timeout)),
                addresses: target.addresses.into(),
                retries: target.retries,
                spec: Some(target.spec.clone()),
            });
        }
        let mut push = AssignmentPush { version: 0, nonce: String::new(), assignments };
        table.digest = crc32c::crc32c(&push.encode_to_vec());
        if table != *before {
            table.version += 1;
        }
        push.version = table.version;
        push.nonce = format!("{}-{:08x}", table.version, table.digest);
        let changed = (table != *before).then_some(table);
        (push, changed)
    }

    /// Holds to a slot table that is in the log.
    pub fn keep(&self, agent: &AgentId, table: SlotTable) {
        self.tables().insert(agent.clone(), Arc::new(table));
    }

    /// Whether the agent was ever given this slot.
    pub fn is_known(&self, agent: &AgentId, slot: u32) -> bool {
        self.table(agent).slots.contains_key(&slot)
    }

    /// Every slot that the agent was ever given, to look up many; none for a stranger.
    pub fn table(&self, agent: &AgentId) -> Arc<SlotTable> {
        self.tables().get(agent).cloned().unwrap_or_default()
    }

    /// What a slot of the agent means.
    pub fn target_of(&self, agent: &AgentId, slot: u32) -> Option<String> {
        Some(self.tables().get(agent)?.slots.get(&slot)?.to_string())
    }

    /// The slot by which the agent knows the target, while the catalog holds it.
    pub fn slot_of(&self, agent: &AgentId, target: &TargetId) -> Option<u32> {
        self.catalog.targets.get(target)?;
        self.tables().get(agent)?.slots.iter().find(|(_, known)| *known == target).map(|(slot, _)| *slot)
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<AgentId, Arc<SlotTable>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    /// The target's slot, old or new.
    fn slot(&mut self, target: &TargetId) -> u32 {
        if let Some((slot, _)) = self.slots.iter().find(|(_, known)| *known == target) {
            return *slot;
        }
        let slot = self.slots.last_key_value().map_or(1, |(last, _)| last + 1);
        self.slots.insert(slot, target.clone());
        slot
    }
}

/// Whether the target's selector takes an agent at this place.
fn runs_at(target: &CatalogTarget, vantage: &Vantage) -> bool {
    target.agents.iter().all(|(label, wanted)| {
        let has = match label.as_str() {
            "hosted_on" => vantage.hosted_on.as_deref(),
            "region" => vantage.region.as_deref(),
            "isp" => vantage.isp.as_deref(),
            "country" => vantage.country.as_deref(),
            "geography" => vantage.geography.as_deref(),
            "group" => Some(vantage.group.as_str()),
            _ => None,
        };
        has == Some(wanted)
    })
}

/// Offset inside the interval, uniform over agents and targets.
fn phase(agent: &AgentId, target: &TargetId, interval: Duration) -> Duration {
    let hash = crc32c::crc32c(format!("{agent}\0{target}").as_bytes());
    interval.mul_f64(f64::from(hash) / f64::from(u32::MAX)).min(interval.saturating_sub(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(ids: &[&str]) -> Arc<Catalog> {
        let row = |id: &&str| {
            format!("[[target]]\nid = \"{id}\"\nprobe = \"tcp\"\nurl = \"tcp://x.example:443\"\nhosted_on = \"aws\"\n")
        };
        let text = ids.iter().map(row).collect::<Vec<_>>().join("\n");
        Arc::new(Catalog::parse("test", &text).expect("catalog"))
    }

    #[test]
    fn a_slot_is_never_used_for_another_target() {
        let (agent, vantage) = (AgentId::from("fra-1"), Vantage::default());
        let first = Assignments::new(catalog(&["a", "b"]), BTreeMap::new());
        let (_, table) = first.push(&agent, &vantage);
        let table = table.expect("new");
        let second = Assignments::new(catalog(&["b", "c"]), BTreeMap::from([(agent.clone(), table.clone())]));
        let (push, changed) = second.push(&agent, &vantage);
        let slots: Vec<(String, u32)> = push.assignments.into_iter().map(|a| (a.target, a.slot)).collect();
        assert_eq!(slots, [("b".into(), 2), ("c".into(), 3)]);
        assert_eq!(changed.expect("changed").version, table.version + 1);
        assert!(second.is_known(&agent, 1), "a late result of `a` keeps its meaning");
        let slot_of = |target: &str| second.slot_of(&agent, &TargetId::from(target));
        assert_eq!((slot_of("a"), slot_of("b")), (None, Some(2)), "`a` is looked at no more");
    }

    #[test]
    fn the_same_catalog_again_changes_nothing() {
        let (agent, vantage) = (AgentId::from("fra-1"), Vantage::default());
        let assignments = Assignments::new(catalog(&["a", "b"]), BTreeMap::new());
        let (first, table) = assignments.push(&agent, &vantage);
        assignments.keep(&agent, table.expect("new"));
        let (second, changed) = assignments.push(&agent, &vantage);
        assert_eq!((first, changed), (second, None));
    }

    #[test]
    fn a_fleet_does_not_fire_in_step() {
        let interval = Duration::from_secs(30);
        let target = TargetId::from("aws/us-east-1/dynamodb");
        let mut thirds = [0; 3];
        for agent in 0..300 {
            let phase = phase(&AgentId::from(format!("agent-{agent}")), &target, interval);
            assert!(phase < interval);
            thirds[usize::try_from(phase.as_secs() / 10).expect("small")] += 1;
        }
        assert!(thirds.iter().all(|third| (70..=130).contains(third)), "{thirds:?}");
    }
}
