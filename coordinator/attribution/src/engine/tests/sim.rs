//! A small world in virtual time: fourteen agents look at both clouds every 30 s, and something breaks.

use std::time::Duration;

use super::super::*;
use crate::{
    vocabulary::{Kind, ProbeKind, Verdict},
    world::{Learned, Target, TargetId, Vantage, WorldChange},
};

pub(super) const INTERVAL_S: u64 = 30;

pub(super) struct Sim {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    /// Targets beside [`targets`].
    pub(super) guests: Vec<(TargetId, Target)>,
    /// Agents.
    pub(super) fleet: Vec<(AgentId, Vantage)>,
    /// Agents that send nothing.
    pub(super) muted: Vec<AgentId>,
    /// Runs that pass, and take this long; none of them is told where nobody asks.
    pub(super) pace: Option<Pace>,
    /// What those answer that fail with a status.
    pub(super) status: Option<u16>,
    pub(super) changes: Vec<Change>,
    pub(super) visibility: Vec<Visibility>,
    pub(super) cells: Vec<CellChange>,
}

pub(super) type Fault<'a> = &'a dyn Fn(&AgentId, &Vantage, &TargetId, &Target, u64) -> Option<(Layer, Cause)>;

/// Milliseconds that a run takes that began at so many seconds, and the layer at which it spends most of them, if it says so.
pub(super) type Pace = Box<dyn Fn(&TargetId, &Target, u64) -> (u64, Option<Layer>)>;

pub(super) fn vantages() -> Vec<(AgentId, Vantage)> {
    let rows = [
        ("aws-use1", "aws", "us-east-1", "amazon-us", "us", 16509),
        ("aws-euw1", "aws", "eu-west-1", "amazon-eu", "ie", 16510),
        ("az-weu", "azure", "westeurope", "microsoft-eu", "nl", 8075),
        ("gcp-usc1", "gcp", "us-central1", "google-us", "us", 15169),
        ("rogers-1", "other", "", "rogers-ca", "ca", 812),
        ("rogers-2", "other", "", "rogers-ca", "ca", 812),
        ("rogers-3", "other", "", "rogers-ca", "ca", 812),
        ("bell-1", "other", "", "bell-ca", "ca", 577),
        ("comcast-1", "other", "", "comcast-us", "us", 7922),
        ("hetzner-1", "other", "", "hetzner-de", "de", 24940),
        ("ovh-1", "other", "", "ovh-fr", "fr", 16276),
        ("bt-1", "other", "", "bt-gb", "gb", 2856),
        ("ntt-1", "other", "", "ntt-jp", "jp", 4713),
        ("telstra-1", "other", "", "telstra-au", "au", 1221),
    ];
    let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    rows.into_iter()
        .map(|(id, cloud, region, isp, country, asn)| {
            let vantage = Vantage {
                group: id.into(),
                asn: Some(asn),
                isp: some(isp),
                country: some(country),
                geography: some(if matches!(country, "us" | "ca") { "na" } else { "eu" }),
                hosted_on: some(cloud),
                region: some(region),
                ..Vantage::default()
            };
            (AgentId::from(id), vantage)
        })
        .collect()
}

pub(super) fn target(cloud: &str, region: &str, service: &str, owner: &str) -> Target {
    let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    Target {
        probe: ProbeKind::Https,
        host: Some(format!("{service}.{region}.{owner}.example")),
        hosted_on: cloud.into(),
        region: some(region),
        zone: None,
        service: matches!(owner, "amazon" | "microsoft").then(|| service.to_owned()),
        plane: None,
        geography: None,
        cdn: None,
        dns_operator: some(match cloud {
            "aws" => "route53",
            "azure" => "azure-dns",
            _ => "ns1",
        }),
        identity: None,
        issuer: None,
        depends_on: Vec::new(),
        owner: some(owner),
        verified: true,
    }
}

pub(super) fn targets() -> Vec<(TargetId, Target)> {
    let mut targets = Vec::new();
    for region in ["us-east-1", "eu-west-1", "ap-northeast-1"] {
        for service in ["dynamodb", "s3", "sqs"] {
            targets.push((TargetId::from(format!("aws/{region}/{service}")), target("aws", region, service, "amazon")));
        }
        targets.push((TargetId::from(format!("app-{region}")), target("aws", region, "shop", region)));
    }
    for region in ["eastus", "westeurope", "southeastasia"] {
        for service in ["blob", "arm", "cognitive"] {
            let id = TargetId::from(format!("azure/{region}/{service}"));
            targets.push((id, target("azure", region, service, "microsoft")));
        }
    }
    for (site, cdn, cloud, region) in [
        ("portal", "azure/front-door", "azure", ""),
        ("air", "", "azure", "eastus"), // its CDN is learned
        ("grocer", "azure/front-door", "azure", "westeurope"),
        ("media", "aws/cloudfront", "aws", "us-east-1"),
        ("docs", "aws/cloudfront", "aws", "us-east-1"),
        ("news", "fastly", "other", ""),
        ("forum", "fastly", "other", ""),
        ("retail", "fastly", "aws", "us-east-1"),
        ("chat", "cloudflare", "other", ""),
        ("blog", "cloudflare", "other", ""),
    ] {
        let mut fronted = target(cloud, region, site, site);
        fronted.cdn = (!cdn.is_empty()).then(|| cdn.to_owned());
        targets.push((TargetId::from(site), fronted));
    }
    for site in ["dyn-a", "dyn-b", "dyn-c"] {
        let mut zone = target(if site == "dyn-a" { "aws" } else { "other" }, "", site, site);
        zone.dns_operator = Some("dyn".into());
        targets.push((TargetId::from(site), zone));
    }
    for site in ["google", "quad9"] {
        targets.push((TargetId::from(site), target("gcp", "", site, site)));
    }
    targets
}

impl Sim {
    pub(super) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(super) fn with(guests: Vec<(TargetId, Target)>) -> Self {
        Self::manned(vantages(), guests)
    }

    /// Of other agents than [`vantages`].
    pub(super) fn manned(fleet: Vec<(AgentId, Vantage)>, guests: Vec<(TargetId, Target)>) -> Self {
        let all = targets().into_iter().chain(guests.iter().cloned());
        let world = World { targets: all.collect(), vantages: fleet.iter().cloned().collect() };
        let mut engine = Engine::new(world, Settings::default());
        let learned = Learned { cdn: Some("azure/front-door".into()), ..Learned::default() };
        engine.apply(&Input::World(WorldChange::Learned("air".into(), learned)));
        let now = Timestamp::from_micros(1_761_752_000_000_000);
        Self {
            engine,
            now,
            guests,
            fleet,
            muted: Vec::new(),
            pace: None,
            status: None,
            changes: Vec::new(),
            visibility: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Runs for so many seconds; failures are known three seconds after they begin.
    pub(super) fn run(&mut self, seconds: u64, fault: Fault<'_>) -> &mut Self {
        let (vantages, mut targets) = (self.fleet.clone(), targets());
        targets.extend(self.guests.iter().cloned());
        for _ in 0..seconds {
            let second = u64::try_from(self.now.micros() / 1_000_000).expect("positive");
            for (a, (agent, vantage)) in vantages.iter().enumerate().filter(|(_, (id, _))| !self.muted.contains(id)) {
                for (t, (id, target)) in targets.iter().enumerate() {
                    let phase = (a as u64 * 13 + t as u64 * 7) % INTERVAL_S;
                    for (delay, wants_failure) in [(0, false), (3, true)] {
                        let began = second - delay;
                        if began % INTERVAL_S != phase {
                            continue;
                        }
                        let failed = fault(agent, vantage, id, target, began);
                        if failed.is_some() != wants_failure {
                            continue;
                        }
                        let outcome = failed.map_or(Outcome::Passed, |(layer, cause)| Outcome::Failed { layer, cause });
                        let at = Timestamp::from_micros(i64::try_from(began).expect("fits") * 1_000_000);
                        let observation = Observation::new(agent.clone(), id.clone(), at, outcome);
                        let pace = self.pace.as_ref().filter(|_| !wants_failure).map(|pace| pace(id, target, began));
                        let took = pace.map(|(took, _)| Duration::from_millis(took));
                        let slowest = pace.and_then(|(_, slowest)| slowest);
                        let is_status = matches!(failed, Some((_, Cause::HttpStatus)));
                        let status = self.status.filter(|_| is_status);
                        let observation = Observation { received_at: self.now, took, slowest, status, ..observation };
                        self.engine.apply(&Input::Observation(observation));
                    }
                }
            }
            self.now = self.now.after(Duration::from_secs(1));
            for output in self.engine.advance(self.now) {
                match output {
                    Output::Change(change) => self.changes.push(*change),
                    Output::Visibility(visibility) => self.visibility.push(visibility),
                    Output::Cell(cell) => self.cells.push(cell),
                    Output::LookAgain(_) => {}
                }
            }
        }
        self
    }

    pub(super) fn healthy(&mut self, seconds: u64) -> &mut Self {
        self.run(seconds, &|_, _, _, _, _| None)
    }

    pub(super) fn accusations(&self) -> Vec<(Verdict, Option<Kind>, String)> {
        let mut seen = Vec::new();
        for change in &self.changes {
            let accusation = (change.verdict, change.kind, change.element.clone());
            if change.verdict != Verdict::Undetermined && !seen.contains(&accusation) {
                seen.push(accusation);
            }
        }
        seen
    }

    pub(super) fn states(&self) -> Vec<State> {
        let mut states: Vec<State> = self.changes.iter().map(|change| change.state).collect();
        states.dedup();
        states
    }
}

pub(super) fn cdn_of(target: &TargetId, known: &Target) -> Option<String> {
    if target.as_str() == "air" { Some("azure/front-door".into()) } else { known.cdn.clone() }
}
