//! The control socket as commands use it, and as nobody should.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
};

use super::*;
use crate::status::Listening;

struct Stage {
    path: PathBuf,
    orders: mpsc::Receiver<Order>,
    _daemon: JoinSet<()>,
    _folder: TempDir,
}

fn stage() -> Stage {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("run/control.sock");
    let (sender, orders) = mpsc::channel(1);
    let mut daemon = JoinSet::new();
    let listening = Listening::at(path.clone()).expect("a socket");
    daemon.spawn(serve(listening, || Status::not_joined(0, None), sender));
    Stage { path, orders, _daemon: daemon, _folder: folder }
}

async fn said(path: &PathBuf, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.expect("a connection");
    stream.write_all(bytes).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn steps_are_told_as_they_happen_and_then_the_end() {
    let mut stage = stage();
    let mode = std::fs::metadata(&stage.path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut told = Vec::new();
    let asking = order(&stage.path, &Request::Leave, Duration::from_secs(30), |step| told.push(step.clone()));
    let doing = async {
        let Order { request, replies } = stage.orders.recv().await.expect("an order");
        assert!(matches!(request, Request::Leave));
        replies.send(Reply::Step(Step::ok("identity", "gone"))).await.expect("heard");
        replies.send(Reply::End(End::failed(7, "no"))).await.expect("heard");
    };
    let (end, ()) = tokio::join!(asking, doing);
    assert_eq!(end.expect("an end"), End::failed(7, "no"));
    assert_eq!(told, [Step::ok("identity", "gone")]);
}

#[tokio::test]
async fn what_is_no_request_is_refused_without_quoting_it() {
    let stage = stage();
    let join = r#"{"request":"join","host":"a","port":1,"join_string":"flj1.SECRET","wait_s":"x"}"#;
    for wrong in [join, r#"{"request":"run","command":"SECRET"}"#, "SECRET", ""] {
        let answer = said(&stage.path, format!("{wrong}\n").as_bytes()).await;
        assert!(answer.contains("\"exit_code\":2") && !answer.contains("SECRET"), "{wrong}: {answer}");
    }
    let long = said(&stage.path, &[b'x'; 8 * 1024]).await;
    assert!(long.contains("at most 8 KiB"), "{long}");
}

#[tokio::test]
async fn one_order_waits_and_more_are_told_to_come_back() {
    let mut stage = stage();
    let mut waiting = UnixStream::connect(&stage.path).await.expect("a connection");
    waiting.write_all(b"{\"request\":\"leave\"}\n").await.expect("written");
    let busy = loop {
        let answer = said(&stage.path, b"{\"request\":\"leave\"}\n");
        // The first that the daemon hears takes the place, and is not answered.
        match tokio::time::timeout(Duration::from_secs(1), answer).await {
            Ok(answer) => break answer,
            Err(_) => drop(stage.orders.recv().await),
        }
    };
    assert!(busy.contains("busy"), "{busy}");
    let told = status(&stage.path).await.expect("a status, whatever else is done");
    assert!(!told.is_fine());
}

#[tokio::test]
async fn those_who_say_nothing_hold_up_nobody_for_long() {
    let stage = stage();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(&stage.path).await.expect("a connection"));
    }
    let began = tokio::time::Instant::now();
    while status(&stage.path).await.is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "never heard again");
    }
}
