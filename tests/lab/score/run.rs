//! Runs methods over cases, as many at once as there are cores. The order of the outcome is that of the work, whatever
//! finished first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rayon::{
    ThreadPoolBuildError, ThreadPoolBuilder,
    iter::{IntoParallelRefIterator as _, ParallelIterator as _},
};

use faultline_attribution::Timestamp;

use super::{
    engine::EngineMethod,
    judged::Judged,
    method::{Answer, Blind, Method},
    optimum,
};
use crate::case::Case;

/// A method that is judged.
#[derive(Clone)]
pub enum Contender {
    /// The engine, which also tells what each tick took.
    Engine(EngineMethod),
    /// Anybody else.
    Other(Arc<dyn Method>),
}

impl Contender {
    /// How it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Engine(engine) => engine.name(),
            Self::Other(method) => method.name(),
        }
    }
}

/// A case with what the report counts it under, which no method sees.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The case.
    pub case: Case,
    /// Share of vantage groups that lie.
    pub liars: f64,
    /// Its family is one that simple methods get wrong.
    pub is_hard: bool,
    /// Its family was never calibrated on.
    pub is_held_out: bool,
}

/// One method on one case.
#[derive(Clone, Debug)]
pub struct Row {
    /// The method.
    pub method: &'static str,
    /// The scenario.
    pub scenario: String,
    /// The scenario's family.
    pub family: String,
    /// The seed.
    pub seed: u64,
    /// Agents of the fleet.
    pub agents: usize,
    /// Share of vantage groups that lie.
    pub liars: f64,
    /// Its family is one that simple methods get wrong.
    pub is_hard: bool,
    /// Its family was never calibrated on.
    pub is_held_out: bool,
    /// What it said against what was true.
    pub judged: Judged,
    /// Seconds that the exact CUSUM would have needed for the first thing that broke, where that is known.
    pub optimum_s: Option<f64>,
    /// What it took.
    pub spent: Spent,
    /// First second of the record, and each change of its answer.
    pub start: Timestamp,
    /// In time order.
    pub timeline: Vec<(Timestamp, Answer)>,
}

/// Time on the clock.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Inputs of the case.
    pub inputs: usize,
    /// Time to judge the case on one core.
    pub total: Duration,
    /// Milliseconds of each tick; empty for a method that does not tell.
    pub ticks_ms: Vec<f32>,
}

/// Makes and judges each piece of work. `make` turns a piece into its case on the worker, so that no more cases are
/// held than there are workers; `done` gets the rows of each finished piece.
pub fn run<W: Sync, E: Send>(
    work: &[W],
    contenders: &[Contender],
    jobs: usize,
    make: impl Fn(&W) -> Result<Entry, E> + Sync,
    done: impl Fn(&[Row]) + Sync,
) -> Result<Result<Vec<Row>, E>, ThreadPoolBuildError> {
    let pool = ThreadPoolBuilder::new().num_threads(jobs).build()?;
    let judge = |piece: &W| {
        let entry = make(piece)?;
        let optimum_s = optimum::seconds(&entry.case);
        let rows: Vec<Row> = contenders.iter().map(|contender| row(contender, &entry, optimum_s)).collect();
        done(&rows);
        Ok(rows)
    };
    let rows: Result<Vec<Vec<Row>>, E> = pool.install(|| work.par_iter().map(judge).collect());
    Ok(rows.map(|rows| rows.into_iter().flatten().collect()))
}

fn row(contender: &Contender, entry: &Entry, optimum_s: Option<f64>) -> Row {
    let case = &entry.case;
    let blind = Blind::of(case);
    let began = Instant::now();
    let (timeline, ticks_ms) = match contender {
        Contender::Engine(engine) => engine.judge_timed(&blind),
        Contender::Other(method) => (method.judge(&blind), Vec::new()),
    };
    let total = began.elapsed();
    Row {
        method: contender.name(),
        scenario: case.id.clone(),
        family: case.family.clone(),
        seed: case.seed,
        agents: case.world.vantages.len(),
        liars: entry.liars,
        is_hard: entry.is_hard,
        is_held_out: entry.is_held_out,
        judged: Judged::of(case, &timeline),
        optimum_s,
        spent: Spent { inputs: case.inputs.len(), total, ticks_ms },
        start: case.start,
        timeline,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use faultline_attribution::World;

    use super::*;
    use crate::{case::TrueIncident, scenario::Verdict};

    /// Accuses AWS from the first second on.
    struct Grudge;

    impl Method for Grudge {
        fn name(&self) -> &'static str {
            "grudge"
        }

        fn judge(&self, case: &Blind<'_>) -> Vec<(Timestamp, Answer)> {
            vec![(case.start, Answer { verdicts: [Verdict::Aws].into(), ..Answer::default() })]
        }
    }

    fn entry(seed: u64) -> Entry {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let (verdict, onset) = (if seed.is_multiple_of(2) { Verdict::Aws } else { Verdict::Azure }, at(0));
        let incident = TrueIncident { verdict, kinds: Vec::new(), elements: Vec::new(), onset, end: None };
        let case = Case {
            id: format!("case-{seed}"),
            family: "made-up".into(),
            seed,
            world: World::default(),
            inputs: Vec::new(),
            start: at(0),
            end: at(60),
            truth: vec![incident],
            background: Vec::new(),
        };
        Entry { case, liars: 0.0, is_hard: false, is_held_out: false }
    }

    #[test]
    fn rows_come_in_the_order_of_the_work_whatever_was_finished_first() {
        let contenders = [Contender::Other(Arc::new(Grudge)), Contender::Engine(EngineMethod::default())];
        let (work, done) = ((0..20).collect::<Vec<u64>>(), AtomicUsize::new(0));
        let make = |seed: &u64| Ok::<_, Infallible>(entry(*seed));
        let rows = run(&work, &contenders, 4, make, |_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        let rows = rows.expect("threads").expect("cases");
        let order: Vec<(u64, &str)> = rows.iter().map(|row| (row.seed, row.method)).collect();
        let expected: Vec<(u64, &str)> = (0..20).flat_map(|seed| [(seed, "grudge"), (seed, "engine")]).collect();
        assert_eq!(order, expected);
        assert_eq!(done.into_inner(), 20);
        assert!(rows.iter().all(|row| row.method == "engine" || row.judged.is_right() == row.seed.is_multiple_of(2)));
    }
}
