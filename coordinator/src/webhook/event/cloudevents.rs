//! CloudEvents 1.0 in the structured JSON form.
//!
//! `type` is `net.faultline.incident.v1.STATE`, `net.faultline.visibility.v1.lost` or `.regained`, `net.faultline.heartbeat.v1`
//! or `net.faultline.test.v1`; `source` is the feed, `subject` the incident, `sequence` (an extension) the place in the feed.
//! An incident's event is what `watch -o cloudevents` writes. What makes it too large is cut from the end
//! of its lists, evidence first, and counted in `left_out`.

use faultline_attribution::Visibility;
use serde_json::{Map, Value, json};

use super::{Event, MAX_BODY_BYTES, Scene};

/// Lists that may be cut, in the order in which they are.
const LISTS: [&str; 6] = ["evidence", "alibis", "suspects", "caveats", "regions", "notes"];

pub(super) fn body(event: &Event<'_>, scene: &Scene, id: &str) -> Vec<u8> {
    let (what, time, data) = match event {
        Event::Incident { change, .. } => {
            let data = serde_json::to_value(change).unwrap_or_default();
            (format!("net.faultline.incident.v1.{}", change.state), change.at, data)
        }
        Event::Sight { sight, blind_since, at } => {
            let what = if sight.below_quorum { "lost" } else { "regained" };
            let mut data = seen(sight);
            data.insert("blind_since".into(), json!(blind_since));
            (format!("net.faultline.visibility.v1.{what}"), *at, Value::Object(data))
        }
        Event::Heartbeat { sight, sequence, open, at } => {
            let mut data = seen(sight);
            data.insert("sequence".into(), json!(sequence));
            data.insert("open_incidents".into(), json!(open));
            ("net.faultline.heartbeat.v1".to_owned(), *at, Value::Object(data))
        }
        Event::Test { name, at } => ("net.faultline.test.v1".to_owned(), *at, json!({"webhook": name})),
    };
    let of_nobody = "urn:faultline".to_owned();
    let source = if scene.feed_id.is_empty() { of_nobody } else { format!("urn:faultline:feed:{}", scene.feed_id) };
    let mut envelope = json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": what,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Event::Incident { change, sequence, .. } = event {
        // As everywhere in the feed; that of the message has no dot.
        envelope["id"] = json!(format!("{}.{}", change.incident, change.revision));
        envelope["subject"] = json!(change.incident);
        envelope["sequence"] = json!(sequence.to_string());
    }
    fit(envelope)
}

fn seen(sight: &Visibility) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("evaluated_through".into(), json!(sight.evaluated_through));
    data.insert("live_groups".into(), json!(sight.live_groups));
    data.insert("total_groups".into(), json!(sight.total_groups));
    data.insert("live_groups_outside_clouds".into(), json!(sight.live_groups_outside_clouds));
    data.insert("below_quorum".into(), json!(sight.below_quorum));
    data.insert("reason".into(), json!(super::short(&sight.reason, 1000)));
    data
}

/// Cuts lists from their ends until the body fits.
fn fit(mut envelope: Value) -> Vec<u8> {
    let mut body = text(&envelope);
    for list in LISTS {
        let mut left_out = 0_usize;
        while body.len() >= MAX_BODY_BYTES {
            let Some(rows) = envelope["data"].get_mut(list).and_then(Value::as_array_mut) else { break };
            // Half of what is too much at a time would overshoot; an eighth of the rows is a few steps.
            let cut = rows.len().div_ceil(8);
            if cut == 0 {
                break;
            }
            rows.truncate(rows.len() - cut);
            left_out += cut;
            envelope["data"]["left_out"][list] = json!(left_out);
            body = text(&envelope);
        }
    }
    for long in ["headline", "undetermined_reason", "element", "superseded_by", "retraction_reason"] {
        if body.len() >= MAX_BODY_BYTES
            && let Some(words) = envelope["data"].get(long).and_then(Value::as_str)
        {
            envelope["data"][long] = json!(super::short(words, 1000));
            body = text(&envelope);
        }
    }
    body
}

fn text(envelope: &Value) -> Vec<u8> {
    envelope.to_string().into_bytes()
}
