//! What the files say once everything has ended: the agents' spools and counters, and the coordinator's log.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use faultline_agent::spool::{Counter as _, Ledger, MadeFile, SqliteStore, Store as _};
use faultline_coordinator::{
    log::{Cursor, RecordLog as _, sqlite::SqliteLog},
    record::{RecordKind, SlotTable},
};
use faultline_proto::{
    agent::v1::{Lane, LossReason, ResultBatch},
    convert,
    types::v1::{Outcome, ProbeResult},
};
use prost::Message as _;

/// Where a batch has its place: incarnation, lane, number.
pub(super) type Place = (Vec<u8>, i32, u64);

/// Everything about one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) agent: String,
    pub(super) spool: SpoolBook,
    pub(super) logged: Vec<Logged>,
    /// Slots of targets that see a connection of each run that passes.
    pub(super) connecting: BTreeSet<u32>,
    /// Connections that its targets have seen.
    pub(super) visits: u64,
    /// Processes of it that have died.
    pub(super) deaths: u64,
}

/// An agent's spool.
#[derive(Clone, Debug, Default)]
pub(super) struct SpoolBook {
    pub(super) ledger: Ledger,
    /// Results made, as counted.
    pub(super) made: u64,
    /// Batches that are still held: id and checksum of the results.
    pub(super) held: BTreeMap<u64, u32>,
}

/// A batch in the log.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) place: Place,
    pub(super) crc: u32,
    pub(super) results: Vec<ProbeResult>,
    pub(super) losses: BTreeMap<LossReason, u64>,
}

impl Logged {
    pub(super) fn new(incarnation: &[u8], batch: ResultBatch) -> Self {
        let mut losses = BTreeMap::new();
        for loss in &batch.losses {
            *losses.entry(loss.reason()).or_default() += loss.results;
        }
        let crc = checksum(&batch.results);
        Self { place: (incarnation.to_owned(), batch.lane, batch.number), crc, results: batch.results, losses }
    }

    /// Results of it that passed where a target must have seen them.
    pub(super) fn seen(&self, connecting: &BTreeSet<u32>) -> usize {
        let passed = self.results.iter().filter(|result| result.outcome() == Outcome::Passed);
        passed.filter(|result| connecting.contains(&result.slot)).count()
    }
}

/// Of the results as they are encoded.
pub(super) fn checksum(results: &[ProbeResult]) -> u32 {
    ResultBatch { results: results.to_vec(), ..ResultBatch::default() }
        .encode_to_vec()
        .chunks(4096)
        .fold(0, crc32c::crc32c_append)
}

/// Reads an agent's folder.
pub(super) fn spool(folder: &Path) -> anyhow::Result<SpoolBook> {
    let file = find(&folder.join("state"), "spool.sqlite")?;
    let mut store = SqliteStore::open(&file, u64::MAX >> 1).with_context(|| file.display().to_string())?;
    let ledger = store.ledger()?.context("the spool has no ledger")?;
    let mut counter = MadeFile::open(&file.with_file_name("made"))?.context("the spool is still in use")?;
    let made = counter.load(&ledger.incarnation).context("the counter is of another spool")?;
    let (mut held, mut from) = (BTreeMap::new(), 1);
    while let Some(row) = store.read(from..=i64::MAX.unsigned_abs())? {
        let batch = ResultBatch::decode(row.payload.as_ref())?;
        held.insert(row.id, checksum(&batch.results));
        from = row.id + 1;
    }
    Ok(SpoolBook { ledger, made, held })
}

/// The one file of that name below the folder.
fn find(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path().join(name))).collect();
    found.retain(|path| path.is_file());
    ensure!(found.len() == 1, "{} files {name} below {}", found.len(), folder.display());
    Ok(found.remove(0))
}

/// What the log has of an agent.
#[derive(Clone, Debug, Default)]
pub(super) struct InLog {
    pub(super) batches: Vec<Logged>,
    /// In the order of the log.
    pub(super) arrivals: Vec<Arrival>,
    /// Slots of the targets that were asked for.
    pub(super) connecting: BTreeSet<u32>,
}

/// How a batch came in; times are in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) lane: Lane,
    pub(super) results: u64,
    pub(super) sealed_at: i64,
    pub(super) received_at: i64,
}

/// Reads the coordinator's log: batches of each agent, and which of its slots are of these targets.
pub(super) async fn log(data: &Path, connecting: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, InLog>> {
    let log = SqliteLog::open(data)?;
    let mut of_agents: BTreeMap<String, InLog> = BTreeMap::new();
    let mut after = Cursor::START;
    loop {
        let records = log.next(after, 4096).await?;
        let Some((last, _)) = records.last() else { return Ok(of_agents) };
        after = *last;
        for (_, record) in records {
            match record.kind {
                RecordKind::Batch => {
                    let batch = ResultBatch::decode(record.payload.as_ref())?;
                    let in_log = of_agents.entry(record.agent).or_default();
                    in_log.arrivals.push(Arrival {
                        lane: batch.lane(),
                        results: u64::try_from(batch.results.len())?,
                        sealed_at: convert::micros(batch.sealed_at.as_ref()).unwrap_or_default(),
                        received_at: record.received_at.micros(),
                    });
                    in_log.batches.push(Logged::new(&record.incarnation, batch));
                }
                RecordKind::Assignment => {
                    let table: SlotTable = record.content()?;
                    let slots = table.slots.into_iter().filter(|(_, target)| connecting.contains(target.as_str()));
                    of_agents.entry(record.agent).or_default().connecting.extend(slots.map(|(slot, _)| slot));
                }
                _ => {}
            }
        }
    }
}

/// The lane of a number.
pub(super) fn lane(lane: i32) -> &'static str {
    match Lane::try_from(lane) {
        Ok(Lane::Live) => "live",
        Ok(Lane::Backfill) => "backfill",
        _ => "no lane",
    }
}
