//! Retention: what leaves the log, and when.
//!
//! Once an hour: what came since the last time is counted, incidents that ended get their history, results that are too old or too many are trimmed, free pages go
//! back to the file system, counts go after [`COUNTS`]. Changes stay for ever. Rules: it works in short steps with pauses
//! between them, so that no append waits for it; nothing is trimmed that is not counted, that came in the last
//! `RECENT`, or that a restart would have to read since no snapshot covers it; a clock that jumped while the process ran
//! trims nothing; what fails is said and tried again an hour later, and ends nothing.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use tokio::{
    task,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    counts::{self, Counter, Runs},
    log::{
        Cursor, LogError, RecordLog as _,
        sqlite::{SqliteLog, SqliteReader, Upkeep},
    },
};

/// How long counts stay.
pub const COUNTS: Duration = Duration::from_hours(400 * 24);

/// Time between two rounds of upkeep.
const EVERY: Duration = Duration::from_hours(1);

/// Time from the start to the first: a start has better things to do.
const FIRST: Duration = Duration::from_mins(1);

/// What came so lately stays, however much it is: the engine's windows reach back so far.
const RECENT: Duration = Duration::from_mins(15);

/// Results of an incident that come so long after its end are not in its history.
const LATE: Duration = Duration::from_mins(10);

/// A clock that went on by so much more or less than time did has jumped.
const JUMP: Duration = Duration::from_hours(1);

/// Records read at once.
const CHUNK: usize = 1024;

/// Results counted in one transaction.
const COUNTED: usize = 100_000;

/// For how long results stay, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Results that came longer ago go.
    pub results_for: Duration,
    /// The oldest results go while the log holds more bytes than this.
    pub results_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { results_for: Duration::from_hours(7 * 24), results_bytes: 10 << 30 }
    }
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Results counted.
    pub counted: usize,
    /// How far the log is trimmed.
    pub trimmed: Cursor,
}

/// The last record that a trim may take; `None` where there is no such limit.
pub type Covered = Arc<dyn Fn() -> Option<Cursor> + Send + Sync>;

/// Keeps a log in its limits.
pub struct Keeper {
    log: Arc<SqliteLog>,
    data: PathBuf,
    retention: Retention,
    clock: Clock,
    covered: Covered,
    began: (Instant, i64),
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("retention", &self.retention).finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper of the log in this data directory.
    pub fn new(log: Arc<SqliteLog>, data: PathBuf, retention: Retention, clock: Clock, covered: Covered) -> Self {
        Self { log, data, retention, clock, covered, began: (Instant::now(), clock.now_micros()) }
    }

    /// Round after round, until it is stopped.
    pub async fn run(self, stopped: CancellationToken) {
        let mut rounds = time::interval_at(Instant::now() + self.clock.real(FIRST), self.clock.real(EVERY));
        rounds.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                _ = rounds.tick() => {}
            }
            let round = tokio::select! {
                () = stopped.cancelled() => return,
                round = self.round() => round,
            };
            match round {
                Ok(round) => tracing::debug!(counted = round.counted, trimmed = %round.trimmed, "log kept"),
                Err(error) if error.is_full() => tracing::warn!(%error, "log not trimmed"),
                Err(error) => tracing::error!(%error, "log not trimmed"),
            }
        }
    }

    /// One round.
    pub async fn round(&self) -> Result<Round, LogError> {
        let counted = self.count().await?;
        self.tell_histories().await?;
        let now = Timestamp::from_micros(self.clock.now_micros());
        let jumped = self.jump();
        if jumped > JUMP {
            tracing::warn!(by_s = jumped.as_secs(), "the clock jumped: nothing is trimmed until the next start");
        } else {
            self.trim(now).await?;
        }
        loop {
            let began = Instant::now();
            if self.log.vacuum().await? == 0 {
                break;
            }
            time::sleep(began.elapsed()).await;
        }
        Ok(Round { counted, trimmed: self.upkeep().await?.trimmed })
    }

    /// How far the clock and the passing of time are apart since the keeper was made.
    fn jump(&self) -> Duration {
        let (began, began_micros) = self.began;
        let shown = i128::from(self.clock.now_micros()) - i128::from(began_micros);
        let passed = i128::try_from(self.clock.since(began).as_micros()).unwrap_or(i128::MAX);
        Duration::from_micros(u64::try_from((shown - passed).unsigned_abs()).unwrap_or(u64::MAX))
    }

    /// Counts what came since the last time. Returns how many results that were.
    async fn count(&self) -> Result<usize, LogError> {
        let Upkeep { counted: mut read, last, .. } = self.upkeep().await?;
        let mut counter = Counter::default();
        for (cursor, record) in self.read(move |log| log.own(read)).await? {
            counter.take(cursor, &record);
        }
        let forgotten_before = counts::hour(Timestamp::from_micros(self.clock.now_micros()).before(COUNTS));
        let mut all = 0;
        while read < last {
            let records = self.read(move |log| log.next(read, CHUNK)).await?;
            let Some((newest, _)) = records.last() else { break };
            read = *newest;
            counter = task::spawn_blocking(move || {
                for (cursor, record) in &records {
                    counter.take(*cursor, record);
                }
                counter
            })
            .await
            .map_err(|_| LogError::Closed(self.data.clone()))?;
            if counter.results() >= COUNTED || read >= last {
                all += counter.results();
                let tally = counter.tally();
                self.log.tally(counts::Tally { forgotten_before, ..tally }).await?;
            }
        }
        Ok(all)
    }

    /// Tells the history of each incident that has ended since the last time.
    async fn tell_histories(&self) -> Result<(), LogError> {
        let mut histories = self.read(SqliteReader::without_history).await?;
        let (Some(from), Some(to)) =
            (histories.iter().map(|history| history.from).min(), histories.iter().map(|history| history.to).max())
        else {
            return Ok(());
        };
        // What came by then: later results are late, and change nothing that was published.
        let to = to.after(LATE);
        let mut read = self.read(move |log| log.before(from)).await?;
        let mut runs = Runs::default();
        for (_, record) in self.read(move |log| log.own(read)).await? {
            runs.take(&record, |_| {});
        }
        loop {
            let records = self.read(move |log| log.next(read, CHUNK)).await?;
            let Some((newest, _)) = records.last() else { break };
            read = *newest;
            let is_last = records.iter().any(|(_, record)| record.received_at > to);
            (runs, histories) = task::spawn_blocking(move || {
                for (_, record) in &records {
                    runs.take(record, |run| histories.iter_mut().for_each(|history| history.take(&run)));
                }
                (runs, histories)
            })
            .await
            .map_err(|_| LogError::Closed(self.data.clone()))?;
            if is_last {
                break;
            }
        }
        for history in histories {
            self.log.keep_history(history).await?;
        }
        Ok(())
    }

    async fn trim(&self, now: Timestamp) -> Result<(), LogError> {
        let bound = (self.covered)();
        let may_go = |upkeep: &Upkeep| upkeep.counted.min(bound.unwrap_or(upkeep.counted));
        let (old, recent) = (now.before(self.retention.results_for), now.before(RECENT));
        loop {
            let upkeep = self.upkeep().await?;
            let stamps = self.read(move |log| log.stamps(upkeep.trimmed, CHUNK)).await?;
            let is_too_much = upkeep.used_bytes > self.retention.results_bytes;
            let limit = if is_too_much { recent } else { old };
            // What was stamped by a clock ahead of time says nothing, and holds nothing up.
            let goes = stamps.iter().take_while(|(_, at)| *at < limit || *at > now).last();
            let Some((through, _)) = goes else { return Ok(()) };
            let through = (*through).min(may_go(&upkeep));
            if through <= upkeep.trimmed {
                return Ok(());
            }
            let mut reached = upkeep.trimmed;
            while reached < through {
                let began = Instant::now();
                reached = self.log.trim(through).await?;
                time::sleep(began.elapsed()).await;
                if is_too_much && self.upkeep().await?.used_bytes <= self.retention.results_bytes {
                    break;
                }
            }
        }
    }

    async fn upkeep(&self) -> Result<Upkeep, LogError> {
        self.read(SqliteReader::upkeep).await
    }

    /// Reads beside the coordinator's own reading.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SqliteReader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let data = self.data.clone();
        let closed = LogError::Closed(data.clone());
        task::spawn_blocking(move || read(&SqliteReader::open(&data)?)).await.map_err(|_| closed)?
    }
}

#[cfg(test)]
mod tests;
