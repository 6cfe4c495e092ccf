//! `faultline-agent probe`: one run of one URL, told in full.
//!
//! URLs are those of the catalog: questions as in [`faultline_proto::question`], `tcp://host:port`, `tls://host:port`,
//! `https://...`, `http3://...`. The JSON form is one result line as `faultline results export` writes it, with the `chain` that was presented.

mod path;
mod text;

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use faultline_proto::{
    convert::{self, duration, word},
    question,
    types::v1::{Assignment, HttpSpec, ProbeResult, TcpSpec, Timings as WireTimings, TlsSpec, assignment::Spec},
};
use serde_json::{Map, Value, json};
use url::{Position, Url};

pub use self::{path::path, text::text};
use crate::probe::{Certificate, Observed, Outcome};

/// Which HTTP an `https` URL is fetched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 or HTTP/2 over TLS.
    Tcp,
    /// HTTP/3.
    Quic,
}

/// The URL names no probe.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no URL.
    #[error("{0:?} is no URL: {1}")]
    Url(String, url::ParseError),
    /// Its scheme is none that can be probed.
    #[error("scheme {0:?} is none of dns, dot, doh, doq, doh3, tcp, tls, https, http3")]
    Scheme(String),
    /// It names no question.
    #[error("{0:?}: {1}")]
    Question(String, String),
    /// Something is missing.
    #[error("{0:?} has no {1}")]
    Missing(String, &'static str),
}

/// The assignment that the URL describes, to be run once.
pub fn assignment(url: &str, transport: Transport, timeout: Duration) -> Result<Assignment, UrlError> {
    let parsed = Url::parse(url).map_err(|error| UrlError::Url(url.to_owned(), error))?;
    let missing = |what| UrlError::Missing(url.to_owned(), what);
    let host = || parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| missing("host"));
    let bare = || host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let port = || parsed.port().map(u32::from).ok_or_else(|| missing("port"));
    let spec = match parsed.scheme() {
        scheme if question::SCHEMES.iter().any(|(known, _)| *known == scheme) => {
            Spec::Dns(question::parse(&parsed).map_err(|error| UrlError::Question(url.to_owned(), error))?)
        }
        "tcp" => Spec::Tcp(TcpSpec { host: bare()?, port: port()? }),
        "tls" => Spec::Tls(TlsSpec { host: bare()?, port: port()?, ..TlsSpec::default() }),
        "https" => {
            let spec = HttpSpec { url: url.to_owned(), ..HttpSpec::default() };
            match transport {
                Transport::Tcp => Spec::Https(spec),
                Transport::Quic => Spec::Http3(spec),
            }
        }
        "http3" => {
            let url = format!("https{}", &parsed[Position::AfterScheme..]);
            Spec::Http3(HttpSpec { url, ..HttpSpec::default() })
        }
        scheme => return Err(UrlError::Scheme(scheme.to_owned())),
    };
    Ok(Assignment {
        slot: 1,
        target: url.to_owned(),
        interval: Some(duration(Duration::from_hours(1))),
        phase: None,
        timeout: Some(duration(timeout)),
        spec: Some(spec),
        ..Assignment::default()
    })
}

/// The run as one line of JSON.
pub fn json(assignment: &Assignment, observed: &Observed) -> String {
    let result = &observed.result;
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
    put("agent", json!("local"));
    put("target", json!(assignment.target));
    put("at", json!(at(result)));
    put("probe", json!(kind(assignment)));
    match observed.outcome() {
        Some(Outcome::Passed) => {
            put("outcome", json!("passed"));
        }
        Some(Outcome::Failed { layer, cause }) => {
            put("outcome", json!("failed"));
            put("layer", json!(word(layer)));
            put("cause", json!(word(cause)));
        }
        Some(Outcome::Unmeasured { reason }) => {
            put("outcome", json!("unmeasured"));
            put("reason", json!(word(reason)));
        }
        None => {}
    }
    let spans = timings(result).map(|(name, micros)| (name.to_owned(), json!(micros)));
    put("timings_us", Value::Object(spans.collect()));
    if result.attempt > 1 {
        put("attempt", json!(result.attempt));
    }
    if let Some(address) = address(result) {
        put("address", json!(address));
        put("family", json!(if address.is_ipv4() { 4 } else { 6 }));
    }
    if !protocol(result).is_empty() {
        put("protocol", json!(protocol(result)));
    }
    if result.status != 0 {
        put("status", json!(result.status));
    }
    if let Some(rcode) = rcode(result) {
        put("rcode", json!(rcode));
    }
    if let Ok(Some(hop)) = convert::address(&result.last_hop) {
        put("last_hop", json!(hop));
    }
    if let Some(facts) = &observed.facts {
        for (key, value) in
            [("resolver", &facts.resolver), ("nsid", &facts.nsid), ("issuer", &facts.issuer), ("ocsp", &facts.ocsp)]
        {
            if !value.is_empty() {
                put(key, json!(value));
            }
        }
        if !facts.cnames.is_empty() {
            put("cnames", json!(facts.cnames));
        }
        if !facts.edge.is_empty() {
            put("edge", json!(facts.edge));
        }
        if !facts.chain.is_empty() {
            put("chain", facts.chain.iter().map(|certificate| presented(certificate)).collect());
        }
    }
    Value::Object(line).to_string()
}

fn presented(certificate: &Certificate) -> Value {
    let fingerprint = hex(&certificate.fingerprint);
    if !certificate.is_read() {
        return json!({ "fingerprint": fingerprint });
    }
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "names_left_out": certificate.names_left_out,
        "not_before": instant(certificate.not_before),
        "not_after": instant(certificate.not_after),
        "key": certificate.key,
        "fingerprint": fingerprint,
    })
}

/// Seconds since 1970 as RFC 3339; instants before that, which no certificate in use has, as 1970.
fn instant(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_INSTANT));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

/// The end of the year 9999, the last that a certificate can name (RFC 5280, section 4.1.2.5).
const LAST_INSTANT: u64 = 253_402_300_799;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn timings(result: &ProbeResult) -> impl Iterator<Item = (&'static str, u32)> {
    let WireTimings { dns_us, connect_us, tls_us, first_byte_us, body_us, total_us } =
        result.timings.unwrap_or_default();
    [
        ("dns", dns_us),
        ("connect", connect_us),
        ("tls", tls_us),
        ("first_byte", first_byte_us),
        ("body", body_us),
        ("total", total_us),
    ]
    .into_iter()
    .filter(|(_, micros)| *micros > 0)
}

fn address(result: &ProbeResult) -> Option<IpAddr> {
    convert::address(&result.address).ok().flatten()
}

fn at(result: &ProbeResult) -> String {
    let micros = convert::micros(result.started_at.as_ref()).unwrap_or(0);
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

fn kind(assignment: &Assignment) -> &'static str {
    match assignment.spec {
        Some(Spec::Dns(_)) => "dns",
        Some(Spec::Tcp(_)) => "tcp",
        Some(Spec::Tls(_)) => "tls",
        Some(Spec::Https(_)) => "https",
        Some(Spec::Http3(_)) => "http3",
        None => "",
    }
}

fn protocol(result: &ProbeResult) -> String {
    convert::protocol(result.protocol())
}

fn rcode(result: &ProbeResult) -> Option<String> {
    let code = result.rcode_plus_one.checked_sub(1)?;
    let known = usize::try_from(code).ok().and_then(|code| crate::probe::RCODES.get(code));
    Some(known.map_or_else(|| code.to_string(), |word| (*word).to_owned()))
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::Reason;

    use super::*;

    #[test]
    fn each_form_of_url_is_its_probe() {
        let spec =
            |url: &str| assignment(url, Transport::Tcp, Duration::from_secs(5)).expect(url).spec.expect("a spec");
        for url in ["dns://system/example.com", "dot://192.0.2.1/example.com", "doh3://dns.example/example.com"] {
            assert!(matches!(spec(url), Spec::Dns(_)), "{url}");
        }
        assert_eq!(spec("tcp://example.com:22"), Spec::Tcp(TcpSpec { host: "example.com".into(), port: 22 }));
        assert_eq!(spec("tls://[::1]:443"), Spec::Tls(TlsSpec { host: "::1".into(), port: 443, ..TlsSpec::default() }));
        assert!(matches!(spec("https://example.com/"), Spec::Https(_)));
        let over_quic = HttpSpec { url: "https://example.com:4433/http3?a=http3".into(), ..HttpSpec::default() };
        assert_eq!(spec("http3://example.com:4433/http3?a=http3"), Spec::Http3(over_quic));
        for wrong in ["tcp://example.com", "dns://system/", "ftp://example.com", "example.com"] {
            assert!(assignment(wrong, Transport::Tcp, Duration::from_secs(5)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_json_line_has_what_replay_requires() {
        let assignment = assignment("tcp://192.0.2.1:443", Transport::Tcp, Duration::from_secs(5)).expect("a url");
        let observed = Observed::unmeasured(1_761_752_473_125_000, Reason::NoNetwork);
        let line: Value = serde_json::from_str(&json(&assignment, &observed)).expect("json");
        assert_eq!(line["at"], "2025-10-29T15:41:13.125Z");
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("unmeasured"), &json!("no_network")));
        assert_eq!(line["probe"], "tcp");
    }
}
