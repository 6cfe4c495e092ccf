//! What is found in the folder, and whose it is.

use std::{fs, path::PathBuf};

use faultline_proto::clock::Clock;
use tempfile::TempDir;

use super::*;
use crate::config::Config;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    fn open(&self) -> Result<Spool, OpenError> {
        let text = "[[coordinator]]\nendpoint = \"https://a:1\"\nca = \"ca.pem\"\ncertificate = \"a\"\nkey = \"a\"\n\
                    [spool]\npath = \"spool\"\nmax_bytes = 4194304\n";
        open(&Config::parse(text, &self.0.path().join("agent.toml")).expect("a configuration"), Clock::system())
    }
}

#[tokio::test]
async fn a_second_process_is_refused_by_name() {
    let folder = Folder::new();
    let first = folder.open().expect("a spool");
    let error = folder.open().err().expect("taken").to_string();
    assert!(error.contains("spool.sqlite") && error.contains("[spool] path"), "{error}");
    first.close().await;
    drop(first);
    assert!(folder.open().is_ok_and(|spool| spool.is_durable()));
}

#[tokio::test]
async fn what_is_no_spool_is_moved_aside_and_probing_goes_on() {
    let folder = Folder::new();
    let first = folder.open().expect("a spool");
    let incarnation = first.view().incarnation;
    first.made(3);
    first.push(sealed(3, &[]), at(1));
    first.close().await;
    drop(first);
    for garbage in [
        &b"not a database, and longer than the header of one would be, so that SQLite looks at it and says so\n"[..],
        &[],
    ] {
        fs::write(folder.path().join(FILE), garbage).expect("written");
        fs::remove_file(folder.path().join("spool.sqlite-wal")).ok();
        let spool = folder.open().expect("a spool");
        assert!(spool.is_durable() && spool.view().incarnation != incarnation);
        assert_eq!(
            (spool.view().lost, spool.made_results()),
            (Losses::default(), 0),
            "the count of another spool is none"
        );
        spool.push(sealed(1, &[]), at(2));
        spool.close().await;
    }
    let aside = fs::read_dir(folder.path()).expect("a folder").filter_map(Result::ok);
    let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().contains("damaged")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
}

#[tokio::test]
async fn a_later_builds_spool_is_refused_by_name_and_left_alone() {
    let folder = Folder::new();
    folder.open().expect("a spool").close().await;
    let connection = rusqlite::Connection::open(folder.path().join(FILE)).expect("a database");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    let error = folder.open().err().expect("refused").to_string();
    assert!(error.contains("schema 99") && error.contains("spool.sqlite"), "{error}");
    assert!(folder.path().join(FILE).exists());
}

#[test]
fn a_folder_that_cannot_be_made_leaves_memory() {
    let folder = Folder::new();
    fs::write(folder.path(), "a file is in the way").expect("written");
    let spool = folder.open().expect("a spool");
    assert!(!spool.is_durable() && spool.folder().is_none());
}
