//! Assemble: rows as published, joined to one range a prefix.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::{CONTESTED, Fault, Provider, Range, Ranges, WIDEST_V4};

/// What a row says of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat<'a> {
    /// Nothing: the prefix around it may know.
    Unsaid,
    /// On purpose none.
    Global,
    /// This one.
    Region(&'a str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Unsaid,
    None,
    Region(Arc<str>),
}

struct Row {
    prefix: IpNet,
    provider: Provider,
    region: Held,
    tag: Arc<str>,
    is_umbrella: bool,
}

/// Rows of all documents.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    words: HashSet<Arc<str>>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes a row in. `field` says where it stands, for errors.
    pub(super) fn push(
        &mut self,
        provider: Provider,
        (field, prefix): (impl Fn() -> String, &str),
        seat: Seat<'_>,
        (tag, is_umbrella): (&str, bool),
    ) -> Result<(), Fault> {
        let wrong = |_| Fault::Prefix { field: field(), value: prefix.to_owned() };
        let parsed = prefix.parse::<IpNet>().map_err(wrong)?.trunc();
        if parsed.prefix_len() < WIDEST_V4 {
            return Err(Fault::Wide { field: field(), value: prefix.to_owned() });
        }
        let region = match seat {
            Seat::Unsaid => Held::Unsaid,
            Seat::Global => Held::None,
            Seat::Region(region) => Held::Region(self.word(region)),
        };
        let tag = self.word(tag);
        self.rows.push(Row { prefix: parsed, provider, region, tag, is_umbrella });
        Ok(())
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let new: Arc<str> = word.into();
        self.words.insert(Arc::clone(&new));
        new
    }

    /// One range a prefix. Prefixes come in order, each after those around it.
    pub(super) fn assemble(mut self) -> Ranges {
        self.rows.sort_by_key(|row| row.prefix);
        let mut ranges = Ranges::default();
        let mut numbers: HashMap<Range, u32> = HashMap::new();
        let mut around: Vec<(IpNet, Provider, Held)> = Vec::new();
        for rows in self.rows.chunk_by(|a, b| a.prefix == b.prefix) {
            let Some(Row { prefix, provider, .. }) = rows.first() else { continue };
            if rows.iter().any(|row| row.provider != *provider) {
                ranges.insert(*prefix, CONTESTED);
                continue;
            }
            while around.last().is_some_and(|(outer, ..)| !outer.contains(prefix)) {
                around.pop();
            }
            let mut region = rows.iter().map(|row| &row.region).fold(Held::Unsaid, join);
            if region == Held::Unsaid
                && let Some((_, outer, held)) = around.last()
                && outer == provider
            {
                region = held.clone();
            }
            around.push((*prefix, *provider, region.clone()));
            let region = if let Held::Region(region) = region { Some(region) } else { None };
            let range = Range { provider: *provider, region, tags: tags(rows) };
            let next = u32::try_from(ranges.distinct.len()).unwrap_or(CONTESTED);
            let number = *numbers.entry(range).or_insert_with_key(|range| {
                ranges.distinct.push(range.clone());
                next
            });
            ranges.insert(*prefix, number);
        }
        ranges
    }
}

impl Ranges {
    pub(super) fn insert(&mut self, prefix: IpNet, number: u32) {
        match prefix {
            IpNet::V4(v4) => self.v4.insert(v4, number),
            IpNet::V6(v6) => self.v6.insert(v6, number),
        };
    }
}

/// Two regions, or a region and none on purpose, make none.
fn join(all: Held, next: &Held) -> Held {
    match (all, next) {
        (Held::Unsaid, next) => next.clone(),
        (all, Held::Unsaid) => all,
        (all, next) if all == *next => all,
        _ => Held::None,
    }
}

fn tags(rows: &[Row]) -> Vec<Arc<str>> {
    let is_specific = rows.iter().any(|row| !row.is_umbrella);
    let kept = rows.iter().filter(|row| !is_specific || !row.is_umbrella).map(|row| &row.tag);
    kept.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}
