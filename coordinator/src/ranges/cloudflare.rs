//! Cloudflare: `ips-v4` and `ips-v6`, one prefix a line.
//!
//! Source: <https://www.cloudflare.com/ips/>. There is no edition, and no region: every address answers everywhere.

use super::{
    Fault, Provider,
    assemble::{Rows, Seat},
};

/// Reads the document; there is no edition.
pub(super) fn parse(text: &str, rows: &mut Rows) -> Result<String, Fault> {
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("line {}", n + 1);
        rows.push(Provider::Cloudflare, (place, line.trim()), Seat::Global, ("cloudflare", true))?;
    }
    Ok(String::new())
}
