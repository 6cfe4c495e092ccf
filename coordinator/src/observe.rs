//! Observe: from records of the log to what the core is told.
//!
//! Holds what is needed to read a batch: slot tables, facts by number, and what healthy probes saw of each target; and what
//! batches say was lost. Pure: the same records give the same inputs.

pub mod edges;
mod facts;
pub mod kept;
pub mod learn;
pub mod lost;
pub mod operators;
mod pool;
pub mod run;
pub mod stamps;
mod word;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use faultline_attribution::{
    AgentId, Cause, Input, Layer, Learned, Outcome, ProbeKind, Reason, SessionChange, SessionState, Target, TargetId,
    Timestamp, Vantage, WorldChange,
};
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1 as wire,
    word,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use self::{
    facts::FactsOfAgent,
    learn::{Learner, Reading},
    lost::Lost,
    pool::Pool,
    run::Run,
    stamps::Stamps,
};
use crate::{
    ranges::{Ranges, compact::CompactError},
    record::{CatalogRecord, PayloadError, Record, RecordKind, SessionRecord, SlotTable},
    registry::standing::Standing,
};

/// What an agent saw is forgotten once it has been gone for so long: then those that look decide what is learned.
const GONE: Duration = Duration::from_hours(1);

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The log cannot give it back as it was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Its payload is not what its kind says.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Its batch is not a batch.
    #[error("record of a batch: unreadable payload")]
    Batch(#[from] prost::DecodeError),
    /// Its ranges are none.
    #[error(transparent)]
    Ranges(#[from] CompactError),
}

/// Reads records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Observer {
    targets: BTreeMap<TargetId, Target>,
    vantages: BTreeMap<AgentId, Vantage>,
    tables: BTreeMap<AgentId, SlotTable>,
    sessions: BTreeMap<AgentId, SessionState>,
    /// Of those of whom it was ever said.
    standings: BTreeMap<AgentId, Standing>,
    #[serde(skip)]
    facts: BTreeMap<AgentId, FactsOfAgent>,
    #[serde(skip)]
    pool: Pool,
    lost: BTreeMap<AgentId, Lost>,
    learner: Learner,
    gone: BTreeSet<(Timestamp, AgentId)>,
    /// The record of the ranges in force, as it came.
    ranges: Vec<u8>,
}

impl Observer {
    /// What the core is told of a record.
    pub fn observe(&mut self, record: &Record) -> Result<Vec<Input>, ObserveError> {
        let agent = AgentId::from(record.agent.as_str());
        Ok(match record.kind {
            RecordKind::Batch => return self.batch(&agent, record),
            RecordKind::Assignment => {
                let mut table: SlotTable = record.content()?;
                share_names(&self.targets, &mut table);
                self.tables.insert(agent, table);
                Vec::new()
            }
            RecordKind::Catalog => self.catalog(record.content::<CatalogRecord>()?.targets),
            RecordKind::Vantage => {
                let vantage = record.vantage()?;
                self.vantages.insert(agent.clone(), vantage.clone());
                let change = self.counts(&agent).then(|| WorldChange::Vantage(agent, Box::new(vantage)));
                change.into_iter().map(Input::World).collect()
            }
            RecordKind::Session => {
                let SessionRecord { state, since } = record.content()?;
                self.sessions.insert(agent.clone(), state);
                self.gone.retain(|(_, other)| *other != agent);
                if state != SessionState::Up {
                    self.gone.insert((record.received_at, agent.clone()));
                }
                let change = self.counts(&agent).then_some(SessionChange { agent, at: since, state });
                change.into_iter().map(Input::Session).collect()
            }
            RecordKind::Ranges => {
                let ranges = Arc::new(Ranges::from_bytes(&record.payload)?);
                self.ranges = record.payload.to_vec();
                let learned = self.learner.set_ranges(ranges).into_iter();
                learned.map(|(target, learned)| Input::World(WorldChange::Learned(target, learned))).collect()
            }
            RecordKind::Note | RecordKind::Retraction => vec![Input::Remark(Box::new(record.content()?))],
            RecordKind::Standing => self.stand(agent, record.content()?, record.received_at),
            RecordKind::Tick => Vec::new(),
            RecordKind::Damaged => {
                return Err(ObserveError::Damaged(String::from_utf8_lossy(&record.payload).into_owned()));
            }
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

    /// How agents stand of whom it was ever said.
    pub fn standings(&self) -> &BTreeMap<AgentId, Standing> {
        &self.standings
    }

    /// Whether what this agent measures counts.
    fn counts(&self, agent: &AgentId) -> bool {
        self.standings.get(agent).is_none_or(|standing| standing.state.counts())
    }

    /// Takes an agent out of the world of the core while it does not count, and back into it.
    fn stand(&mut self, agent: AgentId, standing: Standing, at: Timestamp) -> Vec<Input> {
        let (counted, counts) = (self.counts(&agent), standing.state.counts());
        self.standings.insert(agent.clone(), standing);
        if counted == counts {
            return Vec::new();
        }
        let Some(vantage) = self.vantages.get(&agent).cloned() else { return Vec::new() };
        if counts {
            let state = self.sessions.get(&agent).copied().unwrap_or(SessionState::Goodbye);
            let change = WorldChange::Vantage(agent.clone(), Box::new(vantage));
            return vec![Input::World(change), Input::Session(SessionChange { agent, at, state })];
        }
        self.learner.forget_agent(&agent);
        let goodbye = SessionChange { agent: agent.clone(), at, state: SessionState::Goodbye };
        vec![Input::Session(goodbye), Input::World(WorldChange::VantageRemoved(agent))]
    }

    /// The catalog in force.
    pub fn targets(&self) -> &BTreeMap<TargetId, Target> {
        &self.targets
    }

    /// What healthy probes saw of targets.
    pub fn learned(&self) -> BTreeMap<TargetId, Learned> {
        self.learner.learned().map(|(target, learned)| (target.clone(), learned.clone())).collect()
    }

    /// The published ranges in force.
    pub fn ranges(&self) -> &Arc<Ranges> {
        self.learner.ranges()
    }

    fn catalog(&mut self, targets: BTreeMap<TargetId, Target>) -> Vec<Input> {
        let gone = self.targets.keys().filter(|id| !targets.contains_key(*id)).cloned().map(WorldChange::TargetRemoved);
        let new = targets
            .iter()
            .filter(|(id, target)| self.targets.get(*id) != Some(target))
            .map(|(id, target)| WorldChange::Target(id.clone(), Box::new(target.clone())));
        let changes = gone.chain(new).map(Input::World).collect();
        // What was seen of a target says nothing of another one by its name.
        for (id, _) in self.targets.iter().filter(|(id, target)| targets.get(*id) != Some(target)) {
            self.learner.forget_target(id);
        }
        self.targets = targets;
        changes
    }

    /// What agents lost, since the log begins.
    pub fn lost(&self) -> &BTreeMap<AgentId, Lost> {
        &self.lost
    }

    /// The batch of a record. Its facts are known from here on, and what it says was lost is counted.
    pub fn read_batch(&mut self, record: &Record) -> Result<ResultBatch, ObserveError> {
        let mut batch = ResultBatch::decode(&*record.payload)?;
        let agent = AgentId::from(record.agent.as_str());
        if !batch.losses.is_empty() {
            self.lost.entry(agent.clone()).or_default().add(&batch.losses, record.received_at);
        }
        let announced = std::mem::take(&mut batch.facts);
        self.facts.entry(agent).or_default().announce(&mut self.pool, &record.incarnation, announced);
        Ok(batch)
    }

    /// What an agent's slot means.
    pub fn target_of(&self, agent: &AgentId, slot: u32) -> Option<&TargetId> {
        self.tables.get(agent)?.slots.get(&slot)
    }

    /// What a number of facts means in an agent's incarnation.
    pub fn facts_of(&self, agent: &AgentId, incarnation: &[u8], number: u32) -> Option<&wire::Facts> {
        self.facts.get(agent)?.of(incarnation, number).map(|held| &held.0)
    }

    fn batch(&mut self, agent: &AgentId, record: &Record) -> Result<Vec<Input>, ObserveError> {
        let batch = self.read_batch(record)?;
        while let Some((at, _)) = self.gone.first()
            && record.received_at.since(*at) >= GONE
            && let Some((_, agent)) = self.gone.pop_first()
        {
            self.learner.forget_agent(&agent);
        }
        if !self.counts(agent) {
            return Ok(Vec::new());
        }
        let stamps = Stamps::of(&batch, record.received_at);
        let slots = self.tables.get(agent).map(|table| &table.slots);
        let facts = self.facts.get(agent).and_then(|facts| facts.incarnation(&record.incarnation));
        let mut inputs = Vec::with_capacity(batch.results.len());
        for result in &batch.results {
            let Some(id) = slots.and_then(|slots| slots.get(&result.slot)) else {
                continue; // refused at ingest; a log from elsewhere may still hold it
            };
            let Some(outcome) = outcome(result) else { continue };
            let target = self.targets.get(id);
            let held = facts.and_then(|facts| facts.get(&result.facts));
            if outcome == Outcome::Passed {
                let sighting = (target, held.map(|held| &held.1));
                inputs.extend(learn(&mut self.learner, (agent, id), sighting, result));
            }
            let run = run((record, stamps), (target, held.map(|held| &held.0)), result, outcome);
            inputs.push(Input::Observation(run.observation(agent.clone(), id.clone())));
        }
        Ok(inputs)
    }
}

/// Lets a table name its targets by the catalog's own names: each agent has a table, and nearly the same one.
fn share_names(targets: &BTreeMap<TargetId, Target>, table: &mut SlotTable) {
    for id in table.slots.values_mut() {
        if let Some((held, _)) = targets.get_key_value(id) {
            *id = held.clone();
        }
    }
}

/// What is known of a run.
fn run(
    (record, stamps): (&Record, Stamps),
    (target, facts): (Option<&Target>, Option<&wire::Facts>),
    result: &wire::ProbeResult,
    outcome: Outcome,
) -> Run {
    let status = u16::try_from(result.status).ok().filter(|status| *status != 0);
    let header = |name: &str| facts.and_then(|facts| facts.edge.get(name)).map(String::as_str);
    let failed_with = status.filter(|_| matches!(outcome, Outcome::Failed { .. }));
    let timings = result.timings.unwrap_or_default();
    let slowest = run::slowest([
        (Layer::Dns, timings.dns_us.into()),
        (Layer::Connect, timings.connect_us.into()),
        (Layer::Tls, timings.tls_us.into()),
        (Layer::Http, u64::from(timings.first_byte_us) + u64::from(timings.body_us)),
    ]);
    Run {
        at: stamps.began(result),
        received_at: record.received_at,
        outcome,
        status,
        way: run::way(facts.map_or("", |facts| &facts.resolver), target),
        maker: failed_with.and_then(|status| edges::maker(header, status)),
        took: (timings.total_us != 0).then(|| Duration::from_micros(timings.total_us.into())),
        slowest,
        is_backlog: i32::from(record.lane) == Lane::Backfill as i32,
        is_clock_suspect: stamps.is_clock_suspect,
        is_on_demand: result.on_demand,
    }
}

/// What healthy probes see of a target, when most agents see it the same way.
fn learn(
    learner: &mut Learner,
    (agent, id): (&AgentId, &TargetId),
    (target, reading): (Option<&Target>, Option<&Reading>),
    result: &wire::ProbeResult,
) -> Option<Input> {
    // The address of a dns run is that of the server that was asked.
    let is_dns = target.is_some_and(|target| target.probe == ProbeKind::Dns);
    let address = address(&result.address).filter(|_| !is_dns);
    if reading.is_none() && address.is_none() {
        return None; // a run that saw nothing teaches nothing
    }
    let news = learner.learn_from(agent, id, reading.unwrap_or(&Reading::default()), address)?;
    Some(Input::World(WorldChange::Learned(id.clone(), news)))
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
    convert::address(bytes).ok().flatten()
}

#[cfg(test)]
mod tests;
