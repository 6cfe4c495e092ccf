//! `faultline-lab calibrate`: what half and twice of each assumption of the engine would do.
//!
//! Assumptions are constants of a process, so each value is another run of `score` beside this one. All play the same
//! scenarios and seeds, hence what differs is what the value does.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};
use clap::Args;
use faultline_attribution::assumption::{self, Assumption};

use super::{complain, say};

/// Values that are tried, as parts of what is assumed.
const PARTS: [f64; 2] = [0.5, 2.0];

/// Share of the runs by which another value must be right more often to be called better: within that, two engines differ by
/// chance. Source: of 118 scenarios, one or two change from seed to seed.
const BETTER: f64 = 0.015;

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab calibrate slow-weight\n  faultline-lab calibrate --families hard --seeds 1 > table\n\nPrints Markdown. Exit codes: 0 no other value is better, 1 one is, 2 wrong usage, 3 could not be run"
)]
pub(crate) struct Calibrate {
    /// Assumptions to try other values of [default: all]
    names: Vec<String>,
    /// Seeds a scenario
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Directory of scenarios, as `score` takes it [default: the built-in ones]
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// Only scenarios whose id this matches
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Only these families
    #[arg(long, value_delimiter = ',')]
    families: Vec<String>,
    /// Keep the cases of each run here, to go on where it was stopped
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What a run of `score` came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    runs: usize,
    right: usize,
    wrong: usize,
    /// Median seconds to the right verdict.
    median_s: f64,
}

impl Calibrate {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        let chosen = match self.chosen() {
            Ok(chosen) => chosen,
            Err(error) => {
                complain(&format!("{error:#}"));
                return ExitCode::from(2);
            }
        };
        match self.try_all(&chosen) {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => ExitCode::FAILURE,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(3)
            }
        }
    }

    fn chosen(&self) -> anyhow::Result<Vec<&'static Assumption>> {
        let all = assumption::all();
        let known = || all.map(|known| known.name).join(", ");
        if let Some(other) = self.names.iter().find(|name| all.iter().all(|known| known.name != name.as_str())) {
            bail!("{other:?}: not one of {}", known());
        }
        let is_chosen = |known: &&Assumption| self.names.is_empty() || self.names.iter().any(|name| name == known.name);
        Ok(all.into_iter().filter(is_chosen).collect())
    }

    /// Whether any other value is better.
    fn try_all(&self, chosen: &[&Assumption]) -> anyhow::Result<bool> {
        let held = tempfile::tempdir()?;
        let directory = self.output.as_deref().unwrap_or(held.path());
        let as_it_is = self.score(None, &directory.join("as-it-is"))?;
        say("| assumption | value | runs | wrong cloud | right | median s | |");
        say("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
        say(&row("as it is", "", as_it_is, ""));
        let mut any_better = false;
        for assumption in chosen {
            for part in PARTS {
                let value = assumption.value * part;
                let run = directory.join(format!("{}-{value}", assumption.name));
                let tally = self.score(Some((assumption.name, value)), &run)?;
                let is_better = tally.is_better_than(as_it_is);
                any_better |= is_better;
                let value = format!("{value} instead of {}", assumption.value);
                say(&row(assumption.name, &value, tally, if is_better { "better" } else { "" }));
            }
        }
        Ok(any_better)
    }

    /// Plays the scenarios, unless that was done before.
    fn score(&self, instead: Option<(&str, f64)>, directory: &Path) -> anyhow::Result<Tally> {
        let cases = directory.join("cases.csv");
        if !cases.exists() {
            let mut score = Command::new(std::env::current_exe()?);
            score.args(["score", "--seeds", &self.seeds.to_string(), "--output"]).arg(directory);
            score.args(self.only.iter().flat_map(|glob| ["--only", glob.as_str()]));
            if let Some(scenarios) = &self.scenarios {
                score.arg("--scenarios").arg(scenarios);
            }
            if !self.families.is_empty() {
                score.args(["--families", &self.families.join(",")]);
            }
            if let Some((name, value)) = instead {
                score.args(["--assume", &format!("{name}={value}")]);
            }
            // Its misses are those that the table counts; its progress is worth seeing.
            let status = score.stdout(Stdio::null()).status().context("running `score`")?;
            if !matches!(status.code(), Some(0 | 1)) {
                bail!("`score` ended with {status}");
            }
        }
        Tally::read(&cases).with_context(|| format!("reading {}", cases.display()))
    }
}

fn row(name: &str, value: &str, tally: Tally, is_better: &str) -> String {
    let Tally { runs, right, wrong, median_s } = tally;
    format!("| {name} | {value} | {runs} | {wrong} | {right} | {median_s:.0} | {is_better} |")
}

impl Tally {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let mut reader = csv::Reader::from_path(path)?;
        let headers = reader.headers()?.clone();
        let place = |name: &str| headers.iter().position(|header| header == name).context("a column is missing");
        let (right, wrong, seconds) = (place("right")?, place("wrong_clouds")?, place("seconds")?);
        let (mut tally, mut times) = (Self::default(), Vec::new());
        for record in reader.records() {
            let record = record?;
            tally.runs += 1;
            tally.right += usize::from(&record[right] == "true");
            tally.wrong += usize::from(!record[wrong].is_empty());
            times.extend(record[seconds].parse::<f64>());
        }
        times.sort_by(f64::total_cmp);
        tally.median_s = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        Ok(tally)
    }

    /// Fewer wrong clouds, or no more of them and right plainly more often.
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 cases")]
    fn is_better_than(self, other: Self) -> bool {
        let more = self.right as f64 - other.right as f64;
        self.wrong < other.wrong || (self.wrong == other.wrong && more > BETTER * other.runs as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_cloud_weighs_more_than_any_miss() {
        let tally = |right, wrong| Tally { runs: 100, right, wrong, median_s: 8.0 };
        assert!(tally(90, 0).is_better_than(tally(99, 1)));
        assert!(tally(98, 0).is_better_than(tally(96, 0)));
        assert!(!tally(97, 0).is_better_than(tally(96, 0)), "one run is chance");
        assert!(!tally(99, 1).is_better_than(tally(90, 0)));
    }

    #[test]
    fn cases_are_counted_by_their_columns() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "seconds,wrong_clouds,right\n8,,true\n12,azure,false\n,,false\n20,,true\n";
        std::fs::write(file.path(), text).expect("written");
        let tally = Tally::read(file.path()).expect("read");
        assert_eq!(tally, Tally { runs: 4, right: 2, wrong: 1, median_s: 12.0 });
    }
}
