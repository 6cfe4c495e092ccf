//! Writes a case as a directory that [`super::load`] and `faultline replay` read.
//!
//! What the formats cannot carry is left out: sessions, and what the engine was told outside results (what healthy
//! probes saw, changes of the world).

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use faultline_attribution::{Input, Layer, Observation, ProbeKind, Target, TargetId, Way};
use faultline_coordinator::{results::ResultLine, world_file};
use serde::Serialize;

use super::ForeignError;
use crate::{case::TrueIncident, score::run::Entry};

/// Writes the case to `<parent>/<id>-<seed>`, and returns that.
pub fn export(entry: &Entry, parent: &Path) -> Result<PathBuf, ForeignError> {
    let case = &entry.case;
    let directory = parent.join(format!("{}-{}", case.id, case.seed));
    let failed = |source| ForeignError::File { path: directory.display().to_string(), source };
    let write = || {
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("catalog.toml"), catalog(&case.world.targets)?)?;
        fs::write(directory.join("world.toml"), world_file::write(&case.world.vantages))?;
        fs::write(directory.join("truth.toml"), truth(entry)?)?;
        let mut results = BufWriter::new(File::create(directory.join("results.ndjson"))?);
        for (_, input) in &case.inputs {
            if let Input::Observation(observation) = input {
                serde_json::to_writer(&mut results, &line(observation))?;
                results.write_all(b"\n")?;
            }
        }
        results.flush()
    };
    write().map_err(failed)?;
    Ok(directory)
}

fn line(observation: &Observation) -> ResultLine<'_> {
    let (agent, target) = (observation.agent.as_str(), observation.target.as_str());
    let mut line = ResultLine::new(agent, target, observation.at, observation.outcome);
    line.received_at = Some(observation.received_at);
    line.status = observation.status;
    line.late = observation.is_late;
    line.clock_suspect = observation.is_clock_suspect;
    line.on_demand = observation.is_on_demand;
    let took = observation.took.map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    // Which layer took longest is all that is known of the parts: it gets half.
    let longest = match observation.slowest {
        None => &mut line.timings.total,
        Some(Layer::Dns) => &mut line.timings.dns,
        Some(Layer::Connect) => &mut line.timings.connect,
        Some(Layer::Tls) => &mut line.timings.tls,
        Some(Layer::Http) => &mut line.timings.first_byte,
    };
    *longest = took.div_ceil(2);
    line.timings.total = took;
    line.resolver = match &observation.way {
        Way::System => "system".into(),
        Way::Resolver(resolver) => resolver.as_str().into(),
        Way::Authority(server) => format!("authority:{server}").into(),
    };
    line
}

#[derive(Serialize)]
struct Catalog<'a> {
    target: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    probe: ProbeKind,
    url: String,
    hosted_on: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geography: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_operator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    depends_on: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    verified: bool,
}

fn catalog<'a>(targets: impl IntoIterator<Item = (&'a TargetId, &'a Target)>) -> io::Result<String> {
    let target = targets.into_iter().map(|(id, target)| row(id, target)).collect();
    toml::to_string(&Catalog { target }).map_err(io::Error::other)
}

fn row<'a>(id: &'a TargetId, target: &'a Target) -> Row<'a> {
    // A literal address is known only as "no name": one of those set aside for documentation stands for it (RFC 5737).
    let host = target.host.as_deref().unwrap_or("192.0.2.1");
    let url = match target.probe {
        ProbeKind::Dns => format!("dns://system/{host}?type=A"),
        ProbeKind::Tcp => format!("tcp://{host}:443"),
        ProbeKind::Tls => format!("tls://{host}:443"),
        ProbeKind::Https | ProbeKind::Http3 => format!("https://{host}/"),
    };
    Row {
        id: id.as_str(),
        probe: target.probe,
        url,
        hosted_on: &target.hosted_on,
        region: target.region.as_deref(),
        zone: target.zone.as_deref(),
        service: target.service.as_deref(),
        plane: target.plane.as_deref(),
        geography: target.geography.as_deref(),
        cdn: target.cdn.as_deref(),
        dns_operator: target.dns_operator.as_deref(),
        identity: target.identity.as_deref(),
        issuer: target.issuer.as_deref(),
        depends_on: &target.depends_on,
        owner: target.owner.as_deref(),
        verified: target.verified,
    }
}

fn truth(entry: &Entry) -> io::Result<String> {
    let instant = |at: faultline_attribution::Timestamp| at.to_string().parse::<toml::value::Datetime>();
    let mut table = toml::Table::new();
    let case = &entry.case;
    table.insert("family".into(), case.family.clone().into());
    table.insert("liars".into(), entry.liars.into());
    table.insert("is_hard".into(), entry.is_hard.into());
    table.insert("starts_at".into(), instant(case.start).map_err(io::Error::other)?.into());
    table.insert("ends_at".into(), instant(case.end).map_err(io::Error::other)?.into());
    let row = |incident: &TrueIncident| {
        let mut row = toml::Table::new();
        row.insert("verdict".into(), incident.verdict.word().into());
        for (first, rest, words) in
            [("kind", "accept_kinds", &incident.kinds), ("element", "accept_elements", &incident.elements)]
        {
            if let Some((word, others)) = words.split_first() {
                row.insert(first.into(), word.clone().into());
                row.insert(rest.into(), others.to_vec().into());
            }
        }
        row.insert("onset_at".into(), instant(incident.onset).map_err(io::Error::other)?.into());
        if let Some(end) = incident.end {
            row.insert("ends_at".into(), instant(end).map_err(io::Error::other)?.into());
        }
        Ok(toml::Value::Table(row))
    };
    let rows = case.truth.iter().map(row).collect::<io::Result<Vec<_>>>()?;
    if !rows.is_empty() {
        table.insert("truth".into(), rows.into());
    }
    toml::to_string(&table).map_err(io::Error::other)
}
