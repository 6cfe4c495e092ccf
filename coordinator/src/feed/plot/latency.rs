//! The latency distribution: how long those runs took that passed, before the onset against after it. Classes are the
//! logarithmic ones of [`LATENCY_MS`]; both sides are shares of their own sum, since there are more runs on one.

use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Drawn, Figure, Ink, Table, fill, line, percent, picture, runs, text};
use crate::history::{History, LATENCY_MS, Latencies, median_ms};

const SIZE: (u32, u32) = (800, 300);
const LEFT: i32 = 56;
const RIGHT: i32 = 784;
const TOP: i32 = 20;
const BOTTOM: i32 = 230;

/// The latency distribution of a history; `None` where nothing passed, or nobody timed it.
pub fn figure(id: &'static str, history: &History) -> Option<Figure> {
    let classes = classes(history)?;
    let says = says(history);
    let title = "How long those runs took that passed";
    Some(Figure {
        id,
        title,
        svg: picture(id, title, &says, SIZE, |area| draw(area, history, &classes)),
        numbers: numbers(history),
        says,
    })
}

/// The classes from the first that holds anything to the last.
fn classes(history: &History) -> Option<Vec<usize>> {
    let holds = |class: &usize| history.before[*class] + history.during[*class] > 0;
    let first = (0..history.before.len()).find(holds)?;
    let last = (0..history.before.len()).rfind(holds)?;
    // One alone would be a wall.
    Some((first.saturating_sub(1)..=(last + 1).min(LATENCY_MS.len())).collect())
}

fn draw(area: &Area<'_>, history: &History, classes: &[usize]) -> Drawn {
    let sides = [(&history.before, Ink::Before), (&history.during, Ink::During)];
    let shares = sides.map(|(latencies, _)| shares(latencies));
    let most = shares.iter().flatten().copied().fold(0.0, f64::max);
    let top = [0.25, 0.5].into_iter().find(|top| most <= *top).unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
    let y = |share: f64| BOTTOM - (share / top * f64::from(BOTTOM - TOP)) as i32;
    for quarter in 0..=4 {
        let share = top * f64::from(quarter) / 4.0;
        line(area, vec![(LEFT, y(share)), (RIGHT, y(share))], Ink::Grid, 1)?;
        text(area, &percent(share), (LEFT - 8, y(share)), (HPos::Right, VPos::Center))?;
    }
    let width = (RIGHT - LEFT) / i32::try_from(classes.len())?.max(1);
    for (n, class) in (0..).zip(classes) {
        let left = LEFT + width * n;
        let bar = (width - 8).max(4) / 2;
        for ((side, share), (_, ink)) in (0..).zip(shares.iter().map(|shares| shares[*class])).zip(sides) {
            if share > 0.0 {
                let from = left + 4 + bar * side;
                fill(area, [(from, y(share).min(BOTTOM - 1)), (from + bar - 2, BOTTOM)], ink)?;
            }
        }
        text(area, &short(*class), (left + width / 2, BOTTOM + 6), (HPos::Center, VPos::Top))?;
    }
    text(area, "at most", (LEFT - 8, BOTTOM + 6), (HPos::Right, VPos::Top))?;
    for (n, ((latencies, ink), name)) in (0..).zip(sides.into_iter().zip(["before the onset", "after it"])) {
        let left = LEFT + 330 * n;
        fill(area, [(left, 276), (left + 24, 288)], ink)?;
        let words = format!("{name} ({})", runs(latencies.iter().sum()));
        text(area, &words, (left + 32, 282), (HPos::Left, VPos::Center))?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of one incident")]
fn shares(latencies: &Latencies) -> [f64; LATENCY_MS.len() + 1] {
    let all: u64 = latencies.iter().sum();
    latencies.map(|count| if all == 0 { 0.0 } else { count as f64 / all as f64 })
}

/// The upper end of a class: "50 ms", "2 s", "more".
fn short(class: usize) -> String {
    match LATENCY_MS.get(class) {
        None => "more".into(),
        Some(ms) if *ms < 1000 => format!("{ms} ms"),
        Some(ms) => format!("{} s", ms / 1000),
    }
}

/// The distributions in words.
fn says(history: &History) -> String {
    let half = |latencies: &Latencies| match median_ms(latencies)? {
        Ok(ms) if ms < 1000 => Some(format!("at most {ms} ms")),
        Ok(ms) => Some(format!("at most {} s", ms / 1000)),
        Err(ms) => Some(format!("more than {} s", ms / 1000)),
    };
    let (before, during) = (half(&history.before), half(&history.during));
    let counts = [&history.before, &history.during].map(|latencies| runs(latencies.iter().sum()));
    match (before, during) {
        (Some(before), Some(during)) => {
            format!(
                "Half of the {} that passed before the onset took {before}; of the {} after it, {during}.",
                counts[0], counts[1]
            )
        }
        (Some(before), None) => {
            format!("Half of the {} that passed before the onset took {before}; none passed after it.", counts[0])
        }
        (None, Some(during)) => format!(
            "Nothing is kept from before the onset; half of the {} that passed after it took {during}.",
            counts[1]
        ),
        (None, None) => "No run that passed was timed.".into(),
    }
}

/// The numbers.
fn numbers(history: &History) -> Table {
    let heads = ["Took at most", "Before the onset", "After it"].map(str::to_owned).into();
    let (before, during) = (shares(&history.before), shares(&history.during));
    let cell = |count: u64, share: f64| format!("{count} ({})", percent(share));
    let row = |class: usize| {
        vec![short(class), cell(history.before[class], before[class]), cell(history.during[class], during[class])]
    };
    let holds = |class: &usize| history.before[*class] + history.during[*class] > 0;
    Table {
        caption: "Runs that passed, by how long they took".into(),
        heads,
        rows: (0..history.before.len()).filter(holds).map(row).collect(),
    }
}
