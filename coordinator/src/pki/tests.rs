//! Who can be whom, by what, and who reads the keys.

use std::os::unix::fs::PermissionsExt as _;

use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::UnixTime;

use super::*;

const NOW: i64 = 1_761_752_473_000_000;
const DAY: i64 = 86_400;

fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>().expect("PEM")
}

fn request() -> (KeyPair, Request) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    let der = params.serialize_request(&key).expect("a request");
    let asked = Request::read(der.der()).expect("sound");
    (key, asked)
}

/// Whether the agent port would let this chain in, so many seconds after it was made.
fn is_let_in(authority: &Authority, chain: &[CertificateDer<'static>], after_s: i64) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root_der().expect("a root")).expect("an anchor");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().expect("a verifier");
    let at = u64::try_from(NOW / 1_000_000 + after_s).expect("after 1970");
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
    verifier.verify_client_cert(&chain[0], &chain[1..], at).is_ok()
}

#[test]
fn an_agents_name_is_in_its_certificate() {
    let data = tempfile::tempdir().expect("dir");
    Authority::init(data.path(), "lab.example", &["127.0.0.1".into()], NOW).expect("init");
    let authority = Authority::open(data.path()).expect("open");
    let identity = authority.agent("fra-1", NOW).expect("issue");
    assert_eq!(agent_of(&chain(&identity)[0]).as_deref(), Some("fra-1"));
    assert!(is_let_in(&authority, &chain(&identity), 0));
    let server = fs::read(data.path().join("ca/server.pem")).expect("server");
    assert_eq!(agent_of(&CertificateDer::from_pem_slice(&server).expect("pem")), None);
}

#[test]
fn a_certificate_for_an_agents_own_key_is_good_for_seven_days_and_for_clocks_that_lag() {
    let data = tempfile::tempdir().expect("dir");
    let authority = Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
    let (_, asked) = request();
    let chain = authority.certify("fra-1", &asked, NOW).expect("certified");
    assert_eq!((chain.len(), agent_of(&chain[0]).as_deref()), (2, Some("fra-1")));
    let (_, leaf) = X509Certificate::from_der(&chain[0]).expect("X.509");
    assert!(!leaf.is_ca());
    for (after_s, is_good) in [(-3000, true), (-4000, false), (0, true), (7 * DAY - 1, true), (7 * DAY + 1, false)] {
        assert_eq!(is_let_in(&authority, &chain, after_s), is_good, "{after_s} s after");
    }
}

#[test]
fn what_signs_for_servers_makes_no_agent() {
    let data = tempfile::tempdir().expect("dir");
    let authority = Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
    let servers = Signer::open(&data.path().join("ca"), "servers").expect("the other intermediate");
    let (key, _) = request();
    let forged = servers.leaf(authority.agent_params("fra-1").expect("params"), &key, AGENT_LIFE, instant(NOW));
    let between = CertificateDer::from_pem_slice(servers.chain.as_bytes()).expect("PEM");
    assert!(!is_let_in(&authority, &[forged.expect("signed").der().clone(), between], 0));
}

#[test]
fn a_data_directory_without_intermediates_signs_with_its_root() {
    let data = tempfile::tempdir().expect("dir");
    Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
    for file in ["agents.pem", "agents.key"] {
        fs::remove_file(data.path().join("ca").join(file)).expect("as before there were any");
    }
    let authority = Authority::open(data.path()).expect("open");
    let identity = authority.agent("fra-1", NOW).expect("issue");
    assert_eq!(chain(&identity).len(), 1);
    assert!(is_let_in(&authority, &chain(&identity), 0));
}

#[test]
fn keys_are_for_the_owner_only_and_a_second_root_is_refused() {
    let data = tempfile::tempdir().expect("dir");
    Authority::init(data.path(), "lab.example", &[], NOW).expect("init");
    for key in ["ca/root.key", "ca/agents.key", "ca/servers.key", "ca/server.key"] {
        let mode = fs::metadata(data.path().join(key)).expect("key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    assert!(matches!(Authority::init(data.path(), "lab.example", &[], NOW), Err(PkiError::Exists(_))));
}

#[test]
fn a_request_that_is_not_signed_with_its_own_p256_key_is_refused() {
    let params = || CertificateParams::new(Vec::<String>::new()).expect("parameters");
    let sound = params().serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
    assert!(Request::read(sound.der()).is_ok());
    let mut forged = sound.der().to_vec();
    *forged.last_mut().expect("a signature") ^= 1;
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let other = params().serialize_request(&other).expect("a request").der().to_vec();
    for wrong in [forged, other, Vec::new(), vec![0x30; 100], vec![0; MAX_REQUEST + 1]] {
        assert!(matches!(Request::read(&wrong), Err(PkiError::Request)), "{} bytes", wrong.len());
    }
}

#[test]
fn names_that_could_leave_their_place_are_refused() {
    for name in ["", "../x", "a/b", "A", "-a", &"a".repeat(64)] {
        assert!(check_name(name).is_err(), "{name}");
    }
}
