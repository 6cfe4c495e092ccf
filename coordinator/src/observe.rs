//! Observe: from records of the log to what the core is told.
//!
//! Holds what is needed to read a batch: slot tables, facts by number, and what healthy probes saw of each target. Pure:
//! the same records give the same inputs.

pub mod edges;
pub mod learn;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use faultline_attribution::{
    AgentId, Cause, Input, Layer, Observation, Outcome, Reason, SessionChange, SessionState, Target, TargetId,
    Timestamp, Vantage, WorldChange,
};
use faultline_proto::{agent::v1::ResultBatch, convert, types::v1 as wire, word};
use prost::Message as _;

use self::learn::{Learner, Sighting};
use crate::record::{CatalogRecord, PayloadError, Record, RecordKind, SessionRecord, SlotTable};

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// Its payload is not what its kind says.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Its batch is not a batch.
    #[error("record of a batch: unreadable payload")]
    Batch(#[from] prost::DecodeError),
}

/// Facts of one agent, as it numbers them.
#[derive(Clone, Debug, Default)]
struct FactsTable {
    incarnation: Vec<u8>,
    facts: BTreeMap<u32, wire::Facts>,
}

/// Reads records.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    targets: BTreeMap<TargetId, Target>,
    vantages: BTreeMap<AgentId, Vantage>,
    tables: BTreeMap<AgentId, SlotTable>,
    sessions: BTreeMap<AgentId, SessionState>,
    facts: BTreeMap<AgentId, FactsTable>,
    learner: Learner,
}

impl Observer {
    /// What the core is told of a record.
    pub fn observe(&mut self, record: &Record) -> Result<Vec<Input>, ObserveError> {
        let agent = AgentId::from(record.agent.as_str());
        Ok(match record.kind {
            RecordKind::Batch => return self.batch(&agent, record),
            RecordKind::Assignment => {
                self.tables.insert(agent, record.content()?);
                Vec::new()
            }
            RecordKind::Catalog => self.catalog(record.content::<CatalogRecord>()?.targets),
            RecordKind::Vantage => {
                let vantage = record.vantage()?;
                self.vantages.insert(agent.clone(), vantage.clone());
                vec![Input::World(WorldChange::Vantage(agent, Box::new(vantage)))]
            }
            RecordKind::Session => {
                let SessionRecord { state, since } = record.content()?;
                self.sessions.insert(agent.clone(), state);
                vec![Input::Session(SessionChange { agent, at: since, state })]
            }
            RecordKind::Tick => Vec::new(),
        })
    }

    /// Slot tables by agent.
    pub fn tables(&self) -> &BTreeMap<AgentId, SlotTable> {
        &self.tables
    }

    /// Places by agent.
    pub fn vantages(&self) -> &BTreeMap<AgentId, Vantage> {
        &self.vantages
    }

    /// Sessions by agent.
    pub fn sessions(&self) -> &BTreeMap<AgentId, SessionState> {
        &self.sessions
    }

    /// The catalog in force.
    pub fn targets(&self) -> &BTreeMap<TargetId, Target> {
        &self.targets
    }

    fn catalog(&mut self, targets: BTreeMap<TargetId, Target>) -> Vec<Input> {
        let gone = self.targets.keys().filter(|id| !targets.contains_key(*id)).cloned().map(WorldChange::TargetRemoved);
        let new = targets
            .iter()
            .filter(|(id, target)| self.targets.get(*id) != Some(target))
            .map(|(id, target)| WorldChange::Target(id.clone(), Box::new(target.clone())));
        let changes = gone.chain(new).map(Input::World).collect();
        self.targets = targets;
        changes
    }

    fn batch(&mut self, agent: &AgentId, record: &Record) -> Result<Vec<Input>, ObserveError> {
        let batch = ResultBatch::decode(record.payload.as_slice())?;
        let facts = self.facts.entry(agent.clone()).or_default();
        if facts.incarnation != record.incarnation {
            *facts = FactsTable { incarnation: record.incarnation.clone(), facts: BTreeMap::new() };
        }
        facts.facts.extend(batch.facts.into_iter().map(|facts| (facts.number, facts)));
        let mut inputs = Vec::with_capacity(batch.results.len());
        for result in &batch.results {
            let Some(target) = self.tables.get(agent).and_then(|table| table.slots.get(&result.slot)).cloned() else {
                continue; // refused at ingest; a log from elsewhere may still hold it
            };
            let Some(outcome) = outcome(result) else { continue };
            if outcome == Outcome::Passed {
                inputs.extend(self.learn(agent, &target, result.facts));
            }
            let at = Timestamp::from_micros(convert::micros(result.started_at.as_ref()).unwrap_or_default());
            // Nothing starts after it has arrived: a clock that runs ahead is cut back.
            let at = at.min(record.received_at);
            inputs.push(Input::Observation(Observation {
                received_at: record.received_at,
                status: u16::try_from(result.status).ok().filter(|status| *status != 0),
                is_on_demand: result.on_demand,
                ..Observation::new(agent.clone(), target, at, outcome)
            }));
        }
        Ok(inputs)
    }

    /// What healthy probes see of a target, when most agents see it the same way.
    fn learn(&mut self, agent: &AgentId, target: &TargetId, facts: u32) -> Option<Input> {
        let facts = self.facts.get(agent)?.facts.get(&facts)?;
        let learned = self.learner.learn(agent, target, &Sighting::of(facts))?;
        Some(Input::World(WorldChange::Learned(target.clone(), learned)))
    }
}

/// How a result ended; `None` when it contradicts itself.
pub fn outcome(result: &wire::ProbeResult) -> Option<Outcome> {
    let set = |n: i32| n != 0;
    match result.outcome() {
        wire::Outcome::Passed => {
            let plain = !set(result.layer) && !set(result.cause) && !set(result.reason);
            plain.then_some(Outcome::Passed)
        }
        wire::Outcome::Failed if !set(result.reason) => {
            let layer: Layer = word(result.layer()).parse().ok()?;
            let cause: Cause = word(result.cause()).parse().ok()?;
            Some(Outcome::Failed { layer, cause })
        }
        wire::Outcome::Unmeasured if !set(result.layer) && !set(result.cause) => {
            let reason: Reason = word(result.reason()).parse().ok()?;
            Some(Outcome::Unmeasured { reason })
        }
        _ => None,
    }
}

/// An address from its bytes.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests;
