//! GCP: `cloud.json`, one row for each prefix that customers can have, with its region or `global`.
//!
//! Source: <https://docs.cloud.google.com/vpc/docs/configure-private-google-access#ip-addr-defaults>. Google's own services
//! are in another document (`goog.json`) and mean another thing.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Fault, Provider,
    assemble::{Rows, Seat},
};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(rename = "creationTime", borrow, default)]
    created: Cow<'a, str>,
    #[serde(borrow)]
    prefixes: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(alias = "ipv6Prefix", rename = "ipv4Prefix", borrow)]
    prefix: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    scope: Cow<'a, str>,
}

/// Reads the document; the edition is the time of its making.
pub(super) fn parse(text: &str, rows: &mut Rows) -> Result<String, Fault> {
    let file: File<'_> = serde_json::from_str(text)?;
    for (n, row) in file.prefixes.iter().enumerate() {
        let seat = if row.scope == "global" { Seat::Global } else { Seat::Region(&row.scope) };
        let place = || format!("prefixes[{n}]");
        rows.push(Provider::Gcp, (place, &row.prefix), seat, (&row.service, row.service == "Google Cloud"))?;
    }
    Ok(file.created.into_owned())
}
