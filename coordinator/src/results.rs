//! Result lines: one run of one probe as one JSON object, as `faultline results export` writes it and `faultline replay`
//! reads it.
//!
//! Format 1. `agent`, `target`, `at` and `outcome` are always there; `layer` and `cause` exactly where it failed, `reason`
//! exactly where it was not measured. What is unknown is absent; a reader takes `""`, `0`, `[]`, `{}` and `null` for
//! absent too. Fields of later versions are ignored and counted; a `v` above 1 is refused. Instants are RFC 3339, kept to
//! the microsecond, because the place of a line among the others follows from them.

pub mod export;
pub mod parquet;
mod read;
mod value;

use std::{borrow::Cow, net::IpAddr, time::Duration};

use faultline_attribution::{Layer, Outcome, ProbeKind, Timestamp};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::observe::{learn::Sighting, run};

pub use read::{LineFault, UnknownFields, parse};

/// Version of the format.
pub const VERSION: u64 = 1;

/// One run of one probe. Texts borrow from the line that they were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultLine<'a> {
    /// Who looked.
    pub agent: Cow<'a, str>,
    /// At what.
    pub target: Cow<'a, str>,
    /// Start of the run, agent clock corrected.
    pub at: Timestamp,
    /// When the coordinator got it; see [`ResultLine::arrival`] where it is absent.
    pub received_at: Option<Timestamp>,
    /// What was run.
    pub probe: Option<ProbeKind>,
    /// How it ended.
    pub outcome: Outcome,
    /// Time spent.
    pub timings: Timings,
    /// Who was asked for the name: `system`, an address or name, `authority:SERVER`; empty for unknown.
    pub resolver: Cow<'a, str>,
    /// 4 or 6.
    pub family: Option<u8>,
    /// From 1; an unknown one is the first.
    pub attempt: u32,
    /// Asked for outside the schedule.
    pub on_demand: bool,
    /// Came with the backlog of an agent that was cut off.
    pub late: bool,
    /// The agent's clock was wrong.
    pub clock_suspect: bool,
    /// Address that was tried.
    pub address: Option<IpAddr>,
    /// Protocol spoken at the last layer reached, as in `http2`; empty for unknown.
    pub protocol: Cow<'a, str>,
    /// HTTP status.
    pub status: Option<u16>,
    /// Headers that edges set, by lower-case name.
    pub edge: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// CNAME chain in order, without the name that was asked for.
    pub cnames: Vec<Cow<'a, str>>,
    /// Name servers of the zone.
    pub name_servers: Vec<Cow<'a, str>>,
    /// Issuer of the certificate; empty for unknown.
    pub issuer: Cow<'a, str>,
    /// Records that answered.
    pub answers: Vec<Cow<'a, str>>,
    /// DNS response code by mnemonic or number; empty for unknown.
    pub rcode: Cow<'a, str>,
    /// The last router that answered on the way; empty for unknown.
    pub last_hop: Cow<'a, str>,
}

/// Microseconds spent per layer; zero for unknown or not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Name resolution.
    pub dns: u64,
    /// TCP or QUIC handshake.
    pub connect: u64,
    /// TLS handshake over TCP.
    pub tls: u64,
    /// From the request to the first byte of the answer.
    pub first_byte: u64,
    /// From the first byte to the end of the body.
    pub body: u64,
    /// All together.
    pub total: u64,
}

impl<'a> ResultLine<'a> {
    /// A run of which only the required fields are known.
    pub fn new(
        agent: impl Into<Cow<'a, str>>,
        target: impl Into<Cow<'a, str>>,
        at: Timestamp,
        outcome: Outcome,
    ) -> Self {
        Self {
            agent: agent.into(),
            target: target.into(),
            at,
            received_at: None,
            probe: None,
            outcome,
            timings: Timings::default(),
            resolver: Cow::default(),
            family: None,
            attempt: 1,
            on_demand: false,
            late: false,
            clock_suspect: false,
            address: None,
            protocol: Cow::default(),
            status: None,
            edge: Vec::new(),
            cnames: Vec::new(),
            name_servers: Vec::new(),
            issuer: Cow::default(),
            answers: Vec::new(),
            rcode: Cow::default(),
            last_hop: Cow::default(),
        }
    }

    /// Time that the run took, where that is known.
    pub fn took(&self) -> Option<Duration> {
        (self.timings.total != 0).then(|| Duration::from_micros(self.timings.total))
    }

    /// The layer at which the run spent most of its time, where that is known.
    pub fn slowest(&self) -> Option<Layer> {
        let Timings { dns, connect, tls, first_byte, body, .. } = self.timings;
        let http = first_byte.saturating_add(body);
        run::slowest([(Layer::Dns, dns), (Layer::Connect, connect), (Layer::Tls, tls), (Layer::Http, http)])
    }

    /// When the coordinator got it; by default the end of the run.
    pub fn arrival(&self) -> Timestamp {
        self.received_at.unwrap_or_else(|| self.at.after(self.took().unwrap_or_default()))
    }

    /// Value of an edge header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.edge.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// What the run saw of how its target is put together.
    pub fn sighting(&self) -> Sighting {
        let owned =
            |texts: &[Cow<'_, str>]| -> Vec<String> { texts.iter().map(|text| text.clone().into_owned()).collect() };
        let mut name_servers: Vec<String> = owned(&self.name_servers);
        if name_servers.is_empty() {
            // A server that answers for the zone is one of its name servers.
            name_servers.extend(self.resolver.strip_prefix("authority:").map(str::to_owned));
        }
        Sighting {
            cnames: owned(&self.cnames),
            name_servers,
            edge: self
                .edge
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone().into_owned()))
                .collect(),
            issuer: self.issuer.clone().into_owned(),
            address: self.address,
        }
    }
}

impl Serialize for ResultLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("agent", &self.agent)?;
        map.serialize_entry("target", &self.target)?;
        map.serialize_entry("at", &self.at)?;
        entry(&mut map, "received_at", self.received_at.as_ref())?;
        entry(&mut map, "probe", self.probe.as_ref())?;
        match self.outcome {
            Outcome::Passed => map.serialize_entry("outcome", "passed")?,
            Outcome::Failed { layer, cause } => {
                map.serialize_entry("outcome", "failed")?;
                map.serialize_entry("layer", &layer)?;
                map.serialize_entry("cause", &cause)?;
            }
            Outcome::Unmeasured { reason } => {
                map.serialize_entry("outcome", "unmeasured")?;
                map.serialize_entry("reason", &reason)?;
            }
        }
        entry(&mut map, "timings_us", Some(&self.timings).filter(|timings| **timings != Timings::default()))?;
        entry(&mut map, "resolver", text(&self.resolver))?;
        entry(&mut map, "family", self.family.as_ref())?;
        entry(&mut map, "attempt", Some(&self.attempt).filter(|attempt| **attempt != 0))?;
        for (name, flag) in [("on_demand", self.on_demand), ("late", self.late), ("clock_suspect", self.clock_suspect)]
        {
            entry(&mut map, name, Some(&true).filter(|_| flag))?;
        }
        entry(&mut map, "address", self.address.as_ref())?;
        entry(&mut map, "protocol", text(&self.protocol))?;
        entry(&mut map, "status", self.status.as_ref())?;
        entry(&mut map, "edge", Some(&Headers(&self.edge)).filter(|headers| !headers.0.is_empty()))?;
        entry(&mut map, "cnames", Some(&self.cnames).filter(|names| !names.is_empty()))?;
        entry(&mut map, "name_servers", Some(&self.name_servers).filter(|names| !names.is_empty()))?;
        entry(&mut map, "issuer", text(&self.issuer))?;
        entry(&mut map, "answers", Some(&self.answers).filter(|answers| !answers.is_empty()))?;
        entry(&mut map, "rcode", text(&self.rcode))?;
        entry(&mut map, "last_hop", text(&self.last_hop))?;
        map.end()
    }
}

/// Writes a field, unless it is unknown.
fn entry<M: serde::ser::SerializeMap, T: Serialize + ?Sized>(
    map: &mut M,
    name: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}

fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

struct Headers<'h>(&'h [(Cow<'h, str>, Cow<'h, str>)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, micros) in [
            ("dns", self.dns),
            ("connect", self.connect),
            ("tls", self.tls),
            ("first_byte", self.first_byte),
            ("body", self.body),
            ("total", self.total),
        ] {
            entry(&mut map, name, Some(&micros).filter(|micros| **micros != 0))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
