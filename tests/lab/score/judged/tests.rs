//! Hand-made timelines with exact figures.

use faultline_attribution::World;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_761_752_000_000_000 + second * 1_000_000)
}

fn case(truth: &[(Verdict, &str, i64, Option<i64>)]) -> Case {
    let truth = truth.iter().map(|(verdict, element, onset, end)| TrueIncident {
        verdict: *verdict,
        kinds: if *verdict == Verdict::Neither { vec!["transit".into()] } else { Vec::new() },
        elements: vec![(*element).into()],
        onset: at(*onset),
        end: end.map(at),
    });
    Case {
        id: "made-up".into(),
        family: "made-up".into(),
        seed: 1,
        world: World::default(),
        inputs: Vec::new(),
        start: at(0),
        end: at(600),
        truth: truth.collect(),
        background: Vec::new(),
    }
}

fn says(parties: &[Verdict], elements: &[&str]) -> Answer {
    Answer {
        verdicts: parties.iter().copied().collect(),
        elements: elements.iter().map(|element| (*element).into()).collect(),
        ..Answer::default()
    }
}

const AWS: Verdict = Verdict::Aws;
const AZURE: Verdict = Verdict::Azure;
const NEITHER: Verdict = Verdict::Neither;

#[test]
fn a_right_verdict_is_right_and_its_delays_are_exact() {
    let case = case(&[(AWS, "aws/us-east-1", 100, Some(300))]);
    let accuses = Answer { onsets: vec![at(97), at(500)], ..says(&[AWS], &["aws/us-east-1", "as3356"]) };
    let judged = Judged::of(&case, &[(at(0), says(&[], &[])), (at(112), accuses), (at(345), says(&[], &[]))]);
    assert_eq!((judged.truth, judged.said), (Class::Aws, Class::Aws));
    assert!(judged.is_right() && judged.wrong_clouds.is_empty() && !judged.is_neither_wrong);
    assert_eq!((judged.wrong_begun, judged.flips, judged.strange_elements), (0, 0, Some(1)));
    let incident = JudgedIncident {
        verdict: AWS,
        is_first: true,
        seconds: 12.0,
        is_accused: true,
        is_element_right: Some(true),
        is_kind_right: None,
        onset_error_s: Some(3.0),
        resolve_s: Some(45.0),
    };
    assert_eq!(judged.incidents, [incident]);
}

#[test]
fn a_cloud_accused_for_one_moment_is_wrong_whatever_comes_after() {
    let case = case(&[(AZURE, "azure/front-door", 100, Some(300))]);
    let timeline = [(at(110), says(&[AWS], &[])), (at(111), says(&[AZURE], &["azure/front-door"]))];
    let judged = Judged::of(&case, &timeline);
    assert!(judged.is_right());
    assert_eq!(judged.wrong_clouds, BTreeSet::from([AWS]));
    assert_eq!((judged.wrong_begun, judged.flips), (1, 1));
    assert!((judged.incidents[0].seconds - 11.0).abs() < 1e-9);
    assert_eq!(judged.incidents[0].resolve_s, Some(f64::INFINITY));
}

#[test]
fn a_cloud_accused_before_it_broke_is_wrong_and_after_it_healed_is_late() {
    let case = case(&[(AWS, "aws/us-east-1", 100, Some(300))]);
    let early = Judged::of(&case, &[(at(99), says(&[AWS], &[]))]);
    assert_eq!(early.wrong_clouds, BTreeSet::from([AWS]));
    let late = Judged::of(&case, &[(at(301), says(&[AWS], &[]))]);
    assert!(late.wrong_clouds.is_empty());
    assert_eq!((late.said, late.incidents[0].seconds), (Class::None, f64::INFINITY));
}

#[test]
fn both_needs_both_at_one_moment() {
    let case = case(&[(AWS, "aws/eu-west-1", 100, Some(300)), (AZURE, "azure/entra-id", 130, Some(400))]);
    let in_turn = [(at(110), says(&[AWS], &[])), (at(200), says(&[AZURE], &[]))];
    let judged = Judged::of(&case, &in_turn);
    assert_eq!((judged.truth, judged.said, judged.flips), (Class::Both, Class::Azure, 1));
    let together = [(at(110), says(&[AWS], &[])), (at(200), says(&[AWS, AZURE], &[])), (at(320), says(&[AZURE], &[]))];
    let judged = Judged::of(&case, &together);
    assert_eq!((judged.said, judged.flips), (Class::Both, 0));
    assert_eq!(judged.incidents[1].seconds.to_bits(), 70.0_f64.to_bits());
    assert_eq!(judged.incidents[0].resolve_s, Some(20.0));
}

#[test]
fn undetermined_is_said_only_where_nobody_is_accused() {
    let case = case(&[(AWS, "aws/us-east-1", 100, None)]);
    let unsure = Answer { is_undetermined: true, ..Answer::default() };
    assert_eq!(Judged::of(&case, &[(at(120), unsure.clone())]).said, Class::Undetermined);
    let sure = Answer { is_undetermined: true, ..says(&[AWS], &[]) };
    assert_eq!(Judged::of(&case, &[(at(120), sure)]).said, Class::Aws);
    assert_eq!(Judged::of(&case, &[]).said, Class::None);
}

#[test]
fn a_quiet_record_is_right_until_somebody_is_accused_at_any_time() {
    let quiet = case(&[]);
    let unsure = Answer { is_undetermined: true, ..Answer::default() };
    assert!(Judged::of(&quiet, &[(at(10), unsure)]).is_right());
    let once = [(at(10), says(&[NEITHER], &[])), (at(11), says(&[], &[]))];
    let judged = Judged::of(&quiet, &once);
    assert!(judged.is_neither_wrong && judged.wrong_clouds.is_empty());
    assert_eq!(judged.said, Class::Neither);
    let judged = Judged::of(&quiet, &[(at(10), says(&[AWS], &[])), (at(20), says(&[AZURE], &[]))]);
    assert_eq!((judged.said, judged.wrong_clouds.len(), judged.flips), (Class::Both, 2, 1));
}

#[test]
fn a_wrong_kind_is_a_verdict_without_its_time() {
    let case = case(&[(NEITHER, "as3356", 100, Some(300))]);
    let wrong = Answer { kinds: vec!["endpoint-app".into()], ..says(&[NEITHER], &["as3356"]) };
    let right = Answer { kinds: vec!["transit".into()], ..wrong.clone() };
    let judged = Judged::of(&case, &[(at(110), wrong.clone()), (at(150), right)]);
    assert_eq!(judged.incidents[0].seconds.to_bits(), 50.0_f64.to_bits());
    assert_eq!(judged.incidents[0].is_kind_right, Some(true));
    let judged = Judged::of(&case, &[(at(110), wrong)]);
    assert_eq!((judged.said, judged.incidents[0].is_kind_right), (Class::Neither, Some(false)));
    assert!(judged.incidents[0].seconds.is_infinite());
}

#[test]
fn a_faults_class_is_its_clouds_even_where_another_fault_outlives_it() {
    let case = case(&[(AWS, "aws/us-east-1", 100, Some(200)), (NEITHER, "as3356", 150, Some(400))]);
    let timeline = [(at(110), says(&[AWS], &[])), (at(230), says(&[NEITHER], &["as3356"]))];
    let judged = Judged::of(&case, &timeline);
    assert_eq!((judged.truth, judged.said, judged.flips), (Class::Aws, Class::Aws, 0));
}

#[test]
fn what_the_noise_broke_may_be_named_and_need_not_be() {
    let endpoint = TrueIncident {
        verdict: NEITHER,
        kinds: vec!["endpoint-app".into()],
        elements: vec!["endpoint/dead".into()],
        onset: at(50),
        end: None,
    };
    let quiet = Case { background: vec![endpoint.clone()], ..case(&[]) };
    let sure = Answer { probabilities: Some([0.0, 0.0, 0.0, 0.75, 0.25]), ..says(&[NEITHER], &["endpoint/dead"]) };
    let judged = Judged::of(&quiet, &[(at(60), sure)]);
    assert!(judged.is_right());
    assert_eq!(judged.probabilities, Some([0.0, 0.0, 0.0, 0.0, 1.0]));
    assert!(Judged::of(&quiet, &[]).is_right());
    assert!(!Judged::of(&quiet, &[(at(60), says(&[NEITHER], &["endpoint/dead", "as3356"]))]).is_right());
    assert!(Judged::of(&quiet, &[(at(40), says(&[NEITHER], &["endpoint/dead"]))]).is_neither_wrong);
    let broken = Case { background: vec![endpoint], ..case(&[(AWS, "aws/us-east-1", 100, Some(300))]) };
    let noise_alone = Judged::of(&broken, &[(at(60), says(&[NEITHER], &["endpoint/dead"]))]);
    assert_eq!((noise_alone.said, noise_alone.strange_elements), (Class::None, Some(0)));
}
