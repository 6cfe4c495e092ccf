//! The agent's configuration file: TOML, nothing unknown, every limit a type that names what is allowed.
//!
//! ```toml
//! [[coordinator]]                 # written by hand for an identity that was issued; without it, whom the agent joined
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
//! [state]                         # optional
//! folder = "state"                # what joining writes; default: $STATE_DIRECTORY, which the shipped unit sets, else
//!                                 # /var/lib/faultline-agent for /etc/faultline-agent/agent.toml, else beside this file
//! [spool]                         # optional
//! path = "spool"                  # folder; default: state/<of the coordinator> in the folder of [state]
//! in_memory = false               # true: results end with the process
//! max_bytes = 268435456           # of the file: a day of results without a coordinator
//! max_memory_bytes = 16777216     # of the spool in memory, or of what waits for the disk
//! [prometheus]                    # optional
//! listen = "127.0.0.1:7445"
//! modules = "blackbox.yml"        # optional: blackbox_exporter's file, for /probe
//! [status]                        # optional
//! socket = "status.sock"          # default: in $RUNTIME_DIRECTORY, which the shipped unit sets, else /run/faultline-agent
//!                                 # for /etc/faultline-agent/agent.toml, else beside this file
//! [control]                       # optional: where join, leave and status reach the daemon
//! socket = "control.sock"         # default: as above
//! [machine]                       # optional; what tells this machine from a copy of its disk
//! id = "/etc/machine-id"
//! interfaces = "/sys/class/net"
//! ```
//!
//! Rules: an error names file, line, value and what is allowed; relative paths are made absolute at reading, so that a
//! [`Config`] means the same wherever it goes. A [`Config`] has a coordinator; what there is before that is a [`Setup`].

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use faultline_proto::{clock::Clock, types::v1::Vantage};
use tonic::transport::Uri;

use self::{
    file::{File, FileCoordinator, FilePrometheus},
    value::{Concurrency, SpoolBytes, SpoolMemory},
};
use crate::{
    blackbox::Prometheus,
    machine::Places,
    policy::Policy,
    probe::{ProbeSettings, ResolverChoice, Roots, RootsError},
};

mod file;
mod setup;
mod value;

pub(crate) use self::setup::JOINED;
pub use self::setup::{SYSTEM_CONFIG, Setup};

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
    /// Where the names of the machine are.
    pub machine: Places,
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
    #[error("{}: {count} [[coordinator]] entries: {}", path.display(), if *count == 0 { "one is needed, or `faultline-agent join`" } else { "several coordinators are not yet supported" })]
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
    /// Reads the file, and whom the agent joined where it names no coordinator itself.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    /// Reads the text as if it were the file's.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let setup = Setup::parse(text, path)?;
        let coordinator = match setup.coordinator.clone() {
            Some(coordinator) => Some(coordinator),
            None => setup.joined()?,
        };
        let coordinator = coordinator.ok_or_else(|| ConfigError::Coordinators { path: path.to_owned(), count: 0 })?;
        Ok(setup.of(coordinator))
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

fn parse(text: &str, path: &Path) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests;
