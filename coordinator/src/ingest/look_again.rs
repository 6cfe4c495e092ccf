//! Looking again: hands the engine's proposals to the sessions of the agents that they name, as `RunNow`.
//!
//! Rules: best effort, and never waits: whatever cannot go out at once is dropped, counted and traced, since the engine
//! asks again while it still wants to know; only live ticks ask, never a replay or a rebuild; over the whole fleet no
//! more than [`LOOKS_A_SECOND`] go out; an agent is asked only for what it was assigned, and its own policy decides.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use faultline_attribution::{AgentId, LookAgain, SessionState, Timestamp};
use faultline_proto::{
    agent::v1::{RunNow, SessionResponse, session_response::Message as Reply},
    convert,
};
use tokio::sync::mpsc::WeakSender;
use tonic::Status;

use super::Ingest;

/// Looks over the whole fleet within a second. Source: eight times what the engine asks for in one tick (`A_TICK`), so
/// that only an engine gone wrong meets it; at 16 KiB for an HTTPS probe it is 1 MiB/s for all agents together.
pub const LOOKS_A_SECOND: usize = 64;

/// How long an answer is of use. Source: the engine's spacing of looks of one agent at one target: later it asks anew.
const OF_USE: Duration = Duration::from_secs(5);

/// The way out to one session. Weak, so that it keeps no stream open that the session has left.
pub(super) type Outbound = WeakSender<Result<SessionResponse, Status>>;

/// What became of the looks that the engine proposed, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookCounts {
    /// Handed to a session.
    pub asked: u64,
    /// Dropped: the agent has no session that speaks.
    pub no_session: u64,
    /// Dropped: the agent was not assigned the target.
    pub not_assigned: u64,
    /// Dropped: the session has much to send already.
    pub queue_full: u64,
    /// Dropped: the fleet's bound for this second was reached.
    pub over_limit: u64,
}

/// The fleet's bound, and the counts.
#[derive(Debug, Default)]
pub(super) struct Looks {
    lately: VecDeque<Timestamp>,
    counts: LookCounts,
}

impl Looks {
    /// Whether one more look may go out.
    fn take(&mut self, now: Timestamp) -> bool {
        // After a clock that was set back, what lies ahead is as good as past: at worst one second's bound is doubled.
        while self.lately.front().is_some_and(|at| *at > now || now.since(*at) >= SECOND) {
            self.lately.pop_front();
        }
        let is_free = self.lately.len() < LOOKS_A_SECOND;
        if is_free {
            self.lately.push_back(now);
        }
        is_free
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Ingest {
    /// Asks the agents to look again. Never waits: what cannot go out at once is dropped and counted.
    pub fn look_again(&self, proposed: &[LookAgain]) {
        if proposed.is_empty() || self.shutdown.is_cancelled() {
            return;
        }
        let now = self.now();
        let mut wanted: BTreeMap<&AgentId, Vec<u32>> = BTreeMap::new();
        let mut looks = self.looks();
        for LookAgain { agent, target } in proposed {
            let Some(slot) = self.assignments.slot_of(agent, target) else {
                tracing::debug!(%agent, %target, reason = "not_assigned", "look dropped");
                looks.counts.not_assigned += 1;
                continue;
            };
            if !looks.take(now) {
                tracing::debug!(%agent, %target, reason = "over_limit", "look dropped");
                looks.counts.over_limit += 1;
                continue;
            }
            wanted.entry(agent).or_default().push(slot);
        }
        let deadline = Some(convert::timestamp(now.after(OF_USE).micros()));
        let agents = self.presences();
        for (agent, slots) in wanted {
            let count = u64::try_from(slots.len()).unwrap_or(u64::MAX);
            let live = agents.get(agent).filter(|presence| presence.state == SessionState::Up);
            let Some(outbound) = live.and_then(|presence| presence.outbound.as_ref()?.upgrade()) else {
                tracing::debug!(%agent, looks = count, reason = "no_session", "look dropped");
                looks.counts.no_session += count;
                continue;
            };
            tracing::debug!(%agent, ?slots, "look again");
            let run_now = SessionResponse { message: Some(Reply::RunNow(RunNow { slots, deadline })) };
            // Half of the queue stays free for acknowledgements: a slow agent's results must not wait for looks.
            let has_room = outbound.capacity() > outbound.max_capacity() / 2;
            if has_room && outbound.try_send(Ok(run_now)).is_ok() {
                looks.counts.asked += count;
            } else {
                tracing::debug!(%agent, looks = count, reason = "queue_full", "look dropped");
                looks.counts.queue_full += count;
            }
        }
    }

    /// What became of the looks that were proposed.
    pub fn look_counts(&self) -> LookCounts {
        self.looks().counts
    }

    /// Opens the way for looks to the session whose turn it is.
    pub(super) fn reach(&self, agent: &AgentId, mine: u64, outbound: Outbound) {
        if let Some(presence) = self.presences().get_mut(agent)
            && *presence.turn.borrow() == mine
        {
            presence.outbound = Some(outbound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_is_asked_for_no_more_than_its_bound_in_any_second() {
        let mut looks = Looks::default();
        let at = |micros| Timestamp::from_micros(micros);
        let taken = |looks: &mut Looks, from: i64| (0..100).filter(|n| looks.take(at(from + n * 1_000))).count();
        assert_eq!(taken(&mut looks, 0), LOOKS_A_SECOND);
        assert_eq!(taken(&mut looks, 500_000), 0);
        // The first 36 of the first second are a second old by then.
        assert_eq!(taken(&mut looks, 936_000), 36);
        assert_eq!(taken(&mut looks, 60_000_000), LOOKS_A_SECOND);
        assert_eq!(taken(&mut looks, 1_000_000), LOOKS_A_SECOND, "a clock set back does not end looking");
    }
}
