//! Who comes back by a bound key, and who does not.

use faultline_proto::{
    bound,
    enroll::v1::{BoundKey, RecoverRequest},
};
use rcgen::{PKCS_ED25519, SigningKey as _};

use super::*;
use crate::enroll::machines::{Machine, RECOVERIES};

const DAY: Duration = Duration::from_hours(24);

/// An agent that joined, with its bound key, from a machine of this fingerprint.
struct Agent {
    name: String,
    bound: KeyPair,
    fingerprint: Vec<u8>,
}

impl Agent {
    fn join(stage: &Stage) -> Self {
        let agent = Self { name: String::new(), bound: bound_key(), fingerprint: vec![7; 32] };
        let (join_string, key) = (stage.create(1), key());
        let request = EnrollRequest {
            bound_key: Some(bind(&agent.bound, &csr(&key))),
            fingerprint: agent.fingerprint.clone(),
            ..request(&join_string, &key)
        };
        let csr_der = csr(&key);
        let request = EnrollRequest { bound_key: Some(bind(&agent.bound, &csr_der)), csr_der, ..request };
        let name = stage.enrolment.enroll(next_peer(stage), &request).expect("joins").agent;
        Self { name, ..agent }
    }

    /// What it asks, with a challenge of this moment.
    fn request(&self, stage: &Stage, key: &KeyPair) -> RecoverRequest {
        let nonce = stage.enrolment.challenge(HERE, &self.name).expect("a challenge").nonce;
        self.sign(RecoverRequest {
            agent: self.name.clone(),
            nonce,
            csr_der: csr(key),
            fingerprint: self.fingerprint.clone(),
            signature: Vec::new(),
        })
    }

    fn sign(&self, request: RecoverRequest) -> RecoverRequest {
        let RecoverRequest { agent, nonce, csr_der, fingerprint, .. } = &request;
        let message = bound::recovering(agent, nonce, csr_der, fingerprint);
        RecoverRequest { signature: self.bound.sign(&message).expect("signed"), ..request }
    }

    fn recover(&self, stage: &Stage) -> Result<(), Denied> {
        // Addresses are limited in real time, which does not pass here.
        let peer = next_peer(stage);
        let nonce = stage.enrolment.challenge(peer, &self.name).expect("a challenge").nonce;
        let request = self.sign(RecoverRequest { nonce, ..self.request_of(&key()) });
        stage.enrolment.recover(peer, &request).map(|_| ())
    }

    fn request_of(&self, key: &KeyPair) -> RecoverRequest {
        RecoverRequest {
            agent: self.name.clone(),
            csr_der: csr(key),
            fingerprint: self.fingerprint.clone(),
            ..RecoverRequest::default()
        }
    }
}

fn bound_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

fn bind(bound: &KeyPair, csr_der: &[u8]) -> BoundKey {
    let signature = bound.sign(&bound::binding(csr_der)).expect("signed");
    BoundKey { public_key: bound.public_key_raw().to_vec(), signature }
}

/// An address that nobody asked from.
fn next_peer(stage: &Stage) -> IpAddr {
    let taken = stage.peers.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + taken))
}

#[test]
fn the_bound_key_brings_an_agent_back_long_after_its_certificate() {
    let stage = Stage::new();
    let agent = Agent::join(&stage);
    stage.pass(DAY * 400);
    let response = stage.enrolment.recover(HERE, &agent.request(&stage, &key())).expect("recovers");
    let leaf = CertificateDer::from(response.certificate_chain_der[0].clone());
    assert_eq!(agent_of(&leaf), Some(agent.name.clone()));
    assert_eq!(response.trust_bundle_der, [stage.enrolment.signing().authority.root_der().expect("root").to_vec()]);
    assert_eq!(stage.outcome(), format!("done: agent {}", agent.name));
}

#[test]
fn a_sixth_recovery_waits_for_an_operator_or_for_90_days() {
    let stage = Stage::new();
    let agent = Agent::join(&stage);
    // As if each were in another hour: how often one agent may get a certificate is limited in real time.
    let recover = || {
        let machines = &stage.enrolment.machines;
        machines.change(&agent.name, |machine| machine.recover(&key().serialize_pem(), stage.now())).expect("kept")
    };
    assert!((1..RECOVERIES).all(|_| recover()));
    assert_eq!(agent.recover(&stage), Ok(()));
    let denied = agent.recover(&stage).expect_err("the sixth");
    assert_eq!((told(&denied).as_str(), &denied), ("RECOVERIES_USED_UP", &Denied::Recovered(agent.name.clone())));
    assert!(denied.to_string().contains("faultline agent approve fra-"), "{denied}");
    stage.pass(DAY * 89);
    assert!(agent.recover(&stage).is_err());
    stage.pass(DAY);
    assert_eq!(agent.recover(&stage), Ok(()));
}

#[test]
fn whoever_has_not_the_key_learns_nothing_and_the_record_has_the_reason() {
    let stage = Stage::new();
    let (agent, other) = (Agent::join(&stage), Agent::join(&stage));
    let stranger = Agent { name: "nobody".into(), bound: bound_key(), fingerprint: vec![7; 32] };
    let thief = Agent { name: agent.name.clone(), bound: other.bound, fingerprint: vec![7; 32] };
    let unbound = stage.enroll(&stage.create(1), &key()).expect("joins").agent;
    let unbound = Agent { name: unbound, bound: bound_key(), fingerprint: Vec::new() };
    let traversal = Agent { name: "../agents/x".into(), bound: bound_key(), fingerprint: Vec::new() };
    for (who, reason) in [
        (&stranger, "AGENT_UNKNOWN"),
        (&traversal, "AGENT_UNKNOWN"),
        (&thief, "BOUND_KEY_WRONG"),
        (&unbound, "BOUND_KEY_MISSING"),
    ] {
        let denied = who.recover(&stage).expect_err("refused");
        let status = denied.status();
        assert_eq!(
            (told(&denied).as_str(), status.message()),
            ("RECOVERY_REFUSED", "no agent of this name has this key")
        );
        assert!(stage.outcome().starts_with(&format!("refused: {reason}: ")), "{}", stage.outcome());
    }
    assert_eq!(agent.recover(&stage), Ok(()), "none of that counted");
}

#[test]
fn what_was_signed_is_good_for_nothing_else_and_once() {
    let stage = Stage::new();
    let (agent, first) = (Agent::join(&stage), key());
    let sound = agent.request(&stage, &first);
    let altered = [
        RecoverRequest { csr_der: csr(&key()), ..sound.clone() },
        RecoverRequest { fingerprint: vec![8; 32], ..sound.clone() },
        RecoverRequest { signature: vec![0; 64], ..sound.clone() },
        RecoverRequest { signature: Vec::new(), ..sound.clone() },
    ];
    for request in altered {
        assert_eq!(stage.enrolment.recover(HERE, &request), Err(Denied::WrongKey));
    }
    let elsewhere = next_peer(&stage);
    assert_eq!(stage.enrolment.recover(elsewhere, &sound), Err(Denied::Challenge), "of another address");
    assert!(stage.enrolment.recover(HERE, &sound).is_ok());
    let denied = stage.enrolment.recover(HERE, &sound).expect_err("replayed");
    assert_eq!((told(&denied).as_str(), denied), ("CHALLENGE_INVALID", Denied::Challenge));
    let late = agent.request(&stage, &first);
    stage.pass(Duration::from_mins(1));
    assert_eq!(stage.enrolment.recover(HERE, &late), Err(Denied::Challenge), "over");
}

#[test]
fn an_answer_that_was_lost_counts_once() {
    let stage = Stage::new();
    let (agent, key) = (Agent::join(&stage), key());
    for _ in 0..2 {
        assert!(stage.enrolment.recover(HERE, &agent.request(&stage, &key)).is_ok());
    }
    assert_eq!(stage.enrolment.machines.of_agent(&agent.name).expect("kept").recoveries.len(), 1);
}

#[test]
fn another_machine_does_not_recover_until_an_operator_says_so() {
    let stage = Stage::new();
    let agent = Agent::join(&stage);
    let copy = Agent { fingerprint: vec![8; 32], ..agent };
    let denied = copy.recover(&stage).expect_err("another machine");
    assert_eq!(told(&denied), "FINGERPRINT_CHANGED");
    let silent = Agent { fingerprint: Vec::new(), ..copy };
    assert_eq!(silent.recover(&stage), Err(Denied::OtherMachine(silent.name.clone())));
    let copy = Agent { fingerprint: vec![8; 32], ..silent };
    assert!(copy.recover(&stage).is_err());
    stage.enrolment.machines.change(&copy.name, Machine::approve).expect("approved");
    assert_eq!(copy.recover(&stage), Ok(()));
}

#[test]
fn who_was_deleted_does_not_recover() {
    let stage = Stage::new();
    let agent = Agent::join(&stage);
    std::fs::remove_file(stage.data.path().join(format!("agents/{}.toml", agent.name))).expect("deleted");
    let denied = agent.recover(&stage).expect_err("deleted");
    assert_eq!(told(&denied), "RECOVERY_REFUSED");
}

#[test]
fn a_key_is_bound_only_by_whoever_holds_it() {
    let stage = Stage::new();
    let (join_string, key) = (stage.create(1), key());
    let csr_der = csr(&key);
    let sound = bind(&bound_key(), &csr_der);
    for wrong in [
        BoundKey { public_key: bound_key().public_key_raw().to_vec(), ..sound.clone() },
        BoundKey { public_key: Vec::new(), ..sound.clone() },
        bind(&bound_key(), b"another request"),
    ] {
        let request = EnrollRequest { bound_key: Some(wrong), csr_der: csr_der.clone(), ..request(&join_string, &key) };
        let denied = stage.enrolment.enroll(next_peer(&stage), &request).expect_err("not its own");
        assert_eq!(told(&denied), "MESSAGE_MALFORMED");
    }
    assert!(stage.enrolment.registry.all().is_empty(), "that made no agent");
}

#[test]
fn an_address_that_asks_for_challenges_without_end_waits() {
    let stage = Stage::new();
    let answers: Vec<_> = (0..20).map(|_| stage.enrolment.challenge(HERE, "nobody")).collect();
    assert!(answers[0].is_ok());
    assert!(matches!(answers[19], Err(Denied::RateLimit(_))), "{:?}", answers[19]);
    assert!(stage.enrolment.challenge(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8)), "nobody").is_ok());
}
