//! The guard before the feed port's rooms: each request knows its [`Caller`] from here on, or is refused in the
//! language that it speaks.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse as _,
};
use data_encoding::BASE64;
use tonic::Code;

use super::{
    Access, Caller, Denied, Peer,
    tokens::{PREFIX, Role},
};
use crate::refusal;

/// Whoever asks only whether anybody answers needs no token.
const OPEN: [&str; 2] = ["/healthz", "/grpc.health.v1.Health/"];

/// Lets a request pass with its [`Caller`], or refuses it.
pub async fn guard(State(access): State<Arc<Access>>, mut request: Request<Body>, next: Next) -> Response<Body> {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        // Only a port that greets nobody leaves it out.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_open = OPEN.iter().any(|path| request.uri().path().starts_with(path));
    let admitted = match access.admit(peer, token(request.headers()).as_deref()) {
        Err(Denied::TokenRequired) if is_open => return next.run(request).await,
        admitted => admitted.and_then(|caller| access.count(&caller).map(|()| caller)),
    };
    match admitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            tracing::debug!(peer = %peer.address, reason = denied.reason(), path = request.uri().path(), "refused");
            refuse(denied, is_grpc(request.headers()))
        }
    }
}

/// Lets a request pass whose caller is an operator, or refuses it.
pub async fn operators_only(caller: Extension<Caller>, request: Request<Body>, next: Next) -> Response<Body> {
    match caller.must_be(Role::Operator) {
        Ok(()) => next.run(request).await,
        Err(denied) => refuse(denied, is_grpc(request.headers())),
    }
}

/// What a refused caller hears.
pub(crate) fn refuse(denied: Denied, is_grpc: bool) -> Response<Body> {
    if is_grpc {
        return status(denied).into_http();
    }
    let code = match denied {
        Denied::TokenRequired | Denied::TokenUnknown => StatusCode::UNAUTHORIZED,
        Denied::TokenOverPlaintext | Denied::RoleRequired(_) => StatusCode::FORBIDDEN,
        Denied::RateLimit(_) | Denied::StreamLimit => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut answer = (code, format!("{}: {denied}\n", denied.reason())).into_response();
    if code == StatusCode::UNAUTHORIZED {
        // Browsers ask for a password then, and the token is one.
        let how = HeaderValue::from_static(r#"Basic realm="faultline: the token is the password", charset="UTF-8""#);
        answer.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        answer.headers_mut().append(header::WWW_AUTHENTICATE, how);
    }
    if let Some(pause) = denied.pause() {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
    }
    answer
}

/// The same as a gRPC status.
pub(crate) fn status(denied: Denied) -> tonic::Status {
    let code = match denied {
        Denied::TokenRequired | Denied::TokenUnknown => Code::Unauthenticated,
        Denied::TokenOverPlaintext | Denied::RoleRequired(_) => Code::PermissionDenied,
        Denied::RateLimit(_) | Denied::StreamLimit => Code::ResourceExhausted,
    };
    match denied.pause() {
        Some(pause) => refusal::with_pause(code, denied.reason(), denied.to_string(), [].into(), pause),
        None => refusal::status(code, denied.reason(), denied.to_string()),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// The token of a request: a bearer's, or the password of a browser. What is no token of ours is a proxy's own affair.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let word = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64.decode(rest.trim().as_bytes()).ok()?).ok()?;
        pair.split_once(':')?.1.to_owned()
    } else {
        return None;
    };
    word.starts_with(PREFIX).then_some(word)
}
