//! Export: from records of the log to result lines, with everything that the log knows of a run.

use std::{borrow::Cow, collections::BTreeMap};

use faultline_attribution::{AgentId, Outcome, ProbeKind, TargetId, Timestamp, Vantage};
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1 as wire,
};

use super::{ResultLine, Timings};
use crate::{
    log::{Cursor, LogError, sqlite::SqliteReader},
    observe::{self, Observer, stamps::Stamps},
    record::{Record, RecordKind},
};

/// Records read at once.
const CHUNK: usize = 1024;

/// What can go wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Lines cannot be written.
    #[error("standard output: {0}")]
    Write(#[from] std::io::Error),
}

/// The span that is exported, by when results were received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From then on.
    pub from: Option<Timestamp>,
    /// Until before then.
    pub to: Option<Timestamp>,
}

impl Span {
    fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

/// What an export came to.
#[derive(Debug, Default)]
pub struct Exported {
    /// Where the agents look from, as last recorded.
    pub vantages: BTreeMap<AgentId, Vantage>,
    /// Records that cannot be read and were left out, and why.
    pub damaged: Vec<(Cursor, String)>,
}

/// Hands out every result of the span in the order of the log.
pub fn export(
    log: &SqliteReader,
    span: Span,
    mut write: impl FnMut(&ResultLine<'_>) -> std::io::Result<()>,
) -> Result<Exported, ExportError> {
    let mut observer = Observer::default();
    let mut damaged = Vec::new();
    let mut read = Cursor::START;
    loop {
        let records = log.next(read, CHUNK)?;
        let Some((last, _)) = records.last() else { break };
        read = *last;
        for (cursor, record) in records {
            // Outside the span its facts still count: later batches refer to them.
            let read = match record.kind {
                RecordKind::Batch => observer.read_batch(&record).map(Some),
                _ => observer.observe(&record).map(|_| None),
            };
            match read {
                Ok(Some(read)) if span.holds(record.received_at) => batch(&observer, &record, &read, &mut write)?,
                Ok(_) => {}
                Err(error) => damaged.push((cursor, error.to_string())),
            }
        }
    }
    Ok(Exported { vantages: observer.vantages().clone(), damaged })
}

fn batch(
    observer: &Observer,
    record: &Record,
    batch: &ResultBatch,
    write: &mut impl FnMut(&ResultLine<'_>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let agent = AgentId::from(record.agent.as_str());
    let stamps = Stamps::of(batch, record.received_at);
    for result in &batch.results {
        let (Some(target), Some(outcome)) = (observer.target_of(&agent, result.slot), observe::outcome(result)) else {
            continue; // refused at ingest; it does not count live either
        };
        let probe = observer.targets().get(target).map(|target| target.probe);
        let facts = observer.facts_of(&agent, &record.incarnation, result.facts);
        let line = line(record, target, probe, outcome, result, facts);
        write(&ResultLine { at: stamps.began(result), clock_suspect: stamps.is_clock_suspect, ..line })?;
    }
    Ok(())
}

/// The line of a stored result.
fn line<'a>(
    record: &'a Record,
    target: &'a TargetId,
    probe: Option<ProbeKind>,
    outcome: Outcome,
    result: &wire::ProbeResult,
    facts: Option<&'a wire::Facts>,
) -> ResultLine<'a> {
    let at = Timestamp::from_micros(convert::micros(result.started_at.as_ref()).unwrap_or_default());
    let address = observe::address(&result.address);
    let timings = result.timings.unwrap_or_default();
    let borrowed =
        |text: fn(&wire::Facts) -> &String| facts.map_or(Cow::Borrowed(""), |facts| text(facts).as_str().into());
    let mut edge: Vec<(Cow<'a, str>, Cow<'a, str>)> = facts
        .into_iter()
        .flat_map(|facts| facts.edge.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())))
        .collect();
    edge.sort(); // a map of the wire has no order, a file has
    ResultLine {
        received_at: Some(record.received_at),
        probe,
        timings: Timings {
            dns: timings.dns_us.into(),
            connect: timings.connect_us.into(),
            tls: timings.tls_us.into(),
            first_byte: timings.first_byte_us.into(),
            body: timings.body_us.into(),
            total: timings.total_us.into(),
        },
        resolver: borrowed(|facts| &facts.resolver),
        family: address.map(|address| if address.is_ipv4() { 4 } else { 6 }),
        attempt: result.attempt.max(1),
        on_demand: result.on_demand,
        late: i32::from(record.lane) == Lane::Backfill as i32,
        address,
        protocol: convert::protocol(result.protocol()).into(),
        status: u16::try_from(result.status).ok().filter(|status| *status != 0),
        edge,
        cnames: facts.map(|facts| facts.cnames.iter().map(|name| name.as_str().into()).collect()).unwrap_or_default(),
        issuer: borrowed(|facts| &facts.issuer),
        rcode: result.rcode_plus_one.checked_sub(1).map(rcode).unwrap_or_default(),
        last_hop: observe::address(&result.last_hop).map(|hop| hop.to_string().into()).unwrap_or_default(),
        ..ResultLine::new(record.agent.as_str(), target.as_str(), at, outcome)
    }
}

/// Mnemonic of a DNS response code, else its number. Source: the IANA registry "DNS RCODEs".
fn rcode(code: u32) -> Cow<'static, str> {
    let mnemonics = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    let known = usize::try_from(code).ok().and_then(|code| mnemonics.get(code).copied());
    known.map_or_else(|| code.to_string().into(), Cow::Borrowed)
}
