//! The tables of the file as they are written, and what they mean in a folder.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use faultline_proto::types::v1::Vantage;
use serde::Deserialize;

use super::{
    ConfigError, Coordinator, DNS_PORT, Probe, Spool, SpoolPlace, Starvation, read,
    value::{
        Concurrency, Endpoint, Interval, LookSpacing, Looks, PortRule, Resolver, RunsPerMinute, RunsPerSecond,
        SpoolBytes, SpoolMemory,
    },
};
use crate::{
    machine::Places,
    policy::Policy,
    probe::{ResolverChoice, Roots, certificates},
    schedule::{LookLimits, PaceLimits},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) coordinator: Vec<FileCoordinator>,
    #[serde(default)]
    pub(super) vantage: FileVantage,
    #[serde(default)]
    pub(super) probe: FileProbe,
    #[serde(default)]
    pub(super) policy: FilePolicy,
    #[serde(default)]
    pub(super) spool: FileSpool,
    pub(super) prometheus: Option<FilePrometheus>,
    #[serde(default)]
    pub(super) status: FileSocket,
    #[serde(default)]
    pub(super) control: FileSocket,
    #[serde(default)]
    pub(super) state: FileState,
    #[serde(default)]
    pub(super) machine: FileMachine,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileCoordinator {
    endpoint: Endpoint,
    server_name: Option<String>,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl FileCoordinator {
    pub(super) fn under(self, base: &Path) -> Coordinator {
        let Endpoint { uri, host } = self.endpoint;
        Coordinator {
            endpoint: uri,
            server_name: self.server_name.unwrap_or(host),
            ca: base.join(self.ca),
            certificate: base.join(self.certificate),
            key: base.join(self.key),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileVantage {
    hosted_on: String,
    region: String,
    asn: u32,
    isp: String,
    country: String,
    geography: String,
}

impl From<FileVantage> for Vantage {
    fn from(file: FileVantage) -> Self {
        let FileVantage { hosted_on, region, asn, isp, country, geography } = file;
        Self { hosted_on, region, asn, isp, country, geography }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileProbe {
    source_address: Option<IpAddr>,
    resolvers: Vec<Resolver>,
    authority_port: Option<u16>,
    roots: Option<PathBuf>,
    only_roots: bool,
    max_concurrency: Concurrency,
}

impl FileProbe {
    pub(super) fn under(self, base: &Path) -> Result<Probe, ConfigError> {
        let roots = match self.roots {
            None => Roots::System,
            Some(path) => {
                let path = base.join(path);
                let extra = certificates(&read(&path)?).map_err(|source| ConfigError::Roots { path, source })?;
                if self.only_roots { Roots::Only(extra) } else { Roots::SystemAnd(extra) }
            }
        };
        let servers: Vec<SocketAddr> = self.resolvers.into_iter().map(|resolver| resolver.0).collect();
        Ok(Probe {
            source_address: self.source_address,
            resolver: if servers.is_empty() { ResolverChoice::System } else { ResolverChoice::Servers(servers) },
            authority_port: self.authority_port.unwrap_or(DNS_PORT),
            roots,
            max_concurrency: self.max_concurrency.0,
            starvation: Starvation::default(),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FilePolicy {
    min_interval: Option<Interval>,
    max_assignments: Option<usize>,
    look_spacing: Option<LookSpacing>,
    max_looks: Option<Looks>,
    max_probes_per_second: Option<RunsPerSecond>,
    max_target_probes_per_minute: Option<RunsPerMinute>,
    allow_loopback: bool,
    allow_private: bool,
    ports: Option<PortRule>,
    path_hint: Option<bool>,
}

impl From<FilePolicy> for Policy {
    fn from(file: FilePolicy) -> Self {
        let default = Self::default();
        Self {
            min_interval: file.min_interval.map_or(default.min_interval, |interval| interval.0),
            max_assignments: file.max_assignments.unwrap_or(default.max_assignments),
            looks: LookLimits {
                spacing: file.look_spacing.map_or(default.looks.spacing, |spacing| spacing.0),
                of_target: file.max_looks.map_or(default.looks.of_target, |looks| looks.0),
            },
            pace: PaceLimits {
                per_second: file.max_probes_per_second.map_or(default.pace.per_second, |runs| runs.0),
                per_target_minute: file
                    .max_target_probes_per_minute
                    .map_or(default.pace.per_target_minute, |runs| runs.0),
            },
            allow_loopback: file.allow_loopback,
            allow_private: file.allow_private,
            ports: file.ports.map_or(default.ports, |rule| rule.0),
            path_hint: file.path_hint.unwrap_or(default.path_hint),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePrometheus {
    pub(super) listen: SocketAddr,
    pub(super) modules: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileSpool {
    path: Option<PathBuf>,
    in_memory: bool,
    max_bytes: SpoolBytes,
    max_memory_bytes: SpoolMemory,
}

impl FileSpool {
    pub(super) fn under(self, base: &Path, state: &Path) -> Spool {
        let place = match self.path {
            _ if self.in_memory => SpoolPlace::Memory,
            Some(path) => SpoolPlace::Folder(base.join(path)),
            None => SpoolPlace::Below(state.join("state")),
        };
        Spool { place, max_bytes: self.max_bytes.0, max_memory_bytes: self.max_memory_bytes.0 }
    }
}

/// A socket of the daemon's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileSocket {
    pub(super) socket: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileState {
    pub(super) folder: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileMachine {
    id: Option<PathBuf>,
    interfaces: Option<PathBuf>,
}

impl FileMachine {
    pub(super) fn under(self, base: &Path) -> Places {
        let Places { id, interfaces } = Places::default();
        Places {
            id: self.id.map_or(id, |path| base.join(path)),
            interfaces: self.interfaces.map_or(interfaces, |path| base.join(path)),
        }
    }
}
