//! Modules: what is asked of a target and what is expected, from the same YAML file that `blackbox_exporter` reads.
//!
//! ```yaml
//! modules:
//!   http_2xx:
//!     prober: http                  # http, tcp or dns; icmp, grpc, unix and websocket are refused by name
//!     timeout: 5s
//!     http:
//!       preferred_ip_protocol: ip4
//!       fail_if_body_not_matches_regexp: ['"status":\s*"UP"']
//! ```
//!
//! Rules: a key that `blackbox_exporter` does not know, and a value that it could not use, is an error with file, line and
//! value, and no module is read; a key that it knows and that is not supported takes its module out of use, by name, and the
//! others work; of a module, only the section of its own prober counts. Defaults are `blackbox_exporter`'s. Paths are relative
//! to the file. A file has at most 1 MiB; with its anchors expanded, it holds at most 131,072 keys and values, 16 levels deep.

mod dns;
mod file;
mod http;
mod pattern;
mod reading;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod value;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_saphyr::Spanned;

pub use self::{
    dns::{Dns, Records, Transport},
    http::{Encryption, HeaderMatch, Http, Versions},
    pattern::Pattern,
    tcp::{Expect, Step, Tcp},
    tls::{Tls, TlsVersion},
};
use self::{
    file::{File, ModuleFile},
    reading::{Reading, line, read_bounded},
};

/// All modules of a file.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    by_name: BTreeMap<String, Result<Module, Vec<Unsupported>>>,
}

/// What is asked of a target, and what is expected.
#[derive(Clone, Debug)]
pub struct Module {
    /// As `/probe?module=` has it.
    pub name: String,
    /// How long a probe may take; `None` leaves it to whoever asks.
    pub timeout: Option<Duration>,
    /// By what means.
    pub prober: Prober,
}

/// By what means a target is probed.
#[derive(Clone, Debug)]
pub enum Prober {
    /// A request, with its redirects.
    Http(Box<Http>),
    /// A connection, with what is said on it.
    Tcp(Box<Tcp>),
    /// A query; the target is the server.
    Dns(Box<Dns>),
}

/// Which addresses of a target are probed: the first of the preferred family, else the first of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// IPv6 by default.
    pub preferred: IpProtocol,
    /// Whether the other family is probed where there is no address of the preferred one.
    pub falls_back: bool,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpProtocol {
    /// `ip4`.
    V4,
    /// `ip6`.
    V6,
}

/// What is there under a name.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// A module.
    Module(&'a Module),
    /// One that asks for what is not supported: each of its fields, at least one.
    Unsupported(&'a [Unsupported]),
    /// Nothing.
    Unknown,
}

/// A field that `blackbox_exporter` knows and that is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The module.
    pub module: String,
    /// The field, as `http.proxy_url` or `prober`.
    pub field: String,
    /// Its line, from 1.
    pub line: u64,
    /// Why, or what to do instead.
    pub why: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, field, line, why } = self;
        write!(f, "line {line}: module {module:?} is not supported: {field}: {why}")
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// It cannot be read, or is larger than 1 MiB.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It says something that is not allowed.
    #[error("{}: line {line}: {what}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// From 1; 0 where nothing points at one.
        line: u64,
        /// What, with key or value.
        what: String,
    },
}

impl Modules {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ModulesError> {
        let text = read_bounded(path, MAX_FILE_BYTES)
            .map_err(|source| ModulesError::Read { path: path.to_owned(), source })?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    /// Reads the text as if it were the file's.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModulesError> {
        let wrong = |line, what| ModulesError::Parse { path: path.to_owned(), line, what };
        let file: File = serde_saphyr::from_str_with_options(text, bounded()).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            wrong(line, told(&error))
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut by_name = BTreeMap::new();
        for (name, at) in file.modules.unwrap_or_default() {
            let module = module(&name, at, base).map_err(|(line, what)| wrong(line, what))?;
            by_name.insert(name, module);
        }
        Ok(Self { by_name })
    }

    /// What is there under the name.
    pub fn get(&self, name: &str) -> Lookup<'_> {
        match self.by_name.get(name) {
            Some(Ok(module)) => Lookup::Module(module),
            Some(Err(unsupported)) => Lookup::Unsupported(unsupported),
            None => Lookup::Unknown,
        }
    }

    /// Modules that can be used, by name.
    pub fn supported(&self) -> impl Iterator<Item = &Module> {
        self.by_name.values().filter_map(|module| module.as_ref().ok())
    }

    /// Every field that is not supported, by module.
    pub fn unsupported(&self) -> impl Iterator<Item = &Unsupported> {
        self.by_name.values().filter_map(|module| module.as_ref().err()).flatten()
    }
}

/// The module, or what of it is not supported; an error with its line for what is wrong.
fn module(
    name: &str,
    at: Spanned<Option<ModuleFile>>,
    base: &Path,
) -> Result<Result<Module, Vec<Unsupported>>, (u64, String)> {
    let module_line = line(&at);
    let file = at.value.unwrap_or_default();
    let needed = || (module_line, format!("module {name:?} has no prober; {PROBERS}"));
    let at = file.prober.ok_or_else(needed)?;
    let mut reading = Reading { module: name, section: "", base, unsupported: Vec::new(), wrong: None };
    let prober = match at.value.as_str() {
        "http" => {
            reading.section = "http";
            Some(Prober::Http(Box::new(http::http(file.http.unwrap_or_default(), &mut reading))))
        }
        "tcp" => {
            reading.section = "tcp";
            Some(Prober::Tcp(Box::new(tcp::tcp(file.tcp.unwrap_or_default(), &mut reading))))
        }
        "dns" => {
            reading.section = "dns";
            Some(Prober::Dns(Box::new(dns::dns(file.dns, &mut reading))))
        }
        other @ ("icmp" | "grpc" | "unix" | "websocket") => {
            let why = format!("the agent has no {other} prober; it has http, tcp and dns");
            let (module, field) = (name.to_owned(), "prober".to_owned());
            reading.unsupported.push(Unsupported { module, field, line: line(&at), why });
            None
        }
        "" => return Err(needed()),
        other => return Err((line(&at), format!("module {name:?}: prober {other:?} is unknown; {PROBERS}"))),
    };
    if let Some(wrong) = reading.wrong {
        return Err(wrong);
    }
    Ok(match prober {
        Some(prober) if reading.unsupported.is_empty() => {
            let timeout = file.timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero());
            Ok(Module { name: name.to_owned(), timeout, prober })
        }
        _ => Err(reading.unsupported),
    })
}

/// What the parser says, without its drawing and its place.
fn told(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let Some(location) = error.location() else { return text };
    let place = format!(" at line {}, column {}", location.line(), location.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// Bounds what a small file can make of anchors and nesting.
fn bounded() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
    }
}

const PROBERS: &str = "it is one of http, tcp, dns, icmp, grpc, unix and websocket";
/// Source: a module of a hundred lines has 4 KiB; this is more than two hundred of them.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Source: the deepest key (`modules`, name, `http`, `http_headers`, name, `values`, item) has seven levels.
const MAX_DEPTH: usize = 16;
/// Keys and values, expanded. Source: a file of the largest size with eight bytes for each has 131,072.
const MAX_NODES: usize = 131_072;
