//! AWS: `ip-ranges.json`, one row for each prefix and service.
//!
//! Source: <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html>. `AMAZON` is the umbrella: it holds the
//! prefixes of every service once more.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Fault, Provider,
    assemble::{Rows, Seat},
};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(rename = "createDate", borrow, default)]
    created: Cow<'a, str>,
    #[serde(borrow)]
    prefixes: Vec<Row<'a>>,
    #[serde(borrow, default)]
    ipv6_prefixes: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(alias = "ipv6_prefix", borrow)]
    ip_prefix: Cow<'a, str>,
    #[serde(borrow)]
    region: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
}

/// Reads the document; the edition is the date of its making.
pub(super) fn parse(text: &str, rows: &mut Rows) -> Result<String, Fault> {
    let file: File<'_> = serde_json::from_str(text)?;
    for (list, field, found) in
        [("prefixes", "ip_prefix", &file.prefixes), ("ipv6_prefixes", "ipv6_prefix", &file.ipv6_prefixes)]
    {
        for (n, row) in found.iter().enumerate() {
            let seat = if row.region == "GLOBAL" { Seat::Global } else { Seat::Region(&row.region) };
            let place = || format!("{list}[{n}].{field}");
            rows.push(Provider::Aws, (place, &row.ip_prefix), seat, (&row.service, row.service == "AMAZON"))?;
        }
    }
    Ok(file.created.into_owned())
}
