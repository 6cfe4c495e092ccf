//! Events for version 2 of PagerDuty's Events API.
//!
//! `dedup_key` is the incident, so that PagerDuty has one of its own for each; an incident that turns out to be neither cloud
//! is resolved there, since nobody is paged for it. Recovering says nothing: an acknowledgement would keep the next trigger
//! from paging anybody.

use faultline_attribution::Timestamp;
use serde_json::{Value, json};

use super::{Event, Scene, Standing, link_to, sentence, short, standing};
use crate::webhook::config::Link;

/// Source: limits of the Events API.
const SUMMARY_BYTES: usize = 1024;
const KEY_BYTES: usize = 255;

/// What is done to PagerDuty's incident.
enum Action {
    Trigger(&'static str),
    Resolve,
}

/// The body; `None` where nothing is to be sent. `is_told`: whether it was triggered before.
pub(super) fn body(event: &Event<'_>, link: Option<&Link>, scene: &Scene, is_told: bool) -> Option<Vec<u8>> {
    let (key, action, at) = match event {
        Event::Incident { change, published_at, .. } => {
            let action = match standing(change, scene) {
                Standing::Suspected => Action::Trigger("info"),
                Standing::Accused => Action::Trigger("error"),
                Standing::AccusedWidely => Action::Trigger("critical"),
                Standing::Neither | Standing::Ended if is_told => Action::Resolve,
                Standing::Neither | Standing::Ended | Standing::Recovering => return None,
            };
            (change.incident.to_string(), action, *published_at)
        }
        Event::Sight { sight, at, .. } => {
            let action = if sight.below_quorum { Action::Trigger("warning") } else { Action::Resolve };
            (format!("faultline-blind-{}", scene.feed_id), action, *at)
        }
        Event::Test { name, at } => (format!("faultline-test-{name}"), Action::Trigger("info"), *at),
        Event::Heartbeat { .. } => return None,
    };
    let mut body = json!({"routing_key": scene.routing_key, "dedup_key": short(&key, KEY_BYTES)});
    match action {
        Action::Resolve => body["event_action"] = json!("resolve"),
        Action::Trigger(severity) => {
            body["event_action"] = json!("trigger");
            body["client"] = json!("Faultline");
            body["payload"] = payload(event, scene, severity, at);
            if let Some(href) = link_to(link, event) {
                body["client_url"] = json!(href);
                body["links"] = json!([{"href": href, "text": "Evidence"}]);
            }
        }
    }
    Some(body.to_string().into_bytes())
}

fn payload(event: &Event<'_>, scene: &Scene, severity: &str, at: Timestamp) -> Value {
    let source = if scene.feed_id.is_empty() { "faultline".to_owned() } else { format!("faultline {}", scene.feed_id) };
    let mut payload = json!({
        "summary": short(&sentence(event), SUMMARY_BYTES),
        "source": source,
        "severity": severity,
        "timestamp": at,
    });
    if let Event::Incident { change, .. } = event {
        let element = if change.element.is_empty() { "undetermined" } else { &change.element };
        payload["component"] = json!(short(element, KEY_BYTES));
        payload["group"] = json!(change.verdict);
        payload["class"] = json!(change.layer);
        payload["custom_details"] = json!({
            "state": change.state,
            "revision": change.revision,
            "confidence": change.confidence,
            "onset_at": change.onset_at,
            "onset_uncertainty_s": change.onset_uncertainty_s,
            "failing_groups": change.failing_groups,
            "total_groups": change.total_groups,
            "regions": change.regions.iter().take(50).map(|region| short(region, 100)).collect::<Vec<_>>(),
        });
    }
    payload
}
