//! What joining leaves on disk, and what it does not touch.

use std::{fs, os::unix::fs::PermissionsExt as _};

use faultline_proto::join::PREFIX;

use super::*;
use crate::probe::testing::Authority;

fn joining(config: PathBuf, port: u16) -> Joining {
    let join_string = format!("{PREFIX}.k7q2m0hv.{}.{}", "s".repeat(43), "p".repeat(43)).parse().expect("one");
    Joining { host: "127.0.0.1".into(), port, join_string, config }
}

#[tokio::test]
async fn a_key_is_on_disk_for_its_owner_before_anybody_is_asked_and_the_next_attempt_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, pending) = (folder.path().join("agent.toml"), folder.path().join("identity.pem.joining"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").port();
    for _ in 0..2 {
        let before = fs::read_to_string(&pending).ok();
        let error = join(&joining(path.clone(), closed), Clock::system()).await.expect_err("nobody is there");
        assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
        let mode = fs::metadata(&pending).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let after = fs::read_to_string(&pending).expect("the key");
        assert!(before.is_none_or(|before| before == after));
        assert!(!path.exists() && !folder.path().join("identity.pem").exists(), "not joined");
    }
}

#[tokio::test]
async fn who_has_joined_asks_nobody_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2999, 1, 1));
    let certificate = params.self_signed(&key).expect("signed");
    let identity = files::identity(&key, &[certificate.der().to_vec()]).expect("of this key");
    replace(&folder.path().join("identity.pem"), &identity).expect("written");
    fs::write(folder.path().join("ca.pem"), authority.root_pem()).expect("written");
    let path = folder.path().join("agent.toml");
    for _ in 0..2 {
        let joined = join(&joining(path.clone(), 1), Clock::system()).await.expect("no coordinator is needed");
        assert_eq!(joined, Joined::Already);
        assert_eq!(fs::read_to_string(folder.path().join("identity.pem")).expect("there"), identity);
    }
    let config = crate::Config::read(&path).expect("a configuration that was missing");
    assert_eq!(config.coordinator.endpoint, "https://127.0.0.1:1/");
}

#[tokio::test]
async fn a_configuration_of_two_files_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.toml");
    let text = "[[coordinator]]\nendpoint = \"https://a.example:7443\"\nca = \"ca.pem\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    fs::write(&path, text).expect("written");
    let error = join(&joining(path, 1), Clock::system()).await.expect_err("two files");
    assert!(matches!(error, JoinError::TwoFiles(_)) && error.to_string().contains("identity.pem"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
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
