//! Who answered on the way to an address that could not be reached, for people.
//!
//! ```text
//!   hop 1       192.168.0.1  0.4 ms
//!   hop 7       192.0.2.1  12.3 ms
//!   last hop    192.0.2.1 (7 hops, 12.3 ms)
//! ```

use std::{fmt::Write as _, io, time::Duration};

use crate::probe::path::Path;

/// The walk as text, or why there was none.
pub fn path(walked: &io::Result<Path>) -> String {
    let mut lines = String::new();
    let hops = walked.as_ref().map(Path::hops).unwrap_or_default();
    for hop in hops {
        // Writing to a string cannot fail.
        writeln!(lines, "  {:<12}{}  {}", format!("hop {}", hop.ttl), hop.address, millis(hop.round_trip)).ok();
    }
    let last = match (walked, hops.last()) {
        (Err(error), _) => format!("unknown, since the kernel reports no ICMP errors to this process: {error}"),
        (Ok(_), None) => "nobody answered".to_owned(),
        (Ok(_), Some(hop)) => {
            let hops = if hop.ttl == 1 { "hop" } else { "hops" };
            format!("{} ({} {hops}, {})", hop.address, hop.ttl, millis(hop.round_trip))
        }
    };
    writeln!(lines, "  {:<12}{last}", "last hop").ok();
    lines
}

fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_was_refused_says_so() {
        let refused = Err(io::Error::from_raw_os_error(1));
        assert!(path(&refused).starts_with("  last hop    unknown, since the kernel"), "{}", path(&refused));
        assert_eq!(path(&Ok(Path::default())), "  last hop    nobody answered\n");
    }
}
