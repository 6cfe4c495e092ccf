//! Fastly: `public-ip-list`, prefixes of both families.
//!
//! Source: <https://www.fastly.com/documentation/reference/api/utils/public-ip-list/>. There is no edition, and no region:
//! every address answers everywhere.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Fault, Provider,
    assemble::{Rows, Seat},
};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    addresses: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    ipv6_addresses: Vec<Cow<'a, str>>,
}

/// Reads the document; there is no edition.
pub(super) fn parse(text: &str, rows: &mut Rows) -> Result<String, Fault> {
    let file: File<'_> = serde_json::from_str(text)?;
    for (list, found) in [("addresses", &file.addresses), ("ipv6_addresses", &file.ipv6_addresses)] {
        for (n, prefix) in found.iter().enumerate() {
            let place = || format!("{list}[{n}]");
            rows.push(Provider::Fastly, (place, prefix), Seat::Global, ("fastly", true))?;
        }
    }
    Ok(String::new())
}
