//! Reads a directory.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use faultline_attribution::{AgentId, Input, Outcome, TargetId, Timestamp, World, WorldChange};
use faultline_coordinator::{
    catalog::Catalog,
    observe::{
        edges,
        learn::{Learner, Sighting},
        run::{self, Run},
    },
    results::{self, ResultLine, UnknownFields},
    world_file,
};

use super::{ForeignError, truth};
use crate::{case::Case, score::run::Entry};

pub(super) fn entry(directory: &Path) -> Result<Entry, ForeignError> {
    let path = |name: &str| directory.join(name);
    let text = |name: &str| {
        let path = path(name).display().to_string();
        std::fs::read_to_string(&path).map_err(|source| ForeignError::File { path, source })
    };
    let truth_path = path("truth.toml").display().to_string();
    let told = truth::parse(&text("truth.toml")?).map_err(|reason| ForeignError::Truth { path: truth_path, reason })?;
    let catalog = Catalog::parse(&path("catalog.toml").display().to_string(), &text("catalog.toml")?)?;
    let vantages = world_file::load(&path("world.toml"))?;
    let world = World { targets: catalog.world(), vantages };
    let inputs = inputs(&path("results.ndjson"), &world)?;
    let first = inputs.first().map_or_else(Timestamp::default, |(at, _)| *at);
    let last = inputs.last().map_or_else(Timestamp::default, |(at, _)| *at);
    let id = directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Entry {
        case: Case {
            family: told.family.unwrap_or_else(|| id.clone()),
            id,
            seed: 0,
            world,
            inputs,
            start: told.starts_at.unwrap_or(first),
            end: told.ends_at.unwrap_or(last),
            truth: told.truth,
            background: Vec::new(),
        },
        liars: told.liars,
        is_hard: told.is_hard,
        is_held_out: false,
    })
}

fn inputs(path: &Path, world: &World) -> Result<Vec<(Timestamp, Input)>, ForeignError> {
    let name = path.display().to_string();
    let failed = |source| ForeignError::File { path: name.clone(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut runs = Vec::new();
    let (mut line, mut buffer, mut unknown) = (0, Vec::new(), UnknownFields::default());
    loop {
        buffer.clear();
        if reader.read_until(b'\n', &mut buffer).map_err(failed)? == 0 {
            break;
        }
        line += 1;
        if buffer.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |reason: String| ForeignError::Line { path: name.clone(), line, reason };
        let parsed = results::parse(&buffer, &mut unknown).map_err(|fault| wrong(fault.to_string()))?;
        runs.push(Seen::of(&parsed, world).map_err(wrong)?);
    }
    runs.sort_by(|one, other| one.key().cmp(&other.key()));
    runs.dedup_by(|one, other| one.key() == other.key());
    Ok(told(runs))
}

/// The inputs of runs in order, with what is learned from them.
fn told(runs: Vec<Seen>) -> Vec<(Timestamp, Input)> {
    let mut learner = Learner::default();
    // The same is seen nearly always; a change is worth a look.
    let mut held: HashMap<(AgentId, TargetId), Sighting> = HashMap::new();
    let mut inputs = Vec::with_capacity(runs.len());
    for Seen { agent, target, run, sighting, .. } in runs {
        let arrives = run.received_at;
        if let Some(sighting) = sighting {
            let pair = (agent.clone(), target.clone());
            if held.get(&pair) != Some(&sighting) {
                if let Some(learned) = learner.learn(&agent, &target, &sighting) {
                    inputs.push((arrives, Input::World(WorldChange::Learned(target.clone(), learned))));
                }
                held.insert(pair, sighting);
            }
        }
        inputs.push((arrives, Input::Observation(run.observation(agent, target))));
    }
    inputs
}

/// A line that was understood.
struct Seen {
    agent: AgentId,
    target: TargetId,
    address: String,
    attempt: u32,
    run: Run,
    sighting: Option<Sighting>,
}

impl Seen {
    fn of(line: &ResultLine<'_>, world: &World) -> Result<Self, String> {
        let (agent, target): (AgentId, TargetId) = (line.agent.to_string().into(), line.target.to_string().into());
        if !world.vantages.contains_key(&agent) {
            return Err(format!("agent: {:?} is not in the world", line.agent));
        }
        if !world.targets.contains_key(&target) {
            return Err(format!("target: {:?} is not in the catalog", line.target));
        }
        let maker = match (line.outcome, line.status) {
            (Outcome::Failed { .. }, Some(status)) => edges::maker(|name| line.header(name), status),
            _ => None,
        };
        let run = Run {
            at: line.at,
            received_at: line.arrival(),
            outcome: line.outcome,
            status: line.status,
            way: run::way(&line.resolver, world.targets.get(&target)),
            maker,
            took: line.took(),
            slowest: line.slowest(),
            is_backlog: line.late,
            is_clock_suspect: line.clock_suspect,
            is_on_demand: line.on_demand,
        };
        Ok(Self {
            agent,
            target,
            address: line.address.map_or_else(String::new, |address| address.to_string()),
            attempt: line.attempt,
            run,
            sighting: (line.outcome == Outcome::Passed).then(|| line.sighting()),
        })
    }

    /// Inside a second the order of lines means nothing.
    fn key(&self) -> impl Ord + '_ {
        let second = self.run.received_at.micros().div_euclid(1_000_000);
        (second, &self.agent, &self.target, self.run.at, &self.run.way, &self.address, self.attempt)
    }
}
