//! A name's aliases, followed in order through one answer after the other.
//!
//! Rule: at most eight, and a loop is `dns_malformed`.

use faultline_proto::types::v1::Cause;
use hickory_resolver::proto::rr::{Name, RData, Record};

use super::{failed, host_name};
use crate::probe::outcome::Stop;

/// The aliases from the name that was asked for to the name that holds the records.
pub(super) struct Chain {
    first: Name,
    pub(super) aliases: Vec<Name>,
}

impl Chain {
    pub(super) fn from(name: &Name) -> Self {
        Self { first: name.clone(), aliases: Vec::new() }
    }

    pub(super) fn end(&self) -> &Name {
        self.aliases.last().unwrap_or(&self.first)
    }

    pub(super) fn extend(&mut self, answers: &[Record]) -> Result<(), Stop> {
        while let Some(next) = answers.iter().find_map(|record| alias(record, self.end())) {
            if self.aliases.len() == MAX_ALIASES || *next == self.first || self.aliases.contains(next) {
                return Err(failed(Cause::DnsMalformed));
            }
            self.aliases.push(next.clone());
        }
        Ok(())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.aliases.iter().map(host_name).collect()
    }
}

fn alias<'a>(record: &'a Record, owner: &Name) -> Option<&'a Name> {
    match &record.data {
        RData::CNAME(target) if record.name == *owner => Some(&target.0),
        _ => None,
    }
}

/// Bounds the questions of a lookup. Source: recursive servers give up soon after (unbound.conf(5), `max-query-restarts`: 11).
const MAX_ALIASES: usize = 8;
