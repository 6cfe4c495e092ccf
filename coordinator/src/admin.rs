//! Admin: what operators do to a running coordinator, over a Unix socket `admin.sock` in its data directory.
//!
//! The protocol: whoever connects sends one JSON object, a [`Call`], of at most 64 KiB, and ends its side; it is sent one JSON
//! object, an [`Answer`], and the connection is closed. `{"annotate":{"incident":"inc-...","text":"..."}}`
//!
//! Rules: the socket is the coordinator's user's and root's alone (mode 0600); what a dead coordinator left is replaced, a
//! living one's socket never. Nothing is done that is not in the audit record first ([`audit`]), with the peer's uid as the
//! kernel says it. Acts are one at a time, and each has a deadline; an answer that it is done is given once it is durable and
//! published. [`words`] says what text a person may publish.

pub mod audit;
mod desk;
mod socket;
pub mod words;

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    desk::Desk,
    socket::{Listening, serve},
};
pub use self::{
    socket::{AskError, SocketError, ask},
    words::{MAX_LINK, MAX_TEXT},
};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "admin.sock";

/// What is asked of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Publish a note beside an incident.
    Annotate(Annotate),
    /// Take an incident back in public.
    Retract(Retract),
    /// Announce planned work.
    AddWork(AddWork),
    /// Call planned work off.
    CancelWork(CancelWork),
}

/// A note for an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotate {
    /// Which.
    pub incident: String,
    /// What; plain text of at most [`MAX_TEXT`] characters.
    pub text: String,
    /// Where to read more: http or https, or empty.
    #[serde(default)]
    pub link: String,
}

/// A retraction of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retract {
    /// Which.
    pub incident: String,
    /// Why; plain text of at most [`MAX_TEXT`] characters.
    pub reason: String,
}

/// An announcement of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddWork {
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// What will be done; plain text of at most [`MAX_TEXT`] characters.
    pub text: String,
    /// Where to read more: http or https, or empty.
    #[serde(default)]
    pub link: String,
    /// What it touches; at most [`work::ELEMENTS`](crate::work::ELEMENTS), empty for what is not said.
    #[serde(default)]
    pub elements: Vec<String>,
}

/// Planned work that will not be done, or ends early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelWork {
    /// Which.
    pub id: String,
    /// Why; plain text of at most [`MAX_TEXT`] characters.
    pub reason: String,
}

impl Call {
    /// Its word, as in the audit record.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Annotate(_) => "annotate",
            Self::Retract(_) => "retract",
            Self::AddWork(_) => "add_work",
            Self::CancelWork(_) => "cancel_work",
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done and published.
    Done(Done),
    /// It is not, and why.
    Refused(Refused),
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Of which incident, or which planned work.
    pub id: String,
    /// The revision of the incident that says it; planned work has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What kind of reason.
    pub why: Why,
    /// In words for people, with what to do.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// What was asked is not well formed.
    Malformed,
    /// There is no such thing.
    Unknown,
    /// It is not in a state for it.
    State,
    /// It could not be done, or not in time.
    Failed,
}

impl Done {
    /// "inc-20251029T154113Z-1 revision 3".
    pub fn what(&self) -> String {
        let revision = self.revision.map(|revision| format!(" revision {revision}"));
        format!("{}{}", self.id, revision.unwrap_or_default())
    }
}

impl Refused {
    pub(crate) fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }
}
