//! The agent and `blackbox_exporter` side by side: both look at the same misbehaving servers with the same file of modules, and
//! what they tell is compared series by series.
//!
//! [`case`] says what is looked at and what is to come of it, as data; `servers` misbehave; `peer` is the exporter, `ours` the
//! agent; [`compare`] judges; [`report`] is for people.
//!
//! Rules: a difference that no case declares fails, and so does a declared one that does not occur; values are equal but for
//! times, of which presence, sign and order of size count; all servers are on loopback; the exporter ends with the run.

mod ask;
pub mod case;
pub mod compare;
mod ours;
mod peer;
pub mod report;
mod servers;
mod text;

use std::{io, path::Path};

use self::{
    case::{Case, Catalog, Version},
    compare::Judged,
    ours::Ours,
    peer::Peer,
    servers::Servers,
};

/// Why the suite could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// The table of cases contradicts itself.
    #[error("the cases cannot be read: {0}")]
    Cases(String),
    /// No such case.
    #[error("no case {0:?}: --list names them")]
    NoCase(String),
    /// A server could not be started.
    #[error("a server on loopback: {0}")]
    Server(#[from] io::Error),
    /// A certificate could not be made.
    #[error("a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The exporter does not run, or does not answer.
    #[error(
        "blackbox_exporter ({program}): {what}; install prometheus-blackbox-exporter, or name one with --blackbox PATH"
    )]
    Peer {
        /// Its program.
        program: String,
        /// What went wrong.
        what: String,
    },
    /// The agent does not take a module.
    #[error("the agent: {0}")]
    Ours(String),
    /// One of the two told what is no exposition.
    #[error("{who} told of case {case}: {what}")]
    Text {
        /// Who told it.
        who: &'static str,
        /// Which case.
        case: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Plays the cases, or the one of this name, against the exporter at `blackbox`.
pub async fn run(catalog: &Catalog, only: Option<&str>, blackbox: &Path) -> Result<Played, ParityError> {
    let chosen: Vec<&Case> = catalog.cases.iter().filter(|case| only.is_none_or(|only| case.name == only)).collect();
    if let (true, Some(only)) = (chosen.is_empty(), only) {
        return Err(ParityError::NoCase(only.to_owned()));
    }
    let directory = tempfile::tempdir()?;
    let servers = Servers::start(directory.path()).await?;
    let version = peer::version(blackbox).await?;
    let known = chosen.iter().copied().filter(|case| case.is_known_to(version));
    let (all, theirs) = (directory.path().join("all.yml"), directory.path().join("blackbox.yml"));
    std::fs::write(&all, modules(chosen.iter().copied(), &servers))?;
    std::fs::write(&theirs, modules(known, &servers))?;
    let ours = Ours::start(&all).await?;
    let peer = Peer::start(blackbox, &theirs).await?;
    let mut judged = Vec::new();
    for case in chosen {
        judged.push(one(catalog, case, version, (&peer, &ours, &servers)).await?);
    }
    drop(peer);
    let unused = if only.is_none() { catalog.unused(&judged, version) } else { Vec::new() };
    Ok(Played { version, judged, unused })
}

/// What a whole run came to.
#[derive(Clone, Debug)]
pub struct Played {
    /// The exporter's.
    pub version: Version,
    /// Each case.
    pub judged: Vec<Judged>,
    /// Differences that hold of every case, and occurred in none.
    pub unused: Vec<String>,
}

impl Played {
    /// Whether all is as declared.
    pub fn holds(&self) -> bool {
        self.unused.is_empty() && self.judged.iter().all(|judged| judged.wrong.is_empty())
    }
}

async fn one(
    catalog: &Catalog,
    case: &Case,
    version: Version,
    (peer, ours, servers): (&Peer, &Ours, &Servers),
) -> Result<Judged, ParityError> {
    let target = servers.fill(&case.target);
    let hostname = case.hostname.as_deref();
    let read =
        |who, told: &str| text::read(told).map_err(|what| ParityError::Text { who, case: case.name.clone(), what });
    let theirs = if case.is_known_to(version) {
        let told = peer.probe(&case.name, &target, hostname).await?;
        Some(read("blackbox_exporter", &told)?)
    } else {
        None
    };
    let told = ours.probe(&case.name, &target, hostname).await?;
    Ok(compare::judge(catalog, case, version, theirs.as_ref(), &read("the agent", &told)?))
}

/// The file of modules: one for each case, of its name.
fn modules<'a>(cases: impl Iterator<Item = &'a Case>, servers: &Servers) -> String {
    let module = |case: &Case| {
        let module = servers.fill(case.module.trim()).replace('\n', "\n    ");
        format!("  {}:\n    timeout: {}\n    {module}\n", case.name, case.timeout)
    };
    std::iter::once("modules:\n".to_owned()).chain(cases.map(module)).collect()
}
