//! Reads a scenario's TOML and checks it against the world.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Break, Scenario, Truth, Verdict};
use crate::{
    net::{AgentSelect, ConnectEffect, DnsEffect, Effect, Fault, HttpEffect, TargetSelect, TlsEffect},
    world::World,
};

/// What is wrong, and on which line.
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) message: String,
}

pub(super) fn scenario(text: &str, world: &World) -> Result<Scenario, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let value = text[start..].lines().next().unwrap_or_default();
        Wrong { line: line(text, start), message: format!("{} at `{value}`", error.message()) }
    })?;
    let wrong = |start, message| Wrong { line: line(text, start), message };
    let run = file.run_s;
    let mut breaks = Vec::new();
    for (position, spanned) in file.breaks.iter().enumerate() {
        let start = spanned.span().start;
        let ends = file.breaks.get(position + 1).map_or(text.len(), |next| next.span().start);
        let table = spanned.get_ref();
        if let Some((key, word)) = selects_nothing(table, world) {
            let within = text[start..ends].find(&format!("\"{word}\"")).unwrap_or(0);
            return Err(wrong(start + within, format!("{key} = {word:?} is nothing in the emulated world")));
        }
        breaks.push(table.checked(run).map_err(|message| wrong(start, message))?);
    }
    for truth in &file.truth {
        check_truth(truth.get_ref()).map_err(|message| wrong(truth.span().start, message))?;
    }
    Ok(Scenario {
        id: file.id,
        title: file.title,
        story: file.story,
        run: Duration::from_secs(run),
        breaks,
        truth: file.truth.into_iter().map(Spanned::into_inner).collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    story: String,
    run_s: u64,
    #[serde(default, rename = "break")]
    breaks: Vec<Spanned<Table>>,
    #[serde(default)]
    truth: Vec<Spanned<Truth>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    at_s: u64,
    until_s: Option<u64>,
    layer: String,
    effect: String,
    status: Option<u16>,
    delay_ms: Option<u64>,
    #[serde(default = "whole")]
    share: f64,
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

impl Table {
    fn checked(&self, run_s: u64) -> Result<Break, String> {
        if self.at_s >= run_s {
            return Err(format!("at_s = {} is not before run_s = {run_s}", self.at_s));
        }
        if let Some(until) = self.until_s.filter(|until| *until <= self.at_s || *until > run_s) {
            return Err(format!("until_s = {until} is not after at_s = {} and within run_s = {run_s}", self.at_s));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(format!("share = {} is not above 0 and at most 1", self.share));
        }
        let effect = self.effect()?;
        let is_silence = effect == Effect::Connect(ConnectEffect::Timeout);
        if self.path && !(is_silence && self.targets == TargetSelect::default() && !self.agents.is_empty()) {
            return Err("path = true loses all an agent sends: it goes with layer = \"connect\", effect = \
                        \"timeout\", some agents and no targets"
                .into());
        }
        Ok(Break {
            at: Duration::from_secs(self.at_s),
            until: self.until_s.map(Duration::from_secs),
            fault: Fault {
                targets: self.targets.clone(),
                agents: self.agents.clone(),
                effect,
                share: self.share,
                path: self.path,
            },
        })
    }

    fn effect(&self) -> Result<Effect, String> {
        let effect = match (self.layer.as_str(), self.effect.as_str()) {
            ("dns", "nxdomain") => Effect::Dns(DnsEffect::Nxdomain),
            ("dns", "servfail") => Effect::Dns(DnsEffect::Servfail),
            ("dns", "refused") => Effect::Dns(DnsEffect::Refused),
            ("dns", "empty_answer") => Effect::Dns(DnsEffect::EmptyAnswer),
            ("dns", "timeout") => Effect::Dns(DnsEffect::Timeout),
            ("dns", "wrong_answer") => Effect::Dns(DnsEffect::WrongAnswer),
            ("connect", "refused") => Effect::Connect(ConnectEffect::Refused),
            ("connect", "timeout") => Effect::Connect(ConnectEffect::Timeout),
            ("connect", "reset") => Effect::Connect(ConnectEffect::Reset),
            ("tls", "timeout") => Effect::Tls(TlsEffect::Timeout),
            ("tls", "reset") => Effect::Tls(TlsEffect::Reset),
            ("tls", "cert_expired") => Effect::Tls(TlsEffect::CertExpired),
            ("tls", "name_mismatch") => Effect::Tls(TlsEffect::NameMismatch),
            ("tls", "unknown_issuer") => Effect::Tls(TlsEffect::UnknownIssuer),
            ("tls", "self_signed") => Effect::Tls(TlsEffect::SelfSigned),
            ("http", "timeout") => Effect::Http(HttpEffect::Timeout),
            ("http", "reset") => Effect::Http(HttpEffect::Reset),
            ("http", "status") => {
                let status = self.status.filter(|status| (200..600).contains(status));
                Effect::Http(HttpEffect::Status(status.ok_or("effect = \"status\" needs status = 200 to 599")?))
            }
            ("http", "slow") => {
                let delay = self.delay_ms.ok_or("effect = \"slow\" needs delay_ms")?;
                Effect::Http(HttpEffect::Slow(Duration::from_millis(delay)))
            }
            ("dns" | "connect" | "tls" | "http", effect) => {
                return Err(format!("effect = {effect:?} is none of layer {:?}", self.layer));
            }
            (layer, _) => return Err(format!("layer = {layer:?} is none of dns, connect, tls, http")),
        };
        if self.status.is_some() && !matches!(effect, Effect::Http(HttpEffect::Status(_))) {
            return Err(format!("status goes with effect = \"status\", not {:?}", self.effect));
        }
        if self.delay_ms.is_some() && !matches!(effect, Effect::Http(HttpEffect::Slow(_))) {
            return Err(format!("delay_ms goes with effect = \"slow\", not {:?}", self.effect));
        }
        Ok(effect)
    }
}

fn selects_nothing(table: &Table, world: &World) -> Option<(&'static str, String)> {
    let lost_target =
        table.targets.words().find(|(_, _, select)| !world.targets.iter().any(|target| select.matches(target)));
    let lost_agent =
        table.agents.words().find(|(_, _, select)| !world.agents.iter().any(|agent| select.matches(agent)));
    let lost_target = lost_target.map(|(key, word, _)| (key, word.to_owned()));
    lost_target.or_else(|| lost_agent.map(|(key, word, _)| (key, word.to_owned())))
}

fn check_truth(truth: &Truth) -> Result<(), String> {
    const KINDS: [&str; 8] = [
        "third-party-dns",
        "third-party-cdn",
        "other-cloud",
        "transit",
        "vantage-isp",
        "tls-ecosystem",
        "endpoint-app",
        "client-software",
    ];
    let is_neither = truth.verdict == Verdict::Neither;
    if is_neither != KINDS.contains(&truth.kind.as_str()) || (!is_neither && !truth.kind.is_empty()) {
        return Err(format!("kind = {:?} does not go with verdict = {:?}", truth.kind, truth.verdict.word()));
    }
    if let Some(cloud) = truth.cleared.iter().find(|cloud| !["aws", "azure"].contains(&cloud.as_str())) {
        return Err(format!("cleared = [{cloud:?}] is neither aws nor azure"));
    }
    Ok(())
}

fn line(text: &str, start: usize) -> usize {
    text[..start.min(text.len())].matches('\n').count() + 1
}
