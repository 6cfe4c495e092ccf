//! What the core is told, and what it says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    change::{CellChange, Change, Visibility},
    time::Timestamp,
    vocabulary::{Layer, Outcome},
    world::{AgentId, TargetId, WorldChange},
};

/// One run as the core is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Who looked.
    pub agent: AgentId,
    /// At what.
    pub target: TargetId,
    /// Start of the run.
    pub at: Timestamp,
    /// When the coordinator got it.
    pub received_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whom the name was asked of.
    pub way: Way,
    /// Who wrote the answer, where that shows.
    pub maker: Option<Maker>,
    /// Time that the run took.
    pub took: Option<Duration>,
    /// The layer at which it spent most of that; where that is unknown, the last one is taken for it.
    pub slowest: Option<Layer>,
    /// Arrived long after its end, or with the backlog of an agent that was cut off: corrects, but opens nothing.
    pub is_late: bool,
    /// The agent's clock was wrong: the run happened when its result arrived, as far as anybody knows.
    pub is_clock_suspect: bool,
    /// Asked for by [`LookAgain`] instead of the schedule.
    pub is_on_demand: bool,
}

impl Observation {
    /// A run of the schedule through the agent's own resolver, of which only the outcome is known.
    pub fn new(agent: AgentId, target: TargetId, at: Timestamp, outcome: Outcome) -> Self {
        Self {
            agent,
            target,
            at,
            received_at: at,
            outcome,
            status: None,
            way: Way::default(),
            maker: None,
            took: None,
            slowest: None,
            is_late: false,
            is_clock_suspect: false,
            is_on_demand: false,
        }
    }
}

/// Whom the name was asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// The agent's own resolver.
    #[default]
    System,
    /// This resolver, by address or name.
    Resolver(String),
    /// One of the zone's own name servers: no resolver stands between.
    Authority(String),
}

/// Who wrote an HTTP answer behind a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Maker {
    /// The CDN's edge.
    Edge,
    /// The origin: the edge passed its answer on.
    Origin,
}

/// A look that would tell the remaining explanations apart: this agent, at this target, now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LookAgain {
    /// Who should look.
    pub agent: AgentId,
    /// At what.
    pub target: TargetId,
}

/// What became of an agent's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// It is connected and speaks.
    Up,
    /// It has not been heard of for longer than it should, and did not say goodbye.
    Silent,
    /// It said goodbye.
    Goodbye,
}

/// A change of an agent's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionChange {
    /// Whose.
    pub agent: AgentId,
    /// Since when: for silence, when the agent was last heard of.
    pub at: Timestamp,
    /// What.
    pub state: SessionState,
}

/// What a person says of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    /// The incident, as it was published when the person spoke: it may have ended long ago.
    pub of: Change,
    /// What.
    pub saying: Saying,
}

/// What may be said of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saying {
    /// Something to be read beside it. Nothing is concluded from it.
    Note {
        /// Plain text.
        text: String,
        /// Where to read more: http or https, or empty.
        link: String,
    },
    /// That it is wrong. It is taken back in public, and does not open again while its evidence lasts.
    Retraction {
        /// Why, in plain text.
        reason: String,
    },
}

/// What the core is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A run.
    Observation(Observation),
    /// Targets, agents or what was learned of them changed.
    World(WorldChange),
    /// A session came, fell silent or ended.
    Session(SessionChange),
    /// Nothing that this agent reported since then counts.
    Distrust {
        /// Who.
        agent: AgentId,
        /// Since when.
        since: Timestamp,
    },
    /// A person said something of an incident.
    Remark(Box<Remark>),
}

/// What the core says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A revision of an incident.
    Change(Box<Change>),
    /// A cell of the matrix shows something else.
    Cell(CellChange),
    /// We see better or worse than before.
    Visibility(Visibility),
    /// A look would tell the remaining explanations apart.
    LookAgain(LookAgain),
}

/// A snapshot that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Made by another version of the engine: rebuild from the log.
    #[error("the snapshot is of engine version {found}, this is version {}", crate::ENGINE_VERSION)]
    Version {
        /// The version found.
        found: u32,
    },
    /// Not a snapshot, or a damaged one.
    #[error("the snapshot cannot be read")]
    Unreadable(#[from] postcard::Error),
}
