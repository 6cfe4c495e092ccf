//! Compact: ranges as a record of the log, with only what the fold makes use of.
//!
//! Format 1, in postcard: `{format, digest, sources, table}`. The table has groups `{provider, region, tags}`, where only
//! tags that decide something are left, and for each family `(length, leading bits, group)` in order of address. Prefixes
//! that say the same as the one around them are gone, and two halves that say the same are one. `digest` is the CRC-32C of
//! the table: two records with the same digest say the same.
//!
//! Rule: the compact form answers every address as the whole does (`the_compact_form_says_the_same`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{CONTESTED, Range, Ranges, Says, Source};

/// The format that this build writes.
const FORMAT: u8 = 1;

/// A record of ranges that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Not postcard, or not these fields.
    #[error("record of ranges: {0}")]
    Encoding(#[from] postcard::Error),
    /// Of a newer build.
    #[error("record of ranges: format {0}, this build reads 1; use the build that wrote it")]
    Format(u8),
    /// A prefix that is none, or of a group that is not there.
    #[error("record of ranges: prefix of length {length} in group {group} means nothing")]
    Prefix {
        /// Its length.
        length: u8,
        /// Its group.
        group: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    format: u8,
    digest: u32,
    sources: Vec<Source>,
    table: Table,
}

/// What is told apart. Equal tables say the same.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    /// The first is that of contested prefixes, which say nothing.
    groups: Vec<Option<Range>>,
    v4: Vec<(u8, u32, u32)>,
    v6: Vec<(u8, u128, u32)>,
}

impl Ranges {
    /// The content of a record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let table = self.table();
        let digest = table.digest();
        let content = Content { format: FORMAT, digest, sources: self.sources.clone(), table };
        postcard::to_stdvec(&content).unwrap_or_default()
    }

    /// Ranges from the content of a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactError> {
        let content: Content = postcard::from_bytes(bytes)?;
        if content.format != FORMAT {
            return Err(CompactError::Format(content.format));
        }
        let mut ranges = Self { sources: content.sources, ..Self::default() };
        let Table { groups, v4, v6 } = content.table;
        let mut numbers = Vec::with_capacity(groups.len());
        for group in groups {
            let next = u32::try_from(ranges.distinct.len()).unwrap_or(CONTESTED);
            numbers.push(if group.is_some() { next } else { CONTESTED });
            ranges.distinct.extend(group);
        }
        let number = |group: u32| usize::try_from(group).ok().and_then(|group| numbers.get(group).copied());
        for (length, leading, group) in v4 {
            let wrong = CompactError::Prefix { length, group };
            let bits = leading.checked_shl(32 - u32::from(length.min(32))).unwrap_or_default();
            let (Ok(prefix), Some(number)) = (Ipv4Net::new(bits.into(), length), number(group)) else {
                return Err(wrong);
            };
            ranges.insert(IpNet::V4(prefix), number);
        }
        for (length, leading, group) in v6 {
            let wrong = CompactError::Prefix { length, group };
            let bits = leading.checked_shl(128 - u32::from(length.min(128))).unwrap_or_default();
            let (Ok(prefix), Some(number)) = (Ipv6Net::new(bits.into(), length), number(group)) else {
                return Err(wrong);
            };
            ranges.insert(IpNet::V6(prefix), number);
        }
        Ok(ranges)
    }

    /// Whether both say the same of every address.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.table() == other.table()
    }

    /// CRC-32C of what is told apart.
    pub fn digest(&self) -> u32 {
        self.table().digest()
    }

    fn table(&self) -> Table {
        let mut numbers: BTreeMap<Option<Range>, u32> =
            self.distinct.iter().map(|range| (Some(decisive(range)), 0)).collect();
        numbers.insert(None, 0);
        for (number, (_, place)) in (0..).zip(&mut numbers) {
            *place = number;
        }
        let group_of: Vec<u32> =
            self.distinct.iter().filter_map(|range| numbers.get(&Some(decisive(range))).copied()).collect();
        let group = |number: u32| {
            usize::try_from(number).ok().and_then(|number| group_of.get(number).copied()).unwrap_or_default()
        };
        let v4 = self
            .v4
            .iter()
            .map(|(prefix, number)| (u128::from(prefix.addr().to_bits()) << 96, prefix.prefix_len(), group(*number)));
        let v6 = self.v6.iter().map(|(prefix, number)| (prefix.addr().to_bits(), prefix.prefix_len(), group(*number)));
        let (v4, v6) = (reduce(v4.collect()), reduce(v6.collect()));
        let leading = |bits: u128, length: u8| bits.checked_shr(128 - u32::from(length)).unwrap_or_default();
        Table {
            groups: numbers.into_keys().collect(),
            v4: v4
                .into_iter()
                .map(|(bits, length, group)| (length, u32::try_from(leading(bits, length)).unwrap_or_default(), group))
                .collect(),
            v6: v6.into_iter().map(|(bits, length, group)| (length, leading(bits, length), group)).collect(),
        }
    }
}

impl Table {
    fn digest(&self) -> u32 {
        crc32c::crc32c(&postcard::to_stdvec(self).unwrap_or_default())
    }
}

/// The range with only what decides what it says.
fn decisive(range: &Range) -> Range {
    let without = Range { tags: Vec::new(), ..range.clone() };
    match range.says() {
        Says::Hosted(_, region) => Range { region: region.cloned(), ..without },
        said => {
            let alone = |tag: &Arc<str>| Range { tags: vec![Arc::clone(tag)], ..without.clone() };
            let tag = range.tags.iter().find(|tag| alone(tag).says() == said);
            Range { region: None, ..tag.map_or(without.clone(), alone) }
        }
    }
}

type Prefix = (u128, u8, u32);

/// Drops prefixes that say the same as the one around them, and joins halves that say the same, until nothing changes.
/// Addresses stand in the high bits. The result is in order.
fn reduce(mut prefixes: Vec<Prefix>) -> Vec<Prefix> {
    loop {
        let before = prefixes.len();
        prefixes = join_halves(drop_repeated(prefixes));
        if prefixes.len() == before {
            return prefixes;
        }
    }
}

fn drop_repeated(mut prefixes: Vec<Prefix>) -> Vec<Prefix> {
    prefixes.sort_unstable();
    let mut around: Vec<Prefix> = Vec::new();
    prefixes.retain(|&(bits, length, group)| {
        while around.last().is_some_and(|&(outer, outer_length, _)| (bits ^ outer) & mask(outer_length) != 0) {
            around.pop();
        }
        let is_new = around.last().is_none_or(|(_, _, outer)| *outer != group);
        if is_new {
            around.push((bits, length, group));
        }
        is_new
    });
    prefixes
}

fn join_halves(prefixes: Vec<Prefix>) -> Vec<Prefix> {
    let mut by_length: Vec<HashMap<u128, u32>> = vec![HashMap::new(); 129];
    for (bits, length, group) in prefixes {
        by_length[usize::from(length)].insert(bits, group);
    }
    for length in (1..=128_u8).rev() {
        let half = 1_u128 << (128 - u32::from(length));
        let level = &by_length[usize::from(length)];
        let joined: Vec<(u128, u32)> = level
            .iter()
            .filter(|(bits, group)| **bits & half == 0 && level.get(&(**bits | half)) == Some(*group))
            .map(|(bits, group)| (*bits, *group))
            .collect();
        for (bits, group) in joined {
            by_length[usize::from(length)].remove(&bits);
            by_length[usize::from(length)].remove(&(bits | half));
            // Whatever stood there could answer nothing: both halves did.
            by_length[usize::from(length) - 1].insert(bits, group);
        }
    }
    let mut all: Vec<Prefix> = (0..=128_u8)
        .zip(by_length)
        .flat_map(|(length, level)| level.into_iter().map(move |(bits, group)| (bits, length, group)))
        .collect();
    all.sort_unstable();
    all
}

/// The leading bits of a prefix of this length.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}
