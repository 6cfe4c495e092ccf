//! Each row of the state table in each format; what is too large, and what is not ours to trust.

use std::time::Duration;

use faultline_attribution::{EvidenceRow, Kind, Suspect};
use serde_json::Value;

use super::*;
use crate::{
    feed::examples::{NOW, front_door},
    webhook::config::Revisions,
};

fn row(group: &str) -> EvidenceRow {
    EvidenceRow { group: group.into(), ..front_door().evidence.remove(0) }
}

fn webhook(format: Format) -> Webhook {
    Webhook {
        url: "https://hooks.example.org/".parse().expect("url"),
        format,
        secrets: Vec::new(),
        routing_key_file: None,
        heartbeat: Some("60s".parse().expect("heartbeat")),
        revisions: Revisions::Each,
        link: Some("https://status.example.org/f/".parse().expect("link")),
        ca_file: None,
        allow_private: false,
        disabled: None,
        filter: Filter::default(),
    }
}

fn scene() -> Scene {
    let regions = [("aws".to_owned(), 6), ("azure".to_owned(), 6)].into();
    Scene { feed_id: "f00d".into(), regions, now: NOW, routing_key: "KEY".into() }
}

fn tell(format: Format, change: &Change, told: Option<&str>) -> (Option<Value>, Held) {
    let event = Event::Incident { change, sequence: 42, published_at: NOW };
    let telling = event.telling(&webhook(format), &scene(), told);
    let body = telling.message.map(|message| serde_json::from_slice(&message.body).expect("JSON"));
    (body, telling.held)
}

fn sight(below_quorum: bool) -> Visibility {
    let reason = if below_quorum { "two groups live".into() } else { String::new() };
    Visibility {
        evaluated_through: NOW,
        live_groups: 2,
        total_groups: 16,
        below_quorum,
        reason,
        ..Visibility::default()
    }
}

/// The rows of the table.
fn rows() -> Vec<(&'static str, Change)> {
    let base = front_door();
    let suspected =
        Change { state: State::Suspected, verdict: Verdict::Undetermined, element: String::new(), ..base.clone() };
    let one = Change {
        verdict: Verdict::Aws,
        element: "aws/us-east-1".into(),
        regions: vec!["aws/us-east-1".into()],
        ..base.clone()
    };
    let regions = (0..4).map(|n| format!("aws/r-{n}")).collect();
    let most = Change { verdict: Verdict::Aws, regions, ..base.clone() };
    let neither = Change { verdict: Verdict::Neither, kind: Some(Kind::EndpointApp), ..base.clone() };
    let recovering = Change { state: State::Recovering, ..base.clone() };
    let resolved = Change { state: State::Resolved, resolved_at: Some(NOW), ..base.clone() };
    let retracted = Change { state: State::Retracted, resolved_at: Some(NOW), ..base.clone() };
    vec![
        ("suspected", suspected),
        ("one region", one),
        ("most regions", most),
        ("no region", base),
        ("neither", neither),
        ("recovering", recovering),
        ("resolved", resolved),
        ("retracted", retracted),
    ]
}

#[test]
fn pagerduty_hears_the_state_table() {
    let heard = |told: Option<&str>| -> Vec<String> {
        let rows = rows().into_iter().map(|(_, change)| {
            let Some(body) = tell(Format::Pagerduty, &change, told).0 else { return "-".to_owned() };
            assert_eq!(body["dedup_key"], "inc-20251029T154113Z-1");
            assert_eq!(body["routing_key"], "KEY");
            let severity = body["payload"]["severity"].as_str().unwrap_or_default();
            format!("{} {severity}", body["event_action"].as_str().expect("action")).trim().to_owned()
        });
        rows.collect()
    };
    let untold = heard(None);
    assert_eq!(
        untold,
        ["trigger info", "trigger error", "trigger critical", "trigger critical", "-", "-", "-", "-"],
        "nobody is paged for what they were not told"
    );
    let told = heard(Some(""));
    assert_eq!(
        told,
        ["trigger info", "trigger error", "trigger critical", "trigger critical", "resolve", "-", "resolve", "resolve"]
    );
}

#[test]
fn an_alertmanager_hears_the_state_table() {
    let severity = |change: &Change| {
        let (body, held) = tell(Format::Alertmanager, change, None);
        let alert = body.expect("body")[0].clone();
        let severity = alert["labels"]["severity"].as_str().expect("severity").to_owned();
        let ends: Timestamp = serde_json::from_value(alert["endsAt"].clone()).expect("end");
        let fires = ends > NOW;
        assert_eq!(fires, matches!(held, Held::Open(_)), "{alert}");
        assert_eq!(alert["generatorURL"], "https://status.example.org/f/incidents/inc-20251029T154113Z-1");
        assert_eq!(alert["startsAt"], "2025-10-29T15:41:04Z");
        (severity, fires)
    };
    let heard: Vec<(String, bool)> = rows().iter().map(|(_, change)| severity(change)).collect();
    let heard: Vec<(&str, bool)> = heard.iter().map(|(severity, fires)| (severity.as_str(), *fires)).collect();
    assert_eq!(heard[..5], [("info", true), ("warning", true), ("critical", true), ("critical", true), ("info", true)]);
    assert!(heard[5].1 && !heard[6].1 && !heard[7].1, "{heard:?}");
}

#[test]
fn an_alert_whose_labels_change_ends_under_the_old_ones() {
    let rows = rows();
    let (suspected, accused, recovering, resolved) = (&rows[0].1, &rows[3].1, &rows[5].1, &rows[6].1);
    let (_, Held::Open(first)) = tell(Format::Alertmanager, suspected, None) else { panic!("it fires") };
    let (body, Held::Open(second)) = tell(Format::Alertmanager, accused, Some(&first)) else { panic!("it fires") };
    let alerts = body.expect("body");
    assert_eq!(alerts[0]["labels"]["severity"], "critical");
    assert_eq!(
        (&alerts[1]["labels"]["severity"], &alerts[1]["endsAt"]),
        (&"info".into(), &"2025-10-29T15:44:00Z".into())
    );
    let (body, Held::Open(third)) = tell(Format::Alertmanager, recovering, Some(&second)) else { panic!("it fires") };
    assert_eq!(body.expect("body").as_array().map(Vec::len), Some(1), "it fires as before");
    let (body, held) = tell(Format::Alertmanager, resolved, Some(&third));
    assert_eq!((&body.expect("body")[0]["labels"]["severity"], held), (&"critical".into(), Held::Nothing));
    let later = NOW.after(Duration::from_mins(1));
    let again: Value = serde_json::from_slice(&again([third].iter(), later).expect("it fires")).expect("JSON");
    assert_eq!(again[0]["endsAt"], "2025-10-29T15:49:00Z");
    assert!(super::again([String::new()].iter(), later).is_none());
}

#[test]
fn a_cloudevent_carries_the_whole_change() {
    let change = front_door();
    let (body, held) = tell(Format::Cloudevents, &change, None);
    let body = body.expect("body");
    for (name, value) in [
        ("specversion", "1.0"),
        ("type", "net.faultline.incident.v1.attributed"),
        ("source", "urn:faultline:feed:f00d"),
        ("subject", "inc-20251029T154113Z-1"),
        ("id", "inc-20251029T154113Z-1.2"),
        ("time", "2025-10-29T15:44:00Z"),
        ("sequence", "42"),
        ("datacontenttype", "application/json"),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(serde_json::from_value::<Change>(body["data"].clone()).expect("a change"), change);
    assert_eq!(held, Held::Open(String::new()));
}

#[test]
fn however_much_there_is_a_body_keeps_its_size() {
    let evidence = (0..500).map(|n| row(&format!("group-{n}"))).collect();
    let (body, _) = tell(Format::Cloudevents, &Change { evidence, ..front_door() }, None);
    let body = body.expect("body");
    let (kept, cut) =
        (body["data"]["evidence"].as_array().expect("rows"), body["data"]["left_out"]["evidence"].as_u64());
    assert!(!kept.is_empty() && kept.len() as u64 + cut.expect("counted") == 500, "{} {cut:?}", kept.len());
    assert_eq!(kept[0]["group"], "group-0", "the strongest stay");
    assert!(body.to_string().len() < MAX_BODY_BYTES);

    let long = "<!channel> & \u{1f525}\n".repeat(10_000);
    let suspect = Suspect { element: long.clone(), probability: 0.5 };
    let huge = Change {
        headline: long.clone(),
        element: long.clone(),
        undetermined_reason: long.clone(),
        superseded_by: long.clone(),
        regions: vec![long.clone(); 9],
        caveats: vec![long.clone(); 9],
        suspects: vec![suspect; 9],
        ..front_door()
    };
    for format in [Format::Cloudevents, Format::Alertmanager, Format::Pagerduty, Format::Slack] {
        let (body, _) = tell(format, &huge, None);
        let size = body.expect("body").to_string().len();
        assert!(size < MAX_BODY_BYTES, "{format:?}: {size}");
    }
}

#[test]
fn slack_mentions_nobody_whatever_a_headline_says() {
    let headline = "<!channel> <@U123> <https://evil.example|here> & @here *bold*".to_owned();
    let (body, _) = tell(Format::Slack, &Change { headline, ..front_door() }, None);
    let body = body.expect("body");
    let text = body.to_string();
    assert!(!text.contains("<!") && !text.contains("<@") && !text.contains("<https://evil"), "{text}");
    assert!(text.contains("&lt;!channel&gt;") && text.contains("&amp; @here"), "{text}");
    assert_eq!((&body["parse"], &body["link_names"]), (&"none".into(), &false.into()));
    let blocks = body["blocks"].as_array().expect("blocks");
    let marked: Vec<&Value> = blocks.iter().filter(|block| block.to_string().contains("mrkdwn")).collect();
    assert_eq!(marked.len(), 1, "the link alone has marks: {marked:?}");
    assert!(marked[0].to_string().contains("<https://status.example.org/f/incidents/inc-20251029T154113Z-1|Evidence>"));
    let angles = Change { headline: "<".repeat(400), ..front_door() };
    let header = tell(Format::Slack, &angles, None).0.expect("body")["blocks"][0]["text"]["text"].clone();
    assert!(header.as_str().expect("text").len() <= 150, "{header}");
}

#[test]
fn the_end_of_what_was_told_passes_every_filter() {
    let filter = Filter { states: vec![State::Attributed], verdicts: vec![Verdict::Azure], ..Filter::default() };
    let accused = front_door();
    let resolved = Change { state: State::Resolved, ..front_door() };
    assert!(wants(Format::Slack, &filter, &accused, false));
    assert!(!wants(Format::Slack, &filter, &resolved, false));
    assert!(wants(Format::Slack, &filter, &resolved, true));
    let aws = Filter { verdicts: vec![Verdict::Aws], ..Filter::default() };
    assert!(!wants(Format::Slack, &aws, &accused, false));
}

#[test]
fn an_element_is_found_as_culprit_suspect_or_region() {
    let filter = |element: &str| Filter { elements: vec![element.into()], ..Filter::default() };
    let suspects = vec![Suspect { element: "aws/us-east-1/s3".into(), probability: 0.4 }];
    let change = Change { suspects, regions: vec!["azure/westeurope".into()], ..front_door() };
    for (element, wanted) in [
        ("azure/front-door", true),
        ("azure", true),
        ("aws/us-east-1", true),
        ("aws/us-east-1/s3/bucket", true),
        ("azure/westeurope", true),
        ("azure/front", false),
        ("aws/us-east-11", false),
        ("gcp", false),
    ] {
        assert_eq!(wants(Format::Cloudevents, &filter(element), &change, false), wanted, "{element}");
    }
}

#[test]
fn an_alertmanager_hears_of_a_suspicion_only_where_asked() {
    let suspected = Change { state: State::Suspected, ..front_door() };
    let asked = Filter { states: vec![State::Suspected], ..Filter::default() };
    assert!(!wants(Format::Alertmanager, &Filter::default(), &suspected, false));
    assert!(wants(Format::Alertmanager, &asked, &suspected, false));
    assert!(wants(Format::Pagerduty, &Filter::default(), &suspected, false));
}

#[test]
fn lost_sight_is_an_alarm_and_never_an_all_clear() {
    for below_quorum in [true, false] {
        let sight = sight(below_quorum);
        let event = Event::Sight { sight: &sight, blind_since: NOW, at: NOW };
        let body = |format| -> Value {
            let message = event.telling(&webhook(format), &scene(), Some("")).message.expect("message");
            serde_json::from_slice(&message.body).expect("JSON")
        };
        let (what, action) = if below_quorum { ("lost", "trigger") } else { ("regained", "resolve") };
        assert_eq!(body(Format::Cloudevents)["type"], format!("net.faultline.visibility.v1.{what}"));
        assert_eq!(body(Format::Pagerduty)["event_action"], action);
        let alert = body(Format::Alertmanager)[0].clone();
        assert_eq!(alert["labels"]["alertname"], "FaultlineBlind");
        let ends: Timestamp = serde_json::from_value(alert["endsAt"].clone()).expect("end");
        assert_eq!(ends > NOW, below_quorum);
        assert_eq!(body(Format::Slack)["text"].as_str().expect("text").contains("cannot see"), below_quorum);
    }
}

#[test]
fn an_id_has_no_dot_since_that_separates_what_is_signed() {
    let (change, sight) = (front_door(), sight(true));
    for event in [
        Event::Incident { change: &change, sequence: 1, published_at: NOW },
        Event::Sight { sight: &sight, blind_since: NOW, at: NOW },
        Event::Heartbeat { sight: &sight, sequence: 1, open: 0, at: NOW.after(Duration::from_millis(5)) },
        Event::Test { name: "ops", at: NOW },
    ] {
        let id = event.id("f00d");
        assert!(!id.contains('.') && id.is_ascii(), "{id}");
    }
}
