//! A good file is read whole; what is not supported takes its own module out of use; what is wrong is told with its line.

mod refused;
mod wrong;

use std::{path::Path, time::Duration};

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hickory_resolver::proto::rr::{DNSClass, RecordType};

use super::*;

#[test]
fn a_module_of_one_line_has_blackbox_exporters_defaults() {
    let modules = parse(
        "modules:\n  h: {prober: http}\n  t: {prober: tcp}\n  d: {prober: dns, dns: {query_name: example.org}}\n",
    );
    let http = http(&modules, "h");
    assert_eq!((http.method.clone(), http.follows_redirects, http.versions), (Method::GET, true, Versions::Negotiated));
    assert_eq!(http.family, Family { preferred: IpProtocol::V6, falls_back: true });
    assert_eq!((http.encryption, http.body_size_limit, &http.tls), (Encryption::Either, None, &Tls::default()));
    assert!(http.is_valid_status(StatusCode::NO_CONTENT) && !http.is_valid_status(StatusCode::FOUND));
    assert!(http.is_valid_version(Version::HTTP_2) && http.headers.is_empty() && http.body.is_empty());
    let tcp = tcp(&modules, "t");
    assert!(tcp.steps.is_empty() && !tcp.begins_with_tls && tcp.source.is_none());
    let dns = dns(&modules, "d");
    assert_eq!((dns.query_type, dns.query_class, dns.transport), (RecordType::ANY, DNSClass::IN, Transport::Udp));
    assert_eq!((dns.recursion_desired, dns.valid_rcodes.as_slice()), (true, &[0][..]));
    assert_eq!(dns.query_name.to_string(), "example.org.");
    assert_eq!(module(&modules, "h").timeout, None);
}

#[test]
fn every_key_of_http_is_read() {
    let text = r#"
modules:
  shop:
    prober: http
    timeout: 1m30s
    http:
      valid_status_codes: [200, 418]
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      preferred_ip_protocol: ip4
      ip_protocol_fallback: no
      skip_resolve_phase_with_proxy: true
      no_follow_redirects: true
      fail_if_not_ssl: yes
      method: PURGE
      headers: {Host: shop.example.org, X-Number: 5, X-Empty: }
      http_headers:
        X-Many: {values: [a, b], secrets: [c]}
      fail_if_body_matches_regexp: ['{"status":"DOWN"}']
      fail_if_body_not_matches_regexp:
      - (?i)welcome
      fail_if_header_matches:
      - {header: X-Debug, regexp: on, allow_missing: true}
      fail_if_header_not_matches:
      - header: Content-Type
        regexp: ^text/
      body: '{"q": 1}'
      body_size_limit: 1MB
      enable_http2: false
      basic_auth: {username: me, password: secret}
      tls_config:
        insecure_skip_verify: true
        server_name: inner.example.org
        min_version: TLS12
        max_version: TLS13
      no_proxy: localhost
"#;
    let modules = parse(text);
    assert_eq!(module(&modules, "shop").timeout, Some(Duration::from_secs(90)));
    let http = http(&modules, "shop");
    assert_eq!(http.valid_status_codes, [200, 418]);
    assert!(http.is_valid_version(Version::HTTP_2) && !http.is_valid_version(Version::HTTP_3));
    assert_eq!(http.family, Family { preferred: IpProtocol::V4, falls_back: false });
    assert_eq!(
        (http.follows_redirects, http.encryption, http.versions),
        (false, Encryption::Required, Versions::Http1)
    );
    assert_eq!(
        (http.method.as_str(), http.body.as_ref(), http.body_size_limit),
        ("PURGE", &br#"{"q": 1}"#[..], Some(1 << 20))
    );
    let headers: Vec<_> = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: [(&str, &[u8]); 7] = [
        ("host", b"shop.example.org"),
        ("x-empty", b""),
        ("x-number", b"5"),
        ("x-many", b"a"),
        ("x-many", b"b"),
        ("x-many", b"c"),
        ("authorization", b"Basic bWU6c2VjcmV0"),
    ];
    assert_eq!(headers, expected);
    let tls = Tls {
        skip_verify: true,
        roots: None,
        server_name: Some("inner.example.org".to_owned()),
        min_version: Some(TlsVersion::V1_2),
        max_version: Some(TlsVersion::V1_3),
    };
    assert_eq!(http.tls, tls);
    assert!(!format!("{modules:?}").contains("bWU6c2VjcmV0"), "credentials are kept out of what is printed");
    assert!(http.body_passes(b"WELCOME") && !http.body_passes(b"hello"));
    assert!(!http.body_passes(br#"welcome {"status":"DOWN"}"#));
}

#[test]
fn a_header_that_is_missing_fails_unless_it_may_be() {
    let modules = parse(
        "modules: {m: {prober: http, http: {fail_if_header_matches: [{header: a, regexp: bad, allow_missing: true}], \
         fail_if_header_not_matches: [{header: b, regexp: ^good}]}}}",
    );
    let passes = |headers: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        http(&modules, "m").headers_pass(&map)
    };
    assert!(passes(&[("b", "good")]) && passes(&[("a", "fine"), ("b", "other"), ("b", "good")]));
    assert!(!passes(&[]) && !passes(&[("b", "other")]) && !passes(&[("a", "fine"), ("a", "a bad one"), ("b", "good")]));
}

#[test]
fn other_ways_to_log_in_are_headers_too() {
    for (auth, value) in [
        ("authorization: {credentials: abc}", "Bearer abc"),
        ("authorization: {type: Token, credentials: abc}", "Token abc"),
        ("bearer_token: abc", "Bearer abc"),
        ("basic_auth: {username: me}, headers: {Authorization: mine}", "mine"),
    ] {
        let modules = parse(&format!("modules: {{m: {{prober: http, http: {{{auth}}}}}}}"));
        let headers = &http(&modules, "m").headers;
        assert_eq!(headers.iter().map(|(_, value)| value.as_bytes()).collect::<Vec<_>>(), [value.as_bytes()], "{auth}");
    }
}

#[test]
fn every_key_of_tcp_is_read() {
    let text = r#"
modules:
  mail:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      source_ip_address: 127.0.0.9
      query_response:
      - expect: "^220 ([^ ]+)"
        labels: [{name: host, value: "${1}"}]
        send: EHLO prober
      - send: STARTTLS
      - expect_bytes: "\x16\x03"
        starttls: true
      tls: true
      tls_config: {server_name: 127.0.0.1}
"#;
    let modules = parse(text);
    let tcp = tcp(&modules, "mail");
    assert_eq!((tcp.source, tcp.begins_with_tls), ("127.0.0.9".parse().ok(), true));
    let first = Step {
        expect: Some(Expect::Line(Pattern::new("^220 ([^ ]+)").expect("good"))),
        labels: vec![("host".to_owned(), "${1}".to_owned())],
        send: Some("EHLO prober".to_owned()),
        starttls: false,
    };
    let last = Step { expect: Some(Expect::Bytes("\x16\x03".into())), starttls: true, ..Step::default() };
    assert_eq!(tcp.steps, [first, Step { send: Some("STARTTLS".to_owned()), ..Step::default() }, last]);
}

#[test]
fn every_key_of_dns_is_read() {
    let text = r#"
modules:
  zone:
    prober: dns
    dns:
      preferred_ip_protocol: ip6
      ip_protocol_fallback: false
      dns_over_tls: true
      tls_config: {insecure_skip_verify: true}
      source_ip_address: "::1"
      transport_protocol: tcp
      query_class: CH
      query_name: _dmarc.example.org.
      query_type: LOC
      recursion_desired: false
      valid_rcodes: [NXDOMAIN, BADCOOKIE]
      validate_answer_rrs:
        fail_if_matches_regexp: [a]
        fail_if_all_match_regexp: [b]
        fail_if_not_matches_regexp: [c]
        fail_if_none_matches_regexp: [d]
      validate_authority_rrs: {fail_if_matches_regexp: [e]}
      validate_additional_rrs: {fail_if_matches_regexp: [f]}
"#;
    let modules = parse(text);
    let dns = dns(&modules, "zone");
    assert_eq!((dns.transport, dns.query_class, dns.recursion_desired), (Transport::Tls, DNSClass::CH, false));
    assert_eq!((u16::from(dns.query_type), dns.query_name.to_string()), (29, "_dmarc.example.org.".to_owned()));
    assert_eq!(dns.valid_rcodes, [3, 23]);
    let patterns =
        |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect::<String>();
    let of = |records: &Records| {
        [
            patterns(&records.fail_if_matches),
            patterns(&records.fail_if_all_match),
            patterns(&records.fail_if_not_matches),
            patterns(&records.fail_if_none_matches),
        ]
        .concat()
    };
    assert_eq!([of(&dns.answers), of(&dns.authorities), of(&dns.additionals)], ["abcd", "e", "f"]);
}

/// Source: what `blackbox_exporter` 0.23 said of a server that answers `127.0.0.9`, and of its empty authority section.
#[test]
fn records_pass_as_they_do_in_blackbox_exporter() {
    let answer = ["example.org.\t300\tIN\tA\t127.0.0.9"];
    for (rule, records, passes) in [
        ("fail_if_matches_regexp: ['127']", &answer[..], false),
        ("fail_if_all_match_regexp: [x]", &[], true),
        ("fail_if_all_match_regexp: ['127']", &answer, true),
        ("fail_if_all_match_regexp: ['127', nope]", &answer, false),
        ("fail_if_none_matches_regexp: [x]", &[], false),
        ("fail_if_none_matches_regexp: [nope, '127']", &answer, true),
        ("fail_if_not_matches_regexp: [\"^example.org.\\t300\\tIN\\tA\\t127.0.0.9$\"]", &answer, true),
        ("fail_if_not_matches_regexp: ['127']", &[], false),
    ] {
        let text = format!("modules: {{m: {{prober: dns, dns: {{query_name: a, validate_answer_rrs: {{{rule}}}}}}}}}");
        assert_eq!(dns(&parse(&text), "m").answers.pass(records), passes, "{rule} on {records:?}");
    }
}

#[test]
fn roots_are_read_with_the_file_and_from_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("ca.pem"), key.cert.pem()).expect("written");
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, "modules: {m: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: ca.pem}}}}")
        .expect("written");
    let modules = Modules::read(&file).expect("a good file");
    assert_eq!(tcp(&modules, "m").tls.roots.as_deref(), Some(&[key.cert.der().clone()][..]));
}

#[test]
fn anchors_stand_for_what_they_name() {
    let modules = parse("modules:\n  a: &a\n    prober: http\n    timeout: 3s\n  b: *a\n  c: {<<: *a, timeout: 4s}\n");
    let timeouts = ["a", "b", "c"].map(|name| module(&modules, name).timeout.map(|timeout| timeout.as_secs()));
    assert_eq!(timeouts, [Some(3), Some(3), Some(4)]);
}

#[test]
fn a_file_without_modules_has_none() {
    for text in ["", "modules:\n", "modules: {}\n", "# nothing\n"] {
        assert_eq!(parse(text).supported().count(), 0, "{text:?}");
    }
    assert!(matches!(parse("").get("http_2xx"), Lookup::Unknown));
}

fn parse(text: &str) -> Modules {
    Modules::parse(text, Path::new("/etc/faultline/blackbox.yml")).unwrap_or_else(|error| panic!("{error}"))
}

fn module<'a>(modules: &'a Modules, name: &str) -> &'a Module {
    match modules.get(name) {
        Lookup::Module(module) => module,
        other => panic!("{name}: {other:?}"),
    }
}

fn http<'a>(modules: &'a Modules, name: &str) -> &'a Http {
    let Prober::Http(http) = &module(modules, name).prober else { panic!("{name} is not http") };
    http
}

fn tcp<'a>(modules: &'a Modules, name: &str) -> &'a Tcp {
    let Prober::Tcp(tcp) = &module(modules, name).prober else { panic!("{name} is not tcp") };
    tcp
}

fn dns<'a>(modules: &'a Modules, name: &str) -> &'a Dns {
    let Prober::Dns(dns) = &module(modules, name).prober else { panic!("{name} is not dns") };
    dns
}
