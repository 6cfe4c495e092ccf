//! What a probe measured, as the metrics of `blackbox_exporter`: its names, units and labels, and its absences.
//!
//! | of | there | absent |
//! |---|---|---|
//! | every probe | `probe_success probe_duration_seconds probe_timeout_seconds` | |
//! | every probe | `probe_dns_lookup_time_seconds` | of a target that is no URL, or has no port |
//! | every probe | `probe_ip_protocol probe_ip_addr_hash`, 0 without an address | likewise |
//! | http | `probe_http_{status_code,version,content_length,uncompressed_body_length,ssl}`, all 0 without an answer | |
//! | http | `probe_http_redirects`, `probe_failed_due_to_regex` | |
//! | http | `probe_http_duration_seconds{phase}`, all five, 0 where not reached | without an address, all but `resolve` |
//! | http | `probe_http_last_modified_timestamp_seconds` | without such a header, or one that can be read |
//! | tcp | `probe_failed_due_to_regex probe_failed_due_to_bytes` | without a connection, or the TLS that it begins with |
//! | tcp | `probe_expect_info` of each step with labels | unless it matched |
//! | http, tcp | `probe_ssl_last_chain_expiry_timestamp_seconds probe_tls_version_info` | without a whole handshake |
//! | http | `probe_tls_cipher_info` | without a whole handshake |
//! | dns | `probe_dns_duration_seconds{phase}`, all three, 0 where not reached | |
//! | dns | `probe_dns_{answer,authority,additional}_rrs probe_dns_query_succeeded`, 0 without an answer | |
//! | dns | `probe_dns_serial`, 0 without such a record | unless an SOA record was asked for and the server answered |
//!
//! Beyond `blackbox_exporter`: `probe_failure_info{layer,cause}` of every failure; `probe_dns_rcode` where there was an answer;
//! `probe_ssl_earliest_cert_expiry` and `probe_ssl_last_chain_info` of refused certificates too, so that an expired one tells so;
//! phases of a failed probe are what they were up to the failure; and those of HTTP/3 add up to the whole: `connect` is the QUIC
//! handshake, in which `tls` is, which so is 0.
//!
//! Rules: metrics are made of [`Measured`] alone, so that whoever probes need not know them; a probe that could not look is no
//! success, and its `layer` is `unmeasured`.

mod measured;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

pub use self::measured::{
    Answer, DnsMeasured, DnsPhases, Failure, HttpMeasured, HttpPhases, Lookup, Measured, Of, Presented, Session,
    TcpMeasured,
};
use super::exposition::Exposition;

/// The metrics of one probe.
pub fn metrics(measured: &Measured) -> Exposition {
    let mut page = Exposition::default();
    let is_success = measured.failure.is_none();
    page.gauge("probe_success", "Whether the probe succeeded", flag(is_success));
    page.gauge("probe_duration_seconds", "Time that the probe took", seconds(measured.duration));
    page.gauge("probe_timeout_seconds", "Time that the probe was given", seconds(measured.timeout));
    if let Some(failure) = measured.failure {
        let (layer, cause) = failure.words();
        let labels = [("layer", layer.as_str()), ("cause", cause.as_str())];
        page.gauge_of("probe_failure_info", "Layer that failed and why", &labels, 1.0);
    }
    if let Some(lookup) = &measured.lookup {
        page.gauge("probe_dns_lookup_time_seconds", "Time to find the target's address", seconds(lookup.duration));
        let family = lookup.address.map_or(0.0, |address| if address.is_ipv4() { 4.0 } else { 6.0 });
        page.gauge("probe_ip_protocol", "Family of the probed address, 4 or 6; 0 without one", family);
        let hash = lookup.address.map_or(0.0, |address| f64::from(fnv_1a(address)));
        page.gauge("probe_ip_addr_hash", "FNV-1a hash of the probed address, to see it change", hash);
    }
    match &measured.of {
        Of::Http(http) => of_http(http, measured, &mut page),
        Of::Tcp(tcp) => of_tcp(tcp, measured, &mut page),
        Of::Dns(dns) => of_dns(dns, &mut page),
    }
    page
}

fn of_http(http: &HttpMeasured, measured: &Measured, page: &mut Exposition) {
    let HttpPhases { resolve, connect, tls, processing, transfer } = http.phases;
    let later = [("connect", connect), ("tls", tls), ("processing", processing), ("transfer", transfer)];
    let is_resolved = measured.lookup.is_some_and(|lookup| lookup.address.is_some());
    let first = measured.lookup.map(|_| ("resolve", resolve));
    for (phase, spent) in first.into_iter().chain(later.into_iter().filter(|_| is_resolved)) {
        let help = "Time of the request by phase, redirects included";
        let spent = seconds(spent.unwrap_or_default());
        page.gauge_of("probe_http_duration_seconds", help, &[("phase", phase)], spent);
    }
    let answer = http.answer.as_ref();
    let told = answer.map_or(0.0, |answer| answer.content_length.map_or(-1.0, whole));
    page.gauge("probe_http_content_length", "Length that the answer announced, -1 if it did not", told);
    page.gauge("probe_http_uncompressed_body_length", "Length of the body that was read", whole(http.body_bytes));
    page.gauge("probe_http_redirects", "Redirects that were answered", f64::from(http.redirects));
    let status = answer.map_or(0.0, |answer| f64::from(answer.status.as_u16()));
    page.gauge("probe_http_status_code", "Status of the last answer, 0 without one", status);
    let version = answer.map_or(0.0, |answer| version_number(answer.version));
    page.gauge("probe_http_version", "HTTP version of the last answer, 0 without one", version);
    let is_https = answer.is_some_and(|answer| answer.is_https);
    page.gauge("probe_http_ssl", "Whether the last answer came over TLS", flag(is_https));
    page.gauge("probe_failed_due_to_regex", REGEX_HELP, flag(http.failed_due_to_regex));
    if let Some(modified) = answer.and_then(|answer| answer.last_modified) {
        let help = "When the server says that the content was changed";
        page.gauge("probe_http_last_modified_timestamp_seconds", help, instant(modified));
    }
    of_tls(measured, page);
    if let Some(cipher) =
        http.answer.as_ref().and(measured.session.as_ref()).and_then(|session| session.cipher.as_deref())
    {
        page.gauge_of("probe_tls_cipher_info", "Cipher suite that was agreed on", &[("cipher", cipher)], 1.0);
    }
}

fn of_tcp(tcp: &TcpMeasured, measured: &Measured, page: &mut Exposition) {
    if tcp.is_open {
        page.gauge("probe_failed_due_to_regex", REGEX_HELP, flag(tcp.failed_due_to_regex));
        let help = "Whether the probe failed because other bytes came than expected";
        page.gauge("probe_failed_due_to_bytes", help, flag(tcp.failed_due_to_bytes));
    }
    for labels in tcp.expect_info.iter().filter(|labels| !labels.is_empty()) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        page.gauge_of("probe_expect_info", "What was found in what the server said", &labels, 1.0);
    }
    of_tls(measured, page);
}

fn of_tls(measured: &Measured, page: &mut Exposition) {
    if let Some(presented) = &measured.presented {
        if let Some(expiry) = presented.earliest_expiry {
            let help = "When the first of the presented certificates expires";
            page.gauge("probe_ssl_earliest_cert_expiry", help, instant(expiry));
        }
        let leaf = &presented.leaf;
        let labels = [
            ("fingerprint_sha256", leaf.fingerprint_sha256.as_str()),
            ("issuer", &leaf.issuer),
            ("serialnumber", &leaf.serialnumber),
            ("subject", &leaf.subject),
            ("subjectalternative", &leaf.subjectalternative),
        ];
        page.gauge_of("probe_ssl_last_chain_info", "The server's own certificate", &labels, 1.0);
    }
    if let Some(session) = &measured.session {
        let help = "When the verified chain that lasts longest expires";
        let expiry = session.chain_expiry.map_or(UNVERIFIED, instant);
        page.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, expiry);
        let version = [("version", session.version.as_str())];
        page.gauge_of("probe_tls_version_info", "TLS version that was agreed on", &version, 1.0);
    }
}

fn of_dns(dns: &DnsMeasured, page: &mut Exposition) {
    let DnsPhases { resolve, connect, request } = dns.phases;
    for (phase, spent) in [("resolve", resolve), ("connect", connect), ("request", request)] {
        let spent = seconds(spent.unwrap_or_default());
        page.gauge_of("probe_dns_duration_seconds", "Time of the query by phase", &[("phase", phase)], spent);
    }
    page.gauge("probe_dns_answer_rrs", "Records in the answer section", f64::from(dns.answers));
    page.gauge("probe_dns_authority_rrs", "Records in the authority section", f64::from(dns.authorities));
    page.gauge("probe_dns_additional_rrs", "Records in the additional section", f64::from(dns.additionals));
    page.gauge("probe_dns_query_succeeded", "Whether the server answered the query", flag(dns.rcode.is_some()));
    if let Some(rcode) = dns.rcode {
        page.gauge("probe_dns_rcode", "Response code of the answer", f64::from(rcode));
    }
    if let Some(serial) = dns.serial {
        page.gauge("probe_dns_serial", "Serial number of the zone", f64::from(serial));
    }
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts of bytes are below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds of any date are below 2^53")]
fn instant(seconds: i64) -> f64 {
    seconds as f64
}

fn version_number(version: http::Version) -> f64 {
    match version {
        http::Version::HTTP_09 => 0.9,
        http::Version::HTTP_10 => 1.0,
        http::Version::HTTP_2 => 2.0,
        http::Version::HTTP_3 => 3.0,
        _ => 1.1,
    }
}

/// Of the address's 4 or 16 bytes. Source: RFC 9923, the 32-bit FNV-1a.
fn fnv_1a(address: IpAddr) -> u32 {
    let octets = faultline_proto::convert::octets(address.to_canonical());
    octets.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

const REGEX_HELP: &str = "Whether the probe failed because of a regular expression";
/// Expiry of a chain that nobody verified. Source: what `blackbox_exporter` says then, Go's zero time.
const UNVERIFIED: f64 = -62_135_596_800.0;
