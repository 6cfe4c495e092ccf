//! What is written is read back, and what is wrong is named.

use faultline_attribution::{Cause, Input, Layer, Observation, Outcome, ProbeKind, Target, Timestamp, Vantage, World};

use super::*;
use crate::{
    case::{Case, TrueIncident},
    scenario::Verdict,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_761_752_000_000_000 + second * 1_000_000)
}

fn entry() -> Entry {
    let target = Target {
        probe: ProbeKind::Https,
        host: Some("portal.example".into()),
        hosted_on: "azure".into(),
        region: None,
        zone: None,
        service: None,
        plane: None,
        geography: None,
        cdn: Some("azure/front-door".into()),
        dns_operator: None,
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some("shop".into()),
        verified: true,
    };
    let vantage = Vantage { group: "fra".into(), country: Some("de".into()), ..Vantage::default() };
    let failed = Outcome::Failed { layer: Layer::Connect, cause: Cause::ConnectTimeout };
    let run = |second: i64, outcome| {
        let observation = Observation::new("fra-1".into(), "portal".into(), at(second), outcome);
        (at(second + 3), Input::Observation(Observation { received_at: at(second + 3), ..observation }))
    };
    let incident = TrueIncident {
        verdict: Verdict::Azure,
        kinds: Vec::new(),
        elements: vec!["azure/front-door".into(), "azure/network".into()],
        onset: at(25),
        end: Some(at(70)),
    };
    Entry {
        case: Case {
            id: "front-door".into(),
            family: "provider-cdn".into(),
            seed: 3,
            world: World {
                targets: [("portal".into(), target)].into_iter().collect(),
                vantages: [("fra-1".into(), vantage)].into_iter().collect(),
            },
            inputs: vec![run(0, Outcome::Passed), run(30, failed), run(60, failed)],
            start: at(-10),
            end: at(90),
            truth: vec![incident],
            background: Vec::new(),
        },
        liars: 0.0,
        is_hard: true,
        is_held_out: false,
    }
}

#[test]
fn a_written_case_is_read_back() {
    let parent = tempfile::tempdir().expect("a directory");
    let wrote = entry();
    let directory = export(&wrote, parent.path()).expect("written");
    assert_eq!(directories(parent.path()).expect("listed"), std::slice::from_ref(&directory));
    let read = load(&directory).expect("read");
    assert_eq!((&read.case.id, read.case.seed), (&"front-door-3".to_owned(), 0));
    assert_eq!((read.case.family, read.is_hard), (wrote.case.family, true));
    assert_eq!(read.case.truth, wrote.case.truth);
    assert_eq!((read.case.start, read.case.end), (wrote.case.start, wrote.case.end));
    assert_eq!(read.case.inputs, wrote.case.inputs);
    assert_eq!(read.case.world, wrote.case.world);
}

#[test]
fn a_record_of_a_real_incident_is_a_truth() {
    let record = r#"
        schema = 1
        id = "dyn"
        [truth]
        verdict = "neither"
        kind = "third-party-dns"
        accept_kinds = ["third-party-dns", "transit"]
        confidence = "high"
        [time]
        start = 2016-10-21T11:10:00Z
        end = 2016-10-21T17:45:00Z
        precision = "minute"
        [[time.milestones]]
        kind = "second-wave"
    "#;
    let told = truth::parse(record).expect("read");
    assert_eq!(told.truth[0].kinds, ["third-party-dns", "transit"]);
    assert!(told.truth[0].elements.is_empty());
    assert_eq!(told.truth[0].onset.to_string(), "2016-10-21T11:10:00Z");
    let none = record.replace("kind = \"third-party-dns\"", "kind = \"none\"");
    assert!(truth::parse(&none).expect("read").truth.is_empty());
}

#[test]
fn a_wrong_line_is_named_with_its_number() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = export(&entry(), parent.path()).expect("written");
    let results = directory.join("results.ndjson");
    let text = std::fs::read_to_string(&results).expect("results").replacen("fra-1", "nobody", 1);
    std::fs::write(&results, text).expect("written");
    let error = load(&directory).expect_err("an unknown agent").to_string();
    assert!(error.ends_with("results.ndjson:1: agent: \"nobody\" is not in the world"), "{error}");
    let truth = truth::parse("[[truth]]\nverdict = \"aws\"\nkind = \"transit\"\nonset_at = 2025-01-01T00:00:00Z");
    assert_eq!(truth, Err("kind = \"transit\" does not go with verdict = \"aws\"".to_owned()));
}
