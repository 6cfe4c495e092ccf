//! Orders to the daemon, over a Unix socket: `join`, `leave`, `image-prepare` and `status`.
//!
//! The protocol: whoever connects sends one [`Request`], a JSON object on one line of at most 8 KiB, within five seconds. The
//! daemon answers with lines of [`Reply`], as things happen: any number of steps, at last the end or the status; then it closes.
//!
//! Rules: the socket is the operator's and root's alone (mode 0600), and everything secret goes through it: nothing of a request is
//! logged or kept. Eight connections at a time, further ones are closed unheard; one that does not send, or does not read for five
//! seconds, is closed. One order at a time is carried out and one waits; more are told to come back. Who goes away while an order
//! is carried out misses its end, and changes nothing.

mod client;
mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::client::{OrderError, is_served, order, status};
pub(crate) use self::server::{Order, serve};
use crate::{
    enroll::{JoinError, Step},
    status::Status,
};

/// What may be asked of the daemon.
#[derive(Deserialize, Serialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Join a coordinator, and wait for the first batch that it has stored.
    Join {
        /// The coordinator's host.
        host: String,
        /// Its port for agents.
        port: u16,
        /// The join string.
        join_string: String,
        /// Whether another identity takes the place of one that is there.
        #[serde(default)]
        replace: bool,
        /// Seconds that a first batch is waited for.
        wait_s: u64,
    },
    /// Say goodbye to the coordinator, and forget it.
    Leave,
    /// Forget all that makes this machine another than its copies.
    ImagePrepare,
    /// Tell how the agent is.
    Status,
}

/// A line of the daemon's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A step of what was ordered.
    Step(Step),
    /// How the agent is; nothing follows.
    Status(Box<Status>),
    /// What came of the order; nothing follows.
    End(End),
}

/// What came of an order.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct End {
    /// The exit code of the command that ordered it.
    pub exit_code: u8,
    /// One line that says so.
    pub message: String,
}

impl End {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Self {
        Self { exit_code: 0, message: message.into() }
    }

    /// It was not.
    pub fn failed(exit_code: u8, message: impl Into<String>) -> Self {
        Self { exit_code, message: message.into() }
    }
}

impl From<&JoinError> for End {
    fn from(error: &JoinError) -> Self {
        let code = match error {
            JoinError::Config(_) | JoinError::TwoFiles(_) | JoinError::Configured { .. } | JoinError::Host(_) => USAGE,
            JoinError::Refused(_) => REFUSED,
            JoinError::Unreachable { .. } => UNREACHABLE,
            JoinError::Pin { .. } => PIN,
            JoinError::Another(_) => CONFLICT,
            JoinError::Clock(_) | JoinError::File { .. } | JoinError::Answer(_) | JoinError::Key(_) => FAILED,
        };
        Self::failed(code, error.to_string())
    }
}

/// Something else went wrong: a clock, a disk.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration, or nobody to order it of.
pub const USAGE: u8 = 2;
/// The join string was refused.
pub const REFUSED: u8 = 3;
/// The coordinator cannot be reached.
pub const UNREACHABLE: u8 = 4;
/// It is not the coordinator of the join string.
pub const PIN: u8 = 5;
/// Joined, and an operator has to approve it.
pub const PENDING: u8 = 6;
/// There is an identity already, of another coordinator.
pub const CONFLICT: u8 = 7;
/// Joined, and no batch was stored in time.
pub const NO_BATCH: u8 = 8;
