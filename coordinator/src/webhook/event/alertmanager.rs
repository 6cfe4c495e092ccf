//! Alerts for `POST /api/v2/alerts` of an Alertmanager.
//!
//! `FaultlineIncident` (labels incident, verdict, kind, element, severity), `FaultlineBlind`, `FaultlineHeartbeat` (which
//! always fires while we can see: route it to a receiver that alarms when it stops) and `FaultlineTest`. An alert that fires
//! carries an end [`LIVES`] ahead and is sent again before that, so that it ends by itself if we do.
//!
//! Rule: an alert is its labels. When they change, the old one is ended in the same message as the new one begins
//! (`an_alert_whose_labels_change_ends_under_the_old_ones`).

use std::time::Duration;

use faultline_attribution::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Event, Held, Scene, Standing, link_to, sentence, short, standing};
use crate::webhook::config::Webhook;

/// How far ahead the end of an alert that fires is. Source: four times [`crate::webhook::courier::AGAIN`], as Prometheus does.
pub(super) const LIVES: Duration = Duration::from_mins(4);

/// Longest value of a label.
const LABEL_BYTES: usize = 200;

/// An alert as it was last told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alert {
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    #[serde(rename = "startsAt")]
    starts_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty", default)]
    generator_url: String,
}

impl Alert {
    /// The same with an end.
    fn until(&self, ends_at: Timestamp) -> Value {
        let mut alert = serde_json::to_value(self).unwrap_or_default();
        alert["startsAt"] = json!(self.starts_at.min(ends_at));
        alert["endsAt"] = json!(ends_at);
        alert
    }
}

/// The body, and the alert that fires after it. `told` is the one that fires before it.
pub(super) fn body(event: &Event<'_>, webhook: &Webhook, scene: &Scene, told: Option<&str>) -> (Vec<u8>, Held) {
    let told: Option<Alert> = told.and_then(|told| serde_json::from_str(told).ok());
    let now = scene.now;
    let mut alert = alert(event, webhook, scene);
    let ends = match event {
        Event::Incident { change, .. } => (!change.state.is_open()).then(|| change.resolved_at.unwrap_or(now)),
        Event::Sight { sight, .. } => (!sight.below_quorum).then_some(now),
        Event::Heartbeat { .. } => Some(now.after(heartbeat_lives(webhook))),
        Event::Test { .. } => Some(now.after(Duration::from_mins(1))),
    };
    if let Some(ends_at) = ends {
        // What ends is what was told, whatever is said of it now.
        let ending = told.map_or(alert.clone(), |told| Alert { labels: told.labels, ..alert });
        return (json!([ending.until(ends_at)]).to_string().into_bytes(), Held::Nothing);
    }
    if let (Event::Incident { change, .. }, Some(told)) = (event, &told)
        && standing(change, scene) == Standing::Recovering
        && let Some(severity) = told.labels.get("severity")
    {
        alert.labels.insert("severity".into(), severity.clone());
    }
    let mut alerts = vec![alert.until(now.after(LIVES))];
    if let Some(told) = told.filter(|told| told.labels != alert.labels) {
        alerts.push(told.until(now));
    }
    let held = serde_json::to_string(&alert).unwrap_or_default();
    (Value::Array(alerts).to_string().into_bytes(), Held::Open(held))
}

/// Alerts that fire, once more; `None` for none.
pub(crate) fn again<'a>(told: impl Iterator<Item = &'a String>, now: Timestamp) -> Option<Vec<u8>> {
    let alerts = told.filter_map(|told| serde_json::from_str::<Alert>(told).ok());
    let alerts: Vec<Value> = alerts.map(|alert| alert.until(now.after(LIVES))).collect();
    (!alerts.is_empty()).then(|| Value::Array(alerts).to_string().into_bytes())
}

/// How long a heartbeat is good for: three of them may be lost, or a minute.
fn heartbeat_lives(webhook: &Webhook) -> Duration {
    webhook.heartbeat.map_or(LIVES, |heartbeat| (heartbeat.interval() * 3).max(Duration::from_mins(1)))
}

fn alert(event: &Event<'_>, webhook: &Webhook, scene: &Scene) -> Alert {
    let mut labels = Map::new();
    let mut label = |name: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(name.to_owned(), json!(short(value, LABEL_BYTES)));
        }
    };
    let mut annotations = Map::new();
    annotations.insert("summary".into(), json!(short(&sentence(event), 1000)));
    let starts_at = match event {
        Event::Incident { change, .. } => {
            label("alertname", "FaultlineIncident");
            label("incident", change.incident.as_str());
            label("verdict", change.verdict.as_str());
            label("kind", change.kind.map_or("", |kind| kind.as_str()));
            label("element", &change.element);
            label("severity", severity(standing(change, scene)));
            let seen = format!(
                "state {}, layer {}, confidence {:.2}, {} of {} vantage groups see it fail, revision {}",
                change.state,
                change.layer,
                change.confidence,
                change.failing_groups,
                change.total_groups,
                change.revision
            );
            annotations.insert("description".into(), json!(seen));
            change.onset_at
        }
        Event::Sight { blind_since, .. } => {
            label("alertname", "FaultlineBlind");
            label("feed", &scene.feed_id);
            label("severity", "warning");
            *blind_since
        }
        Event::Heartbeat { at, .. } => {
            label("alertname", "FaultlineHeartbeat");
            label("feed", &scene.feed_id);
            label("severity", "none");
            *at
        }
        Event::Test { name, at } => {
            label("alertname", "FaultlineTest");
            label("webhook", name);
            label("severity", "info");
            *at
        }
    };
    let generator_url = link_to(webhook.link.as_ref(), event).unwrap_or_default();
    Alert { labels, annotations, starts_at, generator_url }
}

fn severity(standing: Standing) -> &'static str {
    match standing {
        Standing::AccusedWidely => "critical",
        Standing::Accused => "warning",
        Standing::Suspected | Standing::Neither | Standing::Recovering | Standing::Ended => "info",
    }
}
