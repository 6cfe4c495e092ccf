//! A run for people: the outcome, a waterfall of its phases, and what was seen.
//!
//! ```text
//! https://shop.example/  passed in 61.2 ms
//!
//!   dns           4.1 ms  |##                                      |
//!   connect      19.8 ms  |  #############                         |
//!   tls          20.3 ms  |               #############            |
//!   first_byte   17.0 ms  |                            ########### |
//!   body          0.1 ms  |                                       #|
//!
//!   address     192.0.2.7
//!   protocol    http2
//!   status      200
//! ```

use std::fmt::Write as _;

use faultline_proto::{
    convert::{self, word},
    types::v1::{Assignment, ProbeResult},
};

use super::{address, hex, instant, protocol, rcode, timings};
use crate::probe::{Certificate, Observed, Outcome};

/// The run as text.
pub fn text(assignment: &Assignment, observed: &Observed) -> String {
    let result = &observed.result;
    let total = timings(result).find(|(name, _)| *name == "total").map_or(0, |(_, micros)| micros);
    let outcome = match observed.outcome() {
        Some(Outcome::Passed) => format!("passed in {}", millis(total)),
        Some(Outcome::Failed { layer, cause }) => {
            format!("failed at {}: {} after {}", word(layer), word(cause), millis(total))
        }
        Some(Outcome::Unmeasured { reason }) => format!("unmeasured: {}", word(reason)),
        None => "unknown".to_owned(),
    };
    let attempt = if result.attempt > 1 { format!(" (attempt {})", result.attempt) } else { String::new() };
    let mut lines = format!("{}  {outcome}{attempt}\n", assignment.target);
    waterfall(&mut lines, result, total);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            writeln!(lines, "  {name:<12}{value}").ok();
        }
    };
    line("address", &address(result).map(|address| address.to_string()).unwrap_or_default());
    line("protocol", &protocol(result));
    if result.status != 0 {
        line("status", &result.status.to_string());
    }
    line("rcode", &rcode(result).unwrap_or_default());
    if let Some(facts) = &observed.facts {
        line("resolver", &facts.resolver);
        line("nsid", &facts.nsid);
        line("cnames", &facts.cnames.join(" -> "));
        for (name, value) in &facts.edge {
            line(name, value);
        }
        let now = convert::micros(result.started_at.as_ref()).unwrap_or(0) / 1_000_000;
        for (place, certificate) in facts.chain.iter().enumerate() {
            line(if place == 0 { "certificate" } else { "  signed by" }, &summary(certificate, now));
            if place == 0 {
                line("  names", &names(certificate));
                line("  sha256", &hex(&certificate.fingerprint));
                line("  ocsp", &facts.ocsp);
            }
        }
    }
    lines
}

/// A line for each phase, its bar where it began and ended.
fn waterfall(lines: &mut String, result: &ProbeResult, total: u32) {
    if total == 0 || timings(result).count() < 2 {
        return;
    }
    lines.push('\n');
    let place = |micros: u32| usize::try_from(u64::from(micros) * WIDTH / u64::from(total)).unwrap_or(0);
    let mut began = 0_u32;
    for (name, micros) in timings(result).filter(|(name, _)| *name != "total") {
        let ended = began.saturating_add(micros).min(total);
        // The shortest phase shows, and none beyond the end.
        let from = place(began).min(place(total) - 1);
        let to = place(ended).max(from + 1);
        let (bar, width) = (format!("{}{}", " ".repeat(from), "#".repeat(to - from)), place(total));
        writeln!(lines, "  {name:<10}{:>12}  |{bar:<width$}|", millis(micros)).ok();
        began = ended;
    }
    lines.push('\n');
}

fn millis(micros: u32) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

fn summary(certificate: &Certificate, now: i64) -> String {
    if !certificate.is_read() {
        return format!("cannot be read; sha256 {}", hex(&certificate.fingerprint));
    }
    let Certificate { subject, issuer, key, not_before, not_after, .. } = certificate;
    let validity = match (not_after - now).div_euclid(DAY) {
        _ if *not_before > now => format!("not valid before {}", instant(*not_before)),
        days if days < 0 => format!("EXPIRED {} ({} ago)", instant(*not_after), of_days(-days)),
        days => format!("valid until {} ({} left)", instant(*not_after), of_days(days)),
    };
    let by = if certificate.is_self_issued { "itself".to_owned() } else { format!("{issuer:?}") };
    format!("{subject:?} by {by}, {key}, {validity}")
}

fn of_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn names(certificate: &Certificate) -> String {
    // A peer writes what it likes: nothing of it may steer the terminal.
    let names: Vec<String> = certificate.names.iter().map(|name| name.escape_debug().to_string()).collect();
    let names = names.join(", ");
    if certificate.names_left_out == 0 { names } else { format!("{names} and {} more", certificate.names_left_out) }
}

/// Columns of the waterfall.
const WIDTH: u64 = 40;

/// Seconds of a day.
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use faultline_proto::types::v1::{Outcome as WireOutcome, Timings};

    use super::*;
    use crate::{
        once::{Transport, assignment},
        probe::Facts,
    };

    fn shown(timings: Timings, facts: Option<Facts>) -> String {
        let mut result = ProbeResult { timings: Some(timings), ..ProbeResult::default() };
        result.started_at = Some(convert::timestamp(1_761_752_473_000_000));
        result.set_outcome(WireOutcome::Passed);
        let url = "https://shop.example/";
        let assignment = assignment(url, Transport::Tcp, Duration::from_secs(5)).expect("a url");
        text(&assignment, &Observed { result, facts })
    }

    #[test]
    fn each_phase_begins_where_the_one_before_it_ended() {
        let timings = Timings {
            dns_us: 10_000,
            connect_us: 20_000,
            tls_us: 0,
            first_byte_us: 9_999,
            body_us: 1,
            total_us: 40_000,
        };
        let rows = [
            "https://shop.example/  passed in 40.0 ms".to_owned(),
            String::new(),
            format!("  dns            10.0 ms  |{:<40}|", "#".repeat(10)),
            format!("  connect        20.0 ms  |{:<40}|", " ".repeat(10) + &"#".repeat(20)),
            format!("  first_byte      9.9 ms  |{:<40}|", " ".repeat(30) + &"#".repeat(9)),
            format!("  body            0.0 ms  |{:<40}|", " ".repeat(39) + "#"),
        ];
        let text = shown(timings, None);
        assert_eq!(text.lines().take(6).collect::<Vec<_>>(), rows, "{text}");
    }

    #[test]
    fn a_certificate_says_how_long_it_is_good_for() {
        let at = |not_before: i64, not_after: i64| {
            let certificate = Certificate {
                subject: "shop.example".into(),
                issuer: "R11".into(),
                names: vec!["shop.example".into(), "\u{1b}[2J".into()],
                names_left_out: 2,
                not_before,
                not_after,
                key: "ec-p256".into(),
                ..Certificate::default()
            };
            let chain = vec![Arc::new(certificate)];
            shown(Timings::default(), Some(Facts { chain, ..Facts::default() }))
        };
        let (now, day) = (1_761_752_473, 86_400);
        let good = at(now - day, now + 3 * day + 5);
        assert!(
            good.contains("\"shop.example\" by \"R11\", ec-p256, valid until 2025-11-01T15:41:18Z (3 days left)"),
            "{good}"
        );
        assert!(good.contains("names     shop.example, \\u{1b}[2J and 2 more"), "{good}");
        assert!(at(now - 9 * day, now - day).contains("EXPIRED 2025-10-28T15:41:13Z (1 day ago)"));
        assert!(at(now + day, now + 2 * day).contains("not valid before 2025-10-30T15:41:13Z"));
    }
}
