//! What is there and what is absent, against what `blackbox_exporter` 0.23 printed for the same cases on loopback.

use std::net::Ipv4Addr;

use faultline_proto::types::v1::{Cause, Layer, Reason};
use http::{StatusCode, Version};

use super::*;
use crate::blackbox::certificate::ChainInfo;

#[test]
fn a_page_is_told_in_full() {
    let text = metrics(&page()).text();
    let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = [
        "probe_dns_lookup_time_seconds 1.5e-05",
        "probe_duration_seconds 0.1",
        "probe_failed_due_to_regex 0",
        "probe_http_content_length 11",
        "probe_http_duration_seconds{phase=\"connect\"} 0.01",
        "probe_http_duration_seconds{phase=\"processing\"} 0.03",
        "probe_http_duration_seconds{phase=\"resolve\"} 1.5e-05",
        "probe_http_duration_seconds{phase=\"tls\"} 0",
        "probe_http_duration_seconds{phase=\"transfer\"} 0.04",
        "probe_http_last_modified_timestamp_seconds 1.44541248e+09",
        "probe_http_redirects 1",
        "probe_http_ssl 0",
        "probe_http_status_code 200",
        "probe_http_uncompressed_body_length 11",
        "probe_http_version 1.1",
        "probe_ip_addr_hash 3.668918509e+09",
        "probe_ip_protocol 4",
        "probe_success 1",
        "probe_timeout_seconds 2",
    ];
    assert_eq!(values, expected);
    assert_eq!(text.matches("# TYPE").count(), 15);
}

#[test]
fn a_page_over_tls_has_its_certificate_and_session() {
    let mut measured = page();
    measured.presented = Some(presented());
    measured.session = Some(session(Some(1_798_282_037)));
    let told = values(&measured);
    for value in [
        "probe_ssl_earliest_cert_expiry 1.798282037e+09",
        "probe_ssl_last_chain_expiry_timestamp_seconds 1.798282037e+09",
        "probe_ssl_last_chain_info{fingerprint_sha256=\"ab\",issuer=\"CN=\\\"CA\\\"\",serialnumber=\"0c\",\
         subject=\"CN=a\\\\,b\",subjectalternative=\"localhost\"} 1",
        "probe_tls_cipher_info{cipher=\"TLS_AES_128_GCM_SHA256\"} 1",
        "probe_tls_version_info{version=\"TLS 1.3\"} 1",
    ] {
        assert!(told.iter().any(|line| line == value), "{value} in {told:#?}");
    }
}

#[test]
fn a_chain_that_nobody_verified_has_expired_at_the_beginning_of_time() {
    let mut measured = page();
    (measured.presented, measured.session) = (Some(presented()), Some(session(None)));
    let expiry = "probe_ssl_last_chain_expiry_timestamp_seconds -6.21355968e+10";
    assert!(values(&measured).iter().any(|line| line == expiry));
}

#[test]
fn an_expired_certificate_tells_when_it_expired_and_why_it_failed() {
    let mut measured = failed(Failure::Layer(Layer::Tls, Cause::TlsCertExpired));
    measured.presented = Some(presented());
    let told = values(&measured);
    assert!(told.iter().any(|line| line == "probe_ssl_earliest_cert_expiry 1.798282037e+09"));
    assert!(told.iter().any(|line| line == "probe_failure_info{cause=\"tls_cert_expired\",layer=\"tls\"} 1"));
    let absent = ["probe_tls_version_info", "probe_tls_cipher_info", "probe_ssl_last_chain_expiry_timestamp_seconds"];
    assert!(!told.iter().any(|line| absent.iter().any(|name| line.starts_with(name))), "{told:#?}");
}

#[test]
fn without_an_answer_its_metrics_are_zero_and_all_phases_are_there() {
    let told = values(&failed(Failure::Layer(Layer::Connect, Cause::ConnectRefused)));
    for value in [
        "probe_http_content_length 0",
        "probe_http_duration_seconds{phase=\"connect\"} 0",
        "probe_http_duration_seconds{phase=\"processing\"} 0",
        "probe_http_duration_seconds{phase=\"tls\"} 0",
        "probe_http_duration_seconds{phase=\"transfer\"} 0",
        "probe_http_ssl 0",
        "probe_http_status_code 0",
        "probe_http_uncompressed_body_length 0",
        "probe_http_version 0",
        "probe_success 0",
    ] {
        assert!(told.iter().any(|line| line == value), "{value} in {told:#?}");
    }
    assert!(!told.iter().any(|line| line.contains("last_modified")));
}

#[test]
fn a_name_without_an_address_has_one_phase() {
    let mut measured = failed(Failure::Layer(Layer::Dns, Cause::DnsNxdomain));
    measured.lookup = Some(Lookup { duration: Duration::from_millis(1), address: None });
    let expected = [
        "probe_dns_lookup_time_seconds",
        "probe_duration_seconds",
        "probe_failed_due_to_regex",
        "probe_failure_info{cause=\"dns_nxdomain\",layer=\"dns\"}",
        "probe_http_content_length",
        "probe_http_duration_seconds{phase=\"resolve\"}",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_uncompressed_body_length",
        "probe_http_version",
        "probe_ip_addr_hash",
        "probe_ip_protocol",
        "probe_success",
        "probe_timeout_seconds",
    ];
    assert_eq!(series(&measured), expected);
    assert!(values(&measured).contains(&"probe_ip_protocol 0".to_owned()));
}

#[test]
fn a_target_that_can_be_none_was_not_looked_up() {
    let mut measured = failed(Failure::Target);
    measured.lookup = None;
    let told = series(&measured);
    let absent = ["probe_dns_lookup", "probe_ip_", "probe_http_duration_seconds"];
    assert!(!told.iter().any(|series| absent.iter().any(|name| series.starts_with(name))), "{told:#?}");
    measured.of = Of::Tcp(TcpMeasured::default());
    let expected = [
        "probe_duration_seconds",
        "probe_failure_info{cause=\"target_malformed\",layer=\"target\"}",
        "probe_success",
        "probe_timeout_seconds",
    ];
    assert_eq!(series(&measured), expected);
}

#[test]
fn a_length_that_was_not_announced_is_minus_one() {
    let mut measured = page();
    let Of::Http(http) = &mut measured.of else { return };
    http.answer.as_mut().expect("an answer").content_length = None;
    assert!(values(&measured).contains(&"probe_http_content_length -1".to_owned()));
}

#[test]
fn tcp_has_no_phases_and_no_cipher() {
    let mut measured = page();
    (measured.presented, measured.session) = (Some(presented()), Some(session(Some(1))));
    let found = vec![("version".to_owned(), "2.0".to_owned())];
    measured.of = Of::Tcp(TcpMeasured { is_open: true, expect_info: vec![found, vec![]], ..TcpMeasured::default() });
    let told: Vec<_> = series(&measured).iter().map(|line| line.split('{').next().unwrap_or("").to_owned()).collect();
    let expected = [
        "probe_dns_lookup_time_seconds",
        "probe_duration_seconds",
        "probe_expect_info",
        "probe_failed_due_to_bytes",
        "probe_failed_due_to_regex",
        "probe_ip_addr_hash",
        "probe_ip_protocol",
        "probe_ssl_earliest_cert_expiry",
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "probe_ssl_last_chain_info",
        "probe_success",
        "probe_timeout_seconds",
        "probe_tls_version_info",
    ];
    assert_eq!(told, expected);
}

#[test]
fn dns_has_all_phases_whatever_fails_and_its_code_with_an_answer() {
    let mut measured = failed(Failure::Layer(Layer::Dns, Cause::DnsTimeout));
    measured.of = Of::Dns(DnsMeasured::default());
    let silent = [
        "probe_dns_additional_rrs",
        "probe_dns_answer_rrs",
        "probe_dns_authority_rrs",
        "probe_dns_duration_seconds{phase=\"connect\"}",
        "probe_dns_duration_seconds{phase=\"request\"}",
        "probe_dns_duration_seconds{phase=\"resolve\"}",
        "probe_dns_lookup_time_seconds",
        "probe_dns_query_succeeded",
        "probe_duration_seconds",
        "probe_failure_info{cause=\"dns_timeout\",layer=\"dns\"}",
        "probe_ip_addr_hash",
        "probe_ip_protocol",
        "probe_success",
        "probe_timeout_seconds",
    ];
    assert_eq!(series(&measured), silent);
    measured.of = Of::Dns(DnsMeasured { rcode: Some(3), serial: Some(2_026_112_601), ..DnsMeasured::default() });
    let told = values(&measured);
    for value in ["probe_dns_rcode 3", "probe_dns_serial 2.026112601e+09", "probe_dns_query_succeeded 1"] {
        assert!(told.contains(&value.to_owned()), "{value} in {told:#?}");
    }
}

#[test]
fn what_could_not_look_is_told_apart() {
    let told = series(&failed(Failure::Unmeasured(Reason::NoNetwork)));
    assert!(told.contains(&"probe_failure_info{cause=\"no_network\",layer=\"unmeasured\"}".to_owned()));
}

#[test]
fn an_address_hash_is_of_its_bytes() {
    assert_eq!(fnv_1a(Ipv4Addr::LOCALHOST.into()), 3_668_918_509, "as blackbox_exporter has it");
    assert_eq!(fnv_1a(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()), 3_668_918_509, "of the four bytes in it");
}

/// Of `http://127.0.0.1:18080/redir`.
fn page() -> Measured {
    let millis = |count| Some(Duration::from_millis(count));
    let phases = HttpPhases {
        resolve: Some(Duration::from_micros(15)),
        connect: millis(10),
        tls: None,
        processing: millis(30),
        transfer: millis(40),
    };
    let answer = Answer {
        status: StatusCode::OK,
        version: Version::HTTP_11,
        content_length: Some(11),
        is_https: false,
        last_modified: Some(1_445_412_480),
    };
    let http = HttpMeasured { phases, answer: Some(answer), body_bytes: 11, redirects: 1, failed_due_to_regex: false };
    Measured {
        failure: None,
        duration: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        lookup: Some(Lookup { duration: Duration::from_micros(15), address: Some(Ipv4Addr::LOCALHOST.into()) }),
        presented: None,
        session: None,
        of: Of::Http(http),
    }
}

fn failed(failure: Failure) -> Measured {
    Measured { failure: Some(failure), of: Of::Http(HttpMeasured::default()), ..page() }
}

fn presented() -> Presented {
    let leaf = ChainInfo {
        fingerprint_sha256: "ab".to_owned(),
        issuer: "CN=\"CA\"".to_owned(),
        serialnumber: "0c".to_owned(),
        subject: r"CN=a\,b".to_owned(),
        subjectalternative: "localhost".to_owned(),
    };
    Presented { earliest_expiry: Some(1_798_282_037), leaf }
}

fn session(chain_expiry: Option<i64>) -> Session {
    let cipher = Session::cipher_name(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Session { version: Session::version_name(rustls::ProtocolVersion::TLSv1_3), cipher: Some(cipher), chain_expiry }
}

fn values(measured: &Measured) -> Vec<String> {
    metrics(measured).text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Names and labels.
fn series(measured: &Measured) -> Vec<String> {
    let name = |line: &String| line.rsplit_once(' ').map_or("", |(name, _)| name).to_owned();
    values(measured).iter().map(name).collect()
}
