//! `faultline-agent doctor`: whether this machine can be an agent, and what to do where it cannot.
//!
//! Rules: each finding is one line, and one that is not well names its fix in one sentence; what is checked is checked as the
//! agent would do it, with its resolver, its roots, its source address; no session is opened, since the newest session of an agent
//! ends its older one, and a running agent must not notice. Everything ends within [`PATIENCE`].

mod coordinator;
mod machine;
mod network;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, time::Duration};

use faultline_proto::clock::Clock;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    config::{Config, Probe},
    policy::{Policy, Ports},
    probe::{ProbeSettings, Prober},
};

/// What is examined.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The agent's configuration; without it, identity and coordinator are not looked at.
    pub config: Option<Config>,
    /// A page that answers over TCP and over QUIC.
    pub target: Url,
    /// A name that has addresses.
    pub name: String,
    /// What may be asked.
    pub policy: Policy,
}

impl Examination {
    /// Of this machine, or of the agent with this configuration. The target may be at any port.
    pub fn new(config: Option<Config>, target: Url, name: String) -> Self {
        let policy = config.as_ref().map(|config| config.policy.clone()).unwrap_or_default();
        Self { config, target, name, policy: Policy { ports: Ports::Any, ..policy } }
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// The agent works, and less well or for less.
    Warn,
    /// The agent cannot do its work.
    Fail,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub grade: Grade,
    /// Of what.
    pub what: &'static str,
    /// What was seen.
    pub value: String,
    /// What to do; absent when it is well.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, value: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what, value: value.into(), fix: None }
    }

    fn warn(what: &'static str, value: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, what, value: value.into(), fix: Some(fix.into()) }
    }

    fn fail(what: &'static str, value: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, what, value: value.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything, at once where it can.
pub async fn examine(examination: &Examination, clock: Clock) -> Vec<Finding> {
    let Examination { config, target, name, policy } = examination;
    let config = config.as_ref();
    let settings = config.map_or_else(|| ProbeSettings::new(clock), |config| config.probe_settings(clock));
    let settings = ProbeSettings { policy: policy.clone(), ..settings };
    let roots = settings.roots.clone();
    let mut findings = match Prober::new(settings.clone()) {
        Err(error) => vec![machine::no_roots(&error)],
        Ok(prober) => {
            let (clock, dns, tcp, quic) = tokio::join!(
                Box::pin(network::clock(&settings, target)),
                Box::pin(network::dns(&prober, name)),
                Box::pin(network::page(&prober, target)),
                Box::pin(network::quic(&prober, target)),
            );
            vec![clock, dns, tcp, quic, machine::roots(&roots)]
        }
    };
    let concurrency = config.map_or_else(|| Probe::default().max_concurrency, |config| config.probe.max_concurrency);
    findings.extend(machine::all(concurrency, config));
    if let Some(config) = config {
        findings.extend(coordinator::all(config, clock).await);
    }
    findings
}

/// The findings as a terminal shows them.
pub fn text(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for Finding { grade, what, value, fix } in findings {
        let grade = match grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "FAIL",
        };
        writeln!(lines, "{grade:<5} {what:<13} {value}").ok();
        if let Some(fix) = fix {
            writeln!(lines, "{:<19} fix: {fix}", "").ok();
        }
    }
    lines
}

/// Whether the agent can do its work.
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.grade < Grade::Fail)
}

/// How long one check may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
