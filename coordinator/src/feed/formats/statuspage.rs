//! The picture in the shape of Statuspage's API, version 2, which most status tools read: `/api/v2/*.json`.
//!
//! | path | what |
//! |---|---|
//! | `summary.json` | page, status, components, incidents that go on |
//! | `status.json`, `components.json` | page and status; page and components |
//! | `incidents.json`, `incidents/unresolved.json` | page and incidents, the newest fifty; those that go on |
//! | `scheduled-maintenances.json`, `scheduled-maintenances/upcoming.json`, `scheduled-maintenances/active.json` | page and planned work: all, to come, going on |
//!
//! A component is a region, or service that has none, of a provider; each provider is their group. Whatever Statuspage has no
//! word for stands under the key `faultline`. How our states map is in `mapping`. Rules: ids never change: `aws.us-east-1`,
//! the incident's own, and `<incident>.<revision>` for its updates; `created_at` of a component is unknown and says
//! `updated_at`; a page that cannot see has the indicator `minor`, since Statuspage has no "unknown" and `none` would be a lie.

mod maintenance;
mod mapping;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    routing::get,
};
use faultline_attribution::{CellState, Change, State as Life, Timestamp, Verdict, Visibility, element::brand};
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::{
    maintenance::Which,
    mapping::{ComponentStatus, Impact, component_status, impact, incident_status},
};
use super::{
    Picture,
    answer::{Answered, Document, sent},
    base::Base,
    rows::{PROVIDERS, Row, accuses},
};
use crate::feed::Hub;

/// Incidents that are listed, the newest.
const INCIDENTS: usize = 50;

/// Updates of an incident that are listed: the newest, and the first.
const UPDATES: usize = 25;

/// The paths under `/api/v2`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>, scheme: &'static str) -> Router<S> {
    let of = |parts: &'static [Part]| {
        get(async move |State(hub): State<Arc<Hub>>, uri: Uri, asked: HeaderMap| {
            let base = Base::of(scheme, &uri, &asked);
            sent(hub.picture(|picture| document(picture, &base, parts)), &asked)
        })
    };
    Router::new()
        .route(
            "/api/v2/summary.json",
            of(&[Part::Components, Part::Unresolved, Part::Maintenances(Which::Near), Part::Status]),
        )
        .route("/api/v2/status.json", of(&[Part::Status]))
        .route("/api/v2/components.json", of(&[Part::Components]))
        .route("/api/v2/incidents.json", of(&[Part::Incidents]))
        .route("/api/v2/incidents/unresolved.json", of(&[Part::Unresolved]))
        .route("/api/v2/scheduled-maintenances.json", of(&[Part::Maintenances(Which::All)]))
        .route("/api/v2/scheduled-maintenances/upcoming.json", of(&[Part::Maintenances(Which::Upcoming)]))
        .route("/api/v2/scheduled-maintenances/active.json", of(&[Part::Maintenances(Which::Active)]))
        .with_state(hub)
}

/// What a document holds beside its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Status,
    Components,
    Incidents,
    Unresolved,
    Maintenances(Which),
}

/// A document of these parts.
fn document(picture: &Picture<'_>, base: &Base, parts: &[Part]) -> Answered {
    let board = picture.board;
    let mut document = Map::from_iter([("page".to_owned(), page(picture, base))]);
    for part in parts {
        let (key, value) = match part {
            Part::Status => ("status", json!(status(picture))),
            Part::Components => ("components", json!(components(picture))),
            Part::Incidents => ("incidents", incidents(picture, base, board.incidents())),
            Part::Unresolved => {
                ("incidents", incidents(picture, base, board.incidents().filter(|change| change.state.is_open())))
            }
            Part::Maintenances(which) => ("scheduled_maintenances", maintenance::maintenances(picture, base, *which)),
        };
        document.insert(key.to_owned(), value);
    }
    document.insert("faultline".to_owned(), json!(Ours::of(picture)));
    Document::json(board.sequence, &document)
}

/// What Statuspage has no place for.
#[derive(Serialize)]
struct Ours {
    sequence: u64,
    standing: &'static str,
    visibility: Visibility,
}

impl Ours {
    fn of(picture: &Picture<'_>) -> Self {
        let board = picture.board;
        Self { sequence: board.sequence, standing: picture.standing().as_str(), visibility: board.sight() }
    }
}

fn page(picture: &Picture<'_>, base: &Base) -> Value {
    let board = picture.board;
    json!({
        "id": board.feed_id,
        "name": "Faultline: AWS, Azure or neither",
        "url": format!("{base}/"),
        "time_zone": "Etc/UTC",
        "updated_at": board.visibility.evaluated_through,
    })
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Status {
    indicator: Impact,
    description: String,
}

/// The page as a whole: as bad as the worst that goes on, and never well while we cannot see.
fn status(picture: &Picture<'_>) -> Status {
    let (open, rows) = (picture.board.open(), picture.rows());
    let worst = open.iter().map(|change| (impact(change, &rows), *change)).max_by_key(|(impact, _)| *impact);
    let blindness = picture.blindness();
    match (worst, blindness) {
        (None, None) => Status { indicator: Impact::None, description: "No failure attributed to AWS or Azure".into() },
        (None, Some(_)) => Status { indicator: Impact::Minor, description: "Insufficient data, no verdict".into() },
        (Some((indicator, change)), blindness) => {
            let blind = blindness.map_or("", |_| " (insufficient data since: we cannot see how it goes on)");
            Status { indicator, description: format!("{}{blind}", name(change)) }
        }
    }
}

/// What an incident is called: the name itself says where it is neither cloud.
fn name(change: &Change) -> String {
    match change.verdict {
        Verdict::Neither => format!("Neither AWS nor Azure: {}", change.headline),
        _ => change.headline.clone(),
    }
}

#[derive(Debug, Serialize)]
struct Component {
    id: String,
    name: String,
    status: ComponentStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
    position: usize,
    description: Option<String>,
    showcase: bool,
    start_date: Option<String>,
    group_id: Option<String>,
    page_id: String,
    group: bool,
    only_show_if_degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<Vec<String>>,
    faultline: Value,
}

/// A group for each provider, followed by its components.
fn components(picture: &Picture<'_>) -> Vec<Component> {
    let (open, rows, page_id) = (picture.board.open(), picture.rows(), &picture.board.feed_id);
    let is_blind = picture.blindness().is_some();
    let mut components = Vec::new();
    for (provider, place) in PROVIDERS.into_iter().zip(1..) {
        let of_it = rows.iter().filter(|row| row.provider == provider);
        let members: Vec<Component> = of_it
            .zip(1..)
            .map(|(row, position)| {
                let mut component = component(row, &open, &rows, page_id, position);
                if is_blind {
                    component.description = Some("Insufficient data: this is how it was seen last".into());
                }
                component
            })
            .collect();
        let accused = open.iter().filter(|change| accuses(change, provider));
        let accused = accused.map(|change| mapping::of_group(change, &rows));
        let status = members.iter().map(|member| member.status).chain(accused).max().unwrap_or_default();
        let updated_at = members.iter().map(|member| member.updated_at).max().unwrap_or_default();
        components.push(Component {
            id: provider.to_owned(),
            name: brand(provider),
            status,
            created_at: updated_at,
            updated_at,
            position: place,
            description: members.is_empty().then(|| "No data: nothing of it was seen yet".into()),
            showcase: true,
            start_date: None,
            group_id: None,
            page_id: page_id.clone(),
            group: true,
            only_show_if_degraded: false,
            components: Some(members.iter().map(|member| member.id.clone()).collect()),
            faultline: json!({ "provider": provider }),
        });
        components.extend(members);
    }
    components
}

fn component(row: &Row<'_>, open: &[&Change], rows: &[Row<'_>], page_id: &str, position: usize) -> Component {
    let updated_at = row.cells.iter().map(|cell| cell.changed_at).max().unwrap_or_default();
    let worst = row.worst();
    let layers: Map<String, Value> =
        row.cells.iter().map(|cell| (cell.layer.as_str().to_owned(), json!(cell.state))).collect();
    Component {
        id: component_id(row),
        name: format!("{} {}", brand(row.provider), row.region),
        status: component_status(row, open, rows),
        created_at: updated_at,
        updated_at,
        position,
        description: (worst == CellState::NoData).then(|| "No data: some or all of it was not seen lately".into()),
        showcase: false,
        start_date: None,
        group_id: Some(row.provider.to_owned()),
        page_id: page_id.to_owned(),
        group: false,
        only_show_if_degraded: false,
        components: None,
        faultline: json!({
            "provider": row.provider,
            "region": row.region,
            "state": worst,
            "layers": layers,
        }),
    }
}

/// `aws.us-east-1`. What is no letter, digit or hyphen is written by its number, so that two regions never share an id.
fn component_id(row: &Row<'_>) -> String {
    let mut id = format!("{}.", row.provider);
    for character in row.region.chars() {
        match character {
            'a'..='z' | '0'..='9' | '-' => id.push(character),
            other => {
                // Writing to a string cannot fail.
                write!(id, "_{:x}_", u32::from(other)).ok();
            }
        }
    }
    id
}

fn incidents<'a>(picture: &'a Picture<'_>, base: &Base, changes: impl Iterator<Item = &'a Change>) -> Value {
    let rows = picture.rows();
    changes.take(INCIDENTS).map(|change| incident(picture, base, &rows, change)).collect()
}

fn incident(picture: &Picture<'_>, base: &Base, rows: &[Row<'_>], change: &Change) -> Value {
    let page_id = &picture.board.feed_id;
    let revisions = || picture.board.revisions(&change.incident).into_iter().flatten();
    let monitored = revisions().find(|revision| revision.state == Life::Recovering);
    // What it was at its worst, but for what never was.
    let worst = match change.state {
        Life::Retracted => Impact::None,
        _ => revisions().map(|revision| impact(revision, rows)).max().unwrap_or_default(),
    };
    let touched: Vec<Component> = rows
        .iter()
        .filter(|row| row.is_touched_by(change))
        .zip(1..)
        .map(|(row, position)| component(row, &picture.board.open(), rows, page_id, position))
        .collect();
    let link = format!("{base}/incidents/{}", change.incident);
    json!({
        "id": change.incident,
        "name": name(change),
        "status": incident_status(change),
        "created_at": change.opened_at,
        "updated_at": change.at,
        "monitoring_at": monitored.map(|revision| revision.at),
        "resolved_at": change.resolved_at,
        "impact": worst,
        "shortlink": link,
        "started_at": change.onset_at,
        "page_id": page_id,
        "incident_updates": updates(revisions()),
        "components": touched,
        "reminder_intervals": null,
        "faultline": {
            "revision": change.revision,
            "state": change.state,
            "verdict": change.verdict,
            "kind": change.kind,
            "element": change.element,
            "confidence": change.confidence,
            "onset_uncertainty_s": change.onset_uncertainty_s,
            "url": format!("{base}/api/v1/incidents/{}", change.incident),
        },
    })
}

/// Revisions that say something new, the newest first.
fn updates<'a>(revisions: impl Iterator<Item = &'a Change>) -> Vec<Value> {
    let mut told: Vec<&Change> = Vec::new();
    for revision in revisions {
        let says = |change: &Change| (change.state, change.verdict, change.headline.clone());
        if told.last().is_none_or(|last| says(last) != says(revision)) {
            told.push(revision);
        }
    }
    if told.len() > UPDATES {
        told.drain(1..=told.len() - UPDATES);
    }
    told.into_iter().rev().map(update).collect()
}

fn update(revision: &Change) -> Value {
    let id = format!("{}.{}", revision.incident, revision.revision);
    let body = match revision.state {
        Life::Retracted => format!("Retracted: {}", name(revision)),
        _ => name(revision),
    };
    json!({
        "id": id,
        "status": incident_status(revision),
        "body": body,
        "incident_id": revision.incident,
        "created_at": revision.at,
        "updated_at": revision.at,
        "display_at": revision.at,
        "affected_components": null,
        "deliver_notifications": true,
        "custom_tweet": null,
        "tweet_id": null,
    })
}
