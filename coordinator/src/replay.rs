//! Replay: recorded results in, the changes that the coordinator would have published out.
//!
//! Rules. Results count in the order in which they were received: disorder up to [`DISORDER`] is sorted, more is an
//! error. Time passes as live, one tick at each whole second; a tick concludes from everything received up to it. Inside
//! a second the order of the lines means nothing: results apply in the order (agent, target, at, resolver, address,
//! attempt), and equal ones count once. Memory holds the last minutes, never the file.

mod drive;
mod order;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufRead, Read as _},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use faultline_attribution::{
    AgentId, Change, Engine, Outcome, ProbeKind, Settings, State, Target, TargetId, Timestamp, Vantage, World,
};

use self::{
    drive::Driver,
    order::{Disorder, Order, Replayed, Sighted},
};
use crate::{
    observe::{edges, learn::Reading, run, run::Run},
    ranges::Ranges,
    results::{self, ResultLine, UnknownFields},
};

/// Lines may stand this much out of order. Source: section 4 of the project's design.
pub const DISORDER: Duration = Duration::from_mins(2);

/// Time that passes after the last line, so that what is open can end. Source: as above.
pub const AFTERMATH: Duration = Duration::from_mins(3);

/// A line is no longer than this; the largest real ones have a few kilobytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What ends a replay early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line that is no result, or one that names what does not exist.
    #[error("{file}:{line}: {message}")]
    Line {
        /// The file, or `standard input`.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Field, value and what is allowed.
        message: String,
    },
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Changes cannot be written.
    #[error("standard output: {0}")]
    Write(#[source] io::Error),
}

impl ReplayError {
    /// Whether what was given is at fault.
    pub fn is_of_input(&self) -> bool {
        !matches!(self, Self::Write(_))
    }
}

/// What is replayed, and how far.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Targets.
    pub targets: BTreeMap<TargetId, Target>,
    /// Agents.
    pub vantages: BTreeMap<AgentId, Vantage>,
    /// Published address ranges, for what the addresses of healthy runs teach.
    pub ranges: Arc<Ranges>,
    /// Ends here instead of [`AFTERMATH`] after the last line.
    pub until: Option<Timestamp>,
    /// Ends at the first change that accuses somebody.
    pub until_verdict: bool,
}

/// What became of a replay.
#[derive(Debug)]
pub struct Replayal {
    /// The engine at the end, which explains.
    pub engine: Engine,
    /// Results that counted.
    pub results: u64,
    /// Results that were there already.
    pub duplicates: u64,
    /// Fields that were ignored.
    pub unknown: UnknownFields,
}

impl Replay {
    /// Feeds the lines and hands out each change as it is made; `file` is for errors.
    pub fn run(
        self,
        file: &str,
        mut input: impl BufRead,
        mut publish: impl FnMut(&Change) -> io::Result<()>,
    ) -> Result<Replayal, ReplayError> {
        let until_verdict = self.until_verdict;
        let mut publish = |change: &Change| {
            publish(change).map_err(ReplayError::Write)?;
            let is_verdict = until_verdict && change.state == State::Attributed;
            Ok(if is_verdict { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let mut reader = Reader::new(file, &self.targets, &self.vantages);
        let world = World { targets: self.targets, vantages: self.vantages };
        let mut driver =
            Driver::new(Engine::new(world, Settings::default()), self.ranges, &reader.agents, &reader.targets);
        let mut order = Order::default();
        let until = self.until.map(drive::second_of);
        let end = loop {
            let Some(run) = reader.next(&mut input)? else {
                let last = order.newest().map(|last| drive::second_of(last.after(AFTERMATH)));
                break until.or(last);
            };
            let (line, received_at) = (reader.line, run.run.received_at);
            order.push(line, run).map_err(|Disorder { newest, newest_line }| {
                let behind = newest.since(received_at).as_secs_f64();
                reader.fault(format!(
                    "received_at: {received_at} is {behind} s before line {newest_line}: lines may be out of order by \
                     {} s; sort the file by it (where it is absent, it is at + timings_us.total)",
                    DISORDER.as_secs()
                ))
            })?;
            while let Some((second, runs)) = order.complete() {
                if until.is_some_and(|until| second > until) {
                    return Ok(driver.end(until, &mut publish)?.with(reader.unknown));
                }
                if driver.tick(second, runs, &mut publish)?.is_break() {
                    return Ok(driver.finish().with(reader.unknown));
                }
            }
        };
        while let Some((second, runs)) = order.remaining() {
            if end.is_some_and(|end| second > end) {
                break;
            }
            if driver.tick(second, runs, &mut publish)?.is_break() {
                return Ok(driver.finish().with(reader.unknown));
            }
        }
        Ok(driver.end(end, &mut publish)?.with(reader.unknown))
    }
}

impl Replayal {
    fn with(self, unknown: UnknownFields) -> Self {
        Self { unknown, ..self }
    }
}

/// An agent and a target, by their places in the sorted lists of both.
type Pair = (u32, u32);

/// Reads lines and makes runs of them.
struct Reader<'f> {
    file: &'f str,
    line: u64,
    buffer: Vec<u8>,
    unknown: UnknownFields,
    /// Ids in order, so that the order of places is the order of ids.
    agents: Vec<AgentId>,
    targets: Vec<TargetId>,
    agent_places: HashMap<AgentId, u32>,
    target_places: HashMap<TargetId, u32>,
    /// The targets whose probe is dns, by place: whom they ask follows from them, and the address of their runs is that of
    /// the server that was asked.
    dns: HashMap<u32, Target>,
    /// What each agent last saw of each target: nearly always the same again.
    readings: HashMap<Pair, (u64, Arc<Reading>)>,
}

impl<'f> Reader<'f> {
    fn new(file: &'f str, targets: &BTreeMap<TargetId, Target>, vantages: &BTreeMap<AgentId, Vantage>) -> Self {
        let agents: Vec<AgentId> = vantages.keys().cloned().collect();
        let dns = (0..).zip(targets.values().cloned()).filter(|(_, target)| target.probe == ProbeKind::Dns).collect();
        let targets: Vec<TargetId> = targets.keys().cloned().collect();
        Self {
            file,
            line: 0,
            buffer: Vec::new(),
            unknown: UnknownFields::default(),
            agent_places: agents.iter().cloned().zip(0..).collect(),
            target_places: targets.iter().cloned().zip(0..).collect(),
            agents,
            targets,
            dns,
            readings: HashMap::new(),
        }
    }

    fn fault(&self, message: String) -> ReplayError {
        ReplayError::Line { file: self.file.to_owned(), line: self.line, message }
    }

    /// The next run; `None` at the end. Empty lines are none.
    fn next(&mut self, input: &mut impl BufRead) -> Result<Option<Replayed>, ReplayError> {
        loop {
            self.buffer.clear();
            let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|source| ReplayError::Read { file: self.file.to_owned(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if read as u64 == MAX_LINE_BYTES && !self.buffer.ends_with(b"\n") {
                return Err(self.fault(format!("a line of {MAX_LINE_BYTES} bytes or more is no result")));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return self.replayed().map(Some);
            }
        }
    }

    fn replayed(&mut self) -> Result<Replayed, ReplayError> {
        let buffer = std::mem::take(&mut self.buffer);
        let parsed = results::parse(&buffer, &mut self.unknown);
        let replayed = match parsed {
            Ok(line) => self.place(&line),
            Err(fault) => Err(fault.to_string()),
        };
        self.buffer = buffer;
        replayed.map_err(|message| self.fault(message))
    }

    fn place(&mut self, line: &ResultLine<'_>) -> Result<Replayed, String> {
        let agent = self.agent_places.get(&*line.agent).copied();
        let agent = agent.ok_or_else(|| format!("agent: {:?} is not in the world", line.agent))?;
        let target = self.target_places.get(&*line.target).copied();
        let target = target.ok_or_else(|| format!("target: {:?} is not in the catalog", line.target))?;
        let maker = match (line.outcome, line.status) {
            (Outcome::Failed { .. }, Some(status)) => edges::maker(|name| line.header(name), status),
            _ => None,
        };
        let run = Run {
            at: line.at,
            received_at: line.arrival(),
            outcome: line.outcome,
            status: line.status,
            way: run::way(&line.resolver, self.dns.get(&target)),
            maker,
            took: line.took(),
            slowest: line.slowest(),
            is_backlog: line.late,
            is_clock_suspect: line.clock_suspect,
            is_on_demand: line.on_demand,
        };
        let sighting = (line.outcome == Outcome::Passed).then(|| self.sighting((agent, target), line)).flatten();
        Ok(Replayed { agent, target, address: line.address, attempt: line.attempt, run, sighting })
    }

    /// What a passed run saw; `None` when that is nothing.
    fn sighting(&mut self, pair: Pair, line: &ResultLine<'_>) -> Option<Sighted> {
        let address = line.address.filter(|_| !self.dns.contains_key(&pair.1));
        let seen = (&line.cnames, &line.name_servers, &line.edge, &line.issuer, &line.resolver);
        let is_blank = line.cnames.is_empty() && line.name_servers.is_empty() && line.edge.is_empty();
        if is_blank && line.issuer.is_empty() && line.resolver.is_empty() && address.is_none() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        seen.hash(&mut hasher);
        let digest = hasher.finish();
        let held = self.readings.get(&pair).filter(|(held, _)| *held == digest);
        let reading = held.map_or_else(|| Arc::new(Reading::of(&line.sighting())), |(_, reading)| Arc::clone(reading));
        self.readings.insert(pair, (digest, Arc::clone(&reading)));
        Some(Sighted { digest, reading, address })
    }
}

#[cfg(test)]
mod tests;
