//! One line for a result, for people and for programs. Rule: the words are those of `faultline results export`; what is unknown is
//! absent; text of others cannot drive a terminal.

use faultline_attribution::Timestamp;
use faultline_proto::{
    convert,
    measure::v1alpha1::Measurement,
    types::v1::{Outcome, Timings},
    word,
};
use serde::Serialize;

use crate::cli::colour::{Tone, clean};

/// A result as a line of JSON; `type` comes first, as in every line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    r#type: &'static str,
    target: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    probe: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    region: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    network: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    country: &'a str,
    at: Timestamp,
    received_at: Timestamp,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings_us: Option<Spent>,
    #[serde(skip_serializing_if = "String::is_empty")]
    protocol: String,
    #[serde(skip_serializing_if = "is_zero")]
    status: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    family: u32,
    attempt: u32,
    #[serde(skip_serializing_if = "is_not")]
    on_demand: bool,
    #[serde(skip_serializing_if = "is_not")]
    late: bool,
    #[serde(skip_serializing_if = "is_not")]
    clock_suspect: bool,
}

/// Microseconds spent per phase.
#[derive(Serialize)]
struct Spent {
    #[serde(skip_serializing_if = "is_zero")]
    dns: u32,
    #[serde(skip_serializing_if = "is_zero")]
    connect: u32,
    #[serde(skip_serializing_if = "is_zero")]
    tls: u32,
    #[serde(skip_serializing_if = "is_zero")]
    first_byte: u32,
    #[serde(skip_serializing_if = "is_zero")]
    body: u32,
    #[serde(skip_serializing_if = "is_zero")]
    total: u32,
}

/// Results that are missing, as a line of JSON; how many where that is known.
#[derive(Serialize)]
pub(super) struct GapLine {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<u64>,
    from: Timestamp,
    to: Timestamp,
}

/// The line of what is missing.
pub(super) fn gap(results: Option<u64>, from: Timestamp, to: Timestamp) -> GapLine {
    GapLine { r#type: "gap", results, from, to }
}

/// A result as JSON.
pub(super) fn result(measured: &Measurement) -> Line<'_> {
    let timings = measured.timings.filter(|timings| *timings != Timings::default());
    Line {
        r#type: "result",
        target: &measured.target,
        probe: &measured.probe,
        region: &measured.region,
        group: &measured.vantage_group,
        network: &measured.vantage_network,
        country: &measured.vantage_country,
        at: at(measured.started_at.as_ref()),
        received_at: at(measured.received_at.as_ref()),
        outcome: word(measured.outcome()),
        layer: (measured.layer != 0).then(|| word(measured.layer())),
        cause: (measured.cause != 0).then(|| word(measured.cause())),
        reason: (measured.reason != 0).then(|| word(measured.reason())),
        timings_us: timings.map(|timings| Spent {
            dns: timings.dns_us,
            connect: timings.connect_us,
            tls: timings.tls_us,
            first_byte: timings.first_byte_us,
            body: timings.body_us,
            total: timings.total_us,
        }),
        protocol: convert::protocol(measured.protocol()),
        status: measured.status,
        rcode: measured.rcode_plus_one.checked_sub(1),
        family: measured.family,
        attempt: measured.attempt,
        on_demand: measured.on_demand,
        late: measured.late,
        clock_suspect: measured.clock_suspect,
    }
}

/// A result for people, with styles.
pub(super) fn text(measured: &Measurement) -> String {
    let (tone, how) = match measured.outcome() {
        Outcome::Passed => (Tone::Well, "● passed".to_owned()),
        Outcome::Failed => (Tone::Accused, format!("✕ failed {} {}", word(measured.layer()), word(measured.cause()))),
        Outcome::Unmeasured => (Tone::Blind, format!("░ unmeasured {}", word(measured.reason()))),
        Outcome::Unspecified => (Tone::Blind, "? unknown".to_owned()),
    };
    let took = measured.timings.map_or(0, |timings| timings.total_us);
    let took = if took == 0 { String::new() } else { format!("  {:.1} ms", f64::from(took) / 1000.0) };
    let when = at(measured.started_at.as_ref()).to_string();
    format!(
        "{}  {}  {}  from {}{took}",
        Tone::Faint.paint(&when),
        tone.paint(&how),
        clean(&measured.target),
        clean(&measured.vantage_group)
    )
}

/// A wire instant; the epoch when absent.
pub(super) fn at(at: Option<&prost_types::Timestamp>) -> Timestamp {
    Timestamp::from_micros(convert::micros(at).unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_not(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{Cause, Layer};

    use super::*;

    #[test]
    fn a_line_has_the_words_of_an_export_and_nothing_unknown() {
        let measured = Measurement {
            target: "shop".into(),
            vantage_group: "network\u{1b}[2J".into(),
            started_at: Some(convert::timestamp(1_000_000)),
            received_at: Some(convert::timestamp(2_000_000)),
            outcome: Outcome::Failed as i32,
            layer: Layer::Dns as i32,
            cause: Cause::DnsTimeout as i32,
            timings: Some(Timings { dns_us: 5, total_us: 5, ..Timings::default() }),
            attempt: 1,
            ..Measurement::default()
        };
        let json = serde_json::to_string(&result(&measured)).expect("JSON");
        let expected = r#"{"type":"result","target":"shop","group":"network\u001b[2J","at":"1970-01-01T00:00:01Z","received_at":"1970-01-01T00:00:02Z","outcome":"failed","layer":"dns","cause":"dns_timeout","timings_us":{"dns":5,"total":5},"attempt":1}"#;
        assert_eq!(json, expected);
        let plain = anstream::adapter::strip_str(&text(&measured)).to_string();
        assert!(plain.contains("✕ failed dns dns_timeout  shop  from network\u{fffd}[2J"), "{plain:?}");
    }
}
