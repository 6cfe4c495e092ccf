//! What a report must tell, and what it must never tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use faultline_attribution::{State, Verdict};

use super::*;
use crate::{
    feed::examples::{self, ONSET},
    history::Minute,
};

fn at(second: u64) -> Timestamp {
    ONSET.after(Duration::from_secs(second))
}

#[test]
fn the_summary_says_who_since_when_how_fast_and_who_is_cleared() {
    let summary = Document::of(&material()).expect("a report").summary;
    assert_eq!(
        summary,
        [
            "On 29 October 2025 at 15:41:04 UTC (give or take 20 s) Azure Front Door broke: connections time out from 16 of \
             the 16 independent vantages that looked.",
            "It lasted 3 min 10 s; Faultline noticed it 9 s after it began and named the culprit 12 s after it began, with a \
             confidence of 0.981 (HIGH).",
            "AWS was not affected: 121 of 121 checks passed there from the same vantages in the same minutes.",
        ]
    );
}

#[test]
fn every_format_has_the_timeline_the_alibi_the_evidence_and_the_doubts() {
    for format in [Format::Md, Format::Html, Format::Json] {
        let text = format.write(&material()).expect("a report");
        for what in ["Azure Front Door", "connect_timeout", "mad-1", "it could also be Azure eastus", "0.981", "121"] {
            let capital = words::capital(what);
            assert!(text.contains(what) || text.contains(&capital), "{format:?}: no {what}: {text}");
        }
        if format != Format::Json {
            for what in
                ["+12 s", "Noticed: 9 s after the onset", "Lasted: 3 min 10 s", "Called over: 4 min", "15:44:14 UTC"]
            {
                assert!(text.contains(what), "{format:?}: no {what}: {text}");
            }
        }
    }
}

#[test]
fn the_html_is_one_file_with_its_pictures_and_without_script() {
    let html = Format::Html.write(&material()).expect("a report");
    assert_eq!(html.matches("<svg").count(), 3, "{html}");
    assert!(html.contains("<style>") && html.contains("prefers-color-scheme: dark") && html.contains("@media print"));
    for never in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(never), "{never}: {html}");
    }
}

#[test]
fn the_json_holds_the_material_that_it_was_made_of() {
    let json = Format::Json.write(&material()).expect("a report");
    assert_eq!(serde_json::from_str::<Material>(&json).expect("material"), material());
    let object: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(object["v"], 1);
    assert_eq!((&object["attributed_after_s"], &object["lasted_s"]), (&12.0.into(), &190.0.into()));
    assert_eq!(object["telling_revision"], 2);
}

#[test]
fn an_incident_that_goes_on_is_told_as_such() {
    let mut material = material();
    material.revisions.truncate(2);
    let document = Document::of(&material).expect("a report");
    assert_eq!(document.title, "Azure Front Door is failing");
    assert!(document.summary[1].starts_with("It has lasted 10 min and goes on;"), "{:?}", document.summary);
    let text = markdown::write(&document);
    assert!(text.contains("| It goes on. |") && text.contains("AWS is not affected"), "{text}");
    assert!(!text.contains("Called over"), "{text}");
}

#[test]
fn a_retracted_incident_is_told_as_our_mistake() {
    let mut material = material();
    let headline = "We were wrong: Azure Front Door did not fail; it is the CDN fastly.".to_owned();
    let retracted = Change {
        revision: 3,
        state: State::Retracted,
        at: at(90),
        resolved_at: Some(at(90)),
        headline,
        ..material.revisions[1].clone()
    };
    material.revisions.truncate(2);
    material.revisions.push(retracted);
    let document = Document::of(&material).expect("a report");
    assert_eq!((document.title.as_str(), document.class), ("Retracted: Azure Front Door did not fail", "retracted"));
    let summary = document.summary.join(" ");
    assert!(summary.contains("took it back after 1 min 18 s") && !summary.contains("not affected"), "{summary}");
}

#[test]
fn a_cloud_that_nothing_clears_is_not_cleared() {
    let mut material = material();
    for change in &mut material.revisions {
        change.alibis.clear();
    }
    let text = Format::Md.write(&material).expect("a report");
    assert!(text.contains("AWS was not accused, and not cleared either"), "{text}");
    assert!(!text.contains("AWS was not affected"), "{text}");
}

#[test]
fn while_nobody_was_accused_nobody_is_named_or_cleared() {
    let mut material = material();
    material.revisions.truncate(1);
    let ended = Change {
        revision: 2,
        state: State::Resolved,
        at: at(60),
        resolved_at: Some(at(60)),
        ..material.revisions[0].clone()
    };
    material.revisions.push(ended);
    let document = Document::of(&material).expect("a report");
    assert_eq!(document.title, "Something failed, and nobody was accused");
    let summary = document.summary.join(" ");
    assert!(!summary.contains("Azure") && !summary.contains("AWS"), "{summary}");
}

#[test]
fn what_others_said_stands_in_the_timeline_with_our_lead() {
    let mut material = material();
    let what = "We are investigating <b>issues</b> | with Front Door".to_owned();
    material.said = Some(vec![Said { at: at(1200), who: "Azure status".into(), is_official: true, what }]);
    let text = Format::Md.write(&material).expect("a report");
    assert!(text.contains("Attributed 19 min 48 s before Azure status."), "{text}");
    assert!(text.contains(r"Azure status: We are investigating \<b\>issues\</b\> \| with Front Door"), "{text}");
    assert!(!Format::Html.write(&material).expect("a report").contains("<b>issues"));
}

#[test]
fn planned_work_stands_in_the_timeline_from_its_begin_to_its_end() {
    let mut material = material();
    let work = |id: &str, cancelled_at| PlannedWork {
        id: id.into(),
        announced_at: ONSET,
        starts_at: ONSET.before(Duration::from_mins(1)),
        ends_at: at(120),
        text: format!("<b>{id}</b>"),
        link: String::new(),
        elements: vec!["azure/front-door".into()],
        cancelled_at,
        cancel_reason: String::new(),
    };
    material.work = vec![work("first", None), work("second", Some(at(30))), work("third", None)];
    material.work[2].ends_at = material.made_at.after(Duration::from_secs(1));
    let text = Format::Md.write(&material).expect("a report");
    for wanted in [
        r"-1 min | Planned work (azure/front-door) begins: \<b\>first\</b\>",
        r"Planned work ends: \<b\>first",
        r"+30 s | Planned work is called off: \<b\>second",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains(r"ends: \<b\>third"), "it goes on: {text}");
}

#[test]
fn hostile_names_stay_text_in_every_format() {
    let evil = "</style><script>alert(1)</script>|`";
    let mut material = material();
    for change in &mut material.revisions {
        change.headline = evil.into();
        change.element = evil.into();
        change.caveats = vec![evil.into()];
        change.evidence[0].group = evil.into();
    }
    let html = Format::Html.write(&material).expect("a report");
    assert!(!html.contains("<script") && html.matches("</style>").count() == 1, "{html}");
    let text = Format::Md.write(&material).expect("a report");
    let open = text.replace("\\\\", "").replace("\\<", "").replace("\\`", "");
    assert!(!open.contains("<script") && !open.contains(">|`"), "{text}");
}

#[test]
fn without_results_or_revisions_there_is_less_to_tell_but_no_failure() {
    let material = Material { history: None, ..material() };
    assert!(Format::Md.write(&material).expect("a report").contains("No result of those minutes is left"));
    assert!(Material::new(Vec::new(), None, ONSET, String::new()).is_none());
    assert!(Document::of(&Material { revisions: Vec::new(), ..material }).is_none());
}

fn material() -> Material {
    let suspected = Change {
        revision: 1,
        at: at(9),
        state: State::Suspected,
        verdict: Verdict::Undetermined,
        element: String::new(),
        element_kind: None,
        headline:
            "Something is failing, the evidence cannot yet say who: connections time out from 4 of 16 vantage groups."
                .into(),
        attributed_at: None,
        failing_groups: 4,
        ..front_door()
    };
    let over = "Azure Front Door has recovered.".to_owned();
    let recovering = Change { revision: 3, at: at(190), state: State::Recovering, failing_groups: 2, ..front_door() };
    let resolved = Change {
        revision: 4,
        at: at(240),
        state: State::Resolved,
        resolved_at: Some(at(240)),
        headline: over,
        failing_groups: 2,
        ..front_door()
    };
    let minute = |n: i64| Timestamp::from_micros(ONSET.micros() / 60_000_000 * 60_000_000 + n * 60_000_000);
    let quiet = (-10..0).map(|n| (minute(n), Minute { failed: 0, runs: 20, at_layer: [0; 4] }));
    let broken = (0..4).map(|n| (minute(n), Minute { failed: 18, runs: 20, at_layer: [0, 15, 0, 3] }));
    let (mut before, mut during) = ([0; 14], [0; 14]);
    (before[4], during[6]) = (200, 8);
    let history = History {
        incident: front_door().incident,
        element: "azure/front-door".into(),
        from: minute(-10),
        onset_at: ONSET,
        to: at(240),
        targets: BTreeSet::new(),
        curve: BTreeMap::from([("mad-1".into(), quiet.chain(broken).collect())]),
        elsewhere: BTreeMap::from([(
            "aws".into(),
            [(minute(0), Minute { failed: 0, runs: 500, at_layer: [0; 4] })].into(),
        )]),
        before,
        during,
    };
    let revisions = vec![suspected, front_door(), recovering, resolved];
    Material::new(revisions, Some(history), at(600), "feed".into()).expect("revisions")
}

fn front_door() -> Change {
    Change { at: at(12), engine: 8, ..examples::front_door() }
}
