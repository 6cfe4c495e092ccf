//! What an agent's machine means for how it stands: the joint between [`clones`](super::clones), what is kept of machines, and
//! standings.
//!
//! Rules: the first fingerprint of an agent is accepted; another one waits for an operator, and counts again by itself when the
//! accepted one is back; clones are quarantined until an operator approves. What an operator said of an agent is never made milder
//! here. A machine that cannot be looked up is logged, and keeps nobody out.

use std::io;

use faultline_attribution::AgentId;
use faultline_proto::bound::Fingerprint;
use tokio::task;

use super::{Ingest, StandError, clones::Cloned};
use crate::{
    enroll::machines::{Likeness, Machine},
    pki::PkiError,
    registry::standing::{Standing, State},
};

/// Begins the reason of one that waits because its fingerprint is another.
const CHANGED: &str = "FINGERPRINT_CHANGED";

impl Ingest {
    /// Lets an agent that stands so stand as its machine makes it, before it has its session.
    ///
    /// # Errors
    ///
    /// Where that cannot be kept.
    pub(super) async fn recognise(
        &self,
        agent: &AgentId,
        before: &Standing,
        shown: Option<Fingerprint>,
        cloned: Option<Cloned>,
    ) -> Result<(), StandError> {
        let likeness = match self.likeness(agent, shown).await {
            Ok(likeness) => likeness,
            Err(error) => {
                tracing::error!(%agent, %error, "what is known of an agent's machine cannot be read");
                Likeness::First
            }
        };
        if let Some((state, reason)) = stands(before, likeness, cloned) {
            self.stand(
                agent,
                Standing { distrust_since: before.distrust_since, ..Standing::new(state, self.now(), &reason) },
            )
            .await?;
        }
        Ok(())
    }

    /// Forgets what spoke against an agent: an operator approved it.
    ///
    /// # Errors
    ///
    /// Where its machine cannot be accepted.
    pub async fn forgive(&self, agent: &AgentId) -> Result<(), StandError> {
        if let Some(machines) = self.machines.clone() {
            let name = agent.clone();
            let accepted = task::spawn_blocking(move || machines.change(name.as_str(), Machine::approve));
            accepted.await.map_err(io::Error::other)??;
        }
        self.note(agent, |presence| {
            presence.arrivals.forgive();
            presence.cloned = None;
        });
        Ok(())
    }

    /// How the machine compares with the one that was accepted. The first is, and another is noted.
    async fn likeness(&self, agent: &AgentId, shown: Option<Fingerprint>) -> Result<Likeness, PkiError> {
        let Some(machines) = self.machines.clone() else { return Ok(Likeness::First) };
        let agent = agent.clone();
        let looked =
            task::spawn_blocking(move || machines.change(agent.as_str(), |machine| machine.meet(shown.as_ref())));
        looked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// How an agent stands from now on, and why; `None` where that stays.
fn stands(before: &Standing, likeness: Likeness, cloned: Option<Cloned>) -> Option<(State, String)> {
    let is_waiting = before.state == State::Pending && before.reason.starts_with(CHANGED);
    match (before.state, cloned, likeness) {
        (State::Active | State::Pending, Some(cloned), _) => Some((State::Quarantined, cloned.reason().to_owned())),
        (State::Active, None, Likeness::Other) => {
            let why =
                "another machine than the one that was accepted, or a copy of its disk, or other network hardware";
            Some((State::Pending, format!("{CHANGED}: {why}")))
        }
        (_, None, Likeness::Same) if is_waiting => {
            Some((State::Active, "the machine that was accepted is back".to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use faultline_attribution::Timestamp;

    use super::*;

    #[test]
    fn an_agent_stands_as_its_machine_makes_it_and_never_better_than_an_operator_said() {
        let standing = |state, reason: &str| Standing::new(state, Timestamp::default(), reason);
        let (active, pending) = (standing(State::Active, ""), standing(State::Pending, "joined by itself"));
        let waiting = standing(State::Pending, "FINGERPRINT_CHANGED: another");
        let quarantined = standing(State::Quarantined, "AGENT_CLONED: two");
        let becomes = |before: &Standing, likeness, cloned| stands(before, likeness, cloned).map(|(state, _)| state);
        for likeness in [Likeness::First, Likeness::Same] {
            for before in [&active, &pending, &quarantined] {
                assert_eq!(becomes(before, likeness, None), None, "{before:?} {likeness:?}");
            }
        }
        assert_eq!(becomes(&active, Likeness::Other, None), Some(State::Pending));
        assert_eq!(becomes(&pending, Likeness::Other, None), None);
        assert_eq!(becomes(&waiting, Likeness::Other, None), None);
        assert_eq!(becomes(&waiting, Likeness::Same, None), Some(State::Active));
        for before in [&active, &pending, &waiting] {
            for likeness in [Likeness::Same, Likeness::Other] {
                assert_eq!(becomes(before, likeness, Some(Cloned::Machines)), Some(State::Quarantined));
            }
        }
        for likeness in [Likeness::Same, Likeness::Other] {
            assert_eq!(becomes(&quarantined, likeness, Some(Cloned::Processes)), None);
            assert_eq!(becomes(&standing(State::Revoked, ""), likeness, Some(Cloned::Processes)), None);
        }
    }

    #[test]
    fn every_reason_fits() {
        for cloned in [Cloned::Machines, Cloned::Processes] {
            assert!(cloned.reason().len() <= crate::registry::standing::MAX_REASON, "{}", cloned.reason().len());
        }
    }
}
