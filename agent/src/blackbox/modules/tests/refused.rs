//! What `blackbox_exporter` knows and is not supported: each by its name, and no module but its own is lost.

use super::*;

#[test]
fn each_unsupported_field_is_refused_by_name_and_line() {
    for (prober, field, value) in [
        ("http", "proxy_url", "'http://proxy:3128'"),
        ("http", "proxy_from_environment", "true"),
        ("http", "proxy_connect_header", "{X: [a]}"),
        ("http", "oauth2", "{client_id: me, token_url: 'https://a.example'}"),
        ("http", "compression", "gzip"),
        ("http", "body_file", "body.txt"),
        ("http", "bearer_token_file", "token"),
        ("http", "fail_if_body_json_matches_cel", "'body.up == true'"),
        ("http", "fail_if_body_json_not_matches_cel", "'body.up == true'"),
        ("http", "http_headers.x-a.files", "[a]"),
        ("http", "basic_auth.username_file", "a"),
        ("http", "basic_auth.username_ref", "a"),
        ("http", "basic_auth.password_file", "a"),
        ("http", "basic_auth.password_ref", "a"),
        ("http", "authorization.credentials_file", "a"),
        ("http", "authorization.credentials_ref", "a"),
        ("http", "preferred_ip_protocol", "ipv4"),
        ("tcp", "preferred_ip_protocol", "'6'"),
        ("tcp", "tls_config.cert", "PEM"),
        ("tcp", "tls_config.key", "PEM"),
        ("http", "tls_config.cert_file", "a.pem"),
        ("tcp", "tls_config.key_file", "a.key"),
        ("tcp", "tls_config.ca_ref", "a"),
        ("tcp", "tls_config.cert_ref", "a"),
        ("tcp", "tls_config.key_ref", "a"),
        ("tcp", "tls_config.ca", "none"),
        ("tcp", "tls_config.ca_file", "/nonexistent/ca.pem"),
        ("dns", "tls_config.min_version", "TLS10"),
        ("http", "tls_config.max_version", "TLS11"),
        ("dns", "query_class", "HS"),
    ] {
        let mut text = format!("modules:\n  other: {{prober: tcp}}\n  m:\n    prober: {prober}\n    {prober}:\n");
        if prober == "dns" {
            text.push_str("      query_name: a\n");
        }
        let mut indent = 6;
        for (place, key) in field.split('.').enumerate() {
            let line_feed = if place == 0 { "" } else { "\n" };
            text.extend([line_feed, &" ".repeat(indent), key, ":"]);
            indent += 2;
        }
        text.extend([" ", value, "\n"]);
        let line = u64::try_from(text.lines().count()).expect("few");
        let modules = parse(&text);
        let Lookup::Unsupported([refused]) = modules.get("m") else { panic!("{field}: {:?}", modules.get("m")) };
        assert_eq!((refused.module.as_str(), refused.line), ("m", line), "{text}");
        assert_eq!(refused.field, format!("{prober}.{field}"));
        assert!(!refused.why.is_empty());
        assert!(matches!(modules.get("other"), Lookup::Module(_)), "{field} takes only its own module out of use");
    }
}

#[test]
fn each_other_prober_is_refused_by_name() {
    for (prober, section) in [
        (
            "icmp",
            "icmp: {preferred_ip_protocol: ip4, ip_protocol_fallback: true, source_ip_address: a, payload_size: 5, dont_fragment: true, ttl: 5}",
        ),
        (
            "grpc",
            "grpc: {service: a, tls: true, tls_config: {ca_file: a}, preferred_ip_protocol: ip4, ip_protocol_fallback: true}",
        ),
        ("unix", "unix: {query_response: [{send: a}], tls: true, tls_config: {}}"),
        ("websocket", "websocket: {anything: [at, all]}"),
    ] {
        let modules =
            parse(&format!("modules:\n  other: {{prober: http}}\n  m:\n    prober: {prober}\n    {section}\n"));
        let told: Vec<String> = modules.unsupported().map(ToString::to_string).collect();
        let expected = format!(
            "line 4: module \"m\" is not supported: prober: the agent has no {prober} prober; it has http, tcp and dns"
        );
        assert_eq!(told, [expected]);
        assert_eq!(modules.supported().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["other"]);
    }
}

#[test]
fn all_that_is_refused_of_a_module_is_told() {
    let modules =
        parse("modules: {m: {prober: http, http: {proxy_url: a, compression: br, tls_config: {key_file: k}}}}");
    let fields: Vec<_> = modules.unsupported().map(|refused| refused.field.as_str()).collect();
    assert_eq!(fields, ["http.proxy_url", "http.compression", "http.tls_config.key_file"]);
}

#[test]
fn what_is_not_set_is_not_refused() {
    let modules = parse(
        "modules: {m: {prober: http, http: {proxy_url: '', proxy_from_environment: false, oauth2: , compression: '', \
         body_file: , tls_config: {cert_file: '', min_version: ''}}}}",
    );
    assert_eq!(modules.unsupported().count(), 0);
}

#[test]
fn only_the_section_of_the_modules_own_prober_counts() {
    let modules = parse("modules: {m: {prober: tcp, http: {proxy_url: a}, icmp: {ttl: 5}}}");
    assert!(matches!(modules.get("m"), Lookup::Module(_)));
}
