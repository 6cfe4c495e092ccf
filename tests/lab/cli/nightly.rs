//! `faultline-lab nightly`: what does not fit into CI: every scenario on seeds that nobody has seen, quiet days, mutated
//! inputs for longer, thousands of runs of the simulation, and kills.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser};

use super::{chaos::Chaos, fuzz::Fuzz, quiet::Quiet, say, score::Score, simulate::Simulate};

/// Seeds below this are those of CI and of figures; a night takes its own above.
const FRESH_FROM: u64 = 1_000_000;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab nightly --seed \"$(date +%s)\" --known-misses tests/ci/known-misses -o nightly\n\nA failing scenario is named with its seed: `faultline-lab score --only ID --first-seed SEED --seeds 1\n--timeline` plays it again. Exit codes: 0 all right, 1 something was wrong, 2 wrong usage, 3 could not be run"
)]
pub(crate) struct Nightly {
    /// Decides the seeds of this night; another number is another night
    #[arg(long)]
    seed: u64,
    /// Seeds a scenario
    #[arg(long, default_value_t = 2)]
    seeds: u64,
    /// Quiet days
    #[arg(long, default_value_t = 2)]
    days: u64,
    /// How long each target of `fuzz` is fuzzed
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u64,
    /// Runs of the deterministic simulation
    #[arg(long, default_value_t = 3000)]
    simulations: u64,
    /// Where `faultline` and `faultline-agent` with failpoints are, as `tests/ci/chaos` builds them: then processes are
    /// killed too
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Processes to kill
    #[arg(long, default_value_t = 400, requires = "programs")]
    kills: usize,
    /// Scenarios of families that were never calibrated on, judged too
    #[arg(long, value_name = "DIR")]
    held_out: Option<PathBuf>,
    /// Ids of scenarios that are known to be missed, as `score` takes them
    #[arg(long, value_name = "FILE")]
    known_misses: Option<PathBuf>,
    /// Write the report here
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// A command on its own, so that its defaults are those of the command line.
#[derive(Parser)]
struct Alone<T: Args> {
    #[command(flatten)]
    command: T,
}

impl Nightly {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let first = FRESH_FROM.saturating_add(self.seed);
        say(&format!("seeds   {first} and up"));
        let mut words = vec!["score".to_owned(), format!("--first-seed={first}"), format!("--seeds={}", self.seeds)];
        let paths = [("held-out", &self.held_out), ("known-misses", &self.known_misses), ("output", &self.output)];
        for (name, path) in paths {
            words.extend(path.as_ref().map(|path| format!("--{name}={}", path.display())));
        }
        let score = match Alone::<Score>::try_parse_from(words) {
            Ok(alone) => alone.command.main(),
            Err(error) => return usage(&error),
        };
        let words = ["quiet".to_owned(), format!("--seed={first}"), format!("--days={}", self.days)];
        let quiet = match Alone::<Quiet>::try_parse_from(words) {
            Ok(alone) => alone.command.main(),
            Err(error) => return usage(&error),
        };
        let words = ["fuzz".to_owned(), format!("--seed={first}"), format!("--seconds={}", self.fuzz_seconds)];
        let fuzzed = match Alone::<Fuzz>::try_parse_from(words) {
            Ok(alone) => alone.command.main(),
            Err(error) => return usage(&error),
        };
        let words = ["simulate".to_owned(), format!("--first-seed={first}"), format!("--seeds={}", self.simulations)];
        let simulated = match Alone::<Simulate>::try_parse_from(words) {
            Ok(alone) => alone.command.main(),
            Err(error) => return usage(&error),
        };
        let mut ended = vec![score, quiet, fuzzed, simulated];
        if let Some(programs) = &self.programs {
            let programs = format!("--programs={}", programs.display());
            let words = ["chaos".to_owned(), format!("--seed={first}"), format!("--kills={}", self.kills), programs];
            ended.push(match Alone::<Chaos>::try_parse_from(words) {
                Ok(alone) => alone.command.main(),
                Err(error) => return usage(&error),
            });
        }
        let wrong = ended.into_iter().find(|code| *code != ExitCode::SUCCESS);
        wrong.unwrap_or(ExitCode::SUCCESS)
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    drop(error.print());
    ExitCode::from(2)
}
