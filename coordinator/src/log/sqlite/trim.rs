//! Trim: old results leave the log, and what later records refer to stays.
//!
//! A trim goes on from where the last one ended, in short steps, each one transaction. Ticks and batches go. Of the catalog,
//! ranges, of each agent's slot table, place and session, and of each incident's retraction the newest stays, where it is. Of each spool the newest batch
//! that went stays without its results, with the facts that were announced and the losses that were told up to there: so what
//! is left reads as it read before. The table `kept` names what stayed, and `meta.trimmed` how far the trim came.
//!
//! Rule: an agent refers to none but the newest [`FACTS`] that it announced in an incarnation; older ones go.

use std::collections::BTreeMap;

use faultline_proto::{
    agent::v1::{Loss, ResultBatch},
    types::v1::Facts,
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Cursor,
    read::{COLUMNS, last_cursor, record},
    writer::insert,
};
use crate::record::{Record, RecordKind};

/// Records and payload of one step: what two cores and a slow disk do in well under 50 ms.
const STEP_RECORDS: usize = 512;
const STEP_BYTES: usize = 2 << 20;

/// Facts that an agent may still refer to. Source: an agent forgets all of its facts when it knows 10,000 of them.
const FACTS: usize = 10_000;

/// Pages given back to the file system in one step.
const VACUUM_PAGES: u32 = 128;

/// Free pages that stay in the file for the records of the next hours. 16 MiB.
const SLACK_PAGES: i64 = 1024;

/// How far the trim came.
pub(super) fn trimmed(connection: &Connection) -> rusqlite::Result<Cursor> {
    let through: Option<i64> = connection
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'trimmed'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Cursor(through.unwrap_or_default()))
}

/// What goes of a spool in a step, and what must stay of it.
struct Spool {
    newest: Cursor,
    record: Record,
    said: Said,
}

/// What batches say beside their results.
#[derive(Default)]
struct Said {
    facts: BTreeMap<u32, Facts>,
    losses: BTreeMap<i32, Loss>,
}

/// One step: drops records up to the cursor, some of them. Returns how far the trim came.
pub(super) fn step(transaction: &Transaction<'_>, through: Cursor) -> rusqlite::Result<Cursor> {
    let from = trimmed(transaction)?;
    let through = through.min(last_cursor(transaction)?);
    let (mut own, mut spools) = (BTreeMap::new(), BTreeMap::new());
    let (mut end, mut bytes) = (from, 0);
    let mut is_last = true;
    {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE cursor > ?1 AND cursor <= ?2 ORDER BY cursor");
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query([from.0, through.0])?;
        for read in 0.. {
            let Some(row) = rows.next()? else { break };
            if read >= STEP_RECORDS || bytes >= STEP_BYTES {
                is_last = false;
                break;
            }
            end = Cursor(row.get(0)?);
            let record = record(row);
            bytes += record.payload.len();
            take(end, record, &mut own, &mut spools);
        }
    }
    if is_last {
        end = through.max(from);
    }
    let stays: Vec<i64> = own.values().map(|cursor: &Cursor| cursor.0).collect();
    let list = serde_json::to_string(&stays).unwrap_or_default();
    transaction
        .prepare_cached(
            "DELETE FROM record WHERE cursor > ?1 AND cursor <= ?2 AND cursor NOT IN (SELECT value FROM json_each(?3))",
        )?
        .execute(params![from.0, end.0, list])?;
    for ((kind, agent), cursor) in own {
        keep(transaction, kind, &agent, &[], cursor)?;
    }
    for spool in spools.into_values() {
        carry(transaction, spool)?;
    }
    transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('trimmed', CAST(?1 AS TEXT))")?.execute([end.0])?;
    Ok(end)
}

fn take(
    cursor: Cursor,
    record: Record,
    own: &mut BTreeMap<(RecordKind, String), Cursor>,
    spools: &mut BTreeMap<(String, Vec<u8>), Spool>,
) {
    match record.kind {
        RecordKind::Tick | RecordKind::Note | RecordKind::Damaged => {}
        RecordKind::Batch => {
            let Ok(batch) = ResultBatch::decode(record.payload.clone()) else { return };
            if batch.facts.is_empty() && batch.losses.is_empty() {
                return;
            }
            let place = (record.agent.clone(), record.incarnation.clone());
            let spool = spools.entry(place).or_insert_with(|| Spool {
                newest: cursor,
                record: record.clone(),
                said: Said::default(),
            });
            spool.said.add(batch);
            (spool.newest, spool.record) = (cursor, record);
        }
        _ => {
            own.insert((record.kind, record.agent), cursor);
        }
    }
}

impl Said {
    fn add(&mut self, batch: ResultBatch) {
        self.facts.extend(batch.facts.into_iter().map(|facts| (facts.number, facts)));
        for loss in batch.losses {
            let sum = self.losses.entry(loss.reason).or_insert(Loss {
                reason: loss.reason,
                since: loss.since,
                ..Loss::default()
            });
            sum.results = sum.results.saturating_add(loss.results);
            sum.until = loss.until;
        }
    }
}

/// Leaves of a spool what later batches refer to, in the place of the newest batch that goes.
fn carry(transaction: &Transaction<'_>, spool: Spool) -> rusqlite::Result<()> {
    let Record { agent, incarnation, .. } = &spool.record;
    let before = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM record WHERE cursor = (SELECT cursor FROM kept WHERE kind = 1 AND agent = ?1 AND \
             incarnation = ?2)"
        ))?
        .query_row(params![agent, incarnation], |row| Ok(record(row)))
        .optional()?;
    let mut said = Said::default();
    let before = before.and_then(|before| ResultBatch::decode(before.payload).ok());
    for batch in before.into_iter().chain([spool.said.into()]) {
        said.add(batch);
    }
    while said.facts.len() > FACTS {
        said.facts.pop_first();
    }
    let batch = ResultBatch { lane: spool.record.lane.into(), number: spool.record.number, ..ResultBatch::from(said) };
    let record = Record { payload: batch.encode_to_vec().into(), ..spool.record };
    insert(transaction, Some(spool.newest), &record)?;
    keep(transaction, RecordKind::Batch, &record.agent, &record.incarnation, spool.newest)?;
    // Nobody refers to what a spool said that is forgotten.
    let forgotten = "FROM kept WHERE kind = 1 AND agent = ?1 AND NOT EXISTS (SELECT 1 FROM admitted WHERE admitted.agent = \
                     kept.agent AND admitted.incarnation = kept.incarnation)";
    transaction
        .prepare_cached(&format!("DELETE FROM record WHERE cursor IN (SELECT cursor {forgotten})"))?
        .execute([&record.agent])?;
    transaction.prepare_cached(&format!("DELETE {forgotten}"))?.execute([&record.agent])?;
    Ok(())
}

impl From<Said> for ResultBatch {
    fn from(said: Said) -> Self {
        Self {
            facts: said.facts.into_values().collect(),
            losses: said.losses.into_values().collect(),
            ..Self::default()
        }
    }
}

/// Notes what stays, and drops what stayed before it.
fn keep(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    agent: &str,
    incarnation: &[u8],
    cursor: Cursor,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM record WHERE cursor = (SELECT cursor FROM kept WHERE kind = ?1 AND agent = ?2 AND \
             incarnation = ?3)",
        )?
        .execute(params![kind as u8, agent, incarnation])?;
    transaction.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        kind as u8,
        agent,
        incarnation,
        cursor.0
    ])?;
    Ok(())
}

/// One step of giving free pages back to the file system. Returns how many more there are to give.
pub(super) fn vacuum(connection: &Connection) -> rusqlite::Result<u64> {
    let gives: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    let free = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))
    };
    if gives == 0 || free(connection)? <= SLACK_PAGES {
        return Ok(0);
    }
    // The pragma gives one page a row.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok((free(connection)? - SLACK_PAGES).max(0).cast_unsigned())
}

/// Bytes of the file that hold something.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok((pages * number("page_size")?).max(0).cast_unsigned())
}
