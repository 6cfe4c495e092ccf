//! The search on evidence made by hand.

use std::collections::BTreeMap;

use super::*;
use crate::{
    element::Element,
    evidence::Count,
    vocabulary::{Cause, Layer},
};

/// Elements `sets` name by letter; each row: group, failed, passed, letters.
fn evidence(elements: &[(ElementKind, &str)], rows: &[(usize, f64, f64, &[usize])]) -> Evidence {
    let mut evidence = Evidence {
        groups: (0..10).map(|group| format!("g{group}")).collect(),
        elements: elements.iter().map(|(kind, name)| Element::new(*kind, *name)).collect(),
        by_element: vec![Default::default(); elements.len()],
        counts: Vec::new(),
    };
    for (number, (group, failed, passed, set)) in (0..).zip(rows) {
        evidence.add(Count {
            place: (u32::try_from(*group).expect("small"), Some(number)),
            layer: Layer::Connect,
            group: *group,
            failed: *failed,
            passed: *passed,
            rate: 0.002,
            set: set.to_vec(),
            causes: BTreeMap::from([(Cause::ConnectTimeout, 1)]),
        });
    }
    evidence
}

const BOTH: &[usize] = &[0, 1];
const FIRST: &[usize] = &[0];
const SECOND: &[usize] = &[1];
const REGION: (ElementKind, &str) = (ElementKind::Region, "aws/us-east-1");
const APP: (ElementKind, &str) = (ElementKind::Endpoint, "endpoint/app");

#[test]
fn passes_of_siblings_clear_the_region() {
    let rows: Vec<(usize, f64, f64, &[usize])> =
        (0..10).flat_map(|group| [(group, 2.0, 0.0, BOTH), (group, 0.0, 2.0, FIRST)]).collect();
    let evidence = evidence(&[REGION, APP], &rows);
    let hypothesis = explain(&evidence, &Settings::default(), 1);
    assert_eq!(hypothesis.members.len(), 1);
    let member = &hypothesis.members[0];
    assert_eq!(evidence.elements[member.element].name, "endpoint/app");
    let [aws, _, neither, _] = verdicts(&evidence, member);
    assert!(neither > 0.99 && aws < 0.01, "aws {aws}, neither {neither}");
}

#[test]
fn failing_siblings_accuse_the_region() {
    let rows: Vec<(usize, f64, f64, &[usize])> =
        (0..10).flat_map(|group| [(group, 2.0, 0.0, BOTH), (group, 2.0, 0.0, FIRST)]).collect();
    let evidence = evidence(&[REGION, APP], &rows);
    let hypothesis = explain(&evidence, &Settings::default(), 1);
    assert_eq!(hypothesis.members.len(), 1);
    assert_eq!(evidence.elements[hypothesis.members[0].element].name, "aws/us-east-1");
}

#[test]
fn the_score_is_the_sum_of_what_the_members_add() {
    let rows: Vec<(usize, f64, f64, &[usize])> =
        (0..10).flat_map(|group| [(group, 2.0, 1.0, FIRST), (group, 1.0, 2.0, SECOND)]).collect();
    let evidence = evidence(&[REGION, APP], &rows);
    let mut search = Search::new(&evidence, &Settings::default());
    search.grow();
    let grown = search.score();
    // Rebuilt from nothing, in another order, the score is the same.
    let members = search.members.clone();
    let mut again = Search::new(&evidence, &Settings::default());
    for (element, severities) in members.iter().rev() {
        again.add(*element, *severities);
    }
    assert!((grown - again.score()).abs() < 1e-6, "{grown} against {}", again.score());
}

#[test]
fn one_group_alone_leaves_no_margin() {
    let rows: Vec<(usize, f64, f64, &[usize])> =
        (0..50).map(|_| (0, 20.0, 0.0, FIRST)).chain((1..10).map(|group| (group, 0.0, 1.0, FIRST))).collect();
    let evidence = evidence(&[REGION], &rows);
    let members = explain(&evidence, &Settings::default(), 1).members;
    assert!(members.iter().all(|member| member.robust_margin < 0.0), "{members:?}");
}

#[test]
fn anything_goes_is_a_probability() {
    let total: f64 = [(0.0, 2.0), (1.0, 1.0), (1.0, 1.0), (2.0, 0.0)].iter().map(|(f, p)| ln_any(*f, *p).exp()).sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
}

#[test]
fn more_of_the_same_never_weakens_a_verdict() {
    for share in [0.3, 0.85, 1.0] {
        let mut before = 0.0;
        for looks in [2.0, 10.0, 50.0, 250.0] {
            let (failed, passed) = (f64::round(looks * share), looks - f64::round(looks * share));
            let rows: Vec<(usize, f64, f64, &[usize])> = (0..10).map(|group| (group, failed, passed, FIRST)).collect();
            let evidence = evidence(&[REGION], &rows);
            let gain = explain(&evidence, &Settings::default(), 1).members.first().map_or(0.0, |member| member.gain);
            assert!(gain >= before - 5.0, "share {share}, {looks} looks: {gain} after {before}");
            before = gain;
        }
        assert!(before > 20.0, "share {share}: {before}");
    }
}
