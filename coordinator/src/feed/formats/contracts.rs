//! The gRPC contracts as text, so that a client can be made without this repository: `/proto/` lists them, and each is at its
//! import path. Rule: what is listed is what the build compiles, the vendored `google/rpc` included.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use faultline_proto::contracts::CONTRACTS;
use maud::{DOCTYPE, html};

use super::answer::{Document, Freshness, Problem, echo};

/// The contracts under `/proto/`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/proto", get(async || Redirect::permanent("/proto/")))
        .route("/proto/", get(async |asked: HeaderMap| index().answer(&asked)))
        .route("/proto/{*path}", get(async |Path(path): Path<String>, asked: HeaderMap| contract(&path, &asked)))
}

/// The list, as links.
fn index() -> Document {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "gRPC contracts · Faultline" }
            }
            body {
                h1 { "gRPC contracts" }
                ul { @for (path, _) in CONTRACTS { li { a href=(path) { (path) } } } }
            }
        }
    };
    Document::new("text/html; charset=utf-8", Freshness::Fixed, 0, page.into_string())
}

fn contract(path: &str, asked: &HeaderMap) -> Response {
    let Some((_, text)) = CONTRACTS.iter().find(|(known, _)| *known == path) else {
        let detail = format!("no contract {:?}: /proto/ lists them", echo(path));
        return Problem::new(StatusCode::NOT_FOUND, "CONTRACT_UNKNOWN", detail).into_response();
    };
    Document::new("text/plain; charset=utf-8", Freshness::Fixed, 0, *text).answer(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_is_listed_and_readable() {
        let index = String::from_utf8(index().body.to_vec()).expect("text");
        assert!(index.contains(r#"<a href="faultline/feed/v1/feed_service.proto">"#), "{index}");
        for (path, _) in CONTRACTS {
            assert!(index.contains(path), "{path} in {index}");
            assert_eq!(contract(path, &HeaderMap::new()).status(), StatusCode::OK, "{path}");
        }
        assert_eq!(contract("../Cargo.toml", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }
}
