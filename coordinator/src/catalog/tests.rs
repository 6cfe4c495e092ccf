//! Good and bad catalogs.

use faultline_proto::types::v1::Protocol;

use super::*;

const GOOD: &str = r#"
[[target]]
id = "aws/us-east-1/dynamodb"
probe = "https"
url = "https://dynamodb.us-east-1.amazonaws.com/ping"
expect = { status = [200], body_contains = "healthy" }
hosted_on = "aws"
region = "us-east-1"
service = "dynamodb"
owner = "amazon"
"#;

fn faults(text: &str) -> Vec<String> {
    Catalog::parse("my.toml", text).expect_err("a fault").faults.iter().map(Fault::to_string).collect()
}

#[test]
fn the_builtin_catalog_is_whole_and_of_a_sensible_size() {
    let catalog = Catalog::load(&[CatalogSource::Builtin]).unwrap_or_else(|error| panic!("{error}"));
    assert!((200..=300).contains(&catalog.targets.len()), "{} targets", catalog.targets.len());
    let hosted = |cloud: &str| catalog.targets.values().filter(|target| target.target.hosted_on == cloud).count();
    assert!(hosted("aws") >= 60 && hosted("azure") >= 60, "aws {}, azure {}", hosted("aws"), hosted("azure"));
    let controls = catalog.targets.values().filter(|target| target.target.is_control()).count();
    assert!(controls >= 8, "{controls} controls");
}

#[test]
fn a_good_row_is_a_target() {
    let catalog = Catalog::parse("my.toml", GOOD).expect("good");
    let target = &catalog.targets["aws/us-east-1/dynamodb"];
    assert_eq!(target.interval, Duration::from_secs(30));
    assert!(target.target.is_provider_owned() && target.target.verified);
    assert!(matches!(&target.spec, Spec::Https(spec) if spec.body_contains == "healthy"));
}

#[test]
fn every_fault_names_file_line_value_and_what_is_allowed() {
    let rows: &[(&str, &str, &str)] = &[
        ("service = \"dynamodb\"", "servce = \"dynamodb\"", "my.toml:9: unknown field `servce`"),
        ("probe = \"https\"", "probe = \"ping\"", "my.toml:4: probe \"ping\" is none of dns, tcp, tls, https, http3"),
        ("https://dynamodb", "ftp://dynamodb", "my.toml:5: url \"ftp://dynamodb.us-east-1.amazonaws.com/ping\": probe"),
        ("https://dynamodb.us-east-1.amazonaws.com/ping", "dynamo db", "my.toml:5: url \"dynamo db\": relative URL"),
        ("owner =", "interval = \"20ms\"\nowner =", "my.toml:10: interval 20ms is below the 100ms floor"),
        ("owner =", "interval = \"soon\"\nowner =", "my.toml:10: interval \"soon\": expected number"),
        ("owner =", "timeout = \"45s\"\nowner =", "my.toml:10: timeout 45s is above the interval 30s"),
        ("owner =", "addresses = \"both\"\nowner =", "my.toml:10: addresses \"both\" is none of one, all"),
        ("owner =", "retries = 3\nowner =", "my.toml:10: 3 retries, 2 at most"),
        (
            "owner =",
            "timeout = \"20s\"\nretries = 1\nowner =",
            "my.toml:11: 1 retries of up to 20s each do not fit into the interval 30s",
        ),
        (
            "owner =",
            "addresses = \"all\"\nrequest = { connect_to = \"192.0.2.1\" }\nowner =",
            "my.toml:10: addresses \"all\" needs a host with a name to resolve",
        ),
        ("status = [200]", "status = [99]", "my.toml:6: expect.status 99 is not within 100 to 599"),
        ("status = [200]", "body_matches = [\"(\"]", "my.toml:6: request or expect: pattern \"(\": unclosed group"),
        ("status = [200]", "json = { status = 1 }", "my.toml:6: request or expect: json pointer \"status\": empty, or"),
        ("status = [200]", "json = { \"/a\" = [1] }", "my.toml:6: request or expect: json value \"[1]\": a string"),
        (
            "owner =",
            "request = { method = \"POST\" }\nowner =",
            "my.toml:6: request or expect: method \"POST\" is none",
        ),
        ("owner =", "request = { version = \"3\" }\nowner =", "my.toml:10: request.version \"3\" is none of \"1.1\""),
        ("status = [200]", "min_cert_days = 9999", "my.toml:6: expect.min_cert_days 9999 is above 3650"),
        ("owner =", "geography = \"mars\"\nowner =", "my.toml:10: geography \"mars\" is none of na, sa,"),
        ("owner =", "depends_on = [\"dynamodb\"]\nowner =", "my.toml:10: depends_on \"dynamodb\" names no element"),
        (
            "owner =",
            "agents = { contry = \"de\" }\nowner =",
            "my.toml:10: agents label \"contry\" is none of hosted_on",
        ),
        ("hosted_on = \"aws\"\n", "", "my.toml:2: missing field `hosted_on`"),
    ];
    for (from, to, expected) in rows {
        let text = GOOD.replacen(from, to, 1);
        let found = faults(&text);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{to}: {found:?}");
    }
}

#[test]
fn what_is_asked_and_expected_of_a_page_reaches_the_agents() {
    let text = GOOD.replacen(
        "expect = { status = [200], body_contains = \"healthy\" }",
        "request = { method = \"GET\", headers = { accept = \"application/json\" }, version = \"2\", redirects = 2, connect_to = \"192.0.2.7\" }\n\
         expect = { header_matches = { server = \"^edge\" }, json = { \"/open\" = 0, \"/state\" = \"up\" }, max_body_bytes = 4096 }",
        1,
    );
    let catalog = Catalog::parse("my.toml", &text).expect("good");
    let target = &catalog.targets["aws/us-east-1/dynamodb"];
    assert_eq!(target.target.host, None, "no name is asked for");
    let Spec::Https(spec) = &target.spec else { panic!("https") };
    assert_eq!((spec.connect_to.as_slice(), spec.redirects), ([192, 0, 2, 7].as_slice(), 2));
    assert_eq!((spec.version(), spec.max_body_bytes), (Protocol::Http2, 4096));
    assert_eq!((spec.headers[0].name.as_str(), spec.headers[0].value.as_str()), ("accept", "application/json"));
    assert_eq!((spec.header_matches[0].name.as_str(), spec.header_matches[0].pattern.as_str()), ("server", "^edge"));
    let json: Vec<(&str, &str)> =
        spec.json.iter().map(|wanted| (wanted.pointer.as_str(), wanted.value.as_str())).collect();
    assert_eq!(json, [("/open", "0"), ("/state", "\"up\"")]);
}

#[test]
fn a_request_is_for_pages_alone() {
    let text =
        GOOD.replacen("https://dynamodb.us-east-1.amazonaws.com/ping", "tls://dynamodb.us-east-1.amazonaws.com:443", 1);
    let text = text.replacen("probe = \"https\"", "probe = \"tls\"", 1).replacen("owner =", "request = {}\nowner =", 1);
    let found = faults(&text);
    assert!(found.iter().any(|fault| fault == "my.toml:10: request is for https and http3, not for tls"), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("expect.status is for https and http3, not for tls")), "{found:?}");
}

#[test]
fn days_of_validity_are_asked_of_certificates_alone() {
    let text = GOOD.replacen("status = [200]", "min_cert_days = 14", 1);
    let catalog = Catalog::parse("my.toml", &text).expect("good");
    assert!(matches!(&catalog.targets["aws/us-east-1/dynamodb"].spec, Spec::Https(spec) if spec.min_cert_days == 14));
    let text = r#"
        [[target]]
        id = "a"
        probe = "tcp"
        url = "tcp://a.example:22"
        expect = { min_cert_days = 14 }
        hosted_on = "other"
    "#;
    let found = faults(text);
    assert!(found[0].contains("expect.min_cert_days is for tls, https and http3, not for tcp"), "{found:?}");
}

#[test]
fn a_short_interval_needs_no_timeout_of_its_own() {
    let text = GOOD.replacen("owner =", "interval = \"2s\"\nowner =", 1);
    let catalog = Catalog::parse("my.toml", &text).expect("good");
    assert_eq!(catalog.targets["aws/us-east-1/dynamodb"].timeout, Duration::from_secs(2));
}

#[test]
fn an_id_that_stands_twice_is_named_with_both_places() {
    let found = faults(&format!("{GOOD}{GOOD}"));
    assert_eq!(found, ["my.toml:13: id \"aws/us-east-1/dynamodb\" is taken already, at my.toml:3: ids are unique"]);
}

#[test]
fn dns_urls_name_server_name_and_type() {
    let row = |url: &str| format!("[[target]]\nid = \"x\"\nprobe = \"dns\"\nurl = \"{url}\"\nhosted_on = \"other\"\n");
    let catalog = Catalog::parse("my.toml", &row("dns://192.0.2.1:5300/example.com?type=SOA")).expect("good");
    let Spec::Dns(spec) = &catalog.targets["x"].spec else { panic!("dns") };
    assert_eq!((spec.server.as_str(), spec.name.as_str()), ("192.0.2.1:5300", "example.com"));
    assert_eq!(spec.record_type, "SOA");
    let catalog = Catalog::parse("my.toml", &row("doq://dns.example/example.com")).expect("good");
    assert!(matches!(&catalog.targets["x"].spec, Spec::Dns(spec) if spec.transport() == Protocol::DnsQuic));
    assert!(faults(&row("dot://system/example.com"))[0].contains("\"system\" is asked by datagram alone"));
    let wanted =
        format!("{}expect = {{ min_answers = 2, answer_matches = [\"^192\"] }}\n", row("dns://system/example.com"));
    let catalog = Catalog::parse("my.toml", &wanted).expect("good");
    let Spec::Dns(spec) = &catalog.targets["x"].spec else { panic!("dns") };
    assert_eq!((spec.min_answers, spec.answer_matches.as_slice()), (2, ["^192".to_owned()].as_slice()));
    let found = faults(&wanted.replace("^192", "["));
    assert!(found[0].contains("url or expect: pattern \"[\""), "{found:?}");
    assert!(faults(&row("dns://system/"))[0].contains("no name to resolve"));
    assert!(faults(&row("dns://system/example.com?type=ANY"))[0].contains("?type=ANY: type, one of A, AAAA"));
}
