//! Why somebody does not become an agent, or gets no new certificate; and what of that it is told.

use std::time::Duration;

use faultline_attribution::Timestamp;
use tonic::{Code, Status};

use super::machines::RECOVERIES;
use crate::refusal;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No join string has this id, or what was shown is none.
    #[error("no such join string")]
    Unknown,
    /// One has it, with another secret.
    #[error("the secret is not that of the join string")]
    WrongSecret,
    /// An operator took the join string back.
    #[error("the join string was revoked at {0}: ask for a new one")]
    Revoked(Timestamp),
    /// Its time is over.
    #[error("the join string was good until {0}: ask for a new one")]
    Expired(Timestamp),
    /// As many agents joined with it as may.
    #[error("the join string was good for {0} agents, and so many have joined: ask for a new one")]
    UsedUp(u32),
    /// The agent is not in the registry any more.
    #[error("agent {0} was deleted")]
    Deleted(String),
    /// The agent was revoked.
    #[error("agent {0} was revoked")]
    Barred(String),
    /// The challenge was not made here, for this agent, at this address, lately; or was used.
    #[error("the challenge is not good, or not any more: ask for another")]
    Challenge,
    /// No agent of this name is in the registry.
    #[error("no agent has this name")]
    Stranger,
    /// The agent bound none when it joined, or was issued by hand.
    #[error("the agent has no bound key")]
    NoBoundKey,
    /// What was signed was not signed by the agent's bound key.
    #[error("the signature is not that of the agent's bound key")]
    WrongKey,
    /// The agent asks from another machine than was accepted.
    #[error(
        "this is another machine than the one that was accepted, or a copy of it: an operator may accept it with \
         `faultline agent approve {0}`"
    )]
    OtherMachine(String),
    /// The agent recovered as often as it may.
    #[error(
        "the agent recovered {RECOVERIES} times already: an operator may let it with `faultline agent approve {0}`"
    )]
    Recovered(String),
    /// What was asked cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Too often; when to try again.
    #[error("too many attempts: try again in {} s", .0.as_secs().max(1))]
    RateLimit(Duration),
    /// The coordinator could not do it.
    #[error("{0}")]
    Failed(String),
}

impl Denied {
    /// The word for it in the audit record; never changes.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "TOKEN_UNKNOWN",
            Self::WrongSecret => "TOKEN_WRONG_SECRET",
            Self::Revoked(_) => "TOKEN_REVOKED",
            Self::Expired(_) => "TOKEN_EXPIRED",
            Self::UsedUp(_) => "TOKEN_USED_UP",
            Self::Deleted(_) | Self::Stranger => "AGENT_UNKNOWN",
            Self::Barred(_) => "AGENT_REVOKED",
            Self::Challenge => "CHALLENGE_INVALID",
            Self::NoBoundKey => "BOUND_KEY_MISSING",
            Self::WrongKey => "BOUND_KEY_WRONG",
            Self::OtherMachine(_) => "FINGERPRINT_CHANGED",
            Self::Recovered(_) => "RECOVERIES_USED_UP",
            Self::Malformed(_) => "MESSAGE_MALFORMED",
            Self::RateLimit(_) => "RATE_LIMIT",
            Self::Failed(_) => "COORDINATOR_BUSY",
        }
    }

    /// What whoever asked is told. A wrong secret is as good as an id that is not there, a wrong key as a name that is not there,
    /// and what failed in here is for the log alone.
    pub fn status(&self) -> Status {
        let (code, told) = match self {
            Self::Unknown | Self::WrongSecret => (Code::Unauthenticated, &Self::Unknown),
            Self::Stranger | Self::NoBoundKey | Self::WrongKey => {
                return refusal::status(
                    Code::Unauthenticated,
                    "RECOVERY_REFUSED",
                    "no agent of this name has this key",
                );
            }
            Self::Challenge => (Code::FailedPrecondition, self),
            Self::Revoked(_)
            | Self::Expired(_)
            | Self::UsedUp(_)
            | Self::Deleted(_)
            | Self::Barred(_)
            | Self::OtherMachine(_)
            | Self::Recovered(_) => (Code::PermissionDenied, self),
            Self::Malformed(_) => (Code::InvalidArgument, self),
            Self::RateLimit(pause) => return refusal::later(self.reason(), self.to_string(), *pause),
            Self::Failed(why) => {
                tracing::error!(why, "enrolment failed");
                return refusal::later(self.reason(), "the coordinator could not do it", FAILED_PAUSE);
            }
        };
        refusal::status(code, told.reason(), told.to_string())
    }
}

/// Whoever was failed comes back after this.
const FAILED_PAUSE: Duration = Duration::from_secs(10);
