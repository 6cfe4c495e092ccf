//! Enrolment: turns a join string and an agent's own key into an agent, and gives agents new certificates while they hold a
//! good one, or by their bound key when it is over ([`recovery`](self)).
//!
//! Rules: a join string does nothing but this; nothing is signed or verified for whoever has not shown its secret; the same join
//! string with the same key comes to the same agent, and the coordinator picks the name; why somebody was refused is told only to
//! whoever had the secret, and stands in the audit record always (`Enrolment::record`). One enrolment at a time, each durable
//! before it is answered.

mod challenge;
pub mod denied;
mod limits;
pub mod machines;
mod recovery;
mod service;
pub mod strings;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use faultline_attribution::Timestamp;
use faultline_proto::{
    clock::Clock,
    convert,
    enroll::v1::{EnrollRequest, EnrollResponse, RenewResponse, enroll_request::Proof as Shown},
    join::JoinString,
};
use serde::Serialize;

use self::{
    challenge::Challenges,
    limits::Limits,
    machines::Machines,
    strings::{JoinStrings, Joining, Joins},
};
pub use self::{denied::Denied, service::Enrolments};
pub(crate) use self::{recovery::read_fingerprint, service::newcomers_only_enroll};
use crate::{
    access::rows::Proof,
    admin::audit::Audit,
    pki::{Authority, PkiError, Request, rotation::Bundle},
    registry::{
        Registry,
        standing::{Standing, State},
    },
};

/// Characters of a build's version that are put on record.
const MAX_VERSION: usize = 40;

/// How often another name is tried where somebody has one.
const NAMES: usize = 8;

/// Where agents join and stay.
pub struct Enrolment {
    data: PathBuf,
    signing: RwLock<Arc<Signing>>,
    registry: Registry,
    strings: JoinStrings,
    machines: Machines,
    challenges: Challenges,
    audit: Arc<Audit>,
    clock: Clock,
    limits: Limits,
    /// What is read of a join string or a challenge is true until it is written.
    turn: Mutex<()>,
}

/// Who signs, and what whoever joins is to trust.
struct Signing {
    authority: Authority,
    bundle: Bundle,
}

impl Signing {
    fn read(data: &Path) -> Result<Self, PkiError> {
        Ok(Self { authority: Authority::open(data)?, bundle: Bundle::of(data)? })
    }
}

/// What the audit record keeps of an attempt.
#[derive(Serialize)]
struct Asked<'a> {
    join_string: Option<&'a str>,
    peer: IpAddr,
    version: String,
    /// Attempts before this one that were too many to be put on record.
    #[serde(skip_serializing_if = "is_zero")]
    unrecorded: u64,
}

/// Certificates in DER.
type Certificates = Vec<Vec<u8>>;

/// What came of an attempt.
struct Enrolled {
    agent: String,
    is_again: bool,
    response: EnrollResponse,
}

impl Enrolment {
    /// The enrolment of a data directory.
    ///
    /// # Errors
    ///
    /// Where it has no certificate authority.
    pub fn open(data: &Path, audit: Arc<Audit>, clock: Clock) -> Result<Self, PkiError> {
        Ok(Self {
            data: data.to_owned(),
            signing: RwLock::new(Arc::new(Signing::read(data)?)),
            registry: Registry::of(data),
            strings: JoinStrings::of(data),
            machines: Machines::of(data),
            challenges: Challenges::default(),
            audit,
            clock,
            limits: Limits::default(),
            turn: Mutex::default(),
        })
    }

    /// The join strings.
    pub fn strings(&self) -> &JoinStrings {
        &self.strings
    }

    /// What is known of agents' machines.
    pub fn machines(&self) -> &Machines {
        &self.machines
    }

    /// Does something with the join strings while nobody enrols.
    pub fn alone<T>(&self, act: impl FnOnce(&JoinStrings, &Authority) -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        act(&self.strings, &self.signing().authority)
    }

    /// Signs from now on with what the data directory has by now. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Where it cannot be read; what signs stays.
    pub fn reload(&self) -> Result<(), PkiError> {
        let signing = Arc::new(Signing::read(&self.data)?);
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
        Ok(())
    }

    fn signing(&self) -> Arc<Signing> {
        Arc::clone(&self.signing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes an agent of whoever is at this address. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When it may not become one; what of that it is told is [`Denied::status`].
    pub fn enroll(&self, peer: IpAddr, request: &EnrollRequest) -> Result<EnrollResponse, Denied> {
        self.limits.count_address(peer).inspect_err(|_| self.limits.leave_out())?;
        let shown = match &request.proof {
            Some(Shown::JoinString(text)) => text.parse::<JoinString>().ok(),
            None => None,
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let proof = shown.as_ref().map_or(Proof::Unknown, |shown| self.strings.prove(shown));
        if !matches!(proof, Proof::Good(_)) && !self.limits.may_record() {
            self.limits.leave_out();
            return Err(if matches!(proof, Proof::WrongSecret) { Denied::WrongSecret } else { Denied::Unknown });
        }
        let id = shown.as_ref().map(|shown| shown.id.as_str());
        let entry = self.record(id, peer, &request.version)?;
        let done = match (proof, id) {
            (Proof::Good(joining), Some(id)) => self.join(id, joining, request),
            (Proof::WrongSecret, _) => Err(Denied::WrongSecret),
            _ => Err(Denied::Unknown),
        };
        let outcome = match &done {
            Ok(Enrolled { agent, is_again: false, .. }) => format!("done: agent {agent}"),
            Ok(Enrolled { agent, is_again: true, .. }) => format!("done: agent {agent}, which asked again"),
            Err(denied) => format!("refused: {}: {denied}", denied.reason()),
        };
        self.end(entry, &outcome);
        tracing::info!(%peer, join_string = id, outcome, "enrolment");
        done.map(|enrolled| enrolled.response)
    }

    /// A new certificate for an agent, by the name in the one that it holds.
    ///
    /// # Errors
    ///
    /// When it was taken out of the registry, asks too often, or asks for nothing sound.
    pub fn renew(&self, agent: &str, csr_der: &[u8]) -> Result<RenewResponse, Denied> {
        self.may_stay(agent)?;
        self.limits.count_renewal(agent)?;
        let asked = Request::read(csr_der).map_err(|error| Denied::Malformed(error.to_string()))?;
        let (certificate_chain_der, trust_bundle_der) = self.certify(agent, &asked)?;
        tracing::info!(agent, "certificate renewed");
        Ok(RenewResponse { certificate_chain_der, trust_bundle_der })
    }

    /// Joins whoever has the secret of this join string.
    fn join(&self, id: &str, mut joining: Joining, request: &EnrollRequest) -> Result<Enrolled, Denied> {
        self.limits.count_string(id)?;
        let now = self.now();
        joining.is_open(now)?;
        let asked = Request::read(&request.csr_der).map_err(|error| Denied::Malformed(error.to_string()))?;
        let bound = request.bound_key.as_ref().map(|bound| recovery::read_key(bound, &request.csr_der)).transpose()?;
        let shown = read_fingerprint(&request.fingerprint)?;
        let key = asked.key_digest();
        let (agent, is_again) = match joining.joins(&key)? {
            Joins::Again(agent) => {
                self.may_stay(&agent)?;
                (agent, true)
            }
            Joins::Anew => {
                let agent = self.name(&joining)?;
                if joining.needs_approval {
                    let reason = format!("it joined with join string {id}, which asks for approval");
                    let pending = Standing::new(State::Pending, now, &reason);
                    self.registry.stand(&agent, &pending).map_err(|error| failed(&error))?;
                }
                joining.add(key, agent.clone(), now);
                // After the registry: an end between the two leaves an agent without a certificate, and a use of the string.
                self.strings.keep(id, &joining).map_err(|error| failed(&error))?;
                (agent, false)
            }
        };
        let kept = self.machines.change(&agent, |machine| {
            machine.bound_key = bound.or(machine.bound_key.take());
            machine.meet(shown.as_ref());
        });
        kept.map_err(|error| failed(&error))?;
        let (certificate_chain_der, trust_bundle_der) = self.certify(&agent, &asked)?;
        let server_time = Some(convert::timestamp(self.clock.now_micros()));
        let response = EnrollResponse { agent: agent.clone(), certificate_chain_der, trust_bundle_der, server_time };
        Ok(Enrolled { agent, is_again, response })
    }

    /// Whether an agent may have a certificate.
    fn may_stay(&self, agent: &str) -> Result<(), Denied> {
        match self.registry.standing(agent).map_err(|error| Denied::Failed(error.to_string()))?.state {
            State::Active | State::Pending | State::Quarantined => Ok(()),
            State::Revoked => Err(Denied::Barred(agent.to_owned())),
            State::Deleted => Err(Denied::Deleted(agent.to_owned())),
        }
    }

    /// Puts a new agent into the registry, under a name that nobody has.
    fn name(&self, joining: &Joining) -> Result<String, Denied> {
        for _ in 0..NAMES {
            let name = joining.name(rand::random());
            if self.registry.admit(&name, &joining.place).map_err(|error| failed(&error))? {
                return Ok(name);
            }
        }
        Err(Denied::Failed("no free name was found".to_owned()))
    }

    /// A certificate chain for this key, and the roots to trust.
    fn certify(&self, agent: &str, asked: &Request) -> Result<(Certificates, Certificates), Denied> {
        let Signing { authority, bundle } = &*self.signing();
        let chain = authority.certify(agent, asked, self.clock.now_micros()).map_err(|error| failed(&error))?;
        Ok((
            chain.into_iter().map(|der| der.to_vec()).collect(),
            bundle.roots.iter().map(|root| root.to_vec()).collect(),
        ))
    }

    fn record(&self, join_string: Option<&str>, peer: IpAddr, version: &str) -> Result<i64, Denied> {
        let version = version.chars().take(MAX_VERSION).collect();
        self.begin("enroll", &Asked { join_string, peer, version, unrecorded: self.limits.take_left_out() })
    }

    /// Puts an attempt on record, before it is acted on.
    fn begin(&self, call: &str, asked: &impl Serialize) -> Result<i64, Denied> {
        let asked = serde_json::to_string(asked).unwrap_or_default();
        self.audit.begin(self.now(), None, call, &asked).map_err(|error| Denied::Failed(error.to_string()))
    }

    /// Puts on record what became of it.
    fn end(&self, entry: i64, outcome: &str) {
        if let Err(error) = self.audit.end(entry, outcome) {
            tracing::error!(entry, outcome, %error, "audit record not completed");
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now_micros())
    }
}

fn failed(error: &PkiError) -> Denied {
    Denied::Failed(error.to_string())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests;
