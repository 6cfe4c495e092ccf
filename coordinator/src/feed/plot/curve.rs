//! The failure curve: share of the runs at the incident's targets that failed, step by step and layer by layer.

use super::{
    Area, Drawn, Figure, Ink, Moments, Table, clock, date,
    lines::{self, Line},
    percent, picture, runs,
};
use crate::history::{Bucket, Curve, History};

/// What the lines are called, in the order of [`Ink::LAYERS`].
const NAMES: [&str; 5] = ["DNS", "connect", "TLS", "HTTP", "layer not kept"];

/// The failure curve of a history; `None` where no result is left.
pub fn figure(id: &'static str, history: &History, moments: &Moments) -> Option<Figure> {
    let curve = history.curve(super::STEPS);
    curve.buckets.iter().any(|bucket| bucket.runs > 0).then(|| {
        let says = says(&curve, moments);
        let title = "Share of runs that failed, by layer";
        Figure {
            id,
            title,
            svg: picture(id, title, &says, lines::SIZE, |area| draw(area, &curve, moments)),
            numbers: numbers(&curve),
            says,
        }
    })
}

/// Share of a bucket at one of the five lines.
fn share(bucket: &Bucket, place: usize) -> Option<f64> {
    if place < 4 {
        return bucket.share_at(place);
    }
    bucket.share().map(|all| (all - (0..4).filter_map(|layer| bucket.share_at(layer)).sum::<f64>()).max(0.0))
}

/// The lines that are not flat at zero.
fn shown(curve: &Curve) -> Vec<usize> {
    let fails = |place: &usize| {
        curve.buckets.iter().any(|bucket| if *place < 4 { bucket.at_layer[*place] > 0 } else { bucket.elsewhere() > 0 })
    };
    (0..NAMES.len()).filter(fails).collect()
}

/// The curve in words.
fn says(curve: &Curve, moments: &Moments) -> String {
    let step = f64::from(curve.step_minutes) * 60e6;
    #[expect(clippy::cast_possible_truncation, reason = "microseconds of at most a step")]
    let is_before = |bucket: &&Bucket| bucket.at.micros() + step as i64 <= moments.onset_at.micros();
    let (before, after): (Vec<&Bucket>, Vec<&Bucket>) = curve.buckets.iter().partition(is_before);
    let sum = |buckets: &[&Bucket]| {
        buckets.iter().fold((0, 0), |(failed, all), bucket| (failed + bucket.failed, all + bucket.runs))
    };
    let (failed, all) = sum(&before);
    let begin = if all == 0 {
        "No run is kept from before the onset.".to_owned()
    } else {
        format!("Before the onset {failed} of {} failed.", runs(all))
    };
    let worst = after
        .iter()
        .filter(|bucket| bucket.runs > 0)
        .max_by(|a, b| a.share().unwrap_or_default().total_cmp(&b.share().unwrap_or_default()).then(b.at.cmp(&a.at)));
    let Some(worst) = worst.filter(|worst| worst.failed > 0) else { return format!("{begin} After it none did.") };
    let layers: Vec<String> = shown(curve)
        .into_iter()
        .filter_map(|place| {
            let share = share(worst, place)?;
            (share > 0.0).then(|| format!("{} at {}", percent(share), NAMES[place]))
        })
        .collect();
    let unit =
        if curve.step_minutes == 1 { "the minute".to_owned() } else { format!("the {} minutes", curve.step_minutes) };
    format!(
        "{begin} At the worst, in {unit} from {} UTC, {} of {} failed: {}.",
        clock(worst.at, 16),
        percent(worst.share().unwrap_or_default()),
        runs(worst.runs),
        layers.join(", ")
    )
}

fn draw(area: &Area<'_>, curve: &Curve, moments: &Moments) -> Drawn {
    let line = |place: usize| Line {
        name: NAMES[place],
        ink: Ink::LAYERS[place],
        shares: curve.buckets.iter().map(|bucket| share(bucket, place)).collect(),
    };
    let shown: Vec<Line> = shown(curve).into_iter().map(line).collect();
    lines::draw(area, curve, &shown, top(curve), moments)
}

/// The top of the axis: what the curve reaches, in a few sizes, so that pictures can be compared.
pub(super) fn top(curve: &Curve) -> f64 {
    let most = (0..NAMES.len()).flat_map(|place| curve.buckets.iter().filter_map(move |bucket| share(bucket, place)));
    let most = most.fold(0.0, f64::max);
    [0.05, 0.1, 0.25, 0.5].into_iter().find(|top| most <= *top).unwrap_or(1.0)
}

/// The curve's numbers.
pub fn numbers(curve: &Curve) -> Table {
    let shown = shown(curve);
    let unit = if curve.step_minutes == 1 {
        "Minute (UTC)".to_owned()
    } else {
        format!("{} minutes from (UTC)", curve.step_minutes)
    };
    let heads = [unit, "Runs".into(), "Failed".into()].into_iter();
    let heads = heads.chain(shown.iter().map(|place| format!("at {}", NAMES[*place]))).collect();
    let row = |bucket: &Bucket| {
        let failed = match bucket.share() {
            Some(share) if share > 0.0 => format!("{} ({})", bucket.failed, percent(share)),
            _ => bucket.failed.to_string(),
        };
        let first = [row_name(curve, bucket), bucket.runs.to_string(), failed].into_iter();
        first.chain(shown.iter().map(|place| count(bucket, *place).to_string())).collect()
    };
    Table {
        caption: "Runs that failed, of all that looked at the incident's targets".into(),
        heads,
        rows: curve.buckets.iter().map(row).collect(),
    }
}

fn count(bucket: &Bucket, place: usize) -> u64 {
    bucket.at_layer.get(place).copied().unwrap_or_else(|| bucket.elsewhere())
}

/// When a bucket begins: with its date where the curve is of several days.
pub(super) fn row_name(curve: &Curve, bucket: &Bucket) -> String {
    let day = |bucket: Option<&Bucket>| bucket.map(|bucket| date(bucket.at));
    let is_of_one_day = day(curve.buckets.first()) == day(curve.buckets.last());
    let time = clock(bucket.at, 16);
    if is_of_one_day { time } else { format!("{} {time}", date(bucket.at)) }
}

/// The curve as text: a bar of blocks for the share that failed in each step.
pub fn bars(curve: &Curve) -> Table {
    let mut table = numbers(curve);
    table.heads.push("Share that failed".into());
    for (row, bucket) in table.rows.iter_mut().zip(&curve.buckets) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 20")]
        let full = (bucket.share().unwrap_or_default() * 20.0).round() as usize;
        row.push(if bucket.runs == 0 {
            "nobody looked".into()
        } else {
            "█".repeat(full) + &"░".repeat(20 - full.min(20))
        });
    }
    table
}
