//! `faultline-lab fuzz`: mutated inputs for everything that reads what others wrote.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use faultline_lab::fuzz::{self, FuzzError, Target};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::{complain, say};

/// Case numbers of two workers are this far apart.
const APART: u64 = 1 << 40;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab fuzz --seconds 60\n  faultline-lab fuzz --target session --seed 7 --case 1234\n\nInputs are mutations of tests/corpus; nothing guides them to new code. Exit codes: 0 no bug, 1 a bug,\n2 wrong usage, 3 could not be run"
)]
pub(crate) struct Fuzz {
    /// Only this target; repeats
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// How long each target is fuzzed, on all processors
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One case alone, as a bug names it
    #[arg(long)]
    case: Option<u64>,
    /// Inputs to start from, a folder a target
    #[arg(long, value_name = "DIR", default_value = "tests/corpus")]
    corpus: PathBuf,
}

impl Fuzz {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let known = fuzz::targets().iter().map(|target| target.name);
        if let Some(other) = self.target.iter().find(|name| !known.clone().any(|known| known == name.as_str())) {
            complain(&format!("{other:?} is none of {}", known.collect::<Vec<_>>().join(", ")));
            return ExitCode::from(2);
        }
        // In a release build this is all that is told: there a panic ends the process.
        std::panic::set_hook(Box::new(|panic| say(&format!("{}: {panic}", fuzz::now()))));
        let is_chosen = |target: &&Target| self.target.is_empty() || self.target.iter().any(|name| name == target.name);
        let mut code = ExitCode::SUCCESS;
        for target in fuzz::targets().iter().filter(is_chosen) {
            match self.fuzz(target) {
                Ok(tried) => say(&format!("{:<18} {tried:>9} inputs, no bug", target.name)),
                Err(FuzzError::Bug(bug)) => {
                    say(&bug.to_string());
                    code = ExitCode::FAILURE;
                }
                Err(error) => {
                    complain(&error.to_string());
                    return ExitCode::from(3);
                }
            }
        }
        code
    }

    fn fuzz(&self, target: &Target) -> Result<u64, FuzzError> {
        if let Some(case) = self.case {
            return target.fuzz(&self.corpus, self.seed, case, |now| now == case);
        }
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let workers = u64::try_from(rayon::current_num_threads()).unwrap_or(1);
        let tried = (0..workers)
            .into_par_iter()
            .map(|worker| target.fuzz(&self.corpus, self.seed, worker * APART, |_| Instant::now() < until));
        tried.sum::<Result<u64, FuzzError>>()
    }
}
