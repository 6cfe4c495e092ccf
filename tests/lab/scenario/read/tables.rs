//! The tables of a scenario: breaks, liars, silences, stale facts.

use std::time::Duration;

use faultline_attribution::{Cause, Layer};
use serde::Deserialize;

use super::{Table, effect::effect};
use crate::{
    net::{AgentSelect, ConnectEffect, Effect, Fault, ShareOf, TargetSelect},
    scenario::{Break, Fact, Liars, Silence, Stale, Strategy, Who},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakTable {
    at_s: u64,
    until_s: Option<u64>,
    on_s: Option<u64>,
    off_s: Option<u64>,
    layer: String,
    effect: String,
    status: Option<u16>,
    delay_ms: Option<u64>,
    #[serde(default = "whole")]
    share: f64,
    #[serde(default)]
    share_of: ShareOf,
    #[serde(default)]
    targets: TargetSelect,
    #[serde(default)]
    agents: AgentSelect,
    #[serde(default)]
    path: bool,
}

fn whole() -> f64 {
    1.0
}

impl Table for BreakTable {
    fn selects(&self) -> (Option<&TargetSelect>, Option<&AgentSelect>) {
        (Some(&self.targets), Some(&self.agents))
    }

    fn unshown(&self) -> Option<String> {
        let effect = effect(&self.layer, &self.effect, self.status, self.delay_ms).ok()?;
        let name = || format!("effect = {:?} at {}", self.effect, self.layer);
        (!effect.is_shown_by_packets()).then(name)
    }
}

impl BreakTable {
    pub(super) fn checked(&self, run_s: u64) -> Result<Break, String> {
        let (at, until) = times(self.at_s, self.until_s, run_s)?;
        check_share(self.share)?;
        let effect = effect(&self.layer, &self.effect, self.status, self.delay_ms)?;
        let is_silence = effect == Effect::Connect(ConnectEffect::Timeout);
        let is_whole = self.share >= 1.0 && self.targets.is_empty() && !self.agents.is_empty();
        if self.path && !(is_silence && is_whole) {
            return Err("path = true loses all an agent sends: it goes with layer = \"connect\", effect = \
                        \"timeout\", some agents, no targets and no share"
                .into());
        }
        let seconds = Duration::from_secs;
        let rhythm = match (self.on_s, self.off_s) {
            (None, None) => None,
            (Some(on @ 1..), Some(off @ 1..)) => Some((seconds(on), seconds(off))),
            (on, off) => return Err(format!("on_s = {on:?} and off_s = {off:?} go together, both above 0")),
        };
        let fault = Fault {
            targets: self.targets.clone(),
            agents: self.agents.clone(),
            effect,
            share: self.share,
            share_of: self.share_of,
            path: self.path,
        };
        Ok(Break { at, until, rhythm, fault })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiarsTable {
    share: Option<f64>,
    agents: Option<AgentSelect>,
    strategy: String,
    targets: Option<TargetSelect>,
    layer: Option<String>,
    cause: Option<String>,
    #[serde(default)]
    at_s: u64,
    until_s: Option<u64>,
}

impl Table for LiarsTable {
    fn selects(&self) -> (Option<&TargetSelect>, Option<&AgentSelect>) {
        (self.targets.as_ref(), self.agents.as_ref())
    }

    fn unshown(&self) -> Option<String> {
        Some("[[liars]]".into())
    }
}

impl LiarsTable {
    pub(super) fn checked(&self, run_s: u64) -> Result<Liars, String> {
        let (at, until) = times(self.at_s, self.until_s, run_s)?;
        let who = match (self.share, &self.agents) {
            (Some(share), None) => {
                check_share(share)?;
                Who::Share(share)
            }
            (None, Some(agents)) if !agents.is_empty() => Who::Agents(Box::new(agents.clone())),
            _ => return Err("[[liars]] needs either share or agents".into()),
        };
        let claims = (&self.targets, &self.layer, &self.cause);
        let strategy = match (self.strategy.as_str(), claims) {
            ("fabricate", (Some(targets), Some(layer), Some(cause))) => {
                let layer: Layer = layer.parse().map_err(|error| format!("layer = {layer:?}: {error}"))?;
                let cause: Cause = cause.parse().map_err(|error| format!("cause = {cause:?}: {error}"))?;
                Strategy::Fabricate(Box::new(targets.clone()), layer, cause)
            }
            ("fabricate", _) => return Err("strategy = \"fabricate\" needs targets, layer and cause".into()),
            (word @ ("mask" | "mirror" | "delay"), (None, None, None)) => match word {
                "mask" => Strategy::Mask,
                "mirror" => Strategy::Mirror,
                _ => Strategy::Delay,
            },
            (word @ ("mask" | "mirror" | "delay"), _) => {
                return Err(format!("targets, layer and cause go with strategy = \"fabricate\", not {word:?}"));
            }
            (word, _) => return Err(format!("strategy = {word:?} is none of fabricate, mask, mirror, delay")),
        };
        Ok(Liars { who, strategy, at, until })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SilenceTable {
    agents: AgentSelect,
    at_s: u64,
    until_s: Option<u64>,
    #[serde(default = "yes")]
    backlog: bool,
}

fn yes() -> bool {
    true
}

impl Table for SilenceTable {
    fn selects(&self) -> (Option<&TargetSelect>, Option<&AgentSelect>) {
        (None, Some(&self.agents))
    }

    fn unshown(&self) -> Option<String> {
        Some("[[silence]]".into())
    }
}

impl SilenceTable {
    pub(super) fn checked(&self, run_s: u64) -> Result<Silence, String> {
        let (at, until) = times(self.at_s, self.until_s, run_s)?;
        Ok(Silence { agents: self.agents.clone(), at, until, has_backlog: self.backlog })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaleTable {
    targets: TargetSelect,
    hosted_on: Option<String>,
    region: Option<String>,
    zone: Option<String>,
    cdn: Option<String>,
    dns_operator: Option<String>,
    service: Option<String>,
    identity: Option<String>,
    #[serde(default)]
    missing: Vec<Fact>,
    #[serde(default)]
    learned: bool,
}

impl Table for StaleTable {
    fn selects(&self) -> (Option<&TargetSelect>, Option<&AgentSelect>) {
        (Some(&self.targets), None)
    }

    fn unshown(&self) -> Option<String> {
        Some("[[stale]]".into())
    }
}

impl StaleTable {
    pub(super) fn checked(&self) -> Result<Stale, String> {
        if self.targets.is_empty() {
            return Err("[[stale]] needs targets".into());
        }
        let wrong = [
            (Fact::HostedOn, &self.hosted_on),
            (Fact::Region, &self.region),
            (Fact::Zone, &self.zone),
            (Fact::Cdn, &self.cdn),
            (Fact::DnsOperator, &self.dns_operator),
            (Fact::Service, &self.service),
            (Fact::Identity, &self.identity),
        ];
        let wrong = wrong.into_iter().filter_map(|(fact, word)| Some((fact, Some(word.clone()?))));
        let facts: Vec<_> = wrong.chain(self.missing.iter().map(|fact| (*fact, None))).collect();
        if facts.is_empty() {
            return Err("[[stale]] needs a fact that is wrong, or missing".into());
        }
        Ok(Stale { targets: self.targets.clone(), facts, is_learned: self.learned })
    }
}

/// A beginning and an end within the run.
pub(super) fn times(at_s: u64, until_s: Option<u64>, run_s: u64) -> Result<(Duration, Option<Duration>), String> {
    if at_s >= run_s {
        return Err(format!("at_s = {at_s} is not before run_s = {run_s}"));
    }
    if let Some(until) = until_s.filter(|until| *until <= at_s || *until > run_s) {
        return Err(format!("until_s = {until} is not after at_s = {at_s} and within run_s = {run_s}"));
    }
    Ok((Duration::from_secs(at_s), until_s.map(Duration::from_secs)))
}

fn check_share(share: f64) -> Result<(), String> {
    if share > 0.0 && share <= 1.0 { Ok(()) } else { Err(format!("share = {share} is not above 0 and at most 1")) }
}
