//! A script of records: a fleet that looks, and everything that can change meanwhile.

use std::{collections::BTreeMap, time::Duration};

use faultline_attribution::{ProbeKind, SessionState, Target, TargetId, Timestamp, Vantage};
use faultline_proto::{
    agent::v1::{Lane, ResultBatch},
    convert,
    types::v1 as wire,
};
use prost::Message as _;

use crate::{
    log::Admission,
    ranges::{Document, Ranges},
    record::{CatalogRecord, Record, RecordKind, SessionRecord, SlotTable},
};

/// The first second.
const BEGIN_S: i64 = 1_761_752_000;

const AGENTS: usize = 14;
const TARGETS: usize = 30;

/// Seconds between an agent's looks at a target, and between its batches.
const INTERVAL_S: i64 = 10;
const BATCH_S: i64 = 5;

/// What happens when, in seconds from the beginning.
const RANGES_S: i64 = 20;
const BREAKS_S: i64 = 100;
const NEW_RANGES_S: i64 = 125;
const MOVES_S: i64 = 130;
const HEALS_S: i64 = 160;
const CATALOG_S: i64 = 180;
const RESTARTS_S: i64 = 190;
const SILENT_S: i64 = 200;
const GOES_S: i64 = 330;
const LEAP_S: i64 = 340;
/// After the leap, what the agents that went had seen is forgotten.
const LEAP_TO_S: i64 = LEAP_S + 3700;
const END_S: i64 = LEAP_TO_S + 60;

/// Numbers that look random.
///
/// Source: Steele, Lea and Flood 2014, `SplitMix64`.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).expect("below the bound")
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What comes next.
pub(super) enum Step {
    /// A record; the epoch of batches is for the log to say.
    Record(Admission, Record),
    /// Time passes.
    Tick(Timestamp),
}

/// All of it.
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    dice: Dice,
    /// Each agent's incarnation and last number.
    spools: Vec<(u8, u64)>,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        let mut script = Self { steps: Vec::new(), dice: Dice::new(seed), spools: vec![(1, 0); AGENTS] };
        script.open();
        let seconds = (1..=LEAP_S).chain(LEAP_TO_S..=END_S);
        for second in seconds {
            script.happen(second);
            for agent in 0..AGENTS {
                let is_there = !(agent < 2 && second >= GOES_S || agent == 3 && second >= SILENT_S);
                if is_there && (second + i64::try_from(agent).expect("few")) % BATCH_S == 0 {
                    script.batch(agent, second);
                }
            }
            script.steps.push(Step::Tick(at(second)));
        }
        script
    }

    fn own(&mut self, record: Record) {
        self.steps.push(Step::Record(Admission::Own, record));
    }

    fn session(&mut self, agent: usize, second: i64) {
        let content = SessionRecord { state: SessionState::Up, since: at(second) };
        let record = Record::own(RecordKind::Session, at(second), &name(agent), &content);
        self.steps.push(Step::Record(Admission::Session, record));
    }

    fn leaves(&mut self, agent: usize, state: SessionState, second: i64) {
        let content = SessionRecord { state, since: at(second - 3) };
        self.own(Record::own(RecordKind::Session, at(second), &name(agent), &content));
    }

    fn open(&mut self) {
        let targets = (0..TARGETS).map(target).collect();
        self.own(Record::own(RecordKind::Catalog, at(0), "", &CatalogRecord { targets }));
        for agent in 0..AGENTS {
            self.own(Record::own(RecordKind::Assignment, at(0), &name(agent), &table(TARGETS)));
            self.own(Record::own(RecordKind::Vantage, at(0), &name(agent), &vantage(agent)));
            self.session(agent, 0);
        }
    }

    /// What happens beside the looks.
    fn happen(&mut self, second: i64) {
        match second {
            RANGES_S => self.own(Record::ranges(at(second), ranges("us-east-1"))),
            NEW_RANGES_S => self.own(Record::ranges(at(second), ranges("us-east-2"))),
            MOVES_S => {
                let moved = Vantage { isp: Some("isp-new".into()), asn: Some(65_000), ..vantage(4) };
                self.own(Record::own(RecordKind::Vantage, at(second), &name(4), &moved));
            }
            CATALOG_S => {
                // One target goes, one is another, one is new.
                let mut targets: BTreeMap<TargetId, Target> = (0..=TARGETS).map(target).collect();
                targets.remove(&target(29).0);
                let (id, other) = target(28);
                targets.insert(id, Target { owner: Some("another".into()), ..other });
                self.own(Record::own(RecordKind::Catalog, at(second), "", &CatalogRecord { targets }));
                for agent in 0..AGENTS {
                    self.own(Record::own(RecordKind::Assignment, at(second), &name(agent), &table(TARGETS + 1)));
                }
            }
            RESTARTS_S => {
                self.session(5, second);
                self.spools[5] = (2, 0);
            }
            SILENT_S => self.leaves(3, SessionState::Silent, second),
            GOES_S => (0..2).for_each(|agent| self.leaves(agent, SessionState::Goodbye, second)),
            LEAP_TO_S => self.session(1, second),
            _ => {}
        }
    }

    /// The looks that an agent began since its last batch.
    fn batch(&mut self, agent: usize, second: i64) {
        let (incarnation, number) = &mut self.spools[agent];
        *number += 1;
        let (incarnation, number) = (*incarnation, *number);
        // The last target is not assigned before the catalog has it.
        let assigned = if second > CATALOG_S { TARGETS + 1 } else { TARGETS };
        let mut results = Vec::new();
        for target in 0..assigned {
            let phase = i64::try_from((agent * 3 + target * 7) % 10).expect("small");
            let began = second - 1 - (second - 1 - phase).rem_euclid(INTERVAL_S);
            if began >= second - BATCH_S {
                results.push(self.result(agent, target, began));
            }
        }
        let batch = ResultBatch {
            lane: Lane::Live as i32,
            number,
            facts: if number == 1 || number == 30 { facts(agent, number) } else { Vec::new() },
            results,
            ..ResultBatch::default()
        };
        let record = Record {
            kind: RecordKind::Batch,
            received_at: at(second),
            agent: name(agent),
            incarnation: vec![incarnation; 16],
            epoch: 0,
            lane: 1,
            number,
            payload: batch.encode_to_vec().into(),
        };
        self.steps.push(Step::Record(Admission::Batch { first_number: 1 }, record));
    }

    fn result(&mut self, agent: usize, target: usize, began: i64) -> wire::ProbeResult {
        let is_broken = target % 5 < 2 && (target / 5).is_multiple_of(3) && (BREAKS_S..HEALS_S).contains(&began);
        let has_failed = is_broken || self.dice.one_in(300);
        let took = Duration::from_millis(40 + u64::try_from(self.dice.below(20)).expect("small"));
        let total_us = if has_failed { 3_000_000 } else { u32::try_from(took.as_micros()).expect("small") };
        let micros = i64::try_from(self.dice.below(900_000)).expect("small");
        wire::ProbeResult {
            slot: u32::try_from(target + 1).expect("few"),
            started_at: Some(convert::timestamp(at(began).micros() + micros)),
            outcome: if has_failed { wire::Outcome::Failed } else { wire::Outcome::Passed } as i32,
            layer: if has_failed { wire::Layer::Connect as i32 } else { 0 },
            cause: if has_failed { wire::Cause::ConnectTimeout as i32 } else { 0 },
            timings: Some(wire::Timings { connect_us: total_us / 2, total_us, ..wire::Timings::default() }),
            address: vec![3, 0, u8::try_from(target).expect("few"), u8::try_from(agent).expect("few")],
            facts: u32::try_from(1 + target % 3).expect("few"),
            ..wire::ProbeResult::default()
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros((BEGIN_S + second) * 1_000_000)
}

fn name(agent: usize) -> String {
    format!("agent-{agent:02}")
}

fn table(targets: usize) -> SlotTable {
    let slots = (0..targets).map(|number| (u32::try_from(number + 1).expect("few"), target(number).0));
    SlotTable { version: u64::try_from(targets).expect("few"), digest: 7, slots: slots.collect() }
}

/// Announced facts: of a plain host, of a CDN by its headers, of a CDN by its name; the second time they say otherwise.
fn facts(agent: usize, number: u64) -> Vec<wire::Facts> {
    let edge = ["cf-ray", "server", "x-cache", "x-served-by"].map(|header| (header.to_owned(), "x".to_owned()));
    let issuer = if number == 1 { "R3" } else { "R4" };
    let plain = wire::Facts { number: 1, issuer: issuer.into(), resolver: "system".into(), ..wire::Facts::default() };
    let by_header = wire::Facts { number: 2, edge: edge.into(), nsid: "not kept".into(), ..plain.clone() };
    let by_name = wire::Facts {
        number: 3,
        cnames: vec![if number == 1 { "x.azurefd.net" } else { "x.fastly.net" }.into()],
        resolver: if agent.is_multiple_of(2) { "authority:ns-1.awsdns-01.com" } else { "1.1.1.1" }.into(),
        ..plain.clone()
    };
    vec![plain, by_header, by_name]
}

fn ranges(region: &str) -> Vec<u8> {
    let list = format!(
        r#"{{"createDate": "1", "prefixes": [{{"ip_prefix": "3.0.0.0/20", "region": "{region}", "service": "EC2"}},
           {{"ip_prefix": "3.0.16.0/20", "region": "GLOBAL", "service": "CLOUDFRONT"}}]}}"#
    );
    Ranges::parse([(Document::Aws, "", list.as_str())]).expect("ranges").to_bytes()
}

fn vantage(agent: usize) -> Vantage {
    let hosted_on = ["aws", "azure", "", "", ""][agent % 5];
    Vantage {
        group: format!("group-{agent:02}"),
        asn: u32::try_from(64_512 + agent).ok(),
        isp: Some(format!("isp-{agent}")),
        country: Some(["us", "de", "jp"][agent % 3].into()),
        geography: Some(["na", "eu", "as"][agent % 3].into()),
        hosted_on: (!hosted_on.is_empty()).then(|| hosted_on.into()),
        ..Vantage::default()
    }
}

/// Two of five on AWS, two on Azure, one elsewhere, in three regions each.
fn target(number: usize) -> (TargetId, Target) {
    let (hosted_on, regions) = match number % 5 {
        0 | 1 => ("aws", ["us-east-1", "eu-west-1", "ap-south-1"]),
        2 | 3 => ("azure", ["eastus", "westeurope", "japaneast"]),
        _ => ("other", ["", "", ""]),
    };
    let (region, is_own) = (regions[number / 5 % 3], number.is_multiple_of(2) && hosted_on != "other");
    let owner = match hosted_on {
        "aws" if is_own => "amazon".to_owned(),
        "azure" if is_own => "microsoft".to_owned(),
        _ => format!("owner-{number}"),
    };
    let target = Target {
        probe: ProbeKind::Https,
        host: Some(format!("t{number}.example")),
        hosted_on: hosted_on.into(),
        region: (!region.is_empty()).then(|| region.into()),
        zone: None,
        service: is_own.then(|| format!("service-{}", number / 15)),
        plane: None,
        geography: None,
        cdn: None,
        dns_operator: None,
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: Some(owner),
        verified: !number.is_multiple_of(4),
    };
    (format!("target-{number:02}").into(), target)
}
