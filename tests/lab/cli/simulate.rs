//! `faultline-lab simulate`: real agents and a real coordinator over a network, clocks and disks that break.

use std::{process::ExitCode, time::Instant};

use clap::Args;
use faultline_lab::simulation::{self, Failure, Report, simulate};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::say;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab simulate --seeds 300\n  faultline-lab simulate --first-seed 77 --seeds 1 --tell\n\nA seed decides a run whole. Exit codes: 0 everything held in all of them, 1 not, 2 wrong usage"
)]
pub(crate) struct Simulate {
    /// How many runs
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Virtual time in which things break
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Print what breaks, and everything that becomes durable
    #[arg(long)]
    tell: bool,
}

impl Simulate {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        // In a release build this is all that is told: there a panic ends the process.
        std::panic::set_hook(Box::new(|panic| say(&format!("seed {}: {panic}", simulation::now()))));
        let began = Instant::now();
        let seeds = self.first_seed..self.first_seed.saturating_add(self.seeds);
        let played: Vec<Result<Report, Failure>> = seeds
            .into_par_iter()
            .map(|seed| {
                let tell = |line: &str| {
                    if self.tell {
                        say(line);
                    }
                };
                let silence = tracing::subscriber::NoSubscriber::new();
                let play = || simulate(seed, self.seconds, tell);
                let played = if self.tell { play() } else { tracing::subscriber::with_default(silence, play) };
                if let Err(failure) = &played {
                    say(&failure.to_string());
                }
                played
            })
            .collect();
        let held: Vec<&Report> = played.iter().flatten().collect();
        let sum = |figure: fn(&Report) -> u64| held.iter().map(|report| figure(report)).sum::<u64>();
        let traces = held.iter().fold(0, |crc, report| crc32c::crc32c_append(crc, &report.trace.to_be_bytes()));
        say(&format!(
            "{} of {} seeds from {} held: {} results made, {} lost and told, {} faults, {} s of virtual time in {:.1} s, trace {traces:08x}",
            held.len(),
            played.len(),
            self.first_seed,
            sum(|report| report.made),
            sum(|report| report.lost),
            held.iter().map(|report| report.faults).sum::<usize>(),
            sum(|report| report.took.as_secs()),
            began.elapsed().as_secs_f64(),
        ));
        if held.len() == played.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
