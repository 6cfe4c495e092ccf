//! What people and scripts see on a terminal, of a coordinator that runs: `top`, `watch`, `status --check`, `incident`, `history`,
//! `agent list`.

use std::{path::Path, process::Output, time::Duration};

use faultline_attribution::Timestamp;
use faultline_coordinator::{cli::top::Frames, serve::Coordinator};
use faultline_lab::{
    programs::built,
    stage::{self, Witnesses, is_behind_front_door},
};
use faultline_proto::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time};

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_secs(90);

/// Minutes of the emulated clock pass in seconds.
const SPEED: f64 = 20.0;

async fn stage() -> (TempDir, Coordinator, Witnesses) {
    // Not while the clock runs.
    built("faultline");
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(SPEED);
    let coordinator = stage::start(data.path(), clock).await.expect("start");
    let witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    (data, coordinator, witnesses)
}

/// Front Door breaks after 50 s of the emulated clock and stays so; ends when no longer polled.
async fn front_door_breaks(witnesses: &mut Witnesses) {
    for round in 0.. {
        witnesses.look(|target| round >= 10 && is_behind_front_door(target)).await.expect("look");
        time::sleep(Duration::from_millis(250)).await;
    }
}

async fn faultline(arguments: &[&str]) -> Output {
    let run = Command::new(built("faultline")).args(arguments).env_remove("FAULTLINE_FEED").output();
    time::timeout(HANG, run).await.expect("in time").expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_the_frame_of_top() {
    let (_data, coordinator, mut witnesses) = stage().await;
    let feed = format!("http://{}", coordinator.feed_address);
    let mut frames = Frames::of(&feed, (80, 24)).expect("an address");
    let first = frames.next().await.expect("a frame");
    assert!(first.contains("● live") && !first.contains("✕ ATTRIBUTED"), "{first}");
    let named = async {
        loop {
            let frame = frames.next().await.expect("a frame");
            let is_failing = |line: &str| line.starts_with("  azure/front-door") && line.contains("✕ failing");
            if frame.contains("✕ ATTRIBUTED  Azure Front Door is failing") && frame.lines().any(is_failing) {
                return frame;
            }
        }
    };
    let frame = tokio::select! {
        frame = time::timeout(HANG, named) => frame.expect("an incident in time"),
        () = front_door_breaks(&mut witnesses) => unreachable!("it goes on for ever"),
    };
    assert_eq!(frame.lines().count(), 24);
    assert!(frame.lines().all(|line| line.chars().count() <= 80), "{frame}");
    assert!(frame.contains("can we see? 6 of 6 vantage groups live"), "{frame}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_tell_of_an_incident_from_its_first_line_to_its_cells() {
    let (data, coordinator, mut witnesses) = stage().await;
    let began = Timestamp::from_micros(Clock::system().now_micros());
    let feed = format!("http://{}", coordinator.feed_address);
    let all = async {
        let id = watched(&feed, data.path()).await;
        affected(&feed, &id).await;
        incidents(&feed, &id).await;
        past(data.path(), began).await;
    };
    tokio::select! {
        () = all => {}
        () = front_door_breaks(&mut witnesses) => unreachable!("it goes on for ever"),
    }
    coordinator.stop().await;
}

/// A watch ends when somebody is named; the command had every change that was told. Returns the incident.
async fn watched(feed: &str, data: &Path) -> String {
    let kept = data.join("kept");
    let script = format!("cat >> {}", kept.display());
    let watch = ["watch", "--feed", feed, "--from", "now", "-o", "cloudevents", "--only", "azure/front-door"];
    let until = ["--exit-on", "attributed", "--for", "80s", "--exec", "sh", "-c", &script];
    let watched = faultline(&[&watch[..], &until].concat()).await;
    let (lines, said) = (text(&watched.stdout), text(&watched.stderr));
    assert!(watched.status.success(), "{lines}{said}");
    let events: Vec<Value> = lines.lines().map(|line| json(line.as_bytes())).collect();
    let last = events.last().expect("an event");
    assert_eq!(last["type"], "net.faultline.incident.v1.attributed");
    assert_eq!((&last["specversion"], &last["data"]["verdict"]), (&"1.0".into(), &"azure".into()), "{last}");
    let changes: Vec<&Value> =
        events.iter().map(|event| &event["data"]).filter(|change| change["type"] == "incident").collect();
    let ran = std::fs::read_to_string(&kept).expect("kept");
    let ran: Vec<Value> = ran.lines().map(|line| json(line.as_bytes())).collect();
    assert_eq!(ran.iter().collect::<Vec<_>>(), changes);
    last["subject"].as_str().expect("an incident").to_owned()
}

/// Who depends on Front Door is affected, who depends on AWS is not, and who mistypes is told.
async fn affected(feed: &str, id: &str) {
    let rows = [
        ("azure/front-door", 2, "✕ azure/front-door attributed: Azure Front Door is failing"),
        ("aws/us-east-1", 0, "● aws/us-east-1 nothing attributed"),
        ("aws/us-east-1,azure/front-door", 2, "; "),
        ("aws/us-east-9", 3, "known nearby are aws/us-east-1"),
    ];
    for (elements, code, said) in rows {
        let output = faultline(&["status", "--feed", feed, "--check", elements]).await;
        let line = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{elements}: {line}{}", text(&output.stderr));
        assert!(line.contains(said) && line.lines().count() == 1 && !line.contains('\u{1b}'), "{line}");
    }
    let output = faultline(&["status", "--feed", feed, "--check", "azure/front-door", "-o", "json"]).await;
    let answer = json(&output.stdout);
    assert_eq!(
        (&answer["standing"], &answer["checked"][0]["incidents"][0]),
        (&"attributed".into(), &id.into()),
        "{answer}"
    );
}

/// It is listed while it is open, and shown with all of its revisions.
async fn incidents(feed: &str, id: &str) {
    let listed = faultline(&["incidents", "list", "--feed", feed, "--state", "open", "--verdict", "azure"]).await;
    let table = text(&listed.stdout);
    assert!(table.contains(id) && table.contains("✕ attributed"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let none = faultline(&["incident", "list", "--feed", feed, "--verdict", "aws", "-o", "json"]).await;
    assert_eq!(json(&none.stdout), Value::Array(Vec::new()));

    let shown = faultline(&["incident", "get", id, "--feed", feed, "--color", "always"]).await;
    let told = text(&shown.stdout);
    assert!(told.contains("\u{1b}[") && told.contains("azure/front-door (cdn)") && told.contains("Cleared"), "{told}");
    let newest = json(&faultline(&["incident", "get", id, "--feed", feed, "-o", "json"]).await.stdout);
    let revisions = faultline(&["incident", "get", id, "--feed", feed, "--revisions", "-o", "ndjson"]).await;
    let numbers: Vec<Value> =
        text(&revisions.stdout).lines().map(|line| json(line.as_bytes())["revision"].clone()).collect();
    let all: Vec<Value> = (1..=numbers.len()).map(Value::from).collect();
    // How many there are is a matter of when the verdict came: what counts is that none is left out.
    let (last, before) = (numbers.last().and_then(Value::as_u64), newest["revision"].as_u64());
    assert!(numbers == all && before.is_some() && last >= before, "{newest}, then {numbers:?}");

    let unknown = faultline(&["incident", "get", "inc-none", "--feed", feed]).await;
    let said = text(&unknown.stderr);
    assert!(
        unknown.status.code() == Some(1) && said.contains(id) && said.contains("faultline incident list"),
        "{said}"
    );
    let nowhere = faultline(&["watch", "--feed", feed, "--from", "999999999"]).await;
    let said = text(&nowhere.stderr);
    assert!(nowhere.status.code() == Some(2) && said.contains("--from snapshot begins anew"), "{said}");
    let once = faultline(&["top", "--once", "--feed", feed, "--size", "100x30"]).await;
    assert!(once.status.success() && text(&once.stdout).contains("✕ ATTRIBUTED"), "{}", text(&once.stdout));
    let piped = faultline(&["top", "--feed", feed]).await;
    assert!(piped.status.code() == Some(2) && text(&piped.stderr).contains("--once"), "{}", text(&piped.stderr));
}

/// The data directory tells of cells and agents while the coordinator runs on it.
async fn past(data: &Path, began: Timestamp) {
    let folder = data.display().to_string();
    let (from, to) = (began.before(Duration::from_secs(10)), began.after(Duration::from_mins(25)));
    let (from, to) = (from.to_string(), to.to_string());
    let span = ["history", "cells", "--data-dir", &folder, "--from", &from, "--to", &to];
    let printed = faultline(&[&span[..], &["--step", "10s", "--region", "front-door"]].concat()).await;
    let csv = text(&printed.stdout);
    assert!(
        csv.starts_with("at,provider,region,layer,state,failing_groups,total_groups\n"),
        "{csv}{}",
        text(&printed.stderr)
    );
    let states =
        |state: &str| csv.lines().filter(|line| line.contains(&format!(",azure,front-door,connect,{state},"))).count();
    let csv = || (states("no-data"), states("ok"), states("failing"));
    assert!(csv().0 > 0 && csv().1 > 0 && csv().2 > 0, "{:?}", csv());
    let all = faultline(&[&span[..], &["--step", "1s"]].concat()).await;
    let said = text(&all.stderr);
    assert!(all.status.code() == Some(2) && said.contains("are more than 11000: --step "), "{said}");

    let agents = faultline(&["agents", "list", "--data-dir", &folder, "-o", "json"]).await;
    let agents = json(&agents.stdout);
    let listed = agents["agents"].as_array().expect("agents");
    assert_eq!(listed.len(), 6, "{agents}");
    for (n, agent) in listed.iter().enumerate() {
        assert_eq!((&agent["agent"], &agent["session"]), (&format!("w-{n}").into(), &"up".into()), "{agent}");
        assert_eq!(agent["group"], format!("network-{n}"));
        assert!(agent["last_heard_at"].is_string() && agent["trouble"] == Value::Array(Vec::new()), "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_waits_in_vain_says_so_by_its_exit_code() {
    let (_data, coordinator, _witnesses) = stage().await;
    let feed = format!("http://{}", coordinator.feed_address);
    let waited = faultline(&["watch", "--feed", &feed, "--exit-on", "attributed", "--for", "1s"]).await;
    assert_eq!(waited.status.code(), Some(3), "{}", text(&waited.stderr));
    let looked = faultline(&["watch", "--feed", &feed, "--for", "1s"]).await;
    assert!(looked.status.success() && text(&looked.stdout).contains("we cannot see"), "{}", text(&looked.stdout));
    coordinator.stop().await;
}

#[tokio::test]
async fn both_programs_complete_themselves() {
    for (program, word) in [("faultline", "incident"), ("faultline-agent", "doctor")] {
        for shell in ["bash", "zsh", "fish"] {
            let output = Command::new(built(program)).args(["completions", shell]).output().await.expect("runs");
            assert!(output.status.success() && text(&output.stdout).contains(word), "{program} {shell}");
        }
    }
}
