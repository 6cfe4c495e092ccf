//! What the daemon is told, joined or not: the operator's file, and where the joined state lies.
//!
//! Two hands write, each in its own place. The operator writes `agent.toml`: policy, vantage, and by hand a `[[coordinator]]`
//! with files that were issued. Joining writes `joined.toml`, one `[[coordinator]]` and nothing else, with the files that it names
//! beside it, into the state folder; renewal replaces those. A file without a `[[coordinator]]` takes the one of the state folder,
//! and one that has it never looks there.
//!
//! Rules: `joined.toml` is written last and removed first, so that who has it has all of it; who has neither has not joined, which
//! is no error; a configuration that is missing is one that says nothing.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use faultline_proto::types::v1::Vantage;

use super::{Config, ConfigError, Coordinator, File, FileCoordinator, FilePrometheus, Spool, parse, read};
use crate::{blackbox::Prometheus, machine, policy::Policy, status::service_folder};

/// Where the shipped unit has the operator's configuration.
pub const SYSTEM_CONFIG: &str = "/etc/faultline-agent/agent.toml";

/// The file of the state folder that says whom the agent joined.
pub(crate) const JOINED: &str = "joined.toml";

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The operator's file, which may be missing.
    pub file: PathBuf,
    /// The coordinator that it names itself.
    pub coordinator: Option<Coordinator>,
    /// The state folder: identity and, unless said otherwise, the spool.
    pub state: PathBuf,
    /// Where the daemon takes orders.
    pub control_socket: PathBuf,
    /// Where it tells its status.
    pub status_socket: PathBuf,
    vantage: Vantage,
    probe: super::Probe,
    policy: Policy,
    spool: Spool,
    prometheus: Option<Prometheus>,
    /// What tells this machine from a copy of its disk.
    pub(crate) machine: machine::Places,
}

impl Setup {
    /// Reads the file; one that is missing says nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be read or says something that is not allowed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        match read(path) {
            Ok(text) => Self::parse(&String::from_utf8_lossy(&text), path),
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::parse("", path),
            Err(error) => Err(error),
        }
    }

    /// Reads the text as if it were the file's.
    ///
    /// # Errors
    ///
    /// When it says something that is not allowed.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = parse(text, path)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let places = Places::of(path);
        let state = file.state.folder.map_or_else(|| places.state(base), |folder| base.join(folder));
        let sockets = places.sockets(base);
        let below = |socket: Option<PathBuf>, name| socket.map_or_else(|| sockets.join(name), |at| base.join(at));
        Ok(Self {
            file: path.to_owned(),
            coordinator: one(file.coordinator, path)?.map(|coordinator| coordinator.under(base)),
            control_socket: below(file.control.socket, "control.sock"),
            status_socket: below(file.status.socket, "status.sock"),
            vantage: file.vantage.into(),
            probe: file.probe.under(base)?,
            policy: file.policy.into(),
            spool: file.spool.under(base, &state),
            prometheus: file.prometheus.map(|FilePrometheus { listen, modules }| Prometheus {
                listen,
                modules: modules.map(|modules| base.join(modules)),
            }),
            machine: file.machine.under(base),
            state,
        })
    }

    /// Whom the agent has joined, as the disk says it now; `None` for nobody.
    ///
    /// # Errors
    ///
    /// When the state folder's file cannot be read or is none.
    pub fn joined(&self) -> Result<Option<Coordinator>, ConfigError> {
        if let Some(coordinator) = &self.coordinator {
            let has = |file: &Path| file.try_exists().unwrap_or(true);
            let has_identity = has(&coordinator.certificate) && has(&coordinator.key);
            return Ok(has_identity.then(|| coordinator.clone()));
        }
        let path = self.state.join(JOINED);
        let text = match read(&path) {
            Ok(text) => text,
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let file: File = parse(&String::from_utf8_lossy(&text), &path)?;
        match one(file.coordinator, &path)? {
            Some(coordinator) => Ok(Some(coordinator.under(&self.state))),
            None => Err(ConfigError::Coordinators { path, count: 0 }),
        }
    }

    /// The configuration of an agent of this coordinator.
    pub fn of(&self, coordinator: Coordinator) -> Config {
        Config {
            coordinator,
            vantage: self.vantage.clone(),
            probe: self.probe.clone(),
            policy: self.policy.clone(),
            spool: self.spool.clone(),
            status_socket: Some(self.status_socket.clone()),
            prometheus: self.prometheus.clone(),
            machine: self.machine.clone(),
        }
    }

    /// What the operator says of where the agent is.
    pub fn vantage(&self) -> &Vantage {
        &self.vantage
    }

    /// Where results wait.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Address that everything is sent from, where one is set.
    pub fn source_address(&self) -> Option<IpAddr> {
        self.probe.source_address
    }
}

/// The coordinator of a file, if it names one.
fn one(mut named: Vec<FileCoordinator>, path: &Path) -> Result<Option<FileCoordinator>, ConfigError> {
    match named.len() {
        0 | 1 => Ok(named.pop()),
        count => Err(ConfigError::Coordinators { path: path.to_owned(), count }),
    }
}

/// Where things lie of which the file does not speak: in the folders that the service manager made, else in those of the
/// system for the system's configuration, else beside the file.
struct Places {
    state: Option<PathBuf>,
    sockets: Option<PathBuf>,
}

impl Places {
    fn of(path: &Path) -> Self {
        let is_system = path == Path::new(SYSTEM_CONFIG);
        let folder = |variable: &str, system: &str| {
            let told = std::env::var(variable).ok();
            service_folder(told.as_deref()).or_else(|| is_system.then(|| PathBuf::from(system)))
        };
        Self {
            state: folder("STATE_DIRECTORY", SYSTEM_STATE),
            sockets: folder("RUNTIME_DIRECTORY", "/run/faultline-agent"),
        }
    }

    fn state(&self, base: &Path) -> PathBuf {
        self.state.clone().unwrap_or_else(|| base.to_owned())
    }

    fn sockets(&self, base: &Path) -> PathBuf {
        self.sockets.clone().unwrap_or_else(|| base.to_owned())
    }
}

/// Where the shipped unit has the state.
const SYSTEM_STATE: &str = "/var/lib/faultline-agent";
