//! What is known of each agent: its session, what it says of itself, and what it lost.
//!
//! Rules: what an agent says of itself is bounded, and forgotten with its session; what it lost is counted from admitted
//! batches alone, each loss once, so that it survives both sides.

use std::time::Duration;

use faultline_attribution::{AgentId, SessionState, Timestamp, Vantage};
use faultline_proto::{
    agent::v1::{Heartbeat, Refusal, RefusedLooks},
    convert,
    types::v1::Reason,
};
use tokio::sync::watch;

use super::{
    Outbound,
    clones::{Arrivals, Cloned},
};
use crate::{
    observe::{
        lost::Lost,
        stamps::{Offset, offset},
    },
    registry::standing::Standing,
};

/// Refused assignments that are kept of an agent; all are counted.
const MAX_REFUSED: usize = 32;

/// Characters that are kept of a reason.
const MAX_REASON: usize = 200;

/// Bytes of a digest of roots.
const DIGEST: usize = 32;

/// What is known of an agent's session.
pub(super) struct Presence {
    pub(super) vantage: Option<Vantage>,
    pub(super) state: SessionState,
    pub(super) heard_at: Timestamp,
    pub(super) told: Told,
    pub(super) lost: Lost,
    /// How it stands, as the log knows it.
    pub(super) standing: watch::Sender<Standing>,
    /// Grows with each session; a session that sees a higher number than its own ends.
    pub(super) turn: watch::Sender<u64>,
    /// Who came under its name, and whether that was more than one.
    pub(super) arrivals: Arrivals,
    pub(super) cloned: Option<Cloned>,
    /// The way out to the session, once it has its assignments.
    pub(super) outbound: Option<Outbound>,
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
    /// What it says of itself.
    pub told: Told,
    /// What it made and lost, since the log begins.
    pub lost: Lost,
    /// How it stands.
    pub standing: Standing,
}

/// What an agent said of itself in its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Runs skipped at its concurrency limit, since its process began.
    pub skipped_runs: u64,
    /// Assignments that its own policy refuses.
    pub refused_assignments: u64,
    /// The first of them.
    pub refused: Vec<RefusedTarget>,
    /// Looks that it was asked for and did not make: its policy or budget forbade them, or it was too late.
    pub refused_looks: u64,
    /// What it finds wrong with itself.
    pub impairments: Vec<Reason>,
    /// Its clock against the coordinator's, where it was measured.
    pub clock: Option<Offset>,
    /// Whether its spool would survive its process, once it has said so.
    pub is_spool_durable: Option<bool>,
    /// Digest of the roots that it trusts, once it has said so.
    pub trust_bundle: Vec<u8>,
    /// Who signed the certificate of its session.
    pub signer: String,
}

/// An assignment that an agent's own policy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTarget {
    /// What it would probe; empty for a slot that it was never given.
    pub target: String,
    /// Its slot.
    pub slot: u32,
    /// Why, in the agent's words.
    pub reason: String,
}

impl Presence {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            vantage: None,
            state: SessionState::Goodbye,
            heard_at: now,
            told: Told::default(),
            lost: Lost::default(),
            standing: watch::channel(Standing::active(Timestamp::default())).0,
            turn: watch::channel(0).0,
            arrivals: Arrivals::default(),
            cloned: None,
            outbound: None,
        }
    }

    pub(super) fn view(&self, agent: &AgentId) -> AgentView {
        AgentView {
            agent: agent.clone(),
            vantage: self.vantage.clone(),
            state: self.state,
            heard_at: self.heard_at,
            told: self.told.clone(),
            lost: self.lost.clone(),
            standing: self.standing.borrow().clone(),
        }
    }
}

impl Told {
    /// Takes over a heartbeat.
    pub(super) fn beat(&mut self, agent: &AgentId, heartbeat: &Heartbeat) {
        self.skip(agent, heartbeat.skipped_runs);
        self.refuse_looks(agent, &heartbeat.refused_looks);
        let mut impairments: Vec<Reason> =
            heartbeat.impairments().filter(|reason| *reason != Reason::Unspecified).collect();
        impairments.sort_unstable();
        impairments.dedup();
        if impairments != self.impairments {
            let words: Vec<String> = impairments.iter().copied().map(convert::word).collect();
            tracing::info!(%agent, impairments = ?words, "agent's view of itself changed");
            self.impairments = impairments;
        }
        self.clock = offset(heartbeat.clock_offset.as_ref(), heartbeat.clock_bound.as_ref());
        self.is_spool_durable = Some(heartbeat.is_spool_durable);
        self.trust(&heartbeat.trust_bundle);
    }

    /// Takes over which roots the agent says that it trusts.
    pub(super) fn trust(&mut self, digest: &[u8]) {
        if digest.len() == DIGEST && digest != self.trust_bundle {
            self.trust_bundle = digest.to_vec();
        }
    }

    /// Takes over how many runs the agent skipped so far.
    pub(super) fn skip(&mut self, agent: &AgentId, skipped_runs: u64) {
        if skipped_runs > self.skipped_runs {
            self.skipped_runs = skipped_runs;
            tracing::warn!(%agent, skipped_runs, "agent skipped runs");
        }
    }

    /// Takes over which assignments the agent refuses; `target_of` tells what a slot is.
    pub(super) fn refuse(&mut self, agent: &AgentId, refused: &[Refusal], target_of: impl Fn(u32) -> Option<String>) {
        self.refused_assignments = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        let refused = refused.iter().take(MAX_REFUSED).map(|refusal| RefusedTarget {
            target: target_of(refusal.slot).unwrap_or_default(),
            slot: refusal.slot,
            reason: refusal.reason.chars().take(MAX_REASON).collect(),
        });
        self.refused = refused.collect();
        for RefusedTarget { target, slot, reason } in &self.refused {
            tracing::warn!(%agent, slot, target, reason, "assignment refused by local policy");
        }
    }

    /// Takes over how many looks the agent did not make, and traces why when it is more than before.
    fn refuse_looks(&mut self, agent: &AgentId, refused: &[RefusedLooks]) {
        let all = refused.iter().map(|refused| refused.runs).fold(0, u64::saturating_add);
        if all > self.refused_looks {
            self.refused_looks = all;
            let reasons: Vec<_> =
                refused.iter().map(|refused| (convert::word(refused.reason()), refused.runs)).collect();
            tracing::debug!(%agent, ?reasons, "looks refused by the agent");
        }
    }

    /// How far the agent's clock is surely off, when that is more than a clock that is kept may be.
    pub fn clock_error(&self) -> Option<Duration> {
        self.clock.filter(|clock| clock.is_suspect()).map(Offset::error)
    }
}
