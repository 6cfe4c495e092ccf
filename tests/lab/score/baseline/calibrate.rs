//! Choosing a peer's parameters on cases that are not judged.
//!
//! Each case counts once: the answer in force shortly before its fault ends (at most [`PATIENCE`] after it began), or
//! at the end of a quiet record, is one of five classes (aws, azure, both, neither, none), and any moment at which a
//! cloud is named that is never at fault in the case makes the case a wrong blame. The objective is the macro-F1 over
//! the classes that occur, less the share of wrong blame. Ties go to the earlier combination.

use std::{collections::BTreeSet, time::Duration};

use faultline_attribution::Timestamp;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{Peer, Rule, replay};
use crate::{
    case::Case,
    scenario::Verdict,
    score::method::{Answer, Blind, Method},
};

/// Time after the onset at which a peer must have said it: enough for a rule that waits two minutes.
const PATIENCE: Duration = Duration::from_mins(4);

/// What calibration chose.
pub struct Calibration {
    /// The peer with those parameters.
    pub method: Box<dyn Method>,
    /// The parameters, as they are written in the source.
    pub parameters: String,
    /// Macro-F1 less the share of wrong blame, on the cases given.
    pub objective: f64,
}

/// The best of these peers; the first where there are no cases.
pub(super) fn search<R: Rule>(peers: Vec<Peer<R>>, cases: &[&Case]) -> Calibration {
    let judged: Vec<Vec<Point>> = cases.par_iter().map(|case| points(&peers, case)).collect();
    let mut scores = vec![Score::default(); peers.len()];
    for points in judged {
        for (score, point) in scores.iter_mut().zip(points) {
            score.count(point);
        }
    }
    let objectives = scores.iter().map(Score::objective);
    let (peer, objective) = peers
        .into_iter()
        .zip(objectives)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .expect("every rule has a grid");
    Calibration { parameters: format!("{peer:?}"), objective, method: Box::new(peer) }
}

/// What one peer made of one case: the true class, the class told, whether an innocent cloud was blamed.
type Point = (usize, usize, bool);

fn points<R: Rule>(peers: &[Peer<R>], case: &Case) -> Vec<Point> {
    let (truth, guilty, at) = (truth(case), guilty(case), moment(case));
    let told = replay(&Blind::of(case), peers);
    let point = |told: &Vec<_>| (truth, class(&in_force(told, at).verdicts), blames_innocent(told, &guilty));
    told.iter().map(point).collect()
}

/// The answer at that moment.
pub(super) fn in_force(told: &[(Timestamp, Answer)], at: Timestamp) -> &Answer {
    let next = told.partition_point(|(since, _)| *since <= at);
    &told[next.saturating_sub(1)].1
}

/// One of aws, azure, both, neither, none.
pub(super) fn class(verdicts: &BTreeSet<Verdict>) -> usize {
    match (verdicts.contains(&Verdict::Aws), verdicts.contains(&Verdict::Azure)) {
        (true, false) => 0,
        (false, true) => 1,
        (true, true) => 2,
        (false, false) if verdicts.contains(&Verdict::Neither) => 3,
        (false, false) => 4,
    }
}

fn guilty(case: &Case) -> BTreeSet<Verdict> {
    case.truth.iter().chain(&case.background).map(|incident| incident.verdict).collect()
}

fn truth(case: &Case) -> usize {
    let at = moment(case);
    let active = case.truth.iter().filter(|incident| incident.onset <= at && incident.end.is_none_or(|end| at < end));
    class(&active.map(|incident| incident.verdict).collect())
}

/// When a case is judged.
fn moment(case: &Case) -> Timestamp {
    let Some(onset) = case.truth.iter().map(|incident| incident.onset).max() else { return case.end };
    let ends = case.truth.iter().filter_map(|incident| incident.end).filter(|end| *end > onset);
    let last = ends.min().unwrap_or(case.end).before(Duration::from_secs(1));
    last.min(onset.after(PATIENCE)).max(onset)
}

fn blames_innocent(told: &[(Timestamp, Answer)], guilty: &BTreeSet<Verdict>) -> bool {
    let clouds = [Verdict::Aws, Verdict::Azure];
    told.iter().any(|(_, answer)| clouds.iter().any(|cloud| answer.verdicts.contains(cloud) && !guilty.contains(cloud)))
}

#[derive(Clone, Debug, Default)]
struct Score {
    /// Cases by true class and told class.
    told: [[u32; 5]; 5],
    wrong: u32,
}

impl Score {
    fn count(&mut self, (truth, told, is_wrong): Point) {
        self.told[truth][told] += 1;
        self.wrong += u32::from(is_wrong);
    }

    fn objective(&self) -> f64 {
        let cases: u32 = self.told.iter().flatten().sum();
        let scores: Vec<f64> = (0..5).filter_map(|class| self.f1(class)).collect();
        if scores.is_empty() {
            return 0.0;
        }
        let classes = u32::try_from(scores.len()).map_or(1.0, f64::from);
        scores.iter().sum::<f64>() / classes - f64::from(self.wrong) / f64::from(cases)
    }

    /// F1 of a class that occurs.
    fn f1(&self, class: usize) -> Option<f64> {
        let right = self.told[class][class];
        let truth: u32 = self.told[class].iter().sum();
        let told: u32 = self.told.iter().map(|row| row[class]).sum();
        (truth > 0).then(|| 2.0 * f64::from(right) / f64::from(truth + told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_blame_costs_as_much_as_it_happens() {
        let mut score = Score::default();
        score.count((0, 0, false));
        score.count((3, 3, false));
        assert!((score.objective() - 1.0).abs() < 1e-12);
        score.count((3, 0, true));
        // aws: 1 of 1 found among 2 told; neither: 1 of 2 found.
        assert!((score.objective() - (2.0 / 3.0 - 1.0 / 3.0)).abs() < 1e-12);
    }
}
