//! The agent's own metrics: what it did, how it is doing, and what its process takes.
//!
//! | metric | labels |
//! |---|---|
//! | `faultline_agent_build_info` | `version` |
//! | `faultline_agent_runs_total` | `outcome`, `layer` and `cause` where it failed, `reason` where it could not look |
//! | `faultline_agent_skipped_runs_total`, `faultline_agent_scheduler_lag_seconds`, `faultline_agent_probes_in_flight` | |
//! | `faultline_agent_spool_batches` | `lane` |
//! | `faultline_agent_lost_results_total` | `reason` |
//! | `faultline_agent_spool_bytes`, `faultline_agent_spool_durable`, `faultline_agent_spool_writable`, `faultline_agent_session_up` | |
//! | `process_cpu_seconds_total process_resident_memory_bytes process_open_fds process_max_fds process_start_time_seconds` | |
//!
//! Rules: labels are words of the contract, so that series are bounded by it; what the system does not tell is absent, not 0.

use std::{collections::BTreeMap, fs, time::Duration};

use faultline_proto::convert::word;

use super::exposition::Exposition;
use crate::{probe::Outcome, spool::View};

/// Runs, by how they ended.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<[String; 4], u64>);

impl Tally {
    /// Runs of all kinds.
    pub fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// Runs that could not look, by reason.
    pub fn unmeasured(&self) -> BTreeMap<String, u64> {
        let unmeasured = self.0.iter().filter(|([outcome, ..], _)| outcome == "unmeasured");
        unmeasured.map(|([_, _, _, reason], runs)| (reason.clone(), *runs)).collect()
    }

    /// Counts a run.
    pub fn count(&mut self, outcome: Outcome) {
        let none = String::new;
        let key = match outcome {
            Outcome::Passed => ["passed".to_owned(), none(), none(), none()],
            Outcome::Failed { layer, cause } => ["failed".to_owned(), word(layer), word(cause), none()],
            Outcome::Unmeasured { reason } => ["unmeasured".to_owned(), none(), none(), word(reason)],
        };
        *self.0.entry(key).or_default() += 1;
    }
}

/// How the agent is doing.
#[derive(Clone, Debug, Default)]
pub struct Doing {
    /// Runs since the start.
    pub runs: Tally,
    /// Runs that found no place, or whose predecessor was still under way.
    pub skipped_runs: u64,
    /// Worst lateness of late.
    pub scheduler_lag: Duration,
    /// Probes under way.
    pub probes_in_flight: usize,
    /// What waits for the coordinator.
    pub spool: View,
    /// Whether that outlives the process.
    pub is_spool_durable: bool,
    /// Whether the coordinator is connected.
    pub is_session_up: bool,
}

/// Adds what was built.
pub fn build(page: &mut Exposition) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge_of("faultline_agent_build_info", "Version of the agent", &version, 1.0);
}

/// Adds what the agent did and how it is doing.
pub fn doing(doing: &Doing, page: &mut Exposition) {
    for ([outcome, layer, cause, reason], runs) in &doing.runs.0 {
        let labels = [("outcome", outcome), ("layer", layer), ("cause", cause), ("reason", reason)];
        let labels: Vec<_> =
            labels.iter().filter(|(_, word)| !word.is_empty()).map(|(name, word)| (*name, word.as_str())).collect();
        page.counter("faultline_agent_runs_total", "Runs by how they ended", &labels, whole(*runs));
    }
    let skipped = whole(doing.skipped_runs);
    page.counter("faultline_agent_skipped_runs_total", "Runs that found no place", &[], skipped);
    let lag = doing.scheduler_lag.as_secs_f64();
    page.gauge("faultline_agent_scheduler_lag_seconds", "Worst lateness of a run of late", lag);
    let in_flight = whole(u64::try_from(doing.probes_in_flight).unwrap_or(u64::MAX));
    page.gauge("faultline_agent_probes_in_flight", "Probes under way", in_flight);
    let spool = &doing.spool;
    page.gauge("faultline_agent_spool_bytes", "Bytes that the spool takes", whole(spool.bytes));
    for (lane, waiting) in [("live", spool.live.waiting()), ("backfill", spool.backfill.waiting())] {
        let help = "Batches that wait to be acknowledged";
        page.gauge_of("faultline_agent_spool_batches", help, &[("lane", lane)], whole(waiting));
    }
    let lost = spool.lost;
    for (reason, results) in [
        ("spool_full", spool.dropped_results()),
        ("process_died", lost.process_died),
        ("spool_damaged", lost.spool_damaged),
    ] {
        let help = "Results that were made and will never come, since the spool was made";
        page.counter("faultline_agent_lost_results_total", help, &[("reason", reason)], whole(results));
    }
    let durable = f64::from(u8::from(doing.is_spool_durable));
    page.gauge("faultline_agent_spool_durable", "Whether the spool outlives the process", durable);
    let writable = f64::from(u8::from(spool.trouble.is_none()));
    page.gauge("faultline_agent_spool_writable", "Whether the spool's disk takes what is new", writable);
    let up = f64::from(u8::from(doing.is_session_up));
    page.gauge("faultline_agent_session_up", "Whether the coordinator is connected", up);
}

/// Adds what the process takes, as far as `/proc` tells.
pub fn process(page: &mut Exposition) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
    let stat = read("self/stat");
    if let Some(ticks) = cpu_ticks(&stat) {
        let help = "Time that the processors spent on the process";
        page.counter("process_cpu_seconds_total", help, &[], ticks / TICKS_A_SECOND);
    }
    if let (Some(started), Some(booted)) = (started_ticks(&stat), after(&read("stat"), "btime")) {
        let help = "When the process was started";
        page.gauge("process_start_time_seconds", help, booted + started / TICKS_A_SECOND);
    }
    if let Some(kib) = after(&read("self/status"), "VmRSS:") {
        page.gauge("process_resident_memory_bytes", "Memory that the process holds", kib * 1024.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Reading the folder is one of them.
        let open = u64::try_from(open.count().saturating_sub(1)).unwrap_or_default();
        page.gauge("process_open_fds", "Files that are open", whole(open));
    }
    if let Some(most) = after(&read("self/limits"), "Max open files") {
        page.gauge("process_max_fds", "Files that may be open", most);
    }
}

/// The first number of the line that begins so.
fn after(text: &str, start: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(start))?.split_whitespace().next()?.parse().ok()
}

/// User and system time.
fn cpu_ticks(stat: &str) -> Option<f64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

/// Start after boot.
fn started_ticks(stat: &str) -> Option<f64> {
    field(stat, 22)
}

/// A field of `/proc/self/stat` by its number in the manual; the second may hold blanks and brackets.
fn field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Source: `proc_pid_stat(5)` counts in `USER_HZ`, which is 100 on every architecture of Linux that the agent is built for.
const TICKS_A_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::{Cause, Layer, Reason};

    use super::*;
    use crate::spool::LaneView;

    #[test]
    fn runs_are_told_by_how_they_ended() {
        let mut runs = Tally::default();
        runs.count(Outcome::Passed);
        runs.count(Outcome::Passed);
        runs.count(Outcome::Failed { layer: Layer::Dns, cause: Cause::DnsNxdomain });
        runs.count(Outcome::Unmeasured { reason: Reason::NoIpv6 });
        let mut page = Exposition::default();
        let live = LaneView { first: 3, next: 10 };
        let spool = View { bytes: 5, live, ..View::default() };
        doing(&Doing { runs, spool, is_session_up: true, ..Doing::default() }, &mut page);
        let text = page.text();
        for line in [
            "faultline_agent_runs_total{outcome=\"passed\"} 2",
            "faultline_agent_runs_total{cause=\"dns_nxdomain\",layer=\"dns\",outcome=\"failed\"} 1",
            "faultline_agent_runs_total{outcome=\"unmeasured\",reason=\"no_ipv6\"} 1",
            "faultline_agent_spool_bytes 5",
            "faultline_agent_spool_batches{lane=\"live\"} 7",
            "faultline_agent_lost_results_total{reason=\"process_died\"} 0",
            "faultline_agent_spool_writable 1",
            "faultline_agent_session_up 1",
            "# TYPE faultline_agent_runs_total counter",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }

    #[test]
    fn the_process_tells_what_it_takes() {
        let mut page = Exposition::default();
        process(&mut page);
        let text = page.text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        let now = faultline_proto::clock::Clock::system().now_micros();
        let age = Duration::from_micros(u64::try_from(now).expect("after 1970")).as_secs_f64()
            - value("process_start_time_seconds");
        assert!((-1.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 12345 0";
        assert_eq!((cpu_ticks(stat), started_ticks(stat)), (Some(200.0), Some(12345.0)));
    }
}
