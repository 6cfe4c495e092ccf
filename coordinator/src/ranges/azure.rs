//! Azure: `ServiceTags_Public_<date>.json`, one entry for each service tag, and one more for each of its regions.
//!
//! Source: <https://learn.microsoft.com/azure/virtual-network/service-tags-overview>. `AzureCloud` and
//! `AzureCloud.<region>` are the umbrella. A tag without a region joins its regions: it says nothing of where.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Fault, Provider,
    assemble::{Rows, Seat},
};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(rename = "changeNumber", default)]
    change: u64,
    #[serde(borrow)]
    values: Vec<Tag<'a>>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    properties: Properties<'a>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow, default)]
    region: Cow<'a, str>,
    #[serde(rename = "addressPrefixes", borrow)]
    prefixes: Vec<Cow<'a, str>>,
}

/// Reads the document; the edition is its change number.
pub(super) fn parse(text: &str, rows: &mut Rows) -> Result<String, Fault> {
    let file: File<'_> = serde_json::from_str(text)?;
    for tag in &file.values {
        let region = public_region(&tag.properties.region);
        let seat = if region.is_empty() { Seat::Unsaid } else { Seat::Region(region) };
        let is_umbrella = tag.name == "AzureCloud" || tag.name.starts_with("AzureCloud.");
        for (n, prefix) in tag.properties.prefixes.iter().enumerate() {
            let place = || format!("{}: addressPrefixes[{n}]", tag.name);
            rows.push(Provider::Azure, (place, prefix), seat, (&tag.name, is_umbrella))?;
        }
    }
    Ok(file.change.to_string())
}

/// The name that endpoints and the API use for a region that the tags name otherwise.
fn public_region(tagged: &str) -> &str {
    REGIONS.iter().find(|(short, _)| *short == tagged).map_or(tagged, |(_, public)| public)
}

/// Regions whose tag name is not their public name. The staging regions (`usstagec`, `usstagee`, `...euap`) have no other.
///
/// Source: the document itself, where `Storage.FranceCentral` has region `centralfrance` and so on; for `brazilne`, the
/// list of regions at <https://learn.microsoft.com/azure/reliability/regions-list>.
const REGIONS: [(&str, &str); 11] = [
    ("brazilne", "brazilnortheast"),
    ("brazilse", "brazilsoutheast"),
    ("centralfrance", "francecentral"),
    ("chilec", "chilecentral"),
    ("germanyn", "germanynorth"),
    ("germanywc", "germanywestcentral"),
    ("norwaye", "norwayeast"),
    ("norwayw", "norwaywest"),
    ("southfrance", "francesouth"),
    ("switzerlandn", "switzerlandnorth"),
    ("switzerlandw", "switzerlandwest"),
];
