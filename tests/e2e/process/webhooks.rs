//! Webhooks of a coordinator that is killed: every change arrives, in order, and what is sent twice has the same id.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use faultline_attribution::{Change, Timestamp};
use faultline_coordinator::{
    feed::Published,
    log::{ChangeLog as _, Cursor, sqlite::SqliteLog},
};
use serde_json::json;

use super::{HANG, Served, faultline, text};
use faultline_lab::stage;

/// Revisions that are published before anybody delivers.
const REVISIONS: u64 = 60;

#[test]
fn a_coordinator_that_is_killed_loses_no_change_on_the_way_to_a_webhook() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    publish(data.path());
    let (url, ids) = receiver();
    let folder = data.path().to_str().expect("path");
    let added = faultline(&["webhook", "add", "ops", &url, "--allow-private", "--after", "0", "--data-dir", folder]);
    assert!(added.status.success() && text(&added.stdout).contains("secret  whsec_"), "{}", text(&added.stderr));

    let mut got = Vec::new();
    let catalog = data.path().join("catalog.toml");
    for until in [REVISIONS / 3, 2 * REVISIONS / 3, REVISIONS] {
        let mut served = Served::start(data.path(), &catalog, &[]);
        while !got.contains(&id(until)) {
            got.push(ids.recv_timeout(HANG).expect("a change"));
        }
        served.child.kill().expect("killed");
        served.child.wait().expect("ended");
        got.extend(ids.try_iter());
    }
    let (mut once, mut twice) = (got.clone(), 0);
    once.dedup();
    for pair in got.windows(2) {
        twice += u64::from(pair[0] == pair[1]);
    }
    assert_eq!(once, (1..=REVISIONS).map(id).collect::<Vec<_>>(), "each, and in order");
    assert!(twice <= 2, "only what was under way at a kill is sent twice: {got:?}");
    let log = faultline(&["webhook", "log", "ops", "-o", "json", "--limit", "1000", "--data-dir", folder]);
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).expect("JSON");
    assert!(log.as_array().is_some_and(|attempts| attempts.len() as u64 >= REVISIONS - 2), "{log}");
}

fn id(revision: u64) -> String {
    format!("inc-20251029T154113Z-1-r{revision}")
}

/// Fills the record of changes as a coordinator of before did.
fn publish(data: &std::path::Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let log = SqliteLog::open(data).expect("log");
        for revision in 1..=REVISIONS {
            let change: Change = serde_json::from_value(json!({
                "type": "incident", "at": "2025-10-29T15:42:20Z", "incident": "inc-20251029T154113Z-1",
                "revision": revision, "state": "attributed", "verdict": "azure", "kind": "",
                "element": "azure/front-door", "element_kind": "cdn", "confidence": 0.981,
                "probabilities": {"aws": 0.001, "azure": 0.981, "neither": 0.012, "none": 0.006},
                "onset_at": "2025-10-29T15:41:04Z", "onset_uncertainty_s": 20.0, "regions": [], "layer": "connect",
                "failing_groups": 41, "total_groups": 44, "control_failing_groups": 0,
                "headline": "Azure Front Door is failing.", "suspects": [], "evidence": [], "alibis": [],
                "undetermined_reason": "", "superseded_by": "", "caveats": [], "opened_at": "2025-10-29T15:41:13Z",
                "attributed_at": "2025-10-29T15:41:13Z", "resolved_at": null, "engine": 1,
            }))
            .expect("a change");
            let published = vec![Published::Incident(Box::new(change))];
            log.publish(Cursor::nth(1), Timestamp::from_micros(1_761_752_640_000_000), published)
                .await
                .expect("publish");
        }
    });
}

/// A receiver that says yes to everything, and hands on what it was sent in its order.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let (sender, ids) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(id) = stream.ok().and_then(take) else { continue };
            if sender.send(id).is_err() {
                return;
            }
        }
    });
    (url, ids)
}

/// Takes one request, and returns its `webhook-id`; `None` where it breaks off.
fn take(mut stream: TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&chunk[..read]);
        let seen = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = seen.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)))
        };
        let (_, length) = header("content-length")?;
        if body.len() >= length.parse().ok()? {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").ok()?;
            return header("webhook-id").map(|(_, id)| id.to_owned());
        }
    }
}
