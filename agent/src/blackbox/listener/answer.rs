//! Answers of the port: a status, a type and a text.

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use http_body_util::Full;

use crate::blackbox::exposition::{self, Exposition};

pub(super) type Answer = Response<Full<Bytes>>;

/// Plain text with a line feed at its end.
pub(super) fn text(status: StatusCode, text: &str) -> Answer {
    of_type(status, "text/plain; charset=utf-8", format!("{}\n", text.trim_end()))
}

/// Metrics, which are always a success of the request.
pub(super) fn metrics(page: &Exposition) -> Answer {
    of_type(StatusCode::OK, exposition::CONTENT_TYPE, page.text())
}

/// The path wants other methods.
pub(super) fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("This path takes {methods}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn of_type(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
