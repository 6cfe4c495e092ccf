//! The book that is kept while a module is read: what is wrong, and what is not supported.
//!
//! Rules: the first thing that is wrong ends the reading of the file; what is not supported takes only its module out of use.

use std::{
    fmt, fs,
    io::{self, Read},
    path::Path,
};

use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::{Family, IpProtocol, Unsupported};

/// What was found in one module.
pub(super) struct Reading<'a> {
    pub(super) module: &'a str,
    /// Section of the module whose fields are read, such as `http`.
    pub(super) section: &'static str,
    /// Where paths begin.
    pub(super) base: &'a Path,
    pub(super) unsupported: Vec<Unsupported>,
    /// The first that is wrong, with its line.
    pub(super) wrong: Option<(u64, String)>,
}

impl Reading<'_> {
    /// The value is none that can be.
    pub(super) fn wrong<T>(&mut self, at: &Spanned<T>, what: &str) {
        self.wrong_at(line(at), what);
    }

    pub(super) fn wrong_at(&mut self, line: u64, what: &str) {
        self.wrong.get_or_insert_with(|| (line, format!("module {:?}: {what}", self.module)));
    }

    /// The field is good for `blackbox_exporter` and is not supported here.
    pub(super) fn refuse<T>(&mut self, field: &str, at: &Spanned<T>, why: &str) {
        self.unsupported.push(Unsupported {
            module: self.module.to_owned(),
            field: format!("{}.{field}", self.section),
            line: line(at),
            why: why.to_owned(),
        });
    }

    /// Refuses a text that is not empty.
    pub(super) fn refuse_text(&mut self, field: &str, value: Option<&Spanned<String>>, why: &str) {
        if let Some(at) = value.filter(|at| !at.value.is_empty()) {
            self.refuse(field, at, why);
        }
    }

    /// Refuses a flag that is set.
    pub(super) fn refuse_flag(&mut self, field: &str, value: Option<&Spanned<bool>>, why: &str) {
        if let Some(at) = value.filter(|at| at.value) {
            self.refuse(field, at, why);
        }
    }

    /// Refuses a value of any shape.
    pub(super) fn refuse_any(&mut self, field: &str, value: Option<&Spanned<IgnoredAny>>, why: &str) {
        if let Some(at) = value {
            self.refuse(field, at, why);
        }
    }

    /// What was made of a value, or else the field refused: what is outside of the file must not keep its other modules from use.
    pub(super) fn usable<T, E: fmt::Display>(
        &mut self,
        field: &str,
        at: &Spanned<String>,
        made: Result<T, E>,
    ) -> Option<T> {
        made.map_err(|error| self.refuse(field, at, &error.to_string())).ok()
    }

    /// Which addresses are probed.
    pub(super) fn family(&mut self, preferred: Option<&Spanned<String>>, fallback: Option<bool>) -> Family {
        let preferred = match preferred {
            Some(at) if at.value == "ip4" => IpProtocol::V4,
            Some(at) if !matches!(at.value.as_str(), "" | "ip6") => {
                let why = format!("{:?} is neither \"ip4\" nor \"ip6\"", at.value);
                self.refuse("preferred_ip_protocol", at, &why);
                IpProtocol::V4
            }
            _ => IpProtocol::V6,
        };
        Family { preferred, falls_back: fallback.unwrap_or(true) }
    }
}

/// Where the value is written, from 1.
pub(super) fn line<T>(at: &Spanned<T>) -> u64 {
    at.referenced.line()
}

/// The file, unless it is larger than so many bytes.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= max_bytes) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {max_bytes} bytes")))
}

pub(super) const NO_STORE: &str = "there is no store of secrets to refer to";
