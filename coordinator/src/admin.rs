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
mod tokens;
pub mod words;

use std::fmt;

use faultline_attribution::Timestamp;
use faultline_proto::join::JoinString;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    desk::{Desk, Signers},
    socket::{Listening, serve},
};
pub use self::{
    socket::{AskError, SocketError, ask},
    words::{MAX_LINK, MAX_TEXT},
};

use crate::{
    enroll::strings::{Standing, Wanted},
    pki::rotation::Phase,
    registry::standing::State,
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
    /// Make a join string.
    CreateToken(Box<Wanted>),
    /// Tell of every join string.
    ListTokens {},
    /// Take a join string back.
    RevokeToken(RevokeToken),
    /// Let an agent stand otherwise.
    Stand(Stand),
    /// Tell how far the rotation of the certificate authority is, and go on with it.
    Ca(Ca),
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

/// A join string to be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Which.
    pub id: String,
    /// Whether the agents that joined with it are revoked, too.
    #[serde(default)]
    pub with_agents: bool,
}

/// A look at the rotation of the certificate authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ca {
    /// Whether the next step is taken when every agent is ready for it.
    #[serde(default)]
    pub go_on: bool,
    /// Whether it is taken when some are not, who may then be lost.
    #[serde(default)]
    pub force: bool,
}

/// How an agent shall stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stand {
    /// Which.
    pub agent: String,
    /// How.
    pub state: State,
    /// Why; plain text of at most [`MAX_REASON`](crate::registry::standing::MAX_REASON) characters.
    pub reason: String,
    /// Verdicts are looked at again without what it measured from then on. With [`State::Quarantined`] and [`State::Revoked`]
    /// alone.
    #[serde(default)]
    pub distrust_since: Option<Timestamp>,
}

impl Call {
    /// Its word, as in the audit record.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Annotate(_) => "annotate",
            Self::Retract(_) => "retract",
            Self::AddWork(_) => "add_work",
            Self::CancelWork(_) => "cancel_work",
            Self::CreateToken(_) => "create_token",
            Self::ListTokens {} => "list_tokens",
            Self::RevokeToken(_) => "revoke_token",
            Self::Stand(_) => "stand",
            Self::Ca(Ca { go_on: false, .. }) => "look_at_ca",
            Self::Ca(_) => "rotate_ca",
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done(Done),
    /// It is not, and why.
    Refused(Refused),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Something was published.
    Published {
        /// Of which incident.
        incident: String,
        /// The revision that says it.
        revision: u64,
    },
    /// Planned work was announced, or called off.
    Planned {
        /// Which.
        id: String,
    },
    /// A join string was made.
    Made {
        /// The join string whole, which is not kept.
        join_string: String,
        /// Until when it is good.
        expires_at: Timestamp,
    },
    /// Every join string, without its secret.
    Listed(Vec<ListedToken>),
    /// A join string was taken back.
    Revoked {
        /// Which.
        id: String,
        /// The agents that joined with it; they stay, unless it is said that they were revoked, too.
        agents: Vec<String>,
        /// Those of them that were revoked with it.
        #[serde(default)]
        with_agents: Vec<String>,
    },
    /// How far the rotation is.
    Ca(Rotation),
    /// An agent stands otherwise.
    Stands {
        /// Which.
        agent: String,
        /// How.
        state: State,
        /// How it stood before.
        before: State,
        /// Whether past verdicts are looked at again; what comes of it stands in the audit record.
        #[serde(default)]
        is_looked_at_again: bool,
    },
}

/// How far the rotation of the certificate authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// After this call.
    pub phase: Phase,
    /// Whether a step was taken by it.
    pub has_gone_on: bool,
    /// Agents that are ready for the next step; all of them before the first.
    pub ready: Vec<String>,
    /// Those that are not, and why.
    pub waiting: Vec<(String, String)>,
}

/// What is told of a join string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedToken {
    /// Its id.
    pub id: String,
    /// How it is.
    pub standing: Standing,
    /// The first part of the names of those who join with it; may be empty.
    pub label: String,
    /// Agents that may join with it.
    pub uses: u32,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// The agents that joined with it.
    pub agents: Vec<String>,
}

impl fmt::Display for Done {
    /// As in the audit record: without a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published { incident, revision } => write!(f, "{incident} revision {revision}"),
            Self::Planned { id } => f.write_str(id),
            Self::Made { join_string, expires_at } => match join_string.parse::<JoinString>() {
                Ok(JoinString { id, .. }) => write!(f, "join string {id}, good until {expires_at}"),
                Err(_) => write!(f, "a join string, good until {expires_at}"),
            },
            Self::Listed(all) => write!(f, "{} join strings", all.len()),
            Self::Revoked { id, .. } => write!(f, "join string {id}"),
            Self::Ca(Rotation { phase, has_gone_on, waiting, .. }) => {
                let took = if *has_gone_on { "a step was taken" } else { "no step was taken" };
                write!(f, "{took}: {phase:?}, {} agents waited for", waiting.len())
            }
            Self::Stands { agent, state, before, .. } => {
                write!(f, "agent {agent} is {}, and was {}", state.word(), before.word())
            }
        }
    }
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

impl Refused {
    pub(crate) fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }
}
