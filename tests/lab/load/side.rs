//! Everybody side by side: each kind of probe, by each prober, in several runs.
//!
//! Rules: within a run all probers take turns several times at each kind, and who begins changes from run to run, so that what
//! else the machine does is everybody's; a ratio is of the same run; what a prober does before its first turn is not measured.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::{
    Kind, Places,
    blackbox::Blackbox,
    part::Part,
    prober::{Counted, Slice},
    usage,
};
use crate::score::stats::real;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which kinds.
    pub kinds: Vec<Kind>,
    /// Programs of `blackbox_exporter`.
    pub blackboxes: Vec<PathBuf>,
    /// How often.
    pub runs: usize,
    /// How long each prober probes in each run.
    pub slice: Duration,
    /// Probes at a time.
    pub concurrency: usize,
}

/// One prober's figures of one kind, a value for each run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Microseconds of CPU a probe.
    pub cpu_us: Vec<f64>,
    /// Microseconds from a probe's start to its end, in the mean.
    pub wall_us: Vec<f64>,
    /// Probes that were run.
    pub probes: Vec<usize>,
}

/// All probers' figures of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// The agent's.
    pub agent: Figures,
    /// The bare loop's.
    pub bare: Figures,
    /// The exporters', in order; nothing where one does not know the kind.
    pub blackboxes: Vec<Option<Figures>>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Versions of the exporters, in order.
    pub blackboxes: Vec<String>,
    /// A row a kind.
    pub rows: Vec<Row>,
}

enum Prober {
    Part(&'static str, Part),
    Blackbox(Blackbox),
}

impl Prober {
    fn name(&self) -> String {
        match self {
            Self::Part(name, _) => (*name).to_owned(),
            Self::Blackbox(blackbox) => format!("blackbox_exporter {}", blackbox.version),
        }
    }

    fn knows(&self, kind: Kind) -> bool {
        !matches!(self, Self::Blackbox(blackbox) if !blackbox.knows(kind))
    }

    /// The slice and what it took; every probe of it passed.
    async fn run(&mut self, slice: &Slice) -> anyhow::Result<(Counted, Duration)> {
        let pid = match self {
            Self::Part(_, part) => part.pid,
            Self::Blackbox(blackbox) => blackbox.pid,
        };
        let before = usage::cpu_ns(pid)?;
        let counted: Counted = match self {
            Self::Part(_, part) => part.ask(slice).await?,
            Self::Blackbox(blackbox) => blackbox.run(slice).await?,
        };
        let cpu = Duration::from_nanos(usage::cpu_ns(pid)?.saturating_sub(before));
        ensure!(counted.probes > 0, "not one probe");
        if counted.failed > 0 {
            let why = counted.first_failure.unwrap_or_default();
            bail!("{} of {} probes did not pass: {why}", counted.failed, counted.probes);
        }
        Ok((counted, cpu))
    }
}

/// Measures against servers at those places; `step` is called before each slice.
pub async fn measure(
    setup: &Setup,
    places: &Places,
    folder: &std::path::Path,
    mut step: impl FnMut(String),
) -> anyhow::Result<Measured> {
    let mut probers = vec![
        Prober::Part("agent", Part::start(&["agent"], std::process::Stdio::inherit())?),
        Prober::Part("bare loop", Part::start(&["bare"], std::process::Stdio::inherit())?),
    ];
    let mut versions = Vec::new();
    for program in &setup.blackboxes {
        let blackbox = Blackbox::start(program, places, folder).await?;
        versions.push(blackbox.version.clone());
        probers.push(Prober::Blackbox(blackbox));
    }
    let mut figures: Vec<Vec<Figures>> = vec![vec![Figures::default(); probers.len()]; setup.kinds.len()];
    let slice = |kind, lasts| Slice { kind, places: places.clone(), lasts, concurrency: setup.concurrency };
    for run in 0..=setup.runs {
        let (rounds, lasts) = if run == 0 { (1, WARM_UP.min(setup.slice)) } else { (TURNS, setup.slice / TURNS) };
        for (kind, figures) in setup.kinds.iter().zip(&mut figures) {
            let mut spent = vec![Spent::default(); probers.len()];
            for turn in 0..rounds as usize * probers.len() {
                let number = (turn + run) % probers.len();
                let prober = &mut probers[number];
                if !prober.knows(*kind) {
                    continue;
                }
                step(format!("{}, {}", kind.words(), prober.name()));
                let done = prober.run(&slice(*kind, lasts)).await;
                let (counted, cpu) = done.with_context(|| format!("{}, {}", kind.words(), prober.name()))?;
                spent[number].add(&counted, cpu);
            }
            if run > 0 {
                figures.iter_mut().zip(&spent).for_each(|(figures, spent)| figures.add(spent, setup.concurrency));
            }
        }
    }
    for prober in probers {
        match prober {
            Prober::Part(_, part) => part.end().await?,
            Prober::Blackbox(blackbox) => blackbox.end().await?,
        }
    }
    let rows = setup.kinds.iter().zip(figures).map(|(kind, figures)| row(*kind, figures));
    Ok(Measured { blackboxes: versions, rows: rows.collect::<anyhow::Result<_>>()? })
}

/// Enough for what is made once, and for a Go program to have collected its garbage a few times.
const WARM_UP: Duration = Duration::from_millis(150);

/// Turns in a run. Source: a compiler beside the bench works for seconds, so a tenth of one sees the same machine as the next.
const TURNS: u32 = 5;

/// How many steps [`measure`] takes at most.
pub fn steps(setup: &Setup) -> usize {
    (setup.runs * TURNS as usize + 1) * setup.kinds.len() * (2 + setup.blackboxes.len())
}

/// What the turns of a run took together.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    probes: usize,
    cpu: Duration,
    took: Duration,
}

impl Spent {
    fn add(&mut self, counted: &Counted, cpu: Duration) {
        self.probes += counted.probes;
        self.cpu += cpu;
        self.took += counted.took;
    }
}

fn row(kind: Kind, figures: Vec<Figures>) -> anyhow::Result<Row> {
    let mut figures = figures.into_iter();
    let (agent, bare) = figures.next().zip(figures.next()).context("two probers at least")?;
    let blackboxes = figures.map(|figures| (!figures.probes.is_empty()).then_some(figures)).collect();
    Ok(Row { kind, agent, bare, blackboxes })
}

impl Figures {
    fn add(&mut self, spent: &Spent, concurrency: usize) {
        if spent.probes > 0 {
            let probes = real(spent.probes);
            self.cpu_us.push(spent.cpu.as_secs_f64() * 1e6 / probes);
            self.wall_us.push(spent.took.as_secs_f64() * 1e6 * real(concurrency) / probes);
            self.probes.push(spent.probes);
        }
    }
}
