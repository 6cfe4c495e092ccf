//! Values of the configuration that carry their own limits, so that an error points at the value.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;
use tonic::transport::Uri;

use crate::{
    policy::{INTERVAL_FLOOR, Ports},
    schedule::looks::{MOST_LOOKS, SPACING_FLOOR},
};

/// `https://host:port`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    pub(super) host: String,
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("endpoint {text:?} is not of the form \"https://host:port\"");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || uri.port_u16().is_none() {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { uri, host })
    }
}

/// A name server, port 53 by default.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Resolver(pub(super) SocketAddr);

impl TryFrom<String> for Resolver {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, super::DNS_PORT));
        alone
            .or_else(|_| text.parse())
            .map(Self)
            .map_err(|_| format!("resolver {text:?} is neither an address nor \"address:port\""))
    }
}

/// A spacing of runs, at least the floor.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Interval(pub(super) Duration);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let interval = humantime::parse_duration(&text)
            .map_err(|error| format!("interval {text:?} is no duration like \"10s\": {error}"))?;
        if interval < INTERVAL_FLOOR {
            let floor = humantime::format_duration(INTERVAL_FLOOR);
            return Err(format!("interval {text} is below the {floor} floor"));
        }
        Ok(Self(interval))
    }
}

/// A spacing of looks, at least their floor.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct LookSpacing(pub(super) Duration);

impl TryFrom<String> for LookSpacing {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let spacing = humantime::parse_duration(&text)
            .map_err(|error| format!("look_spacing {text:?} is no duration like \"2s\": {error}"))?;
        if spacing < SPACING_FLOOR {
            let floor = humantime::format_duration(SPACING_FLOOR);
            return Err(format!("look_spacing {text} is below the {floor} floor"));
        }
        Ok(Self(spacing))
    }
}

/// Looks at a target, up to their ceiling.
#[derive(Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Looks(pub(super) usize);

impl TryFrom<usize> for Looks {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, String> {
        if count <= MOST_LOOKS {
            Ok(Self(count))
        } else {
            Err(format!("max_looks {count} is not within 0 to {MOST_LOOKS}"))
        }
    }
}

/// Runs a second, 1 to 10000.
#[derive(Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct RunsPerSecond(pub(super) u32);

impl TryFrom<u32> for RunsPerSecond {
    type Error = String;

    fn try_from(runs: u32) -> Result<Self, String> {
        within("max_probes_per_second", runs).map(Self)
    }
}

/// Runs a minute at one target, 1 to 10000.
#[derive(Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct RunsPerMinute(pub(super) u32);

impl TryFrom<u32> for RunsPerMinute {
    type Error = String;

    fn try_from(runs: u32) -> Result<Self, String> {
        within("max_target_probes_per_minute", runs).map(Self)
    }
}

fn within(key: &str, runs: u32) -> Result<u32, String> {
    if (1..=MOST_RUNS).contains(&runs) { Ok(runs) } else { Err(format!("{key} {runs} is not within 1 to {MOST_RUNS}")) }
}

/// More than one thread can make.
const MOST_RUNS: u32 = 10_000;

/// Probes at a time, 1 to 10000.
#[derive(Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Concurrency(pub(super) usize);

impl Default for Concurrency {
    fn default() -> Self {
        Self(64)
    }
}

impl TryFrom<usize> for Concurrency {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, String> {
        if (1..=10_000).contains(&count) {
            Ok(Self(count))
        } else {
            Err(format!("max_concurrency {count} is not within 1 to 10000"))
        }
    }
}

/// Bytes of the spool's file, at least what makes one worth having.
#[derive(Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct SpoolBytes(pub(super) u64);

impl Default for SpoolBytes {
    /// A day and more at 250 targets and 30 s each. Source: 0.1 KiB a result with its share of the facts.
    fn default() -> Self {
        Self(256 * 1024 * 1024)
    }
}

impl TryFrom<u64> for SpoolBytes {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        if bytes >= MIN_SPOOL { Ok(Self(bytes)) } else { Err(format!("max_bytes {bytes} is below {MIN_SPOOL}")) }
    }
}

/// Bytes of results in memory, at least one full batch.
#[derive(Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct SpoolMemory(pub(super) usize);

impl Default for SpoolMemory {
    fn default() -> Self {
        Self(16 * 1024 * 1024)
    }
}

impl TryFrom<usize> for SpoolMemory {
    type Error = String;

    fn try_from(bytes: usize) -> Result<Self, String> {
        let is_enough = bytes >= MIN_MEMORY;
        if is_enough { Ok(Self(bytes)) } else { Err(format!("max_memory_bytes {bytes} is below {MIN_MEMORY}")) }
    }
}

/// `"any"` or a list of ports.
#[derive(Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct PortRule(pub(super) Ports);

impl TryFrom<toml::Value> for PortRule {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let wrong = || format!("ports = {value} is neither \"any\" nor a list of ports from 1 to 65535");
        match &value {
            toml::Value::String(word) if word == "any" => Ok(Self(Ports::Any)),
            toml::Value::Array(ports) => {
                let port = |value: &toml::Value| {
                    value.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
                };
                let ports = ports.iter().map(port).collect::<Option<BTreeSet<_>>>().ok_or_else(wrong)?;
                Ok(Self(Ports::Listed(ports)))
            }
            _ => Err(wrong()),
        }
    }
}

const MIN_SPOOL: u64 = 4 * 1024 * 1024;
const MIN_MEMORY: usize = 512 * 1024;
