//! The spool as the rest of the agent has it: a line before the keeper, and a picture of what the keeper knows.
//!
//! Rules: nothing here waits for a store but what is awaited; the line is bounded in bytes, and what is beyond is lost,
//! counted and told; what a failing store did not take is tried again every second by the thread, and at each call where
//! there is none; a store's work is done in one place, `turn`, whoever drives it.

mod turn;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
};
use prost::Message;
use tokio::sync::{Notify, oneshot};

use self::turn::{last_words, turn, work};
use super::{
    Counter, Fetched, Lost, MemoryStore, NoCounter, Reason, Store, StoreError, View,
    keeper::{Keeper, Waiting},
};
use crate::{
    batch::Sealed,
    selfcheck::{ClockError, signed_duration},
};

/// The spool.
pub struct Spool {
    line: Arc<Line>,
    worker: Mutex<Worker>,
    is_durable: bool,
    folder: Option<PathBuf>,
}

/// What is said of a batch when it is sealed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// When that is, in microseconds since the Unix epoch.
    pub now: i64,
    /// Runs skipped since the incarnation began.
    pub skipped_runs: u64,
    /// How far the clock is ahead of the coordinator's, as far as that was measured.
    pub clock_error: Option<ClockError>,
}

enum Worker {
    Thread(JoinHandle<()>),
    Driven(Box<Keeper>),
    Ended,
}

struct Made {
    counter: Box<dyn Counter>,
    incarnation: [u8; 16],
    results: u64,
}

/// What the keeper is given, and what it shows.
struct Line {
    state: Mutex<State>,
    wake: Condvar,
    changed: Notify,
    max_bytes: usize,
    made: Mutex<Made>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Lost for want of room in the line, and not yet in the ledger.
    lost: Option<Lost>,
    acks: [Option<u64>; 2],
    /// One session asks for one thing at a time.
    jobs: VecDeque<Job>,
    view: View,
    is_stuck: bool,
    is_closing: bool,
}

enum Job {
    Resume { live: u64, backfill: u64, sealed_before: i64, done: oneshot::Sender<bool> },
    MoveOld { sealed_before: i64, done: oneshot::Sender<()> },
    Fetch { lane: Lane, number: u64, answer: oneshot::Sender<Option<Fetched>> },
}

impl Spool {
    /// One that ends with the process.
    pub fn memory(incarnation: [u8; 16], max_bytes: usize) -> Self {
        let store = Box::new(MemoryStore::new(u64::try_from(max_bytes).unwrap_or(u64::MAX)));
        let opened = Self::over(store, Box::new(NoCounter), incarnation, max_bytes, 0);
        let (mut spool, keeper) = opened.expect("memory takes an empty ledger");
        spool.worker = Mutex::new(Worker::Driven(Box::new(keeper)));
        spool.is_durable = false;
        spool
    }

    /// One over a store that answers at once, without a thread: every call does its work before it returns.
    pub fn driven(
        store: Box<dyn Store>,
        counter: Box<dyn Counter>,
        new_incarnation: [u8; 16],
        max_line_bytes: usize,
        now: i64,
    ) -> Result<Self, StoreError> {
        let (mut spool, keeper) = Self::over(store, counter, new_incarnation, max_line_bytes, now)?;
        spool.worker = Mutex::new(Worker::Driven(Box::new(keeper)));
        Ok(spool)
    }

    /// One whose store has a thread of its own.
    pub fn threaded(
        store: Box<dyn Store>,
        counter: Box<dyn Counter>,
        new_incarnation: [u8; 16],
        max_line_bytes: usize,
        now: i64,
    ) -> Result<Self, StoreError> {
        let (mut spool, keeper) = Self::over(store, counter, new_incarnation, max_line_bytes, now)?;
        let line = Arc::clone(&spool.line);
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(move || work(keeper, &line));
        let thread = thread.map_err(|error| StoreError::Disk(format!("no thread: {error}")))?;
        spool.worker = Mutex::new(Worker::Thread(thread));
        Ok(spool)
    }

    fn over(
        store: Box<dyn Store>,
        mut counter: Box<dyn Counter>,
        new_incarnation: [u8; 16],
        max_bytes: usize,
        now: i64,
    ) -> Result<(Self, Keeper), StoreError> {
        let mut keeper = Keeper::new(store, new_incarnation, now, |incarnation| counter.load(incarnation))?;
        let (incarnation, results) = (keeper.ledger().incarnation, keeper.ledger().accounted);
        counter.save(&incarnation, results);
        let state = State { view: keeper.view(), ..State::default() };
        let made = Mutex::new(Made { counter, incarnation, results });
        let line = Line { state: Mutex::new(state), wake: Condvar::new(), changed: Notify::new(), max_bytes, made };
        let spool = Self { line: Arc::new(line), worker: Mutex::new(Worker::Ended), is_durable: true, folder: None };
        Ok((spool, keeper))
    }

    /// The same spool, which is told to be in the folder.
    #[must_use]
    pub fn told_to_be_in(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Where it is; `None` where it ends with the process.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether it outlives the process.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The spool as it stands.
    pub fn view(&self) -> View {
        let state = self.line.state();
        let lost_in_line = state.lost.map_or(0, |lost| lost.results);
        View { line: state.waiting.len(), lost_in_line, ..state.view.clone() }
    }

    /// Completes when [`Self::view`] has changed since it last did. For one at a time.
    pub async fn changed(&self) {
        self.line.changed.notified().await;
    }

    /// Counts results that a run left. Comes before the batch that has them is pushed.
    pub fn made(&self, results: u64) {
        let mut made = self.line.made();
        made.results += results;
        faultline_proto::failpoint::reach("made.count.before");
        made.save();
        faultline_proto::failpoint::reach("made.count.after");
    }

    /// Results made since the incarnation began.
    pub fn made_results(&self) -> u64 {
        self.line.made().results
    }

    /// Hands over a batch.
    pub fn push(&self, sealed: Sealed, stamp: Stamp) {
        faultline_proto::failpoint::reach("spool.seal.before");
        let waiting = encode(sealed, stamp);
        let bytes = waiting.bytes();
        {
            let mut state = self.line.state();
            if state.bytes + bytes > self.line.max_bytes {
                let lost = Lost {
                    reason: Reason::SpoolFull,
                    results: waiting.results,
                    since: waiting.since,
                    until: waiting.sealed_at,
                };
                if state.lost.is_none() {
                    tracing::warn!("the line before the spool is full: results are lost until its disk takes them");
                }
                state.lose(lost);
            } else {
                state.bytes += bytes;
                state.waiting.push_back(waiting);
            }
        }
        faultline_proto::failpoint::reach("spool.seal.after");
        self.drive();
    }

    /// Takes up that the coordinator has everything up to the number.
    pub fn ack(&self, lane: Lane, number: u64) {
        {
            let mut state = self.line.state();
            let ack = &mut state.acks[usize::from(lane == Lane::Backfill)];
            *ack = Some(ack.map_or(number, |before| before.max(number)));
        }
        self.drive();
    }

    /// Begins a session in which the coordinator has so much of each lane, and moves what was sealed before then and is
    /// not confirmed to the backfill lane. Says whether it could: else nothing may be sent.
    pub async fn resume(&self, live: u64, backfill: u64, sealed_before: i64) -> bool {
        self.ask(|done| Job::Resume { live, backfill, sealed_before, done }).await.unwrap_or(false)
    }

    /// Moves what was sealed before then and is not confirmed to the backfill lane.
    ///
    /// Rule: none of it may be on its way in the live lane.
    pub async fn move_old(&self, sealed_before: i64) {
        self.ask(|done| Job::MoveOld { sealed_before, done }).await;
    }

    /// The first batch of the lane from the number on; `None` when none is held, or the store does not answer.
    pub async fn fetch(&self, lane: Lane, number: u64) -> Option<Fetched> {
        self.ask(|answer| Job::Fetch { lane, number, answer }).await.flatten()
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.line.state().jobs.push_back(job(sender));
        self.drive();
        answer.await.ok()
    }

    /// Stores what waits, if the store takes it, and lets go of the store. What it does not take is counted at the next start.
    pub async fn close(&self) {
        self.line.state().is_closing = true;
        self.drive();
        let worker = std::mem::replace(&mut *self.worker(), Worker::Ended);
        match worker {
            Worker::Thread(thread) => {
                let joined = tokio::task::spawn_blocking(|| thread.join()).await;
                if let Ok(Err(panic)) = joined {
                    std::panic::resume_unwind(panic);
                }
            }
            Worker::Driven(mut keeper) => last_words(&mut keeper),
            Worker::Ended => {}
        }
    }

    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the work done: by the thread, or here.
    fn drive(&self) {
        match &mut *self.worker() {
            Worker::Thread(_) => self.line.wake.notify_one(),
            Worker::Driven(keeper) => while turn(keeper, &self.line) {},
            Worker::Ended => {}
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.line.state().is_closing = true;
        self.line.wake.notify_one();
        if let Worker::Thread(thread) = std::mem::replace(&mut *self.worker(), Worker::Ended) {
            // A panic was told where it happened.
            thread.join().ok();
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    fn save(&mut self) {
        self.counter.save(&self.incarnation, self.results);
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.jobs.is_empty() || self.acks.iter().any(Option::is_some) || !self.is_line_empty()
    }

    fn is_line_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost.is_none()
    }

    fn lose(&mut self, lost: Lost) {
        let mut losses: Vec<_> = self.lost.take().into_iter().collect();
        super::lost::merge(&mut losses, lost);
        self.lost = losses.pop();
    }
}

fn encode(sealed: Sealed, stamp: Stamp) -> Waiting {
    let Stamp { now, skipped_runs, clock_error } = stamp;
    let Sealed { since, facts, results } = sealed;
    let count = results.len() as u64;
    let batch = ResultBatch {
        results,
        sealed_at: Some(convert::timestamp(now)),
        skipped_runs,
        clock_offset: clock_error.map(|error| signed_duration(error.offset_us)),
        clock_bound: clock_error.map(|error| signed_duration(error.bound_us)),
        ..ResultBatch::default()
    };
    Waiting { since: since.min(now), sealed_at: now, results: count, facts, payload: batch.encode_to_vec().into() }
}
