//! Refusals: `google.rpc.Status` with exactly one `ErrorInfo`, whose reason never changes.

use std::{collections::HashMap, time::Duration};

use faultline_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A refusal of a call or a stream.
pub(crate) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    with(code, reason, message, HashMap::new())
}

/// The same with what a program needs to act.
pub(crate) fn with(code: Code, reason: &str, message: impl Into<String>, metadata: HashMap<String, String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

/// A refusal that passes: the peer may try again after the pause.
pub(crate) fn later(reason: &str, message: impl Into<String>, pause: Duration) -> Status {
    let code = if reason == "COORDINATOR_BUSY" { Code::Unavailable } else { Code::ResourceExhausted };
    with_pause(code, reason, message, HashMap::new(), pause)
}

/// The same with what a program needs to act.
pub(crate) fn with_pause(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: HashMap<String, String>,
    pause: Duration,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    details.set_retry_info(Some(pause));
    Status::with_error_details(code, message, details)
}

/// A refusal of a request of which one field is wrong.
pub(crate) fn field(reason: &str, field: &str, why: impl Into<String>) -> Status {
    let why = why.into();
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, &why);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {why}"), details)
}

/// A refusal inside a stream that lives on.
pub(crate) fn inline(code: Code, reason: &str, message: impl Into<String>) -> tonic_types::pb::Status {
    let message = message.into();
    let info = tonic_types::pb::ErrorInfo {
        reason: reason.to_owned(),
        domain: ERROR_DOMAIN.to_owned(),
        metadata: HashMap::new(),
    };
    let detail = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: prost::Message::encode_to_vec(&info),
    };
    tonic_types::pb::Status { code: code as i32, message, details: vec![detail] }
}
