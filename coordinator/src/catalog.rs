//! The catalog: every target, read from TOML and checked field by field.
//!
//! Rule: an error names file, line, value and what is allowed. `builtin` stands for the catalog that this program
//! carries: real endpoints that the providers themselves own.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, time::Duration};

use faultline_attribution::{ProbeKind, Target, TargetId};
use faultline_proto::types::v1::{Addresses, assignment::Spec};
use serde::Deserialize;
use toml::Spanned;

mod check;
mod page;

/// The catalog that this program carries.
const BUILTIN: &str = include_str!("catalog/builtin.toml");

/// Interval of a target that names none. Source: the nominal rate of the design's figures.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// Timeout of a target that names none, all layers together.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// One target, with what agents need to probe it.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogTarget {
    /// What the core is told of it.
    pub target: Target,
    /// What agents run.
    pub spec: Spec,
    /// Time between runs.
    pub interval: Duration,
    /// Limit of an attempt.
    pub timeout: Duration,
    /// How many of the places that its name leads to a run tries.
    pub addresses: Addresses,
    /// Attempts after a failed one.
    pub retries: u32,
    /// Labels that an agent's place must have, all of them; empty means all agents.
    pub agents: BTreeMap<String, String>,
    /// The URL, for people.
    pub url: String,
}

/// All targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// By id.
    pub targets: BTreeMap<TargetId, CatalogTarget>,
}

/// Where a catalog comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogSource {
    /// The one that this program carries.
    Builtin,
    /// A file.
    File(PathBuf),
}

impl From<&str> for CatalogSource {
    fn from(word: &str) -> Self {
        if word == "builtin" { Self::Builtin } else { Self::File(word.into()) }
    }
}

/// What is wrong with a catalog: every fault, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CatalogError {
    /// Faults in order of their place.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or `builtin`.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong: the value and what is allowed.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The file as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    target: Vec<Spanned<Row>>,
}

/// One `[[target]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Spanned<String>,
    probe: Spanned<String>,
    url: Spanned<String>,
    request: Option<Spanned<page::Request>>,
    expect: Option<Spanned<Expect>>,
    hosted_on: Spanned<String>,
    region: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    service: Option<String>,
    plane: Option<Spanned<String>>,
    geography: Option<Spanned<String>>,
    cdn: Option<String>,
    dns_operator: Option<String>,
    identity: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    depends_on: Vec<Spanned<String>>,
    owner: Option<String>,
    interval: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    addresses: Option<Spanned<String>>,
    retries: Option<Spanned<u32>>,
    #[serde(default)]
    agents: BTreeMap<Spanned<String>, String>,
    verified: Option<bool>,
}

/// What a passing run must show.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    status: Vec<u32>,
    #[serde(default)]
    body_contains: String,
    #[serde(default)]
    rcode: Vec<String>,
    #[serde(default)]
    min_answers: u32,
    #[serde(default)]
    answer_matches: Vec<String>,
    #[serde(default)]
    min_cert_days: u32,
    #[serde(default)]
    body_matches: Vec<String>,
    #[serde(default)]
    body_lacks: Vec<String>,
    #[serde(default)]
    header_matches: BTreeMap<String, String>,
    #[serde(default)]
    header_lacks: BTreeMap<String, String>,
    #[serde(default)]
    json: BTreeMap<String, toml::Value>,
    #[serde(default)]
    max_body_bytes: u32,
}

impl Expect {
    /// The first that only an HTTP answer has.
    fn of_http(&self) -> Option<&'static str> {
        let given = [
            ("status", !self.status.is_empty()),
            ("body_contains", !self.body_contains.is_empty()),
            ("body_matches", !self.body_matches.is_empty()),
            ("body_lacks", !self.body_lacks.is_empty()),
            ("header_matches", !self.header_matches.is_empty()),
            ("header_lacks", !self.header_lacks.is_empty()),
            ("json", !self.json.is_empty()),
            ("max_body_bytes", self.max_body_bytes != 0),
        ];
        given.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }
}

impl Catalog {
    /// Reads catalogs and joins them; an id may stand once over all of them.
    pub fn load(sources: &[CatalogSource]) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        let mut places: BTreeMap<TargetId, String> = BTreeMap::new();
        let mut faults = Vec::new();
        for source in sources {
            match source {
                CatalogSource::Builtin => catalog.read("builtin", BUILTIN, &mut places, &mut faults),
                CatalogSource::File(path) => match fs::read_to_string(path) {
                    Ok(text) => catalog.read(&path.display().to_string(), &text, &mut places, &mut faults),
                    Err(error) => {
                        faults.push(Fault { file: path.display().to_string(), line: 0, message: error.to_string() });
                    }
                },
            }
        }
        if faults.is_empty() { Ok(catalog) } else { Err(CatalogError { faults }) }
    }

    /// Reads one catalog from text; `file` is for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, CatalogError> {
        let (mut catalog, mut faults) = (Self::default(), Vec::new());
        catalog.read(file, text, &mut BTreeMap::new(), &mut faults);
        if faults.is_empty() { Ok(catalog) } else { Err(CatalogError { faults }) }
    }

    fn read(&mut self, file: &str, text: &str, places: &mut BTreeMap<TargetId, String>, faults: &mut Vec<Fault>) {
        let parsed: File = match toml::from_str(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = error.span().map_or(0, |span| line_of(text, span.start));
                let message = error.message().trim().replace('\n', ", ");
                faults.push(Fault { file: file.to_owned(), line, message });
                return;
            }
        };
        for row in parsed.target {
            let id = TargetId::from(row.get_ref().id.get_ref().as_str());
            let line = line_of(text, row.get_ref().id.span().start);
            if let Some(first) = places.get(&id) {
                let message = format!("id {:?} is taken already, at {first}: ids are unique", id.as_str());
                faults.push(Fault { file: file.to_owned(), line, message });
                continue;
            }
            places.insert(id.clone(), format!("{file}:{line}"));
            match check::target(row.into_inner()) {
                Ok(target) => {
                    self.targets.insert(id, target);
                }
                Err(found) => faults.extend(found.into_iter().map(|(at, message)| Fault {
                    file: file.to_owned(),
                    line: line_of(text, at),
                    message,
                })),
            }
        }
        if self.targets.is_empty() && faults.is_empty() {
            let message = "no [[target]]: a catalog needs at least one".into();
            faults.push(Fault { file: file.to_owned(), line: 0, message });
        }
    }

    /// What the core is told.
    pub fn world(&self) -> BTreeMap<TargetId, Target> {
        self.targets.iter().map(|(id, target)| (id.clone(), target.target.clone())).collect()
    }
}

/// Line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// The text of the built-in catalog, as a start for one's own.
pub fn builtin_toml() -> &'static str {
    BUILTIN
}

/// The kinds of probe, for messages.
fn kinds() -> String {
    ProbeKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
