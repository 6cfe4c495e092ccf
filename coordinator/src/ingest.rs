//! Ingest: the agent port. Sessions come in over mutual TLS, batches are checked, stored, and only then acknowledged.
//!
//! Rules: an agent's name comes from its certificate; its newest session ends the older one at once; what one agent sends
//! never harms another's session; silence is recorded, so that a replay of the log knows of it too; what the engine wants
//! looked at again goes out beside all that, best effort.

mod admit;
pub mod listener;
mod look_again;
mod session;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultline_attribution::{AgentId, SessionState, Timestamp, Vantage};
use faultline_proto::{agent::v1::session_service_server::SessionServiceServer, clock::Clock};
use tokio::sync::watch;

pub use self::look_again::{LOOKS_A_SECOND, LookCounts};
use self::look_again::{Looks, Outbound};
use crate::{
    assignment::Assignments,
    log::{Admission, Appended, LogError, RecordLog},
    pace::Pace,
    record::{Record, RecordKind, SessionRecord},
    registry::Registry,
    rpc, shutdown,
};

/// Spacing of heartbeats that agents are asked for: below every common idle limit of a NAT.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An agent that has not been heard of for this long is silent: two heartbeats lost, and half a one's grace.
const SILENT_AFTER: Duration = Duration::from_millis(37_500);

/// How often silence is looked for.
const WATCH: Duration = Duration::from_secs(5);

/// What sessions share.
pub struct Ingest {
    log: Arc<dyn RecordLog>,
    registry: Registry,
    assignments: Assignments,
    clock: Clock,
    agents: Mutex<BTreeMap<AgentId, Presence>>,
    looks: Mutex<Looks>,
    shutdown: watch::Receiver<bool>,
    /// Whom batches wait for.
    pace: Arc<Pace>,
}

/// What is known of an agent's session.
struct Presence {
    vantage: Option<Vantage>,
    state: SessionState,
    heard_at: Timestamp,
    losses: Losses,
    /// Grows with each session; a session that sees a higher number than its own ends.
    turn: watch::Sender<u64>,
    /// The way out to the session, once it has its assignments.
    outbound: Option<Outbound>,
}

/// An agent as people see it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its name.
    pub agent: AgentId,
    /// Its place, once it has said hello.
    pub vantage: Option<Vantage>,
    /// Its session.
    pub state: SessionState,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// What it could not measure or hand in.
    pub losses: Losses,
}

/// What an agent could not measure or hand in, since its process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Results dropped because its spool was full.
    pub dropped_results: u64,
    /// Runs skipped at its concurrency limit.
    pub skipped_runs: u64,
    /// Assignments that its own policy refuses.
    pub refused_assignments: u64,
    /// Looks that it was asked for and did not make: its policy or budget forbade them, or it was too late.
    pub refused_looks: u64,
}

impl Presence {
    fn new(now: Timestamp) -> Self {
        Self {
            vantage: None,
            state: SessionState::Goodbye,
            heard_at: now,
            losses: Losses::default(),
            turn: watch::channel(0).0,
            outbound: None,
        }
    }
}

impl Ingest {
    /// Ingest that goes on from what the log says of places and sessions.
    pub fn new(
        log: Arc<dyn RecordLog>,
        registry: Registry,
        assignments: Assignments,
        clock: Clock,
        vantages: &BTreeMap<AgentId, Vantage>,
        sessions: &BTreeMap<AgentId, SessionState>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let now = Timestamp::from_micros(clock.now_micros());
        let agents = vantages
            .iter()
            .map(|(agent, vantage)| {
                // Whoever was connected has until the watch finds it silent to come back.
                let state = sessions.get(agent).copied().unwrap_or(SessionState::Goodbye);
                (agent.clone(), Presence { vantage: Some(vantage.clone()), state, ..Presence::new(now) })
            })
            .collect();
        Self {
            log,
            registry,
            assignments,
            clock,
            agents: Mutex::new(agents),
            looks: Mutex::default(),
            shutdown,
            pace: Arc::default(),
        }
    }

    /// The same, no further ahead of a fold than its pace allows.
    #[must_use]
    pub fn paced(self, pace: &Arc<Pace>) -> Self {
        Self { pace: Arc::clone(pace), ..self }
    }

    /// The gRPC service.
    pub fn service(self: &Arc<Self>) -> SessionServiceServer<session::Sessions> {
        let service = SessionServiceServer::new(session::Sessions(Arc::clone(self)))
            .max_decoding_message_size(rpc::MAX_DECODING)
            .max_encoding_message_size(rpc::MAX_ENCODING);
        rpc::COMPRESSIONS.into_iter().fold(service, SessionServiceServer::accept_compressed)
    }

    /// Every agent that has ever said hello.
    pub fn agents(&self) -> Vec<AgentView> {
        self.presences()
            .iter()
            .map(|(agent, presence)| AgentView {
                agent: agent.clone(),
                vantage: presence.vantage.clone(),
                state: presence.state,
                heard_at: presence.heard_at,
                losses: presence.losses,
            })
            .collect()
    }

    /// Records silence until shutdown.
    pub async fn watch(&self) -> Result<(), LogError> {
        let mut stopped = self.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown::begun(&mut stopped) => return Ok(()),
                () = self.clock.sleep(WATCH) => {}
            }
            let now = self.now();
            let silent: Vec<(AgentId, Timestamp)> = self
                .presences()
                .iter_mut()
                .filter(|(_, presence)| {
                    presence.state == SessionState::Up && now.since(presence.heard_at) > SILENT_AFTER
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

    /// Takes the agent's turn: older sessions of it end.
    fn take_turn(&self, agent: &AgentId) -> (u64, watch::Receiver<u64>) {
        let now = self.now();
        let mut agents = self.presences();
        let presence = agents.entry(agent.clone()).or_insert_with(|| Presence::new(now));
        presence.losses = Losses::default();
        presence.outbound = None;
        let mine = *presence.turn.borrow() + 1;
        presence.turn.send_replace(mine);
        (mine, presence.turn.subscribe())
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

    /// Notes what the agent says it lost, and says so when it is more than before.
    fn note_losses(&self, agent: &AgentId, note: impl FnOnce(&mut Losses)) {
        let mut agents = self.presences();
        let Some(presence) = agents.get_mut(agent) else { return };
        let before = presence.losses;
        note(&mut presence.losses);
        let Losses { dropped_results, skipped_runs, .. } = presence.losses;
        if (dropped_results, skipped_runs) > (before.dropped_results, before.skipped_runs) {
            tracing::warn!(%agent, dropped_results, skipped_runs, "agent lost results");
        }
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
            Appended::At(cursor) => cursor.0.cast_unsigned(),
            _ => 0,
        })
    }
}
