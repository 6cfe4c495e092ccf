//! The agent's configuration file: TOML, nothing unknown, every limit a type that names what is allowed.
//!
//! ```toml
//! [[coordinator]]
//! endpoint = "https://probe.example.org:7443"
//! server_name = "coordinator"     # default: the endpoint's host
//! ca = "ca.pem"                   # paths are relative to this file
//! certificate = "agent.pem"
//! key = "agent.key"
//!
//! [vantage]                       # all optional: hosted_on region asn isp country geography
//! [probe]                         # all optional: source_address resolvers authority_port roots only_roots max_concurrency
//! [policy]                        # all optional: min_interval max_assignments allow_loopback allow_private ports
//! path_hint = true                # look for the last hop that answers on the way to what cannot be reached
//! look_spacing = "2s"             # runs on request: least time since the target's last run
//! max_looks = 15                  # and most of them for a target within ten minutes; 0 forbids them
//! max_probes_per_second = 50      # runs beyond are skipped and counted, those on request included
//! max_target_probes_per_minute = 120 # the same for one host and port
//! [spool]                         # optional
//! path = "spool"                  # folder; default: state/<of the coordinator> beside this file, or in $STATE_DIRECTORY
//! in_memory = false               # true: results end with the process
//! max_bytes = 268435456           # of the file: a day of results without a coordinator
//! max_memory_bytes = 16777216     # of the spool in memory, or of what waits for the disk
//! [prometheus]                    # optional
//! listen = "127.0.0.1:7445"
//! modules = "blackbox.yml"        # optional: blackbox_exporter's file, for /probe
//! [status]                        # optional
//! socket = "status.sock"          # default: in $RUNTIME_DIRECTORY, which the shipped unit sets, else beside this file
//! ```
//!
//! Rules: an error names file, line, value and what is allowed; relative paths are made absolute at reading, so that a
//! [`Config`] means the same wherever it goes.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use faultline_proto::{clock::Clock, types::v1::Vantage};
use serde::Deserialize;
use tonic::transport::Uri;

use self::value::{
    Concurrency, Endpoint, Interval, LookSpacing, Looks, PortRule, Resolver, RunsPerMinute, RunsPerSecond, SpoolBytes,
    SpoolMemory,
};
use crate::{
    blackbox::Prometheus,
    policy::Policy,
    probe::{ProbeSettings, ResolverChoice, Roots, RootsError, certificates},
    schedule::{LookLimits, PaceLimits},
    status::{default_socket, service_folder},
};

mod value;

/// Everything that an agent must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom it reports to.
    pub coordinator: Coordinator,
    /// Where it looks from.
    pub vantage: Vantage,
    /// How it probes.
    pub probe: Probe,
    /// What it refuses to probe.
    pub policy: Policy,
    /// Where results wait for the coordinator.
    pub spool: Spool,
    /// Where the running agent tells its status; `None` for nowhere.
    pub status_socket: Option<PathBuf>,
    /// Where Prometheus asks; `None` for nowhere.
    pub prometheus: Option<Prometheus>,
}

/// The coordinator and the agent's identity towards it.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// `https://host:port`.
    pub endpoint: Uri,
    /// Name that the coordinator's certificate must carry.
    pub server_name: String,
    /// PEM file with the roots that the coordinator's certificate may end at.
    pub ca: PathBuf,
    /// PEM file with the agent's certificate chain; read again at each connection.
    pub certificate: PathBuf,
    /// PEM file with the agent's key; read again at each connection.
    pub key: PathBuf,
}

/// Where results wait, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Where.
    pub place: SpoolPlace,
    /// Bytes of the store's file.
    pub max_bytes: u64,
    /// Bytes of results in memory: all of a spool in memory, or what waits for the disk of another.
    pub max_memory_bytes: usize,
}

/// Where results wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolPlace {
    /// In memory: they end with the process.
    Memory,
    /// In this folder.
    Folder(PathBuf),
    /// In a folder of the coordinator's below this one: the first 16 hex digits of its root's SHA-256.
    Below(PathBuf),
}

impl Spool {
    /// In memory, with the default bounds.
    pub fn in_memory() -> Self {
        Self {
            place: SpoolPlace::Memory,
            max_bytes: SpoolBytes::default().0,
            max_memory_bytes: SpoolMemory::default().0,
        }
    }
}

/// How probes are run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Address that probes, and the session, are sent from.
    pub source_address: Option<IpAddr>,
    /// Who resolves names.
    pub resolver: ResolverChoice,
    /// Port of the servers that `authoritative` probes find; 53 outside of a lab.
    pub authority_port: u16,
    /// Which roots the probed certificates may end at.
    pub roots: Roots,
    /// Most probes at a time.
    pub max_concurrency: usize,
    /// Whether starvation of the process disowns runs; no key of the file, since an agent's own process always does.
    pub starvation: Starvation,
}

/// What a process that waits for a CPU means to the agent in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Starvation {
    /// That it cannot tell a target's silence from its own.
    #[default]
    Disowns,
    /// Nothing: the process is shared with a whole lab, which watches its own lag.
    Ignored,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            source_address: None,
            resolver: ResolverChoice::System,
            authority_port: DNS_PORT,
            roots: Roots::System,
            max_concurrency: Concurrency::default().0,
            starvation: Starvation::default(),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file says something that is not allowed.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What, at which line.
        source: Box<toml::de::Error>,
    },
    /// There is not exactly one coordinator.
    #[error("{}: {count} [[coordinator]] entries: {}", path.display(), if *count == 0 { "one is needed" } else { "several coordinators are not yet supported" })]
    Coordinators {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// The extra roots cannot be used.
    #[error("{}: {source}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RootsError,
    },
}

impl Config {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    /// Reads the text as if it were the file's.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let count = file.coordinator.len();
        let [coordinator] = <[FileCoordinator; 1]>::try_from(file.coordinator)
            .map_err(|_| ConfigError::Coordinators { path: path.to_owned(), count })?;
        Ok(Self {
            coordinator: coordinator.under(base),
            vantage: file.vantage.into(),
            probe: file.probe.under(base)?,
            policy: file.policy.into(),
            spool: file.spool.under(base),
            prometheus: file.prometheus.map(|FilePrometheus { listen, modules }| Prometheus {
                listen,
                modules: modules.map(|modules| base.join(modules)),
            }),
            status_socket: Some(file.status.under(base)),
        })
    }

    /// The part that the prober needs.
    pub fn probe_settings(&self, clock: Clock) -> ProbeSettings {
        ProbeSettings {
            clock,
            source_address: self.probe.source_address,
            resolver: self.probe.resolver.clone(),
            authority_port: self.probe.authority_port,
            roots: self.probe.roots.clone(),
            policy: self.policy.clone(),
            ..ProbeSettings::new(clock)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    coordinator: Vec<FileCoordinator>,
    #[serde(default)]
    vantage: FileVantage,
    #[serde(default)]
    probe: FileProbe,
    #[serde(default)]
    policy: FilePolicy,
    #[serde(default)]
    spool: FileSpool,
    prometheus: Option<FilePrometheus>,
    #[serde(default)]
    status: FileStatus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCoordinator {
    endpoint: Endpoint,
    server_name: Option<String>,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl FileCoordinator {
    fn under(self, base: &Path) -> Coordinator {
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
struct FileVantage {
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
struct FileProbe {
    source_address: Option<IpAddr>,
    resolvers: Vec<Resolver>,
    authority_port: Option<u16>,
    roots: Option<PathBuf>,
    only_roots: bool,
    max_concurrency: Concurrency,
}

impl FileProbe {
    fn under(self, base: &Path) -> Result<Probe, ConfigError> {
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
struct FilePolicy {
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
struct FilePrometheus {
    listen: SocketAddr,
    modules: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileSpool {
    path: Option<PathBuf>,
    in_memory: bool,
    max_bytes: SpoolBytes,
    max_memory_bytes: SpoolMemory,
}

impl FileSpool {
    fn under(self, base: &Path) -> Spool {
        let state_directory = std::env::var("STATE_DIRECTORY").ok();
        let place = match self.path {
            _ if self.in_memory => SpoolPlace::Memory,
            Some(path) => SpoolPlace::Folder(base.join(path)),
            None => SpoolPlace::Below(
                service_folder(state_directory.as_deref()).unwrap_or_else(|| base.to_owned()).join("state"),
            ),
        };
        Spool { place, max_bytes: self.max_bytes.0, max_memory_bytes: self.max_memory_bytes.0 }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileStatus {
    socket: Option<PathBuf>,
}

impl FileStatus {
    fn under(self, base: &Path) -> PathBuf {
        let runtime_directory = std::env::var("RUNTIME_DIRECTORY").ok();
        let default = || default_socket(runtime_directory.as_deref(), base);
        self.socket.map_or_else(default, |socket| base.join(socket))
    }
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests;
