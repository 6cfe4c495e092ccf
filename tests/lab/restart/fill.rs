//! Fill: a log as a fleet would have written it: agents that look at every target each half minute, and two
//! minutes of trouble in one region of AWS each hour.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::ensure;
use faultline_attribution::{SessionState, TargetId, Timestamp, Vantage};
use faultline_coordinator::{
    catalog::Catalog,
    log::{Admission, Appended, RecordLog as _, sqlite::SqliteLog},
    pki::Authority,
    record::{CatalogRecord, Record, RecordKind, SessionRecord, SlotTable},
};
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1 as wire,
};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use tokio::task;

/// Seconds between an agent's batches; each holds a look at every target.
const INTERVAL_S: usize = 30;

/// In each hour, the region is dark from and to these seconds.
const DARK_S: std::ops::Range<usize> = 120..240;

/// One look of so many fails for no reason.
const NOISE: usize = 1000;

/// Appends that wait for the disk at a time.
const AT_A_TIME: usize = 256;

/// Who looks, and at what.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Agents.
    pub agents: usize,
    /// Targets, so many in a batch.
    pub targets: usize,
}

/// How far a log is filled.
#[derive(Debug)]
pub struct Filled {
    fleet: Fleet,
    /// The first second, since 1970.
    begin_s: usize,
    /// Seconds that are in the log.
    seconds: usize,
    epochs: Vec<u64>,
    slots: Vec<TargetId>,
    /// Results in the log.
    pub results: usize,
}

impl Fleet {
    /// The seconds that so many results take.
    pub fn seconds(&self, results: usize) -> usize {
        results * INTERVAL_S / (self.agents * self.targets)
    }

    fn catalog(&self) -> String {
        let row = |number: usize| {
            let (hosted_on, region) = match number % 5 {
                0 | 1 => ("aws", ["us-east-1", "eu-west-1", "ap-south-1", "us-west-2"][number / 5 % 4]),
                2 | 3 => ("azure", ["eastus", "westeurope", "japaneast", "centralus"][number / 5 % 4]),
                _ => ("other", ""),
            };
            let place = match (hosted_on, number % 2) {
                ("aws", 0) => {
                    format!("region = \"{region}\"\nservice = \"service-{}\"\nowner = \"amazon\"\n", number / 20)
                }
                ("azure", 0) => {
                    format!("region = \"{region}\"\nservice = \"service-{}\"\nowner = \"microsoft\"\n", number / 20)
                }
                ("other", _) => format!("owner = \"owner-{number}\"\n"),
                _ => format!("region = \"{region}\"\nowner = \"owner-{number}\"\n"),
            };
            format!(
                "[[target]]\nid = \"target-{number:04}\"\nprobe = \"https\"\nurl = \"https://t{number}.example/\"\n\
                 hosted_on = \"{hosted_on}\"\n{place}\n"
            )
        };
        (0..self.targets).map(row).collect()
    }
}

impl Filled {
    /// A data directory with an authority, a catalog, and a log in which the fleet has come up so many seconds before now.
    pub async fn open(data: &Path, fleet: Fleet, seconds: usize, now: Timestamp) -> anyhow::Result<Self> {
        Authority::init(data, "test.internal", &[], now.micros())?;
        let catalog = fleet.catalog();
        std::fs::write(data.join("catalog.toml"), &catalog)?;
        let targets = Catalog::parse("catalog.toml", &catalog)?.world();
        let slots: Vec<TargetId> = targets.keys().cloned().collect();
        let begin_s = usize::try_from(now.micros() / 1_000_000)? - seconds;
        let mut filled = Self { fleet, begin_s, seconds: 0, epochs: Vec::new(), slots, results: 0 };
        let (log, begin) = (SqliteLog::open(data)?, filled.at(0));
        append(&log, Admission::Own, Record::own(RecordKind::Catalog, begin, "", &CatalogRecord { targets })).await?;
        let table = filled.slots.iter().cloned().zip(1..).map(|(target, slot)| (slot, target));
        let table = SlotTable { version: 1, digest: 0, slots: table.collect::<BTreeMap<_, _>>() };
        for agent in 0..fleet.agents {
            let name = name(agent);
            append(&log, Admission::Own, Record::own(RecordKind::Assignment, begin, &name, &table)).await?;
            append(&log, Admission::Own, Record::own(RecordKind::Vantage, begin, &name, &vantage(agent))).await?;
            let session = SessionRecord { state: SessionState::Up, since: begin };
            let session = Record::own(RecordKind::Session, begin, &name, &session);
            filled.epochs.push(append(&log, Admission::Session, session).await?);
        }
        Ok(filled)
    }

    /// Adds so many seconds.
    pub async fn go_on(&mut self, data: &Path, seconds: usize) -> anyhow::Result<()> {
        let log = Arc::new(SqliteLog::open(data)?);
        let until = self.seconds + seconds;
        let records = (self.seconds + 1..=until).flat_map(|second| {
            let agents = (0..self.fleet.agents).filter(move |agent| second % INTERVAL_S == agent % INTERVAL_S);
            let batches = agents.map(move |agent| (Admission::Batch { first_number: 1 }, Some(agent), second));
            batches.chain([(Admission::Own, None, second)])
        });
        let this = &*self;
        let appended = records.map(|(admission, agent, second)| {
            let log = Arc::clone(&log);
            async move {
                let record = agent.map_or_else(|| Record::tick(this.at(second)), |agent| this.batch(agent, second));
                append(&log, admission, record).await.map(|_| usize::from(agent.is_some()))
            }
        });
        // In order: each is begun, and so waits in the store's queue, before the next. One that had to yield first would not.
        let mut appended = stream::iter(appended).buffered(AT_A_TIME);
        let mut batches = 0;
        while let Some(is_batch) = task::unconstrained(appended.next()).await {
            batches += is_batch?;
        }
        drop(appended);
        self.results += batches * self.fleet.targets;
        self.seconds = until;
        Ok(())
    }

    fn at(&self, second: usize) -> Timestamp {
        Timestamp::from_micros(i64::try_from((self.begin_s + second) * 1_000_000).unwrap_or(i64::MAX))
    }

    fn batch(&self, agent: usize, second: usize) -> Record {
        let number = second.div_ceil(INTERVAL_S) as u64;
        let look = |target: usize| {
            // Looks are spread over the time since the last batch.
            let began_ms = (second * 1000).saturating_sub(1000 + (target * 28_000 / self.fleet.targets));
            let is_dark =
                target % 5 < 2 && (target / 5).is_multiple_of(4) && DARK_S.contains(&(began_ms / 1000 % 3600));
            let has_failed = is_dark || mix(agent, target, second).is_multiple_of(NOISE);
            let took_us = u32::try_from(40_000 + mix(target, agent, second) % 20_000).unwrap_or_default();
            wire::ProbeResult {
                slot: u32::try_from(target + 1).unwrap_or_default(),
                started_at: Some(convert::timestamp(self.at(0).micros() + i64::try_from(began_ms * 1000).unwrap_or(0))),
                outcome: if has_failed { wire::Outcome::Failed } else { wire::Outcome::Passed } as i32,
                layer: if has_failed { wire::Layer::Connect as i32 } else { 0 },
                cause: if has_failed { wire::Cause::ConnectTimeout as i32 } else { 0 },
                timings: Some(wire::Timings {
                    dns_us: took_us / 8,
                    connect_us: took_us / 4,
                    tls_us: took_us / 4,
                    first_byte_us: took_us / 4,
                    total_us: took_us,
                    ..wire::Timings::default()
                }),
                address: vec![192, 0, 2, u8::try_from(target % 256).unwrap_or_default()],
                status: if has_failed { 0 } else { 200 },
                facts: u32::try_from(target + 1).unwrap_or_default(),
                attempt: 1,
                ..wire::ProbeResult::default()
            }
        };
        let is_first = second <= INTERVAL_S;
        let batch = ResultBatch {
            lane: Lane::Live as i32,
            number,
            facts: if is_first { (0..self.fleet.targets).map(facts).collect() } else { Vec::new() },
            results: (0..self.fleet.targets).map(look).collect(),
            ..ResultBatch::default()
        };
        Record {
            kind: RecordKind::Batch,
            received_at: self.at(second),
            agent: name(agent),
            incarnation: vec![1; 16],
            epoch: self.epochs[agent],
            lane: 1,
            number,
            payload: batch.encode_to_vec().into(),
        }
    }
}

async fn append(log: &SqliteLog, admission: Admission, record: Record) -> anyhow::Result<u64> {
    let appended = log.append(admission, record).await?;
    ensure!(matches!(appended, Appended::At(_)), "the log answered {appended:?}");
    let Appended::At(cursor) = appended else { return Ok(0) };
    Ok(cursor.epoch())
}

fn name(agent: usize) -> String {
    format!("agent-{agent:04}")
}

/// What a look at a target shows beside its result, with a chain of three certificates.
fn facts(target: usize) -> wire::Facts {
    let certificate = |subject: String, issuer: &str, names: usize| wire::Certificate {
        subject,
        issuer: issuer.into(),
        names: (0..names).map(|name| format!("n{name}.t{target}.example")).collect(),
        not_before: Some(convert::timestamp(1_700_000_000_000_000)),
        not_after: Some(convert::timestamp(1_800_000_000_000_000)),
        key: "ec-p256".into(),
        fingerprint: (0..32).map(|byte| u8::try_from((target * 31 + byte * 7) % 256).unwrap_or_default()).collect(),
        ..wire::Certificate::default()
    };
    wire::Facts {
        number: u32::try_from(target + 1).unwrap_or_default(),
        issuer: "R3".into(),
        resolver: "system".into(),
        edge: [("server".to_owned(), "nginx".to_owned())].into(),
        chain: vec![
            certificate(format!("t{target}.example"), "R3", 4),
            certificate("R3".into(), "ISRG Root X1", 0),
            certificate("ISRG Root X1".into(), "ISRG Root X1", 0),
        ],
        ..wire::Facts::default()
    }
}

/// Every agent a network of its own, three quarters of them outside both clouds.
fn vantage(agent: usize) -> Vantage {
    let hosted_on = ["aws", "azure", "", "", "", "", "", ""][agent % 8];
    Vantage {
        group: format!("group-{agent:04}"),
        asn: u32::try_from(64_512 + agent).ok(),
        isp: Some(format!("isp-{agent}")),
        country: Some(["us", "de", "jp", "br"][agent / 8 % 4].into()),
        geography: Some(["na", "eu", "as", "sa"][agent / 8 % 4].into()),
        hosted_on: (!hosted_on.is_empty()).then(|| hosted_on.into()),
        ..Vantage::default()
    }
}

/// Mixes numbers into one that looks random.
fn mix(a: usize, b: usize, c: usize) -> usize {
    let mixed = [a, b, c].into_iter().fold(1_u64, |state, word| {
        let z = (state ^ word as u64).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    });
    usize::try_from(mixed >> 16).unwrap_or(usize::MAX)
}
