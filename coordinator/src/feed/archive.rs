//! The archive: incidents beyond the board. Revisions that left it come from the change log, which keeps them for ever; what
//! stays of the results comes from the kept history, or, while there is none yet, from the log itself.
//!
//! Rules: reading happens off the async threads, one at a time, and never under the board's lock; a look reads `RECORDS`
//! records at most, and the next one goes on from there, so that a page is never far behind and never expensive; an incident
//! is looked at again once a minute, or when it has a new revision; of `KEPT` incidents the pictures are kept. A reader who
//! leaves stops nothing and starts nothing anew.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultline_attribution::{Change, IncidentId, Timestamp};
use faultline_proto::clock::Clock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task, time,
};

use super::plot::{self, Figure};
use crate::{
    counts::Runs,
    history::History,
    log::{Cursor, LogError, sqlite::SqliteReader},
};

/// Records read for one look at an incident. A fleet of 50 agents makes some 1,500 a minute.
const RECORDS: usize = 20_000;

/// Records read at once.
const CHUNK: usize = 1024;

/// Incidents whose pictures are kept.
const KEPT: usize = 64;

/// How long a reader waits for another one's reading; after that the older picture has to do, or none.
const PATIENCE: Duration = Duration::from_secs(3);

/// Results of an incident that come so long after its end are not counted in.
const LATE: Duration = Duration::from_mins(10);

/// What stays of an incident's results, drawn.
#[derive(Debug)]
pub struct Past {
    /// The counts.
    pub history: History,
    /// The pictures of them.
    pub figures: Vec<Figure>,
}

/// Why the archive cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Others are being answered.
    #[error("the log is being read for others: try again")]
    Busy,
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The incidents of one data directory.
#[derive(Clone)]
pub struct Archive {
    room: Arc<Room>,
    reading: Arc<Semaphore>,
}

struct Room {
    data: PathBuf,
    clock: Clock,
    kept: Mutex<BTreeMap<IncidentId, Kept>>,
}

/// What is kept of one incident.
struct Kept {
    /// The revision and the minute that it was drawn for; the minute is none where nothing more can come.
    revision: u64,
    minute: Option<i64>,
    past: Option<Arc<Past>>,
    reading: Option<Reading>,
}

/// How far the log was read.
struct Reading {
    history: History,
    runs: Runs,
    read: Cursor,
    is_whole: bool,
}

impl Archive {
    /// The archive of a data directory.
    pub fn of(data: PathBuf, clock: Clock) -> Self {
        let room = Room { data, clock, kept: Mutex::default() };
        Self { room: Arc::new(room), reading: Arc::new(Semaphore::new(1)) }
    }

    /// Every revision of an incident that was ever published, oldest first; empty if there is no such incident.
    pub async fn revisions(&self, incident: &IncidentId) -> Result<Vec<Change>, ArchiveError> {
        let permit = self.permit().await.ok_or(ArchiveError::Busy)?;
        let (room, incident) = (Arc::clone(&self.room), incident.clone());
        let read = task::spawn_blocking(move || {
            let revisions = SqliteReader::open(&room.data)?.revisions(&incident);
            drop(permit);
            revisions
        });
        Ok(read.await.map_err(|_| ArchiveError::Busy)??)
    }

    /// What stays of the results of the incident with these revisions, drawn; as of the last minute or so. `None` where there is
    /// nothing, or it cannot be read now.
    pub async fn past(&self, revisions: Vec<Change>) -> Option<Arc<Past>> {
        let newest = revisions.last()?;
        let (incident, revision) = (newest.incident.clone(), newest.revision);
        if !self.room.is_fresh(&incident, revision)
            && let Some(permit) = self.permit().await
            // Another reader may have looked meanwhile.
            && !self.room.is_fresh(&incident, revision)
        {
            let room = Arc::clone(&self.room);
            // It goes on if the reader leaves, so that the next one finds it done.
            let looked = task::spawn_blocking(move || {
                if let Err(error) = room.look(&revisions) {
                    tracing::warn!(%error, "the results of an incident cannot be read");
                }
                drop(permit);
            });
            drop(looked.await);
        }
        self.room.kept().get(&incident).and_then(|kept| kept.past.clone())
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        time::timeout(PATIENCE, Arc::clone(&self.reading).acquire_owned()).await.ok()?.ok()
    }
}

impl Room {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<IncidentId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now_micros())
    }

    /// Whether what is kept is not due again.
    fn is_fresh(&self, incident: &IncidentId, revision: u64) -> bool {
        self.kept().get(incident).is_some_and(|kept| {
            kept.revision == revision && kept.minute.is_none_or(|minute| minute == minute_of(self.now()))
        })
    }

    /// Looks at an incident, and keeps what it finds.
    fn look(&self, revisions: &[Change]) -> Result<(), LogError> {
        let (Some(newest), now) = (revisions.last(), self.now()) else { return Ok(()) };
        let log = SqliteReader::open(&self.data)?;
        let (mut history, mut reading) = (log.history(&newest.incident)?, None);
        let mut is_final = history.is_some();
        if history.is_none() {
            let begun = self.kept().get_mut(&newest.incident).and_then(|kept| kept.reading.take());
            reading = read(&log, begun, revisions, now)?;
            history = reading.as_ref().map(|reading| reading.history.clone());
            is_final = reading.as_ref().is_some_and(|reading| reading.is_whole);
        }
        let past = history.map(|history| Arc::new(Past { figures: plot::figures(&history, newest), history }));
        let minute = (!is_final).then(|| minute_of(now));
        let mut kept = self.kept();
        kept.insert(newest.incident.clone(), Kept { revision: newest.revision, minute, past, reading });
        if kept.len() > KEPT {
            // The oldest other incident: the one that is asked for least.
            let oldest = kept.keys().find(|other| **other != newest.incident).cloned();
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        Ok(())
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(60_000_000)
}

/// The history of an incident out of the log: all of it.
pub fn history(log: &SqliteReader, revisions: &[Change], now: Timestamp) -> Result<Option<History>, LogError> {
    if let Some(newest) = revisions.last()
        && let Some(history) = log.history(&newest.incident)?
    {
        return Ok(Some(history));
    }
    let mut reading = None;
    loop {
        let before = reading.as_ref().map(|reading: &Reading| reading.read);
        reading = read(log, reading, revisions, now)?;
        let Some(reading) = &reading else { return Ok(None) };
        if reading.is_whole || before == Some(reading.read) {
            return Ok(Some(reading.history.clone()));
        }
    }
}

/// Reads on from where it was left, `RECORDS` at most; from the beginning where the incident is told otherwise by now.
fn read(
    log: &SqliteReader,
    begun: Option<Reading>,
    revisions: &[Change],
    now: Timestamp,
) -> Result<Option<Reading>, LogError> {
    let Some(wanted) = History::so_far(revisions, now) else { return Ok(None) };
    let goes_on = |reading: &Reading| {
        let History { from, onset_at, targets, element, .. } = &reading.history;
        (from, onset_at, targets, element) == (&wanted.from, &wanted.onset_at, &wanted.targets, &wanted.element)
    };
    let mut reading = if let Some(mut reading) = begun.filter(goes_on) {
        reading.history.to = wanted.to;
        reading
    } else {
        let read = log.before(wanted.from)?;
        let mut runs = Runs::default();
        for (_, record) in log.own(read)? {
            runs.take(&record, |_| {});
        }
        Reading { history: wanted, runs, read, is_whole: false }
    };
    let is_over = revisions.last().is_some_and(|newest| newest.resolved_at.is_some());
    let end = reading.history.to.after(LATE);
    let mut left = RECORDS;
    while left > 0 && !reading.is_whole {
        let records = log.next(reading.read, CHUNK.min(left))?;
        let Some((last, _)) = records.last() else { break };
        reading.read = *last;
        left -= records.len();
        for (_, record) in &records {
            reading.is_whole |= is_over && record.received_at > end;
            reading.runs.take(record, |run| reading.history.take(&run));
        }
    }
    Ok(Some(reading))
}

#[cfg(test)]
mod tests;
