//! What operators do to a running coordinator: notes and retractions over its socket, on record, in public, and for good.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use faultline_lab::stage::{self, Witnesses, is_behind_front_door};
use faultline_proto::clock::Clock;
use serde_json::Value;

use super::{Served, faultline, text};

/// A command of an operator on that data directory, and what it says.
fn operate(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let data = data.display().to_string();
    let output = faultline(&[arguments, &["--data-dir", &data]].concat());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn picture(served: &Served) -> Value {
    serde_json::from_slice(&served.status().stdout).expect("JSON")
}

fn get(served: &Served, incident: &str) -> Value {
    let output = faultline(&["incident", "get", incident, "-o", "json", "--feed", &served.feed]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// The JSON at that path of the feed.
fn json(served: &Served, path: &str) -> Value {
    let answer = stage::path(&served.feed, path).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Looks until Front Door is accused; returns which incident that is.
async fn accused(served: &Served, witnesses: &mut Witnesses) -> String {
    for round in 0..600 {
        witnesses.look(|target| round > 20 && is_behind_front_door(target)).await.expect("look");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if round % 10 == 0 && served.status().status.code() == Some(2) {
            return picture(served)["incidents"][0]["incident"].as_str().expect("an id").to_owned();
        }
    }
    panic!("nobody is accused: {}", picture(served));
}

#[test]
fn a_note_and_a_retraction_are_public_on_record_and_survive_a_kill() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let catalog = data.path().join("catalog.toml");
    let mut served = Served::start(data.path(), &catalog, &[]);
    let mode = std::fs::metadata(data.path().join("admin.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let address = served.agents.parse().expect("address");
    let look = async {
        let mut witnesses = Witnesses::join(data.path(), address, Clock::system()).await.expect("witnesses");
        let incident = accused(&served, &mut witnesses).await;
        let evil = "<script>alert(1)</script> & \"we\" look";
        let link = "https://example.org/why?a=1&b=2";
        let (code, said) = operate(data.path(), &["incident", "annotate", &incident, "--text", evil, "--link", link]);
        assert!(code == Some(0) && said.contains(&format!("{incident} revision ")), "{said}");
        let note = &get(&served, &incident)["notes"][0];
        assert_eq!((note["text"].as_str(), note["link"].as_str()), (Some(evil), Some(link)));

        let (code, said) = operate(data.path(), &["incident", "retract", &incident, "--reason", "Our own firewall."]);
        assert!(code == Some(0) && said.contains("is retracted with revision "), "{said}");
        // Its evidence goes on, and nobody is accused of it again.
        for _ in 0..80 {
            witnesses.look(is_behind_front_door).await.expect("look");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(served.status().status.code(), Some(0), "{}", picture(&served));
        (witnesses, incident)
    };
    let (witnesses, incident) = runtime.block_on(look);
    let retracted = get(&served, &incident);
    assert_eq!(retracted["state"], "retracted");
    assert_eq!(retracted["retraction_reason"], "Our own firewall.");
    let page = stage::path(&served.feed, &format!("/incidents/{incident}")).expect("the page");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; ") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("Our own firewall.") && page.contains("https://example.org/why?a=1&amp;b=2"), "{page}");
    let planned = plan_work(data.path(), &served, &incident);
    let (_, report) =
        operate(data.path(), &["report", &incident, "-o", &data.path().join("report.md").display().to_string()]);
    let report =
        std::fs::read_to_string(data.path().join("report.md")).unwrap_or_else(|error| panic!("{error}: {report}"));
    assert!(
        report.contains("Note: ")
            && report.contains("Planned work (azure/front-door) begins")
            && report.contains("Our own firewall"),
        "{report}"
    );
    let scorecard = stage::path(&served.feed, "/scorecard").expect("the page");
    assert!(scorecard.contains("A person says that Azure Front Door was not at fault"), "{scorecard}");

    for (arguments, code, wanted) in [
        (["incident", "retract", &incident, "--reason", "again"], 1, "is retracted already"),
        (["incident", "annotate", "inc-none", "--text", "x"], 1, "no incident \"inc-none\""),
        (["incident", "annotate", &incident, "--text", " "], 2, "the text is empty"),
    ] {
        let (came_to, said) = operate(data.path(), &arguments);
        assert!(came_to == Some(code) && said.contains(wanted), "{arguments:?}: {came_to:?} {said}");
    }
    let (_, second) = operate(data.path(), &["serve", "--catalog", &catalog.display().to_string()]);
    assert!(second.contains("another coordinator runs on it"), "{second}");

    drop(witnesses);
    served.child.kill().expect("SIGKILL");
    served.child.wait().expect("dead");
    assert!(data.path().join("admin.sock").exists(), "a killed coordinator leaves its socket");
    let (code, said) = operate(data.path(), &["incident", "annotate", &incident, "--text", "x"]);
    assert!(code == Some(1) && said.contains("no coordinator runs on the data directory"), "{said}");
    let (_, audit) = operate(data.path(), &["audit", "tail", "-o", "json"]);
    let entries: Vec<Value> = serde_json::from_str(&audit).unwrap_or_else(|error| panic!("{error}: {audit}"));
    let shown: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry["call"].as_str().expect("a call"), entry["outcome"].as_str().expect("an outcome")))
        .collect();
    assert_eq!(
        shown.iter().map(|(call, _)| *call).collect::<Vec<_>>(),
        ["annotate", "retract", "add_work", "add_work", "add_work", "cancel_work", "retract", "annotate", "annotate"]
    );
    assert!(shown[1].1.starts_with(&format!("done: {incident} revision ")), "{audit}");
    assert_eq!(shown[3].1, format!("done: {planned}"));
    assert!(shown[6..].iter().all(|(_, outcome)| outcome.starts_with("refused: ")), "{audit}");
    let me = owner(data.path());
    assert!(entries.iter().all(|entry| entry["uid"] == me), "{audit}");

    let served = Served::start(data.path(), &catalog, &[]);
    assert_eq!(get(&served, &incident), retracted, "the same after a kill");
    let works = json(&served, "/api/v1/work");
    assert_eq!(works["work"].as_array().map(Vec::len), Some(2), "the same after a kill: {works}");
    let (code, said) = operate(data.path(), &["incident", "annotate", &incident, "--text", "Still wrong."]);
    assert_eq!(code, Some(0), "a socket that was left behind is replaced: {said}");
    let noted = get(&served, &incident);
    assert_eq!((noted["state"].as_str(), noted["notes"].as_array().map(Vec::len)), (Some("retracted"), Some(2)));
}

/// Announces work beside the incident and elsewhere, and calls the latter off. Returns the id of the first.
fn plan_work(data: &Path, served: &Served, incident: &str) -> String {
    let add = |more: &[&str]| operate(data, &[&["work", "add", "--text", "<b>Switch</b> replaced"], more].concat());
    let (code, said) = add(&["--from", "2020-01-01T00:00:00Z", "--for", "1h"]);
    assert!(code == Some(2) && said.contains("more than 90 days ago"), "{said}");
    let onset = get(served, incident)["onset_at"].as_str().expect("an instant").to_owned();
    let announced = |element: &str| {
        let (code, said) = add(&["--from", &onset, "--for", "1h", "--element", element]);
        assert!(code == Some(0) && said.contains(" is announced, from "), "{said}");
        said.split_whitespace().next().expect("an id").to_owned()
    };
    let (beside, elsewhere) = (announced("azure/front-door"), announced("aws/us-east-1"));
    let (code, said) = operate(data, &["work", "cancel", &elsewhere, "--reason", "Put off."]);
    assert!(code == Some(0) && said.contains("is called off"), "{said}");

    let listed = text(&faultline(&["work", "list", "--feed", &served.feed]).stdout);
    assert!(listed.contains(&format!("{beside}  in progress")) && listed.contains("cancelled"), "{listed}");
    let front = stage::path(&served.feed, "/").expect("the page");
    assert!(front.contains("&lt;b&gt;Switch&lt;/b&gt; replaced") && front.contains("called off"), "{front}");
    let page = stage::path(&served.feed, &format!("/incidents/{incident}")).expect("the page");
    let at_the_time = page.split("Planned work at the time").nth(1).expect("it went on then");
    assert!(
        at_the_time.contains("<code>azure/front-door</code>") && !at_the_time.contains("us-east-1</code>"),
        "{page}"
    );
    let active = json(served, "/api/v2/scheduled-maintenances/active.json");
    assert_eq!(active["scheduled_maintenances"][0]["id"], beside);
    assert_eq!(active["scheduled_maintenances"].as_array().map(Vec::len), Some(1));
    beside
}

/// The user who made this test's files, as the kernel says.
fn owner(folder: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder).expect("there"))
}
