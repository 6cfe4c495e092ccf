//! A real daemon's socket, asked as the command asks it.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use faultline_proto::agent::v1;
use tempfile::TempDir;
use tokio::{net::UnixStream, task::JoinSet};

use super::*;
use crate::{config::Starvation, probe::Observed, selfcheck::SelfCheck as Check, spool};

#[tokio::test]
async fn a_snapshot_tells_what_was_noted_and_is_read_back_whole() {
    let stage = Stage::new();
    let before = stage.ask().await.expect("a status");
    assert_eq!((before.coordinator.session, before.is_fine()), (Session::Connecting, false));
    {
        let mut board = stage.shared.board();
        board.down("connect: refused");
        board.ran(&Observed::unmeasured(0, Reason::NoIpv6));
        let refused = v1::Refusal { slot: 9, reason: "port 8080 is not allowed here".to_owned() };
        board.pushed(7, 41, &vec![refused; 100]);
    }
    let status = stage.ask().await.expect("a status");
    assert_eq!(status.coordinator.error.as_deref(), Some("connect: refused"));
    assert_eq!((status.assignments.version, status.assignments.in_force, status.assignments.refused), (7, 41, 100));
    assert_eq!(status.assignments.refusals.len(), 20, "a snapshot is bounded");
    assert_eq!((status.runs.made, status.runs.unmeasured["no_ipv6"]), (1, 1));
    assert!(status.self_check.open_files.is_some_and(|files| files > 0));
    stage.shared.board().up();
    stage.shared.board().acked(v1::Lane::Live, 1);
    let status = stage.ask().await.expect("a status");
    let session = (status.coordinator.session, status.coordinator.error.as_deref(), status.coordinator.last_ack_s);
    assert_eq!(session, (Session::Up, None, Some(0)));
    let told = text(&status);
    for expected in ["up for 0s, last ack 0s ago", "41 in force (version 7), 100 refused", "and 80 more", "1 no_ipv6"] {
        assert!(told.contains(expected), "{expected:?} is not in:\n{told}");
    }
}

#[tokio::test]
async fn those_who_do_not_read_hold_up_nobody() {
    let stage = Stage::new();
    stage.ask().await.expect("a status");
    let idle: Vec<_> = futures::future::join_all((0..3).map(|_| UnixStream::connect(&stage.path))).await;
    assert!(idle.iter().all(Result::is_ok));
    stage.ask().await.expect("a status");
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_the_agent() {
    let mut stage = Stage::new();
    stage.ask().await.expect("a status");
    let mode = std::fs::metadata(&stage.path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stage.daemon.shutdown().await;
    assert!(!stage.path.exists());
    let error = ask(&stage.path).await.expect_err("nobody").to_string();
    assert!(error.contains("is faultline-agent running"), "{error}");
}

#[tokio::test]
async fn a_dead_agents_socket_is_replaced_and_a_living_ones_is_not() {
    let stage = Stage::new();
    stage.ask().await.expect("a status");
    let second = Stage::at(stage.path.clone());
    drop(second);
    stage.ask().await.expect("the first still answers");

    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("status.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "left behind");
    Stage::at(path).ask().await.expect("a status");

    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "mine").expect("a file");
    let stage = Stage::at(path.clone());
    stage.ask().await.expect_err("not a socket");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "mine");
}

struct Stage {
    path: PathBuf,
    shared: Arc<Shared>,
    daemon: JoinSet<()>,
    _folder: Option<TempDir>,
}

impl Stage {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { path: folder.path().join("status.sock"), ..Self::at(folder.path().join("status.sock")) }.keeping(folder)
    }

    fn at(path: PathBuf) -> Self {
        let clock = Clock::system();
        let shared =
            Arc::new(Shared::new(spool::Spool::memory([0; 16], 1 << 20), Check::new(clock, Starvation::Disowns)));
        let mut daemon = JoinSet::new();
        let coordinator = config::Coordinator {
            endpoint: "https://probe.example.org:7443".parse().expect("a URI"),
            server_name: "coordinator".to_owned(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
        };
        let told = Arc::clone(&shared);
        daemon.spawn(serve(path.clone(), move || Status::of(&told, &coordinator, clock)));
        Self { path, shared, daemon, _folder: None }
    }

    fn keeping(self, folder: TempDir) -> Self {
        Self { _folder: Some(folder), ..self }
    }

    async fn ask(&self) -> Result<Status, AskError> {
        // The daemon's first step makes the socket.
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_secs(20), ask(&self.path)).await.expect("in time")
    }
}
