//! Standings of agents: what the registry says, what the log knows of it, and what sessions are told.
//!
//! Rules: the registry is first, then whoever is connected, then the log, so that somebody who is revoked is out at once,
//! whatever the log can take; what the log does not know yet it is told before the agent's next session, and at the start. The
//! registry is read and written in place, as everything that a session does: its files are small, and the order of things is that
//! of a simulation.

use std::{collections::BTreeMap, io};

use faultline_attribution::{AgentId, Timestamp};
use tokio::sync::watch;

use super::{Ingest, presence::Presence};
use crate::{
    log::{Admission, LogError},
    pki::PkiError,
    record::{Record, RecordKind},
    registry::standing::{Standing, State},
};

/// Why an agent does not stand as it should.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] PkiError),
    /// The registry cannot be read.
    #[error("the registry cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The log does not know of it yet.
    #[error("the registry says it, and sessions go by it, but the log does not know of it yet: {0}")]
    Log(#[from] LogError),
}

impl Ingest {
    /// How an agent stands, as the registry says.
    ///
    /// # Errors
    ///
    /// Where that cannot be told at the moment.
    pub fn standing(&self, agent: &AgentId) -> io::Result<Standing> {
        self.registry.standing(agent.as_str())
    }

    /// Lets an agent stand so from now on.
    ///
    /// # Errors
    ///
    /// When it does not, or only the log does not know of it yet.
    pub async fn stand(&self, agent: &AgentId, standing: Standing) -> Result<(), StandError> {
        self.registry.stand(agent.as_str(), &standing)?;
        tracing::info!(%agent, standing = standing.state.word(), reason = standing.reason, "agent stands anew");
        Ok(self.record_standing(agent, standing).await?)
    }

    /// Since when agents are not trusted, those of whom that was said.
    pub fn distrusted(&self) -> BTreeMap<AgentId, Timestamp> {
        let agents = self.presences();
        let since = agents.iter().map(|(agent, presence)| (agent, presence.standing.borrow().distrust_since));
        since.filter_map(|(agent, since)| Some((agent.clone(), since?))).collect()
    }

    /// The names of those who may connect.
    pub fn issued(&self) -> Vec<String> {
        let all = self.registry.all().into_iter().map(|(name, _)| name);
        all.filter(|name| self.registry.standing(name).is_ok_and(|standing| standing.state.may_connect())).collect()
    }

    /// Tells the log of every agent that has ever connected and stands otherwise than it knows.
    ///
    /// # Errors
    ///
    /// Where the registry cannot be read, or the log cannot be written.
    pub async fn record_standings(&self) -> Result<(), StandError> {
        let agents: Vec<AgentId> = self.presences().keys().cloned().collect();
        for agent in agents {
            self.take_standing(&agent).await?;
        }
        Ok(())
    }

    /// How an agent stands as the registry says; from here on the log knows, and the receiver hears of each change.
    pub(super) async fn take_standing(&self, agent: &AgentId) -> Result<watch::Receiver<Standing>, StandError> {
        let standing = self.standing(agent)?;
        let known = self.known_standing(agent);
        let is_news = !is_same(&known.borrow(), &standing);
        if is_news {
            self.record_standing(agent, standing).await?;
        }
        Ok(known)
    }

    async fn record_standing(&self, agent: &AgentId, standing: Standing) -> Result<(), LogError> {
        let record = Record::own(RecordKind::Standing, self.now(), agent.as_str(), &standing);
        let before = self.known_standing(agent).borrow().clone();
        self.note(agent, |presence| drop(presence.standing.send_replace(standing)));
        let recorded = self.log.append(Admission::Own, record).await;
        if recorded.is_err() {
            // The next session, or the next look at the registry, tries again.
            self.note(agent, |presence| drop(presence.standing.send_replace(before)));
        }
        recorded.map(|_| ())
    }

    fn known_standing(&self, agent: &AgentId) -> watch::Receiver<Standing> {
        let now = self.now();
        let mut agents = self.presences();
        agents.entry(agent.clone()).or_insert_with(|| Presence::new(now)).standing.subscribe()
    }
}

/// Whether the log need not be told: when an agent began to be active is of no interest.
fn is_same(known: &Standing, standing: &Standing) -> bool {
    known == standing || (known.state == State::Active && standing.state == State::Active)
}
