//! Lines as CloudEvents 1.0, in the structured JSON form.
//!
//! `type` is `net.faultline.incident.v1.<state>` or `net.faultline.visibility.v1.<lost|regained>`; `source` is the feed, so that
//! `source` and `id` (incident and revision) name an event once and for all; `sequence` is its place in the feed, to resume from.

use faultline_attribution::Change;
use serde::Serialize;

/// One event.
#[derive(Serialize)]
pub(super) struct CloudEvent<T> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    /// A string, as the extension of that name has it.
    sequence: String,
    data: T,
}

impl<'a> CloudEvent<&'a Change> {
    /// A revision of an incident.
    pub(super) fn of(change: &'a Change, feed_id: &str, sequence: u64) -> Self {
        Self {
            id: format!("{}.{}", change.incident, change.revision),
            r#type: format!("net.faultline.incident.v1.{}", change.state.as_str()),
            subject: change.incident.to_string(),
            ..event(change, change.at.to_string(), feed_id, sequence)
        }
    }
}

/// Sight lost or regained.
pub(super) fn sight<T: Serialize>(data: T, at: String, is_lost: bool, feed_id: &str, sequence: u64) -> CloudEvent<T> {
    CloudEvent {
        id: format!("visibility.{at}"),
        r#type: format!("net.faultline.visibility.v1.{}", if is_lost { "lost" } else { "regained" }),
        subject: "visibility".into(),
        ..event(data, at, feed_id, sequence)
    }
}

fn event<T>(data: T, time: String, feed_id: &str, sequence: u64) -> CloudEvent<T> {
    CloudEvent {
        specversion: "1.0",
        id: String::new(),
        source: format!("urn:faultline:feed:{feed_id}"),
        r#type: String::new(),
        subject: String::new(),
        time,
        datacontenttype: "application/json",
        sequence: sequence.to_string(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn an_event_has_every_attribute_that_cloudevents_asks_for() {
        let change = samples::change();
        let event = serde_json::to_value(CloudEvent::of(&change, "f00d", 8117)).expect("JSON");
        let expected = [
            ("specversion", "1.0"),
            ("id", "inc-20251029T154113Z-1.2"),
            ("source", "urn:faultline:feed:f00d"),
            ("type", "net.faultline.incident.v1.attributed"),
            ("subject", "inc-20251029T154113Z-1"),
            ("time", "2025-10-29T15:42:20Z"),
            ("datacontenttype", "application/json"),
            ("sequence", "8117"),
        ];
        for (attribute, value) in expected {
            assert_eq!(event[attribute], value, "{attribute}");
            // Attribute names are lower case letters and digits.
            assert!(attribute.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        }
        assert_eq!(event["data"], serde_json::to_value(&change).expect("JSON"));
        assert_eq!(event.as_object().expect("an object").len(), expected.len() + 1);
    }

    #[test]
    fn sight_is_lost_or_regained() {
        let event = serde_json::to_value(sight("data", "2025-10-29T15:42:20Z".into(), true, "f00d", 1)).expect("JSON");
        assert_eq!(event["type"], "net.faultline.visibility.v1.lost");
        assert_eq!(event["id"], "visibility.2025-10-29T15:42:20Z");
    }
}
