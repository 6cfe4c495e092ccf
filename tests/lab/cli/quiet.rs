//! `faultline-lab quiet`: false incidents over simulated days in which nothing breaks.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use faultline_lab::{
    World,
    scenario::Noise,
    score::quiet::{
        DAY, Day, Shard, Total,
        state::{FORMAT, Setup, StateError, StateFile},
    },
    sim,
};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab quiet --days 1\n  faultline-lab quiet --days 90 --state quiet.ndjson\n\nThe same --state goes on where it was stopped, by Ctrl-C or in any other way. Exit codes: 0 no cloud was\naccused (or stopped before one was), 1 a cloud was accused, 2 wrong usage or another count's state file,\n3 could not be run"
)]
pub(crate) struct Quiet {
    /// Days in all, those of --state included
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..))]
    days: u64,
    /// Seed of the first day; each further day has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep finished days here and go on from them
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Days judged at once [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Agents of the fleet
    #[arg(long, default_value_t = 48)]
    agents: usize,
    /// Targets of the catalog
    #[arg(long, default_value_t = 240)]
    targets: usize,
    /// What goes wrong though nothing breaks
    #[arg(long, value_enum, default_value_t = Profile::Typical)]
    noise: Profile,
}

/// [`Noise`] as a word of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Calm,
    Typical,
    Bursty,
    Hostile,
}

impl Profile {
    fn noise(self) -> Noise {
        match self {
            Self::Calm => Noise::Calm,
            Self::Typical => Noise::Typical,
            Self::Bursty => Noise::Bursty,
            Self::Hostile => Noise::Hostile,
        }
    }

    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Quiet {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        match self.count() {
            Ok(total) if total.is_wrong() => ExitCode::FAILURE,
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(if error.is::<StateError>() { 2 } else { 3 })
            }
        }
    }

    fn count(&self) -> anyhow::Result<Total> {
        let setup = Setup {
            format: FORMAT,
            engine: faultline_attribution::ENGINE_VERSION,
            agents: self.agents,
            targets: self.targets,
            noise: self.noise.word(),
        };
        let state = match &self.state {
            Some(path) => StateFile::open(path, &setup)?,
            None => StateFile::none(),
        };
        let done = state.seeds();
        if !done.is_empty() {
            say(&format!("so far  {}", Total::of(state.shards())));
        }
        let days = (self.seed..self.seed.saturating_add(self.days)).filter(|seed| !done.contains(seed));
        let seeds: Vec<u64> = days.collect();
        let (stop, next, state) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(state));
        let failure = Mutex::new(None);
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        // Ctrl-C ends the days in work, which then do not count. The runtime drops its watcher without waiting for it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        thread::scope(|scope| {
            let (stop, next, state, failure, seeds) = (&stop, &next, &state, &failure, &seeds);
            let workers: Vec<_> = (0..jobs)
                .map(|_| {
                    scope.spawn(move || {
                        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let Some(shard) = self.day(*seed, stop) else { break };
                            let kept = state.lock().map_or(Ok(()), |mut state| keep(&mut state, shard));
                            if let Err(error) = kept {
                                stop.store(true, Ordering::Relaxed);
                                if let Ok(mut failure) = failure.lock() {
                                    failure.get_or_insert(error);
                                }
                            }
                        }
                    })
                })
                .collect();
            let (ended, mut all_ended) = tokio::sync::oneshot::channel::<()>();
            scope.spawn(move || {
                for worker in workers {
                    // A worker that panicked has ended the process.
                    drop(worker.join());
                }
                drop(ended);
            });
            runtime.block_on(async {
                tokio::select! {
                    _ = &mut all_ended => {}
                    _ = tokio::signal::ctrl_c() => stop.store(true, Ordering::Relaxed),
                }
            });
        });
        if let Some(error) = failure.into_inner().ok().flatten() {
            return Err(error.into());
        }
        let state = state.into_inner().ok().context("a worker panicked")?;
        let total = Total::of(state.shards());
        let ending = if stop.load(Ordering::Relaxed) { "stopped" } else { "total  " };
        say(&format!("{ending} {total}"));
        Ok(total)
    }

    /// One day; `None` when it was stopped.
    fn day(&self, seed: u64, stop: &AtomicBool) -> Option<Shard> {
        let world = World::sized(self.agents, self.targets, seed);
        let stream = sim::Stream::quiet(&world, self.noise.noise(), seed, DAY);
        let day = Day {
            seed,
            world: stream.told().clone(),
            start: stream.start(),
            end: stream.end(),
            background: sim::background(&world, self.noise.noise(), seed, &stream),
            inputs: stream,
        };
        day.judge(stop)
    }
}

/// Says and keeps a finished day.
fn keep(state: &mut StateFile, shard: Shard) -> Result<(), StateError> {
    for accused in &shard.accused {
        say(&format!("FALSE   seed {}: {accused}", shard.seed));
    }
    let seed = shard.seed;
    state.add(shard)?;
    say(&format!("seed {seed:<4} {}", Total::of(state.shards())));
    Ok(())
}
