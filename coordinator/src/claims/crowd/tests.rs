//! Bodies in, sightings or a clear error out.

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_761_757_200_000_000); // 2025-10-29T17:00:00Z

const CSV: &str = "about,at,count,baseline,window_s,text,regions\n\
    aws,2025-10-29T16:45:00Z,6025,8,900,\"reports, of people\",aws/us-east-1 aws/us-west-2\n\
    azure,2025-10-29T16:40:00Z,12,8,900,,\n";

#[test]
fn a_crowd_is_loud_from_three_times_its_baseline_and_ten_reports() {
    for (count, baseline, is_loud) in [(6025, 8, true), (24, 8, true), (23, 8, false), (9, 0, false), (10, 0, true)] {
        let body = format!(r#"{{"about": "aws", "count": {count}, "baseline": {baseline}}}"#);
        let seen = read(Form::Json, body.as_bytes(), NOW).expect("read").remove(0);
        assert_eq!(seen.sighting.stance == Stance::ReportsProblem, is_loud, "{count} of {baseline}");
        assert_eq!((seen.source.as_str(), seen.at), ("crowd", NOW));
    }
}

#[test]
fn csv_and_json_say_the_same_in_the_order_of_time() {
    let json = r#"[{"about": "AWS", "at": "2025-10-29T16:45:00Z", "count": 6025, "baseline": "8", "window_s": 900,
        "text": "reports, of people", "regions": ["aws/us-east-1", "aws/us-west-2"]},
        {"about": "azure", "at": "2025-10-29T16:40:00Z", "count": 12, "baseline": 8, "window_s": 900, "text": null}]"#;
    let csv = read(Form::Csv, CSV.as_bytes(), NOW).expect("read");
    assert_eq!(csv, read(Form::Json, json.as_bytes(), NOW).expect("read"));
    let names: Vec<_> = csv.iter().map(|seen| seen.about.as_str()).collect();
    assert_eq!(names, ["azure", "aws"]);
    assert_eq!(csv[1].sighting.crowd, Some(Crowd { count: 6025, baseline: 8, window_s: Some(900) }));
    assert_eq!(csv[1].sighting.regions, ["aws/us-east-1", "aws/us-west-2"]);
}

#[test]
fn what_is_wrong_is_said_with_line_field_and_value() {
    let rows = [
        (Form::Csv, "about,count\naws,many\n", "line 2: count: \"many\" is not a whole number from 0"),
        (Form::Csv, "about,count,baseline\naws,1,2\nazure,1,-2\n", "line 3: baseline: \"-2\" is not a whole number"),
        (Form::Csv, "about,count,baseline\naws,1,2,3\n", "line: 2"),
        (Form::Csv, "about,reports\n", "line 1: reports: no such field: they are source, about"),
        (Form::Csv, "about,about\n", "line 1: about: is there twice"),
        (Form::Csv, "count,baseline\n1,2\n", "line 2: about: is missing"),
        (Form::Csv, "about,count,baseline,at\naws,1,2,noon\n", "line 2: at: \"noon\" is not an RFC 3339 instant"),
        (Form::Csv, "about,count,baseline,at\naws,1,2,2025-10-29T18:00:00Z\n", "is not within the last 90 days"),
        (Form::Csv, "about,count,baseline,at\naws,1,2,2020-10-29T18:00:00Z\n", "is not within the last 90 days"),
        (
            Form::Csv,
            "about,count,baseline,link\naws,1,2,javascript:x\n",
            "line 2: link: \"javascript:x\" is not an http",
        ),
        (
            Form::Csv,
            "about,count,baseline,regions\naws,1,2,us-east-1\n",
            "regions: \"us-east-1\" is not a cloud and a region",
        ),
        (
            Form::Csv,
            "source,about,count,baseline\naws-status,aws,1,2\n",
            "source: \"aws-status\" is not crowd, or a name",
        ),
        (Form::Json, "{", "not JSON: EOF"),
        (Form::Json, "[1]", "[0]: not an object"),
        (Form::Json, r#"[{"about": "a b", "count": 1, "baseline": 1}]"#, "[0]: about: \"a b\" is not a name"),
        (Form::Json, r#"[{"about": "aws", "count": 1.5, "baseline": 1}]"#, "[0]: count: \"1.5\" is not a whole number"),
        (Form::Json, r#"{"about": ["aws"], "count": 1, "baseline": 1}"#, "[0]: about: "),
        (Form::Json, r#"{"who": "aws"}"#, "[0]: who: no such field"),
    ];
    for (form, body, expected) in rows {
        let error = read(form, body.as_bytes(), NOW).expect_err(body).to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn what_is_too_long_or_too_many_is_refused_whole() {
    let rows = |n: usize| format!("about,count,baseline\n{}", "aws,1,2\n".repeat(n));
    assert_eq!(read(Form::Csv, rows(MAX_ROWS).as_bytes(), NOW).expect("read").len(), MAX_ROWS);
    assert_eq!(read(Form::Csv, rows(MAX_ROWS + 1).as_bytes(), NOW), Err(CrowdError::Many));
    assert_eq!(read(Form::Json, "[1,1]".repeat(MAX_BYTES).as_bytes(), NOW), Err(CrowdError::Long));
    let deep = "[".repeat(100_000);
    assert!(matches!(read(Form::Json, deep.as_bytes(), NOW), Err(CrowdError::Form(_))));
}
