//! What operators say of agents: approved, quarantined, revoked, deleted.
//!
//! Rules: what was revoked stays so, and can only be deleted; nobody is approved who was never put aside; whoever is approved is
//! accepted on the machine that it was last on.

use std::sync::Arc;

use faultline_attribution::AgentId;

use super::{Desk, Done, Refused, Why, words};
use crate::{
    admin::Stand,
    ingest::StandError,
    registry::standing::{MAX_REASON, Standing, State},
};

impl Desk {
    pub(super) async fn stand(self: &Arc<Self>, asked: Stand) -> Result<Done, Refused> {
        let Stand { agent, state, reason, distrust_since } = asked;
        let reason = if reason.is_empty() { reason } else { words::plain(&reason, "reason")? };
        if reason.chars().count() > MAX_REASON {
            return Err(Refused::new(Why::Malformed, format!("reason: at most {MAX_REASON} characters")));
        }
        if distrust_since.is_some() && !matches!(state, State::Quarantined | State::Revoked) {
            let message = "only who is quarantined or revoked can be distrusted in the past";
            return Err(Refused::new(Why::Malformed, message));
        }
        let id = AgentId::from(agent.as_str());
        let standing = self.ingest.standing(&id).map_err(|error| failed(&error.into()))?;
        let before = standing.state;
        may(&agent, &standing, state, distrust_since.is_some())?;
        let mut next = Standing { distrust_since, ..Standing::new(state, self.now(), &reason) };
        if before == State::Revoked && state == State::Revoked {
            // Only what it measured is looked at again.
            next = Standing { distrust_since, ..standing };
        }
        if state == State::Active {
            self.ingest.forgive(&id).await.map_err(|error| failed(&error))?;
        }
        self.ingest.stand(&id, next).await.map_err(|error| failed(&error))?;
        if let Some(since) = distrust_since {
            self.look_again(id, since);
        }
        Ok(Done::Stands { agent, state, before, is_looked_at_again: distrust_since.is_some() })
    }

    /// Revokes the agents that joined with a join string that was.
    pub(super) async fn revoke_with(&self, revoked: Done) -> Result<Done, Refused> {
        let Done::Revoked { id, agents, .. } = revoked else { return Ok(revoked) };
        let reason = format!("join string {id}, which it joined with, was revoked");
        let mut with_agents = Vec::new();
        for agent in &agents {
            let known = AgentId::from(agent.as_str());
            let standing = self.ingest.standing(&known).map_err(|error| failed(&error.into()))?;
            if may(agent, &standing, State::Revoked, false).is_ok() {
                let revoked = Standing::new(State::Revoked, self.now(), &reason);
                self.ingest.stand(&known, revoked).await.map_err(|error| failed(&error))?;
                with_agents.push(agent.clone());
            }
        }
        Ok(Done::Revoked { id, agents, with_agents })
    }
}

/// Whether an agent that stands so may stand otherwise.
fn may(agent: &str, standing: &Standing, state: State, is_of_the_past: bool) -> Result<(), Refused> {
    let why = match (standing.state, state) {
        (State::Deleted, _) => {
            let shown: String = agent.chars().take(60).collect();
            let message = format!("no agent {shown:?}: `faultline agent list` has all");
            return Err(Refused::new(Why::Unknown, message));
        }
        (_, State::Deleted) => return Ok(()),
        (State::Revoked, State::Revoked) if is_of_the_past => return Ok(()),
        (State::Revoked, _) => "is revoked, which is for ever: delete it, and let its machine join again",
        (_, State::Pending) => "can be active, quarantined, revoked or deleted; only a join makes one that waits",
        (State::Active, State::Active) => "is active",
        _ => return Ok(()),
    };
    Err(Refused::new(Why::State, format!("agent {agent} {why}")))
}

fn failed(error: &StandError) -> Refused {
    Refused::new(Why::Failed, error.to_string())
}

#[cfg(test)]
mod tests {
    use faultline_attribution::Timestamp;

    use super::*;

    #[test]
    fn what_is_revoked_stays_so_until_it_is_deleted() {
        let stands = |state| Standing::new(state, Timestamp::default(), "");
        let ok = |from, to, past| may("fra-1", &stands(from), to, past).is_ok();
        for from in [State::Active, State::Pending, State::Quarantined, State::Revoked] {
            assert!(ok(from, State::Deleted, false), "{from:?} is deleted");
            assert!(from == State::Revoked || ok(from, State::Revoked, false), "{from:?} is revoked");
        }
        for to in [State::Active, State::Quarantined, State::Pending, State::Revoked] {
            assert!(!ok(State::Revoked, to, false), "revoked to {to:?}");
            assert!(!ok(State::Deleted, to, false), "deleted to {to:?}");
        }
        assert!(ok(State::Revoked, State::Revoked, true), "its past may be looked at later");
        assert!(ok(State::Pending, State::Active, false) && ok(State::Quarantined, State::Active, false));
        assert!(!ok(State::Active, State::Active, false));
    }
}
