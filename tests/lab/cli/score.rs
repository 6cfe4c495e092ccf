//! `faultline-lab score`: verdicts against the truth, over scenarios x seeds.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;
use faultline_attribution::assumption;
use faultline_lab::score::{
    components,
    entry::{self, Choice, Chosen},
    foreign,
    report::Report,
    run::{self, Contender, Entry, Row},
};
use glob::Pattern;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{complain, say};

#[derive(Debug, Args)]
#[command(
    before_help = "Example:\n  faultline-lab score --method all --seeds 20 -o report\n  faultline-lab score --only 'aws-*' --seeds 3\n\nExit codes: 0 judged, 1 the engine blamed a cloud that was not at fault (with\n--known-misses: or missed another scenario), 2 wrong usage or input,\n3 could not be run"
)]
pub(crate) struct Score {
    /// Directory of scenarios [default: the built-in ones]
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// Scenarios of families that were never calibrated on, judged too and marked
    #[arg(long, value_name = "DIR")]
    held_out: Option<PathBuf>,
    /// Only scenarios whose id this matches
    #[arg(long, value_name = "GLOB")]
    only: Option<Pattern>,
    /// Only these families
    #[arg(long, value_delimiter = ',')]
    families: Vec<String>,
    /// Seeds a scenario: each is another topology, other noise and other victims
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Who judges; repeats; `all` for everybody
    #[arg(long, value_name = "NAME", default_value = "engine")]
    method: Vec<String>,
    /// Judge the cases in the directories under this one instead of scenarios
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scenarios", "held_out", "only", "families"])]
    cases: Option<PathBuf>,
    /// Also write each case as a directory that --cases and `faultline replay` read
    #[arg(long, value_name = "DIR")]
    write_cases: Option<PathBuf>,
    /// Also write each case as plain lines of components (C, T, O, E), for tools that know nothing of Faultline
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Ids of scenarios that are known to be missed, a line each with the reason after a space: any other miss is exit
    /// code 1 too
    #[arg(long, value_name = "FILE")]
    known_misses: Option<PathBuf>,
    /// Write report.md, cases.csv and figures here
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Also print each change of the engine's answer, in seconds from the start of the record
    #[arg(long)]
    timeline: bool,
    /// Let the engine assume another number, as `calibrate` does: `slow-weight=0.25`
    #[arg(long, value_name = "NAME=VALUE", value_parser = assumed)]
    assume: Option<(String, f64)>,
    /// Cases judged at once [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// One piece of work.
enum Work {
    Scenario(Arc<Chosen>, u64),
    Foreign(PathBuf),
}

impl Score {
    /// Runs the command.
    pub(crate) fn main(&self) -> ExitCode {
        if let Some((name, value)) = &self.assume
            && let Err(error) = assumption::assume(name, *value)
        {
            complain(&format!("--assume {name}={value}: {error}"));
            return ExitCode::from(2);
        }
        let prepared = self.contenders().and_then(|contenders| Ok((contenders, self.work()?)));
        let (contenders, work) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                complain(&format!("{error:#}"));
                return ExitCode::from(2);
            }
        };
        match self.judge(&contenders, &work) {
            Ok(code) => code,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(if error.is::<foreign::ForeignError>() { 2 } else { 3 })
            }
        }
    }

    fn contenders(&self) -> anyhow::Result<Vec<Contender>> {
        let mut names: Vec<&str> = Vec::new();
        for name in &self.method {
            let more: Vec<&str> = if name == "all" { entry::method_names().collect() } else { vec![name] };
            for name in more {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let known = || entry::method_names().collect::<Vec<_>>().join(", ");
        let each = names.iter().map(|name| {
            entry::contender(name).with_context(|| format!("--method {name:?}: not one of all, {}", known()))
        });
        each.collect()
    }

    fn work(&self) -> anyhow::Result<Vec<Work>> {
        if let Some(parent) = &self.cases {
            let found = foreign::directories(parent)?;
            if found.is_empty() {
                bail!("--cases {}: no directory in it has a truth.toml", parent.display());
            }
            return Ok(found.into_iter().map(Work::Foreign).collect());
        }
        let choice = Choice { only: self.only.clone(), families: self.families.clone() };
        let mut chosen = match &self.scenarios {
            Some(directory) => choice.directory(directory, false)?,
            None => choice.built_in()?,
        };
        if let Some(directory) = &self.held_out {
            chosen.extend(choice.directory(directory, true)?);
        }
        if chosen.is_empty() {
            bail!("no scenario that is played as observations is chosen: see --only, --families, --scenarios");
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = chosen.iter().find(|chosen| !ids.insert(&chosen.scenario.id)) {
            bail!("scenario {:?} is there twice", twice.scenario.id);
        }
        let seeds = self.first_seed..self.first_seed.saturating_add(self.seeds);
        let each = |chosen: Arc<Chosen>| seeds.clone().map(move |seed| Work::Scenario(Arc::clone(&chosen), seed));
        Ok(chosen.into_iter().map(Arc::new).flat_map(each).collect())
    }

    fn judge(&self, contenders: &[Contender], work: &[Work]) -> anyhow::Result<ExitCode> {
        let bar = ProgressBar::with_draw_target(Some(work.len() as u64), ProgressDrawTarget::stderr());
        let style = "{elapsed_precise} [{wide_bar}] {pos}/{len} cases, {eta_precise} left";
        bar.set_style(ProgressStyle::with_template(style)?);
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let make = |piece: &Work| self.make(piece);
        let done = |rows: &[Row]| {
            bar.suspend(|| {
                for row in rows.iter().filter(|row| row.method == "engine") {
                    tell_miss(row);
                    if self.timeline {
                        tell_timeline(row);
                    }
                }
            });
            bar.inc(1);
        };
        let rows = run::run(work, contenders, jobs, make, done)??;
        bar.finish_and_clear();
        let report = Report::new(&rows);
        say(&report.headline().to_string());
        let wrong: Vec<_> = rows.iter().filter(|row| !row.judged.wrong_clouds.is_empty()).collect();
        for row in wrong.iter().filter(|row| row.method == "engine") {
            let clouds: Vec<&str> = row.judged.wrong_clouds.iter().map(|cloud| cloud.word()).collect();
            say(&format!("WRONG   {} seed {}: blamed {}", row.scenario, row.seed, clouds.join(" and ")));
        }
        if let Some(directory) = &self.output {
            report.write(directory)?;
            say(&format!("report  {}", directory.join("report.md").display()));
        }
        let mut is_wrong = wrong.iter().any(|row| row.method == "engine");
        for row in self.unknown_misses(&rows)? {
            say(&format!("MISSED  {} seed {}: {}", row.scenario, row.seed, row.judged.said.word()));
            is_wrong = true;
        }
        Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Misses of the engine that are not known; none where nobody asked.
    fn unknown_misses<'a>(&self, rows: &'a [Row]) -> anyhow::Result<Vec<&'a Row>> {
        let Some(path) = &self.known_misses else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("--known-misses {}", path.display()))?;
        let known: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let is_new =
            |row: &&Row| row.method == "engine" && !row.judged.is_right() && !known.contains(row.scenario.as_str());
        Ok(rows.iter().filter(is_new).collect())
    }

    fn make(&self, piece: &Work) -> anyhow::Result<Entry> {
        let entry = match piece {
            Work::Scenario(chosen, seed) => chosen.entry(*seed),
            Work::Foreign(directory) => foreign::load(directory)?,
        };
        let directory = |directory: &Path| format!("writing a case into {}", directory.display());
        if let Some(parent) = &self.write_cases {
            foreign::export(&entry, parent).with_context(|| directory(parent))?;
        }
        if let Some(parent) = &self.export {
            components::export(&entry.case, parent).with_context(|| directory(parent))?;
        }
        Ok(entry)
    }
}

fn assumed(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    let value = value.parse().map_err(|error| format!("{value:?}: {error}"))?;
    Ok((name.to_owned(), value))
}

/// Says at once what the engine got wrong: a long run need not end before one can look into it.
fn tell_miss(row: &Row) {
    let judged = &row.judged;
    let is_told = judged.incidents.iter().all(|incident| incident.seconds.is_finite());
    if judged.is_right() && judged.wrong_clouds.is_empty() && is_told {
        return;
    }
    let (id, seed, truth, said) = (&row.scenario, row.seed, judged.truth.word(), judged.said.word());
    let wrong: Vec<&str> = judged.wrong_clouds.iter().map(|cloud| cloud.word()).collect();
    let blamed = if wrong.is_empty() { String::new() } else { format!(", blamed {}", wrong.join(" and ")) };
    let late = if is_told { "" } else { ", not all that broke was told in time" };
    complain(&format!("missed: {id}, seed {seed}: {truth}, said {said}{blamed}{late}"));
}

fn tell_timeline(row: &Row) {
    say(&format!("{}, seed {}", row.scenario, row.seed));
    for (at, answer) in &row.timeline {
        let seconds = at.since(row.start).as_secs();
        let doubt = if answer.is_undetermined { " and something undetermined" } else { "" };
        let elements = if answer.elements.is_empty() { "nobody".to_owned() } else { answer.elements.join(", ") };
        let shares = answer.probabilities.map_or_else(String::new, |all| format!("{all:.3?}"));
        say(&format!("  {seconds:>6} s  {elements}{doubt}  {shares}"));
    }
}
