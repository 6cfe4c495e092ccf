//! Who joins with what, in virtual time: each refusal, with its reason for whoever asked and for the record.

mod recovery;

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicI64, AtomicU8, Ordering},
    time::Duration,
};

use faultline_proto::{clock::Clock, join::JoinString};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use tonic_types::StatusExt as _;

use super::{strings::Wanted, *};
use crate::{pki::agent_of, registry::Place};

const NOW: i64 = 1_761_752_473_000_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

struct Stage {
    data: tempfile::TempDir,
    enrolment: Enrolment,
    jumped: &'static AtomicI64,
    /// Addresses that asked.
    peers: AtomicU8,
}

impl Stage {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("dir");
        Authority::init(data.path(), "lab.example", &[], NOW).expect("authority");
        let jumped: &'static AtomicI64 = Box::leak(Box::default());
        let audit = Arc::new(Audit::open(data.path()).expect("audit"));
        let enrolment = Enrolment::open(data.path(), audit, Clock::starting_at(NOW, jumped)).expect("enrolment");
        Self { data, enrolment, jumped, peers: AtomicU8::new(0) }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.enrolment.clock.now_micros())
    }

    fn create(&self, uses: u32) -> JoinString {
        let place = Place { isp: Some("hetzner-de".into()), ..Place::default() };
        let wanted = Wanted { label: "fra".into(), uses, life_s: 3600, place, needs_approval: false };
        let now = self.now();
        let made = self.enrolment.alone(|strings, authority| strings.create(&wanted, authority.pin(), now));
        made.expect("made").0
    }

    fn enroll(&self, join_string: &JoinString, key: &KeyPair) -> Result<EnrollResponse, Denied> {
        self.enrolment.enroll(HERE, &request(join_string, key))
    }

    fn pass(&self, span: Duration) {
        self.jumped.fetch_add(i64::try_from(span.as_micros()).expect("short"), Ordering::Relaxed);
    }

    /// What the record says became of the newest attempt.
    fn outcome(&self) -> String {
        let entry = Audit::tail(self.data.path(), 1).expect("record").pop().expect("an entry");
        assert!(entry.uid.is_none() && ["enroll", "recover"].contains(&entry.call.as_str()), "{entry:?}");
        assert!(entry.asked.contains("192.0.2."), "{}", entry.asked);
        entry.outcome.expect("an outcome")
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn csr(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(vec!["root.example".to_owned()]).expect("parameters");
    params.serialize_request(key).expect("a request").der().to_vec()
}

fn request(join_string: &JoinString, key: &KeyPair) -> EnrollRequest {
    let proof = Some(Shown::JoinString(join_string.to_string()));
    EnrollRequest { csr_der: csr(key), version: "0.1.0".into(), proof, ..EnrollRequest::default() }
}

/// What whoever asked is told.
fn told(denied: &Denied) -> String {
    denied.status().get_details_error_info().expect("one ErrorInfo").reason
}

#[test]
fn a_join_string_makes_an_agent_whose_name_the_coordinator_picks() {
    let stage = Stage::new();
    let response = stage.enroll(&stage.create(1), &key()).expect("joins");
    assert!(response.agent.starts_with("fra-") && response.agent.len() == 12, "{}", response.agent);
    let leaf = CertificateDer::from(response.certificate_chain_der[0].clone());
    assert_eq!(agent_of(&leaf), Some(response.agent.clone()), "what the request says of names is ignored");
    assert_eq!(response.trust_bundle_der, [stage.enrolment.signing().authority.root_der().expect("root").to_vec()]);
    let place = stage.enrolment.registry.place(&response.agent).expect("in the registry");
    assert_eq!(place.isp.as_deref(), Some("hetzner-de"), "the operator's word");
    assert_eq!(stage.outcome(), format!("done: agent {}", response.agent));
}

#[test]
fn the_same_key_gets_the_same_agent_again_and_another_key_nothing() {
    let stage = Stage::new();
    let (join_string, first) = (stage.create(1), key());
    let agent = stage.enroll(&join_string, &first).expect("joins").agent;
    let again = stage.enroll(&join_string, &first).expect("the answer was lost");
    assert_eq!(again.agent, agent);
    assert_eq!(stage.enrolment.registry.all().len(), 1);
    let denied = stage.enroll(&join_string, &key()).expect_err("used up");
    assert_eq!((&denied, told(&denied).as_str()), (&Denied::UsedUp(1), "TOKEN_USED_UP"));
    let reopened = Enrolment::open(stage.data.path(), Arc::clone(&stage.enrolment.audit), stage.enrolment.clock);
    let after_restart = reopened.expect("reopened").enroll(HERE, &request(&join_string, &first)).expect("known");
    assert_eq!(after_restart.agent, agent);
}

#[test]
fn a_join_string_for_two_makes_two_agents() {
    let stage = Stage::new();
    let join_string = stage.create(2);
    let names: Vec<String> = (0..2).map(|_| stage.enroll(&join_string, &key()).expect("joins").agent).collect();
    assert_ne!(names[0], names[1]);
    assert_eq!(stage.enroll(&join_string, &key()).map(|_| ()), Err(Denied::UsedUp(2)));
}

#[test]
fn a_join_string_is_good_until_its_time_is_over() {
    let stage = Stage::new();
    let (join_string, first) = (stage.create(3), key());
    stage.pass(Duration::from_secs(3590));
    assert!(stage.enroll(&join_string, &first).is_ok());
    stage.pass(Duration::from_secs(11));
    for key in [first, key()] {
        let denied = stage.enroll(&join_string, &key).expect_err("over");
        assert!(matches!(denied, Denied::Expired(_)) && told(&denied) == "TOKEN_EXPIRED", "{denied}");
    }
    assert!(stage.outcome().starts_with("refused: TOKEN_EXPIRED: the join string was good until "));
}

#[test]
fn a_revoked_join_string_makes_nobody_and_whoever_joined_stays() {
    let stage = Stage::new();
    let (join_string, first) = (stage.create(2), key());
    let agent = stage.enroll(&join_string, &first).expect("joins").agent;
    let revoked = stage.enrolment.strings.revoke(&join_string.id, stage.now()).expect("written").expect("there");
    assert_eq!(revoked.joined[0].agent, agent);
    let denied = stage.enroll(&join_string, &key()).expect_err("revoked");
    assert!(matches!(denied, Denied::Revoked(_)) && told(&denied) == "TOKEN_REVOKED", "{denied}");
    assert!(stage.enrolment.renew(&agent, &csr(&key())).is_ok());
    assert!(stage.enrolment.strings.revoke("nobody", stage.now()).expect("read").is_none());
}

#[test]
fn whoever_has_no_secret_learns_nothing_and_the_record_has_the_reason() {
    let stage = Stage::new();
    let join_string = stage.create(1);
    let other = stage.create(1);
    stage.enrolment.strings.revoke(&join_string.id, stage.now()).expect("revoked");
    let wrong = JoinString { secret: other.secret.clone(), ..join_string };
    let unknown = JoinString { id: "nobody".into(), ..other };
    for (shown, reason) in [(wrong, "TOKEN_WRONG_SECRET"), (unknown, "TOKEN_UNKNOWN")] {
        let denied = stage.enroll(&shown, &key()).expect_err("refused");
        assert_eq!((told(&denied).as_str(), denied.status().message()), ("TOKEN_UNKNOWN", "no such join string"));
        assert!(stage.outcome().starts_with(&format!("refused: {reason}: ")), "{}", stage.outcome());
    }
    let none = EnrollRequest { proof: None, ..request(&stage.create(1), &key()) };
    assert_eq!(stage.enrolment.enroll(HERE, &none), Err(Denied::Unknown));
}

#[test]
fn nothing_of_a_request_is_looked_at_before_the_secret_is_known() {
    let stage = Stage::new();
    let join_string = stage.create(1);
    let nonsense = |shown: &JoinString| EnrollRequest { csr_der: vec![0x30; 50], ..request(shown, &key()) };
    let stranger = JoinString { id: "nobody".into(), ..join_string.clone() };
    assert_eq!(stage.enrolment.enroll(HERE, &nonsense(&stranger)), Err(Denied::Unknown));
    let denied = stage.enrolment.enroll(HERE, &nonsense(&join_string)).expect_err("no request");
    assert!(matches!(denied, Denied::Malformed(_)), "{denied}");
    assert!(stage.enroll(&join_string, &key()).is_ok(), "that took no use of it");
}

#[test]
fn an_address_that_tries_too_often_waits_and_others_do_not() {
    let stage = Stage::new();
    let join_string = stage.create(1);
    let stranger = JoinString { id: "nobody".into(), ..join_string.clone() };
    let denied: Vec<_> = (0..20).map(|_| stage.enroll(&stranger, &key()).expect_err("refused")).collect();
    assert!(matches!(denied[19], Denied::RateLimit(pause) if !pause.is_zero()), "{}", denied[19]);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
    assert!(stage.enrolment.enroll(elsewhere, &request(&join_string, &key())).is_ok());
    let entry = Audit::tail(stage.data.path(), 1).expect("record").pop().expect("an entry");
    assert!(entry.asked.contains("\"unrecorded\":10"), "{}", entry.asked);
}

#[test]
fn attempts_without_a_secret_do_not_fill_the_record() {
    let stage = Stage::new();
    let stranger = JoinString { id: "nobody".into(), ..stage.create(1) };
    for host in 0..200 {
        let peer = IpAddr::V4(Ipv4Addr::new(198, 51, 100, host));
        assert_eq!(stage.enrolment.enroll(peer, &request(&stranger, &key())), Err(Denied::Unknown));
    }
    let recorded = Audit::tail(stage.data.path(), 1000).expect("record").len();
    assert!((100..150).contains(&recorded), "{recorded}");
}

#[test]
fn an_agent_renews_as_itself_until_it_is_deleted() {
    let stage = Stage::new();
    let (join_string, first) = (stage.create(2), key());
    let agent = stage.enroll(&join_string, &first).expect("joins").agent;
    let renewed = stage.enrolment.renew(&agent, &csr(&key())).expect("renewed");
    assert_eq!(agent_of(&CertificateDer::from(renewed.certificate_chain_der[0].clone())), Some(agent.clone()));
    std::fs::remove_file(stage.data.path().join(format!("agents/{agent}.toml"))).expect("deleted");
    let denied = stage.enrolment.renew(&agent, &csr(&key())).expect_err("deleted");
    assert_eq!(told(&denied), "AGENT_UNKNOWN");
    let denied = stage.enroll(&join_string, &first).expect_err("what was deleted does not come back by asking again");
    assert_eq!(denied, Denied::Deleted(agent));
}

#[test]
fn a_join_string_keeps_no_secret_and_refuses_what_it_cannot_be() {
    let stage = Stage::new();
    let join_string = stage.create(1);
    let file = std::fs::read_to_string(stage.data.path().join(format!("joins/{}.toml", join_string.id))).expect("file");
    assert!(!file.contains(&join_string.secret), "{file}");
    let sound = Wanted { label: String::new(), uses: 1, life_s: 60, place: Place::default(), needs_approval: false };
    for (wanted, why) in [
        (Wanted { label: "Fra 1".into(), ..sound.clone() }, "label \"Fra 1\""),
        (Wanted { label: "a".repeat(55), ..sound.clone() }, "1 to 54"),
        (Wanted { uses: 0, ..sound.clone() }, "0 uses"),
        (Wanted { uses: 1001, ..sound.clone() }, "1001 uses"),
        (Wanted { life_s: 0, ..sound.clone() }, "good for 0 s"),
        (Wanted { life_s: 7 * 86_400 + 1, ..sound.clone() }, "604800 s are allowed"),
    ] {
        let refused = stage.enrolment.strings.create(&wanted, "pin", stage.now()).expect_err("refused");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    stage.pass(Duration::from_hours(8 * 24));
    stage.enrolment.strings.create(&sound, "pin", stage.now()).expect("made");
    assert_eq!(stage.enrolment.strings.all().len(), 1, "a week after its time a join string is forgotten");
}
