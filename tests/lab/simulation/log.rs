//! The coordinator's log on a disk that is made up: it keeps what was committed, and nothing else, across a crash.
//!
//! One writer with group commit, as the log in SQLite has it: what waits is decided in order, written at once, and answered
//! once it is durable. A commit takes a while; a crash meanwhile leaves all of it or nothing of it, as a draw says. A disk
//! that is full refuses the commit whole.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use faultline_attribution::Timestamp;
use faultline_coordinator::{
    feed::Published,
    log::{Admission, Appended, ChangeLog, Cursor, Entry, INCARNATIONS, LogError, RecordLog},
    record::{Record, RecordKind},
};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

/// Requests that wait for the writer; beyond it callers wait.
const QUEUE: usize = 1024;

/// Requests in one commit.
const GROUP: usize = 512;

/// What survives a crash of the coordinator.
pub struct Disk {
    kept: Mutex<Kept>,
    feed_id: String,
}

struct Kept {
    durable: State,
    /// Being written.
    under_way: Option<State>,
    draw: Xoshiro256PlusPlus,
    latency: Duration,
    is_full: bool,
    /// The process dies in this many commits.
    dies_in: Option<u32>,
    is_dead: bool,
    /// When records became durable.
    stored_at: Vec<Duration>,
}

/// Records and what admission knows of them.
#[derive(Clone, Default)]
struct State {
    records: Vec<Arc<Record>>,
    admitted: BTreeMap<(String, Vec<u8>, u8), u64>,
    epochs: BTreeMap<String, u64>,
    /// Incarnations by agent, the one that was used last at the end.
    spools: BTreeMap<String, Vec<Vec<u8>>>,
    changes: Vec<Entry>,
}

/// What a log held at one time.
#[derive(Clone)]
pub struct Backup(State);

/// The log.
pub struct ModelLog {
    disk: Arc<Disk>,
    writer: mpsc::Sender<Request>,
}

enum Request {
    Append(Admission, Box<Record>, oneshot::Sender<Result<Appended, LogError>>),
    Publish(Cursor, Timestamp, Vec<Published>, oneshot::Sender<Result<Vec<Entry>, LogError>>),
}

enum Answer {
    Append(oneshot::Sender<Result<Appended, LogError>>, Appended),
    Publish(oneshot::Sender<Result<Vec<Entry>, LogError>>, Vec<Entry>),
}

impl Disk {
    /// An empty disk whose commits take no time.
    pub fn new(seed: u64) -> Self {
        let kept = Kept {
            durable: State::default(),
            under_way: None,
            draw: Xoshiro256PlusPlus::seed_from_u64(seed),
            latency: Duration::ZERO,
            is_full: false,
            dies_in: None,
            is_dead: false,
            stored_at: Vec::new(),
        };
        Self { kept: Mutex::new(kept), feed_id: format!("simulated-{seed}") }
    }

    /// A commit takes up to this.
    pub fn set_latency(&self, latency: Duration) {
        self.kept().latency = latency;
    }

    /// Refuses commits, or takes them again.
    pub fn set_full(&self, is_full: bool) {
        self.kept().is_full = is_full;
    }

    /// The process dies in the middle of the commit that comes after so many.
    pub fn die_in(&self, commits: u32) {
        self.kept().dies_in = Some(commits);
    }

    /// It does not die after all.
    pub fn spare(&self) {
        self.kept().dies_in = None;
    }

    /// Whether the process died by itself: nothing may leave it any more.
    pub fn is_dead(&self) -> bool {
        self.kept().is_dead
    }

    /// What a crash leaves: of a commit under way all or nothing.
    pub fn crash(&self) {
        let mut kept = self.kept();
        if let Some(state) = kept.under_way.take()
            && kept.draw.random()
        {
            kept.make_durable(state);
        }
        (kept.is_dead, kept.dies_in) = (false, None);
    }

    /// What is durable, to restore it later.
    pub fn backup(&self) -> Backup {
        Backup(self.kept().durable.clone())
    }

    /// Puts a copy in the place of what is durable. Returns how many records went with that.
    ///
    /// # Panics
    /// While a process has the log.
    pub fn restore(&self, Backup(state): Backup) -> usize {
        let mut kept = self.kept();
        assert!(kept.under_way.is_none(), "restored under a running process");
        let gone = kept.durable.records.len() - state.records.len();
        kept.stored_at.truncate(state.records.len());
        kept.durable = state;
        gone
    }

    /// Every durable record, in order.
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.kept().durable.records.clone()
    }

    /// Durable records from this place on, counted from 0, and when each became that.
    pub fn records_from(&self, first: usize) -> Vec<(Duration, Arc<Record>)> {
        let kept = self.kept();
        let records = kept.durable.records.iter().skip(first).cloned();
        kept.stored_at.iter().skip(first).copied().zip(records).collect()
    }

    /// Every durable batch, in order.
    pub fn batches(&self) -> Vec<Arc<Record>> {
        self.records().into_iter().filter(|record| record.kind == RecordKind::Batch).collect()
    }

    /// The last number that is durable in a lane.
    pub fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> u64 {
        self.kept().durable.admitted(agent, incarnation, lane)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides a group and begins to write it. `None` for a process that is dead.
    fn begin(&self, group: Vec<Request>) -> Option<(Vec<Answer>, Duration)> {
        let mut kept = self.kept();
        let mut state = kept.durable.clone();
        let answers = group
            .into_iter()
            .map(|request| match request {
                Request::Append(admission, record, answer) => Answer::Append(answer, state.append(admission, *record)),
                Request::Publish(tick, at, changes, answer) => {
                    Answer::Publish(answer, state.publish(tick, at, changes))
                }
            })
            .collect();
        kept.under_way = Some(state);
        if let Some(left) = &mut kept.dies_in {
            *left = left.saturating_sub(1);
            kept.is_dead = *left == 0;
        }
        let share: f64 = kept.draw.random();
        (!kept.is_dead).then(|| (answers, kept.latency.mul_f64(share)))
    }

    /// Ends what was begun; `false` when the disk did not take it.
    fn end(&self) -> bool {
        let mut kept = self.kept();
        let state = kept.under_way.take();
        if kept.is_full {
            return false;
        }
        if let Some(state) = state {
            kept.make_durable(state);
        }
        true
    }
}

impl Kept {
    fn make_durable(&mut self, state: State) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        self.stored_at.resize(state.records.len(), now);
        self.durable = state;
    }
}

impl State {
    fn append(&mut self, admission: Admission, record: Record) -> Appended {
        if let Admission::Batch { first_number } = admission {
            if self.epochs.get(&record.agent) != Some(&record.epoch) {
                return Appended::Fenced;
            }
            let last = self.admitted(&record.agent, &record.incarnation, record.lane);
            if record.number <= last {
                return Appended::Duplicate { durable: last };
            }
            let expected = (last + 1).max(first_number);
            if record.number > expected {
                return Appended::Gap { expected };
            }
            self.admitted.insert((record.agent.clone(), record.incarnation.clone(), record.lane), record.number);
            self.used(&record.agent, &record.incarnation);
        }
        let place = self.records.len() as u64 + 1;
        if admission == Admission::Session {
            self.epochs.insert(record.agent.clone(), place);
        }
        self.records.push(Arc::new(record));
        Appended::At(Cursor::nth(place.cast_signed()))
    }

    /// Notes that the incarnation is in use, and forgets the one that was used before all others if they are too many.
    fn used(&mut self, agent: &str, incarnation: &[u8]) {
        let spools = self.spools.entry(agent.to_owned()).or_default();
        spools.retain(|known| known != incarnation);
        spools.push(incarnation.to_vec());
        if spools.len() > INCARNATIONS {
            let oldest = spools.remove(0);
            self.admitted.retain(|(of, known, _), _| of != agent || *known != oldest);
        }
    }

    fn publish(&mut self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Vec<Entry> {
        let first = self.changes.len();
        for published in changes {
            let sequence = self.changes.len() as u64 + 1;
            self.changes.push(Entry { sequence, tick, published_at: at, published });
        }
        self.changes[first..].to_vec()
    }

    fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> u64 {
        let key = (agent.to_owned(), incarnation.to_owned(), lane);
        self.admitted.get(&key).copied().unwrap_or_default()
    }
}

impl ModelLog {
    /// A process that has the disk's log open. The future is its writer, and never ends.
    pub fn start(disk: &Arc<Disk>) -> (Self, impl Future<Output = ()> + use<>) {
        let (writer, requests) = mpsc::channel(QUEUE);
        (Self { disk: Arc::clone(disk), writer }, write(Arc::clone(disk), requests))
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request) -> Result<T, LogError> {
        let (sender, answer) = oneshot::channel();
        self.writer.send(ask(sender)).await.map_err(|_| LogError::Closed(place()))?;
        answer.await.map_err(|_| LogError::Closed(place()))?
    }
}

async fn write(disk: Arc<Disk>, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = requests.try_recv()
        {
            group.push(next);
        }
        let Some((answers, latency)) = disk.begin(group) else { break };
        if !latency.is_zero() {
            time::sleep(latency).await;
        }
        let is_written = disk.end();
        for answer in answers {
            match answer {
                Answer::Append(answer, appended) => drop(answer.send(if is_written { Ok(appended) } else { full() })),
                Answer::Publish(answer, entries) => drop(answer.send(if is_written { Ok(entries) } else { full() })),
            }
        }
    }
    std::future::pending::<()>().await;
}

fn full<T>() -> Result<T, LogError> {
    Err(LogError::Full { path: place(), why: "the simulated disk is full".to_owned() })
}

fn place() -> PathBuf {
    PathBuf::from("simulated")
}

#[async_trait]
impl RecordLog for ModelLog {
    async fn append(&self, admission: Admission, record: Record) -> Result<Appended, LogError> {
        self.ask(|answer| Request::Append(admission, Box::new(record), answer)).await
    }

    async fn next(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Record)>, LogError> {
        let records = self.disk.records();
        let numbered = (1..).map(Cursor::nth).zip(records);
        let wanted = numbered.filter(|(cursor, _)| *cursor > after).take(limit);
        Ok(wanted.map(|(cursor, record)| (cursor, Record::clone(&record))).collect())
    }

    async fn admitted(&self, agent: &str, incarnation: &[u8], lane: u8) -> Result<u64, LogError> {
        Ok(self.disk.admitted(agent, incarnation, lane))
    }
}

#[async_trait]
impl ChangeLog for ModelLog {
    fn feed_id(&self) -> String {
        self.disk.feed_id.clone()
    }

    async fn publish(&self, tick: Cursor, at: Timestamp, changes: Vec<Published>) -> Result<Vec<Entry>, LogError> {
        self.ask(|answer| Request::Publish(tick, at, changes, answer)).await
    }

    async fn published_after(&self, sequence: u64, limit: usize) -> Result<Vec<Entry>, LogError> {
        let kept = self.disk.kept();
        let after = kept.durable.changes.iter().filter(|entry| entry.sequence > sequence);
        Ok(after.take(limit).cloned().collect())
    }
}
