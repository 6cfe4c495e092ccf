//! The JSON API: the picture and the incidents, as `/api/v1/openapi.json` describes them.
//!
//! | path | what |
//! |---|---|
//! | `/api/v1/snapshot` | standing, visibility, cells, incidents that go on or ended in the last day |
//! | `/api/v1/incidents` | every incident, the newest first, a page at a time |
//! | `/api/v1/incidents/{id}` | its newest revision, and all that are kept, oldest first |
//! | `/api/v1/cells`, `/api/v1/visibility` | the matrix; how well we see |
//! | `/api/v1/work` | planned work of the last 90 days and to come, by when it begins |
//! | `/api/v1/openapi.json` | the description |
//!
//! Rules: an incident is the Change object of `watch -o ndjson`, byte for byte; each answer says which feed it is of and up to
//! which sequence; a parameter that is not known is refused, not ignored. Cells are as they were published last: `standing` and
//! `visibility` stand beside them, since without a quorum they say nothing of the present.

mod paging;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
    routing::get,
};
use faultline_attribution::{CellChange, Change, IncidentId, Visibility};
use serde::{Deserialize, Serialize};

use self::paging::{Page, PageQuery};
use super::{
    Picture,
    answer::{Answered, Document, Freshness, Problem, echo, sent},
};
use crate::{
    feed::Hub,
    work::{PlannedWork, Stage},
};

/// The description of all paths, in `OpenAPI` 3.1.
const DESCRIPTION: &str = include_str!("api/openapi.json");

/// The API under `/api/v1`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>) -> Router<S> {
    Router::new().nest(
        "/api/v1",
        Router::new()
            .route(
                "/snapshot",
                get(async |hub: Feed, query: Nothing, asked: HeaderMap| plain(&hub, query, &asked, snapshot)),
            )
            .route("/cells", get(async |hub: Feed, query: Nothing, asked: HeaderMap| plain(&hub, query, &asked, cells)))
            .route(
                "/visibility",
                get(async |hub: Feed, query: Nothing, asked: HeaderMap| plain(&hub, query, &asked, visibility)),
            )
            .route("/incidents", get(list))
            .route("/incidents/{id}", get(one))
            .route("/work", get(async |hub: Feed, query: Nothing, asked: HeaderMap| plain(&hub, query, &asked, work)))
            .route("/openapi.json", get(async |asked: HeaderMap| description().answer(&asked)))
            .fallback(async |uri: Uri| Problem::no_path(&format!("/api/v1{}", uri.path())))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "everything here is only read")
            })
            .with_state(hub),
    )
}

/// That nothing is asked beside the path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

type Feed = State<Arc<Hub>>;
type Nothing = Result<Query<NoQuery>, QueryRejection>;

fn plain(hub: &Hub, query: Nothing, asked: &HeaderMap, render: fn(&Picture<'_>) -> Answered) -> Response {
    sent(query.map_err(Problem::from).and_then(|_| hub.picture(render)), asked)
}

async fn list(hub: Feed, query: Result<Query<PageQuery>, QueryRejection>, asked: HeaderMap) -> Response {
    let query = query.map_err(Problem::from);
    sent(query.and_then(|Query(query)| hub.picture(|picture| incidents(picture, &query))), &asked)
}

async fn one(hub: Feed, Path(id): Path<String>, query: Nothing, asked: HeaderMap) -> Response {
    let query = query.map_err(Problem::from);
    sent(query.and_then(|_| hub.picture(|picture| incident(picture, id))), &asked)
}

fn description() -> Document {
    Document::new("application/json", Freshness::Fixed, 0, DESCRIPTION)
}

/// What stands in every answer that tells of the present.
#[derive(Serialize)]
struct Present<'a> {
    feed_id: &'a str,
    sequence: u64,
    standing: &'static str,
    visibility: Visibility,
}

impl<'a> Present<'a> {
    fn of(picture: &Picture<'a>) -> Self {
        let board = picture.board;
        let standing = picture.standing().as_str();
        Self { feed_id: &board.feed_id, sequence: board.sequence, standing, visibility: board.sight() }
    }
}

#[derive(Serialize)]
struct Snapshot<'a> {
    #[serde(flatten)]
    present: Present<'a>,
    notices: Vec<String>,
    incidents: Vec<&'a Change>,
    cells: Vec<&'a CellChange>,
}

/// All that is known of the present.
fn snapshot(picture: &Picture<'_>) -> Answered {
    let board = picture.board;
    let snapshot = Snapshot {
        present: Present::of(picture),
        notices: board.all_notices(),
        incidents: board.recent(picture.now).collect(),
        cells: board.cells().collect(),
    };
    Document::json(board.sequence, &snapshot)
}

#[derive(Serialize)]
struct Works<'a> {
    #[serde(flatten)]
    present: Present<'a>,
    work: Vec<Work<'a>>,
}

/// Planned work, and how far it is by now.
#[derive(Serialize)]
struct Work<'a> {
    #[serde(flatten)]
    work: &'a PlannedWork,
    stage: Stage,
}

/// Planned work.
fn work(picture: &Picture<'_>) -> Answered {
    let all = picture.board.work.all().into_iter();
    let work = all.map(|work| Work { work, stage: work.stage(picture.now) }).collect();
    Document::json(picture.board.sequence, &Works { present: Present::of(picture), work })
}

#[derive(Serialize)]
struct Cells<'a> {
    #[serde(flatten)]
    present: Present<'a>,
    cells: Vec<&'a CellChange>,
}

/// The matrix.
fn cells(picture: &Picture<'_>) -> Answered {
    let cells = Cells { present: Present::of(picture), cells: picture.board.cells().collect() };
    Document::json(picture.board.sequence, &cells)
}

#[derive(Serialize)]
struct Sight<'a> {
    #[serde(flatten)]
    present: Present<'a>,
    notices: Vec<String>,
}

/// How well we see.
fn visibility(picture: &Picture<'_>) -> Answered {
    let sight = Sight { present: Present::of(picture), notices: picture.board.all_notices() };
    Document::json(picture.board.sequence, &sight)
}

#[derive(Serialize)]
struct Listed<'a> {
    feed_id: &'a str,
    sequence: u64,
    incidents: Vec<&'a Change>,
    /// Empty on the last page.
    next_page_token: String,
}

/// A page of incidents.
fn incidents(picture: &Picture<'_>, query: &PageQuery) -> Answered {
    let board = picture.board;
    let Page { incidents, next_page_token } = paging::page(board, query)?;
    let listed = Listed { feed_id: &board.feed_id, sequence: board.sequence, incidents, next_page_token };
    Document::json(board.sequence, &listed)
}

#[derive(Serialize)]
struct Whole<'a> {
    feed_id: &'a str,
    sequence: u64,
    incident: &'a Change,
    /// Oldest first, the newest among them.
    revisions: &'a VecDeque<Change>,
}

/// An incident with its past.
fn incident(picture: &Picture<'_>, id: String) -> Answered {
    let board = picture.board;
    let id = IncidentId::from(id);
    let found = board.revisions(&id).and_then(|revisions| Some((revisions.back()?, revisions)));
    let Some((incident, revisions)) = found else {
        let detail = format!("this coordinator has not published an incident {:?}", echo(id.as_str()));
        return Err(Problem::new(StatusCode::NOT_FOUND, "INCIDENT_UNKNOWN", detail));
    };
    let whole = Whole { feed_id: &board.feed_id, sequence: board.sequence, incident, revisions };
    Document::json(board.sequence, &whole)
}
