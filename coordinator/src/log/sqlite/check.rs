//! Check: whether a log is what was written. Reads alone, also while a coordinator has it open.
//!
//! Looked at: the store's own structure, the checksum and content of every record, change and count, whether changes are
//! numbered without holes, and whether what was admitted is there. What the coordinator would skip counts as damage.

use std::{collections::HashMap, path::Path};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde::Serialize;

use super::{
    Cursor, LogError,
    read::{COLUMNS, entry, last_cursor, record, records},
    schema::{self, SCHEMA},
    tally, trim,
};
use crate::{
    counts::By,
    observe::Observer,
    record::{Record, RecordKind},
};

/// Records read at once.
const CHUNK: usize = 1024;

/// Findings of each sort that are told one by one; all are counted.
const TOLD: usize = 100;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The newest thousand records and changes: takes milliseconds.
    Newest,
    /// Everything.
    Whole,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Version of the tables.
    pub schema: i64,
    /// Records looked at.
    pub records: u64,
    /// Changes looked at.
    pub changes: u64,
    /// How many findings there are.
    pub damaged: u64,
    /// Each of them, in words; the first hundred of each sort.
    pub findings: Vec<String>,
    #[serde(skip)]
    told: HashMap<&'static str, usize>,
}

impl Findings {
    fn add(&mut self, sort: &'static str, finding: String) {
        self.damaged += 1;
        let told = self.told.entry(sort).or_default();
        *told += 1;
        if *told <= TOLD {
            self.findings.push(finding);
        }
    }
}

/// Checks the log of a data directory; `progress` hears of the records looked at and of how many there are at most.
pub fn check(data: &Path, depth: Depth, mut progress: impl FnMut(u64, u64)) -> Result<Findings, LogError> {
    let path = data.join("log.sqlite");
    let fail = |source| LogError::Store { path: path.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
    let mut found = Findings { schema: schema::version(&connection).map_err(fail)?, ..Findings::default() };
    if found.schema > SCHEMA {
        return Err(LogError::Newer { path, found: found.schema, known: SCHEMA });
    }
    // All of it is looked at as it was at one moment.
    connection.execute_batch("BEGIN").map_err(fail)?;
    if depth == Depth::Whole {
        structure(&connection, &mut found).map_err(fail)?;
    }
    each_record(&connection, &path, depth, &mut found, &mut progress)?;
    changes(&connection, depth, &mut found).map_err(fail)?;
    admitted(&connection, &mut found).map_err(fail)?;
    if depth == Depth::Whole && found.schema >= 3 {
        let schema = found.schema;
        for by in [By::Target, By::Element].into_iter().filter(|by| schema >= tally::since(*by)) {
            let parts = tally::each(&connection, by, (i64::MIN, i64::MAX), |_, _, _| Ok::<_, rusqlite::Error>(()));
            match parts.map_err(fail)? {
                0 => {}
                parts => found.add("counts", format!("counts: {parts} parts are damaged")),
            }
        }
        let kept: i64 = connection.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).map_err(fail)?;
        let whole = tally::histories(&connection).map_err(fail)?.len();
        if usize::try_from(kept) != Ok(whole) {
            found.add("history", format!("histories of incidents: {kept} are kept, {whole} can be read"));
        }
    }
    Ok(found)
}

fn structure(connection: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let said: String = row.get(0)?;
                if said != "ok" {
                    for line in said.lines() {
                        found.add("store", format!("store: {line}"));
                    }
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                found.add("store", format!("store: {error}"));
                return Ok(());
            }
        }
    }
}

fn each_record(
    connection: &Connection,
    path: &Path,
    depth: Depth,
    found: &mut Findings,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), LogError> {
    let fail = |source| LogError::Store { path: path.to_owned(), source };
    let last = last_cursor(connection).map_err(fail)?;
    let first = if found.schema >= 3 { trim::trimmed(connection).map_err(fail)? } else { Cursor::START };
    let newest = last.0.saturating_sub(i64::try_from(CHUNK).unwrap_or(i64::MAX));
    let mut read = if depth == Depth::Whole { Cursor::START } else { Cursor(newest.max(first.0)) };
    let all = (last.0 - first.0).max(0).cast_unsigned();
    let mut observer = Observer::default();
    loop {
        let chunk = records(connection, path, read, CHUNK)?;
        let Some((end, _)) = chunk.last() else { return Ok(()) };
        read = *end;
        for (cursor, record) in chunk {
            found.records += 1;
            if let Err(error) = reads(&mut observer, &record) {
                found.add("record", format!("record {cursor}: {error}"));
            }
        }
        progress(found.records, all.max(found.records));
    }
}

/// Whether a record can be read as the fold reads it.
fn reads(observer: &mut Observer, record: &Record) -> Result<(), crate::observe::ObserveError> {
    match record.kind {
        RecordKind::Batch => observer.read_batch(record).map(|_| ()),
        _ => observer.observe(record).map(|_| ()),
    }
}

fn changes(connection: &Connection, depth: Depth, found: &mut Findings) -> rusqlite::Result<()> {
    let newest = if depth == Depth::Whole { i64::MAX } else { i64::try_from(CHUNK).unwrap_or(i64::MAX) };
    let mut statement = connection.prepare(
        "SELECT sequence, tick, published_at, crc32c, payload FROM change WHERE sequence > \
         (SELECT coalesce(max(sequence), 0) - ?1 FROM change) ORDER BY sequence",
    )?;
    let mut rows = statement.query([newest])?;
    let mut before: Option<i64> = (depth == Depth::Whole).then_some(0);
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let sequence: i64 = row.get(0)?;
                found.changes += 1;
                if let Some(before) = before.filter(|before| before + 1 != sequence) {
                    found.add("hole", format!("changes {} to {} are missing", before + 1, sequence - 1));
                }
                before = Some(sequence);
                if entry(row).is_none() {
                    found.add("change", format!("change {sequence}: checksum or content"));
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                found.add("change", format!("changes after {}: {error}", before.unwrap_or_default()));
                return Ok(());
            }
        }
    }
}

/// Whether the last batch of each lane that was admitted is there, unless it was trimmed.
fn admitted(connection: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    if found.schema < 3 {
        return Ok(()); // which record that is, those tables do not say
    }
    let trimmed = trim::trimmed(connection)?;
    let mut statement =
        connection.prepare("SELECT agent, incarnation, lane, number, last FROM admitted WHERE last > ?1")?;
    let mut rows = statement.query([trimmed.0])?;
    let mut look = connection.prepare(&format!("SELECT {COLUMNS} FROM record WHERE cursor = ?1"))?;
    while let Some(row) = rows.next()? {
        let (agent, incarnation, lane): (String, Vec<u8>, u8) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (number, last): (i64, i64) = (row.get(3)?, row.get(4)?);
        let batch = look.query_row([last], |row| Ok(record(row))).optional().unwrap_or(None);
        let is_it = batch.as_ref().is_some_and(|batch| {
            let place = (&batch.agent, &batch.incarnation, batch.lane, batch.number);
            place == (&agent, &incarnation, lane, number.cast_unsigned())
        });
        // One that is damaged is told already.
        let is_told = batch.is_some_and(|batch| batch.kind == RecordKind::Damaged);
        if !is_it && !is_told {
            let what = format!("{agent} lane {lane}: batch {number} was admitted and is not at record {last}");
            found.add("admitted", what);
        }
    }
    Ok(())
}
