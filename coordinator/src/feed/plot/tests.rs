//! What every picture must be, and what it must say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::history::Minute;

const ONSET: Timestamp = Timestamp::from_micros(1_761_752_464_000_000);

/// Ten quiet minutes, then `minutes` in which nine of ten runs fail, most of them at connect.
fn history(minutes: i64) -> History {
    let minute = |n: i64| Timestamp::from_micros(ONSET.micros() / 60_000_000 * 60_000_000 + n * 60_000_000);
    let quiet = (-10..0).map(|n| (minute(n), Minute { failed: 0, runs: 20, at_layer: [0; 4] }));
    let broken = (0..minutes).map(|n| (minute(n), Minute { failed: 18, runs: 20, at_layer: [0, 15, 0, 3] }));
    let fine = |runs: u32| Minute { failed: 0, runs, at_layer: [0; 4] };
    let (mut before, mut during) = ([0; 14], [0; 14]);
    (before[4], before[5], during[6], during[13]) = (150, 50, 9, 1);
    History {
        incident: "inc-20251029T154113Z-1".to_owned().into(),
        element: "azure/front-door".into(),
        from: minute(-10),
        onset_at: ONSET,
        to: minute(minutes),
        targets: BTreeSet::new(),
        curve: BTreeMap::from([("fra".into(), quiet.chain(broken).collect())]),
        elsewhere: BTreeMap::from([
            ("aws".into(), [(minute(-1), fine(80)), (minute(0), fine(90))].into()),
            ("neither".into(), [(minute(0), Minute { failed: 3, runs: 60, at_layer: [3, 0, 0, 0] })].into()),
        ]),
        before,
        during,
    }
}

fn moments() -> Moments {
    Moments {
        onset_at: ONSET,
        onset_uncertainty_s: 20.0,
        attributed_at: Some(ONSET.after(Duration::from_secs(12))),
        ended: Some((ONSET.after(Duration::from_mins(4)), State::Resolved)),
    }
}

#[test]
fn a_curve_tells_the_layers_and_the_moments_in_picture_words_and_numbers() {
    let figure = curve::figure("curve", &history(4), &moments()).expect("there are runs");
    let svg = figure.svg.into_string();
    for what in [
        "onset 15:41:04 ± 20 s",
        "attributed 15:41:16",
        "resolved 15:45:04",
        "class=\"stroke-connect\"",
        "class=\"stroke-http\"",
        "class=\"fill-onset\"",
        "2025-10-29 UTC",
        "15:36",
    ] {
        assert!(svg.contains(what), "no {what}: {svg}");
    }
    let zero = svg.split("<text").find(|text| text.contains(">\n0 %\n")).expect("the foot of the axis");
    assert!(zero.contains("y=\"268\""), "nothing failing is at the foot: {zero}");
    assert!(!svg.contains("stroke-dns"), "what never failed has no line: {svg}");
    assert_eq!(
        figure.says,
        "Before the onset 0 of 200 runs failed. At the worst, in the minute from 15:41 UTC, 90 % of 20 runs failed: \
         75 % at connect, 15 % at HTTP."
    );
    assert_eq!(figure.numbers.heads, ["Minute (UTC)", "Runs", "Failed", "at connect", "at HTTP"]);
    assert_eq!(figure.numbers.rows[10], ["15:41", "20", "18 (90 %)", "15", "3"]);
}

#[test]
fn elsewhere_is_drawn_to_the_scale_of_the_fault() {
    let figure = elsewhere::figure("elsewhere", &history(4), &moments()).expect("there are runs");
    let svg = figure.svg.into_string();
    assert!(svg.contains("class=\"stroke-aws\"") && svg.contains("class=\"stroke-neither\""), "{svg}");
    assert!(svg.contains("100 %"), "as high as the curve of the fault: {svg}");
    assert_eq!(
        figure.says,
        "From the onset to the end 0 % of 90 runs failed at everything else on AWS (0 % before it), and 5.0 % of 60 runs on \
         neither cloud (unknown before it)."
    );
    assert_eq!(figure.numbers.heads, ["Minute (UTC)", "AWS", "Neither"]);
    assert_eq!(figure.numbers.rows[10], ["15:41", "0 of 90", "3 of 60 (5.0 %)"]);
    let empty = History { elsewhere: BTreeMap::new(), ..history(4) };
    assert!(elsewhere::figure("elsewhere", &empty, &moments()).is_none(), "an earlier release did not keep it");
}

#[test]
fn latencies_are_told_before_against_after() {
    let figure = latency::figure("latency", &history(4)).expect("some passed");
    let svg = figure.svg.clone().into_string();
    assert!(svg.contains("class=\"fill-before\"") && svg.contains("class=\"fill-during\""), "{svg}");
    assert!(svg.contains("before the onset (200 runs)") && svg.contains("after it (10 runs)"), "{svg}");
    assert_eq!(
        figure.says,
        "Half of the 200 runs that passed before the onset took at most 20 ms; of the 10 runs after it, at most 100 ms."
    );
    assert_eq!(figure.numbers.rows.last().expect("rows"), &["more", "0 (0 %)", "1 (10 %)"]);
}

#[test]
fn a_picture_keeps_the_policy_and_the_theme() {
    let history = history(4);
    let figures = [
        curve::figure("a", &history, &moments()),
        elsewhere::figure("b", &history, &moments()),
        latency::figure("c", &history),
    ];
    for svg in figures.map(|figure| figure.expect("drawn").svg.into_string()) {
        for never in ["style=", "<style", "#F1", "fill=\"#", "stroke=\"#", "font-family", "<script", "href"] {
            assert!(!svg.contains(never), "{never}: {svg}");
        }
        assert_eq!((svg.matches("<svg").count(), svg.matches("</svg>").count()), (1, 1), "{svg}");
        for always in ["role=\"img\"", "<title id=", "<desc id=", "<text"] {
            assert!(svg.contains(always), "no {always}: {svg}");
        }
    }
}

#[test]
fn a_long_incident_makes_no_larger_picture() {
    for days in [1, 30, 400] {
        let figure = curve::figure("curve", &history(days * 1440), &moments()).expect("runs");
        let bytes = figure.svg.into_string().len();
        assert!(bytes < 24 << 10 && figure.numbers.rows.len() <= STEPS, "{days} days: {bytes} bytes");
    }
}

#[test]
fn without_a_result_there_is_no_picture() {
    let empty = History { curve: BTreeMap::new(), before: [0; 14], during: [0; 14], ..history(1) };
    assert!(curve::figure("curve", &empty, &moments()).is_none() && latency::figure("latency", &empty).is_none());
}

#[test]
fn onsets_that_make_no_sense_still_draw() {
    for (onset_at, onset_uncertainty_s) in [(Timestamp::from_micros(0), 1e300), (ONSET.after(Duration::MAX), f64::NAN)]
    {
        let moments = Moments { onset_at, onset_uncertainty_s, ..moments() };
        assert!(curve::figure("curve", &history(2), &moments).is_some());
    }
}
