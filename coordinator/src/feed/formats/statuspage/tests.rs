//! What tools that read Statuspage are told, state by state.

use std::time::Duration;

use faultline_attribution::{ElementKind, Kind, Layer};

use super::*;
use crate::{
    board::Board,
    feed::{
        Published,
        formats::examples::{self, NOW, cell, change, suspicion},
    },
    work::PlannedWork,
};

const ALL: [Part; 4] = [Part::Components, Part::Incidents, Part::Maintenances(Which::All), Part::Status];

fn shown(board: &Board) -> Value {
    let picture = Picture { board, now: NOW };
    let base = Base::default();
    serde_json::from_slice(&document(&picture, &base, &ALL).expect("document").body).expect("JSON")
}

fn with(changes: Vec<Change>) -> Board {
    let mut published = examples::cells();
    published.extend(changes.into_iter().map(examples::incident));
    examples::board(published)
}

fn status_of<'a>(told: &'a Value, id: &str) -> &'a str {
    let components = told["components"].as_array().expect("components");
    let found = components.iter().find(|component| component["id"] == id).unwrap_or_else(|| panic!("no {id}"));
    found["status"].as_str().expect("status")
}

#[test]
fn planned_work_is_a_maintenance_of_what_it_names_and_completed_when_called_off() {
    let work = |id: &str, begins_in_s: i64, cancelled_at| PlannedWork {
        id: id.into(),
        announced_at: NOW,
        starts_at: Timestamp::from_micros(NOW.micros() + begins_in_s * 1_000_000),
        ends_at: NOW.after(Duration::from_mins(10)),
        text: format!("{id} <b>"),
        link: String::new(),
        elements: vec!["azure/eastus".into()],
        cancelled_at,
        cancel_reason: String::from("Put off."),
    };
    let mut published = examples::cells();
    published.extend(
        [work("on", -60, None), work("later", 60, None), work("off", 90, Some(NOW))]
            .map(|work| Published::Work(Box::new(work))),
    );
    let board = examples::board(published);
    let listed = |which| {
        let answer = document(&Picture { board: &board, now: NOW }, &Base::default(), &[which]).expect("document");
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        told["scheduled_maintenances"].as_array().expect("a list").clone()
    };
    let ids = |which| listed(Part::Maintenances(which)).iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(Which::All), ["off", "later", "on"]);
    assert_eq!((ids(Which::Upcoming), ids(Which::Active)), (vec![json!("later")], vec![json!("on")]));
    assert_eq!(ids(Which::Near), ["later", "on"]);
    let all = listed(Part::Maintenances(Which::All));
    assert_eq!(
        all.iter().map(|one| one["status"].clone()).collect::<Vec<_>>(),
        ["completed", "scheduled", "in_progress"]
    );
    assert_eq!(all[0]["incident_updates"][0]["body"], "Called off: Put off.");
    let components = all[2]["components"].as_array().expect("components");
    assert_eq!(components.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), ["azure.eastus"]);
}

/// Row by row: the table of `mapping`.
#[test]
fn every_state_maps_as_the_table_says() {
    let region = |change: Change| Change {
        element: "azure/eastus".into(),
        element_kind: Some(ElementKind::Region),
        regions: vec!["azure/eastus".into()],
        ..change
    };
    let neither = Change {
        verdict: Verdict::Neither,
        kind: Some(Kind::ThirdPartyCdn),
        element: "cdn/fastly".into(),
        ..change(1)
    };
    let ended = Some(NOW);
    for (what, revisions, status, eastus, front_door, impact, indicator) in [
        ("suspected", vec![suspicion(1)], "investigating", "operational", "degraded_performance", "minor", "minor"),
        (
            "one region",
            vec![region(change(1))],
            "identified",
            "partial_outage",
            "degraded_performance",
            "major",
            "major",
        ),
        ("global", vec![change(1)], "identified", "operational", "major_outage", "critical", "critical"),
        ("neither", vec![neither], "identified", "operational", "operational", "minor", "minor"),
        (
            "recovering",
            vec![Change { state: Life::Recovering, ..region(change(1)) }],
            "monitoring",
            "degraded_performance",
            "degraded_performance",
            "minor",
            "minor",
        ),
        (
            "resolved",
            vec![region(change(1)), Change { state: Life::Resolved, resolved_at: ended, ..region(change(1)) }],
            "resolved",
            "operational",
            "degraded_performance",
            "major",
            "none",
        ),
        (
            "retracted",
            vec![region(change(1)), Change { state: Life::Retracted, resolved_at: ended, ..region(change(1)) }],
            "resolved",
            "operational",
            "degraded_performance",
            "none",
            "none",
        ),
    ] {
        let told = shown(&with(revisions));
        let incident = &told["incidents"][0];
        assert_eq!((incident["status"].as_str(), incident["impact"].as_str()), (Some(status), Some(impact)), "{what}");
        assert_eq!(
            (status_of(&told, "azure.eastus"), status_of(&told, "azure.front-door")),
            (eastus, front_door),
            "{what}"
        );
        assert_eq!(told["status"]["indicator"], indicator, "{what}");
        assert_eq!(status_of(&told, "aws"), "operational", "{what}");
    }
}

#[test]
fn most_regions_are_a_major_outage_and_the_group_is_as_bad_as_its_worst() {
    let all = ["azure/eastus", "azure/westeurope"].map(str::to_owned).to_vec();
    let told = shown(&with(vec![Change { regions: all, element_kind: Some(ElementKind::Region), ..change(1) }]));
    assert_eq!(status_of(&told, "azure.westeurope"), "major_outage");
    assert_eq!((status_of(&told, "azure"), status_of(&told, "aws")), ("major_outage", "operational"));
}

#[test]
fn a_global_service_without_a_component_shows_in_the_group() {
    let dns = Change { element: "azure/dns".into(), element_kind: Some(ElementKind::Dns), ..change(1) };
    assert_eq!(status_of(&shown(&with(vec![dns])), "azure"), "major_outage");
}

#[test]
fn blindness_is_minor_and_never_operational_in_words() {
    let told = shown(&examples::blind(with(Vec::new())));
    assert_eq!(told["status"], json!({"indicator": "minor", "description": "Insufficient data, no verdict"}));
    assert_eq!(told["faultline"]["standing"], "blind");
    for component in told["components"].as_array().expect("list").iter().filter(|component| component["group"] == false)
    {
        assert_eq!(component["description"], "Insufficient data: this is how it was seen last");
    }
    let quiet = shown(&with(Vec::new()));
    assert_eq!(quiet["status"], json!({"indicator": "none", "description": "No failure attributed to AWS or Azure"}));
}

#[test]
fn a_verdict_outlives_the_sight_that_it_was_made_with() {
    let told = shown(&examples::blind(with(vec![change(1)])));
    assert_eq!(told["status"]["indicator"], "critical");
    assert!(told["status"]["description"].as_str().expect("text").contains("insufficient data since"), "{told}");
}

#[test]
fn what_was_never_so_is_called_retracted_and_what_is_neither_says_so() {
    let retracted = Change { state: Life::Retracted, revision: 3, resolved_at: Some(NOW), ..change(1) };
    let told = shown(&with(vec![suspicion(1), change(1), retracted]));
    let updates = told["incidents"][0]["incident_updates"].as_array().expect("list").clone();
    assert!(updates[0]["body"].as_str().expect("text").starts_with("Retracted: Azure Front Door"), "{updates:?}");
    let statuses: Vec<_> = updates.iter().map(|update| update["status"].as_str().expect("word")).collect();
    assert_eq!(statuses, ["resolved", "identified", "investigating"]);
    let neither = Change { verdict: Verdict::Neither, ..change(1) };
    let told = shown(&with(vec![neither]));
    assert!(told["incidents"][0]["name"].as_str().expect("name").starts_with("Neither AWS nor Azure: "), "{told}");
}

#[test]
fn ids_stay_and_are_never_shared() {
    let rows = ["eastus", "East US", "east_us", "east/us"];
    let cells =
        |rows: &[&str]| rows.iter().map(|row| cell("azure", row, Layer::Dns, CellState::Ok)).collect::<Vec<_>>();
    let ids = |rows: &[&str]| -> Vec<String> {
        let told = shown(&examples::board(cells(rows)));
        let components = told["components"].as_array().expect("list").clone();
        components.iter().map(|component| component["id"].as_str().expect("id").to_owned()).collect()
    };
    let all = ids(&rows);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (6, 6), "{all:?}");
    assert!(ids(&rows[..1]).iter().all(|id| all.contains(id)), "others change none");
    assert!(all.contains(&"azure.eastus".to_owned()), "{all:?}");
}

#[test]
fn updates_are_bounded_and_keep_the_first() {
    let said = |revision: u64| Change { revision, headline: format!("it is at {revision}"), ..change(1) };
    let told = shown(&with((1..=90).map(said).collect()));
    let updates = told["incidents"][0]["incident_updates"].as_array().expect("list").clone();
    assert_eq!(updates.len(), UPDATES);
    assert_eq!((&updates[0]["body"], &updates[UPDATES - 1]["body"]), (&json!("it is at 90"), &json!("it is at 1")));
}
