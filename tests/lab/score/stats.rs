//! The statistics of the report: quantiles, exact bounds and the bootstrap. Pure; randomness is seeded.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// One chance in twenty: every bound and interval of the report is one of 95 %.
const ALPHA: f64 = 0.05;

/// The q-quantile of the values, which need no order; `None` of nothing. Linear between neighbours.
///
/// Source: Hyndman and Fan 1996, definition 7 (the default of R and `NumPy`).
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

/// The same of values in order.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position within the slice")]
pub fn quantile_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * real(last);
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let (low_value, high_value) = (*sorted.get(low)?, *sorted.get(high)?);
    // Infinite values (never) must not make a NaN out of zero times infinity.
    if low == high || low_value.total_cmp(&high_value).is_eq() {
        return Some(low_value);
    }
    Some(low_value + (high_value - low_value) * (place - real(low)))
}

/// Mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / real(values.len()))
}

/// The share that `of` is of `all`; `None` of nothing.
pub fn share(of: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| real(of) / real(all))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of this bench stay far below 2^52")]
pub fn real(count: usize) -> f64 {
    count as f64
}

/// Upper end of the exact one-sided 95 % interval of a share of which `hits` of `runs` were seen; 1 of no runs.
/// Without a hit it is close to 3 / runs, the rule of three.
///
/// Source: Clopper and Pearson 1934; Hanley and Lippman-Hand 1983 for the rule.
pub fn share_at_most(hits: usize, runs: usize) -> f64 {
    if hits >= runs {
        return 1.0;
    }
    // Chance of at most so many hits; falls as the share grows.
    let at_most = |p: f64| {
        let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
        let mut ln_ways = 0.0;
        let mut sum = 0.0;
        for k in 0..=hits {
            sum += (ln_ways + real(k) * ln_p + real(runs - k) * ln_q).exp();
            ln_ways += (real(runs - k) / real(k + 1)).ln();
        }
        sum
    };
    falls_to(ALPHA, 0.0, 1.0, at_most)
}

/// Upper end of the exact one-sided 95 % interval of the mean count of which `events` were seen once; 3.0 without one.
///
/// Source: Garwood 1936.
pub fn count_at_most(events: usize) -> f64 {
    let at_most = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=events {
            term *= mean / real(k);
            sum += term;
        }
        sum
    };
    falls_to(ALPHA, 0.0, 10.0 + 3.0 * real(events), at_most)
}

/// Where a falling function passes `level`, by halving.
fn falls_to(level: f64, mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    // 60 halvings use up the digits of a double.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if function(middle) > level { low = middle } else { high = middle }
    }
    high
}

/// The 95 % percentile interval of a figure over groups drawn with replacement; `None` where the figure has none.
///
/// Source: Efron and Tibshirani 1993, chapter 13. Groups are whole scenarios, since runs of one scenario resemble each
/// other and would make the interval too narrow.
pub fn bootstrap<T>(groups: &[T], figure: impl Fn(&[&T]) -> Option<f64>) -> Option<(f64, f64)> {
    const DRAWS: usize = 1000;
    const SEED: u64 = 20_251_029;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut figures = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let drawn: Vec<&T> = (0..groups.len()).map(|_| &groups[random.random_range(0..groups.len())]).collect();
        figures.extend(figure(&drawn));
    }
    figures.sort_by(f64::total_cmp);
    Some((quantile_sorted(&figures, ALPHA / 2.0)?, quantile_sorted(&figures, 1.0 - ALPHA / 2.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-4, "{left} is not {right}");
    }

    #[test]
    fn quantiles_are_those_of_r() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[1.0, 2.0, f64::INFINITY], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.9), Some(f64::INFINITY));
    }

    #[test]
    fn shares_are_bounded_as_by_clopper_and_pearson() {
        close(share_at_most(0, 100), 1.0 - 0.05_f64.powf(0.01));
        close(share_at_most(1, 10), 0.394_163);
        close(share_at_most(2, 60), 0.101_335);
        close(share_at_most(5, 5), 1.0);
        assert!(share_at_most(0, 300) < 3.0 / 300.0);
    }

    #[test]
    fn counts_are_bounded_as_by_garwood() {
        close(count_at_most(0), 2.995_732);
        close(count_at_most(1), 4.743_865);
        close(count_at_most(3), 7.753_657);
    }

    #[test]
    fn the_bootstrap_gives_the_same_interval_each_time() {
        let groups: Vec<f64> = (0..20).map(f64::from).collect();
        let figure = |drawn: &[&f64]| mean(&drawn.iter().map(|value| **value).collect::<Vec<_>>());
        let first = bootstrap(&groups, figure).expect("some");
        assert_eq!(Some(first), bootstrap(&groups, figure));
        assert!(first.0 < 9.5 && first.1 > 9.5 && first.1 - first.0 < 8.0);
    }
}
