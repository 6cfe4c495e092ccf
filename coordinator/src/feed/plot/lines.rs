//! Lines over time, with the moments of an incident: what the pictures of curves share. A step is a flat piece: nothing is drawn
//! that was not counted, and a step in which nobody looked is a gap.

use std::ops::Range;

use faultline_attribution::{State, Timestamp};
use plotters::{
    coord::{cartesian::Cartesian2d, ranged1d::Ranged as _, types::RangedCoordf64},
    prelude::CoordTranslate as _,
    style::text_anchor::{HPos, VPos},
};

use super::{Area, Drawn, Ink, Moments, clock, date, fill, line, text};
use crate::history::Curve;

/// Size of a picture of lines.
pub(super) const SIZE: (u32, u32) = (800, 340);

const LEFT: i32 = 56;
const RIGHT: i32 = 774;
const TOP: i32 = 76;
const BOTTOM: i32 = 268;

/// Where the name of each moment stands, over the lines.
const ROWS: [i32; 3] = [8, 30, 52];

/// Distances of the times on the axis, in minutes.
const TICKS: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 360.0, 720.0, 1440.0, 10_080.0, 43_200.0];

/// A line: a share for each step, none where nobody looked.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) ink: Ink,
    pub(super) shares: Vec<Option<f64>>,
}

/// Draws lines over the steps of `frame`, on an axis from 0 to `top`.
pub(super) fn draw(area: &Area<'_>, frame: &Curve, lines: &[Line], top: f64, moments: &Moments) -> Drawn {
    let (Some(first), Some(last)) = (frame.buckets.first(), frame.buckets.last()) else { return Ok(()) };
    let begin = first.at;
    let minute = |at: Timestamp| -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "minutes of one incident")]
        let micros = at.micros().saturating_sub(begin.micros()) as f64;
        micros / 60e6
    };
    let step = f64::from(frame.step_minutes);
    let end = minute(last.at) + step;
    let plane = Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(0.0..end, 0.0..top, (LEFT..RIGHT, TOP..BOTTOM));
    let x = |minute: f64| plane.translate(&(minute.clamp(0.0, end), 0.0)).0;
    // What is more stands higher.
    let y = |share: f64| TOP + BOTTOM - plane.translate(&(0.0, share.clamp(0.0, top))).1;

    let half = moments.onset_uncertainty_s.clamp(0.0, 86_400.0) / 60.0;
    let onset = minute(moments.onset_at);
    let band = (x(onset - half), x(onset + half));
    fill(area, [(band.0, TOP), (band.1.max(band.0 + 2), BOTTOM)], Ink::Onset)?;
    for share in RangedCoordf64::from(0.0..top).key_points(6_usize) {
        line(area, vec![(LEFT, y(share)), (RIGHT, y(share))], Ink::Grid, 1)?;
        text(area, &format!("{:.0} %", share * 100.0), (LEFT - 8, y(share)), (HPos::Right, VPos::Center))?;
    }
    times(area, begin, 0.0..end, &x)?;
    for (n, shown) in (0..).zip(lines) {
        for piece in pieces(&shown.shares, step) {
            let points = piece.into_iter().map(|(minute, share)| (x(minute), y(share))).collect();
            line(area, points, shown.ink, 3)?;
        }
        let left = LEFT + 150 * n;
        line(area, vec![(left, 325), (left + 34, 325)], shown.ink, 3)?;
        text(area, shown.name, (left + 42, 325), (HPos::Left, VPos::Center))?;
    }
    marks(area, moments, |at| x(minute(at)))
}

/// The flat pieces of a line, broken where nobody looked.
fn pieces(shares: &[Option<f64>], step: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    let mut minute = 0.0;
    for share in shares {
        match (share, pieces.last_mut()) {
            (Some(share), Some(piece)) => piece.extend([(minute, *share), (minute + step, *share)]),
            _ => pieces.push(Vec::new()),
        }
        minute += step;
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Times of day under the axis, at round ones; with the date of the first.
fn times(area: &Area<'_>, begin: Timestamp, span: Range<f64>, x: &impl Fn(f64) -> i32) -> Drawn {
    let tick = TICKS.into_iter().find(|tick| span.end / tick <= 9.0).unwrap_or(span.end / 8.0);
    #[expect(clippy::cast_precision_loss, reason = "minutes since the epoch")]
    let first = begin.micros() as f64 / 60e6;
    let mut at = (first / tick).ceil() * tick;
    while at <= first + span.end {
        let place = x(at - first);
        line(area, vec![(place, BOTTOM), (place, BOTTOM + 5)], Ink::Grid, 1)?;
        #[expect(clippy::cast_possible_truncation, reason = "an instant that a timestamp was made of")]
        let instant = Timestamp::from_micros((at * 60e6) as i64);
        let words = if tick < 1440.0 { clock(instant, 16) } else { date(instant) };
        text(area, &words, (place, BOTTOM + 9), (HPos::Center, VPos::Top))?;
        at += tick;
    }
    text(area, &format!("{} UTC", date(begin)), (RIGHT, 304), (HPos::Right, VPos::Center))
}

/// Lines at the moments, each with its name in a row of its own.
fn marks(area: &Area<'_>, moments: &Moments, x: impl Fn(Timestamp) -> i32) -> Drawn {
    let onset = format!("onset {} ± {} s", clock(moments.onset_at, 19), moments.onset_uncertainty_s);
    let mut marks = vec![(moments.onset_at, onset)];
    marks.extend(moments.attributed_at.map(|at| (at, format!("attributed {}", clock(at, 19)))));
    marks.extend(moments.ended.map(|(at, state)| {
        let word = if state == State::Retracted { "retracted" } else { "resolved" };
        (at, format!("{word} {}", clock(at, 19)))
    }));
    for ((at, words), row) in marks.into_iter().zip(ROWS) {
        let place = x(at);
        line(area, vec![(place, row), (place, BOTTOM)], Ink::Mark, 1)?;
        let (side, at) =
            if place > i32::midpoint(LEFT, RIGHT) { (HPos::Right, place - 6) } else { (HPos::Left, place + 6) };
        text(area, &words, (at, row), (side, VPos::Top))?;
    }
    Ok(())
}
