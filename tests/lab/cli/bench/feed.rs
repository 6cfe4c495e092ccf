//! `faultline-lab bench feed`: what a thousand subscribers hear, how soon, and what they cost.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use faultline_lab::{
    audience::{self, Outcome, Plan},
    load::usage,
    score::stats,
    stage,
};

use crate::cli::{complain, say};

/// From the result that decides to a subscriber, at the 99th percentile. Source: the design's goal for a verdict.
const LATE_MS: f64 = 100.0;

/// By how much a stalled reader may make the others later. Source: the same.
const STALLED: f64 = 1.05;

/// What the coordinator may hold. Source: the design's goal for a coordinator.
const MEMORY_KIB: u64 = 512 << 10;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab bench feed\n  faultline-lab bench feed --subscribers 100 --pairs 1\n\nThe coordinator is a process of its own on loopback, the subscribers are tasks of this one on the same cores. Each has\na filter, dies in 2 % of its seconds and resumes; one more reads nothing in every other slice.\nExit codes: 0 everybody heard everything once, in order, within the goals; 2 wrong usage; 3 not so, or could not be run"
)]
pub(super) struct Feed {
    /// Subscribers
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1900))]
    subscribers: u32,
    /// Pairs of slices, without and with a reader that stalls
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=30))]
    pairs: u32,
    /// Seconds of a slice
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(2..=600))]
    slice: u64,
    /// Share of their seconds in which subscribers die
    #[arg(long, default_value_t = 0.02)]
    kills: f64,
    /// Decides who dies when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Feed {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            complain("built without optimisation: use cargo run --release, or these figures mean little");
        }
        let program = std::env::current_exe().context("the path of this program")?;
        let data = tempfile::tempdir()?;
        stage::prepare(data.path())?;
        let plan = Plan {
            subscribers: usize::try_from(self.subscribers)?,
            pairs: usize::try_from(self.pairs)?,
            slice: Duration::from_secs(self.slice),
            kills: self.kills,
            seed: self.seed,
        };
        let slices = plan.pairs * 2;
        let progress = |done| complain(&format!("slice {done} of {slices} done"));
        let runtime = tokio::runtime::Runtime::new()?;
        let outcome = runtime.block_on(audience::run(&program, data.path(), plan, progress))?;
        if self.json {
            say(&serde_json::to_string(&outcome)?);
        } else {
            say(&usage::machine());
            for line in lines(&outcome, plan) {
                say(&line);
            }
        }
        judge(&outcome)
    }
}

fn judge(outcome: &Outcome) -> anyhow::Result<()> {
    ensure!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    ensure!(outcome.revisions > 0, "no incident changed: nothing was shown");
    let [_, late, _] = outcome.decided_ms;
    ensure!(late <= LATE_MS, "from result to subscriber: {late:.1} ms at the 99th percentile, more than {LATE_MS} ms");
    let [_, ratio, _] = spread(&outcome.stalled_ratios);
    ensure!(ratio < STALLED, "a stalled reader made the others {ratio:.3} times as late, more than {STALLED}");
    let peak = outcome.memory[1].peak;
    ensure!(peak <= MEMORY_KIB, "{peak} KiB at the most, more than {MEMORY_KIB}");
    Ok(())
}

/// The least, the median and the most.
fn spread(ratios: &[f64]) -> [f64; 3] {
    [0.0, 0.5, 1.0].map(|q| stats::quantile(ratios, q).unwrap_or(f64::NAN))
}

fn lines(outcome: &Outcome, plan: Plan) -> Vec<String> {
    let mib = |kib: u64| kib >> 10;
    let slice = |[half, late, most]: &[f64; 3]| format!("{half:.1} / {late:.1} / {most:.1}");
    let slices = |each: &[[f64; 3]]| each.iter().map(slice).collect::<Vec<_>>().join(", ");
    let [before, after] = &outcome.memory;
    let [least, median, most] = spread(&outcome.stalled_ratios);
    vec![
        format!(
            "{} subscribers, {} killed and resumed: {} changes ({} revisions of incidents), {} heard, {} wrong",
            plan.subscribers,
            outcome.kills,
            outcome.changes,
            outcome.revisions,
            outcome.heard,
            outcome.wrong.len()
        ),
        format!(
            "oldest result that may have decided a revision to subscriber, ms, median / p99 / most: {}",
            slice(&outcome.decided_ms)
        ),
        format!(
            "the slowest of these, at their medians: {}",
            outcome.slowest.iter().map(|(what, late)| format!("{what} {late:.0}")).collect::<Vec<_>>().join(", ")
        ),
        format!("publication to subscriber, a slice each: {}", slices(&outcome.alone_ms)),
        format!("the same beside a stalled reader: {}", slices(&outcome.beside_stalled_ms)),
        format!(
            "p99 of a change's subscribers beside it over that without, at the median of changes: {median:.3}, {least:.3} to {most:.3} over {} pairs",
            plan.pairs
        ),
        format!(
            "coordinator: {} MiB before, {} MiB with all of them, {} MiB at most; {:.1} s of CPU in {} s",
            mib(before.rss),
            mib(after.rss),
            mib(after.peak),
            outcome.cpu_s,
            plan.slice.as_secs() * plan.pairs as u64 * 2
        ),
    ]
}
