//! Recovery: how an agent comes back whose certificate is over, by the key that it bound when it joined.
//!
//! Rules: no join string plays a part; the coordinator is known by the roots that are trusted already, before it is told who asks;
//! key and certificate are replaced whole, and the bound key stays.

use std::{error::Error, net::IpAddr};

use faultline_proto::{
    bound::{Fingerprint, recovering},
    enroll::v1::{GetChallengeRequest, RecoverRequest, enrollment_service_client::EnrollmentServiceClient},
};
use rcgen::{KeyPair, SigningKey as _};
use tonic::{Code, Status};

use super::{PATIENCE, files, over, request, said};
use crate::{
    config::Coordinator,
    uplink::{Dialer, agent_of, chain},
};

/// Why it did not come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// It has no bound key, or no certificate that names it.
    #[error("{0}")]
    Impossible(String),
    /// The coordinator said no.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// Nobody answers, or not now, or nothing that can be used.
    #[error("{0}")]
    Failed(String),
}

/// Asks the coordinator for a new certificate for this key, and puts both in the place of the old ones. With one key it may be
/// tried as often as it takes.
pub(crate) async fn recover(
    coordinator: &Coordinator,
    source: Option<IpAddr>,
    fingerprint: Option<Fingerprint>,
    key: &KeyPair,
) -> Result<(), RecoverError> {
    let file = coordinator.certificate.display();
    let bound = files::bound_key(&coordinator.certificate);
    let bound =
        bound.ok_or_else(|| RecoverError::Impossible(format!("{file}.bound: there is no bound key: join again")))?;
    let agent = agent_of(coordinator);
    let agent = agent.ok_or_else(|| RecoverError::Impossible(format!("{file}: names no agent: join again")))?;
    let dialer = Dialer::newcomer(coordinator, source).map_err(|error| failed(&error))?;
    let asking = async {
        let stream = dialer.dial().await.map_err(|error| failed(&error))?;
        let mut client = EnrollmentServiceClient::new(over(stream).await.map_err(|error| failed(&error))?);
        let nonce = client
            .get_challenge(GetChallengeRequest { agent: agent.clone() })
            .await
            .map_err(|status| answered(&status))?;
        let (nonce, csr_der) = (nonce.into_inner().nonce, request(key).map_err(|error| failed(&error))?);
        let fingerprint = fingerprint.map(Vec::from).unwrap_or_default();
        let signature =
            bound.sign(&recovering(&agent, &nonce, &csr_der, &fingerprint)).map_err(|error| failed(&error))?;
        let asked = RecoverRequest { agent, nonce, csr_der, fingerprint, signature };
        client.recover(asked).await.map(tonic::Response::into_inner).map_err(|status| answered(&status))
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    let answer = answer.unwrap_or_else(|_| Err(RecoverError::Failed("no answer in time".to_owned())))?;
    let identity = files::identity(key, &answer.certificate_chain_der).map_err(RecoverError::Failed)?;
    files::replace(&coordinator.certificate, &identity)
        .map_err(|error| RecoverError::Failed(format!("{file}: {error}")))
}

fn failed(error: &dyn Error) -> RecoverError {
    RecoverError::Failed(chain(error))
}

fn answered(status: &Status) -> RecoverError {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => RecoverError::Refused(said(status)),
        _ => RecoverError::Failed(said(status)),
    }
}
