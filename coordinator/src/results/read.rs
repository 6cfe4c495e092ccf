//! Reads result lines: borrowed from the line where it can be, and every fault named by its field.

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr};

use faultline_attribution::{Cause, Layer, Outcome, ProbeKind, Reason, Timestamp};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{
    ResultLine, Timings,
    value::{Attempt, End, Family, Held, Key, Micros, Rcode, Status, Value, Version},
};

/// Names of unknown fields that are kept for the summary.
const NAMES: usize = 32;

/// What is wrong with a line: the field, the value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LineFault(pub(crate) String);

/// Fields that this version does not know, which are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownFields {
    /// How often any stood.
    pub count: u64,
    names: BTreeMap<String, u64>,
}

impl UnknownFields {
    fn note(&mut self, name: &str) {
        self.count += 1;
        if let Some(count) = self.names.get_mut(name) {
            *count += 1;
        } else if self.names.len() < NAMES {
            self.names.insert(name.chars().take(NAMES).collect(), 1);
        }
    }
}

impl fmt::Display for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        write!(f, "ignored {} fields that this version does not know: {}", self.count, names.join(", "))
    }
}

/// Reads a line.
pub fn parse<'a>(line: &'a [u8], unknown: &mut UnknownFields) -> Result<ResultLine<'a>, LineFault> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let fields = LineSeed(unknown).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
    match fields {
        Ok(fields) => fields.line(),
        Err(error) => {
            // The reader counts lines within what it was given, which is one line.
            let message = error.to_string();
            Err(LineFault(match message.rsplit_once(" at line 1 column ") {
                Some((message, _)) if error.is_data() => message.to_owned(),
                Some((message, column)) => format!("{message} at column {column}"),
                None => message,
            }))
        }
    }
}

/// Fields as they stand in the line.
#[derive(Default)]
struct Fields<'a> {
    version: Option<Version>,
    agent: Option<Cow<'a, str>>,
    target: Option<Cow<'a, str>>,
    at: Option<Timestamp>,
    received_at: Option<Timestamp>,
    probe: Option<ProbeKind>,
    outcome: Option<End>,
    layer: Option<Layer>,
    cause: Option<Cause>,
    reason: Option<Reason>,
    timings: Option<Timings>,
    resolver: Option<Cow<'a, str>>,
    family: Option<Family>,
    attempt: Option<Attempt>,
    on_demand: Option<bool>,
    late: Option<bool>,
    clock_suspect: Option<bool>,
    address: Option<IpAddr>,
    protocol: Option<Cow<'a, str>>,
    status: Option<Status>,
    edge: Option<Vec<(Cow<'a, str>, Cow<'a, str>)>>,
    cnames: Option<Vec<Cow<'a, str>>>,
    name_servers: Option<Vec<Cow<'a, str>>>,
    issuer: Option<Cow<'a, str>>,
    answers: Option<Vec<Cow<'a, str>>>,
    rcode: Option<Rcode<'a>>,
    last_hop: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    /// The line, if its fields fit together.
    fn line(self) -> Result<ResultLine<'a>, LineFault> {
        let outcome = self.outcome()?;
        Ok(ResultLine {
            agent: required("agent", self.agent)?,
            target: required("target", self.target)?,
            at: required("at", self.at)?,
            received_at: self.received_at,
            probe: self.probe,
            outcome,
            timings: self.timings.unwrap_or_default(),
            resolver: self.resolver.unwrap_or_default(),
            family: self.family.map(|family| family.0),
            attempt: self.attempt.map_or(1, |attempt| attempt.0),
            on_demand: self.on_demand.unwrap_or_default(),
            late: self.late.unwrap_or_default(),
            clock_suspect: self.clock_suspect.unwrap_or_default(),
            address: self.address,
            protocol: self.protocol.unwrap_or_default(),
            status: self.status.map(|status| status.0),
            edge: self.edge.unwrap_or_default(),
            cnames: self.cnames.unwrap_or_default(),
            name_servers: self.name_servers.unwrap_or_default(),
            issuer: self.issuer.unwrap_or_default(),
            answers: self.answers.unwrap_or_default(),
            rcode: self.rcode.map(|rcode| rcode.0).unwrap_or_default(),
            last_hop: self.last_hop.unwrap_or_default(),
        })
    }

    fn outcome(&self) -> Result<Outcome, LineFault> {
        let end = required("outcome", self.outcome)?;
        let word = match end {
            End::Passed => "passed",
            End::Failed => "failed",
            End::Unmeasured => "unmeasured",
        };
        let missing = |field: &str| LineFault(format!("{field}: missing, and outcome is {word}"));
        let stray = |field: &str, is_there: bool| {
            let fault = || LineFault(format!("{field}: does not go with outcome {word}"));
            if is_there { Err(fault()) } else { Ok(()) }
        };
        if end != End::Failed {
            stray("layer", self.layer.is_some())?;
            stray("cause", self.cause.is_some())?;
        }
        if end != End::Unmeasured {
            stray("reason", self.reason.is_some())?;
        }
        Ok(match end {
            End::Passed => Outcome::Passed,
            End::Failed => Outcome::Failed {
                layer: self.layer.ok_or_else(|| missing("layer"))?,
                cause: self.cause.ok_or_else(|| missing("cause"))?,
            },
            End::Unmeasured => Outcome::Unmeasured { reason: self.reason.ok_or_else(|| missing("reason"))? },
        })
    }
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, LineFault> {
    value.ok_or_else(|| LineFault(format!("{field}: missing; every line has agent, target, at and outcome")))
}

/// Reads the fields of a line, and counts those that it does not know.
struct LineSeed<'u>(&'u mut UnknownFields);

impl<'de> DeserializeSeed<'de> for LineSeed<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one result, a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(name)) = map.next_key()? {
            match &*name {
                "v" => take(&mut map, &name, &mut fields.version)?,
                "agent" => take(&mut map, &name, &mut fields.agent)?,
                "target" => take(&mut map, &name, &mut fields.target)?,
                "at" => take(&mut map, &name, &mut fields.at)?,
                "received_at" => take(&mut map, &name, &mut fields.received_at)?,
                "probe" => take(&mut map, &name, &mut fields.probe)?,
                "outcome" => take(&mut map, &name, &mut fields.outcome)?,
                "layer" => take(&mut map, &name, &mut fields.layer)?,
                "cause" => take(&mut map, &name, &mut fields.cause)?,
                "reason" => take(&mut map, &name, &mut fields.reason)?,
                "resolver" => take(&mut map, &name, &mut fields.resolver)?,
                "family" => take(&mut map, &name, &mut fields.family)?,
                "attempt" => take(&mut map, &name, &mut fields.attempt)?,
                "on_demand" => take(&mut map, &name, &mut fields.on_demand)?,
                "late" => take(&mut map, &name, &mut fields.late)?,
                "clock_suspect" => take(&mut map, &name, &mut fields.clock_suspect)?,
                "address" => take(&mut map, &name, &mut fields.address)?,
                "protocol" => take(&mut map, &name, &mut fields.protocol)?,
                "status" => take(&mut map, &name, &mut fields.status)?,
                "edge" => take(&mut map, &name, &mut fields.edge)?,
                "cnames" => take(&mut map, &name, &mut fields.cnames)?,
                "name_servers" => take(&mut map, &name, &mut fields.name_servers)?,
                "issuer" => take(&mut map, &name, &mut fields.issuer)?,
                "answers" => take(&mut map, &name, &mut fields.answers)?,
                "rcode" => take(&mut map, &name, &mut fields.rcode)?,
                "last_hop" => take(&mut map, &name, &mut fields.last_hop)?,
                "timings_us" => {
                    let read =
                        map.next_value_seed(TimingsSeed(&mut *self.0)).map_err(|error| of_field(&name, &error))?;
                    put(&name, &mut fields.timings, read)?;
                }
                _ => {
                    self.0.note(&name);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// Takes the value of a field.
fn take<'de, A: MapAccess<'de>, T: Value<'de>>(map: &mut A, name: &str, slot: &mut Option<T>) -> Result<(), A::Error> {
    let Held(value) = map.next_value().map_err(|error| of_field(name, &error))?;
    put(name, slot, value)
}

/// A field has one value: which of two is meant, nobody can say.
fn put<T, E: Error>(name: &str, slot: &mut Option<T>, value: Option<T>) -> Result<(), E> {
    match (slot.is_some(), value) {
        (true, Some(_)) => Err(E::custom(format_args!("{name}: stands twice"))),
        (_, None) => Ok(()),
        (false, value) => {
            *slot = value;
            Ok(())
        }
    }
}

fn of_field<E: Error>(name: &str, error: &E) -> E {
    E::custom(format_args!("{name}: {error}"))
}

struct TimingsSeed<'u>(&'u mut UnknownFields);

impl<'de> DeserializeSeed<'de> for TimingsSeed<'_> {
    type Value = Option<Timings>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Timings>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TimingsSeed<'_> {
    type Value = Option<Timings>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of microseconds")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Timings>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Timings>, E> {
        if text.is_empty() { Ok(None) } else { Err(E::invalid_type(Unexpected::Str(text), &self)) }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<Timings>, E> {
        if number == 0 { Ok(None) } else { Err(E::invalid_type(Unexpected::Unsigned(number), &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Timings>, A::Error> {
        let is_empty = list.next_element::<IgnoredAny>()?.is_none();
        if is_empty { Ok(None) } else { Err(A::Error::invalid_type(Unexpected::Seq, &self)) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Timings>, A::Error> {
        let mut timings = Timings::default();
        while let Some(Key(name)) = map.next_key()? {
            let slot = match &*name {
                "dns" => &mut timings.dns,
                "connect" => &mut timings.connect,
                "tls" => &mut timings.tls,
                "first_byte" => &mut timings.first_byte,
                "body" => &mut timings.body,
                "total" => &mut timings.total,
                _ => {
                    self.0.note(&format!("timings_us.{name}"));
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let mut value: Option<Micros> = None;
            take(&mut map, &name, &mut value)?;
            *slot = value.map_or(0, |value| value.0);
        }
        Ok(Some(timings))
    }
}
