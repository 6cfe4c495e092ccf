//! Records of the log: every input of the fold, in one envelope.
//!
//! An envelope is `{format, kind, received_at, agent, incarnation, epoch, lane, number, crc32c, payload}`; the payload is
//! the protobuf message as it came for a batch, JSON for the coordinator's own records, but for ranges, which
//! [`crate::ranges::compact`] specifies. Format 1 has the checksum of the payload alone; format 2 has that of the payload
//! and after it the envelope: kind, `received_at`, epoch, lane and number (little-endian), incarnation, agent. Both are read.

use std::collections::BTreeMap;

use bytes::Bytes;
use faultline_attribution::{Remark, Saying, SessionState, Target, TargetId, Timestamp, Vantage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Format that this build writes.
pub const FORMAT: u8 = 2;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// What is left of a record that cannot be read: never written, and its payload says why, in words.
    Damaged = 0,
    /// A batch of results, as it came.
    Batch = 1,
    /// An agent's slot table: which number means which target.
    Assignment = 2,
    /// The catalog in force, whole.
    Catalog = 3,
    /// An agent's place.
    Vantage = 4,
    /// The passing of time.
    Tick = 5,
    /// An agent's session came, fell silent or ended.
    Session = 6,
    /// The published address ranges in force.
    Ranges = 7,
    /// What a person wrote beside an incident.
    Note = 8,
    /// That a person took an incident back. Its `agent` is the incident: the newest of each outlives old results.
    Retraction = 9,
    /// How an agent stands from then on: whether what it measures counts.
    Standing = 10,
}

impl RecordKind {
    /// The kind of this number.
    pub fn of(number: u8) -> Option<Self> {
        [
            Self::Batch,
            Self::Assignment,
            Self::Catalog,
            Self::Vantage,
            Self::Tick,
            Self::Session,
            Self::Ranges,
            Self::Note,
            Self::Retraction,
            Self::Standing,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// Coordinator clock at ingest.
    pub received_at: Timestamp,
    /// Whose it is: an agent's, or the incident that a retraction is of; empty for the coordinator's own.
    pub agent: String,
    /// The spool that numbered it; empty but for batches.
    pub incarnation: Vec<u8>,
    /// Session in which it came.
    pub epoch: u64,
    /// Lane, for batches.
    pub lane: u8,
    /// Number in the lane, for batches.
    pub number: u64,
    /// Content, by kind.
    pub payload: Bytes,
}

/// A payload that is not what its kind says.
#[derive(Debug, thiserror::Error)]
#[error("record of kind {kind:?}: unreadable payload")]
pub struct PayloadError {
    kind: RecordKind,
    source: serde_json::Error,
}

/// Content of an assignment record: the whole slot table of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTable {
    /// Version pushed to the agent.
    pub version: u64,
    /// Checksum of what was pushed.
    pub digest: u32,
    /// Slots in force and in the past: a slot is never used twice.
    pub slots: BTreeMap<u32, TargetId>,
}

/// Content of a catalog record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRecord {
    /// Every target.
    pub targets: BTreeMap<TargetId, Target>,
}

/// Content of a session record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// What became of it.
    pub state: SessionState,
    /// Since when: for silence, when the agent was last heard of.
    pub since: Timestamp,
}

impl Record {
    /// A record of the coordinator's own about an agent (or about none), with JSON content.
    pub fn own<T: Serialize>(kind: RecordKind, received_at: Timestamp, agent: &str, content: &T) -> Self {
        let payload = serde_json::to_vec(content).unwrap_or_default().into();
        Self { payload, ..Self::empty(kind, received_at, agent) }
    }

    /// The passing of time.
    pub fn tick(now: Timestamp) -> Self {
        Self::empty(RecordKind::Tick, now, "")
    }

    /// What a person said of an incident.
    pub fn remark(received_at: Timestamp, remark: &Remark) -> Self {
        match remark.saying {
            Saying::Note { .. } => Self::own(RecordKind::Note, received_at, "", remark),
            Saying::Retraction { .. } => {
                Self::own(RecordKind::Retraction, received_at, remark.of.incident.as_str(), remark)
            }
        }
    }

    /// Published ranges, in their compact form.
    pub fn ranges(received_at: Timestamp, compact: Vec<u8>) -> Self {
        Self { payload: compact.into(), ..Self::empty(RecordKind::Ranges, received_at, "") }
    }

    /// What is left of a record that cannot be read.
    pub fn damaged(why: String) -> Self {
        let at = Timestamp::from_micros(0);
        Self { payload: why.into_bytes().into(), ..Self::empty(RecordKind::Damaged, at, "") }
    }

    /// The checksum of a record of this format; `None` for a format that this build does not know.
    pub fn checksum(&self, format: u8) -> Option<u32> {
        let payload = crc32c::crc32c(&self.payload);
        let parts: [&[u8]; 7] = [
            &[self.kind as u8],
            &self.received_at.micros().to_le_bytes(),
            &self.epoch.to_le_bytes(),
            &[self.lane],
            &self.number.to_le_bytes(),
            &self.incarnation,
            self.agent.as_bytes(),
        ];
        match format {
            1 => Some(payload),
            FORMAT => Some(parts.iter().fold(payload, |sum, part| crc32c::crc32c_append(sum, part))),
            _ => None,
        }
    }

    fn empty(kind: RecordKind, received_at: Timestamp, agent: &str) -> Self {
        Self {
            kind,
            received_at,
            agent: agent.to_owned(),
            incarnation: Vec::new(),
            epoch: 0,
            lane: 0,
            number: 0,
            payload: Bytes::new(),
        }
    }

    /// The JSON content.
    pub fn content<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_slice(&self.payload).map_err(|source| PayloadError { kind: self.kind, source })
    }

    /// The place of an agent, of a vantage record.
    pub fn vantage(&self) -> Result<Vantage, PayloadError> {
        self.content()
    }
}
