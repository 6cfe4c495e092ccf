//! Why a session ended, told with all of its causes.

use std::time::Duration;

use faultline_proto::ERROR_DOMAIN;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::IdentityError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    #[error("endpoint: {0}")]
    Endpoint(http::Error),
    #[error("connect: {}", chain(.0))]
    Connect(tonic::transport::Error),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    #[error("the coordinator closed the stream")]
    Closed,
    #[error("the coordinator spoke out of turn: {0}")]
    Unexpected(&'static str),
    #[error("the spool cannot be written, and must be before anything is sent")]
    Spool,
    #[error("the spool was made anew")]
    Renewed,
}

impl SessionError {
    /// Whether the coordinator will never have this agent again.
    pub(crate) fn is_revoked(&self) -> bool {
        let Self::Refused(status) = self else { return false };
        let info = status.get_details_error_info();
        info.is_some_and(|info| info.domain == ERROR_DOMAIN && info.reason == "AGENT_REVOKED")
    }

    /// Whether somebody was there and hung up without a word of ours: as one does to whom the agent's certificate is no good.
    pub(super) fn is_unexplained(&self) -> bool {
        match self {
            Self::Refused(status) => status.details().is_empty(),
            Self::Closed => true,
            _ => false,
        }
    }
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// The error with its sources: a transport error alone says only "transport error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let cause = inner.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = inner.source();
    }
    text
}
