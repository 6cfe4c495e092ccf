//! Recovery: a new certificate for an agent whose certificate is over, because nobody renewed it in time: this coordinator was
//! down, or the agent was.
//!
//! Rules: it is the bound key that speaks, never a join string; its signature is looked at only for an agent that has one, and
//! only under a challenge that was made here; whoever has not shown the key learns nothing of who is an agent
//! ([`Denied::status`]), and the real reason stands in the audit record; who has shown it is told what is in the way.

use std::net::IpAddr;

use faultline_attribution::Timestamp;
use faultline_proto::{
    bound::{self, Fingerprint, KEY_BYTES},
    enroll::v1::{BoundKey, GetChallengeResponse, RecoverRequest, RecoverResponse},
};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;

use super::{Denied, Enrolment, PoisonError, failed, is_zero, machines::Likeness};
use crate::{
    pki::{self, Request},
    registry::standing::{Standing, State},
};

/// What the audit record keeps of an attempt.
#[derive(Serialize)]
struct Asked<'a> {
    agent: &'a str,
    peer: IpAddr,
    /// Attempts before this one that were too many to be put on record.
    #[serde(skip_serializing_if = "is_zero")]
    unrecorded: u64,
}

impl Enrolment {
    /// A challenge for whoever says to be this agent.
    ///
    /// # Errors
    ///
    /// When the address asks too often.
    pub fn challenge(&self, peer: IpAddr, agent: &str) -> Result<GetChallengeResponse, Denied> {
        self.limits.count_address(peer)?;
        Ok(GetChallengeResponse { nonce: self.challenges.make(peer, agent, self.now()) })
    }

    /// A new certificate for the agent that holds the bound key of this name. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When it does not, or may not recover; what of that it is told is [`Denied::status`].
    pub fn recover(&self, peer: IpAddr, request: &RecoverRequest) -> Result<RecoverResponse, Denied> {
        self.limits.count_address(peer).inspect_err(|_| self.limits.leave_out())?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let proved = self.prove(peer, request, now);
        if let Err(denied) = &proved
            && !self.limits.may_record()
        {
            self.limits.leave_out();
            return Err(denied.clone());
        }
        let agent = if pki::check_name(&request.agent).is_ok() { request.agent.as_str() } else { "" };
        let asked = Asked { agent, peer, unrecorded: self.limits.take_left_out() };
        let entry = self.begin("recover", &asked)?;
        let done = proved.and_then(|()| self.give(request, now));
        let outcome = match &done {
            Ok(_) => format!("done: agent {agent}"),
            Err(denied) => format!("refused: {}: {denied}", denied.reason()),
        };
        self.end(entry, &outcome);
        tracing::info!(%peer, agent, outcome, "recovery");
        done
    }

    /// Whether it is the agent of this name that asks.
    fn prove(&self, peer: IpAddr, request: &RecoverRequest, now: Timestamp) -> Result<(), Denied> {
        let RecoverRequest { agent, nonce, csr_der, fingerprint, signature } = request;
        if !self.challenges.is_good(nonce, peer, agent, now) {
            return Err(Denied::Challenge);
        }
        if pki::check_name(agent).is_err() || matches!(self.may_stay(agent), Err(Denied::Deleted(_))) {
            return Err(Denied::Stranger);
        }
        let machine = self.machines.of_agent(agent).map_err(|error| failed(&error))?;
        let key = machine.bound_key.and_then(|key| data_encoding::HEXLOWER.decode(key.as_bytes()).ok());
        let key = key.ok_or(Denied::NoBoundKey)?;
        let message = bound::recovering(agent, nonce, csr_der, fingerprint);
        UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).map_err(|_| Denied::WrongKey)?;
        // Not before: whoever has no key cannot fill what is remembered.
        if self.challenges.spend(nonce, now) { Ok(()) } else { Err(Denied::Challenge) }
    }

    /// Gives an agent that has shown its key a certificate, if it may have one.
    fn give(&self, request: &RecoverRequest, now: Timestamp) -> Result<RecoverResponse, Denied> {
        let RecoverRequest { agent, csr_der, fingerprint, .. } = request;
        self.may_stay(agent)?;
        let shown = read_fingerprint(fingerprint)?;
        let asked = Request::read(csr_der).map_err(|error| Denied::Malformed(error.to_string()))?;
        self.limits.count_renewal(agent)?;
        let counted = self.machines.change(agent, |machine| {
            if machine.meet(shown.as_ref()) == Likeness::Other {
                return Err(Denied::OtherMachine(agent.clone()));
            }
            let is_allowed = machine.recover(&asked.key_digest(), now);
            if is_allowed { Ok(()) } else { Err(Denied::Recovered(agent.clone())) }
        });
        let counted = counted.map_err(|error| failed(&error))?;
        counted.or_else(|denied| self.let_wait(agent, denied, now))?;
        let (certificate_chain_der, trust_bundle_der) = self.certify(agent, &asked)?;
        Ok(RecoverResponse { certificate_chain_der, trust_bundle_der })
    }
}

impl Enrolment {
    /// Lets an agent wait for an operator, who sees why.
    fn let_wait(&self, agent: &str, denied: Denied, now: Timestamp) -> Result<(), Denied> {
        let standing = self.registry.standing(agent).map_err(|error| Denied::Failed(error.to_string()))?;
        if standing.state == State::Active {
            let reason = format!("{}: {denied}", denied.reason());
            let waiting = Standing::new(State::Pending, now, &reason);
            self.registry.stand(agent, &waiting).map_err(|error| failed(&error))?;
        }
        Err(denied)
    }
}

/// The key that a newcomer binds, hexadecimal, if it has shown that it holds the other half.
pub(super) fn read_key(bound: &BoundKey, csr_der: &[u8]) -> Result<String, Denied> {
    let BoundKey { public_key, signature } = bound;
    let is_its = public_key.len() == KEY_BYTES
        && UnparsedPublicKey::new(&ED25519, public_key).verify(&bound::binding(csr_der), signature).is_ok();
    if is_its {
        Ok(data_encoding::HEXLOWER.encode(public_key))
    } else {
        Err(Denied::Malformed(
            "a bound key is 32 bytes of Ed25519, and signs the request that comes with it".to_owned(),
        ))
    }
}

/// The fingerprint in a field; `None` where it is empty.
pub(crate) fn read_fingerprint(field: &[u8]) -> Result<Option<Fingerprint>, Denied> {
    let wrong = || Denied::Malformed(format!("a fingerprint has 32 bytes, not {}", field.len()));
    if field.is_empty() { Ok(None) } else { field.try_into().map(Some).map_err(|_| wrong()) }
}
