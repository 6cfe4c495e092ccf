//! Elsewhere: what the same vantages saw in the same minutes at everything that the incident does not touch, by who hosts it. To the
//! scale of the failure curve, so that what is flat there is flat here: it is the alibi as a picture.

use super::{
    Figure, Ink, Moments, Table, curve,
    lines::{self, Line},
    percent, picture, runs,
};
use crate::history::{Bucket, Curve, History};

/// Keys of [`History::elsewhere`], what they are called, at the head of a column and in a sentence, and how they are drawn.
const SIDES: [(&str, &str, &str, Ink); 3] = [
    ("aws", "AWS", "AWS", Ink::Aws),
    ("azure", "Azure", "Azure", Ink::Azure),
    ("neither", "Neither", "neither cloud", Ink::Neither),
];

/// The picture; `None` where nothing of it is kept.
pub fn figure(id: &'static str, history: &History, moments: &Moments) -> Option<Figure> {
    let sides = sides(history, super::STEPS);
    let frame = history.curve(super::STEPS);
    if sides.is_empty() || frame.buckets.is_empty() {
        return None;
    }
    let lines: Vec<Line> = sides
        .iter()
        .map(|((_, name, _, ink), curve)| Line {
            name,
            ink: *ink,
            shares: curve.buckets.iter().map(Bucket::share).collect(),
        })
        .collect();
    let says = says(&sides, moments);
    let title = "The same minutes elsewhere: share of runs that failed at all other targets";
    let top = curve::top(&frame);
    let svg = picture(id, title, &says, lines::SIZE, |area| lines::draw(area, &frame, &lines, top, moments));
    Some(Figure { id, title, says, svg, numbers: numbers(history, super::STEPS) })
}

type Side = (&'static str, &'static str, &'static str, Ink);

/// The sides at which anybody looked.
fn sides(history: &History, most: usize) -> Vec<(Side, Curve)> {
    let curves = history.elsewhere(most);
    let of = |side: Side| {
        let (_, curve) = curves.iter().find(|(key, _)| *key == side.0)?;
        curve.buckets.iter().any(|bucket| bucket.runs > 0).then(|| (side, curve.clone()))
    };
    SIDES.into_iter().filter_map(of).collect()
}

fn says(sides: &[(Side, Curve)], moments: &Moments) -> String {
    // The step of the onset counts as after it.
    let is_after = |curve: &Curve, bucket: &Bucket| {
        let step = i64::from(curve.step_minutes) * 60_000_000;
        bucket.at.micros().saturating_add(step) > moments.onset_at.micros()
    };
    let share = |curve: &Curve, after: bool| {
        let buckets = curve.buckets.iter().filter(|bucket| is_after(curve, bucket) == after);
        let sum = |sum: Bucket, bucket: &Bucket| Bucket {
            failed: sum.failed + bucket.failed,
            runs: sum.runs + bucket.runs,
            ..sum
        };
        buckets.fold(EMPTY, sum)
    };
    let parts: Vec<String> = sides
        .iter()
        .enumerate()
        .map(|(n, ((_, _, name, _), curve))| {
            let (before, after) = (share(curve, false), share(curve, true));
            let what = if n == 0 { " failed at everything else on " } else { " on " };
            let usual = before
                .share()
                .map_or_else(|| "unknown before it".into(), |share| format!("{} before it", percent(share)));
            format!("{} of {}{what}{name} ({usual})", percent(after.share().unwrap_or_default()), runs(after.runs))
        })
        .collect();
    match parts.as_slice() {
        [] => String::new(),
        [one] => format!("From the onset to the end {one}."),
        [rest @ .., last] => format!("From the onset to the end {}, and {last}.", rest.join(", ")),
    }
}

const EMPTY: Bucket =
    Bucket { at: faultline_attribution::Timestamp::from_micros(0), runs: 0, failed: 0, at_layer: [0; 4] };

/// The numbers, in `most` steps or fewer.
pub fn numbers(history: &History, most: usize) -> Table {
    let sides = sides(history, most);
    let frame = history.curve(most);
    let heads = curve::numbers(&frame).heads.into_iter().take(1);
    let heads = heads.chain(sides.iter().map(|((_, name, ..), _)| (*name).to_owned())).collect();
    let cell = |bucket: &Bucket| match bucket.share() {
        None => "-".to_owned(),
        Some(share) if share > 0.0 => format!("{} of {} ({})", bucket.failed, bucket.runs, percent(share)),
        Some(_) => format!("0 of {}", bucket.runs),
    };
    let row = |(n, bucket): (usize, &Bucket)| {
        let cells = sides.iter().map(|(_, curve)| curve.buckets.get(n).map_or_else(String::new, cell));
        std::iter::once(curve::row_name(&frame, bucket)).chain(cells).collect()
    };
    Table {
        caption: "Runs that failed at all other targets, by who hosts them".into(),
        heads,
        rows: frame.buckets.iter().enumerate().map(row).collect(),
    }
}
