//! Kept: what a snapshot keeps of the observer.
//!
//! Everything, in postcard, but for what follows from the rest. Rules: facts that are alike are kept once, in the order in
//! which agents and their numbers first refer to them; what they are read as and how votes count is made anew. Ranges are
//! kept as the bytes of their record. Maps that have no order are written in that of their keys, so that equal observers
//! have equal bytes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use faultline_attribution::AgentId;
use faultline_proto::types::v1 as wire;
use prost::Message as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{FactsOfAgent, Observer, pool::Held, share_names};
use crate::ranges::{Ranges, compact::CompactError};

/// Bytes that are no observer of this build.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not postcard, or not these fields.
    #[error("the observer cannot be read: {0}")]
    Encoding(#[from] postcard::Error),
    /// Something is left at their end.
    #[error("the observer ends {0} bytes before its bytes do")]
    TooLong(usize),
    /// Its facts are none.
    #[error("the observer holds facts that cannot be read: {0}")]
    Facts(#[from] prost::DecodeError),
    /// A number of facts means facts that are not there.
    #[error("the observer refers to facts {0}, which it does not hold")]
    NoFacts(u32),
    /// Its ranges are none.
    #[error("the observer: {0}")]
    Ranges(#[from] CompactError),
}

/// Facts of all agents.
#[derive(Default, Serialize, Deserialize)]
struct KeptFacts {
    distinct: Vec<Distinct>,
    /// Of each agent, the newest incarnation last.
    tables: BTreeMap<AgentId, Vec<Table>>,
}

/// Facts as they are kept: their message without the headers, which have no order in it, and the headers.
#[derive(Serialize, Deserialize)]
struct Distinct {
    message: Vec<u8>,
    edge: BTreeMap<String, String>,
}

/// Facts of an agent's incarnation, by their place among the distinct.
#[derive(Serialize, Deserialize)]
struct Table {
    incarnation: Vec<u8>,
    facts: BTreeMap<u32, u32>,
}

impl Observer {
    /// The whole state. Equal observers have equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&(self, KeptFacts::of(&self.facts))).unwrap_or_default()
    }

    /// The observer of a snapshot.
    pub fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        let ((mut observer, kept), rest): ((Self, KeptFacts), &[u8]) = postcard::take_from_bytes(snapshot)?;
        if !rest.is_empty() {
            return Err(RestoreError::TooLong(rest.len()));
        }
        let mut distinct = Vec::with_capacity(kept.distinct.len());
        for Distinct { message, edge } in kept.distinct {
            let plain = wire::Facts::decode(message.as_slice())?;
            distinct.push(observer.pool.hold(wire::Facts { edge: edge.into_iter().collect(), ..plain }));
        }
        for (agent, tables) in kept.tables {
            let mut known = FactsOfAgent::default();
            for Table { incarnation, facts } in tables {
                let facts = facts.into_iter().map(|(number, place)| {
                    let held = usize::try_from(place).ok().and_then(|place| distinct.get(place));
                    Ok((number, Arc::clone(held.ok_or(RestoreError::NoFacts(place))?)))
                });
                known.come_back(incarnation, facts.collect::<Result<_, RestoreError>>()?);
            }
            observer.facts.insert(agent, known);
        }
        let targets = &observer.targets;
        observer.tables.values_mut().for_each(|table| share_names(targets, table));
        let ranges = if observer.ranges.is_empty() { Ranges::default() } else { Ranges::from_bytes(&observer.ranges)? };
        observer.learner.come_back(Arc::new(ranges));
        Ok(observer)
    }
}

impl KeptFacts {
    fn of(agents: &BTreeMap<AgentId, FactsOfAgent>) -> Self {
        let (mut kept, mut places) = (Self::default(), HashMap::new());
        for (agent, known) in agents {
            let mut tables = Vec::new();
            for (incarnation, facts) in known.tables() {
                let facts = facts.iter().map(|(number, held)| {
                    // What is alike is held once, so that the place in memory tells it apart.
                    let place = *places.entry(Arc::as_ptr(held)).or_insert_with(|| {
                        kept.distinct.push(Distinct::of(held));
                        u32::try_from(kept.distinct.len() - 1).unwrap_or(u32::MAX)
                    });
                    (*number, place)
                });
                tables.push(Table { incarnation: incarnation.to_vec(), facts: facts.collect() });
            }
            kept.tables.insert(agent.clone(), tables);
        }
        kept
    }
}

impl Distinct {
    fn of(held: &Held) -> Self {
        let mut plain = held.0.clone();
        let edge = std::mem::take(&mut plain.edge).into_iter().collect();
        Self { message: plain.encode_to_vec(), edge }
    }
}

/// Writes a map that has no order in that of its keys.
pub(super) fn in_order<K: Ord + Serialize, V: Serialize, H, S: Serializer>(
    map: &HashMap<K, V, H>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
}
