//! What the coordinator watches: the stage's targets, and customers of many CDNs, each of which stumbles in its turn, so that
//! incidents open, change and end all the time.

use std::{fmt::Write as _, fs, path::Path};

use crate::stage;

/// CDNs.
const CDNS: u32 = 24;

/// Customers of each, each an owner of its own.
const CUSTOMERS: u32 = 4;

/// Looks from one CDN's turn to the next one's, and for how many of them it fails.
const TURN: (u32, u32) = (12, 10);

/// Looks before the first turn: what passes is known.
const CALM: u32 = 12;

/// Adds the CDNs to the catalog of a prepared data directory.
pub(super) fn prepare(data: &Path) -> anyhow::Result<()> {
    let mut catalog = stage::catalog();
    for cdn in 0..CDNS {
        for customer in 0..CUSTOMERS {
            writeln!(
                catalog,
                "[[target]]\nid = \"cdn-{cdn}/{customer}\"\nprobe = \"https\"\nurl = \"https://{customer}.cdn-{cdn}.example/\"\n\
                 hosted_on = \"other\"\ncdn = \"cdn/number-{cdn}\"\nowner = \"owner-{cdn}-{customer}\"\n"
            )?;
        }
    }
    Ok(fs::write(data.join("catalog.toml"), catalog)?)
}

/// Whether the target fails in that look.
pub(super) fn is_broken(target: &str, look: u32) -> bool {
    let Some(look) = look.checked_sub(CALM) else { return false };
    let cdn = (look / TURN.0) % CDNS;
    let its = target.strip_prefix("cdn-").and_then(|rest| rest.strip_prefix(&cdn.to_string()));
    look % TURN.0 < TURN.1 && its.is_some_and(|rest| rest.starts_with('/'))
}
