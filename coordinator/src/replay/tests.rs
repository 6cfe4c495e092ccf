//! Which lines count, when, and once.

use super::*;

const WORLD: &str = "[[agent]]\nid = \"a\"\n[[agent]]\nid = \"b\"\n";
const CATALOG: &str =
    "[[target]]\nid = \"t\"\nprobe = \"https\"\nurl = \"https://t.example/\"\nhosted_on = \"other\"\n";

fn replay(until: Option<&str>) -> Replay {
    let micros = |at: &str| at.parse::<jiff::Timestamp>().expect("at").as_microsecond();
    Replay {
        targets: crate::catalog::Catalog::parse("c", CATALOG).expect("catalog").world(),
        vantages: crate::world_file::parse("w", WORLD).expect("world"),
        until: until.map(|at| Timestamp::from_micros(micros(at))),
        ..Replay::default()
    }
}

fn run(lines: &[String]) -> Result<Replayal, String> {
    let text = lines.join("\n");
    replay(None).run("r.ndjson", text.as_bytes(), |_| Ok(())).map_err(|error| error.to_string())
}

/// A passed run of `agent`, received so many seconds into the hour.
fn line(agent: &str, at_s: u32, more: &str) -> String {
    let at = format!("2025-10-20T06:{:02}:{:02}Z", at_s / 60, at_s % 60);
    format!(r#"{{"agent":"{agent}","target":"t","at":"{at}","outcome":"passed"{more}}}"#)
}

/// A run that was received then.
fn received(micros: i64) -> Replayed {
    let at = Timestamp::from_micros(micros);
    let run = Run {
        at,
        received_at: at,
        outcome: Outcome::Passed,
        status: None,
        way: run::way("", None),
        maker: None,
        took: None,
        slowest: None,
        is_backlog: false,
        is_clock_suspect: false,
        is_on_demand: false,
    };
    Replayed { agent: 0, target: 0, address: None, attempt: 1, run, sighting: None }
}

#[test]
fn equal_lines_count_once() {
    let lines = [
        line("a", 1, ""),
        line("a", 1, r#","resolver":"system","attempt":1,"status":204"#),
        line("a", 1, r#","resolver":"1.1.1.1""#),
        line("a", 1, r#","attempt":2"#),
        line("a", 1, r#","address":"192.0.2.1""#),
        line("b", 1, ""),
        // The same again, two minutes later.
        line("a", 1, r#","received_at":"2025-10-20T06:02:01Z""#),
    ];
    let replayed = run(&lines).expect("replays");
    assert_eq!((replayed.results, replayed.duplicates), (5, 2));
}

#[test]
fn disorder_of_two_minutes_is_sorted_and_more_names_the_line() {
    assert_eq!(run(&[line("a", 200, ""), line("b", 80, "")]).expect("sorted").results, 2);
    let error = run(&[line("a", 200, ""), line("b", 79, "")]).expect_err("too much");
    assert!(error.starts_with("r.ndjson:2: received_at: 2025-10-20T06:01:19Z is 121 s before line 1"), "{error}");
}

#[test]
fn a_late_line_corrects_but_is_counted_as_late() {
    let late = [line("a", 1, r#","late":true"#), line("b", 1, r#","received_at":"2025-10-20T06:02:02Z""#)];
    let replayed = run(&late).expect("replays");
    assert_eq!(replayed.engine.ignored(), (0, 2));
    let in_time = [line("a", 1, r#","timings_us":{"total":1000000},"received_at":"2025-10-20T06:02:01Z""#)];
    assert_eq!(run(&in_time).expect("replays").engine.ignored(), (0, 0));
}

#[test]
fn unknown_names_are_errors_with_line_and_field() {
    let error = run(&[line("a", 1, ""), String::new(), line("nobody", 2, "")]).expect_err("unknown agent");
    assert_eq!(error, "r.ndjson:3: agent: \"nobody\" is not in the world");
    let error = run(&[line("a", 1, "").replace("\"t\"", "\"u\"")]).expect_err("unknown target");
    assert_eq!(error, "r.ndjson:1: target: \"u\" is not in the catalog");
}

#[test]
fn nothing_counts_after_until() {
    let text = [line("a", 1, ""), line("a", 31, ""), line("a", 61, "")].join("\n");
    let until = replay(Some("2025-10-20T06:00:31Z"));
    assert_eq!(until.run("r", text.as_bytes(), |_| Ok(())).expect("replays").results, 2);
    let before = replay(Some("2025-10-19T00:00:00Z"));
    assert_eq!(before.run("r", text.as_bytes(), |_| Ok(())).expect("replays").results, 0);
}

#[test]
fn a_second_belongs_to_the_tick_at_its_end() {
    let mut order = Order::default();
    for (line, micros) in [(1, 2_000_001), (2, 2_000_000), (3, 1_000_001), (4, 3_000_000)] {
        order.push(line, received(micros)).expect("in order");
    }
    let taken = |order: &mut Order| order.remaining().map(|(second, runs)| (second, runs.len()));
    assert_eq!((taken(&mut order), taken(&mut order), taken(&mut order)), (Some((2, 2)), Some((3, 2)), None));
}

#[test]
fn a_file_of_years_holds_only_minutes_in_memory() {
    let mut order = Order::default();
    let mut waiting = 0_usize;
    for second in 0..100_000 {
        order.push(1, received(second * 1_000_000)).expect("in order");
        waiting += 1;
        while order.complete().is_some() {
            waiting -= 1;
        }
        assert!(waiting <= 121, "{waiting} wait at {second}");
    }
}
