//! Exact figures of hand-made rows.

use super::*;
use crate::score::{judged::Judged, run::Spent};

pub(in crate::score) fn row(scenario: &str, truth: Class, said: Class) -> Row {
    Row {
        method: "engine",
        scenario: scenario.into(),
        family: "made-up".into(),
        seed: 1,
        agents: 48,
        liars: 0.0,
        is_hard: false,
        is_held_out: false,
        judged: Judged {
            truth,
            said,
            wrong_clouds: BTreeSet::new(),
            is_neither_wrong: false,
            wrong_begun: 0,
            flips: 0,
            incidents: Vec::new(),
            strange_elements: None,
            probabilities: None,
        },
        optimum_s: None,
        spent: Spent::default(),
        start: faultline_attribution::Timestamp::default(),
        timeline: Vec::new(),
    }
}

fn summary(rows: &[Row]) -> Summary {
    Summary::of(&rows.iter().collect::<Vec<_>>())
}

fn close(left: Option<f64>, right: f64) {
    assert!(left.is_some_and(|left| (left - right).abs() < 1e-9), "{left:?} is not {right}");
}

#[test]
fn undetermined_is_a_miss_for_recall_and_nothing_for_precision() {
    let rows = [
        row("a", Class::Aws, Class::Aws),
        row("b", Class::Aws, Class::Undetermined),
        row("c", Class::Azure, Class::Aws),
        row("d", Class::None, Class::None),
    ];
    let summary = summary(&rows);
    let aws = &summary.classes[0];
    assert_eq!((aws.cases, aws.precision, aws.recall, aws.f1), (2, Some(0.5), Some(0.5), Some(0.5)));
    let azure = &summary.classes[1];
    assert_eq!((azure.cases, azure.precision, azure.recall, azure.f1), (1, None, Some(0.0), Some(0.0)));
    assert_eq!(summary.classes[2].f1, None);
    close(summary.macro_f1, 0.5); // (0.5 + 0 + 1) / 3: both and neither are not present
    close(summary.accuracy, 0.5);
    assert_eq!(summary.undetermined, 1);
    let (low, high) = summary.macro_f1_interval.expect("an interval");
    assert!(low <= 0.5 && high >= 0.5, "{low} {high}");
}

#[test]
fn wrong_blame_is_bounded_over_runs_and_over_scenarios() {
    let mut rows: Vec<Row> = (0..100).map(|run| row(&format!("s{}", run / 10), Class::Aws, Class::Aws)).collect();
    rows[3].judged.wrong_clouds.insert(crate::scenario::Verdict::Azure);
    rows[4].judged.wrong_clouds.insert(crate::scenario::Verdict::Azure);
    let summary = summary(&rows);
    assert_eq!((summary.wrong_cloud.hits, summary.wrong_cloud.of), (2, 100));
    assert_eq!((summary.wrong_cloud_scenarios.hits, summary.wrong_cloud_scenarios.of), (1, 10));
    close(Some((summary.wrong_cloud.at_most * 1e4).round()), 616.0);
    close(Some((summary.wrong_cloud_scenarios.at_most * 1e4).round()), 3942.0);
}

#[test]
fn calibration_is_that_of_a_calculation_by_hand() {
    let mut rows = [row("a", Class::Aws, Class::Aws), row("b", Class::Azure, Class::Aws)];
    rows[0].judged.probabilities = Some([0.75, 0.0, 0.0, 0.25, 0.0]);
    rows[1].judged.probabilities = Some([0.75, 0.25, 0.0, 0.0, 0.0]);
    let calibration = summary(&rows).calibration.expect("probabilities");
    close(Some(calibration.brier), f64::midpoint(0.0625, 0.5625));
    close(Some(calibration.brier_all), f64::midpoint(0.125, 1.125));
    close(Some(calibration.ece), 0.25); // one bin: 0.75 said, 0.5 right
    close(Some(calibration.ece_mass), 0.5); // each in a bin of its own
    close(Some(calibration.log_loss), -f64::midpoint(0.75_f64.ln(), 0.25_f64.ln()));
}

#[test]
fn delays_count_never_as_longer_than_any() {
    let incident = |seconds: f64, is_element_right| JudgedIncident {
        verdict: crate::scenario::Verdict::Aws,
        is_first: true,
        seconds,
        is_accused: seconds.is_finite(),
        is_element_right,
        is_kind_right: None,
        onset_error_s: None,
        resolve_s: None,
    };
    let mut rows = [row("a", Class::Aws, Class::Aws), row("b", Class::Aws, Class::None)];
    rows[0].judged.incidents = vec![incident(10.0, Some(true)), incident(20.0, Some(false))];
    rows[0].judged.strange_elements = Some(1);
    rows[0].optimum_s = Some(5.0);
    rows[1].judged.incidents = vec![incident(f64::INFINITY, None)];
    let summary = summary(&rows);
    assert_eq!((summary.seconds.median, summary.seconds.p90), (Some(20.0), Some(f64::INFINITY)));
    close(summary.never, 1.0 / 3.0);
    assert_eq!(summary.optimum_ratio.median, Some(2.0)); // of the first thing that broke
    close(summary.element_accuracy, 0.5);
    close(summary.element_f1, 0.5); // one right, one missed, one strange
}
