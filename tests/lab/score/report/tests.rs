//! The shape of what is written.

use std::collections::BTreeSet;

use super::*;
use crate::{
    scenario::Verdict,
    score::{judged::JudgedIncident, summary::tests::row},
};

fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("region-dark", Class::Aws, Class::Aws),
        row("app-down", Class::Neither, Class::Azure),
        row("quiet", Class::None, Class::None),
    ];
    rows[0].judged.probabilities = Some([0.99, 0.0, 0.0, 0.005, 0.005]);
    rows[0].judged.incidents = vec![JudgedIncident {
        verdict: Verdict::Aws,
        is_first: true,
        seconds: 9.0,
        is_accused: true,
        is_element_right: Some(true),
        is_kind_right: None,
        onset_error_s: Some(1.5),
        resolve_s: Some(70.0),
    }];
    rows[1].is_hard = true;
    rows[1].judged.wrong_clouds = BTreeSet::from([Verdict::Azure]);
    rows[1].judged.incidents = vec![JudgedIncident {
        verdict: Verdict::Neither,
        is_first: true,
        seconds: f64::INFINITY,
        is_accused: false,
        is_element_right: None,
        is_kind_right: None,
        onset_error_s: None,
        resolve_s: None,
    }];
    rows
}

#[test]
fn the_csv_has_one_row_a_case_and_method() {
    let text = String::from_utf8(csv_rows::text(&rows()).expect("csv")).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("method,scenario,family,seed,agents,liars,hard,held_out,truth,said,right,"));
    assert_eq!(
        lines[1],
        "engine,region-dark,made-up,1,48,0.00,false,false,aws,aws,true,,false,0,0,9.000,,true,,1.500,70.000,\
         0.990000,0.000000,0.000000,0.005000,0.005000,0.000"
    );
    assert_eq!(
        lines[2],
        "engine,app-down,made-up,1,48,0.00,true,false,neither,azure,false,azure,false,0,0,inf,,,,,,,,,,,0.000"
    );
}

#[test]
fn the_report_names_the_runs_that_blamed_the_wrong_cloud() {
    let rows = rows();
    let markdown = Report::new(&rows).markdown();
    let sections: Vec<&str> = markdown.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(sections[0], "## All: 3 scenarios, 1 seeds");
    assert!(markdown.contains("| app-down |    1 | engine | neither |   azure |"), "{markdown}");
    assert!(markdown.contains("| made-up |  hard |    3 | 0.67 WRONG 1 never |"), "{markdown}");
}

#[test]
fn the_report_and_its_figures_are_files_of_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut rows = rows();
    rows.extend(rows.clone().into_iter().map(|row| Row { agents: 6, liars: 0.2, ..row }));
    Report::new(&rows).write(directory.path()).expect("written");
    for name in ["report.md", "cases.csv", "confusion-engine.svg", "time-to-verdict.svg", "time-to-verdict-engine.svg"]
        .into_iter()
        .chain(["reliability.svg", "vantages.svg", "liars.svg"])
    {
        let text =
            std::fs::read_to_string(directory.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(name == "report.md" || name == "cases.csv" || text.starts_with("<svg"), "{name}");
    }
}
