//! What is answered: a document with its tag, or a problem with its reason.
//!
//! A tag is the sequence that the document shows and a checksum of its bytes: `W/"8117-1f3a90c2"`. It is weak, so that
//! whoever compresses the answer on its way need not change it. A problem is RFC 9457's object with the word of
//! `google.rpc.ErrorInfo` beside it: `{"type":"about:blank","title":"Not Found","status":404,"detail":"...",
//! "reason":"INCIDENT_UNKNOWN"}`. Rule: reasons never change, and what was asked is repeated in at most [`ECHO`] characters.

use axum::{
    extract::rejection::QueryRejection,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

/// Characters of what was asked that a problem repeats.
const ECHO: usize = 100;

/// Who may keep an answer, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Asked for again each time; the same is not sent again.
    Live,
    /// As [`Freshness::Live`], for what only a new build changes.
    Fixed,
    /// Kept for half a minute without asking.
    Brief,
}

impl Freshness {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Live | Self::Fixed => "no-cache",
            Self::Brief => "public, max-age=30",
        }
    }
}

/// Something that can be sent.
#[derive(Clone, Debug)]
pub(super) struct Document {
    content_type: &'static str,
    freshness: Freshness,
    tag: String,
    /// What is sent.
    pub(super) body: Bytes,
}

impl Document {
    /// A document that shows the feed up to this sequence.
    pub(super) fn new(content_type: &'static str, freshness: Freshness, sequence: u64, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = format!("W/\"{sequence}-{:08x}\"", crc32c::crc32c(&body));
        Self { content_type, freshness, tag, body }
    }

    /// An object as JSON.
    pub(super) fn json(sequence: u64, object: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(object).map_err(|error| {
            tracing::error!(%error, "an answer has no JSON form");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "COORDINATOR_FAULT", "the answer has no JSON form")
        })?;
        Ok(Self::new("application/json", Freshness::Live, sequence, body))
    }

    /// The answer to whoever asked with these headers.
    pub(super) fn answer(self, asked: &HeaderMap) -> Response {
        let is_held = asked.get_all(header::IF_NONE_MATCH).iter().any(|held| holds(held.as_bytes(), &self.tag));
        let headers = [(header::ETAG, self.tag), (header::CACHE_CONTROL, self.freshness.as_str().to_owned())];
        if is_held {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, [(header::CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}

/// Whether an `If-None-Match` names the tag. Source: RFC 9110, 13.1.2: a list, compared weakly, or `*`.
fn holds(held: &[u8], tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let held = String::from_utf8_lossy(held);
    held.trim() == "*" || held.split(',').any(|one| opaque(one) == opaque(tag))
}

/// A document, or why there is none.
pub(super) type Answered = Result<Document, Problem>;

/// What is sent to whoever asked with these headers.
pub(super) fn sent(answered: Answered, asked: &HeaderMap) -> Response {
    answered.map_or_else(IntoResponse::into_response, |document| document.answer(asked))
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its HTTP status.
    pub(super) status: StatusCode,
    /// The word that programs read; never another for the same.
    pub(super) reason: &'static str,
    /// What people read: what was wrong, with its value.
    pub(super) detail: String,
}

#[derive(Serialize)]
struct Written<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
}

impl Problem {
    /// A problem.
    pub(super) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into() }
    }

    /// Nothing is at this path.
    pub(super) fn no_path(path: &str) -> Self {
        let detail = format!("nothing is at {}: see /api/v1/openapi.json", echo(path));
        Self::new(StatusCode::NOT_FOUND, "PATH_UNKNOWN", detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "QUERY_INVALID", echo(&rejection.body_text()))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let Self { status, reason, detail } = &self;
        let written = Written { r#type: "about:blank", title, status: status.as_u16(), detail, reason };
        let body = serde_json::to_vec(&written).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        (*status, headers, body).into_response()
    }
}

/// What was asked, as far as it is repeated.
pub(super) fn echo(asked: &str) -> String {
    let mut kept: String = asked.chars().take(ECHO).collect();
    if kept.len() < asked.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn document() -> Document {
        Document::new("text/plain", Freshness::Live, 7, "hello")
    }

    fn asked(held: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(held).expect("header"))])
    }

    #[test]
    fn what_is_held_already_is_not_sent_again() {
        let answer = document().answer(&HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::OK);
        let tag = answer.headers()[header::ETAG].to_str().expect("text").to_owned();
        assert!(tag.starts_with("W/\"7-"), "{tag}");
        for held in [tag.clone(), format!("\"1-00\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
            assert_eq!(document().answer(&asked(&held)).status(), StatusCode::NOT_MODIFIED, "{held}");
        }
        for other in ["\"7-00000000\"", "7", ""] {
            assert_eq!(document().answer(&asked(other)).status(), StatusCode::OK, "{other}");
        }
    }

    #[test]
    fn a_tag_changes_with_the_sequence_and_with_the_content() {
        let tag = |sequence, body: &'static str| Document::new("text/plain", Freshness::Live, sequence, body).tag;
        assert_ne!(tag(7, "a"), tag(8, "a"));
        assert_ne!(tag(7, "a"), tag(7, "b"));
    }

    #[test]
    fn what_was_asked_is_not_repeated_without_bound() {
        assert_eq!(echo(&"ä".repeat(1000)).chars().count(), ECHO + 1);
        assert_eq!(echo("short"), "short");
    }
}
