//! Replay as people run it: what it finds, what it refuses, what must not matter, and that it tells what was told live.

#[path = "replay/told.rs"]
mod told;

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use faultline_attribution::Timestamp;
use faultline_lab::programs::built;
use serde_json::Value;

/// 20 October 2025, 06:00 UTC.
const START_S: i64 = 1_760_940_000;

/// Length of the recording, and when `aws/east` is broken in it.
const RUN_S: i64 = 480;
const BROKEN_S: std::ops::Range<i64> = 180..330;

const GROUPS: usize = 8;

/// Two clouds with the same two regions of two services each, and four controls.
const TARGETS: [(&str, &str, &str, &str); 12] = [
    ("aws", "east", "store", "amazon"),
    ("aws", "east", "queue", "amazon"),
    ("aws", "west", "store", "amazon"),
    ("aws", "west", "queue", "amazon"),
    ("azure", "east", "store", "microsoft"),
    ("azure", "east", "queue", "microsoft"),
    ("azure", "west", "store", "microsoft"),
    ("azure", "west", "queue", "microsoft"),
    ("other", "", "one", "one"),
    ("other", "", "two", "two"),
    ("other", "", "three", "three"),
    ("other", "", "four", "four"),
];

fn faultline() -> PathBuf {
    built("faultline")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with catalog, world and results.
struct Recording {
    folder: tempfile::TempDir,
    catalog: String,
    world: String,
    lines: Vec<String>,
}

impl Recording {
    /// The recording, begun at this second.
    fn new(start_s: i64) -> Self {
        let target = |(cloud, region, service, owner): &(&str, &str, &str, &str)| {
            let id =
                if region.is_empty() { format!("{cloud}/{service}") } else { format!("{cloud}/{region}/{service}") };
            let place = if region.is_empty() {
                String::new()
            } else {
                format!("region = \"{region}\"\nservice = \"{service}\"\n")
            };
            let host = id.replace('/', "-");
            format!(
                "[[target]]\nid = \"{id}\"\nprobe = \"https\"\nurl = \"https://{host}.example/\"\nhosted_on = \"{cloud}\"\n\
                 {place}owner = \"{owner}\"\n\n"
            )
        };
        let agent = |n: usize| format!("[[agent]]\nid = \"agent-{n}\"\nasn = {}\nisp = \"isp-{n}\"\n\n", 64500 + n);
        Self {
            folder: tempfile::tempdir().expect("folder"),
            catalog: TARGETS.iter().map(target).collect(),
            world: (0..GROUPS).map(agent).collect(),
            lines: lines(start_s),
        }
    }

    fn replay(&self, more: &[&str]) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("catalog.toml"), &self.catalog).expect("catalog");
        fs::write(path("world.toml"), &self.world).expect("world");
        fs::write(path("results.ndjson"), self.lines.join("\n")).expect("results");
        let mut command = Command::new(faultline());
        command.arg("replay").arg("--catalog").arg(path("catalog.toml")).arg("--world").arg(path("world.toml"));
        command.arg(path("results.ndjson")).args(more).output().expect("runs")
    }

    /// The changes, as the program writes them.
    fn told(&self) -> String {
        let output = self.replay(&["-o", "ndjson"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

/// Every agent looks at every target each 10 s, in order of arrival.
fn lines(start_s: i64) -> Vec<String> {
    let mut lines = Vec::new();
    for ms in 0..RUN_S * 1000 {
        // One run each 100 ms or so, so that agents and targets are spread over the interval.
        if ms % 104 != 0 {
            continue;
        }
        let n = usize::try_from(ms / 104).expect("a count");
        let (agent, target) = (n % GROUPS, (n / GROUPS) % TARGETS.len());
        let (cloud, region, service, _) = TARGETS[target];
        let id = if region.is_empty() { format!("{cloud}/{service}") } else { format!("{cloud}/{region}/{service}") };
        let at = Timestamp::from_micros(start_s * 1_000_000 + ms * 1000);
        let is_broken = (cloud, region) == ("aws", "east") && BROKEN_S.contains(&(ms / 1000));
        let end = if is_broken {
            r#""outcome":"failed","layer":"connect","cause":"connect_timeout","timings_us":{"dns":900,"total":900}"#
        } else {
            r#""outcome":"passed","status":200,"timings_us":{"dns":900,"connect":9000,"total":41000}"#
        };
        lines.push(format!(r#"{{"agent":"agent-{agent}","target":"{id}","at":"{at}","probe":"https",{end}}}"#));
    }
    lines
}

fn changes(told: &str) -> Vec<Value> {
    told.lines().map(|line| serde_json::from_str(line).expect("a change")).collect()
}

#[test]
fn an_outage_is_found_and_told_one_change_a_line() {
    let told = Recording::new(START_S).told();
    assert!(told.lines().all(|line| line.starts_with(r#"{"type":"incident","at":""#)), "{told}");
    let changes = changes(&told);
    let attributed = changes.iter().find(|change| change["state"] == "attributed").expect("a verdict");
    assert_eq!((&attributed["verdict"], &attributed["element"]), (&"aws".into(), &"aws/east".into()), "{attributed}");
    assert_eq!(changes.last().expect("an end")["state"], "resolved");
    assert!(changes.iter().all(|change| change["incident"] == attributed["incident"]), "one incident: {told}");
}

#[test]
fn text_is_for_people_and_an_incident_can_be_explained() {
    let recording = Recording::new(START_S);
    let change = changes(&recording.told()).remove(0);
    let incident = change["incident"].as_str().expect("id").to_owned();
    let output = recording.replay(&["--explain", &incident]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("attributed") && said.contains(&format!("{incident}: how do we know?")), "{said}");
    assert!(said.contains("  gain  ") && said.contains("  evidence  "), "{said}");
    let output = recording.replay(&["--explain", "inc-20000101T000000Z-1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no such incident; there are inc-"), "{}", text(&output.stderr));
}

#[test]
fn a_replay_ends_at_the_verdict_or_at_the_instant_that_was_asked_for() {
    let recording = Recording::new(START_S);
    let told = recording.told();
    let ended = text(&recording.replay(&["-o", "ndjson", "--until-verdict"]).stdout);
    assert!(told.starts_with(&ended) && ended.len() < told.len(), "{ended}");
    assert!(changes(&ended).last().is_some_and(|change| change["state"] == "attributed"), "{ended}");
    let until = Timestamp::from_micros((START_S + BROKEN_S.start) * 1_000_000).to_string();
    let output = recording.replay(&["-o", "ndjson", "--until", &until]);
    assert!(output.status.success() && output.stdout.is_empty(), "nothing was wrong until then");
}

#[test]
fn nothing_wrong_is_an_empty_output() {
    let mut recording = Recording::new(START_S);
    recording.lines.retain(|line| line.contains("passed"));
    assert_eq!(recording.told(), "");
    recording.lines.clear();
    assert_eq!(recording.told(), "", "no line at all");
}

#[test]
fn lines_come_from_standard_input_and_a_reader_may_leave() {
    let recording = Recording::new(START_S);
    let told = recording.told();
    let path = |name: &str| recording.folder.path().join(name);
    let mut child = Command::new(faultline())
        .args(["replay", "-o", "ndjson", "-", "--catalog"])
        .arg(path("catalog.toml"))
        .arg("--world")
        .arg(path("world.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("stdin").write_all(recording.lines.join("\r\n").as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(text(&output.stdout), told);
}

#[test]
fn a_line_that_is_wrong_is_named_with_its_field() {
    let recording = Recording::new(START_S);
    let rows: [(&str, &str, &str); 9] = [
        (r#""agent-2""#, r#""agent-99""#, "agent: \"agent-99\" is not in the world"),
        ("aws/east/store", "aws/east/bucket", "target: \"aws/east/bucket\" is not in the catalog"),
        (r#""at":"2025"#, r#""at":"soon 2025"#, "at: \"soon 2025-"),
        (r#""outcome":"passed""#, r#""outcome":"great""#, "outcome: \"great\" is not an outcome"),
        (r#""outcome":"passed""#, r#""outcome":"failed","layer":"ip","cause":"dns_timeout""#, "layer: \"ip\""),
        (r#""outcome":"passed""#, r#""outcome":"failed","layer":"dns","cause":"sad""#, "cause: \"sad\" is not a cause"),
        (r#""outcome":"passed""#, r#""outcome":"failed","layer":"dns""#, "cause: missing"),
        (r#""outcome":"passed""#, r#""outcome":"unmeasured""#, "reason: missing"),
        (r#""status":200"#, r#""status":-200"#, "status: -200 is not an HTTP status"),
    ];
    for (from, to, expected) in rows {
        let mut recording =
            Recording { folder: tempfile::tempdir().expect("folder"), lines: lines(START_S), ..clone(&recording) };
        let (place, line) = recording.lines.iter_mut().enumerate().find(|(_, line)| line.contains(from)).expect(from);
        *line = line.replacen(from, to, 1);
        let output = recording.replay(&["-o", "ndjson"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("results.ndjson:{}: {expected}", place + 1)), "{expected}: {said}");
        assert!(output.stdout.is_empty());
    }
}

fn clone(recording: &Recording) -> Recording {
    Recording {
        folder: tempfile::tempdir().expect("folder"),
        catalog: recording.catalog.clone(),
        world: recording.world.clone(),
        lines: recording.lines.clone(),
    }
}

#[test]
fn files_that_are_missing_or_wrong_are_usage_errors() {
    let recording = Recording::new(START_S);
    recording.told();
    let path = |name: &str| recording.folder.path().join(name).display().to_string();
    let (catalog, world, results) = (path("catalog.toml"), path("world.toml"), path("results.ndjson"));
    let nowhere = path("nowhere");
    for (catalog, world, results) in
        [(&nowhere, &world, &results), (&catalog, &nowhere, &results), (&catalog, &world, &nowhere)]
    {
        let output = Command::new(faultline())
            .args(["replay", "--catalog", catalog, "--world", world, results])
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("nowhere"), "{}", text(&output.stderr));
    }
    let mut recording = recording;
    recording.world = recording.world.replacen("asn", "asm", 1);
    let output = recording.replay(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("world.toml:3: unknown field `asm`"), "{}", text(&output.stderr));
}

#[test]
fn unknown_fields_are_one_line_on_standard_error() {
    let mut recording = Recording::new(START_S);
    let told = recording.told();
    for line in &mut recording.lines {
        *line = line.replacen('{', r#"{"weather":{"rain":[1]},"#, 1);
    }
    let output = recording.replay(&["-o", "ndjson"]);
    assert_eq!(text(&output.stdout), told);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("weather ({})", recording.lines.len())), "{said}");
}

#[test]
fn disorder_and_copies_change_nothing() {
    let mut recording = Recording::new(START_S);
    let told = recording.told();
    // Blocks of a minute and a half, each backwards; every tenth line comes again at once.
    recording.lines = recording.lines.chunks(865).flat_map(|block| block.iter().rev().cloned()).collect();
    let copies = |(n, line): (usize, &String)| vec![line.clone(); 1 + usize::from(n % 10 == 0)];
    recording.lines = recording.lines.iter().enumerate().flat_map(copies).collect();
    assert_eq!(recording.told(), told);
    let last = recording.lines.len();
    let first = lines(START_S).remove(0);
    recording.lines.push(first);
    let output = recording.replay(&["-o", "ndjson"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("results.ndjson:{}: received_at: ", last + 1)), "{said}");
}

#[test]
fn the_order_of_agents_and_of_targets_changes_nothing() {
    let mut recording = Recording::new(START_S);
    let told = recording.told();
    let backwards = |text: &str, mark: &str| -> String {
        let rows: Vec<&str> = text.split(mark).filter(|row| !row.is_empty()).collect();
        rows.iter().rev().flat_map(|row| [mark, row]).collect()
    };
    recording.world = backwards(&recording.world, "[[agent]]");
    recording.catalog = backwards(&recording.catalog, "[[target]]");
    assert_eq!(recording.told(), told);
}

#[test]
fn what_came_late_opens_nothing() {
    let mut recording = Recording::new(START_S);
    for line in &mut recording.lines {
        *line = line.replacen(r#""outcome":"failed""#, r#""late":true,"outcome":"failed""#, 1);
    }
    assert_eq!(recording.told(), "");
}

#[test]
fn another_day_shifts_the_times_and_nothing_else() {
    let shift_s = 3 * 86_400 + 12_345;
    let (told, shifted) = (Recording::new(START_S).told(), Recording::new(START_S + shift_s).told());
    let since = |told: &str, start_s: i64| {
        let mut changes = changes(told);
        for change in &mut changes {
            make_relative(change, start_s);
        }
        changes
    };
    assert_eq!(since(&told, START_S), since(&shifted, START_S + shift_s));
}

/// Instants, alone and in ids, as microseconds since the start.
fn make_relative(value: &mut Value, start_s: i64) {
    match value {
        Value::String(word) => {
            if let Some(micros) = instant(word).or_else(|| instant(&instant_of_id(word)?)) {
                *value = (micros - start_s * 1_000_000).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| make_relative(value, start_s)),
        Value::Object(fields) => fields.values_mut().for_each(|value| make_relative(value, start_s)),
        _ => {}
    }
}

fn instant(word: &str) -> Option<i64> {
    serde_json::from_value::<Timestamp>(word.into()).ok().map(Timestamp::micros)
}

/// `inc-20251020T060315Z-1` to `2025-10-20T06:03:15Z`.
fn instant_of_id(id: &str) -> Option<String> {
    let digits = id.strip_prefix("inc-")?.split('-').next()?;
    let part = |range: std::ops::Range<usize>| digits.get(range);
    let (date, time) = ((part(0..4)?, part(4..6)?, part(6..8)?), (part(9..11)?, part(11..13)?, part(13..15)?));
    Some(format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2))
}

#[test]
fn exchanging_the_clouds_exchanges_the_verdicts_and_no_number() {
    let recording = Recording::new(START_S);
    let exchanged = Recording {
        folder: tempfile::tempdir().expect("folder"),
        catalog: exchange(&recording.catalog),
        world: exchange(&recording.world),
        lines: recording.lines.iter().map(|line| exchange(line)).collect(),
    };
    let sorted = |told: &str| {
        let mut changes = changes(told);
        changes.iter_mut().for_each(sort_lists);
        changes
    };
    let (told, exchanged) = (recording.told(), exchanged.told());
    assert!(told.contains(r#""verdict":"aws""#) && exchanged.contains(r#""verdict":"azure""#));
    assert_eq!(sorted(&told), sorted(&exchange(&exchanged)));
}

fn exchange(text: &str) -> String {
    let pairs = [("aws", "azure"), ("AWS", "Azure"), ("amazon", "microsoft")];
    pairs.iter().fold(text.to_owned(), |text, (one, other)| {
        text.replace(one, "\u{1}").replace(other, one).replace('\u{1}', other)
    })
}

/// Lists in an order that does not depend on names.
fn sort_lists(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(sort_lists);
            values.sort_by_key(ToString::to_string);
        }
        Value::Object(fields) => fields.values_mut().for_each(sort_lists),
        _ => {}
    }
}
