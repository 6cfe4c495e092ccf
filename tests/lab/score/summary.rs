//! Figures over many judged cases of one method. Pure.
//!
//! Definitions, after section 5.2 of the benchmark protocol:
//! - Precision of a class: of the cases said to be of it, those that are; recall: of the cases of it, those said to be.
//!   F1 is their harmonic mean, 0 where nothing was right. `undetermined` is a miss for recall and nothing for precision.
//!   Macro-F1 is the mean over the classes that are present in the truth. Source: Sokolova and Lapalme 2009.
//! - Its interval is the bootstrap's over scenarios ([`stats::bootstrap`]).
//! - Wrong-cloud blame: the share of runs in which a cloud not at fault was accused at any time, with the exact upper
//!   95 % bound over runs, and over distinct scenarios (one wrong run makes a scenario wrong), which is the honest one
//!   where seeds of a scenario resemble each other.
//! - Element accuracy: of the incidents whose elements the truth lists and whose party was accused, those whose element
//!   was named. Element F1 counts misses and strange elements too.
//! - Brier: mean squared difference between the probability of the likeliest class and whether it was right; over all
//!   classes the sum of squares. Source: Brier 1950. Log loss in nats, probabilities held above 1e-6.
//! - ECE: mean distance between confidence and share right over ten bins, weighted by their size; bins of equal width,
//!   and of equal mass. Source: Naeini, Cooper and Hauskrecht 2015; Nguyen and O'Connor 2015.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    judged::{Class, JudgedIncident},
    run::Row,
    stats::{self, real},
};

/// One class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Which.
    pub class: Class,
    /// Cases of it.
    pub cases: usize,
    /// `None` where it was never said.
    pub precision: Option<f64>,
    /// `None` where there is none.
    pub recall: Option<f64>,
    /// 0 where nothing was right; `None` where there is none.
    pub f1: Option<f64>,
}

/// Median, 90th percentile and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// `None` of nothing.
    pub median: Option<f64>,
    /// `None` of nothing.
    pub p90: Option<f64>,
    /// How many.
    pub count: usize,
}

/// A share of runs or scenarios, with how large it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// How often.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
    /// Upper end of the exact one-sided 95 % interval.
    pub at_most: f64,
}

/// How well probabilities fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Of the likeliest class.
    pub brier: f64,
    /// Over all classes.
    pub brier_all: f64,
    /// Ten bins of equal width.
    pub ece: f64,
    /// Ten bins of equal mass.
    pub ece_mass: f64,
    /// Nats.
    pub log_loss: f64,
}

/// The figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Runs: scenarios times seeds.
    pub runs: usize,
    /// Distinct scenarios.
    pub scenarios: usize,
    /// Share of runs that were right.
    pub accuracy: Option<f64>,
    /// One for each of [`Class::TRUE`].
    pub classes: Vec<ClassScore>,
    /// Mean F1 of the classes present.
    pub macro_f1: Option<f64>,
    /// Its 95 % interval.
    pub macro_f1_interval: Option<(f64, f64)>,
    /// Runs that accused a cloud which was not at fault.
    pub wrong_cloud: Bounded,
    /// The same of scenarios.
    pub wrong_cloud_scenarios: Bounded,
    /// Runs that accused `neither` without such a fault.
    pub wrong_neither: usize,
    /// Runs at whose end nobody was accused though something was seen.
    pub undetermined: usize,
    /// Of the incidents whose party was accused, those with the right element.
    pub element_accuracy: Option<f64>,
    /// Over elements named and true.
    pub element_f1: Option<f64>,
    /// Of the incidents of neither that were accused, those with a right kind.
    pub kind_accuracy: Option<f64>,
    /// Seconds to the right verdict; never is infinite.
    pub seconds: Spread,
    /// Share of incidents that were never told while they lasted.
    pub never: Option<f64>,
    /// Seconds to the right verdict over those of the exact CUSUM, where both are known.
    pub optimum_ratio: Spread,
    /// Wrong accusations begun, a run.
    pub wrong_begun: Option<f64>,
    /// Accusations withdrawn too early, a run.
    pub flips: Option<f64>,
    /// Seconds between true and estimated onset.
    pub onset_error_s: Spread,
    /// Seconds from the end of a fault to the end of its accusation.
    pub resolve_s: Spread,
    /// `None` for a method without probabilities.
    pub calibration: Option<Calibration>,
    /// Microseconds a result on one core, all told.
    pub result_us: Option<f64>,
    /// Milliseconds of a tick: median, 99th percentile, longest; for a method that tells.
    pub tick_ms: Option<[f64; 3]>,
}

impl Summary {
    /// The figures of these rows, which are one method's.
    pub fn of(rows: &[&Row]) -> Self {
        let judged = || rows.iter().map(|row| &row.judged);
        let incidents: Vec<&JudgedIncident> = rows.iter().flat_map(|row| &row.judged.incidents).collect();
        let by_scenario = by_scenario(rows);
        let seconds: Vec<f64> = incidents.iter().map(|one| one.seconds).collect();
        let ratios = rows.iter().filter_map(|row| {
            let first = row.judged.incidents.iter().find(|incident| incident.is_first)?;
            Some(first.seconds / row.optimum_s.filter(|optimum| *optimum > 0.0)?)
        });
        let is_wrong = |row: &Row| !row.judged.wrong_clouds.is_empty();
        let wrong_scenarios = by_scenario.iter().filter(|rows| rows.iter().any(|row| is_wrong(row))).count();
        let inputs: usize = rows.iter().map(|row| row.spent.inputs).sum();
        let total: f64 = rows.iter().map(|row| row.spent.total.as_secs_f64()).sum();
        Self {
            runs: rows.len(),
            scenarios: by_scenario.len(),
            accuracy: stats::share(judged().filter(|judged| judged.is_right()).count(), rows.len()),
            classes: Class::TRUE.iter().map(|class| class_score(rows, *class)).collect(),
            macro_f1: macro_f1(rows),
            macro_f1_interval: stats::bootstrap(&by_scenario, |drawn| {
                macro_f1(&drawn.iter().flat_map(|rows| rows.iter().copied()).collect::<Vec<_>>())
            }),
            wrong_cloud: bounded(rows.iter().filter(|row| is_wrong(row)).count(), rows.len()),
            wrong_cloud_scenarios: bounded(wrong_scenarios, by_scenario.len()),
            wrong_neither: judged().filter(|judged| judged.is_neither_wrong).count(),
            undetermined: judged().filter(|judged| judged.said == Class::Undetermined).count(),
            element_accuracy: share_true(incidents.iter().filter_map(|one| one.is_element_right)),
            element_f1: element_f1(rows),
            kind_accuracy: share_true(incidents.iter().filter_map(|one| one.is_kind_right)),
            never: stats::share(seconds.iter().filter(|seconds| seconds.is_infinite()).count(), seconds.len()),
            seconds: spread(&seconds),
            optimum_ratio: spread(&ratios.collect::<Vec<_>>()),
            wrong_begun: stats::share(judged().map(|judged| judged.wrong_begun).sum(), rows.len()),
            flips: stats::share(judged().map(|judged| judged.flips).sum(), rows.len()),
            onset_error_s: spread(&incidents.iter().filter_map(|one| one.onset_error_s).collect::<Vec<_>>()),
            resolve_s: spread(&incidents.iter().filter_map(|one| one.resolve_s).collect::<Vec<_>>()),
            calibration: calibration(rows),
            result_us: (inputs > 0).then(|| total * 1e6 / real(inputs)),
            tick_ms: tick_ms(rows),
        }
    }
}

fn by_scenario<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(&row.scenario).or_default().push(row);
    }
    groups.into_values().collect()
}

fn class_score(rows: &[&Row], class: Class) -> ClassScore {
    let count = |truth: bool, said: bool| {
        let is = |row: &&&Row| (!truth || row.judged.truth == class) && (!said || row.judged.said == class);
        rows.iter().filter(is).count()
    };
    let (cases, said, right) = (count(true, false), count(false, true), count(true, true));
    ClassScore {
        class,
        cases,
        precision: stats::share(right, said),
        recall: stats::share(right, cases),
        f1: (cases > 0).then(|| 2.0 * real(right) / real(cases + said)),
    }
}

fn macro_f1(rows: &[&Row]) -> Option<f64> {
    let present: Vec<f64> = Class::TRUE.iter().filter_map(|class| class_score(rows, *class).f1).collect();
    stats::mean(&present)
}

fn element_f1(rows: &[&Row]) -> Option<f64> {
    let (mut right, mut missed, mut strange) = (0, 0, 0);
    for row in rows {
        let Some(others) = row.judged.strange_elements else { continue };
        let hits = row.judged.incidents.iter().filter(|incident| incident.is_element_right == Some(true)).count();
        right += hits;
        missed += row.judged.incidents.len() - hits;
        strange += others;
    }
    stats::share(2 * right, 2 * right + missed + strange)
}

/// The confidence of the likeliest class, and whether it was right, of each row that has probabilities.
pub fn confidences(rows: &[&Row]) -> Vec<(f64, bool)> {
    let each = rows.iter().filter_map(|row| {
        let all = row.judged.probabilities?;
        let (class, confidence) = likeliest(&all);
        Some((confidence, class == row.judged.truth))
    });
    each.collect()
}

fn likeliest(probabilities: &[f64; 5]) -> (Class, f64) {
    let pairs = Class::TRUE.into_iter().zip(probabilities.iter().copied());
    pairs.fold((Class::None, -1.0), |best, next| if next.1 > best.1 { next } else { best })
}

fn calibration(rows: &[&Row]) -> Option<Calibration> {
    const FLOOR: f64 = 1e-6;
    let confidences = confidences(rows);
    let count = real(confidences.len());
    if confidences.is_empty() {
        return None;
    }
    let told = |is: bool| if is { 1.0 } else { 0.0 };
    let (mut brier_all, mut log_loss) = (0.0, 0.0);
    for row in rows {
        let Some(all) = row.judged.probabilities else { continue };
        for (class, probability) in Class::TRUE.into_iter().zip(all) {
            brier_all += (probability - told(class == row.judged.truth)).powi(2);
            if class == row.judged.truth {
                log_loss -= probability.clamp(FLOOR, 1.0).ln();
            }
        }
    }
    Some(Calibration {
        brier: confidences.iter().map(|(confidence, is_right)| (confidence - told(*is_right)).powi(2)).sum::<f64>()
            / count,
        brier_all: brier_all / count,
        ece: ece(&bins_of_width(&confidences)),
        ece_mass: ece(&bins_of_mass(&confidences)),
        log_loss: log_loss / count,
    })
}

/// One bin of the reliability diagram: mean confidence, share right, how many.
pub type Bin = (f64, f64, usize);

const BINS: usize = 10;

/// Ten bins of equal width, the empty ones left out.
pub fn bins_of_width(confidences: &[(f64, bool)]) -> Vec<Bin> {
    let mut bins: [Vec<(f64, bool)>; BINS] = Default::default();
    for pair in confidences {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability times ten")]
        let place = (pair.0.clamp(0.0, 1.0) * real(BINS)) as usize;
        bins[place.min(BINS - 1)].push(*pair);
    }
    bins.iter().filter_map(|pairs| bin(pairs)).collect()
}

/// Ten bins with as many in each.
pub fn bins_of_mass(confidences: &[(f64, bool)]) -> Vec<Bin> {
    let mut sorted = confidences.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    let edge = |bin: usize| bin * sorted.len() / BINS;
    (0..BINS).filter_map(|place| bin(&sorted[edge(place)..edge(place + 1)])).collect()
}

fn bin(pairs: &[(f64, bool)]) -> Option<Bin> {
    let confidence = stats::mean(&pairs.iter().map(|(confidence, _)| *confidence).collect::<Vec<_>>())?;
    Some((confidence, share_true(pairs.iter().map(|(_, is_right)| *is_right))?, pairs.len()))
}

fn ece(bins: &[Bin]) -> f64 {
    let all: usize = bins.iter().map(|(.., count)| count).sum();
    bins.iter().map(|(confidence, right, count)| (confidence - right).abs() * real(*count)).sum::<f64>() / real(all)
}

fn tick_ms(rows: &[&Row]) -> Option<[f64; 3]> {
    let mut ticks: Vec<f64> =
        rows.iter().flat_map(|row| row.spent.ticks_ms.iter().map(|tick| f64::from(*tick))).collect();
    ticks.sort_by(f64::total_cmp);
    let at = |q| stats::quantile_sorted(&ticks, q);
    Some([at(0.5)?, at(0.99)?, at(1.0)?])
}

fn share_true(claims: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut right, mut all) = (0, 0);
    for claim in claims {
        right += usize::from(claim);
        all += 1;
    }
    stats::share(right, all)
}

fn spread(values: &[f64]) -> Spread {
    Spread { median: stats::quantile(values, 0.5), p90: stats::quantile(values, 0.9), count: values.len() }
}

fn bounded(hits: usize, of: usize) -> Bounded {
    Bounded { hits, of, at_most: stats::share_at_most(hits, of) }
}

/// The distinct words of a column, in order.
pub fn distinct<'a>(rows: &[&'a Row], word: impl Fn(&'a Row) -> &'a str) -> Vec<&'a str> {
    rows.iter().map(|row| word(row)).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
pub(in crate::score) mod tests;
