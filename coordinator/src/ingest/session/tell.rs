//! What an agent is told of itself in its session: which roots to trust, and how it stands. Who may not be here any more is put out.

use std::time::Duration;

use faultline_proto::{
    agent::v1::{self as wire, StandingNotice, TrustBundle, session_response::Message as Reply},
    convert,
};
use futures::future;
use tokio::{sync::watch, time};
use tonic::Status;

use super::{Session, refusals::not_allowed};
use crate::{
    ingest::{Told, Trust},
    registry::standing::{Standing, State},
};

/// How often the registry is asked how the agent stands: somebody may have changed its files. Source: half of what the fault table of the design notes
/// allows.
const REGISTRY: Duration = Duration::from_secs(30);

/// The log has this long to note that an agent was put out, which does not wait for it.
const PUT_OUT: Duration = Duration::from_millis(500);

impl Session<'_> {
    /// Tells an agent that trusts other roots which to trust, and to renew when another signs.
    pub(super) async fn watch_trust(&self, mut trust: watch::Receiver<Trust>) -> Result<(), Status> {
        loop {
            let Trust { bundle, is_turned } = trust.borrow_and_update().clone();
            let mut told = Told::default();
            self.note(|presence| told.clone_from(&presence.told));
            let is_due = is_turned && told.signer != bundle.signer;
            // One that says nothing of what it trusts cannot be told.
            if !told.trust_bundle.is_empty() && (told.trust_bundle != bundle.digest || is_due) {
                let roots_der = bundle.roots.iter().map(|root| root.to_vec()).collect();
                self.reply(Reply::TrustBundle(TrustBundle { roots_der, renew: is_due })).await?;
            }
            if trust.changed().await.is_err() {
                future::pending::<()>().await;
            }
        }
    }

    /// Tells the agent how it stands, as long as it may be here.
    pub(super) async fn watch_standing(&self, mut standing: watch::Receiver<Standing>) -> Result<(), Status> {
        let mut told = State::Active;
        loop {
            let now = standing.borrow_and_update().clone();
            if let Err(refused) = not_allowed(&self.agent, &now) {
                let departed = time::timeout(PUT_OUT, self.depart()).await;
                if departed.is_err() {
                    tracing::warn!(agent = %self.agent, "put out before the log could note it");
                }
                return Err(refused);
            }
            if now.state != told {
                told = now.state;
                self.reply(Reply::StandingNotice(notice(&now))).await?;
            }
            tokio::select! {
                // The agent's presence, which holds the other end, is never forgotten.
                _ = standing.changed() => {}
                () = self.ingest.clock.sleep(REGISTRY) => {
                    // What cannot be told ends no session.
                    if let Err(error) = self.ingest.take_standing(&self.agent).await {
                        tracing::warn!(agent = %self.agent, %error, "how an agent stands cannot be told");
                    }
                }
            }
        }
    }
}

/// What an agent is told of how it stands.
fn notice(standing: &Standing) -> StandingNotice {
    let state = match standing.state {
        State::Active => wire::Standing::Active,
        State::Pending => wire::Standing::Pending,
        State::Quarantined | State::Revoked | State::Deleted => wire::Standing::Quarantined,
    };
    let since = Some(convert::timestamp(standing.since.micros()));
    StandingNotice { standing: state as i32, reason: standing.reason.clone(), since }
}
