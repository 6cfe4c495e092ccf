//! A backup is whole or not there, and so is what is made of it.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    access::tokens::{Role, Tokens},
    admin::audit::Audit,
    log::{Admission, Appended, ChangeLog as _, Cursor, RecordLog as _, sqlite::SqliteLog},
    pki::Authority,
    record::Record,
    registry::{Place, Registry},
};

use super::*;

fn data() -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("dir");
    let now = 1_700_000_000_000_000;
    let authority = Authority::init(data.path(), "lab.example", &[], now).expect("authority");
    let place = Place { isp: Some("telekom-de".into()), ..Place::default() };
    Registry::of(data.path()).issue(&authority, "fra-1", &place, now).expect("agent");
    Tokens::of(data.path()).create("noc", vec![Role::MeasureRead], None, Timestamp::from_micros(now)).expect("token");
    let audit = Audit::open(data.path()).expect("audit record");
    audit.begin(Timestamp::from_micros(now), Some(1000), "annotate", "{}").expect("on record");
    data
}

fn made(data: &Path, to: &Path) -> Manifest {
    backup(data, to, Timestamp::from_micros(7), |_, _| {}).expect("backs up")
}

#[tokio::test]
async fn a_backup_under_load_is_the_log_of_one_moment() {
    let data = data();
    let log = std::sync::Arc::new(SqliteLog::open(data.path()).expect("log"));
    let tick = || Record { payload: vec![3; 10_000].into(), ..Record::tick(Timestamp::from_micros(1)) };
    for _ in 0..200 {
        log.append(Admission::Own, tick()).await.expect("append");
    }
    let elsewhere = tempfile::tempdir().expect("dir");
    let to = elsewhere.path().join("monday");
    let (path, place) = (data.path().to_owned(), to.clone());
    let mut copying = tokio::task::spawn_blocking(move || made(&path, &place));
    let (mut written, manifest) = (
        200,
        loop {
            tokio::select! {
                manifest = &mut copying => break manifest.expect("backs up"),
                appended = log.append(Admission::Own, tick()) => {
                    assert!(matches!(appended, Ok(Appended::At(_))));
                }
            }
        },
    );
    written += 0;
    assert!(manifest.last_record >= written, "{manifest:?}");
    let restored = elsewhere.path().join("data");
    restore(&to, &restored, Feed::Same).expect("restores");
    let copy = SqliteLog::open(&restored).expect("opens");
    let records = copy.next(Cursor::START, usize::MAX).await.expect("reads");
    assert_eq!(i64::try_from(records.len()), Ok(manifest.last_record), "no hole up to the newest");
    assert_eq!(copy.feed_id(), log.feed_id());
    assert!(Authority::open(&restored).is_ok());
    assert!(Registry::of(&restored).place("fra-1").is_some());
    assert_eq!(Tokens::of(&restored).all(), Tokens::of(data.path()).all());
    let asked = |data: &Path| Audit::tail(data, 9).expect("audit record");
    assert!(!asked(&restored).is_empty() && asked(&restored) == asked(data.path()));
    for secret in ["ca/root.key", "audit.sqlite"] {
        let mode = fs::metadata(restored.join(secret)).expect(secret).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn a_flipped_bit_in_any_file_of_a_backup_is_found_before_anything_is_restored() {
    let data = data();
    drop(SqliteLog::open(data.path()).expect("log"));
    let elsewhere = tempfile::tempdir().expect("dir");
    let to = elsewhere.path().join("monday");
    let manifest = made(data.path(), &to);
    assert!(manifest.files.len() >= 6, "{manifest:?}");
    for entry in &manifest.files {
        let path = to.join(&entry.path);
        let whole = fs::read(&path).expect("file");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&path, &bytes).expect("flip");
        let restored = elsewhere.path().join("data");
        let error = restore(&to, &restored, Feed::Same).expect_err("damaged");
        assert!(error.to_string().contains(&entry.path) && error.to_string().contains("damaged"), "{error}");
        assert!(!restored.exists());
        fs::write(&path, &whole).expect("whole again");
    }
    fs::remove_file(to.join("ca/root.pem")).expect("gone");
    let error = restore(&to, &elsewhere.path().join("data"), Feed::Same).expect_err("missing");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let data = data();
    drop(SqliteLog::open(data.path()).expect("log"));
    let elsewhere = tempfile::tempdir().expect("dir");
    let to = elsewhere.path().join("monday");
    made(data.path(), &to);
    let again = backup(data.path(), &to, Timestamp::from_micros(7), |_, _| {}).expect_err("refused");
    assert!(again.is_of_usage() && again.to_string().contains("not empty"), "{again}");
    let over = restore(&to, data.path(), Feed::Same).expect_err("refused");
    assert!(over.is_of_usage() && over.to_string().contains("not empty"), "{over}");
    let none = restore(data.path(), &elsewhere.path().join("data"), Feed::Same).expect_err("no backup");
    assert!(none.is_of_usage(), "{none}");
    let left = fs::read_dir(elsewhere.path()).expect("folder").count();
    assert_eq!(left, 1, "nothing is left of what was refused");
}
