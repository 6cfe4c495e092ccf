//! Refusals: why a session is not opened, or ends, as its agent is told.

use faultline_attribution::AgentId;
use faultline_proto::{PROTOCOL, agent::v1::Hello, bound::Fingerprint};
use tonic::{Code, Status};

use super::super::{StandError, clones::Cloned};
use crate::{
    enroll::read_fingerprint,
    log::LogError,
    refusal,
    registry::standing::{Standing, State},
};

pub(super) fn unknown(agent: &AgentId) -> Status {
    let message = format!("agent {agent} was not issued by this coordinator, or was deleted");
    refusal::status(Code::PermissionDenied, "AGENT_UNKNOWN", message)
}

/// Whether an agent that stands so may have a session.
pub(super) fn not_allowed(agent: &AgentId, standing: &Standing) -> Result<(), Status> {
    match standing.state {
        State::Active | State::Pending | State::Quarantined => Ok(()),
        State::Deleted => Err(unknown(agent)),
        State::Revoked => {
            let message = format!("agent {agent} was revoked at {}: {}", standing.since, standing.reason);
            Err(refusal::status(Code::PermissionDenied, "AGENT_REVOKED", message))
        }
    }
}

pub(super) fn no_standing(error: &StandError) -> Status {
    tracing::error!(%error, "no session without knowing how the agent stands");
    refusal::status(Code::Unavailable, "COORDINATOR_BUSY", "how the agent stands cannot be told")
}

pub(super) fn superseded(cloned: Option<Cloned>) -> Status {
    match cloned {
        Some(cloned) => refusal::status(Code::FailedPrecondition, "AGENT_CLONED", cloned.reason()),
        None => refusal::status(Code::Aborted, "SESSION_SUPERSEDED", "a newer session of this agent began"),
    }
}

/// Whether a session may begin so; and the fingerprint of the machine, if it was told.
pub(super) fn check(hello: &Hello) -> Result<Option<Fingerprint>, Status> {
    if !(hello.min_protocol..=hello.max_protocol).contains(&PROTOCOL) {
        let message = format!(
            "this coordinator speaks protocol {PROTOCOL}, the agent {} to {}",
            hello.min_protocol, hello.max_protocol
        );
        return Err(refusal::status(Code::FailedPrecondition, "PROTOCOL_UNSUPPORTED", message));
    }
    if hello.incarnation.len() != 16 {
        let message = format!("incarnation has {} bytes, not 16", hello.incarnation.len());
        return Err(refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", message));
    }
    read_fingerprint(&hello.fingerprint).map_err(|denied| denied.status())
}

/// What the codec says of a message that cannot be read, as a typed refusal. A broken connection stays what it is.
pub(super) fn malformed(status: Status) -> Status {
    match status.code() {
        // As it says of one that is too large as it comes, and once it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted if status.details().is_empty() => {
            refusal::status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", status.message())
        }
        Code::Internal => refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", status.message()),
        _ => status,
    }
}

pub(super) fn unavailable(error: &LogError) -> Status {
    tracing::error!(%error, "log refused");
    refusal::status(Code::Unavailable, "COORDINATOR_BUSY", "the log cannot be written")
}
