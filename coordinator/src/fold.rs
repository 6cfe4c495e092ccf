//! The fold: records of the log, tick by tick, through observation and engine, to what is published.
//!
//! Rules: live and after a restart the same code reads the same records from the log, so that both come to the same
//! picture. Inside a tick the coordinator's own records come first, in order; batches follow in the order (agent, lane,
//! number), so that it does not matter which session was faster. What was published is never recomputed: up to the end
//! of that record the engine is silent, and if it disagrees afterwards, that is a new revision. A record that cannot be
//! read is named, counted and skipped, at each rebuild the same ones. What the engine wants looked
//! at again is returned by live ticks alone: what it wanted in the past is of no use. A restart goes on from a
//! [`snapshot`] where there is one.

pub mod check;
pub mod distrust;
mod keep;
pub mod snapshot;
mod snapshots;

use std::{collections::BTreeMap, sync::Arc};

use faultline_attribution::{Change, Engine, LookAgain, Output, Settings, State, Timestamp, Visibility, World};
use serde::{Deserialize, Serialize};

pub use self::{
    keep::Keep,
    snapshots::{Found, Snapshots},
};
use crate::{
    board::Board,
    feed::{Hub, Published},
    log::{Admission, Appended, ChangeLog, Cursor, Entry, LogError, RecordLog},
    observe::Observer,
    pace::Pace,
    record::{Record, RecordKind},
};

/// Records read at once. Source: one may be 256 KiB.
const CHUNK: usize = 512;

/// What can stop the fold.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log refused a tick.
    #[error("the log refused the coordinator's own record: {0:?}")]
    Refused(Appended),
}

/// The state of the fold.
pub struct Fold {
    log: Arc<dyn RecordLog>,
    changes: Arc<dyn ChangeLog>,
    engine: Engine,
    observer: Observer,
    /// Everything up to here was read.
    read: Cursor,
    /// Read, but not yet followed by a tick.
    waiting: Vec<(Cursor, Record)>,
    /// The last tick whose changes are published.
    published: Cursor,
    /// The last tick that was folded and whose changes are published; `None` while that is not so.
    folded: Option<(Cursor, Timestamp)>,
    /// The newest change published.
    sequence: u64,
    visibility: Visibility,
    damage: Damage,
    /// Who waits for what is folded.
    pace: Arc<Pace>,
}

/// Records that were skipped because they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// How many.
    pub records: u64,
    /// The last of them, and why.
    pub last: Option<(Cursor, String)>,
}

/// What the records up to one of them come to.
struct Folded {
    engine: Engine,
    observer: Observer,
    damage: Damage,
    /// The last tick in it.
    tick: Option<(Cursor, Timestamp)>,
}

impl Folded {
    /// Of no records.
    fn empty(settings: Settings) -> Self {
        let engine = Engine::new(World::default(), settings);
        Self { engine, observer: Observer::default(), damage: Damage::default(), tick: None }
    }

    /// The last record in it.
    fn read(&self) -> Cursor {
        self.tick.map_or(Cursor::START, |(cursor, _)| cursor)
    }
}

impl Fold {
    /// Rebuilds the state from the whole log. Changes that a crash kept from being published are published now. Returns the
    /// board as published.
    pub async fn rebuild(
        log: Arc<dyn RecordLog>,
        changes: Arc<dyn ChangeLog>,
        settings: Settings,
        now: Timestamp,
    ) -> Result<(Self, Board), FoldError> {
        let published = Self::published(&*changes).await?;
        Self::go_on(log, changes, Folded::empty(settings), published, now).await
    }

    /// The board as published, and the last tick of it.
    async fn published(changes: &dyn ChangeLog) -> Result<(Board, Cursor), FoldError> {
        let mut board = Board::new(changes.feed_id());
        let mut published = Cursor::START;
        loop {
            let entries = changes.published_after(board.sequence, CHUNK).await?;
            let Some(last) = entries.iter().map(|entry| entry.tick).max() else { break };
            // What no tick made says nothing of ticks.
            published = published.max(last);
            board.apply_all(&entries);
        }
        Ok((board, published))
    }

    /// Folds every record after the state's.
    async fn go_on(
        log: Arc<dyn RecordLog>,
        changes: Arc<dyn ChangeLog>,
        state: Folded,
        (mut board, published): (Board, Cursor),
        now: Timestamp,
    ) -> Result<(Self, Board), FoldError> {
        let mut fold = Self {
            log,
            changes,
            read: state.read(),
            engine: state.engine,
            observer: state.observer,
            damage: state.damage,
            folded: state.tick,
            waiting: Vec::new(),
            published,
            sequence: board.sequence,
            visibility: board.visibility.clone(),
            pace: Arc::default(),
        };
        let (entries, _of_the_past) = fold.catch_up(None).await?;
        board.apply_all(&entries);
        fold.pace.start(fold.waiting.iter().map(|(_, record)| batch_bytes(record)).sum());
        let corrections = fold.corrections(&board, now);
        if !corrections.is_empty() {
            let entries = fold.changes.publish(fold.published, now, corrections).await?;
            board.apply_all(&entries);
        }
        fold.sequence = board.sequence;
        Ok((fold, board))
    }

    /// What the observer knows: slot tables, places, sessions, targets.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Whether the engine has something to find out.
    pub fn is_attentive(&self) -> bool {
        self.engine.is_attentive()
    }

    /// Whether any incident goes on.
    pub fn any_open(&self) -> bool {
        self.engine.any_open()
    }

    /// Whom ingest waits for.
    pub fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// Lets time pass: records the tick, folds everything up to it, publishes what comes of it. Returns
    /// what should be looked at again. While the log is full no time passes.
    pub async fn tick(&mut self, now: Timestamp, hub: &Hub) -> Result<Vec<LookAgain>, FoldError> {
        faultline_proto::failpoint::reach("fold.tick.before");
        let tick = match self.log.append(Admission::Own, Record::tick(now)).await {
            Ok(Appended::At(tick)) => tick,
            Ok(refused) => return Err(FoldError::Refused(refused)),
            // Nothing is evaluated that a replay would not know of: the next tick takes all of it.
            Err(error) if error.is_full() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let turn = hub.turn().await;
        let (entries, looks) = self.catch_up(Some(tick)).await?;
        hub.publish(entries);
        drop(turn);
        self.visibility.evaluated_through = now;
        let mut board = hub.board();
        board.visibility = self.visibility.clone();
        board.damage = self.damage.clone();
        faultline_proto::failpoint::reach("fold.tick.after");
        Ok(looks)
    }

    /// Folds every record up to that tick, else up to the last of the log. Returns what was published, and the looks of the
    /// last tick. Agents go on sending meanwhile: what comes after the tick is for the next one, or none would ever end.
    async fn catch_up(&mut self, tick: Option<Cursor>) -> Result<(Vec<Entry>, Vec<LookAgain>), FoldError> {
        let (mut all, mut looks) = (Vec::new(), Vec::new());
        while tick.is_none_or(|tick| self.read < tick) {
            let records = self.log.next(self.read, CHUNK).await?;
            let Some((last, _)) = records.last() else { break };
            self.read = *last;
            for (cursor, record) in records {
                if record.kind == RecordKind::Tick {
                    self.folded = None;
                    let outputs = self.fold_tick(record.received_at);
                    looks = outputs.iter().filter_map(look).cloned().collect();
                    all.extend(self.publish(cursor, record.received_at, outputs).await?);
                    self.folded = Some((cursor, record.received_at));
                } else {
                    self.waiting.push((cursor, record));
                }
            }
        }
        Ok((all, looks))
    }

    fn fold_tick(&mut self, now: Timestamp) -> Vec<Output> {
        let Self { observer, engine, damage, waiting, pace, .. } = self;
        take_in(observer, engine, damage, std::mem::take(waiting), |record| pace.folded(batch_bytes(record)));
        self.engine.advance(now)
    }

    async fn publish(&mut self, tick: Cursor, now: Timestamp, outputs: Vec<Output>) -> Result<Vec<Entry>, FoldError> {
        for output in &outputs {
            if let Output::Visibility(visibility) = output {
                self.visibility = visibility.clone();
            }
        }
        let changes: Vec<_> = outputs
            .into_iter()
            .filter_map(|output| match output {
                Output::Change(change) => Some(Published::Incident(change)),
                Output::Cell(cell) => Some(Published::Cell(cell)),
                Output::Visibility(visibility) => Some(Published::Visibility(visibility)),
                Output::LookAgain(_) => None,
            })
            .collect();
        if tick <= self.published || changes.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.changes.publish(tick, now, changes).await?;
        self.published = tick;
        self.sequence = entries.last().map_or(self.sequence, |last| last.sequence);
        Ok(entries)
    }

    /// Where the rebuilt engine disagrees with what was published: new revisions.
    fn corrections(&self, board: &Board, now: Timestamp) -> Vec<Published> {
        let ours: BTreeMap<_, &Change> = self.engine.incidents().map(|change| (&change.incident, change)).collect();
        let mut corrections = Vec::new();
        for theirs in board.incidents() {
            let correction = match ours.get(&theirs.incident) {
                Some(ours) if same_claim(ours, theirs) => continue,
                Some(ours) => {
                    let (notes, retraction_reason) = (theirs.notes.clone(), theirs.retraction_reason.clone());
                    Change { revision: theirs.revision + 1, at: now, notes, retraction_reason, ..(*ours).clone() }
                }
                None if theirs.state.is_open() => Change {
                    revision: theirs.revision + 1,
                    at: now,
                    state: State::Retracted,
                    resolved_at: Some(now),
                    headline: format!("Taken back after a change of the engine: {}", theirs.headline),
                    ..theirs.clone()
                },
                None => continue,
            };
            corrections.push(Published::Incident(Box::new(correction)));
        }
        let known: Vec<_> = board.incidents().map(|change| &change.incident).collect();
        let missed = ours.into_iter().filter(|(incident, change)| !known.contains(incident) && change.state.is_open());
        corrections.extend(missed.map(|(_, change)| Published::Incident(Box::new(change.clone()))));
        corrections
    }
}

impl Damage {
    /// Notes that a record was skipped, and says so.
    fn note(&mut self, cursor: Cursor, why: String) {
        tracing::error!(%cursor, why, "log record skipped");
        self.records += 1;
        self.last = Some((cursor, why));
    }
}

/// Takes in the records of a tick, in their order; `taken` hears of each.
fn take_in(
    observer: &mut Observer,
    engine: &mut Engine,
    damage: &mut Damage,
    mut records: Vec<(Cursor, Record)>,
    taken: impl Fn(&Record),
) {
    let place = |(cursor, record): &(Cursor, Record)| match record.kind {
        RecordKind::Batch => (1, record.agent.clone(), record.epoch, record.lane, record.number, Cursor::START),
        _ => (0, String::new(), 0, 0, 0, *cursor),
    };
    records.sort_by_cached_key(place);
    for (cursor, record) in records {
        match observer.observe(&record) {
            Ok(inputs) => inputs.iter().for_each(|input| engine.apply(input)),
            Err(error) => damage.note(cursor, error.to_string()),
        }
        taken(&record);
    }
}

/// What a record takes up of the way that ingest may be ahead.
fn batch_bytes(record: &Record) -> usize {
    if record.kind == RecordKind::Batch { record.payload.len() } else { 0 }
}

fn look(output: &Output) -> Option<&LookAgain> {
    match output {
        Output::LookAgain(look) => Some(look),
        _ => None,
    }
}

/// Whether two revisions accuse the same and are equally far.
fn same_claim(ours: &Change, theirs: &Change) -> bool {
    (ours.state, ours.verdict, &ours.element) == (theirs.state, theirs.verdict, &theirs.element)
}

#[cfg(test)]
mod tests;
