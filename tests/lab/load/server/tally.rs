//! What the servers see of an agent: when it came, how punctual its runs are, and what it reports. Pure; `now` is an argument.
//!
//! A run's first packet is its question for its target's own name, `t17.bench.test`, whatever its kind. How late a run is, is the
//! time from its due time (`t mod interval == phase`, of the system's clock, as the agent has it) to that packet's reading by the
//! name server: what the agent is late, and two wakings of a process besides.

use std::{collections::BTreeMap, time::Duration};

use faultline_proto::{
    agent::v1::ResultBatch,
    convert,
    types::v1::{Assignment, DnsSpec, HttpSpec, Outcome, ProbeResult, TcpSpec, TlsSpec, assignment::Spec},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{
    load::{Places, ZONE},
    score::stats,
};

/// What agents that join are to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Of ten targets six are https (three of each version), and one each tls, tcp, dns and http3.
    pub targets: u32,
    /// Of each target.
    pub interval: Duration,
    /// Of each run.
    pub timeout: Duration,
    /// Of the phases, which are spread over the interval at random, as the coordinator's are.
    pub seed: u64,
}

/// What was seen since the plan was set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When the agent opened its session, microseconds since the Unix epoch.
    pub joined_micros: Option<i64>,
    /// When the first packet of the first run came.
    pub first_run_micros: Option<i64>,
    /// Runs that came.
    pub runs: usize,
    /// How late they were, milliseconds: median, 99th percentile, worst.
    pub late_ms: Option<[f64; 3]>,
    /// Assignments that the agent refused.
    pub refused: usize,
    /// Results that passed.
    pub passed: u64,
    /// Results that did not, by why.
    pub not_passed: BTreeMap<String, u64>,
    /// Runs that the agent skipped.
    pub skipped: u64,
}

/// See [`Seen`].
#[derive(Debug, Default)]
pub(in crate::load) struct Tally {
    assignments: Vec<Assignment>,
    /// Interval and phases, microseconds.
    interval: i64,
    phases: Vec<i64>,
    late_ms: Vec<f64>,
    seen: Seen,
}

impl Tally {
    pub(super) fn assign(&mut self, plan: Plan, places: &Places) {
        let mut random = StdRng::seed_from_u64(plan.seed);
        let interval = i64::try_from(plan.interval.as_micros()).unwrap_or(i64::MAX);
        let phases: Vec<i64> = (0..plan.targets).map(|_| random.random_range(0..interval)).collect();
        let assignments = (0..plan.targets).zip(&phases).map(|(n, phase)| Assignment {
            slot: n + 1,
            target: format!("bench/t{n}"),
            interval: Some(convert::duration(plan.interval)),
            phase: Some(convert::duration(Duration::from_micros(phase.unsigned_abs()))),
            timeout: Some(convert::duration(plan.timeout)),
            spec: Some(spec(n, places)),
            ..Assignment::default()
        });
        *self = Self { assignments: assignments.collect(), interval, phases, ..Self::default() };
    }

    /// An agent has come; what it is to do.
    pub(super) fn joined(&mut self, now: i64) -> Vec<Assignment> {
        self.seen.joined_micros.get_or_insert(now);
        self.assignments.clone()
    }

    pub(super) fn refused(&mut self, assignments: usize) {
        self.seen.refused += assignments;
    }

    /// The first packet of a run, if the name is a target's.
    pub(super) fn asked(&mut self, name: &str, now: i64) {
        let target = name.get(1..).and_then(|rest| rest.split('.').next()).and_then(|n| n.parse::<usize>().ok());
        let Some(phase) = target.and_then(|n| self.phases.get(n)) else { return };
        self.seen.first_run_micros.get_or_insert(now);
        self.seen.runs += 1;
        let late = (now - phase).rem_euclid(self.interval.max(1));
        if self.late_ms.len() < MAX_LATE {
            self.late_ms.push(Duration::from_micros(late.unsigned_abs()).as_secs_f64() * 1e3);
        }
    }

    pub(super) fn reported(&mut self, batch: &ResultBatch) {
        self.seen.skipped = batch.skipped_runs;
        for result in &batch.results {
            match result.outcome() {
                Outcome::Passed => self.seen.passed += 1,
                outcome => *self.seen.not_passed.entry(why(outcome, result)).or_default() += 1,
            }
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let quantiles = [0.5, 0.99, 1.0].map(|q| stats::quantile(&self.late_ms, q).unwrap_or_default());
        Seen { late_ms: (!self.late_ms.is_empty()).then_some(quantiles), ..self.seen.clone() }
    }
}

/// Bounds the memory of a run in fast time, of which nobody asks how late it is.
const MAX_LATE: usize = 100_000;

fn why(outcome: Outcome, result: &ProbeResult) -> String {
    match outcome {
        Outcome::Failed => convert::word(result.cause()),
        _ => format!("unmeasured, {}", convert::word(result.reason())),
    }
}

fn spec(n: u32, places: &Places) -> Spec {
    let host = format!("t{n}.{ZONE}");
    let page = |port: u16| HttpSpec { url: format!("https://{host}:{port}/"), ..HttpSpec::default() };
    match n % 10 {
        0 => Spec::Dns(DnsSpec {
            name: host,
            record_type: "A".into(),
            server: places.dns.to_string(),
            ..DnsSpec::default()
        }),
        1 => Spec::Tcp(TcpSpec { port: places.https1.port().into(), host }),
        2 => Spec::Tls(TlsSpec { port: places.https1.port().into(), host, ..TlsSpec::default() }),
        3 => Spec::Http3(page(places.http3.port())),
        4..=6 => Spec::Https(page(places.https1.port())),
        _ => Spec::Https(page(places.https2.port())),
    }
}
