//! The pure core of Faultline: what agents observed goes in, incidents with onset, confidence, evidence and alibis
//! come out.
//!
//! Rules: no I/O, no clock, no async, no random order. Time is an argument ([`Engine::advance`]), every collection is
//! ordered, so the same inputs give the same outputs byte for byte. One direction: [`world`] and `window` hold what
//! is known, `inference` explains it, `incident` gives the explanation a life, [`change`] is what is published.

mod assessment;
pub mod assumption;
pub mod change;
#[cfg(test)]
mod dice;
pub mod element;
mod engine;
mod evidence;
mod exercise;
pub mod explanation;
pub mod identifiability;
mod incident;
mod inference;
mod known;
mod look_again;
mod matrix;
mod onset;
pub mod settings;
mod spells;
mod time;
mod visibility;
pub mod vocabulary;
mod window;
pub mod world;

pub use change::{
    Alibi, CellChange, CellState, Change, EvidenceRow, IncidentId, MAX_NOTES, Note, Probabilities, Suspect, Visibility,
};
pub use element::{Element, ElementKind};
pub use engine::{
    Engine, Input, LookAgain, Maker, Observation, Output, Remark, Saying, SessionChange, SessionState, SnapshotError,
    Way,
};
pub use exercise::elements_of;
pub use explanation::{Explanation, Residual, Residuals};
pub use settings::Settings;
pub use time::Timestamp;
pub use vocabulary::{Cause, Kind, Layer, Outcome, ProbeKind, Reason, State, Verdict};
pub use world::{AgentId, Learned, Target, TargetId, Vantage, World, WorldChange};

/// Version of the inference: stored with each incident, grows when the same inputs may give other outputs.
pub const ENGINE_VERSION: u32 = 10;
