//! What must hold, whatever breaks.
//!
//! At each step: no batch stands in the log twice, none comes from a session that a newer one has replaced, every result is
//! one that its agent saw, with the facts that it saw, and stands there once; and no agent holds for confirmed what never
//! was durable. At the end: what was made is in the log or was told as lost, exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use faultline_attribution::AgentId;
use faultline_coordinator::{
    observe::Observer,
    record::{Record, RecordKind},
};
use faultline_proto::agent::v1::Lane;

use super::{agent::Vm, log::Disk};

/// Agent, incarnation, lane.
type Place = (String, Vec<u8>, u8);

/// What was counted so far.
pub struct Check {
    disk: Arc<Disk>,
    vms: Vec<Arc<Vm>>,
    counted: Counted,
    /// The highest number that ever was durable.
    highest: BTreeMap<Place, u64>,
    trace: u32,
    /// An older copy of the log took its place.
    is_restored: bool,
    tells: bool,
}

#[derive(Default)]
struct Counted {
    records: usize,
    batches: BTreeSet<(Place, u64)>,
    epochs: BTreeMap<String, u64>,
    tallies: BTreeMap<(String, Vec<u8>), Tally>,
    /// When a result was stored and in which batch, by agent and serial number.
    stored: BTreeMap<(String, u32), (Duration, Place, u64)>,
    observer: Observer,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    results: u64,
    lost: u64,
}

impl Check {
    /// Nothing was counted yet.
    pub fn new(disk: Arc<Disk>, vms: Vec<Arc<Vm>>, tells: bool) -> Self {
        let (counted, highest) = (Counted::default(), BTreeMap::new());
        Self { disk, vms, counted, highest, trace: 0, is_restored: false, tells }
    }

    /// Checksum of all that became durable, and when.
    pub fn trace(&self) -> u32 {
        self.trace
    }

    /// The log is another: it is counted anew.
    pub fn restored(&mut self) {
        (self.counted, self.is_restored) = (Counted::default(), true);
    }

    /// Looks at what has changed. Returns lines that tell of it.
    pub fn step(&mut self) -> Result<Vec<String>, String> {
        let mut told = Vec::new();
        for (at, record) in self.disk.records_from(self.counted.records) {
            self.counted.records += 1;
            let line = format!(
                "{:>8.3} s  {:?} {} epoch {} lane {} number {} crc {:08x}",
                at.as_secs_f64(),
                record.kind,
                record.agent,
                record.epoch,
                record.lane,
                record.number,
                crc32c::crc32c(&record.payload)
            );
            self.trace = crc32c::crc32c_append(self.trace, line.as_bytes());
            if record.kind == RecordKind::Batch {
                self.batch(at, &record).map_err(|what| format!("{what}\n{line}"))?;
            }
            if self.tells {
                told.push(line);
            }
        }
        for vm in &self.vms {
            let Some((incarnation, acked)) = vm.disk.acked() else { continue };
            for (lane, acked) in [(Lane::Live, acked.0), (Lane::Backfill, acked.1)] {
                let place = (vm.name.clone(), incarnation.to_vec(), u8::try_from(lane as i32).unwrap_or_default());
                let highest = self.highest.get(&place).copied().unwrap_or_default();
                if acked > highest {
                    let lane = lane.as_str_name();
                    return Err(format!("{} holds {lane} {acked} for confirmed, durable is {highest}", vm.name));
                }
            }
        }
        Ok(told)
    }

    fn batch(&mut self, at: Duration, record: &Record) -> Result<(), String> {
        let place: Place = (record.agent.clone(), record.incarnation.clone(), record.lane);
        let counted = &mut self.counted;
        if !counted.batches.insert((place.clone(), record.number)) {
            return Err("a batch stands twice in the log".to_owned());
        }
        let epoch = counted.epochs.entry(record.agent.clone()).or_default();
        if record.epoch < *epoch {
            return Err(format!("a batch of a session that was replaced: {} after {epoch}", record.epoch));
        }
        *epoch = record.epoch;
        let highest = self.highest.entry(place.clone()).or_default();
        *highest = record.number.max(*highest);
        let batch = counted.observer.read_batch(record).map_err(|error| error.to_string())?;
        let tally = counted.tallies.entry((record.agent.clone(), record.incarnation.clone())).or_default();
        tally.results += batch.results.len() as u64;
        tally.lost += batch.losses.iter().map(|loss| loss.results).sum::<u64>();
        let (agent, clone) = (AgentId::from(record.agent.as_str()), record.agent.replace("agent", "clone"));
        for result in &batch.results {
            let serial = result.timings.map_or(0, |timings| timings.total_us);
            let mut vms = self.vms.iter().filter(|vm| vm.name == record.agent || vm.name == clone);
            let seen = vms.find_map(|vm| vm.seen().results.get(&serial).cloned());
            let Some((_, saw, issuer)) = seen else { return Err(format!("result {serial} was never seen")) };
            let is_same = (saw.slot, saw.outcome, saw.started_at) == (result.slot, result.outcome, result.started_at);
            if !is_same {
                return Err(format!("result {serial} is another: {result:?}, seen was {saw:?}"));
            }
            let facts =
                counted.observer.facts_of(&agent, &record.incarnation, result.facts).map(|facts| facts.issuer.as_str());
            if facts != Some(issuer.as_str()) {
                return Err(format!("result {serial} saw {issuer:?}, its facts {} say {facts:?}", result.facts));
            }
            if counted.stored.insert((record.agent.clone(), serial), (at, place.clone(), record.number)).is_some() {
                return Err(format!("result {serial} stands twice in the log"));
            }
        }
        Ok(())
    }

    /// Whether any of an agent's results that it saw after then is in the log, and the agent knows it: both ways are open.
    pub fn is_heard_after(&self, agent: &str, after: Duration) -> bool {
        let Some(vm) = self.vms.iter().find(|vm| vm.name == agent) else { return false };
        let Some((incarnation, (live, backfill))) = vm.disk.acked() else { return false };
        let fresh =
            vm.seen().results.iter().filter(|(_, (at, ..))| *at > after).map(|(serial, _)| *serial).collect::<Vec<_>>();
        fresh.into_iter().any(|serial| {
            let stored = self.counted.stored.get(&(agent.to_owned(), serial));
            stored.is_some_and(|(_, (_, of, lane), number)| {
                let acked = if i32::from(*lane) == Lane::Backfill as i32 { backfill } else { live };
                *of == incarnation && *number <= acked
            })
        })
    }

    /// The longest that a result took which the agent saw after then.
    pub fn longest_after(&self, agent: &str, after: Duration, until: Duration) -> Result<Duration, String> {
        let vm = self.vms.iter().find(|vm| vm.name == agent).ok_or("no such agent")?;
        let mut longest = Duration::ZERO;
        for (serial, (at, ..)) in vm.seen().results.iter().filter(|(_, (at, ..))| *at > after && *at < until) {
            let stored = self.counted.stored.get(&(agent.to_owned(), *serial));
            let (stored, ..) =
                stored.ok_or_else(|| format!("result {serial} of {agent} never came, with all at work"))?;
            longest = longest.max(stored.saturating_sub(*at));
        }
        Ok(longest)
    }

    /// What was made is in the log or was told as lost. Returns both.
    pub fn end(&self) -> Result<(u64, u64), String> {
        let (mut all_made, mut all_lost) = (0, 0);
        for vm in self.vms.iter().filter(|vm| !vm.is_clone()) {
            for (incarnation, made) in vm.disk.made() {
                let tally = self.counted.tallies.get(&(vm.name.clone(), incarnation.to_vec()));
                let Tally { results, lost } = tally.copied().unwrap_or_default();
                let (found, counted) = (results + lost, made.results - made.uncounted);
                let may_miss = self.is_restored && vm.disk.has_freed();
                if found > made.results || (found != counted && !may_miss) {
                    return Err(format!(
                        "{}: made {}, of which {} went with a power cut; logged {results}, told as lost {lost}",
                        vm.name, made.results, made.uncounted
                    ));
                }
                all_made += made.results;
                all_lost += lost;
            }
        }
        Ok((all_made, all_lost))
    }
}
