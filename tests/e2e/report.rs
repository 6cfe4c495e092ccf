//! The report as a person asks for it, of an incident that a coordinator saw from its onset to its end: what a reader must
//! find in it, by whatever way and in whatever format; and the incident's page, with its files.

#[path = "report/october.rs"]
mod october;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use faultline_attribution::Timestamp;
use faultline_lab::{
    programs::built,
    stage::{self, Witnesses, front_door_breaks},
};
use faultline_proto::{
    clock::Clock,
    feed::v1::{
        FromSnapshot, SubscribeRequest, feed_event::Change, feed_service_client::FeedServiceClient,
        subscribe_request::Start, subscribe_response::Message,
    },
    types::v1::IncidentState,
};
use serde_json::Value;
use tokio::{task, time};
use tonic::transport::Endpoint;

/// Everything here takes seconds; this is a hang.
const HANG: Duration = Duration::from_mins(2);

/// Minutes of the emulated clock pass in seconds.
const SPEED: f64 = 20.0;

/// Looks at a broken Front Door, five seconds apart.
const BROKEN: u32 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_tells_who_since_when_for_how_long_and_who_is_cleared_in_every_format() {
    let data = tempfile::tempdir().expect("dir");
    stage::prepare(data.path()).expect("prepare");
    let clock = Clock::emulated(SPEED);
    let coordinator = stage::start(data.path(), clock).await.expect("start");
    let feed = coordinator.feed_address;
    let mut witnesses = Witnesses::join(data.path(), coordinator.agents_address, clock).await.expect("witnesses");
    let incident = tokio::select! {
        incident = time::timeout(HANG, ended(feed)) => incident.expect("an incident that ends, in time"),
        () = front_door_breaks(&mut witnesses, BROKEN) => unreachable!("it goes on for ever"),
    };

    let (folder, id) = (data.path().to_owned(), incident.clone());
    let by_feed = task::spawn_blocking(move || all_formats(&folder, &id, &["--feed", &format!("http://{feed}")]));
    let reports = by_feed.await.expect("reports");
    tells_the_incident(&reports);
    let page = task::spawn_blocking(move || (get(feed, &format!("/incidents/{incident}")), incident));
    let (page, incident) = page.await.expect("page");
    shows_the_incident(&page, &incident);
    let (csv, json) = (format!("/incidents/{incident}/evidence.csv"), format!("/incidents/{incident}/evidence.json"));
    let files = task::spawn_blocking(move || {
        (get(feed, &csv), get(feed, &json), get(feed, "/incidents/inc-20200101T000000Z-1"))
    });
    let (csv, json, unknown) = files.await.expect("files");
    let rows = csv.split("\r\n\r\n").nth(1).expect("a body").lines().count() - 1;
    let evidence: Value = serde_json::from_str(json.split("\r\n\r\n").nth(1).expect("a body").trim()).expect("json");
    assert_eq!(evidence["evidence"].as_array().map(Vec::len), Some(rows), "{csv}");
    assert!(rows >= 6 && csv.contains("network-0,air,connect,connect_timeout,"), "{csv}");
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");

    // Nobody needs the coordinator for it.
    coordinator.stop().await;
    let folder = data.path().to_owned();
    let of_log = task::spawn_blocking(move || {
        let data = folder.display().to_string();
        wrong_usage_is_told(&data, &incident);
        all_formats(&folder, &incident, &["--data-dir", &data])
    });
    let of_log = of_log.await.expect("reports");
    tells_the_incident(&of_log);
    assert_eq!(of_log.json["summary"], reports.json["summary"], "the log tells what the feed told");
    assert_eq!(of_log.json["revisions"], reports.json["revisions"]);
}

struct Reports {
    markdown: String,
    html: String,
    json: Value,
}

fn faultline(arguments: &[&str]) -> Output {
    Command::new(built("faultline")).args(arguments).env_remove("FAULTLINE_FEED").output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The report to standard output and to files, from `source`.
fn all_formats(folder: &Path, incident: &str, source: &[&str]) -> Reports {
    let report = |more: &[&str]| {
        let arguments = [&["report", incident], source, more].concat();
        let output = faultline(&arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let file = |name: &str| -> (PathBuf, String) {
        let path = folder.join(name);
        assert_eq!(report(&["-o", &path.display().to_string()]), "", "a file, not standard output");
        (path.clone(), std::fs::read_to_string(path).expect("the file"))
    };
    let (markdown, (_, html), (_, json)) = (report(&[]), file("report.html"), file("report.json"));
    assert_eq!(report(&["--format", "html"]).contains("<svg"), html.contains("<svg"));
    Reports { markdown, html, json: serde_json::from_str(&json).expect("json") }
}

/// What a reader must find.
fn tells_the_incident(reports: &Reports) {
    let Reports { markdown, html, json } = reports;
    for text in [markdown, html] {
        for what in [
            "Azure Front Door failed",
            "Azure Front Door broke: connections time out from 6 of the 6 independent vantages",
            "AWS was not affected",
            "Noticed: ",
            "Attributed: ",
            "Lasted: ",
            "Resolved",
            "network-3",
            "connect_timeout",
            "what would change our mind",
            "At the worst, in the minute from ",
        ] {
            assert!(text.contains(what), "no {what}: {text}");
        }
        assert!(!text.contains("Azure: not accused"), "{text}");
    }
    assert!(html.contains("<svg") && html.contains("<style>") && !html.contains("<script"), "{html}");
    let seconds = |field: &str| json[field].as_f64().unwrap_or_else(|| panic!("{field}: {json}"));
    assert_eq!(
        (&json["verdict"], &json["element"], &json["is_over"]),
        (&"azure".into(), &"azure/front-door".into(), &true.into())
    );
    assert!(seconds("detected_after_s") <= seconds("attributed_after_s"), "{json}");
    assert!(seconds("attributed_after_s") < 120.0, "{json}");
    // 24 looks, five seconds apart or more.
    assert!(seconds("lasted_s") > 100.0, "{json}");
    assert!(seconds("lasted_s") < seconds("resolved_after_s"), "{json}");
    let onset: Timestamp = serde_json::from_value(json["onset_at"].clone()).expect("an instant");
    let earliest = onset.before(Duration::from_secs_f64(seconds("onset_uncertainty_s") + 5.0));
    let (before, during) = sides(json, earliest);
    assert_eq!(before.0, 0, "nothing had failed before the onset: {json}");
    assert!(during.0 * 2 > during.1, "most failed in the worst minute: {json}");
}

/// Runs that failed, and runs: before the minute of the onset, and in the worst minute.
fn sides(json: &Value, onset: Timestamp) -> ((u64, u64), (u64, u64)) {
    let mut minutes = std::collections::BTreeMap::<String, (u64, u64)>::new();
    for group in json["history"]["curve"].as_object().expect("a curve").values() {
        for (minute, counts) in group.as_object().expect("minutes") {
            let sum = minutes.entry(minute.clone()).or_default();
            sum.0 += counts["failed"].as_u64().expect("a count");
            sum.1 += counts["runs"].as_u64().expect("a count");
        }
    }
    let of_the_onset = onset.to_string()[..16].to_owned();
    let before = minutes.range(..of_the_onset).fold((0, 0), |sum, (_, (failed, runs))| (sum.0 + failed, sum.1 + runs));
    let worst = minutes.into_values().max_by_key(|(failed, _)| *failed).expect("a minute");
    (before, worst)
}

fn shows_the_incident(page: &str, incident: &str) {
    for what in [
        "<svg class=\"plot\"",
        "onset ",
        "resolved ",
        "Detected",
        "Attributed",
        "The same as numbers",
        "aria-sort=\"descending\"",
    ] {
        assert!(page.contains(what), "no {what}: {page}");
    }
    assert!(page.contains(&format!("href=\"/incidents/{incident}?sort=target#evidence\"")), "{page}");
    assert!(!page.contains("style="), "the policy forbids inline style: {page}");
}

fn wrong_usage_is_told(data: &str, incident: &str) {
    let rows: [(&[&str], i32, &str); 5] = [
        (&["inc-20200101T000000Z-1", "--data-dir", data], 2, "no such incident in the log of"),
        (&[incident, "--data-dir", data, "-o", "report.pdf"], 2, "the suffix names no format: .html, .md or .json"),
        (&[incident, "--data-dir", "/nowhere"], 2, "no log there"),
        (&[incident, "--feed", "nonsense"], 2, "is no URL"),
        (&[incident, "--feed", "http://127.0.0.1:1"], 1, "no coordinator at http://127.0.0.1:1"),
    ];
    for (arguments, code, said) in rows {
        let output = faultline(&[&["report"], arguments].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let unknown = faultline(&["report", "inc-20200101T000000Z-1", "--data-dir", data]);
    assert!(text(&unknown.stderr).contains(incident), "it names those that there are: {}", text(&unknown.stderr));
}

/// The id of the first incident that ends.
async fn ended(feed: SocketAddr) -> String {
    let channel = Endpoint::from_shared(format!("http://{feed}")).expect("url").connect().await.expect("connect");
    let mut client = FeedServiceClient::new(channel);
    let request = SubscribeRequest { start: Some(Start::FromSnapshot(FromSnapshot {})), ..SubscribeRequest::default() };
    let mut stream = client.subscribe(request).await.expect("subscribe").into_inner();
    loop {
        let answer = stream.message().await.expect("a message").expect("not the end");
        if let Some(Message::Event(event)) = answer.message
            && let Some(Change::Incident(incident)) = event.change
            && incident.state() == IncidentState::Resolved
        {
            return incident.incident;
        }
    }
}

fn get(feed: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(feed).expect("connect");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {feed}\r\nconnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
