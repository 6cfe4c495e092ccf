//! The programs as people run them: exit codes, signals, a kill, an agent beside the coordinator.

#[path = "process/joining.rs"]
mod joining;
#[path = "process/operators.rs"]
mod operators;
#[path = "process/webhooks.rs"]
mod webhooks;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use faultline_coordinator::log::{ChangeLog as _, sqlite::SqliteLog};
use faultline_lab::{
    programs::built,
    stage::{self, Witnesses, is_behind_front_door},
};
use faultline_proto::clock::Clock;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_secs(90);

/// Targets that no resolver knows (RFC 6761), so that every look fails whether or not this machine has internet.
const NOWHERE: &str = r#"
[[target]]
id = "aws/us-east-1/s3"
probe = "https"
url = "https://s3.us-east-1.amazonaws.invalid/"
hosted_on = "aws"
region = "us-east-1"
service = "s3"
owner = "amazon"
interval = "10s"
timeout = "5s"

[[target]]
id = "azure/eastus/blob"
probe = "https"
url = "https://blob.eastus.azure.invalid/"
hosted_on = "azure"
region = "eastus"
service = "blob"
owner = "microsoft"
interval = "10s"
timeout = "5s"

[[target]]
id = "control/one"
probe = "https"
url = "https://control.invalid/"
hosted_on = "other"
interval = "10s"
timeout = "5s"
"#;

fn faultline(arguments: &[&str]) -> Output {
    Command::new(built("faultline")).args(arguments).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A coordinator as a process, killed when dropped.
struct Served {
    child: Child,
    agents: String,
    feed: String,
}

impl Served {
    fn start(data: &Path, catalog: &Path, more: &[&str]) -> Self {
        Self::at("127.0.0.1:0", data, catalog, more)
    }

    /// One whose port for agents is at this address.
    fn at(agents: &str, data: &Path, catalog: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(built("faultline"))
            .args(["serve", "--no-ranges-refresh", "--no-claims", "--agents-listen", agents])
            .args(["--feed-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .arg("--catalog")
            .arg(catalog)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map(|line| line.expect("a line"));
        let mut said = |what: &str| {
            let found = lines.find_map(|line| line.strip_prefix(what).map(|rest| rest.trim().to_owned()));
            found.unwrap_or_else(|| panic!("nothing said of {what}"))
        };
        let (agents, page) = (said("agents"), said("page"));
        Self { child, agents, feed: page.trim_end_matches('/').to_owned() }
    }

    fn status(&self) -> Output {
        faultline(&["status", "--feed", &self.feed, "-o", "json"])
    }

    /// Asks for the status until it is as wanted.
    fn wait(&self, wanted: impl Fn(&Output) -> bool) -> Output {
        let began = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < HANG, "last: {}", text(&status.stdout));
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().expect("kill");
        assert!(sent.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn without_a_way_out_it_says_that_it_cannot_see_and_accuses_nobody() {
    let data = tempfile::tempdir().expect("dir");
    let catalog = data.path().join("nowhere.toml");
    std::fs::write(&catalog, NOWHERE).expect("catalog");
    let mut served = Served::start(&data.path().join("state"), &catalog, &["--with-agent"]);
    let status = served.wait(|status| text(&status.stdout).contains("only vantage"));
    assert_eq!(status.status.code(), Some(3), "{}", text(&status.stdout));
    let picture: serde_json::Value = serde_json::from_slice(&status.stdout).expect("json");
    assert_eq!(picture["standing"], "blind");
    assert!(picture["reason"].as_str().expect("reason").contains("every control fails from the only vantage"));
    assert_eq!(picture["incidents"], serde_json::json!([]), "nobody is accused");
    let page = stage::page(&served.feed).expect("the page");
    assert!(page.contains("We cannot see") && page.contains("every control fails"), "{page}");

    let began = Instant::now();
    served.signal("-TERM");
    let ended = served.child.wait().expect("ends");
    assert!(ended.success(), "{ended}");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn a_killed_coordinator_comes_back_with_the_same_board() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let catalog = data.path().join("catalog.toml");
    let mut served = Served::start(data.path(), &catalog, &[]);
    let address = served.agents.parse().expect("address");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let mut witnesses = Witnesses::join(data.path(), address, Clock::system()).await.expect("witnesses");
        for round in 0..240 {
            witnesses.look(|target| round > 20 && is_behind_front_door(target)).await.expect("look");
            tokio::time::sleep(Duration::from_millis(100)).await;
            if round % 10 == 0 && served.status().status.code() == Some(2) {
                break;
            }
        }
        // Killed while they look.
        served.child.kill().expect("SIGKILL");
        served.child.wait().expect("dead");
    });
    let before = board(data.path());
    let published: Vec<&str> = before.lines().filter(|line| line.contains("azure/front-door")).collect();
    assert!(!published.is_empty(), "an incident was published before the kill");
    let mut served = Served::start(data.path(), &catalog, &[]);
    let status = served.status();
    assert_eq!(status.status.code(), Some(2), "{}", text(&status.stdout));
    assert!(text(&status.stdout).contains("Azure Front Door is failing"), "{}", text(&status.stdout));
    assert!(board(data.path()).starts_with(&before), "what was published stays as it was published");
    let line = watched_incident(&served.feed);
    assert!(line.contains(r#""verdict":"azure""#) && line.contains(r#""element":"azure/front-door""#), "{line}");

    let copy = tempfile::tempdir().expect("dir");
    let of_feed = copied(copy.path(), &["--feed", &served.feed]);

    // An orderly end leaves a snapshot of all of it.
    served.signal("-TERM");
    assert!(served.child.wait().expect("ends").success());
    let of_log = copied(copy.path(), &["--data-dir", &data.path().display().to_string()]);
    assert_eq!(of_feed, of_log, "both have the same incidents");
    let checked = faultline(&["snapshot", "check", "--data-dir", &data.path().display().to_string()]);
    let said = text(&checked.stdout);
    assert!(checked.status.success() && said.contains("equal to the log folded from its first record"), "{said}");
}

/// Copies the page into a folder; returns which incidents have a page there.
fn copied(folder: &Path, from: &[&str]) -> Vec<String> {
    let to = folder.display().to_string();
    let output = faultline(&[&["page", "export", &to], from].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let index = read("index.html");
    assert!(index.contains("This is a copy, taken at") && !index.contains("<script"), "{index}");
    let snapshot: serde_json::Value = serde_json::from_str(&read("snapshot.json")).expect("JSON");
    let incidents = snapshot["incidents"].as_array().expect("incidents").iter();
    let ids: Vec<String> = incidents.map(|incident| incident["incident"].as_str().expect("id").to_owned()).collect();
    for id in &ids {
        assert!(index.contains(&format!("href=\"incidents/{id}.html\"")), "{id}: {index}");
        assert!(read(&format!("incidents/{id}.html")).contains(id));
    }
    assert!(!ids.is_empty() && !folder.join("index.new").exists(), "{ids:?}");
    ids
}

/// The first incident that `watch -o ndjson` writes; every line before it must say first what it is.
fn watched_incident(feed: &str) -> String {
    let mut watch = Command::new(built("faultline"))
        .args(["watch", "-o", "ndjson", "--feed", feed])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("stdout")).lines().map(|line| line.expect("a line"));
    let incident = lines.find(|line| {
        assert!(line.starts_with(r#"{"type":""#), "{line}");
        line.starts_with(r#"{"type":"incident""#)
    });
    watch.kill().expect("ends");
    watch.wait().expect("ended");
    incident.expect("an incident")
}

/// Everything that was published, as the data directory has it.
fn board(data: &Path) -> String {
    let log = SqliteLog::open(data).expect("the log opens after a kill");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let entries = runtime.block_on(log.published_after(0, usize::MAX)).expect("reads");
    entries.iter().map(|entry| format!("{entry:?}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let catalog = data.path().join("catalog.toml");
    let output = Command::new(built("faultline"))
        .args(["serve", "--no-ranges-refresh", "--no-claims", "--agents-listen", "127.0.0.1:0"])
        .args(["--feed-listen", &address, "--metrics-listen", "none", "--data-dir"])
        .arg(data.path())
        .arg("--catalog")
        .arg(catalog)
        .output()
        .expect("runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&address) && said.contains("--feed-listen"), "{said}");
}

#[test]
fn exit_codes_are_those_that_scripts_rely_on() {
    let data = tempfile::tempdir().expect("dir");
    let bad = data.path().join("bad.toml");
    std::fs::write(&bad, "[[target]]\nid = \"x\"\nprobe = \"ping\"\nurl = \"tcp://x:1\"\nhosted_on = \"aws\"\n")
        .expect("file");
    let bad = bad.display().to_string();
    let nowhere = data.path().display().to_string();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--help"], 0, ""),
        // A sound catalog, but no fleet of reference can tell all of it apart.
        (&["catalog", "check"], 1, ""),
        (&["catalog", "check", &bad], 2, "bad.toml:3: probe \"ping\" is none of"),
        (&["no-such-command"], 2, "unrecognized subcommand"),
        (&["agent", "issue", "Bad Name", "--data-dir", &nowhere], 2, "cannot be an agent's name"),
        (&["serve", "--data-dir", &nowhere], 1, "run `faultline init"),
        (&["status", "--feed", "http://127.0.0.1:1"], 3, "no coordinator at"),
        (&["status", "--no-such-flag"], 3, "unexpected argument"),
    ];
    for (arguments, code, said) in rows {
        let output = faultline(arguments);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
    let help = text(&faultline(&["status", "--help"]).stdout);
    assert!(help.starts_with("Example:"), "{help}");
}

#[test]
fn an_agent_that_is_issued_by_hand_joins_and_says_goodbye() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let catalog = data.path().join("nowhere.toml");
    std::fs::write(&catalog, NOWHERE).expect("catalog");
    let served = Served::start(data.path(), &catalog, &[]);
    let out = data.path().join("fra-1");
    let issued = Command::new(built("faultline"))
        .args(["agent", "issue", "fra-1", "--isp", "hetzner-de", "--country", "de", "--asn", "24940", "--data-dir"])
        .arg(data.path())
        .args(["--coordinator", &format!("https://{}", served.agents), "--out"])
        .arg(&out)
        .output()
        .expect("runs");
    assert!(issued.status.success(), "{}", text(&issued.stderr));
    let mut agent = Command::new(built("faultline-agent"))
        .args(["run", "--config"])
        .arg(out.join("agent.toml"))
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    served.wait(|status| text(&status.stdout).contains("\"total_groups\":1"));
    let terminated = Command::new("kill").arg("-TERM").arg(agent.id().to_string()).status().expect("kill");
    assert!(terminated.success());
    assert!(agent.wait().expect("ends").success(), "exit 0 after a goodbye");
    let page = stage::page(&served.feed).expect("the page");
    assert!(page.contains("fra-1") && page.contains("goodbye"), "{page}");
}
