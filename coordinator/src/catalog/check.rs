//! Checks one row of a catalog against its `probe`, and makes a target of it.

use std::{net::IpAddr, time::Duration};

use faultline_attribution::{Element, ProbeKind, Target};
use faultline_proto::{
    assignment,
    question::{self, SCHEMES},
    types::v1::{Addresses, Assignment, DnsSpec, TcpSpec, TlsSpec, assignment::Spec},
};
use toml::Spanned;
use url::Url;

use super::{CatalogTarget, DEFAULT_INTERVAL, DEFAULT_TIMEOUT, Expect, Row, kinds, page};

/// A fault: byte of the value, and what is wrong.
pub(super) type Found = (usize, String);

/// Bounds of an interval. Agents refuse what is below the floor of their own policy (10 s by default), and say so.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(24));

/// Bounds of a timeout.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));

/// Days of validity that may be asked for. Source: ten years; a public certificate lasts 398 days at most (CA/Browser Forum, Baseline
/// Requirements 6.3.2).
const MAX_CERT_DAYS: u32 = 3650;

const RCODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

const GEOGRAPHIES: [&str; 7] = ["na", "sa", "eu", "af", "me", "as", "oc"];

/// Labels of an agent's place that a target may select by.
const LABELS: [&str; 6] = ["hosted_on", "region", "isp", "country", "geography", "group"];

/// The target of a row, or everything that is wrong with it.
pub(super) fn target(row: Row) -> Result<CatalogTarget, Vec<Found>> {
    let mut found = Vec::new();
    name(&row.id, "id", &mut found);
    name(&row.hosted_on, "hosted_on", &mut found);
    for part in [&row.region, &row.zone].into_iter().flatten() {
        name(part, "region and zone", &mut found);
    }
    one_of(row.plane.as_ref(), "plane", &["api", "data"], &mut found);
    one_of(row.geography.as_ref(), "geography", &GEOGRAPHIES, &mut found);
    for needed in row.depends_on.iter().filter(|needed| Element::named(needed.get_ref()).is_none()) {
        let message = format!("depends_on {:?} names no element, as in \"aws/us-east-1/dynamodb\"", needed.get_ref());
        found.push((needed.span().start, message));
    }
    for label in row.agents.keys() {
        one_of(Some(label), "agents label", &LABELS, &mut found);
    }
    let interval = span(row.interval.as_ref(), "interval", DEFAULT_INTERVAL, INTERVAL, &mut found);
    let timeout = span(row.timeout.as_ref(), "timeout", DEFAULT_TIMEOUT.min(interval), TIMEOUT, &mut found);
    if timeout > interval {
        let at = row.timeout.as_ref().or(row.interval.as_ref()).map_or(row.id.span().start, |value| value.span().start);
        let interval = humantime::format_duration(interval);
        found.push((at, format!("timeout {} is above the interval {interval}", humantime::format_duration(timeout))));
    }
    let retries = row.retries.as_ref().map_or(0, |retries| *retries.get_ref());
    one_of(row.addresses.as_ref(), "addresses", &["one", "all"], &mut found);
    let wants_all = row.addresses.as_ref().is_some_and(|addresses| addresses.get_ref() == "all");
    let addresses = if wants_all { Addresses::All } else { Addresses::Unspecified };
    let probe = row.probe.get_ref().parse::<ProbeKind>().ok();
    if probe.is_none() {
        found.push((row.probe.span().start, format!("probe {:?} is none of {}", row.probe.get_ref(), kinds())));
    }
    let parsed = probe.and_then(|probe| spec(probe, &row, &mut found));
    let (Some(probe), Some((spec, host))) = (probe, parsed) else { return Err(found) };
    let wanted = Assignment { addresses: addresses.into(), retries, spec: Some(spec.clone()), ..Assignment::default() };
    if let Err(message) = assignment::check(&wanted) {
        let retries = row.retries.as_ref().filter(|_| !wants_all).map(|retries| retries.span().start);
        let at = retries.or(row.addresses.as_ref().map(|addresses| addresses.span().start));
        found.push((at.unwrap_or(row.id.span().start), message));
    }
    if let Some(given) =
        row.retries.as_ref().filter(|given| timeout.saturating_mul(given.get_ref().saturating_add(1)) > interval)
    {
        let (timeout, interval) = (humantime::format_duration(timeout), humantime::format_duration(interval));
        let message = format!("{retries} retries of up to {timeout} each do not fit into the interval {interval}");
        found.push((given.span().start, message));
    }
    if !found.is_empty() {
        return Err(found);
    }
    let into = |value: Option<Spanned<String>>| value.map(Spanned::into_inner);
    let target = Target {
        probe,
        host,
        hosted_on: row.hosted_on.into_inner(),
        region: into(row.region),
        zone: into(row.zone),
        service: row.service,
        plane: into(row.plane),
        geography: into(row.geography),
        cdn: row.cdn,
        dns_operator: row.dns_operator,
        identity: row.identity,
        issuer: row.issuer,
        depends_on: row.depends_on.into_iter().map(Spanned::into_inner).collect(),
        owner: row.owner,
        verified: row.verified.unwrap_or(true),
    };
    let agents = row.agents.into_iter().map(|(label, wanted)| (label.into_inner(), wanted)).collect();
    Ok(CatalogTarget { target, spec, interval, timeout, addresses, retries, agents, url: row.url.into_inner() })
}

/// Names stand in element names, file names and URLs.
fn name(value: &Spanned<String>, field: &str, found: &mut Vec<Found>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let text = value.get_ref();
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        let message = format!("{field} {text:?}: 1 to 128 letters, digits and any of - _ . /");
        found.push((value.span().start, message));
    }
}

fn one_of(value: Option<&Spanned<String>>, field: &str, words: &[&str], found: &mut Vec<Found>) {
    if let Some(value) = value
        && !words.contains(&value.get_ref().as_str())
    {
        found.push((value.span().start, format!("{field} {:?} is none of {}", value.get_ref(), words.join(", "))));
    }
}

fn span(
    value: Option<&Spanned<String>>,
    field: &str,
    default: Duration,
    (least, most): (Duration, Duration),
    found: &mut Vec<Found>,
) -> Duration {
    let Some(value) = value else { return default };
    let show = humantime::format_duration;
    match humantime::parse_duration(value.get_ref()) {
        Ok(span) if span < least => {
            let message = format!("{field} {} is below the {} floor", value.get_ref(), show(least));
            found.push((value.span().start, message));
        }
        Ok(span) if span > most => {
            let message = format!("{field} {} is above the limit of {}", value.get_ref(), show(most));
            found.push((value.span().start, message));
        }
        Ok(span) => return span,
        Err(error) => {
            found.push((value.span().start, format!("{field} {:?}: {error}, as in \"30s\"", value.get_ref())));
        }
    }
    default
}

/// What agents run, and the host name (none for a literal address).
fn spec(probe: ProbeKind, row: &Row, found: &mut Vec<Found>) -> Option<(Spec, Option<String>)> {
    let (url, expect) = (&row.url, row.expect.as_ref());
    let fault = |message: String| (url.span().start, format!("url {:?}: {message}", url.get_ref()));
    let parsed = match Url::parse(url.get_ref()) {
        Ok(parsed) => parsed,
        Err(error) => {
            found.push(fault(format!("{error}, as in {:?}", example(probe))));
            return None;
        }
    };
    let scheme = if probe == ProbeKind::Http3 { "https" } else { probe.as_str() };
    let is_question = probe == ProbeKind::Dns && SCHEMES.iter().any(|(scheme, _)| *scheme == parsed.scheme());
    if parsed.scheme() != scheme && !is_question {
        found.push(fault(format!("probe {probe} takes a {scheme} URL, as in {:?}", example(probe))));
        return None;
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        found.push(fault("no user name or password: probes are anonymous".into()));
        return None;
    }
    let host = parsed.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()).unwrap_or_default();
    if host.is_empty() {
        found.push(fault(format!("no host, as in {:?}", example(probe))));
        return None;
    }
    if let Some(request) = row.request.as_ref().filter(|_| !matches!(probe, ProbeKind::Https | ProbeKind::Http3)) {
        found.push((request.span().start, format!("request is for https and http3, not for {probe}")));
    }
    let wanted = expectation(probe, expect, found);
    let named = host.parse::<IpAddr>().is_err().then(|| host.clone());
    let port = || u32::from(parsed.port().unwrap_or_default());
    Some(match probe {
        ProbeKind::Dns => match question::parse(&parsed) {
            Ok(spec) => {
                let (Expect { rcode: rcodes, min_answers, answer_matches, .. }, name) = (wanted, spec.name.clone());
                let spec = DnsSpec { rcodes, min_answers, answer_matches, ..spec };
                if let Err(message) = question::check(&spec) {
                    let at = expect.map_or(url.span().start, |expect| expect.span().start);
                    found.push((at, format!("url or expect: {message}")));
                }
                (Spec::Dns(spec), Some(name))
            }
            Err(message) => {
                found.push(fault(message));
                return None;
            }
        },
        ProbeKind::Tcp | ProbeKind::Tls if port() == 0 => {
            found.push(fault(format!("no port, as in {:?}", example(probe))));
            return None;
        }
        ProbeKind::Tcp => (Spec::Tcp(TcpSpec { host, port: port() }), named),
        ProbeKind::Tls => (Spec::Tls(TlsSpec { host, port: port(), min_cert_days: wanted.min_cert_days }), named),
        ProbeKind::Https | ProbeKind::Http3 => {
            let is_http3 = probe == ProbeKind::Http3;
            let spec = page::spec(parsed.to_string(), row.request.as_ref(), expect, is_http3, found);
            // Who is told where to connect asks for no name.
            let named = named.filter(|_| spec.connect_to.is_empty());
            (if is_http3 { Spec::Http3(spec) } else { Spec::Https(spec) }, named)
        }
    })
}

/// What a passing run must show, where the probe can see it.
fn expectation(probe: ProbeKind, expect: Option<&Spanned<Expect>>, found: &mut Vec<Found>) -> Expect {
    let Some(expect) = expect else { return Expect::default() };
    let (at, wanted) = (expect.span().start, expect.get_ref());
    let mut fault = |message: String| found.push((at, message));
    let is_http = matches!(probe, ProbeKind::Https | ProbeKind::Http3);
    if let Some(field) = wanted.of_http().filter(|_| !is_http) {
        fault(format!("expect.{field} is for https and http3, not for {probe}"));
    }
    if !is_http && probe != ProbeKind::Tls && wanted.min_cert_days != 0 {
        fault(format!("expect.min_cert_days is for tls, https and http3, not for {probe}"));
    }
    if wanted.min_cert_days > MAX_CERT_DAYS {
        fault(format!("expect.min_cert_days {} is above {MAX_CERT_DAYS}", wanted.min_cert_days));
    }
    let of_dns = !wanted.rcode.is_empty() || wanted.min_answers != 0 || !wanted.answer_matches.is_empty();
    if probe != ProbeKind::Dns && of_dns {
        fault(format!("expect.rcode, min_answers and answer_matches are for dns, not for {probe}"));
    }
    if let Some(status) = wanted.status.iter().find(|status| !(100..=599).contains(*status)) {
        fault(format!("expect.status {status} is not within 100 to 599"));
    }
    if let Some(rcode) = wanted.rcode.iter().find(|rcode| !RCODES.contains(&rcode.as_str())) {
        fault(format!("expect.rcode {rcode:?} is none of {}", RCODES.join(", ")));
    }
    wanted.clone()
}

/// A URL that the probe takes.
fn example(probe: ProbeKind) -> &'static str {
    match probe {
        ProbeKind::Dns => "dns://system/example.com?type=A",
        ProbeKind::Tcp => "tcp://example.com:443",
        ProbeKind::Tls => "tls://example.com:443",
        ProbeKind::Https | ProbeKind::Http3 => "https://example.com/",
    }
}
