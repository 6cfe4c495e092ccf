//! Web: `POST /api/v1/claims`, where operators push in what crowds say. The feed port has it, for operators
//! alone ([`crate::access::operators_only`]).
//!
//! A body is `application/json` or `text/csv`, as [`super::crowd`] has it. Answers, as JSON: 200 with how many were
//! published, known and older; 400 with what is wrong, where; 413 beyond 1 MiB; 415 for another type; 503 while the log
//! cannot be written.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Serialize;
use serde_json::json;

use super::{
    Intake,
    crowd::{self, CrowdError, Form},
};

/// The way in for crowds.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().route("/api/v1/claims", post(push)).layer(DefaultBodyLimit::max(crowd::MAX_BYTES)).with_state(intake)
}

async fn push(State(intake): State<Arc<Intake>>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let Some(form) = form(&headers) else {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type is neither application/json nor text/csv");
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, &CrowdError::Long.to_string());
        }
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    let seen = match crowd::read(form, &body, intake.now()) {
        Ok(seen) => seen,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match intake.take(seen).await {
        Ok(taken) => answer(StatusCode::OK, &taken),
        Err(error) => {
            tracing::error!(%error, "claims not taken");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written: try again")
        }
    }
}

fn form(headers: &HeaderMap) -> Option<Form> {
    let written = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Some(Form::Json),
        "text/csv" => Some(Form::Csv),
        _ => None,
    }
}

fn refusal(status: StatusCode, error: &str) -> Response {
    answer(status, &json!({ "error": error }))
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
