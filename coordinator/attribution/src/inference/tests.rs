//! The search on evidence made by hand.

mod brute;
pub(super) mod small_world;

use super::{judge::disagreement, search::Search, *};
use crate::{
    element::{Element, ElementKind},
    evidence::{Evidence, ln_any, testing},
    settings::Settings,
};

type Row<'a> = (usize, f64, f64, &'a [usize]);

fn evidence(elements: &[(ElementKind, &str)], rows: &[Row<'_>]) -> Evidence {
    testing::evidence(elements.iter().map(|(kind, name)| Element::new(*kind, *name)).collect(), 10, rows)
}

const DOMAINS: [u32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn explained(evidence: &Evidence) -> Hypothesis {
    explain(
        evidence,
        &Settings::default(),
        Doubt { liars: 1, groups: DOMAINS.len(), exercise: &|_| DOMAINS.len(), domains: &DOMAINS },
    )
}

const BOTH: &[usize] = &[0, 1];
const FIRST: &[usize] = &[0];
const SECOND: &[usize] = &[1];
const REGION: (ElementKind, &str) = (ElementKind::Region, "aws/us-east-1");
const APP: (ElementKind, &str) = (ElementKind::Endpoint, "endpoint/app");

#[test]
fn liars_among_a_part_of_the_groups_are_those_that_chance_puts_there() {
    assert_eq!(liars_among(48, 9, 48), 9, "all of them");
    assert_eq!(liars_among(9, 9, 48), 5, "P(more) is .002");
    assert_eq!(liars_among(4, 9, 48), 3, "P(more) is .001");
    assert_eq!(liars_among(40, 9, 48), 9, "never more than there are");
    assert_eq!(liars_among(9, 0, 3), 0);
}

#[test]
fn passes_of_siblings_clear_the_region() {
    let rows: Vec<Row<'_>> = (0..10).flat_map(|group| [(group, 2.0, 0.0, BOTH), (group, 0.0, 2.0, FIRST)]).collect();
    let evidence = evidence(&[REGION, APP], &rows);
    let hypothesis = explained(&evidence);
    assert_eq!(hypothesis.members.len(), 1);
    let member = &hypothesis.members[0];
    assert_eq!(evidence.elements()[member.element].name, "endpoint/app");
    let [aws, _, neither, _] = verdicts(&evidence, member);
    assert!(neither > 0.99 && aws < 0.01, "aws {aws}, neither {neither}");
}

#[test]
fn failing_siblings_accuse_the_region() {
    let rows: Vec<Row<'_>> = (0..10).flat_map(|group| [(group, 2.0, 0.0, BOTH), (group, 2.0, 0.0, FIRST)]).collect();
    let evidence = evidence(&[REGION, APP], &rows);
    let hypothesis = explained(&evidence);
    assert_eq!(hypothesis.members.len(), 1);
    assert_eq!(evidence.elements()[hypothesis.members[0].element].name, "aws/us-east-1");
}

#[test]
fn the_score_is_the_sum_of_what_the_members_add() {
    let rows: Vec<Row<'_>> = (0..10).flat_map(|group| [(group, 2.0, 1.0, FIRST), (group, 1.0, 2.0, SECOND)]).collect();
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
    let rows: Vec<Row<'_>> =
        (0..50).map(|_| (0, 20.0, 0.0, FIRST)).chain((1..10).map(|group| (group, 0.0, 1.0, FIRST))).collect();
    let evidence = evidence(&[REGION], &rows);
    let members = explained(&evidence).members;
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
            let rows: Vec<Row<'_>> = (0..10).map(|group| (group, failed, passed, FIRST)).collect();
            let evidence = evidence(&[REGION], &rows);
            let gain = explained(&evidence).members.first().map_or(0.0, |member| member.gain);
            assert!(gain >= before - 5.0, "share {share}, {looks} looks: {gain} after {before}");
            before = gain;
        }
        assert!(before > 20.0, "share {share}: {before}");
    }
}

#[test]
fn a_minority_that_sees_plainly_what_the_others_do_not_is_a_disagreement() {
    let rows: Vec<Row<'_>> =
        (0..10).map(|group| if group < 3 { (group, 6.0, 0.0, FIRST) } else { (group, 0.0, 6.0, FIRST) }).collect();
    let all_alike: Vec<Row<'_>> = (0..10).map(|group| (group, 2.0, 4.0, FIRST)).collect();
    let alike = evidence(&[REGION], &all_alike);
    let member = explained(&alike).members.remove(0);
    assert_eq!(member.disagreement, None);
    assert_eq!(disagreement(&evidence(&[REGION], &rows), &member), Some((3, 10)));
}

#[test]
fn one_more_witness_that_passes_never_raises_the_suspicion() {
    let mut before = f64::INFINITY;
    for passing in 0..8 {
        let rows: Vec<Row<'_>> = (0..10)
            .map(|group| if group < 10 - passing { (group, 2.0, 0.0, FIRST) } else { (group, 0.0, 2.0, FIRST) })
            .collect();
        let gain = explained(&evidence(&[REGION], &rows)).members.first().map_or(0.0, |member| member.gain);
        assert!(gain <= before + 1e-9, "{passing} pass: {gain} after {before}");
        before = gain;
    }
}
