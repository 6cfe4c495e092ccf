//! Lines that read, lines that do not, and lines that are written.

use faultline_attribution::{Cause, Layer, Reason};

use super::*;

const FAILED: &str = r#"{"agent":"fra-1","target":"aws/us-east-1/dynamodb","at":"2025-10-20T06:49:03.125Z","probe":"https","outcome":"failed","layer":"dns","cause":"dns_empty_answer","timings_us":{"dns":18211,"total":18211},"resolver":"system"}"#;

fn read(line: &str) -> Result<ResultLine<'_>, String> {
    parse(line.as_bytes(), &mut UnknownFields::default()).map_err(|fault| fault.to_string())
}

#[test]
fn the_line_of_the_design_reads() {
    let line = read(FAILED).expect("reads");
    assert_eq!(line.outcome, Outcome::Failed { layer: Layer::Dns, cause: Cause::DnsEmptyAnswer });
    assert_eq!((&*line.agent, &*line.resolver, line.probe), ("fra-1", "system", Some(ProbeKind::Https)));
    assert_eq!(line.arrival().to_string(), "2025-10-20T06:49:03.143211Z", "at + total where received_at is absent");
    assert!(matches!(line.agent, Cow::Borrowed(_)), "nothing is copied that can be borrowed");
}

#[test]
fn empty_texts_zeros_and_empty_lists_are_unknown() {
    let line = read(
        r#"{"v":0,"agent":"a","target":"t","at":"2025-10-20T06:49:03Z","received_at":"","probe":"","outcome":"passed","layer":"",
        "cause":"","reason":"","timings_us":{"total":0},"resolver":"","family":0,"attempt":0,"on_demand":false,"late":0,
        "clock_suspect":"","address":"","protocol":"","status":0,"edge":{},"cnames":[],"name_servers":"","issuer":0,
        "answers":null,"rcode":0,"last_hop":[]}"#,
    );
    let at = "2025-10-20T06:49:03Z".parse::<jiff::Timestamp>().expect("at").as_microsecond();
    assert_eq!(line, Ok(ResultLine::new("a", "t", Timestamp::from_micros(at), Outcome::Passed)));
}

#[test]
fn every_fault_names_its_field_and_value() {
    let rows = [
        (r#""agent":"fra-1","#, "", "agent: missing"),
        (r#""fra-1""#, r#""""#, "agent: missing"),
        (r#""fra-1""#, "7", "agent: 7 is not a text"),
        (r#""target":"aws/us-east-1/dynamodb","#, "", "target: missing"),
        ("2025-10-20T06:49:03.125Z", "yesterday", r#"at: "yesterday" is not an RFC 3339 instant"#),
        ("2025-10-20T06:49:03.125Z", "2025-10-20T06:49:03", r#"at: "2025-10-20T06:49:03" is not an RFC 3339"#),
        (r#""failed""#, r#""broken""#, r#"outcome: "broken" is not an outcome, one of passed, failed, unmeasured"#),
        (r#""outcome":"failed","#, "", "outcome: missing"),
        (r#""layer":"dns""#, r#""layer":"ip""#, r#"layer: "ip" is not a layer, one of dns, connect, tls, http"#),
        ("dns_empty_answer", "dns_sad", r#"cause: "dns_sad" is not a cause"#),
        (r#""layer":"dns","#, "", "layer: missing, and outcome is failed"),
        (r#","cause":"dns_empty_answer""#, "", "cause: missing, and outcome is failed"),
        (r#""failed""#, r#""passed""#, "layer: does not go with outcome passed"),
        (r#""failed","layer":"dns","cause":"dns_empty_answer""#, r#""unmeasured""#, "reason: missing"),
        (
            r#""failed","layer":"dns","cause":"dns_empty_answer""#,
            r#""unmeasured","reason":"tired""#,
            r#"reason: "tired" is not a reason, one of no_ipv4,"#,
        ),
        (r#""layer":"dns""#, r#""layer":"dns","reason":"no_ipv4""#, "reason: does not go with outcome failed"),
        (r#""https""#, r#""ping""#, r#"probe: "ping" is not a probe, one of dns, tcp, tls, https, http3"#),
        (r#""total":18211"#, r#""total":-1"#, "timings_us: total: -1 is not a number of microseconds"),
        (r#""resolver":"system""#, r#""family":5"#, "family: 5 is not an address family, 4 or 6"),
        (r#""resolver":"system""#, r#""status":70000"#, "status: 70000 is not an HTTP status"),
        (r#""resolver":"system""#, r#""address":"home""#, r#"address: "home" is not an IP address"#),
        (r#""resolver":"system""#, r#""late":"yes""#, r#"late: "yes" is not true or false"#),
        (r#""resolver":"system""#, r#""v":2"#, "v: 2 is not a version that this build reads (1)"),
        (r#""resolver":"system""#, r#""cnames":"a.example""#, r#"cnames: "a.example" is not a list of texts"#),
        (r#""resolver":"system""#, r#""agent":"fra-2""#, "agent: stands twice"),
        (r#""resolver":"system"}"#, r#""resolver":"#, "resolver: EOF while parsing a value"),
    ];
    for (from, to, expected) in rows {
        let text = FAILED.replacen(from, to, 1);
        let found = read(&text).expect_err(expected);
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
    assert!(read("[1]").expect_err("a list").contains("expected one result, a JSON object"));
    assert!(read("{} {}").is_err());
}

#[test]
fn unknown_fields_are_ignored_and_counted() {
    let mut unknown = UnknownFields::default();
    let line = FAILED.replacen(r#""dns":18211"#, r#""quic":[1,{"a":2}]"#, 1).replacen("probe", "weather", 1);
    parse(line.as_bytes(), &mut unknown).expect("reads");
    assert_eq!(
        unknown.to_string(),
        "ignored 2 fields that this version does not know: timings_us.quic (1), weather (1)"
    );
}

#[test]
fn a_written_line_reads_back_as_itself() {
    let at = Timestamp::from_micros(1_760_942_943_125_001);
    let bare = ResultLine::new("a", "t", at, Outcome::Unmeasured { reason: Reason::NoIpv6 });
    let whole = ResultLine {
        received_at: Some(Timestamp::from_micros(1_760_942_943_999_999)),
        probe: Some(ProbeKind::Http3),
        outcome: Outcome::Failed { layer: Layer::Http, cause: Cause::HttpStatus },
        timings: Timings { dns: 1, connect: 2, tls: 3, first_byte: 4, body: 5, total: 15 },
        resolver: "authority:ns1.example".into(),
        family: Some(6),
        attempt: 2,
        on_demand: true,
        late: true,
        clock_suspect: true,
        address: Some("2001:db8::1".parse().expect("address")),
        protocol: "http3".into(),
        status: Some(503),
        edge: vec![("server".into(), "a \"b\" \\ c".into())],
        cnames: vec!["x.azurefd.net".into()],
        name_servers: vec!["ns1.example".into()],
        issuer: "R3".into(),
        answers: vec!["192.0.2.1".into()],
        rcode: "NOERROR".into(),
        last_hop: "as3356".into(),
        ..bare.clone()
    };
    for line in [bare, whole] {
        let text = serde_json::to_string(&line).expect("writes");
        assert_eq!(read(&text), Ok(line), "{text}");
    }
}
