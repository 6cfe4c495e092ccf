//! Ingest: the agent port. Sessions come in over mutual TLS, batches are checked, stored, and only then acknowledged.
//!
//! Rules: an agent's name comes from its certificate; its newest session ends the older one at once; what one agent sends
//! never harms another's session; silence is recorded, so that a replay of the log knows of it too; what the engine wants
//! looked at again goes out beside all that, best effort.
//!
//! **Memory.** Batches that wait to be stored hold `BUDGET` bytes, over all sessions; while it is spent nothing further is
//! read, and agents wait. What a session may have under way shrinks as sessions become more (`Ingest::credit`), so that agents
//! that keep to it fill the budget and no more. What can be held for one that does not keep to anything is a message that is
//! being read (1 MiB, again while it is decompressed) and the window of its stream (256 KiB): 2.25 MiB, and for no longer than its
//! session lives. For 5,000 sessions of agents that keep to their credit, one batch each, that is the budget and what waits in
//! windows: 64 MiB and 5,000 times the size of a batch, some 60 MiB at the 12 KiB that 200 results take, and 1.25 GiB if each of
//! them were as large as a batch may be.
//!
//! **A log that is full.** Nothing is acknowledged, and batches wait; every session hears a credit of zero, and its old one once
//! there is room; heartbeats are answered meanwhile, and nobody is called silent.

mod admit;
mod clones;
pub mod listener;
mod look_again;
mod presence;
mod recognise;
mod service;
mod session;
mod standings;
mod taken;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use faultline_attribution::{AgentId, SessionState, Timestamp, Vantage};
use faultline_proto::clock::Clock;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::{
    clones::{Arrival, Cloned},
    look_again::{Looks, Outbound},
    presence::Presence,
    taken::Taken,
};
pub use self::{
    look_again::{LOOKS_A_SECOND, LookCounts},
    presence::{AgentView, RefusedTarget, Told},
    service::Sessions,
    standings::StandError,
    taken::TakenCounts,
};
use crate::{
    assignment::Assignments,
    enroll::machines::Machines,
    log::{Admission, Appended, LogError, RecordLog, patient::FullSince},
    measure::Tap,
    observe::{Observer, lost::Lost},
    pace::Pace,
    pki::rotation::Bundle,
    record::{Record, RecordKind, SessionRecord},
    registry::Registry,
    tick::News,
};

/// Spacing of heartbeats that agents are asked for: below every common idle limit of a NAT.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An agent that has not been heard of for this long is silent: two heartbeats lost, and half a one's grace.
const SILENT_AFTER: Duration = Duration::from_millis(37_500);

/// How often silence is looked for.
const WATCH: Duration = Duration::from_secs(5);

/// Bytes of batches that wait to be stored, over all sessions.
const BUDGET: usize = 64 << 20;

/// The unit in which the budget is given out.
const BUDGET_UNIT: usize = 1 << 10;

/// Batches that a session may have under way at most, when sessions are few.
const MAX_CREDIT: usize = 8;

/// What agents are to trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The roots, and who signs.
    pub bundle: Arc<Bundle>,
    /// Whether who holds a certificate of another than signs now is to renew it.
    pub is_turned: bool,
}

/// What sessions share.
pub struct Ingest {
    log: Arc<dyn RecordLog>,
    registry: Registry,
    machines: Option<Machines>,
    assignments: Assignments,
    clock: Clock,
    agents: Mutex<BTreeMap<AgentId, Presence>>,
    looks: Mutex<Looks>,
    /// What sessions tell agents to trust.
    trust: watch::Sender<Trust>,
    budget: Arc<Semaphore>,
    open: AtomicUsize,
    taken: Taken,
    tap: Tap,
    full_since: FullSince,
    shutdown: CancellationToken,
    /// Whom batches wait for.
    pace: Arc<Pace>,
    /// Who waits for batches.
    news: News,
}

impl Ingest {
    /// Ingest that goes on from what the log says of places, sessions and losses.
    pub fn new(
        log: Arc<dyn RecordLog>,
        registry: Registry,
        assignments: Assignments,
        clock: Clock,
        observer: &Observer,
        full_since: FullSince,
        shutdown: CancellationToken,
    ) -> Self {
        let now = Timestamp::from_micros(clock.now_micros());
        let agents = observer
            .vantages()
            .iter()
            .map(|(agent, vantage)| {
                // Whoever was connected has until the watch finds it silent to come back.
                let state = observer.sessions().get(agent).copied().unwrap_or(SessionState::Goodbye);
                let lost = observer.lost().get(agent).cloned().unwrap_or_default();
                let presence = Presence { vantage: Some(vantage.clone()), state, lost, ..Presence::new(now) };
                if let Some(standing) = observer.standings().get(agent) {
                    presence.standing.send_replace(standing.clone());
                }
                (agent.clone(), presence)
            })
            .collect();
        Self {
            log,
            registry,
            machines: None,
            assignments,
            clock,
            agents: Mutex::new(agents),
            looks: Mutex::default(),
            trust: watch::channel(Trust::default()).0,
            budget: Arc::new(Semaphore::new(BUDGET / BUDGET_UNIT)),
            open: AtomicUsize::new(0),
            taken: Taken::default(),
            tap: Tap::default(),
            full_since,
            shutdown,
            pace: Arc::default(),
            news: News::default(),
        }
    }

    /// The same, no further ahead of a fold than its pace allows.
    #[must_use]
    pub fn paced(self, pace: &Arc<Pace>) -> Self {
        Self { pace: Arc::clone(pace), ..self }
    }

    /// The same, with an eye on which machines its agents are.
    #[must_use]
    pub fn knowing(self, machines: &Machines) -> Self {
        Self { machines: Some(machines.clone()), ..self }
    }

    /// Tells agents what to trust from now on.
    pub fn trust(&self, trust: Trust) {
        self.trust.send_replace(trust);
    }

    /// What became durable.
    pub fn news(&self) -> &News {
        &self.news
    }

    /// The gRPC service.
    pub fn service(self: &Arc<Self>) -> Sessions {
        Sessions(Arc::clone(self))
    }

    /// Every agent that has ever said hello.
    pub fn agents(&self) -> Vec<AgentView> {
        let agents = self.presences();
        let known = agents.iter().filter(|(_, presence)| presence.vantage.is_some());
        known.map(|(agent, presence)| presence.view(agent)).collect()
    }

    /// Sessions that are open.
    pub fn sessions_open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// What was taken in since the start.
    pub fn taken(&self) -> TakenCounts {
        self.taken.counts()
    }

    /// Where results are shown as they are stored.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Records silence until shutdown.
    pub async fn watch(&self) -> Result<(), LogError> {
        // Whoever could not come back while the log was full has as long afterwards as anybody else.
        let mut excused_until = Timestamp::default();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                () = self.clock.sleep(WATCH) => {}
            }
            let now = self.now();
            if self.full_since.get().is_some() {
                excused_until = now;
            }
            let silent: Vec<(AgentId, Timestamp)> = self
                .presences()
                .iter_mut()
                .filter(|(_, presence)| {
                    let since = presence.heard_at.max(excused_until);
                    presence.state == SessionState::Up && now.since(since) > SILENT_AFTER
                })
                .map(|(agent, presence)| {
                    presence.state = SessionState::Silent;
                    (agent.clone(), presence.heard_at)
                })
                .collect();
            for (agent, since) in silent {
                tracing::warn!(%agent, %since, "agent silent");
                self.record_session(&agent, SessionState::Silent, since).await?;
            }
        }
    }

    fn presences(&self) -> std::sync::MutexGuard<'_, BTreeMap<AgentId, Presence>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now_micros())
    }

    /// Takes the agent's turn: older sessions of it end. What it is found to be a clone for is told to both.
    fn take_turn(&self, agent: &AgentId, arrival: Arrival) -> (u64, watch::Receiver<u64>, Option<Cloned>) {
        let now = self.now();
        let mut agents = self.presences();
        let presence = agents.entry(agent.clone()).or_insert_with(|| Presence::new(now));
        let is_open = presence.turn.receiver_count() > 0 && presence.state != SessionState::Goodbye;
        let cloned = presence.arrivals.arrive(arrival, is_open.then_some(presence.heard_at), now);
        presence.cloned = cloned.or(presence.cloned);
        presence.told = Told::default();
        presence.outbound = None;
        let mine = *presence.turn.borrow() + 1;
        presence.turn.send_replace(mine);
        (mine, presence.turn.subscribe(), cloned)
    }

    /// For what the agent was found to be a clone, since the start and since an operator approved it.
    fn cloned(&self, agent: &AgentId) -> Option<Cloned> {
        self.presences().get(agent).and_then(|presence| presence.cloned)
    }

    /// Notes that the agent spoke. A silent one that speaks again is up again: `true`.
    fn hear(&self, agent: &AgentId) -> bool {
        let now = self.now();
        let mut agents = self.presences();
        let Some(presence) = agents.get_mut(agent) else { return false };
        presence.heard_at = now;
        let is_back = presence.state == SessionState::Silent;
        presence.state = SessionState::Up;
        is_back
    }

    /// From where an agent looks; nothing is known of one that never said so.
    fn vantage(&self, agent: &AgentId) -> Vantage {
        self.presences().get(agent).and_then(|presence| presence.vantage.clone()).unwrap_or_default()
    }

    /// Notes something of an agent.
    fn note(&self, agent: &AgentId, note: impl FnOnce(&mut Presence)) {
        if let Some(presence) = self.presences().get_mut(agent) {
            note(presence);
        }
    }

    /// Shows what admitted batches say was lost, as the fold has read them.
    pub fn show_lost(&self, lost: &BTreeMap<AgentId, Lost>) {
        let mut agents = self.presences();
        for (agent, lost) in lost {
            if let Some(presence) = agents.get_mut(agent)
                && presence.lost != *lost
            {
                presence.lost = lost.clone();
                tracing::warn!(%agent, lost = ?lost.results, "agent lost results");
            }
        }
    }

    /// Batches that a session may have under way: its share of the budget, one at least.
    fn credit(&self) -> u32 {
        let sessions = self.open.load(Ordering::Relaxed).max(1);
        let share = BUDGET / admit::MAX_BATCH_BYTES / sessions;
        u32::try_from(share.clamp(1, MAX_CREDIT)).unwrap_or(1)
    }

    async fn record_session(&self, agent: &AgentId, state: SessionState, since: Timestamp) -> Result<(), LogError> {
        let record = Record::own(RecordKind::Session, self.now(), agent.as_str(), &SessionRecord { state, since });
        self.log.append(Admission::Own, record).await.map(|_| ())
    }

    /// Records the session's beginning, and the agent's place if it changed. Returns the epoch.
    async fn open_session(&self, agent: &AgentId, vantage: Vantage) -> Result<u64, LogError> {
        let changed = {
            let mut agents = self.presences();
            agents.get_mut(agent).is_some_and(|presence| {
                presence.state = SessionState::Up;
                presence.vantage.replace(vantage.clone()).as_ref() != Some(&vantage)
            })
        };
        if changed {
            let record = Record::own(RecordKind::Vantage, self.now(), agent.as_str(), &vantage);
            self.log.append(Admission::Own, record).await?;
        }
        let content = SessionRecord { state: SessionState::Up, since: self.now() };
        let record = Record::own(RecordKind::Session, self.now(), agent.as_str(), &content);
        Ok(match self.log.append(Admission::Session, record).await? {
            Appended::At(cursor) => cursor.epoch(),
            _ => 0,
        })
    }
}
