//! What joining leaves on disk, and what it does not touch.

use std::{fs, os::unix::fs::PermissionsExt as _};

use faultline_proto::join::PREFIX;

use super::*;
use crate::probe::testing::Authority;

fn joining(port: u16) -> Joining {
    let join_string = format!("{PREFIX}.k7q2m0hv.{}.{}", "s".repeat(43), "p".repeat(43)).parse().expect("one");
    Joining { host: "127.0.0.1".into(), port, join_string, existing: Existing::Stays }
}

#[tokio::test]
async fn a_key_is_on_disk_for_its_owner_before_anybody_is_asked_and_the_next_attempt_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pending = folder.path().join("identity.pem.joining");
    let setup = Setup::read(&folder.path().join("agent.toml")).expect("nothing said");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").port();
    for _ in 0..2 {
        let before = fs::read_to_string(&pending).ok();
        let error = join(&setup, &joining(closed), Clock::system(), &mut drop).await.expect_err("nobody is there");
        assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
        let mode = fs::metadata(&pending).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let after = fs::read_to_string(&pending).expect("the key");
        assert!(before.is_none_or(|before| before == after));
        assert_eq!(setup.joined().expect("nothing wrong").map(drop), None, "not joined");
    }
}

/// A folder whose `joined.toml` names a good identity of a coordinator of this pin.
fn joined(folder: &Path) -> (Setup, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2999, 1, 1));
    let certificate = params.self_signed(&key).expect("signed");
    let identity = files::identity(&key, &[certificate.der().to_vec()]).expect("of this key");
    replace(&folder.join("identity.pem"), &identity).expect("written");
    let authority = Authority::new();
    fs::write(folder.join("ca.pem"), authority.root_pem()).expect("written");
    let text = "[[coordinator]]\nendpoint = \"https://a.example:7443\"\nca = \"ca.pem\"\ncertificate = \"identity.pem\"\nkey = \"identity.pem\"\n";
    fs::write(folder.join("joined.toml"), text).expect("written");
    let setup = Setup::read(&folder.join("agent.toml")).expect("nothing said");
    (setup, pinned::pin(&authority.root()).expect("a pin"))
}

#[tokio::test]
async fn who_has_joined_asks_nobody_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (setup, pin) = joined(folder.path());
    let identity = fs::read(folder.path().join("identity.pem")).expect("there");
    let mut joining = joining(1);
    joining.join_string.pin = pin;
    let joined = join(&setup, &joining, Clock::system(), &mut drop).await.expect("no coordinator is needed");
    assert_eq!(joined, Joined::Already);
    assert_eq!(fs::read(folder.path().join("identity.pem")).expect("there"), identity);
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 3);
}

#[tokio::test]
async fn an_identity_of_another_coordinator_stays_until_it_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (setup, _) = joined(folder.path());
    let error = join(&setup, &joining(1), Clock::system(), &mut drop).await.expect_err("another pin");
    assert!(matches!(&error, JoinError::Another(place) if place == "https://a.example:7443"), "{error}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").port();
    let replacing = Joining { existing: Existing::IsReplaced, ..joining(closed) };
    let error = join(&setup, &replacing, Clock::system(), &mut drop).await.expect_err("nobody is there");
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
    let before = setup.joined().expect("nothing wrong").expect("still joined");
    assert!(crate::uplink::check(&before).is_ok());
}

#[test]
fn what_joining_wrote_goes_and_what_others_wrote_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let (setup, _) = joined(folder.path());
    for own in ["identity-0123abcd.pem", "identity.pem.joining", "ca-0123abcd.pem"] {
        fs::write(folder.path().join(own), "x").expect("written");
    }
    for other in ["agent.toml", "ca-bundle.pem", "identity.txt", "cache.pem"] {
        fs::write(folder.path().join(other), "").expect("written");
    }
    assert!(forget(&setup).expect("forgotten"));
    assert!(!forget(&setup).expect("nothing to forget"));
    let left = fs::read_dir(folder.path()).expect("folder").map(|entry| entry.expect("one").file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["agent.toml", "ca-bundle.pem", "cache.pem", "identity.txt"]);
}

#[tokio::test]
async fn a_configuration_of_two_files_or_of_another_place_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.toml");
    let text = |key| {
        format!(
            "[[coordinator]]\nendpoint = \"https://127.0.0.1:1\"\nca = \"ca.pem\"\ncertificate = \"a.pem\"\nkey = \"{key}\"\n"
        )
    };
    let setup = Setup::parse(&text("a.key"), &path).expect("sound");
    let error = join(&setup, &joining(1), Clock::system(), &mut drop).await.expect_err("two files");
    assert!(matches!(error, JoinError::TwoFiles(_)) && error.to_string().contains("identity.pem"), "{error}");
    let setup = Setup::parse(&text("a.pem"), &path).expect("sound");
    let error = join(&setup, &joining(2), Clock::system(), &mut drop).await.expect_err("another place");
    assert!(matches!(error, JoinError::Configured { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn a_certificate_of_another_key_is_no_identity() {
    let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    let certificate = params.self_signed(&other).expect("signed").der().to_vec();
    assert!(files::identity(&key, std::slice::from_ref(&certificate)).is_err());
    assert!(files::identity(&other, &[certificate]).is_ok());
    assert!(files::identity(&key, &[]).is_err());
}
