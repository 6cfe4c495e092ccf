//! The pages and files of one incident.
//!
//! | path | what |
//! |---|---|
//! | `/incidents/<id>` | the page; `?sort=` group, target, layer, cause, failed or weight sorts its evidence |
//! | `/incidents/<id>/evidence.csv`, `.json` | the rows of evidence, of the revision that tells the incident at its height |
//! | `/incidents/<id>/report.html`, `.md`, `.json` | the report; HTML to be saved, since this site's policy forbids its inline style |
//!
//! Addresses stay for ever: what is not on the board comes from the log. Rule: the board's lock is held to copy revisions and to
//! render, never while the log is read or a picture is drawn.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use faultline_attribution::{Change, EvidenceRow, IncidentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Site;
use crate::{
    feed::{
        archive::{ArchiveError, Past},
        page::{self, Order, Told, asked::Asked},
    },
    report::{self, Format, Material},
};

/// How the page is asked for.
#[derive(Deserialize)]
struct Sorting {
    sort: Option<String>,
}

/// What is found of an incident.
struct Found {
    revisions: Vec<Change>,
    past: Option<Arc<Past>>,
}

/// Rows of evidence as a program reads them.
#[derive(Serialize)]
struct Rows<'a> {
    incident: &'a IncidentId,
    revision: u64,
    evidence: &'a [EvidenceRow],
}

pub(super) fn router() -> Router<Site> {
    Router::new()
        .route(
            "/incidents/{id}",
            get(async |State(site): State<Site>, Path(id): Path<String>, Query(how): Query<Sorting>, asked: Asked| {
                page(&site, id, &how, &asked).await
            }),
        )
        .route(
            "/incidents/{id}/{file}",
            get(async |State(site): State<Site>, Path((id, file)): Path<(String, String)>| {
                file_of(&site, id, &file).await
            }),
        )
}

async fn page(site: &Site, id: String, how: &Sorting, asked: &Asked) -> Response {
    let order = how.sort.as_deref().map_or_else(Order::default, Order::of);
    match find(site, id.clone(), true).await {
        Err(refusal) => refusal,
        Ok(None) => site.look(asked, |view| (StatusCode::NOT_FOUND, page::missing(view, &id).into_string())),
        Ok(Some(Found { revisions, past })) => site.look(asked, |view| {
            let told = Told { revisions: &revisions, past: past.as_deref(), order };
            (StatusCode::OK, page::incident(view, &told).into_string())
        }),
    }
}

async fn file_of(site: &Site, id: String, file: &str) -> Response {
    let format = file.strip_prefix("report.").and_then(|suffix| suffix.parse::<Format>().ok());
    let found = match find(site, id, format.is_some()).await {
        Err(refusal) => return refusal,
        Ok(None) => return missing("no incident of this name\n"),
        Ok(Some(found)) => found,
    };
    match (file, format) {
        (_, Some(format)) => report(site, found, format),
        ("evidence.csv", _) => answer("text/csv; charset=utf-8", evidence(&found.revisions, csv)),
        ("evidence.json", _) => answer("application/json", evidence(&found.revisions, json)),
        _ => missing("an incident has evidence.csv, evidence.json, report.html, report.md and report.json\n"),
    }
}

/// Everything of an incident; `None` if it was never published.
async fn find(site: &Site, id: String, with_past: bool) -> Result<Option<Found>, Response> {
    let id = IncidentId::from(id);
    let mut revisions: Vec<Change> =
        site.hub.board().revisions(&id).map(|revisions| revisions.iter().cloned().collect()).unwrap_or_default();
    // The board keeps no more than some of them.
    let is_whole = |newest: &Change| u64::try_from(revisions.len()).is_ok_and(|kept| kept >= newest.revision);
    if !revisions.last().is_some_and(is_whole) {
        match site.archive.revisions(&id).await {
            Ok(all) if all.len() > revisions.len() => revisions = all,
            Ok(_) => {}
            // What the board has is better than nothing.
            Err(_) if !revisions.is_empty() => {}
            Err(error) => return Err(unavailable(&error)),
        }
    }
    if revisions.is_empty() {
        return Ok(None);
    }
    let past = if with_past { site.archive.past(revisions.clone()).await } else { None };
    Ok(Some(Found { revisions, past }))
}

fn report(site: &Site, found: Found, format: Format) -> Response {
    let now = Timestamp::from_micros(site.hub.clock().now_micros());
    let name = found.revisions.last().map(|newest| newest.incident.to_string()).unwrap_or_default();
    let history = found.past.map(|past| past.history.clone());
    let feed_id = site.hub.changes().feed_id();
    let material = Material::new(found.revisions, history, now, feed_id);
    let material = material.map(|material| material.beside(&site.hub.board()));
    let written = material.and_then(|material| format.write(&material));
    let mut response = answer(format.content_type(), written.unwrap_or_default());
    if format == Format::Html
        && let Ok(saved) = format!("attachment; filename=\"{name}.html\"").parse()
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, saved);
    }
    response
}

fn evidence(revisions: &[Change], write: impl FnOnce(&Change) -> String) -> String {
    report::telling(revisions).map(write).unwrap_or_default()
}

fn json(change: &Change) -> String {
    let Change { incident, revision, evidence, .. } = change;
    serde_json::to_string(&Rows { incident, revision: *revision, evidence }).unwrap_or_default() + "\n"
}

fn csv(change: &Change) -> String {
    let mut out = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    drop(out.write_record(["group", "target", "layer", "cause", "failed", "runs", "weight_nats"]));
    for row in &change.evidence {
        let (failed, runs, weight) = (row.failed.to_string(), row.runs.to_string(), row.weight.to_string());
        drop(out.write_record([
            row.group.as_str(),
            &row.target,
            row.layer.as_str(),
            row.cause_word(),
            &failed,
            &runs,
            &weight,
        ]));
    }
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn answer(content_type: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn missing(words: &'static str) -> Response {
    (StatusCode::NOT_FOUND, words).into_response()
}

fn unavailable(error: &ArchiveError) -> Response {
    tracing::warn!(%error, "the revisions of an incident cannot be read");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], format!("{error}\n")).into_response()
}
