//! What this machine refuses to probe, whatever the coordinator asks.
//!
//! Rules: the policy is read from the local configuration only; it is asked when an assignment arrives and again when
//! a name has become an address; a refusal names the limit and the key that moves it; cloud metadata services and
//! addresses that are no single host's are never probed.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use faultline_proto::{
    address::Reach,
    agent::v1::Refusal,
    convert::{address, std_duration},
    page, question,
    types::v1::{Assignment, HttpSpec, assignment::Spec},
};
use hickory_resolver::proto::rr::{Name, RecordType};
use url::Url;

use crate::{
    probe::{AUTHORITATIVE, RCODES, SYSTEM, rcode_of, split_server},
    schedule::{LookLimits, PaceLimits},
};

/// The limits of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Least time between two runs of an assignment; never below [`INTERVAL_FLOOR`].
    pub min_interval: Duration,
    /// Most assignments in force.
    pub max_assignments: usize,
    /// How often the coordinator may have this machine look again, beside the schedule.
    pub looks: LookLimits,
    /// How often this machine probes at all, and one target of it.
    pub pace: PaceLimits,
    /// Whether loopback addresses may be probed.
    pub allow_loopback: bool,
    /// Whether private, link-local, unique-local and carrier-grade NAT addresses may be probed.
    pub allow_private: bool,
    /// Ports that may be probed.
    pub ports: Ports,
    /// Whether the way to an address that cannot be reached is walked, for the last hop that answers.
    pub path_hint: bool,
}

/// Ports that may be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All of them.
    Any,
    /// These.
    Listed(BTreeSet<u16>),
}

/// The hard floor of [`Policy::min_interval`].
pub const INTERVAL_FLOOR: Duration = Duration::from_secs(1);

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_secs(10),
            max_assignments: 1000,
            looks: LookLimits::default(),
            pace: PaceLimits::default(),
            allow_loopback: false,
            allow_private: false,
            ports: Ports::Listed(BTreeSet::from([53, 80, 443, 853])),
            path_hint: true,
        }
    }
}

/// Why something may not be probed, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The port is not among those allowed.
    #[error("port {0} is not allowed here: [policy] ports = {1}")]
    Port(u16, Ports),
    /// A loopback address.
    #[error("{0} is a loopback address: [policy] allow_loopback = false")]
    Loopback(IpAddr),
    /// A private address.
    #[error("{0} is a private address: [policy] allow_private = false")]
    Private(IpAddr),
    /// An address that no setting opens.
    #[error("{0} is {1}, which is never probed")]
    Never(IpAddr, &'static str),
    /// Too often.
    #[error("interval {} is below the {} floor: [policy] min_interval", humantime::format_duration(*.0), humantime::format_duration(*.1))]
    Interval(Duration, Duration),
    /// Too many.
    #[error("more than {0} assignments: [policy] max_assignments = {0}")]
    Count(usize),
    /// The assignment cannot be run by this build.
    #[error("{0}")]
    Malformed(String),
}

impl Policy {
    /// Splits a push into what will run and what is refused.
    pub fn judge(&self, assignments: Vec<Assignment>) -> (Vec<Assignment>, Vec<Refusal>) {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        let mut slots = BTreeSet::new();
        for assignment in assignments {
            let verdict = match self.check(&assignment) {
                Ok(()) if !slots.insert(assignment.slot) => Err(malformed(format!("slot {} twice", assignment.slot))),
                Ok(()) if accepted.len() >= self.max_assignments => Err(PolicyError::Count(self.max_assignments)),
                verdict => verdict,
            };
            match verdict {
                Ok(()) => accepted.push(assignment),
                Err(error) => refused.push(Refusal { slot: assignment.slot, reason: error.to_string() }),
            }
        }
        (accepted, refused)
    }

    /// Whether the assignment may run, as far as can be told before a name is resolved.
    pub fn check(&self, assignment: &Assignment) -> Result<(), PolicyError> {
        let floor = self.min_interval.max(INTERVAL_FLOOR);
        let interval = std_duration(assignment.interval.as_ref()).ok_or_else(|| malformed("no interval"))?;
        if interval < floor {
            return Err(PolicyError::Interval(interval, floor));
        }
        if interval > MAX_INTERVAL {
            return Err(malformed("interval above one day"));
        }
        let timeout = std_duration(assignment.timeout.as_ref()).ok_or_else(|| malformed("no timeout"))?;
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            let limit = humantime::format_duration(MAX_TIMEOUT);
            return Err(malformed(format!(
                "timeout {} is not within 1ms to {limit}",
                humantime::format_duration(timeout)
            )));
        }
        faultline_proto::assignment::check(assignment).map_err(malformed)?;
        match assignment.spec.as_ref().ok_or_else(|| malformed("no spec that this build knows"))? {
            Spec::Dns(spec) => {
                Name::from_ascii(&spec.name).map_err(|error| malformed(format!("name {:?}: {error}", spec.name)))?;
                spec.record_type
                    .parse::<RecordType>()
                    .map_err(|_| malformed(format!("record type {:?} is unknown", spec.record_type)))?;
                if let Some(word) = spec.rcodes.iter().find(|word| rcode_of(word).is_none()) {
                    return Err(malformed(format!("response code {word:?} is none of {RCODES:?}")));
                }
                question::check(spec).map_err(malformed)?;
                match spec.server.as_str() {
                    SYSTEM | AUTHORITATIVE => Ok(()),
                    server => {
                        let (host, port) =
                            split_server(server).ok_or_else(|| malformed(format!("server {server:?}")))?;
                        self.endpoint(host, u32::from(port.unwrap_or(question::port(spec.transport()))))
                    }
                }
            }
            Spec::Tcp(spec) => self.endpoint(&spec.host, spec.port),
            Spec::Tls(spec) => self.endpoint(&spec.host, spec.port),
            Spec::Https(spec) => self.page(spec, false),
            Spec::Http3(spec) => self.page(spec, true),
        }
    }

    fn page(&self, spec: &HttpSpec, is_http3: bool) -> Result<(), PolicyError> {
        let url = Url::parse(&spec.url).map_err(|error| malformed(format!("url {:?}: {error}", spec.url)))?;
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(malformed(format!("url {:?} must be https, without credentials", spec.url)));
        }
        page::check(spec, is_http3).map_err(malformed)?;
        let port = url.port_or_known_default().unwrap_or(0);
        match address(&spec.connect_to).map_err(|_| malformed("connect_to is no address of 4 or 16 bytes"))? {
            Some(address) => self.allows(SocketAddr::new(address, port)),
            None => self.endpoint(url.host_str().unwrap_or_default(), u32::from(port)),
        }
    }

    fn endpoint(&self, host: &str, port: u32) -> Result<(), PolicyError> {
        let Some(port) = u16::try_from(port).ok().filter(|port| *port != 0) else {
            return Err(malformed(format!("port {port} is not within 1 to 65535")));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return self.allows(SocketAddr::new(address, port));
        }
        Name::from_ascii(bare).map_err(|error| malformed(format!("host {host:?}: {error}")))?;
        if bare.is_empty() {
            return Err(malformed("no host"));
        }
        self.allows_port(port)
    }

    /// Whether the address may be probed.
    pub fn allows(&self, to: SocketAddr) -> Result<(), PolicyError> {
        self.allows_port(to.port())?;
        let address = to.ip().to_canonical();
        match Reach::of(address) {
            never @ (Reach::Metadata | Reach::NoHost) => Err(PolicyError::Never(address, never.in_words())),
            Reach::Loopback if !self.allow_loopback => Err(PolicyError::Loopback(address)),
            Reach::Private if !self.allow_private => Err(PolicyError::Private(address)),
            _ => Ok(()),
        }
    }

    fn allows_port(&self, port: u16) -> Result<(), PolicyError> {
        match &self.ports {
            Ports::Listed(ports) if !ports.contains(&port) => Err(PolicyError::Port(port, self.ports.clone())),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("\"any\""),
            Self::Listed(ports) => f.debug_list().entries(ports).finish(),
        }
    }
}

fn malformed(what: impl Into<String>) -> PolicyError {
    PolicyError::Malformed(what.into())
}

const MAX_INTERVAL: Duration = Duration::from_hours(24);
const MAX_TIMEOUT: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
