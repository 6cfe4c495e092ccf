//! What is wrong is told with file, line and value, and no module is read.

use super::*;

#[test]
fn each_bad_value_is_told_with_its_line() {
    for (text, line, what) in [
        ("modules:\n  m:\n    prober: http\n    bad: 5\n", 4, "unknown field `bad`"),
        ("modules:\n  m:\n    prober: http\n    http:\n      metod: GET\n", 5, "unknown field `metod`"),
        ("modules:\n  m:\n    prober: icmp\n    icmp:\n      size: 5\n", 5, "unknown field `size`"),
        ("modules:\n  m: {prober: tcp, tcp: {query_response: [{expects: a}]}}\n", 2, "unknown field `expects`"),
        ("module:\n  m:\n", 1, "unknown field `module`"),
        ("modules:\n  m:\n    timeout: 5s\n", 3, "module \"m\" has no prober"),
        ("modules:\n  m:\n", 2, "module \"m\" has no prober"),
        ("modules:\n  m:\n    prober: ping\n", 3, "prober \"ping\" is unknown; it is one of http, tcp, dns,"),
        ("modules:\n  m:\n    prober: tcp\n    timeout: 5\n", 4, "\"5\" is no duration like \"5s\""),
        ("modules:\n  m:\n    prober: tcp\n    timeout: 3h\n", 4, "\"3h\" is more than the 1 h"),
        ("modules:\n  m:\n    prober: tcp\n  m:\n    prober: http\n", 4, "duplicate mapping key: m"),
        ("modules:\n  m:\n    prober: [\n", 3, "expected string"),
        ("modules:\n  m: {}\n---\nmodules: {}\n", 4, "multiple YAML documents"),
    ] {
        assert_wrong(text, line, what);
    }
}

#[test]
fn each_bad_value_of_http_is_told_with_its_line() {
    for (field, what) in [
        ("fail_if_body_matches_regexp: ['a(b']", "regular expression \"a(b\": unclosed group"),
        ("fail_if_header_matches: [{header: a, regexp: ':['}]", "regular expression \":[\": a class is not closed"),
        ("fail_if_header_matches: [{header: a}]", "missing field `regexp`"),
        ("fail_if_header_not_matches: [{regexp: a}]", "missing field `header`"),
        ("valid_status_codes: [99]", "status 99 is not within 100 to 999"),
        ("valid_status_codes: 200", "expected sequence"),
        ("method: 'GE T'", "\"GE T\" is no HTTP method"),
        ("headers: {'a b': c}", "\"a b\" is no name of a header"),
        ("headers: {a: \"b\\nc\"}", "the value of a header holds no control characters"),
        ("body_size_limit: 10", "\"10\" is no size like \"10MB\""),
        ("fail_if_ssl: maybe", "invalid boolean"),
        ("{fail_if_ssl: true, fail_if_not_ssl: true}", "fail every answer"),
        ("enable_http3: true", "enable_http3: true needs enable_http2: false"),
        ("{enable_http3: true, enable_http2: false, valid_http_versions: [HTTP/2.0]}", "only \"HTTP/3.0\" can be"),
        (
            "{basic_auth: {username: a}, bearer_token: b}",
            "basic_auth, authorization and bearer_token exclude each other",
        ),
        ("authorization: {type: basic, credentials: a}", "\"basic\" is what basic_auth is for"),
        ("authorization: {credentials: \"a\\nb\"}", "credentials hold no control characters"),
        ("tls_config: {min_version: TLS14}", "tls_config.min_version \"TLS14\" is none of"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "min_version is above max_version"),
        ("tls_config: {server_name: 'a b'}", "\"a b\" is neither a name nor an address"),
        ("tls_config: {ca: a, ca_file: b}", "exclude each other"),
    ] {
        assert_field_wrong("http", field, what);
    }
}

#[test]
fn each_bad_value_of_tcp_and_dns_is_told_with_its_line() {
    for (prober, field, what) in [
        ("tcp", "source_ip_address: here", "source_ip_address \"here\" is no IP address"),
        ("tcp", "query_response: [{expect: a, expect_bytes: b}]", "exclude each other"),
        ("tcp", "query_response: [{expect: a, labels: [{name: '1a', value: b}]}]", "\"1a\" is no name of a label"),
        ("tcp", "query_response: [{expect: '\\1'}]", "a reference back, is not supported"),
        ("dns", "query_type: A", "dns.query_name is needed"),
        ("dns", "query_name: ''", "dns.query_name is needed"),
        ("dns", "{query_name: a..b}", "dns.query_name \"a..b\""),
        ("dns", "{query_name: a, query_type: NOT}", "\"NOT\" is no type of a record"),
        ("dns", "{query_name: a, query_class: X}", "dns.query_class \"X\" is none of"),
        ("dns", "{query_name: a, valid_rcodes: [GOOD]}", "dns.valid_rcodes \"GOOD\" is no response code"),
        ("dns", "{query_name: a, transport_protocol: quic}", "\"quic\" is neither \"udp\" nor \"tcp\""),
        ("dns", "{query_name: a, dns_over_tls: true}", "dns_over_tls needs transport_protocol: tcp"),
    ] {
        assert_field_wrong(prober, field, what);
    }
}

#[test]
fn a_small_file_cannot_become_a_large_one() {
    let mut bomb = "      a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        let items = [format!("*{of}").as_str(); 10].join(", ");
        bomb.extend(["      ", name, ": &", name, " [", &items, "]\n"]);
    }
    // Where any shape is taken, so that only the bounds can end it.
    assert_wrong(&format!("modules:\n  m:\n    prober: websocket\n    websocket:\n{bomb}"), 0, "limit");
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_wrong(&format!("modules: {{m: {{prober: websocket, websocket: {deep}}}}}"), 0, "depth");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, "#".repeat(1024 * 1024 + 1)).expect("written");
    let error = Modules::read(&file).expect_err("too large").to_string();
    assert!(error.ends_with("blackbox.yml: more than 1048576 bytes"), "{error}");
    let error = Modules::read(&folder.path().join("none.yml")).expect_err("not there").to_string();
    assert!(error.contains("none.yml: No such file"), "{error}");
}

fn assert_field_wrong(prober: &str, field: &str, what: &str) {
    let field = if field.starts_with('{') { field.to_owned() } else { format!("{{{field}}}") };
    assert_wrong(&format!("modules:\n  m:\n    prober: {prober}\n    {prober}: {field}\n"), 4, what);
}

/// A line of 0 stands for any.
fn assert_wrong(text: &str, line: u64, what: &str) {
    let error = Modules::parse(text, Path::new("/etc/blackbox.yml")).expect_err(text).to_string();
    let place =
        if line == 0 { "/etc/blackbox.yml: line ".to_owned() } else { format!("/etc/blackbox.yml: line {line}: ") };
    assert!(error.starts_with(&place) && error.contains(what), "{text}\n{error}");
}
